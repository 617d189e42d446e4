"""What networks and multipliers are worth in programmes with boxes; no solver is trusted.

The upper bound is a network's objective, margins replaced by rigorous bounds of them in the boxes. The lower bound is
that of `cvxrobust.core.programs.polynomial.certificate`: for any X_i psd with ``X_kk <= X_mm = 1``, which are the
moment matrices of the relaxation's dual, and multipliers theta_i,

    w_i <= labels_i <A-moments of E_i X_i E_i', T>,   E_i = [[W_i, centre_i], [0, 1]],

as w_i is the least of these values. So ``G = C o sum_i theta_i labels_i E_i X_i E_i'`` does what the second moments of
attacks do there, though no random attack need have the moments X_i: that is how far the relaxation is from the own
worst cases of the network.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.boxes.attack import attack_boxes
from cvxrobust.core.attacks.boxes.bounds import BoxBounds, box_bounds
from cvxrobust.core.attacks.boxes.margins import BoxMargins
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.boxes.program import BoxProgram
from cvxrobust.core.programs.polynomial.certificate import EPS, HUGE, TINY, DualBound, dual_bound
from cvxrobust.core.programs.polynomial.moments import repaired_theta

Array = NDArray[np.float64]

BLOCK = 2**21
"""Entries of the largest temporary, about."""


@dataclass(frozen=True)
class BoxMultipliers:
    """Multipliers of samples, and factors of the moments of their relaxed attacks.

    Args:
        theta: Shape (k,).
        factors: F_i with ``X_i = F_i F_i'`` in units of the widths, the constant last, shape (k, q + 1, p). Repaired to
            a last row of length 1 and others no longer before use.
        owners: The sample of each, of which there may be several, shape (k,); None for one each, in their order.
        noise: Variances that the inputs have besides, each for itself, in units of the squared widths, shape (k, q):
            X_i has them on its diagonal, and is repaired as a whole. None for none.
    """

    theta: Array
    factors: Array
    owners: NDArray[np.intp] | None = None
    noise: Array | None = None

    @property
    def weights(self) -> Array:
        """What masters of the cutting-set method call theta."""
        return self.theta

    @classmethod
    def of_moments(cls, moments: Array) -> "BoxMultipliers":
        """From ``theta_i X_i``, shape (n, q + 1, q + 1), psd up to noise."""
        finite = np.isfinite(moments).all(axis=(1, 2), keepdims=True)
        moments = np.where(finite, moments, 0.0)
        values, vectors = np.linalg.eigh(0.5 * (moments + np.swapaxes(moments, 1, 2)))
        factors = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        return cls(np.einsum("ip,ip->i", factors[:, -1], factors[:, -1]), factors)


@dataclass(frozen=True)
class BoxEvaluation:
    """A network in a programme of one column.

    Args:
        value: Its objective, with rigorous bounds of margins.
        bounds: Of the margins, with the relaxed attacks.
        margins: What they are about.
    """

    value: float
    bounds: BoxBounds
    margins: BoxMargins


def evaluated(program: BoxProgram, network: PolynomialNetwork) -> BoxEvaluation:
    """What a network is worth."""
    margins, loss, labels = program.margins(network), program.loss_function, program.labels[:, 0]
    # Beyond this no loss falls any further: how large such a margin is need not be known.
    enough = 1.0 if loss.attains_infimum else None
    bounds = box_bounds(margins, enough=enough)
    value = float(np.mean(loss.value(bounds.lower, labels))) + program.beta * network.penalty
    return BoxEvaluation(value, bounds, margins)


def own_bracket(program: BoxProgram, network: PolynomialNetwork) -> tuple[float, float]:
    """The objective of the network's own worst cases in the boxes, which nobody knows: at least and at most.

    Points that an attack found, and the relaxation.
    """
    found, loss, labels = evaluated(program, network), program.loss_function, program.labels[:, 0]
    _, values = attack_boxes(found.margins, np.random.default_rng(0))
    reached = np.maximum(values, found.bounds.lower)
    least = float(np.mean(loss.value(reached, labels))) + program.beta * network.penalty
    return least, found.value


def network_multipliers(program: BoxProgram, network: PolynomialNetwork) -> BoxMultipliers:
    """Multipliers that need no solver: ``theta_i = -loss'(w_i) / n`` on the relaxed attacks on a network."""
    found, n = evaluated(program, network), program.labels.shape[0]
    theta = -program.loss_function.derivative(found.bounds.lower, program.labels[:, 0]) / n
    return BoxMultipliers(theta, found.bounds.factors)


