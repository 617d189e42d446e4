"""Gated ReLU programmes, certified in float64 along the way: by Newton steps, or at scale by methods of their own.

Small programmes follow a path of smoothings by Newton's method (`newton.path`). Large programmes without cones are
solved by the method of multipliers (`multipliers.method`), large ones with cones on directions in these
(`columns.method`); both go over to the path if they get no further.
"""

from typing import Any

import numpy as np
import torch

from cvxrobust.backends.torch.checkpoint import Checkpoint
from cvxrobust.backends.torch.gated.best_so_far import GatedIncumbent
from cvxrobust.backends.torch.gated.columns.method import MOST_STEPS as MOST_COLUMN_STEPS
from cvxrobust.backends.torch.gated.columns.method import ColumnMethod, suits
from cvxrobust.backends.torch.gated.multipliers.method import MOST, MultiplierMethod
from cvxrobust.backends.torch.gated.newton.path import MOST_STEPS, Path, begin, follow
from cvxrobust.backends.torch.gated.sizes import NARROW
from cvxrobust.core import (
    GatedProgram,
    Monitor,
    ReLUNetwork,
    Settings,
    Solution,
    Termination,
    check_options,
    torch_threads,
)
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import network_multipliers

LARGE = 5_000_000
"""Samples times slots times inputs from which programmes without cones go to the method of multipliers."""
LARGE_GATED = 2_000_000
"""The same for the gated form, whose objective is the cheapest. Seconds of multipliers and of Newton to 1e-6, 50 slots
(hinge; logistic), without attack and l2: 500 x 100 10, 13 and 25, 16; 1.6, 1.4 and 8.0, 6.6. 1000 x 20 2.1, 10 and 4.4,
6.7; 4.6, 4.2 and 5.8, 8.1. 500 x 20 4.6, 6.8 and 3.6, 2.5; 2.7, 2.3 and 1.2, 1.5."""
WIDE = 300_000_000
"""Samples times slots times inputs squared, what the blocks of a Newton step cost, from which they go there, too.
Processor seconds (gaps) of Newton and of multipliers, hinge, 100 slots, l2: 200 x 200, rows of length 1, 42 (1.6e-3)
and 5.7 (7e-5), of length 14, 24 (2e-2) and 23 (3e-3), without attack 23 (2e-2) and 18 (1e-4); 150 x 150 35 (1e-3) and
23 (1e-4); but 100 x 100 16 (2e-3) and 15 (1e-2), 400 x 30 14 (5e-5) and 14 (1e-4)."""
LARGE_CONES = 20_000
"""The same for programmes with cones, which then are solved on directions in them; below, both ways take moments."""


