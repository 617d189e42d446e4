"""First-order training of polynomial networks to certified global optimality, in PyTorch.

Neurons of fixed sign descend on a smoothed objective (`objective`) by L-BFGS whose memory outlives the
smoothing's changes. Every few dozen evaluations the exact objective and a dual bound say how far the optimum can be and
what keeps it there: the hinge's smoothing (then its centre moves to the current multipliers), the attacks' smoothing
(then it shrinks), or unfinished descent (then it goes on). A neuron that pricing finds and nobody is near joins the
network, so that the limit is the global optimum, whatever the width at the start; those that have come to repeat each
other, or have faded, are merged into as few as the network needs (`training`). What is small enough is
evaluated in NumPy (`objective_numpy`).

Inputs in raw units, where descent gets nowhere, are met by Newton steps along a central path first (`newton`), unless
targets are attacked: these have two worst cases per sample, and the path knows one.

Large data is read in blocks, may be too large for memory (`cvxrobust.Batches`), and may be shared by several processes
(`process_group`); then stochastic steps come first (`stochastic`).
"""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from cvxrobust.backends.torch.checkpoint import Checkpoint, check_checkpoint, checkpoint_of
from cvxrobust.backends.torch.polynomial.certify import certify
from cvxrobust.backends.torch.polynomial.newton.path import follow_path
from cvxrobust.backends.torch.polynomial.objective import Query, SmoothedObjective
from cvxrobust.backends.torch.polynomial.objective_numpy import objective_of
from cvxrobust.backends.torch.polynomial.samples import LocalSamples, StopPass
from cvxrobust.backends.torch.polynomial.stochastic import warm_up
from cvxrobust.backends.torch.polynomial.training import Request, Training
from cvxrobust.backends.torch.process_group import Team
from cvxrobust.backends.torch.stopping import Stops
from cvxrobust.core import (
    DTYPES,
    CvxRobustError,
    InputError,
    Monitor,
    PolynomialNetwork,
    PolynomialProgram,
    Settings,
    Solution,
    Termination,
    UnknownNameError,
    blas_threads,
    check_options,
    torch_threads,
)

FEW = 2**17
"""Inputs with no more entries than this are solved by one thread, however many there may be: they would only wait."""
OPTIONS = {"neurons", "batch", "epochs", "checkpoint", "checkpoint_every"}
"""Native options for polynomial programmes; see `solve_polynomials`."""


def solve_polynomial(
    program: PolynomialProgram,
    settings: Settings,
    monitor: Monitor | None = None,
    start: PolynomialNetwork | None = None,
    device: str = "cpu",
    dtype: str = "float64",
) -> Solution:
    """`solve_polynomials` for a programme of one column of labels.

    Raises:
        InputError: There are several columns.
    """
    if program.labels.ndim != 2 or program.labels.shape[1] != 1:
        raise InputError(
            f"labels have shape {program.labels.shape}; expected one column, (n, 1): several are solved together by "
            "`solve_together`."
        )
    (found,) = solve_polynomials(program, settings, [monitor or Monitor()], [start], device, dtype)
    return found


def solve_polynomials(
    program: PolynomialProgram,
    settings: Settings,
    monitors: Sequence[Monitor],
    starts: Sequence[PolynomialNetwork | None],
    device: str = "cpu",
    dtype: str = "float64",
) -> list[Solution]:
    """Train one network per column of labels until each one's certified relative gap is at most the tolerance.

    On a GPU, and where data is streamed or shared, all columns go through the same passes over the data.

    Args:
        program: What to train.
        settings: Tolerance, ``max_iterations`` (evaluations of the objective), time limit, seed, threads. Options:
            ``neurons`` (of either sign at the start), ``batch`` (samples of a stochastic step; 0 for none), ``epochs``
            (passes of stochastic steps), ``checkpoint`` (a folder), ``checkpoint_every`` (seconds).
        monitors: One per column; the first stops the search, each hears of its column's better bounds.
        starts: One per column: a network to start from, or None.
        device: A torch device.
        dtype: Precision of the products with X: ``"float64"`` or ``"float32"``. Root-finding, neurons and certificates
            are float64 always.

    Returns:
        Per column the best network and the best multipliers seen, not necessarily of the same iterate.

    Raises:
        InputError: An option out of range.
        UnknownNameError: An unknown option, loss or dtype.
    """
    _check(program, settings, starts)
    deadline = monitors[0].deadline
    if settings.time_limit is not None:
        deadline = min(time.perf_counter() + settings.time_limit, math.inf if deadline is None else deadline)
    where, columns = torch.device(device), range(program.labels.shape[1])
    # In one go they share passes and launches, but not a processor's cache: digits, 10 classes, took 1.4 times as long.
    apart = where.type == "cpu" and isinstance(program.X, np.ndarray) and Team().alone
    groups = [[k] for k in columns] if apart else [list(columns)]
    found: list[Solution] = []
    few = apart and settings.threads not in (None, 1) and math.prod(program.X.shape) <= FEW
    with blas_threads(1 if few else None), torch_threads(1 if few else settings.threads), torch.inference_mode():
        for k, group in enumerate(groups):
            # A fair share of what is left of the time.
            now = time.perf_counter()
            until = None if deadline is None else now + (deadline - now) / (len(groups) - k)
            # The caller's stop button stays connected.
            monitor = monitors[0].sharing(until, None)
            found += _solve_group(program, group, settings, monitor, monitors, starts, where, _dtype(dtype))
    applied = {"device": device, "dtype": dtype, "tolerance": settings.tolerance, "processes": Team().size}
    return [replace(solution, applied=applied) for solution in found]