def bound_of_boxes(program: BoxProgram, multipliers: BoxMultipliers) -> DualBound:
    """What multipliers prove, made feasible first, with the neurons that would improve a network most.

    Args:
        program: One column of labels.
        multipliers: Of any origin.
    """
    labels, loss, n = program.labels[:, 0], program.loss_function, program.labels.shape[0]
    owners = np.arange(n) if multipliers.owners is None else multipliers.owners
    weights = np.where(np.isfinite(multipliers.theta), np.maximum(multipliers.theta, 0.0), 0.0)
    summed = np.bincount(owners, weights, minlength=n).astype(np.float64)
    weights = weights * (repaired_theta(summed, loss) / np.where(summed > 0.0, summed, 1.0))[owners]
    theta = np.bincount(owners, weights, minlength=n).astype(np.float64)
    factors, noise = repaired_moments(multipliers.factors, multipliers.noise)
    signed = weights * labels[owners]
    S, mass = second_moments(program, signed, factors, owners)
    if noise is not None:
        spread = signed @ (program.boxes.widths[np.ix_(owners, program.inputs)] ** 2 * noise)
        S[program.inputs, program.inputs] += spread
    return dual_bound(
        theta, S, mass, loss=loss, target=labels, activation=program.activation, beta=program.beta
    )  # fmt: skip


def repaired_moments(factors: Array, noise: Array | None = None) -> tuple[Array, Array | None]:
    """Factors whose last rows have length 1, and moments with diagonals of 1 at most; what is none is no attack."""
    length = np.linalg.norm(np.where(np.abs(factors[:, -1]) < HUGE, factors[:, -1], 0.0), axis=1)
    sane = (np.abs(factors) < HUGE).all(axis=(1, 2)) & (length > TINY)
    if noise is not None:
        sane &= ((noise >= 0.0) & (noise < HUGE)).all(axis=1)
    still = np.zeros_like(factors)
    still[:, -1, 0] = 1.0
    scaled = np.where(sane[:, None, None], factors / np.where(sane, length, 1.0)[:, None, None], still)
    size = np.einsum("kip,kip->ki", scaled, scaled)
    if noise is not None:
        noise = np.where(sane[:, None], noise, 0.0)
        size[:, :-1] += noise
    longest = np.maximum(size * (1.0 + 32.0 * EPS), 1.0)
    longest[:, -1] = size[:, -1]
    fair = np.asarray(scaled / np.sqrt(longest)[:, :, None])
    return fair, None if noise is None else noise / longest[:, :-1]


def second_moments(
    program: BoxProgram, weights: Array, factors: Array, owners: NDArray[np.intp]
) -> tuple[Array, float]:
    """``sum_k weights_k E_i X_k E_i'``, i the owner of k, shape (d + 1, d + 1), and the size of the terms summed."""
    boxes, inputs = program.boxes, program.inputs
    n, d, p = owners.size, boxes.centres.shape[1], factors.shape[2]
    S, mass = np.zeros((d + 1, d + 1)), 0.0
    step = max(1, BLOCK // max(p * (d + 1), 1))
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        for sign in (1.0, -1.0):
            chosen = rows[sign * weights[rows] > 0.0]
            if not chosen.size:
                continue
            last, own = factors[chosen, -1], owners[chosen]
            points = np.empty((chosen.size, p, d + 1))
            points[:, :, :d] = boxes.centres[own, None, :] * last[:, :, None]
            moved = boxes.widths[np.ix_(own, inputs)][:, :, None] * factors[chosen, :-1]
            points[:, :, inputs] += moved.transpose(0, 2, 1)
            points[:, :, d] = last
            flat = (points * np.sqrt(np.abs(weights[chosen]))[:, None, None]).reshape(-1, d + 1)
            S += sign * (flat.T @ flat)
            far = 1.0 + np.linalg.norm(boxes.centres[own], axis=1) + np.linalg.norm(boxes.widths[own], axis=1)
            mass += float(np.abs(weights[chosen]) @ far**2)
    return S, mass
