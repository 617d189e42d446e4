"""What a network and multipliers are worth in a polynomial programme of one column of labels, exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.losses.base import output_signs
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.certificate import (
    DualBound,
    PointMultipliers,
    coefficients,
    dual_bound,
    is_spoilt,
    reach_of,
    repair_points,
    sum_slack,
)
from cvxrobust.core.programs.polynomial.moments import SecondMoments
from cvxrobust.core.programs.polynomial.program import PolynomialProgram
from cvxrobust.core.programs.rows import row_blocks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PolynomialEvaluation:
    """A network in a programme.

    Args:
        value: The objective, the adversary's worst case included; rounding is on the safe side.
        multipliers: ``theta_i = -loss'(worst margin_i) / n``, or that of the worst output, on the worst attacks.
        slope: Derivative of the mean loss in ``T = sum_j alpha_j [u_j; 1][u_j; 1]'``, symmetric, shape (d + 1, d + 1).
    """

    value: float
    multipliers: PointMultipliers
    slope: Array


def evaluated(program: PolynomialProgram, network: PolynomialNetwork) -> PolynomialEvaluation:
    """What a network is worth, and how that changes with it.

    Args:
        program: One column of labels.
        network: Of one output and unit neurons.
    """
    y, loss, (n, d) = program.labels[:, 0], program.loss_function, program.X.shape
    signs, quadratic = output_signs(loss, y), network.quadratic(network.alpha, program.attack)
    points, seen = np.empty((n, d)), np.empty(n)
    for rows, block in row_blocks(program.X):
        if program.attack.present:
            attack = program.attack.of(rows)
            if loss.margin:
                _, seen[rows], moves = quadratic.worst_case(block, signs[rows], attack)
            else:
                seen[rows], moves = worst_outputs(quadratic, block, y[rows], attack)
            points[rows] = quadratic.attacked(block, moves, attack)
        elif loss.margin:
            points[rows], seen[rows] = block, quadratic.worst_margins(block, signs[rows], program.attack.of(rows))
        else:
            points[rows], seen[rows] = block, quadratic.expand(block)[0]
    theta = -loss.derivative(seen, y) / n
    sums = SecondMoments(np.empty((d, 0)))
    sums.add(points, theta * signs)
    value = float(np.mean(loss.value(seen, y))) + program.beta * network.penalty
    multipliers = PointMultipliers(theta, np.arange(n), points)
    return PolynomialEvaluation(value, multipliers, -coefficients(program.activation, d) * sums.matrix())


def worst_outputs(quadratic: Quadratic, X: Array, target: Array, attack: AttackBall) -> tuple[Array, Array]:
    """The outputs that attacks move farthest from the targets.

    Args:
        quadratic: The network.
        X: Shape (n, d).
        target: Shape (n,).
        attack: The attacks on each sample.

    Returns:
        Outputs, shape (n,), rounding on the safe side: no attack has a larger residual. And the attacks in the
        coordinates of what they see of the quadratic, shape (n, k), from which `Quadratic.attacked` makes points.
    """
    low: Array
    high: Array
    down: Array
    up: Array
    one = np.ones(X.shape[0])
    _, low, down = quadratic.worst_case(X, one, attack)
    _, high, up = quadratic.worst_case(X, -one, attack)
    above = -high - target >= target - low
    return np.where(above, -high, low), np.where(above[:, None], up, down)


def bound_of(program: PolynomialProgram, multipliers: PointMultipliers) -> DualBound:
    """What multipliers prove, made feasible first, with the neurons that would improve a network most.

    Args:
        program: One column of labels.
        multipliers: Of any origin.
    """
    y, loss, (n, d) = program.labels[:, 0], program.loss_function, program.X.shape
    theta, weights, points = repair_points(multipliers, program.X, program.attack, loss)
    signed = weights * output_signs(loss, y)[multipliers.owners]

    def summed(precise: bool) -> SecondMoments:
        sums = SecondMoments(np.empty((d, 0)), precise)
        sums.add(points, signed)
        return sums

    sums = summed(precise=False)
    if is_spoilt(n, d, sums.mass, program.activation, program.beta):
        sums = summed(precise=True)
    return dual_bound(
        theta, sums.matrix(), sums.mass, loss=loss, target=y, activation=program.activation, beta=program.beta,
        slack=sum_slack(sums.error, program.activation),
        reach=None if loss.margin else reach_of(multipliers.owners, weights, n),
    )  # fmt: skip
