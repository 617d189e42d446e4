"""Gated programmes along a path of smoothings by truncated Newton steps: exact, and fast where programmes are small.

The programme is smoothed (`objective`), the smoothed objective minimised by Newton steps that take nothing but
matrix products and small factorisations (`newton_step`), and the smoothing lowered, as a path-following method lowers
its barrier. At every width the point gives a network and the derivatives of the smoothed parts give multipliers;
`cvxrobust.core` judges both, and the best of either kind are kept. The cone form starts inside the cones
(`cone_interiors`) and stays there, so that its networks are feasible as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.gated.balls import smooth_ball
from cvxrobust.backends.torch.gated.best_so_far import TINY, GatedIncumbent
from cvxrobust.backends.torch.gated.newton.cone_interiors import THIN, interiors
from cvxrobust.backends.torch.gated.newton.newton_step import line_search, newton_direction
from cvxrobust.backends.torch.gated.newton.objective import NewtonPoint, at
from cvxrobust.backends.torch.gated.tensors import Carried, GatedTensors, SmoothingWidths
from cvxrobust.backends.torch.losses import torch_loss
from cvxrobust.core import GatedMultipliers, GatedProgram, Termination
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import gated_bound, tightened

Array = NDArray[np.float64]

MOST_STEPS = 2_000


@dataclass(frozen=True)
class PathTuning:
    """Where the path begins, how it goes on, and when it ends."""

    first_width: float = 0.1
    cone_width: float = 3.0
    """First width in the cone form, whose first centre is easy to find where the barrier outweighs all else."""

    warm_width: float = 0.01
    """First width, relative to the scale of the values, where a network is given to start from."""

    last_width: float = 1e-13
    shrink: float = 0.25
    """Factor on the width from stage to stage."""

    cone_shrink: float = 0.4
    """The same in the cone form, where one slot at the boundary of its cone holds all others up."""

    steps_per_stage: int = 40
    products_per_step: int = 200
    """Most conjugate gradient iterations for one Newton step."""

    cg_accuracy: float = 0.1
    """Residual of the Newton equations, in the preconditioner's norm, relative to the gradient's."""

    loose_end: float = 0.05
    """A stage may end when no slot's gradient exceeds this share of beta ..."""

    tight_end: float = 0.05
    """... nor this share of beta times the certified gap: the multipliers lose about that much by being made
    feasible."""

    slot_width: float = 0.3
    barrier: float = 0.3
    drops: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    """Slots shorter than these shares of the longest are left out on trial."""

    patience: int = 5
    """Stages without a better gap or network after which rounding is taken to have won."""

    repair_below: float = 0.3
    """Multipliers of slots without interior are found by least squares once the gap of the others is below this."""


TUNING = PathTuning()


@dataclass
class Path:
    """Where the path has got to, and what it needs to go on.

    Args:
        data: The programme on the device, without slots whose cones have no interior.
        kept: Which slots those are, shape (kept,).
        inside: Unit vectors in their cones, shape (kept, D).
        scale: Size of the values that the loss sees: 1 for margins.
        U: The iterate, shape (kept, C, D).
        width: The present width, relative to the scale.
        worth: The objective that widths are relative to.
        carried: Derivatives carried along.
        slots: Widths of the slots' dual norms, shape (kept, C, 1).
        steps: Newton steps taken.
        products: Products with the second derivative taken.
    """

    data: GatedTensors
    kept: NDArray[np.intp]
    inside: Tensor | None
    scale: float
    U: Tensor
    width: float
    worth: float
    carried: Carried | None = None
    slots: Tensor | None = None
    steps: int = 0
    products: int = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of it; derivatives carried along begin anew."""
        return {
            "path_point": self.U, "path_width": self.width, "path_worth": self.worth, "path_slots": self.slots,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint, if it holds a point of this path."""
        point = torch.as_tensor(np.asarray(state.get("path_point", 0.0)), device=self.U.device)
        if point.shape != self.U.shape or not bool(torch.isfinite(point).all()):
            return
        self.U = point.to(self.U.dtype)
        self.width, self.worth = float(state["path_width"]), float(state["path_worth"])
        if state.get("path_slots") is not None:
            self.slots = torch.as_tensor(np.asarray(state["path_slots"]), device=self.U.device).to(self.U.dtype)


