"""Gated programmes in coordinates of the inputs in which a shape of attacks is a scale of the leading ones.

Outputs and penalty know a slot's vector u by ``x'u`` and ``||u||_2``, attacks by S'u. With an orthogonal Q, ``u = Q v``
and the inputs ``Q'x`` say the same of v, and attacks then see ``(Q'S)'v``. Where S is a diagonal, Q puts those inputs
first that attacks touch at all: they see ``lengths * v`` of these, and the others are as good as the constant of a
bias. Of directions, ``S = Q [diag(lengths); 0] R'``, they see the same up to R, which in norm 2 changes nothing.
Lengths that are all alike are a radius. So a backend that knows balls, and how to scale the vectors that it hands to
their norm, knows all shapes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import EPS, Ellipsoid
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.programs.gated.certificate import GatedMultipliers
from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]
Solve = Callable[[GatedProgram, Monitor | None, ReLUNetwork | None], Solution]
"""From a programme, a monitor and a network to start near to an answer."""


def in_own_axes(program: GatedProgram, solve: Solve, monitor: Monitor | None, start: ReLUNetwork | None) -> Solution:
    """What a backend that knows scales of leading inputs answers, whatever the shape of the attacks.

    Args:
        program: The programme as it is given.
        solve: Solves it in its own axes: attacks are balls, or scale every input that they can touch, and the
            programme's `attackable` counts those. What is reported and returned is translated.
        monitor: Stops it, and hears of what it reports.
        start: Near which network to start; None for none.
    """
    if program.attack.ellipsoid is None:
        return solve(program, monitor, start)
    axes, heard = OwnAxes.of(program), monitor

    def hear(upper: float, lower: float, iterate: Callable[[], Solution] | None) -> bool:
        assert monitor is not None
        given = None if iterate is None else lambda: axes.given(iterate())
        return monitor.report(upper, lower, given, iteration=None if heard is None else heard.iteration)

    if monitor is not None:
        heard = monitor.sharing(monitor.deadline, hear)
    return axes.given(solve(axes.program, heard, None if start is None else axes.network(start)))


@dataclass(frozen=True)
class OwnAxes:
    """A programme in its own axes, and the way there and back.

    Args:
        program: In these axes.
        order: Which input each of them is, shape (D,); None where they are turned.
        turn: Q, shape (D, D); None where they are inputs in another order.
        unit: By how much attacks are longer than those of the programme's own, whose radii are larger instead.
    """

    program: GatedProgram
    order: NDArray[np.intp] | None
    turn: Array | None
    unit: float

    @classmethod
    def of(cls, program: GatedProgram) -> Self:
        """The axes of a programme whose attacks have a shape.

        Where they are turned, rounding may move the inputs: the programme's certificates allow for that.
        """
        shape, D = program.attack.ellipsoid, program.X.shape[1]
        assert shape is not None
        if shape.directions is None:
            order = np.concatenate([shape.kept, np.setdiff1d(np.arange(D), shape.kept)])
            found, lengths = cls(program, order, None, 1.0), shape.lengths
        else:
            turn = np.eye(D)
            turn[: shape.n_inputs, : shape.n_inputs], lengths, _ = np.linalg.svd(shape.directions)
            found = cls(program, None, turn, 1.0)
        alike = bool((lengths == lengths[0]).all())
        unit = float(lengths[0]) if alike else 1.0
        own = None if alike else Ellipsoid(scale=lengths)
        radius, widths = unit * program.attack.radius, program.attack.widths
        attack = AttackBall(program.attack.norm, radius, lengths.size, own, widths)
        X, uncertainty = found.forth(program.X), program.uncertainty
        if found.turn is not None:
            moved = 4.0 * D * EPS * np.linalg.norm(X, axis=1)
            uncertainty = moved if uncertainty is None else uncertainty + moved
        return replace(found, program=replace(program, X=X, attack=attack, uncertainty=uncertainty), unit=unit)

    def forth(self, V: Array) -> Array:
        """Vectors of the inputs in these axes, shape (..., D)."""
        return np.asarray(V @ self.turn if self.turn is not None else V[..., self.order])

    def back(self, V: Array) -> Array:
        """Vectors in these axes in the inputs, shape (..., D)."""
        if self.turn is not None:
            return np.asarray(V @ self.turn.T)
        found = np.empty_like(V)
        found[..., self.order] = V
        return found

    def network(self, network: ReLUNetwork) -> ReLUNetwork:
        """A network in these axes; attacks on it are the programme's business."""
        return network.replace(u=self.forth(network.u), ellipsoid=None)

    def given(self, solution: Solution) -> Solution:
        """A solution in these axes as one of the programme as it was given."""
        network, found = solution.network, solution.multipliers
        if isinstance(network, ReLUNetwork):
            network = network.replace(u=self.back(network.u))
        if isinstance(found, GatedMultipliers):
            found = replace(found, attacks=self._attacks(found.attacks), directions=self._attacks(found.directions))
        return replace(solution, network=network, multipliers=found)

    def _attacks(self, attacks: Array) -> Array:
        """Attacks of radius 1 on the inputs, shape (..., q) to (..., d)."""
        whole = np.zeros((*attacks.shape[:-1], self.program.X.shape[1]))
        whole[..., : attacks.shape[-1]] = self.unit * attacks
        return self.back(whole)[..., : whole.shape[-1] - int(self.program.bias)]
