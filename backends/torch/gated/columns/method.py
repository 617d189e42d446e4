"""Cone programmes at scale: directions in the cones, found by projections, with an interior method among them.

A cone that n gates cut out of R^D is narrow, and what is hard about it is the same in every iteration of a first-order
method. Here it is done exactly, once per round (Dantzig and Wolfe 1960, *Decomposition principle for linear programs*):

1. The programme is solved on the directions known so far, roughly (`master`). Its points are feasible.
2. Its multipliers theta give every slot a vector. Projected onto the cone of the slot (`projection`) that is
   the B_k of the certificate with the best mu there is, so a lower bound follows at once, and where it is longer
   than beta it is the direction that lowers the objective most: a new one.

The first theta comes from one direction per slot that is fitted to its gates by least squares, in the cone or not: a
good theta saves projections, which cost most of the time as long as their working sets are not warm.

Measured against three first-order methods on the whole programme, prototypes with the same projections for their
recovery and their bounds, the penalty's prox as a group soft threshold, in double precision on one core. Processor
seconds and certified relative gap, beta = 0.01; of the three without the seconds for certificates. A: Breast Cancer,
n = 455, d = 30, 100 slots, squared loss (`cvxrobust.bench.studies.scnn_comparison`). B: MNIST, n = 5,000, d = 50, 200
slots, hinge (``mnist-5000-cone`` of `cvxrobust.bench.studies.relu_scaling`).

| method | A | B |
| --- | --- | --- |
| augmented Lagrangian, FISTA with restarts; on A the best of three penalties | 9.0 s: 5.7e-2 | 57 s: 6.3e-1 |
| ADMM, one factor for all slots, loss and cones in one prox; best of four on A | 6.9 s: 6.7e-4 | 55 s: 3.5e-2 |
| PDHG with restarts, averages, primal weights and scaled rows | 5.4 s: 8.6e-4 | 38 s: 2.1e-1 |
| this one, certificates included | 1.1 s: 7.3e-4 | 4.7 s: 8.1e-4 |
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.gated.best_so_far import TINY, GatedIncumbent
from cvxrobust.backends.torch.gated.columns.master import Master, MasterSmoothing, Place
from cvxrobust.backends.torch.gated.columns.projection import ConeProjections
from cvxrobust.core import GatedMultipliers, GatedProgram, Termination
from cvxrobust.core.programs.gated import evaluation as gated

Array = NDArray[np.float64]
MOST_STEPS = 5_000
"""Newton steps, unless the settings say otherwise."""


@dataclass(frozen=True)
class ColumnTuning:
    """How the width falls, which directions come and go, and when the search gives up."""

    first_width: float = 0.1
    warm_width: float = 0.01
    last_width: float = 1e-12
    """Widths of the smoothing, relative to the scale of the values: at first, from a start, and at the end."""

    follow_gap: float = 0.15
    largest_cut: float = 0.1
    """The width is this share of the gap, but falls by no more than this factor at a time."""

    barrier: float = 0.3
    lengths: float = 0.3
    """Shares of the width, times the objective, that all logarithms and all lengths together may cost, about."""

    round_steps: int = 20
    accuracy: float = 0.02
    """Newton steps in a round at most, and what they may leave of the objective, as a share of the width."""

    early_share: float = 0.6
    """Slots whose vector is longer than this share of beta get a direction in the first round ..."""

    exact_share: float = 0.9
    """... and projections need not be exact below this one later."""

    margin: float = 0.2
    """Later, slots get one where the vector is longer than beta by more than this share of the gap."""

    entry_share: float = 0.3
    """New coefficients have this share of beta as the derivative of their logarithms."""

    most_new: int = 150
    """New directions in a round, the longest vectors first."""

    negligible: float = 1e-4
    """Coefficients below this share of the largest, times ten times the gap, go."""

    cheap_share: float = 1e-3
    least_cost: float = 1e-8
    """What projections may be too long for lying inside their cones, relative: this share of the gap, and no less."""

    most_per_slot: int = 8
    left_per_slot: int = 4
    """Where a slot has more directions than that, all but the last few become one."""

    purge_every: int = 3
    """Rounds between two looks for those."""

    patience: int = 12
    """Rounds without a better gap after which the search gives up."""

    drop: float = 1e-3
    """Slots shorter than this share of the longest are left out on trial at the end."""


TUNING = ColumnTuning()


class ColumnMethod:
    """One solve: the directions, their coefficients, the working sets of the projections and the width.

    Args:
        best: The programme, the best bounds so far, tolerance and limits; iterations are Newton steps.
        warm: Whether to begin at the best point.
        device: Where tensors live.
        dtype: Precision of the large products of the Newton steps.
    """

    def __init__(self, best: GatedIncumbent, warm: bool, device: str, dtype: torch.dtype) -> None:
        program, place = best.program, torch.device(device)
        self.best, self.settings, self.device = best, best.settings, place
        best.most = MOST_STEPS
        self.master = Master(program, place, dtype)
        self.cones = ConeProjections(program, place)
        zero = gated.objective(program, 0.0 * best.U)
        self.scale = 1.0 if self.master.margin else self.master.loss.size(zero)
        self.worth, self.width = zero, TUNING.first_width
        self.steps = self.rounds = self.idle = 0
        self.least = math.inf
        if warm and best.U.any():
            self._adopt(best.U)

    def run(self, keep: Callable[["ColumnMethod"], object] = lambda method: None) -> Termination | None:
        """Rounds until the tolerance or a limit is reached; None if nothing gets better any more.

        Args:
            keep: Called after every round, to save the state.
        """
        while self.idle < TUNING.patience and self.width > TUNING.last_width:
            if (ended := self.best.ended(self.steps)) is not None:
                break
            self._round()
            keep(self)
        else:
            ended = None
        sizes = np.linalg.norm(self.best.U, axis=2, keepdims=True)
        self.best.offer_point(np.where(sizes > TUNING.drop * sizes.max(initial=0.0), self.best.U, 0.0))
        self.best.report()
        return ended

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of it; carried derivatives begin anew."""
        master = self.master
        found = {"directions": master.directions, "slots": master.slots, "sizes": master.c, "width": self.width}
        return {f"columns_{name}": part for name, part in (found | self.cones.state()).items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint, if it holds directions of this method."""
        names = ("directions", "slots", "sizes", "width", "weights", "owners")
        if any(f"columns_{name}" not in state for name in names):
            return
        parts = [torch.tensor(np.asarray(state[f"columns_{name}"]), device=self.device) for name in names]
        directions, slots, sizes, width, weights, owners = parts
        (K, _, D), m = self.best.program.shape, sizes.numel()
        if m == 0 or directions.shape != (m, D) or slots.shape != (m,) or not float(width) > TUNING.last_width:
            return
        slots, sizes = slots.to(torch.long), sizes.to(torch.float64)
        if not bool(((slots >= 0) & (slots < K) & torch.isfinite(sizes) & (sizes > 0.0)).all()):
            return
        self.cones.restore(weights, owners)
        self.master.clear()
        self._add(directions.to(torch.float64), slots, sizes)
        self.width, self.worth = min(float(width), TUNING.first_width), self.best.upper

    def _adopt(self, U: Array) -> None:
        """Directions and coefficients of a feasible point."""
        slots = np.flatnonzero(U.any(axis=(1, 2)))
        vectors = torch.tensor(U[slots, 0], device=self.device)
        sizes = vectors.norm(dim=1)
        self._add(vectors / sizes[:, None], torch.tensor(slots, device=self.device), sizes)
        self.width, self.worth = TUNING.warm_width, self.best.upper

    def _add(self, directions: Tensor, slots: Tensor, sizes: Tensor) -> None:
        tau = self._smoothing(slots.numel()).barrier
        self.master.add(directions, slots, 1.0, 1.0)
        self.master.c[-slots.numel() :] = sizes
        self.master.pulls[-slots.numel() :] = tau / sizes

    def _smoothing(self, count: int) -> MasterSmoothing:
        program, values = self.best.program, self.width * self.scale
        reach = max(float(program.attack.radius.max(initial=0.0)), TINY) * max(1, program.attackable) ** 0.5
        cost, K = self.width * self.worth, program.shape[0]
        return MasterSmoothing(
            values,
            min(values / reach, 1e6),
            TUNING.lengths * cost / (program.beta * K**0.5),
            TUNING.barrier * cost / max(1, count),
        )

    def _round(self) -> None:
        """Price at the multipliers of the present directions, take new ones in, and solve on all of them."""
        first = self.rounds == 0
        self.rounds += 1
        place = self._outline() if first and self.master.count == 0 else self._solve()
        if self.best.late:
            return
        P, inside = self._price(place, TUNING.early_share if first else TUNING.exact_share)
        self.best.report()
        gap = self.best.gap
        self.idle, self.least = (0, gap) if gap < 0.99 * self.least else (self.idle + 1, self.least)
        threshold = TUNING.early_share if first else 1.0 + TUNING.margin * min(gap, 1.0)
        self.master.merge(TUNING.most_per_slot, TUNING.left_per_slot)
        self._enter(P, inside, threshold)
        if not first:
            self.width = max(min(self.width, TUNING.follow_gap * gap), TUNING.largest_cut * self.width)
        self.worth = max(self.best.upper, 0.3 * self.worth)
        if self.rounds % TUNING.purge_every == 0 and self.master.count:
            self.master.keep(self.master.c > TUNING.negligible * min(1.0, 10.0 * gap) * self.master.c.max())

    def _outline(self) -> Place:
        """The optimum of a programme with one direction per slot, fitted to its gates; not all are in their cones."""
        program, X = self.best.program, self.master.X
        gram = X.T @ X
        gram.diagonal().add_(1e-9 * gram.diagonal().mean().clamp_min(TINY))
        sides = torch.tensor(2.0 * program.gates - 1.0, device=self.device)
        fitted = torch.linalg.solve(gram, X.T @ sides).T
        fitted = fitted / fitted.norm(dim=1, keepdim=True).clamp_min(TINY)
        slots = torch.arange(fitted.shape[0], device=self.device)
        tau = self._smoothing(slots.numel()).barrier
        self.master.add(fitted, slots, tau / (TUNING.entry_share * program.beta), TUNING.entry_share * program.beta)
        place = self._descend()
        self.master.clear()
        return place

    def _solve(self) -> Place:
        """Where Newton steps on the directions lead."""
        if self.master.count == 0:
            return self.master.at(self.master.c, self._smoothing(0))
        place = self._descend()
        U = np.zeros(self.best.program.shape)
        U[self.master.used.cpu().numpy(), 0] = place.U.cpu().numpy()
        self.best.offer_point(U)
        return place

    def _descend(self) -> Place:
        most = (self.settings.max_iterations or MOST_STEPS) - self.steps
        tolerance = TUNING.accuracy * self.width * self.worth
        smoothing = self._smoothing(self.master.count)
        place, steps = self.master.minimise(smoothing, min(TUNING.round_steps, most), tolerance, lambda: self.best.late)
        self.steps += steps
        return place

    def _price(self, place: Place, share: float) -> tuple[Tensor, Tensor]:
        """Project every slot's vector, certify, and return the projections and which are inside their cones."""
        best, master = self.best, self.master
        n = master.X.shape[0]
        theta, omega = master.weighed(place.theta) / n, master.weighed(place.omega) / n
        attacks = master.X.new_zeros((n, master.d))
        pulls = (theta * master.labels if master.margin else theta)[:, None] * master.X
        if place.sums is not None:
            attacks = -place.sums.gradient
            pulls[:, : master.d] += (omega * master.radius)[:, None] * attacks
        vectors, cost = master.gates.T @ pulls, max(TUNING.cheap_share * best.gap, TUNING.least_cost)
        P, inside = self.cones.project(vectors, share * best.program.beta, lambda: best.late, cost)
        began = time.perf_counter()
        mu, directions = self.cones.multipliers()
        found = GatedMultipliers(
            _array(theta)[:, None],
            _array(attacks)[:, None, :],
            _array(mu)[..., None],
            _array(directions)[:, None, :],
            None if place.residuals is None else _array(omega)[:, None],
        )
        best.offer_average(found, _array(P)[:, None, :])
        # The last certificate is followed by core's own, which takes about as long.
        best.deadline.reserve = 3.0 * (time.perf_counter() - began)
        return P, inside

    def _enter(self, P: Tensor, inside: Tensor, threshold: float) -> None:
        """New directions where projections are long."""
        beta, lengths = self.best.program.beta, P.norm(dim=1)
        slots = torch.nonzero(inside & (lengths > threshold * beta))[:, 0]
        slots = slots[torch.argsort(lengths[slots], descending=True, stable=True)[: TUNING.most_new]]
        if slots.numel():
            tau = self._smoothing(self.master.count + slots.numel()).barrier
            slope = TUNING.entry_share * beta
            self.master.add(P[slots] / lengths[slots, None], slots, tau / slope, slope)


def suits(program: GatedProgram) -> bool:
    """Whether the method knows a programme: cones, one output, no attack on a zero input."""
    attacked = program.attack.radius > 0.0
    flat = bool((attacked & ~program.X.any(axis=1)).any()) and program.attackable > 0
    return program.rules.constrains_gates and program.shape[1] == 1 and program.shape[0] > 0 and not flat


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().cpu().to(torch.float64).numpy())
