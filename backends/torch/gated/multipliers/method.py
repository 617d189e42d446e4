"""Gated programmes without cones at scale: the method of multipliers with quasi-Newton steps and few slots.

Rounds of L-BFGS on the augmented Lagrangian (`lagrangian`), whose memory outlives all changes. After each round
`cvxrobust.core` judges the point and the multipliers, improved by least squares where slots violate dual feasibility
and averaged with the best so far (`averages`), and the centres move to the multipliers. Slots that have shrunk
and that the multipliers do not call for are left out of the products; they keep the improved multipliers, which are
good ones to start from next time. Those that are called for come back, along the direction that helps most. What
contributes most to the gap decides what happens next: smoothing is lowered, or descent goes on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.backends.torch.gated.balls import SMOOTH_BALLS
from cvxrobust.backends.torch.gated.best_so_far import GatedIncumbent
from cvxrobust.backends.torch.gated.multipliers.blocks import Centres, Widths
from cvxrobust.backends.torch.gated.multipliers.lagrangian import Lagrangian, LagrangianEvaluation
from cvxrobust.backends.torch.lbfgs import Memory, descend
from cvxrobust.core import Termination
from cvxrobust.core.programs.gated.certificate import brackets, clip_to_domain, lengths, tightened_from

Array = NDArray[np.float64]
MOST = 50_000
"""Evaluations, unless the settings say otherwise."""


@dataclass(frozen=True)
class MultiplierTuning:
    """Where rounds begin, which slots they use, how widths change, and when the search gives up."""

    round_evaluations: int = 20
    """Evaluations between two certificates."""

    patience: int = 40
    """Rounds without a better gap after which the search gives up."""

    loss_width: float = 0.2
    relu_width: float = 0.02
    """First widths, in units of the margin."""

    first: float = 0.1
    """What all slots together may add to a margin at the start, about."""

    small_slot: float = 1e-2
    within_beta: float = 0.98
    """Slots shorter than this share of the longest, with vectors B_k shorter than this share of beta, are left out."""

    repaired_share: float = 0.25
    """Multipliers are improved at once where no more than this share of the slots is in question ..."""

    repair_below: float = 0.1
    """... and otherwise once the gap is below this."""

    narrow: float = 0.7
    widen: float = 1.4
    """Factors on widths."""

    balance: float = 4.0
    """Widths grow where unfinished descent costs this many times what smoothing does."""

    entry: float = 1e-3
    """Slots up to this share are given the first one again where the multipliers call for them."""

    least_width: float = 1e-7
    """Least widths, relative to the first."""


TUNING = MultiplierTuning()


class MultiplierMethod:
    """One solve: the point, the slots in use, the centres and widths.

    Args:
        best: The programme, the best bounds so far, tolerance and limits; iterations are evaluations of the augmented
            Lagrangian.
        start: A point to start from, shape (K, 1, D); zero for none.
        device: Where tensors live.
        dtype: Precision of the large products.
    """

    def __init__(self, best: GatedIncumbent, start: Array, device: str, dtype: torch.dtype) -> None:
        self.best, self.settings = best, best.settings
        best.most = MOST
        self.whole = Lagrangian(best.program, torch.device(device), dtype)
        self.centres = self.whole.centres()
        self.scale = max(float(np.sqrt((best.program.X**2).sum(axis=1).mean())), 1e-150)
        # Margins are about 1; residuals about as large as what the zero network leaves.
        zero = 1.0 if best.program.loss_function.margin else float(np.sqrt((best.program.labels**2).mean()))
        self.unit = max(zero, 1e-150)
        self.widths = self._first_widths()
        self.evaluations = self.idle = 0
        self.least = np.inf
        self.memory: Memory
        self.w: torch.Tensor
        self._begin(start[self.whole.slots, 0])

    def _first_widths(self) -> Widths:
        program = self.best.program
        d = max(1, program.attackable)
        # A norm may err about as much as a ReLU does.
        share = 1.0 / SMOOTH_BALLS[program.attack.norm].terms(d)
        reach = max(float(program.attack.radius.max(initial=0.0)), 1e-3 * self.scale / d**0.5)
        norms = self.unit * TUNING.relu_width * share / reach
        return Widths(self.unit * TUNING.loss_width, self.unit * TUNING.relu_width, norms, norms)

    def _begin(self, start: Array) -> None:
        """Place the slots of a start, or all of them along their gradients."""
        u = torch.as_tensor(start, device=self.whole.device)
        if not bool((u != 0.0).any()):
            found = self.whole.evaluate(torch.zeros_like(u), self.whole.part(self.centres), self.widths)
            lengths = found.derivative.norm(dim=1, keepdim=True).clamp_min(1e-300)
            u = -found.derivative / lengths * (TUNING.first * self.unit / (self.scale * max(1, u.shape[0]) ** 0.5))
        self.w = self.whole.coordinates(u)
        self.memory = Memory(self.w.numel(), self.whole.device)

    def run(self, keep: Callable[["MultiplierMethod"], object] = lambda method: None) -> Termination | None:
        """Rounds until the tolerance or a limit is reached; None if nothing gets better any more.

        Args:
            keep: Called after every round, to save the state.
        """
        while self.idle < TUNING.patience:
            if (ended := self.best.ended(self.evaluations)) is not None:
                return ended
            self._round()
            keep(self)
        return None

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of it; the memory of L-BFGS begins anew."""
        widths, centres = self.widths, self.centres
        return {
            "method_point": self.w,
            "method_used": self.whole.used,
            "method_widths": np.array([widths.loss, widths.relu, widths.sums, widths.slots]),
            "method_loss": centres.loss,
            "method_outputs": centres.outputs,
            "method_relu_positive": centres.relu[0],
            "method_relu_negative": centres.relu[1],
            "method_sums": centres.sums,
            "method_slots": centres.slots,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint, if it holds a point of this method."""
        if "method_point" not in state or "method_outputs" not in state:
            return

        def tensor(name: str, dtype: torch.dtype) -> torch.Tensor:
            return torch.as_tensor(np.asarray(state[f"method_{name}"]), device=self.whole.device).to(dtype)

        dtype = self.whole.dtype
        relu = tensor("relu_positive", dtype), tensor("relu_negative", dtype)
        found = Centres(
            tensor("loss", dtype), tensor("outputs", dtype), relu, tensor("sums", dtype), tensor("slots", dtype)
        )
        shapes = [
            [part.shape for part in (each.loss, each.outputs, *each.relu, each.sums, each.slots)]
            for each in (found, self.centres)
        ]
        if shapes[0] != shapes[1]:
            return
        self.whole.choose(np.asarray(state["method_used"]).astype(np.intp))
        self.centres, self.widths = found, Widths(*(float(width) for width in state["method_widths"]))
        self.w = tensor("point", torch.float64)
        self.memory = Memory(self.w.numel(), self.whole.device)

    def _round(self) -> None:
        part = self.whole.part(self.centres)
        most = (self.settings.max_iterations or MOST) - self.evaluations
        descent = descend(
            lambda w: self.whole.evaluate(w, part, self.widths),
            self.w,
            self.memory,
            min(TUNING.round_evaluations, most),
            lambda: self.best.late,
            0.0,
            4.0 * torch.finfo(self.whole.dtype).eps,
        )
        self.w = descent.point
        self.evaluations += descent.evaluations
        began = time.perf_counter()
        self._certify(self.whole.evaluate(self.w, part, self.widths, keep=True))
        # The last certificate is followed by core's own, which takes about as long.
        self.best.deadline.reserve = 2.0 * (time.perf_counter() - began)

    def _certify(self, found: LagrangianEvaluation) -> None:
        """Judge the point and its multipliers, and decide what happens next."""
        program, best = self.best.program, self.best
        if found.multipliers is None:
            return
        self.centres = self.whole.whole(found.multipliers, self.centres)
        U = np.zeros(program.shape)
        U[self.whole.slots[self.whole.used], 0] = self.whole.point(self.w).cpu().numpy()
        best.offer_point(U)
        multipliers = clip_to_domain(program, self.whole.multipliers(self.centres))
        B, _ = brackets(program, multipliers)
        known, sizes = best.gap, lengths(B)
        loss, over = self._excess(sizes), int((sizes > program.beta * (1.0 + 0.2 * known)).sum())
        few = over <= TUNING.repaired_share * sizes.size
        if loss > 0.1 * max(self.settings.tolerance, known) and (few or known < TUNING.repair_below):
            threshold = 0.2 * max(self.settings.tolerance, min(known, 0.1))
            multipliers = tightened_from(program, multipliers, B, threshold, lambda: best.monitor.should_stop)
            B, _ = brackets(program, multipliers)
            sizes = lengths(B)
            loss = self._excess(sizes)
            self.whole.adopt(multipliers, np.setdiff1d(np.arange(sizes.size), self.whole.used), self.centres)
        best.offer_average(multipliers, B)
        best.report()
        self.idle, self.least = (0, best.gap) if best.gap < 0.99 * self.least else (self.idle + 1, self.least)
        self._lower(found, loss)
        self._exchange(U, sizes, B)

    def _excess(self, sizes: Array) -> float:
        """By how much the longest vector B_k exceeds beta, relative to it."""
        return float(sizes.max(initial=0.0)) / self.best.program.beta - 1.0

    def _lower(self, found: LagrangianEvaluation, loss: float) -> None:
        """Narrow what contributes most to the gap, once it contributes more than unfinished descent."""
        errors = np.array(found.errors) / max(self.best.upper, 1e-300)
        total = float(errors.sum())
        first, widths = self._first_widths(), self.widths
        news = []
        for error, name in zip(errors, ("loss", "relu", "sums", "slots"), strict=True):
            now, start = getattr(widths, name), getattr(first, name)
            if total > max(loss, 0.5 * self.settings.tolerance) and error > 0.3 * total:
                now = max(TUNING.narrow * now, TUNING.least_width * start)
            elif loss > TUNING.balance * total and error < 0.7 * total:
                now = min(TUNING.widen * now, 30.0 * start)
            news.append(now)
        self.widths = Widths(*news)

    def _exchange(self, U: Array, violations: Array, B: Array) -> None:
        """Leave out slots that are not called for, and bring back those that are."""
        program, slots = self.best.program, self.whole.slots
        sizes, beta = np.linalg.norm(U[slots, 0], axis=1), program.beta
        longest = float(sizes.max(initial=0.0))
        used = np.zeros(slots.size, dtype=np.bool_)
        used[self.whole.used] = True
        share = violations[slots] / beta
        small = sizes <= TUNING.small_slot * longest
        dead = used & small & (share < TUNING.within_beta)
        wanted = (sizes <= TUNING.entry * longest) & (share > 1.0 + 0.1 * max(self.settings.tolerance, self.best.gap))
        if not dead.any() and not wanted.any():
            return
        w = torch.zeros((slots.size, program.shape[2]), dtype=torch.float64, device=self.whole.device)
        w[torch.as_tensor(self.whole.used, device=self.whole.device)] = self.w
        if wanted.any():
            towards = -B[slots[wanted], 0]
            towards *= TUNING.small_slot * longest / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-300)
            w[torch.as_tensor(wanted)] = self.whole.coordinates(torch.as_tensor(towards, device=self.whole.device))
        now = np.flatnonzero((used & ~dead) | wanted)
        self._remember(now)
        self.w = w[torch.as_tensor(now, device=self.whole.device)]
        if now.size != self.whole.used.size or (now != self.whole.used).any():
            self.whole.choose(now)

    def _remember(self, now: NDArray[np.intp]) -> None:
        """The memory of the slots that stay; of those that come it knows nothing."""
        old, K, D = self.memory, self.whole.slots.size, self.best.program.shape[2]
        pairs = torch.zeros((old.pairs.shape[0], K, D), dtype=torch.float64, device=self.whole.device)
        pairs[:, torch.as_tensor(self.whole.used)] = old.pairs.reshape(old.pairs.shape[0], -1, D)
        self.memory = Memory(now.size * D, self.whole.device)
        self.memory.adopt(pairs[:, torch.as_tensor(now)].reshape(old.pairs.shape[0], -1), old.order)
