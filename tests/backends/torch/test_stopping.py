"""Whatever ends a solve, and wherever: a certified network comes back, the best one known."""

import math
import signal
import threading
import time

import numpy as np
import pytest
import torch

from cvxrobust import AdversarialSDP, Batches, Settings, StreamedSDP, solve
from cvxrobust.backends.torch.polynomial.solve import solve_polynomial, solve_polynomials
from cvxrobust.backends.torch.process_group import Team
from cvxrobust.backends.torch.stopping import Stops
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.kit.deadline import SHARE
from cvxrobust.core.solving.judging import witness
from cvxrobust.core.solving.judging.sanitize import network_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem_of(kind, n, d, classes=3):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, d))
    score = (
        X[:, :5] @ rng.standard_normal((5, classes)) + X[:, :1] * X[:, 1:2] + 0.3 * rng.standard_normal((n, classes))
    )
    y = score.argmax(axis=1) if "classes" in kind else np.where(score[:, 0] > 0.0, 1.0, -1.0)
    if "streamed" not in kind:
        return AdversarialSDP(X, y, radius=0.2)
    size = n // 4 + 1
    return StreamedSDP(Batches([(X[i : i + size], y[i : i + size]) for i in range(0, n, size)]), radius=0.2)


KINDS = ("plain", "streamed", "classes", "streamed classes")
SMALL = {kind: problem_of(kind, 60, 6) for kind in KINDS}
LARGE = {kind: problem_of(kind, 5_000, 100) for kind in KINDS}


def honest(problem, result, termination):
    """Whether a stopped result is one, and its bounds are its network's and the problem's."""
    upper, lower = result.certificate.upper, result.certificate.lower
    assert result.termination is termination, result.message
    assert np.isfinite(upper)
    assert 0.0 <= lower <= upper <= len(problem.parts) * (1.0 + 1e-12)  # the networks without neurons lose 1 each
    assert problem.objective(result.network) == pytest.approx(upper, rel=1e-12)


# -- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1e-3, 0.3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [0, 500], ids=["full", "stochastic"])
def test_a_time_limit_ends_a_solve_with_a_certified_network(kind, limit, batch):
    problem = LARGE[kind]
    settings = Settings(tolerance=1e-9, time_limit=limit, threads=1, options={"batch": batch})
    began = time.perf_counter()
    result = solve(problem, "torch", settings=settings)
    assert time.perf_counter() - began < limit + 10.0  # only to tell an end from none
    honest(problem, result, Termination.TIME_LIMIT)
    assert result.certificate.lower > 0.0


def test_more_time_gives_better_bounds():
    results = [
        solve(LARGE["plain"], "torch", settings=Settings(tolerance=1e-9, time_limit=limit, threads=1))
        for limit in (1e-3, 2.0)
    ]
    for result in results:
        honest(LARGE["plain"], result, Termination.TIME_LIMIT)
    assert results[1].certificate.upper < 0.95 * results[0].certificate.upper
    assert results[1].certificate.lower > 2.0 * results[0].certificate.lower


