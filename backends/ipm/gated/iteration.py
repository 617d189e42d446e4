"""The predictor-corrector iteration (Mehrotra 1992) on a gated programme, with further correctors.

Every step is of the same length for primal and dual. Correctors are weighted (Colombo and Gondzio 2008, Further
development of multiple centrality correctors for interior point methods).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.certify import Answers
from cvxrobust.backends.ipm.gated.elimination import Elimination
from cvxrobust.backends.ipm.gated.model import Model
from cvxrobust.backends.ipm.gated.scaling import Scaling
from cvxrobust.core import Termination

MOST_STEPS = 200


@dataclass(frozen=True)
class GatedTuning:
    """How directions are corrected, how far steps go, and when rounding has won."""

    near: float = 0.95
    """Share of the way to the boundary that a step may take."""

    power: int = 3
    """The target of complementarity is what the predictor leaves of it, to this power (Mehrotra)."""

    correctors: int = 4
    """Centrality correctors, at most (Gondzio 1996); a factorisation costs far more than a solution."""

    reach: float = 0.3
    """How much longer a step each of them tries for."""

    shares: tuple[float, ...] = (1.0, 0.7, 0.4, 0.15)
    """Shares of a corrector that are tried."""

    coarse: float = 1e-7
    """Residual of the normal equations for correctors, relative; only the predictor removes dual residuals."""

    progress: float = 0.9
    """What a measure falls to, relative to its best, where that counts as progress."""

    patience: int = 12
    """Steps without progress of any kind after which rounding is taken to have won."""

    short: float = 1e-7
    """A step shorter than this leads nowhere."""

    attempts: int = 20
    """Shortenings of a step."""

    growth: float = 1.5
    """The gradient of the Lagrangian may grow by this much, where the loss is neither linear nor quadratic."""

    lag: float = 0.1
    """There, complementarity may run ahead of that gradient by this factor."""

    rounding_lag: float = 1e-3
    """The same for other losses."""


TUNING = GatedTuning()


@dataclass
class GatedIterate:
    """Variables x, slacks s, multipliers z, and what the smooth loss sees."""

    x: Tensor
    s: Tensor
    z: Tensor
    seen: Tensor | None

    @cached_property
    def pair(self) -> Tensor:
        """Slacks and multipliers, shape (2, size)."""
        return torch.stack([self.s, self.z])


@dataclass
class GatedDirection:
    """Steps of variables, slacks and multipliers; how far they lead is remembered once it is known."""

    x: Tensor
    s: Tensor
    z: Tensor
    reach: float | None = None

    @property
    def pair(self) -> Tensor:
        """Those of slacks and multipliers, shape (2, size)."""
        return torch.stack([self.s, self.z])

    @property
    def finite(self) -> bool:
        """Whether it is made of numbers."""
        return bool(torch.isfinite(self.x).all() & torch.isfinite(self.z).all())


class Patience:
    """Says when several measures, each of which may rise for a while, have all stopped falling.

    What each of them fell to counts from the last progress of any, not from the last step: a long way may consist of
    short steps.
    """

    def __init__(self) -> None:
        self.best: tuple[float, ...] = ()
        self.idle = 0

    def ends(self, known: tuple[float, ...]) -> bool:
        """Whether all measures, these included, have been idle for too long."""
        best = self.best or (np.inf,) * len(known)
        self.idle += 1
        if any(new < TUNING.progress * old for new, old in zip(known, best, strict=True)):
            self.best, self.idle = tuple(min(pair) for pair in zip(known, best, strict=True)), 0
        return self.idle > TUNING.patience


class Steps:
    """The iteration, from a point strictly inside all constraints, after so many steps from elsewhere."""

    def __init__(self, model: Model, answers: Answers, x: Tensor, z: Tensor, count: int = 0) -> None:
        self.model, self.answers = model, answers
        s, seen = model.slack(x)
        self.at = GatedIterate(x, s, z, seen)
        gates = model.data.program.gates
        _, first, owners = np.unique(gates, axis=1, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))
        self.members = torch.as_tensor(order[owners.reshape(-1)], device=x.device)
        self.count, self.complementarity, self.residual = count, np.inf, np.inf
        self.began = (np.inf, np.inf)

    def run(self) -> Termination:
        """Iterate to the end."""
        return self.answers.progress.run(self._rounds(), needed=1.2)

    def _rounds(self) -> Iterator[int]:
        """Steps from here on, until they lead nowhere."""
        progress, patience = self.answers.progress, Patience()
        while True:
            self.answers.offer(self.model, self.at.x, self.at.z, self.at.seen)
            yield self.count
            # Before the multipliers are feasible, what improves is complementarity or the gradient of the Lagrangian.
            known = progress.upper - progress.lower, self.complementarity, self.residual
            if patience.ends(known) or not self.advance():
                return
            self.count += 1

    def advance(self) -> bool:
        """One predictor and corrector; whether it led anywhere."""
        model, at, cones = self.model, self.at, self.model.cones
        scaling = Scaling(cones, at.s, at.z)
        _, curvature = model.loss_slopes(at.seen)
        system = Elimination(model, scaling, curvature, self.members)
        residual = self._residual(at)
        mu = cones.inner(at.s, at.z)[None] / cones.degree
        self.complementarity, self.residual = float(mu), float(residual.abs().max())
        if self.began[0] == np.inf:
            self.began = self.complementarity, max(self.residual, model.data.program.beta)

        def direction(target: Tensor, shift: Tensor | None = None) -> GatedDirection:
            pulled = model.adjoint(target)
            if shift is None:
                dx, ds = system.direction(pulled, TUNING.coarse, watched=system.strained)
            else:
                dx, ds = system.direction(pulled - shift, watched=True)
            return GatedDirection(dx, ds, target - scaling.squared(ds))

        first = scaling.target(torch.zeros_like(mu))
        ahead = direction(first, residual)
        primal, dual = self._lengths(ahead, 1.0)
        moved = cones.inner(at.s + primal * ahead.s, at.z + dual * ahead.z)[None] / cones.degree
        wanted = float((moved / mu).clamp(0.0, 1.0)) ** TUNING.power * mu
        wanted = torch.maximum(wanted, self._pace() * mu)
        ahead = self._blended(ahead, direction(scaling.target(wanted, ahead.s, ahead.z) - first))
        for _ in range(TUNING.correctors):
            primal, dual = (min(1.0, length + TUNING.reach) for length in self._lengths(ahead, 1.0))
            if min(primal, dual) == 1.0 and min(self._lengths(ahead, TUNING.near)) >= 0.9:
                break
            away = scaling.centring(
                at.s + primal * ahead.s, at.z + dual * ahead.z, 0.1 * float(wanted), 10.0 * float(wanted)
            )
            before = sum(self._lengths(ahead, TUNING.near))
            further = self._blended(ahead, direction(away))
            if not sum(self._lengths(further, TUNING.near)) > before + 0.1 * TUNING.reach:
                break
            ahead = further
        primal, dual = self._lengths(ahead, TUNING.near)
        if not (primal > TUNING.short or dual > TUNING.short) or not ahead.finite:
            return False
        return self._move(ahead, primal, dual)

    def _pace(self) -> float:
        """The least target, relative to what complementarity is, that leaves time for the gradient to fall as well."""
        fallen = (self.complementarity / self.began[0]) / max(self.residual / self.began[1], 1e-12)
        # Elsewhere only rounding makes the gradient lag, and what rounding allows shrinks with complementarity.
        return min(1.0, (TUNING.lag if self.model.smooth and self.model.data.margin else TUNING.rounding_lag) / fallen)

    def _blended(self, ahead: GatedDirection, corrector: GatedDirection) -> GatedDirection:
        """A direction with as much of a corrector as lengthens the step most (Colombo and Gondzio 2008)."""
        steps = self.model.cones.steps(self.at.pair, ahead.pair, corrector.pair, TUNING.shares)
        reaches = self._read(steps)
        longest = [min(1.0, step) for step in reaches]
        best = longest.index(max(longest))
        share = TUNING.shares[best]
        x, s, z = (a + share * b for a, b in ((ahead.x, corrector.x), (ahead.s, corrector.s), (ahead.z, corrector.z)))
        return GatedDirection(x, s, z, reaches[best])

    def _lengths(self, ahead: GatedDirection, share: float) -> tuple[float, float]:
        # Separate lengths gain nothing even where all is linear, and leave dual residuals where it is not.
        if ahead.reach is None:
            ahead.reach = self._read(self.model.cones.step(self.at.pair, ahead.pair)[None])[0]
        both = min(1.0, share * ahead.reach)
        return both, both

    def _read(self, steps: Tensor) -> list[float]:
        """How far directions lead in both the primal and the dual, from shape (directions, 2); read all at once."""
        return [float(step) for step in steps.amin(1).tolist()]

    def _move(self, ahead: GatedDirection, primal: float, dual: float) -> bool:
        """Go, a little less far if rounding has moved the boundary, or the loss is not what its model says."""
        model, at = self.model, self.at
        for _ in range(TUNING.attempts):
            x, z = model.confined(at.x + primal * ahead.x), at.z + dual * ahead.z
            s, seen = model.slack(x)
            if bool(model.cones.inside(s) & model.cones.inside(z)):
                there = GatedIterate(x, s, z, seen)
                if not (model.smooth and model.data.margin) or self._near(there):
                    self.at = there
                    return True
            primal, dual = 0.6 * primal, 0.6 * dual
        return False

    def _residual(self, at: GatedIterate) -> Tensor:
        """The gradient of the Lagrangian."""
        slope, _ = self.model.loss_slopes(at.seen)
        return self.model.cost(at.x) + self.model.adjoint(-at.z, slope)

    def _near(self, there: GatedIterate) -> bool:
        """Whether the gradient of the Lagrangian is no larger than before, where that matters."""
        allowed = max(TUNING.growth * self.residual, 0.01 * self.model.data.program.beta)
        return bool(self._residual(there).abs().max() <= allowed)
