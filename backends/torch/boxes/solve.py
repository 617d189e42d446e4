"""First-order training of polynomial networks against boxes: one column of labels to a network near the optimum."""

import math
import time
from dataclasses import replace

import torch

from cvxrobust.backends.torch.boxes.objective import BoxObjective
from cvxrobust.backends.torch.boxes.training import BoxTraining
from cvxrobust.core import InputError, Monitor, PolynomialNetwork, Settings, Solution, torch_threads
from cvxrobust.core.programs.boxes.program import BoxProgram

OTHERS = ("batch", "epochs", "checkpoint", "checkpoint_every")
"""Options about stochastic steps and checkpoints."""


def solve_boxes(
    program: BoxProgram,
    settings: Settings,
    monitor: Monitor | None = None,
    start: PolynomialNetwork | None = None,
    device: str = "cpu",
) -> Solution:
    """Train a network until its certified relative gap is at most the tolerance, or bounds no longer meet.

    Args:
        program: What to train, of one column of labels.
        settings: Tolerance, ``max_iterations`` (evaluations of the objective), time limit, seed, threads. Options:
            ``neurons`` (of either sign at the start).
        monitor: Stops the search, and hears of better bounds.
        start: A network to start from, or None.
        device: A torch device.

    Returns:
        The best network and the best multipliers seen, not necessarily of the same iterate.

    Raises:
        InputError: There are several columns of labels, or an option is out of range.
    """
    if program.labels.ndim != 2 or program.labels.shape[1] != 1:
        raise InputError(f"labels have shape {program.labels.shape}; expected one column, (n, 1), per solve.")
    count = settings.options.get("neurons", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"option neurons is {count!r}; expected a whole number of 1 or more.")
    monitor = monitor or Monitor()
    until = monitor.deadline
    if settings.time_limit is not None:
        until = min(time.perf_counter() + settings.time_limit, math.inf if until is None else until)
    monitor = monitor.sharing(until, monitor.hear)
    # Apple's GPUs have no double precision.
    where = torch.device("cpu" if device == "mps" else device)
    with torch_threads(settings.threads), torch.inference_mode():
        found = BoxTraining(BoxObjective(program, where), settings, monitor, start).run()
    ignored = {name: "training against boxes has neither" for name in OTHERS if name in settings.options}
    if settings.dtype != "float64":
        ignored["dtype"] = "training against boxes is in float64"
    return replace(found, applied={"device": str(where), "tolerance": settings.tolerance}, ignored=ignored)