def follow(path: Path, best: GatedIncumbent, keep: Callable[[Path], object] = lambda path: None) -> Termination:
    """Lower the width stage by stage until a limit or the tolerance is reached.

    Args:
        path: Where to go on; it moves.
        best: Takes what is found; its settings hold tolerance and limits, in Newton steps.
        keep: Called after every stage, to save the state.
    """
    settings, best.most = best.settings, MOST_STEPS
    if (ended := best.ended(path.steps)) is not None:
        return ended
    if path.kept.size == 0:
        if best.dual is not None:
            best.offer_multipliers(tightened(best.program, best.dual, stopped=lambda: best.late))
        best.report()
        return Termination.CONVERGED if best.gap <= settings.tolerance else Termination.NUMERICAL
    known, idle = (best.gap, best.upper), 0
    while path.width >= TUNING.last_width:
        point = _stage(path, best)
        _certify(path, best, point, settings.tolerance)
        if (ended := best.ended(path.steps)) is not None:
            return ended
        # Before multipliers are nearly feasible, networks become better and the gap does not.
        found = best.gap, best.upper
        idle = 0 if any(new < 0.99 * old for new, old in zip(found, known, strict=True)) else idle + 1
        known = min(known[0], best.gap), min(known[1], best.upper)
        if idle >= TUNING.patience:
            break
        path.width *= TUNING.cone_shrink if path.data.cone else TUNING.shrink
        # A sudden fall of the objective must not lower the barrier faster than intended.
        path.worth = max(best.upper, path.worth * (0.6 if path.data.cone else 0.25))
        keep(path)
    return Termination.NUMERICAL


def begin(best: GatedIncumbent, warm: bool, device: str, dtype: torch.dtype) -> Path:
    """The beginning of the path: at the best point if `warm`, else at zero; in cones moved inside."""
    program, zero = best.program, best.U * 0.0
    worth = gated.objective(program, zero)
    scale = 1.0 if program.loss_function.margin else torch_loss(program.loss).size(worth / program.shape[1])
    data, kept, inside = GatedTensors.of(program, device, dtype), np.arange(program.shape[0]), None
    if data.cone:
        # Cones can be thin: found in float64 whatever the iterates are.
        vectors, margins = interiors(GatedTensors.of(program, device, torch.float64), lambda: best.monitor.should_stop)
        kept = np.flatnonzero((margins > THIN).cpu().numpy())
        inside = vectors[torch.as_tensor(kept, device=device)].to(dtype)
        data = GatedTensors.of(_part(program, kept), device, dtype)
    U = best.U[kept] if warm else zero[kept]
    width = TUNING.cone_width if data.cone else TUNING.first_width
    width = width if not U.any() else TUNING.warm_width
    path = Path(data, kept, inside, scale, torch.as_tensor(U, device=device).to(dtype), width, best.upper)
    if inside is not None and kept.size:
        tau = _barrier(path)
        # Where the barrier and the penalty balance; slopes are superadditive, so that the sum is inside.
        size = program.X.shape[0] * tau / program.beta
        path.U = path.U + size * inside[:, None, :]
    return path


def _part(program: GatedProgram, kept: NDArray[np.intp]) -> GatedProgram:
    return replace(program, gates=program.gates[:, kept], signs=program.signs[kept])


def _barrier(path: Path) -> float:
    K, C, _ = path.data.program.shape
    return TUNING.barrier * path.width * path.worth / (path.data.X.shape[0] * K * C)


