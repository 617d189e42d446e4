"""First-order training of polynomial networks of several outputs under one loss, to certified global optimality.

Neurons of fixed sign and class descend on a smoothed objective (`objective`) by L-BFGS; certificates are `core`'s
(`certify`). The rounds are those of one output (`training`).
"""

import math
import time
from dataclasses import replace

import torch

from cvxrobust.backends.torch.checkpoint import check_checkpoint, checkpoint_of
from cvxrobust.backends.torch.joint.objective import JointObjective
from cvxrobust.backends.torch.joint.samples import JointSamples
from cvxrobust.backends.torch.joint.training import JointTraining
from cvxrobust.backends.torch.polynomial.samples import StopPass
from cvxrobust.core import (
    CvxRobustError,
    InputError,
    JointProgram,
    Monitor,
    PolynomialNetwork,
    Settings,
    Solution,
    Termination,
    torch_threads,
)
from cvxrobust.core.kit import Deadline

STEPS = ("batch", "epochs")
"""Options about stochastic steps."""


def solve_joint(
    program: JointProgram,
    settings: Settings,
    monitor: Monitor | None = None,
    start: PolynomialNetwork | None = None,
    device: str = "cpu",
    dtype: str = "float64",
) -> Solution:
    """Train a network of K outputs until its certified relative gap is at most the tolerance.

    Args:
        program: What to train.
        settings: Tolerance, ``max_iterations`` (evaluations of the objective), time limit, seed, threads. Options:
            ``neurons`` (of either sign and each class at the start), ``checkpoint`` (a folder), ``checkpoint_every``
            (seconds); there are no stochastic steps.
        monitor: Stops the search, and hears of better bounds.
        start: A network to start from, or None.
        device: A torch device.
        dtype: Precision of the products with the points: ``"float64"`` or ``"float32"``. Root-finding, neurons and
            certificates are float64 always.

    Returns:
        The best network and the best multipliers seen, not necessarily of the same iterate.

    Raises:
        InputError: An option out of range, or a start of another shape.
    """
    _check(program, settings, start)
    monitor = monitor or Monitor()
    until = monitor.deadline
    if settings.time_limit is not None:
        until = min(time.perf_counter() + settings.time_limit, math.inf if until is None else until)
    monitor = monitor.sharing(until, monitor.hear)
    deadline = Deadline(monitor)
    # Apple's GPUs have no double precision, which all but the large products needs.
    where = torch.device("cpu" if device == "mps" else device)

    def check() -> None:
        if deadline.reason is not None:
            raise StopPass

    with torch_threads(settings.threads), torch.inference_mode():
        samples = JointSamples(program, where, torch.float32 if dtype == "float32" else torch.float64)
        objective = JointObjective(program, samples, check)
        checkpoint = checkpoint_of(program, settings)
        training = JointTraining(objective, settings, monitor, deadline, start, checkpoint)
        try:
            found = training.run()
        except CvxRobustError:
            raise
        except Exception as error:
            # What the search has got to is not lost: out of memory, say.
            full = isinstance(error, MemoryError) or "out of memory" in str(error)
            ended = Termination.OUT_OF_MEMORY if full else Termination.ERROR
            found = training.best.solution(ended, message=f"{type(error).__name__}: {error}")
    ignored = {name: "joint programmes have no stochastic steps" for name in STEPS if name in settings.options}
    applied = {"device": str(where), "dtype": dtype, "tolerance": settings.tolerance}
    return replace(found, applied=applied, ignored=ignored)


def _check(program: JointProgram, settings: Settings, start: PolynomialNetwork | None) -> None:
    count = settings.options.get("neurons", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"option neurons is {count!r}; expected a whole number of 1 or more.")
    check_checkpoint(settings)
    expected = (program.X.shape[1], program.n_classes)
    if start is not None and (start.n_features, *start.alpha.shape[1:]) != expected:
        raise InputError(
            f"start has {start.n_features} inputs and alpha of shape {start.alpha.shape}; expected {expected[0]} and "
            f"{expected[1]} outputs."
        )