class Clock:
    """Time that passes only when somebody looks at it."""

    def __init__(self, step):
        self.now, self.step = 100.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.mark.parametrize("batch", [0, 8], ids=["full", "stochastic"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_may_pass_anywhere(monkeypatch, kind, batch):
    problem = SMALL[kind]
    program, columns = problem.to_structured(), len(problem.parts)
    for looks in (1, 2, 3, 5, 8, 40, 100):
        with monkeypatch.context() as patch:
            patch.setattr(time, "perf_counter", Clock(1.0))
            settings = Settings(tolerance=1e-9, time_limit=float(looks), options={"batch": batch})
            found = solve_polynomials(program, settings, [Monitor()] * columns, [None] * columns)
        for part, solution in zip(problem.parts, found, strict=True):
            assert solution.termination is Termination.TIME_LIMIT
            assert certificate(part, solution).upper <= 1.0 + 1e-12


def test_what_stochastic_steps_found_is_not_lost():
    problem, button = LARGE["plain"], Button(9)
    settings = Settings(tolerance=1e-9, options={"batch": 500})
    solution = solve_polynomial(problem.to_structured(), settings, Monitor(_stop=button))
    assert solution.termination is Termination.INTERRUPTED
    assert solution.iterations == 1
    found = certificate(problem, solution)
    assert found.upper < 0.95
    assert found.lower > 0.0


def test_time_is_kept_back_for_the_last_certificate_but_only_so_much(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    stops = Stops(Monitor(deadline=110.0), Team(), CPU)
    for reserve, until in ((0.0, 110.0), (2.0, 108.0), (5.0, 110.0 - 10.0 * SHARE), (1e9, 110.0 - 10.0 * SHARE)):
        stops.reserve = reserve
        now[0] = until - 1e-6
        assert stops.reason is None
        now[0] = until
        assert stops.reason is Termination.TIME_LIMIT
    stops.monitor.stop()
    assert stops.reason is Termination.INTERRUPTED
    assert Stops(Monitor(deadline=99.0), Team(), CPU).reason is Termination.TIME_LIMIT
    endless = Stops(Monitor(), Team(), CPU)
    endless.reserve = 1e9
    assert endless.reason is None


# -- iterations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 41, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_of_iterations_is_kept_and_used(kind, limit):
    problem = SMALL[kind]
    settings = Settings(tolerance=1e-9, max_iterations=limit, threads=1, options={"batch": 0})
    result = solve(problem, "torch", settings=settings)
    honest(problem, result, Termination.ITERATION_LIMIT)
    for part in result.parts or (result,):
        assert part.iterations == limit
        assert part.certificate.relative_gap < (1.0 if limit < 100 else 0.6)


# -- Ctrl-C ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_ends_a_solve_with_a_certified_network(kind, number, monkeypatch):
    monkeypatch.setattr(witness, "SHARE", math.inf)  # every iterate is judged, and heard of
    monkeypatch.setattr(witness, "SHRUNK", 1.0)
    problem, calls = SMALL[kind], []

    def callback(*point):
        calls.append(point)
        if len(calls) == number:
            signal.raise_signal(signal.SIGINT)

    result = solve(problem, "torch", settings=Settings(tolerance=1e-9, threads=1), callback=callback)
    honest(problem, result, Termination.INTERRUPTED)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _, upper, lower = calls[number - 1]
    assert result.certificate.upper <= upper * (1.0 + 1e-12)
    assert result.certificate.lower >= lower * (1.0 - 1e-12)


class Button(threading.Event):
    """A stop button that is found pressed when it is looked at for the given time, and ever after."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    def is_set(self):
        self.looks -= 1
        return self.looks < 0


def certificate(problem, solution):
    """Bounds by the problem's own judgement."""
    return Certificate(problem.objective(network_of(problem, solution)), problem.lower_bound(solution.multipliers))


@pytest.mark.parametrize("batch", [0, 8], ids=["full", "stochastic"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_solve_can_be_stopped_anywhere(monkeypatch, kind, batch):
    monkeypatch.setattr("cvxrobust.backends.torch.polynomial.samples.BLOCK", 16)
    problem = SMALL[kind]
    program, columns = problem.to_structured(), len(problem.parts)
    for looks in (*range(7), 10, 20, 77):
        button = Monitor(_stop=Button(looks))
        monitors = [button, *(Monitor() for _ in range(columns - 1))]
        settings = Settings(tolerance=1e-12, options={"batch": batch})
        found = solve_polynomials(program, settings, monitors, [None] * columns)
        assert len(found) == columns
        for part, solution in zip(problem.parts, found, strict=True):
            assert solution.termination is Termination.INTERRUPTED
            bounds = certificate(part, solution)
            assert 0.0 <= bounds.lower <= bounds.upper <= 1.0 + 1e-12


def test_a_pass_that_is_broken_off_keeps_the_progress_since_the_last_certificate(monkeypatch):
    monkeypatch.setattr("cvxrobust.backends.torch.polynomial.samples.BLOCK", 16)
    problem = problem_of("plain", 1_500, 30)
    program, reports, looks = problem.to_structured(), [], []

    def hear(upper, lower, iterate):
        reports.append((upper, lower))
        looks.append(counted.looks)

    counted = Button(10**6)
    settings = Settings(tolerance=1e-12, max_iterations=90)
    solve_polynomial(program, settings, Monitor(hear=hear, _stop=counted))
    # In the middle of a pass, late in the round that follows the second certificate.
    second, third = (10**6 - looks[k] for k in (2, 3))
    reports.clear()
    counted = Button(second + int(0.8 * (third - second)))
    solution = solve_polynomial(program, settings, Monitor(hear=hear, _stop=counted))
    assert solution.termination is Termination.INTERRUPTED
    assert solution.iterations > 20
    assert len(reports) == 4
    assert reports[-1][0] < reports[-2][0]
    found = certificate(problem, solution)
    assert (found.upper, found.lower) == pytest.approx(reports[-1], rel=1e-9)