def _widths(path: Path) -> SmoothingWidths:
    """The smoothing of a stage."""
    program, values = path.data.program, path.width * path.scale
    reach = max(float(program.attack.radius.max(initial=0.0)), TINY) * max(1, program.attackable) ** 0.5
    share = min(values / reach, 1e6)  # without attack it is never used
    K, C, _ = program.shape
    if path.data.cone:
        # Above the norm, relative to the slot, and never wider than before: what was inside stays inside.
        sizes = torch.sqrt((path.U**2).sum(-1, keepdim=True))
        sizes = sizes * smooth_ball(program.attack, path.U).unit
        slots = (0.1 * min(path.width, 0.1) * sizes / max(1, program.attackable) ** 0.5).clamp_min(1e-30)
        slots = slots if path.slots is None else torch.minimum(slots, path.slots)
        path.slots = slots
    else:
        slots = torch.full((K, C, 1), share, dtype=path.U.dtype, device=path.U.device)
    lengths = TUNING.slot_width * path.width * path.worth / program.beta
    return SmoothingWidths(values, values, share, slots, lengths, _barrier(path) if path.data.cone else 0.0)


def _stage(path: Path, best: GatedIncumbent) -> NewtonPoint:
    """Newton steps at one width, until the multipliers are nearly feasible."""
    settings = best.settings
    most = settings.max_iterations or MOST_STEPS
    point = at(path.data, path.U, _widths(path), path.carried)
    beta = path.data.program.beta
    for _ in range(TUNING.steps_per_stage):
        gradient = point.gradient()
        worst = float(torch.sqrt((gradient**2).sum((1, 2))).max()) / beta
        if worst <= min(TUNING.loose_end, TUNING.tight_end * max(best.gap, settings.tolerance)):
            break
        if path.steps >= most or best.monitor.should_stop:
            break
        step, products = newton_direction(
            point, gradient, TUNING.cg_accuracy, TUNING.products_per_step, lambda: best.monitor.should_stop
        )
        path.steps, path.products = path.steps + 1, path.products + products
        found = line_search(point, gradient, step, point.widths)
        if found is None:
            break
        point = found
    path.U, path.carried = point.U, point.carried
    return point


def _certify(path: Path, best: GatedIncumbent, point: NewtonPoint, tolerance: float) -> None:
    """Judge a point and its multipliers in float64."""
    program = best.program
    U = np.zeros(program.shape)
    U[path.kept] = point.U.detach().cpu().to(torch.float64).numpy()
    if path.inside is not None:
        U[path.kept] = _moved_inside(path, U[path.kept])
    best.offer_point(U)
    sizes = np.sqrt((U**2).sum(axis=(1, 2)))
    for share in TUNING.drops:
        best.offer_point(np.where((sizes > share * sizes.max(initial=0.0))[:, None, None], U, 0.0))
    found = point.multipliers()
    if path.kept.size < program.shape[0]:
        among = gated_bound(path.data.program, found).value
        found = _spread(program, found, path.kept)
        if best.upper - among <= TUNING.repair_below * best.upper:
            found = tightened(program, found, tolerance, lambda: best.monitor.should_stop)
    best.offer_multipliers(found)
    best.report()


def _moved_inside(path: Path, U: Array) -> Array:
    """What rounding has moved out of its cone goes back along the vector inside, or is left out."""
    program = path.data.program
    if gated.is_feasible(program, U) or path.inside is None:
        return U
    inside = np.broadcast_to(path.inside.cpu().to(torch.float64).numpy()[:, None, :], U.shape)
    room, slack = gated.slopes(program, inside), gated.slopes(program, U)
    size = np.linalg.norm(program.X, axis=1)[:, None, None] * np.sqrt((U**2).sum(axis=2))
    missing = np.maximum(gated.FEASIBLE * size - slack, 0.0)
    share = np.where(room > 0.0, missing / np.where(room > 0.0, room, 1.0), 0.0).max(axis=0)
    moved = U + 2.0 * share[..., None] * inside
    least: Array = gated.slopes(program, moved).min(axis=0, initial=np.inf)
    return np.where((least >= 0.0)[..., None], moved, 0.0)


def _spread(program: GatedProgram, found: GatedMultipliers, kept: NDArray[np.intp]) -> GatedMultipliers:
    """Multipliers with zeros for the slots that were left out."""
    K, C, _ = program.shape
    mu = np.zeros((program.X.shape[0], K, C))
    directions = np.zeros((K, C, program.attackable))
    mu[:, kept], directions[kept] = found.mu, found.directions
    return replace(found, mu=mu, directions=directions)
