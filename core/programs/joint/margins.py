"""What a network is worth in a joint programme, exactly: worst cases of every point against every rival."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.joint.program import JointProgram

Array = NDArray[np.float64]
Index = NDArray[np.intp]

TIED = 1e-6
"""Margins of a sample that are larger than its smallest by no more than this, relative, share its multiplier."""


@dataclass(frozen=True)
class ClassContest:
    """One class against another.

    Args:
        own: The class of the points.
        rival: The other one.
        rows: Points of class `own`.
        quadratic: ``f_k - f_j``, of the two classes k < j.
        side: 1 where that is ``f_own - f_rival``, -1 where it is the reverse.
    """

    own: int
    rival: int
    rows: Index
    quadratic: Quadratic
    side: float

    @property
    def sides(self) -> Array:
        """`side` for every point."""
        return np.full(self.rows.size, self.side)


def contests(program: JointProgram, network: PolynomialNetwork) -> Iterator[ClassContest]:
    """All ordered pairs of classes of which there are points; both orders share one eigendecomposition.

    Args:
        program: The programme.
        network: Of K outputs.
    """
    for k, other in combinations(range(program.n_classes), 2):
        pairs = [pair for pair in ((k, other, 1.0), (other, k, -1.0)) if program.rows_of[pair[0]].size]
        if not pairs:
            continue
        quadratic = network.quadratic(network.alpha[:, k] - network.alpha[:, other], program.attack)
        for own, rival, side in pairs:
            yield ClassContest(own, rival, program.rows_of[own], quadratic, side)


def worst_margins(program: JointProgram, network: PolynomialNetwork) -> Array:
    """Rigorous lower bounds of ``min f_c - f_k`` over the attacks on every point, inf at its own class; shape (n, K).

    They differ from the minima by rounding only.
    """
    found = np.full((program.X.shape[0], program.n_classes), np.inf)
    for one in contests(program, network):
        attack = program.attack.of(one.rows)
        found[one.rows, one.rival] = one.quadratic.worst_margins(program.X[one.rows], one.sides, attack)
    return found


def sample_margins(program: JointProgram, margins: Array) -> Array:
    """The smallest margin of each sample, shape (m,), of those of its points, shape (n, K)."""
    found = np.full(program.n_samples, np.inf)
    np.minimum.at(found, program.samples, margins.min(axis=1))
    return found


def losses_of(program: JointProgram, network: PolynomialNetwork) -> Array:
    """Loss of each sample, times its weight, shape (m,)."""
    worst = sample_margins(program, worst_margins(program, network))
    return program.loss_function.value(worst, np.ones_like(worst))


def objective_of(program: JointProgram, network: PolynomialNetwork) -> float:
    """The programme's objective, the adversary's worst case included; rounding is on the safe side."""
    return float(np.mean(losses_of(program, network))) + program.beta * program.penalty(network.alpha)


def slopes_of(program: JointProgram, margins: Array) -> Array:
    """``-loss'(smallest margin) / m`` of each sample, shared by the pairs that have it; shape (n, K).

    Args:
        program: The programme.
        margins: Of every point against every rival, shape (n, K).
    """
    worst = sample_margins(program, margins)
    theta = -program.loss_function.derivative(worst, np.ones_like(worst)) / worst.size
    own = worst[program.samples, None]
    tied = margins <= own + TIED * (1.0 + np.abs(own))
    count = np.bincount(program.samples, tied.sum(axis=1), minlength=worst.size)
    share = theta / np.maximum(count, 1.0)
    return np.where(tied, share[program.samples, None], 0.0)