def _solve_group(
    program: PolynomialProgram,
    group: Sequence[int],
    settings: Settings,
    monitor: Monitor,
    monitors: Sequence[Monitor],
    starts: Sequence[PolynomialNetwork | None],
    device: torch.device,
    dtype: torch.dtype,
) -> list[Solution]:
    """Some columns, in the same passes over the data."""
    home = torch.device("cpu") if device.type == "mps" else device
    team = Team(home)
    stops = Stops(monitor, team, home)
    samples = LocalSamples(program, device, dtype, team, lambda: stops.reason is not None)
    trainings = [
        Training(k, program, settings, samples, monitors[k], stops, starts[k], _checkpoint(program, k, settings))
        for k in group
    ]
    objective = objective_of(program, samples)
    drive = _Drive(objective, trainings, stops)
    try:
        follow_path(program, trainings, stops)
        warm_up(objective, trainings, settings, stops)
        return drive.run()
    except CvxRobustError:
        raise
    except Exception as error:
        # What the columns have got to is not lost: out of memory, say.
        message = f"{type(error).__name__}: {error}"
        return [
            drive.done.get(k) or replace(training.solution(_failure(error), saved=False), message=message)
            for k, training in enumerate(trainings)
        ]


def _failure(error: Exception) -> Termination:
    full = isinstance(error, MemoryError) or "out of memory" in str(error)
    return Termination.OUT_OF_MEMORY if full else Termination.ERROR


class _Drive:
    """Answers the requests of several trainings together."""

    def __init__(self, objective: SmoothedObjective, trainings: Sequence[Training], stops: Stops) -> None:
        self.objective, self.trainings, self.stops = objective, trainings, stops
        self.loss = objective.program.loss_function
        self.done: dict[int, Solution] = {}

    def run(self) -> list[Solution]:
        """Every training's solution, in order."""
        waiting: dict[int, tuple[Generator[Request, Any, Solution], Request]] = {}
        self.stops.agree()
        if self.stops.reason is not None:
            self._conclude(list(range(len(self.trainings))))
            return [self.done[k] for k in range(len(self.trainings))]
        for k, training in enumerate(self.trainings):
            self._advance(waiting, k, training.run(), None)
        try:
            while waiting:
                self.stops.agree()
                for k, answer in self._answers({k: request for k, (_, request) in waiting.items()}):
                    self._advance(waiting, k, waiting.pop(k)[0], answer)
        except StopPass:
            self._conclude([k for k in range(len(self.trainings)) if k not in self.done])
        return [self.done[k] for k in range(len(self.trainings))]

    def _advance(
        self, waiting: dict[int, tuple[Generator[Request, Any, Solution], Request]], k: int,
        steps: Generator[Request, Any, Solution], answer: Any,
    ) -> None:  # fmt: skip
        try:
            waiting[k] = steps, steps.send(answer)
        except StopIteration as ended:
            self.done[k] = ended.value

    def _answers(self, requests: dict[int, Request]) -> Iterator[tuple[int, Any]]:
        """Evaluations while anybody wants one; judgements when all wait for theirs, so that they share the pass."""
        queries = {k: request for k, request in requests.items() if isinstance(request, Query)}
        if queries:
            yield from zip(queries, self.objective.evaluate(list(queries.values())), strict=True)
            return
        pairs = [request for request in requests.values() if not isinstance(request, Query)]
        began = time.perf_counter()
        found = certify(self.objective, pairs, self.loss)
        # The solver's own last certificate is followed by that of whoever does not trust it.
        self.stops.reserve = 2.0 * (time.perf_counter() - began)
        yield from zip(requests, found, strict=True)

    def _conclude(self, unfinished: list[int]) -> None:
        """Judge what the trainings have got to, after a pass was broken off."""
        self.objective.samples.finish()
        walked = {k: training.query(training.neurons) for k in unfinished if (training := self.trainings[k]).walked}
        if walked:
            for k, evaluation in zip(walked, self.objective.evaluate(list(walked.values())), strict=True):
                self.trainings[k].latest = walked[k], evaluation
                self.trainings[k].evaluations += 1
        late = [k for k in unfinished if self.trainings[k].latest is not None]
        pairs = [pair for k in late if (pair := self.trainings[k].latest) is not None]
        for k, judgement in zip(late, certify(self.objective, pairs, self.loss) if pairs else (), strict=True):
            self.trainings[k].judged(judgement)
            self.trainings[k].neurons = judgement.neurons
        for k in unfinished:
            self.done[k] = self.trainings[k].solution(self.trainings[k].ended())


def _check(program: PolynomialProgram, settings: Settings, starts: Sequence[PolynomialNetwork | None]) -> None:
    check_options(settings, OPTIONS, "torch")
    for name, least in (("neurons", 1), ("batch", 0), ("epochs", 0)):
        number = settings.options.get(name, least)
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise InputError(f"option {name} is {number!r}; expected a whole number of {least} or more.")
    check_checkpoint(settings)
    for start in starts:
        if start is not None and (start.n_features != program.X.shape[1] or start.alpha.ndim != 1):
            raise InputError(
                f"start has {start.n_features} inputs and alpha of shape {start.alpha.shape}; "
                f"expected {program.X.shape[1]} and one output."
            )


def _checkpoint(program: PolynomialProgram, task: int, settings: Settings) -> Checkpoint | None:
    if "checkpoint" not in settings.options:
        return None
    return checkpoint_of(replace(program, labels=program.labels[:, task : task + 1]), settings)


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise UnknownNameError("dtype", name, DTYPES)
    return torch.float32 if name == "float32" else torch.float64
