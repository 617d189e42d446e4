"""What a running backend reports is a claim until `core` has proved it, on a clock of its own."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import ConvexReLU, Settings, StandardSDP, Termination, solve
from cvxrobust.core import Capabilities, Certificate, Solution, get_backend
from cvxrobust.core.solving.judging import witness

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4))
Y = np.where(X @ RNG.standard_normal(4) + 0.5 * RNG.standard_normal(40) > 0.0, 1.0, -1.0)
PROBLEM = ConvexReLU(X, Y, n_gates=4)


class Structured(Fake):
    """Reads gated programmes and does what it is told with its monitor."""

    capabilities = Capabilities(structured=frozenset({"gated"}), monitored=True)

    def __init__(self, act):
        self.act = act

    def solve(self, program, settings, monitor):
        return self.act(monitor)


@pytest.fixture(scope="module")
def good():
    return get_backend("ipm").solve(PROBLEM.to_structured(), Settings(threads=1))


@pytest.fixture
def curious(monkeypatch):
    """Everything that is handed over is judged."""
    monkeypatch.setattr(witness, "SHARE", math.inf)
    monkeypatch.setattr(witness, "SHRUNK", 1.0)


def solved(act, callback=None):
    return solve(PROBLEM, backend=Structured(act), settings=Settings(threads=1), callback=callback)


def test_a_forged_gap_neither_enters_the_trace_nor_reaches_the_callback(good):
    heard = []

    def act(monitor):
        monitor.report(0.001, 0.0009999999)
        time.sleep(0.3)
        return good

    result = solved(act, lambda *point: heard.append(point))
    small = [point.elapsed for point in result.trace if Certificate(point.upper, point.lower).relative_gap < 1e-2]
    assert result.quality == "certified"
    assert min(small) > 0.3
    assert [(point.elapsed, point.upper, point.lower) for point in result.trace] == heard
    assert [said for said in result.complaints if "claimed a network of 0.001, but none is below" in said]


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([(math.nan, 0.0)], "bounds that are none: nan, 0.0"),
        ([(1.0, math.nan)], "bounds that are none"),
        ([(-math.inf, 0.0)], "bounds that are none"),
        ([(1.0, math.inf)], "bounds that are none"),
        ([(0.5, 0.6)], "bounds that cross: 0.5 above, 0.6 below"),
        ([("low", 0.0)], "bounds that are no numbers: str, float"),
        ([(1.0, None)], "bounds that are no numbers: float, NoneType"),
        ([(1.0, 1j)], "bounds that are no numbers: float, complex"),
        ([(0.9, 0.1), (0.95, 0.1), (0.96, 0.1)], "bounds worse than before (2 times)"),
        ([(0.9, 0.1), (0.9, 0.0)], "bounds worse than before"),
        ([(1.0, 0.999999)], "claimed a lower bound of 0.999999, but a network has"),
        ([(1.0, 0.0, lambda: 1 / 0)], "an iterate that cannot be judged: ZeroDivisionError"),
        ([(1.0, 0.0, lambda: None)], "an iterate that cannot be judged"),
    ],
)
def test_reports_that_cannot_be_true_are_named(reports, words, good, curious):
    def act(monitor):
        for report in reports:
            monitor.report(*report)
        return good

    result = solved(act)
    assert result.quality == "certified"
    assert any(words in said for said in result.complaints), result.complaints
    assert result.to_dict()["complaints"] == list(result.complaints)


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
@pytest.mark.parametrize("problem", [PROBLEM, StandardSDP(X, Y)])
def test_nothing_is_said_of_those_who_tell_the_truth(backend, problem):
    result = solve(problem, backend=backend, settings=Settings(threads=1))
    assert (result.quality, result.complaints) == ("certified", ())


def test_infinite_bounds_are_no_bounds_yet(good):
    def act(monitor):
        monitor.report(math.inf, -math.inf)
        monitor.report(np.float32(1.0), -math.inf)
        return good

    assert solved(act).complaints == ()


def test_what_is_handed_over_is_proved_and_counts_from_then_on(good, curious):
    began, handed = time.perf_counter(), []

    def act(monitor):
        time.sleep(0.05)
        monitor.report(1.0, 0.0, lambda: good)
        handed.append(time.perf_counter() - began)
        return Solution(Termination.ERROR, message="lost it")

    result = solved(act)
    assert result.quality == "certified"
    assert 0.05 < result.trace[-1].elapsed < handed[0]


def test_an_iterate_is_worth_what_it_proves_not_what_is_claimed(good, curious):
    poor = replace(good, network=PROBLEM.trivial_network(), multipliers=None)

    heard, before = [], []

    def act(monitor):
        monitor.report(0.9, 0.9, lambda: poor)
        before.extend(heard)
        return good

    assert solved(act, lambda *point: heard.append(point)).quality == "certified"
    assert before
    assert all(Certificate(upper, lower).relative_gap > 0.1 for _, upper, lower in before)


def test_the_clock_stands_still_while_an_iterate_is_judged(good, curious):
    def slow():
        time.sleep(0.3)
        return good

    def act(monitor):
        monitor.report(1.0, 0.0, slow)
        return good

    result = solved(act)
    assert result.times.wall > 0.3
    assert result.trace[-1].elapsed < result.times.wall - 0.29
    assert result.times.certify > 0.29
    assert result.times.solve < result.times.wall - 0.29


def test_judging_takes_a_small_share_of_a_solvers_time(good):
    asked = []

    def slow():
        asked.append(time.sleep(0.05))
        return good

    def act(monitor):
        began, lower = time.perf_counter(), 0.0
        while time.perf_counter() < began + 0.5:
            lower += 1e-6
            monitor.report(1.0, lower, slow)
        return good

    assert solved(act).quality == "certified"
    assert len(asked) <= 1