def solve_gated(
    program: GatedProgram,
    settings: Settings,
    monitor: Monitor | None = None,
    start: ReLUNetwork | None = None,
    device: str = "cpu",
    dtype: str = "float64",
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Solve a gated programme to a certified relative gap.

    Deterministic. The network of the answer is `cvxrobust.core.programs.gated.evaluation.to_network` of the best point
    found, exactly feasible; the multipliers are those with the best bound found.

    Args:
        program: Every formulation, loss and norm of `cvxrobust.core.programs.gated.evaluation`.
        settings: Tolerance and limits; iterations are Newton steps, at scale evaluations of the objective.
        monitor: Stops the solve and hears of certified bounds; None for the time limit of the settings alone.
        start: A network to start from.
        device: Where the tensors are.
        dtype: Precision of the iterates; certificates are always float64.
        checkpoint: Holds the state of an earlier solve of the same programme to go on from, and takes this one's.

    Raises:
        InputError: The checkpoint belongs to another programme.
        UnsupportedProgramError: A one-sided programme whose loss is not of one margin, or an unknown loss or norm.
        UnknownNameError: The settings hold native options; there are none.
    """
    gated.require_meaning(program)
    check_options(settings, set(), "torch")
    most = settings.max_iterations or _most(program)
    applied = {"tolerance": settings.tolerance, "max_iterations": most, "device": device, "dtype": dtype}
    ignored = {} if settings.seed == Settings.seed else {"seed": "this solver is deterministic"}
    solve = _Solve(program, settings, monitor or Monitor.within(settings.time_limit), device, dtype, checkpoint)
    # Otherwise overflow of some trial point would be worth a warning.
    with (
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        torch_threads(settings.threads),
        torch.inference_mode(),
    ):
        termination = solve.run(start)
    return Solution(
        termination,
        network=gated.to_network(program, solve.best.U),
        multipliers=solve.best.feasible() if at_scale(program) or by_columns(program) else solve.best.dual,
        iterations=solve.steps,
        message=solve.message,
        applied=applied,
        ignored=ignored,
    )


def at_scale(program: GatedProgram) -> bool:
    """Whether a programme goes to the method of multipliers."""
    (K, _, D), n = program.shape, program.X.shape[0]
    least = LARGE if program.rules.paired else LARGE_GATED
    large = n * K * D >= least or n * K * D * D >= WIDE
    balls = program.attack.widths is None  # with boxes of their own samples share no dual norm
    return balls and not program.rules.constrains_gates and program.shape[1] == 1 and large


def by_columns(program: GatedProgram) -> bool:
    """Whether a programme is solved on directions in its cones."""
    (K, _, D), n = program.shape, program.X.shape[0]
    return program.attack.widths is None and suits(program) and n >= NARROW * D and n * K * D >= LARGE_CONES


def _most(program: GatedProgram) -> int:
    """Iterations of the method that a programme goes to."""
    if at_scale(program):
        return MOST
    return MOST_COLUMN_STEPS if by_columns(program) else MOST_STEPS


class _Solve:
    """One solve: the best so far, and which method is at work."""

    def __init__(
        self,
        program: GatedProgram,
        settings: Settings,
        monitor: Monitor,
        device: str,
        dtype: str,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.device, self.checkpoint = device, checkpoint
        self.dtype = torch.float64 if dtype == "float64" else torch.float32
        self.best = GatedIncumbent(program, settings, monitor)
        self.steps, self.message = 0, ""

    def run(self, start: ReLUNetwork | None) -> Termination:
        """Solve, from a checkpoint, a network, or nothing."""
        best, program = self.best, self.best.program
        best.offer_point(best.U)
        best.offer_multipliers(network_multipliers(program, best.U))
        if start is not None:
            given = gated.from_network(program, start)
            best.offer_point(given)
            if np.isfinite(gated.objective(program, given)):
                best.offer_multipliers(network_multipliers(program, given))
        state = None if self.checkpoint is None else self.checkpoint.load()
        if state is not None:
            best.restore(state)
        best.report()
        ended = best.ended(0)
        warm = start is not None or state is not None
        if ended is None and at_scale(program):
            ended = self._by_multipliers(warm, state)
        if ended is None and by_columns(program):
            ended = self._by_columns(warm, state)
        return ended or self._by_path(warm, state)

    def _by_multipliers(self, warm: bool, state: dict[str, Any] | None) -> Termination | None:
        U = self.best.U if warm else np.zeros(self.best.program.shape)
        method = MultiplierMethod(self.best, U, self.device, self.dtype)
        if state is not None:
            method.restore(state)
        ended = method.run(self._keep)
        self.steps += method.evaluations
        self.message = f"{method.evaluations} evaluations, {method.whole.used.size} slots in use"
        self._keep(method, ended is not Termination.CONVERGED)
        return ended

    def _by_columns(self, warm: bool, state: dict[str, Any] | None) -> Termination | None:
        method = ColumnMethod(self.best, warm, self.device, self.dtype)
        if state is not None:
            method.restore(state)
        ended = method.run(self._keep)
        self.steps += method.steps
        self.message = f"{method.rounds} rounds, {method.master.count} directions in {method.master.used.numel()} cones"
        self._keep(method, ended is not Termination.CONVERGED)
        return ended

    def _by_path(self, warm: bool, state: dict[str, Any] | None) -> Termination:
        path = begin(self.best, warm or self.steps > 0, self.device, self.dtype)
        if state is not None:
            path.restore(state)
        path.steps += self.steps
        ended = follow(path, self.best, self._keep)
        self.steps = path.steps
        self.message = f"{path.products} products with second derivatives, width {path.width:.1e}"
        self._keep(path, ended is not Termination.CONVERGED)
        return ended

    def _keep(self, worker: MultiplierMethod | ColumnMethod | Path, force: bool = False) -> None:
        """Save the state, unless that was done a moment ago."""
        if self.checkpoint is not None and (force or self.checkpoint.due()):
            self.checkpoint.save(worker.state() | self.best.state(), force)
