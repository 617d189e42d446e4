"""Where a step may take longer than there is time left, a child takes it; what it has sent is the answer."""

import os
import signal
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from fakes import Clock, Fake

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, InputError, Settings, StandardSDP, Termination, solve
from cvxrobust.core import Capabilities, Estimate, Solution, get_backend
from cvxrobust.core.programs.gated import certificate
from cvxrobust.core.solving import child, supervision
from cvxrobust.core.solving.judging import verdict
from cvxrobust.core.solving.plan import make_plan

pytestmark = pytest.mark.skipif(not child.can_fork("cpu"), reason="children that share memory need Linux")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4))
Y = np.where(X @ RNG.standard_normal(4) + 0.5 * RNG.standard_normal(40) > 0.0, 1.0, -1.0)
HERE = os.getpid()
LIMIT = Settings(time_limit=4.0)


class Slow(Fake):
    """A backend of gated programmes that says how long its steps are."""

    def __init__(self, act, seconds=1e3, step=1e2):
        super().__init__(act)
        self.cost = Estimate(seconds, 0.0, step)
        self.capabilities = Capabilities(structured=frozenset({"gated"}), monitored=True, warm_start=True)

    def estimate(self, program):
        return self.cost

    def solve(self, program, settings, monitor, warm_start=None):
        return self.answer(settings, monitor)


@pytest.fixture
def problem():
    return ConvexReLU(X, Y, n_gates=4)


@pytest.fixture
def good(problem):
    return get_backend("ipm").solve(problem.to_structured(), Settings(threads=1))


@pytest.fixture(autouse=True)
def nobody_is_left():
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


@pytest.fixture
def over(tmp_path, monkeypatch):
    """A file: once it is there, the time of a child is up."""
    monkeypatch.setattr(child, "time", Clock(tmp_path / "over"))
    return tmp_path / "over"


def where(settings, monitor):
    """An answer that says which process it comes from."""
    return Solution(Termination.CONVERGED, message=str(os.getpid()))


def test_long_steps_are_taken_in_a_child_and_short_ones_here(problem):
    limit = LIMIT.time_limit
    assert solve(problem, backend=Slow(where), settings=LIMIT).message != str(HERE)
    assert solve(problem, backend=Slow(where), settings=Settings()).message == str(HERE)
    assert solve(problem, backend=Slow(where, step=0.01), settings=LIMIT).message == str(HERE)
    assert solve(problem, backend=Slow(where, seconds=0.1 * limit), settings=LIMIT).message == str(HERE)


def test_an_ordinary_problem_has_no_child():
    for problem in (StandardSDP(X, Y), AdversarialSDP(X, Y, radius=0.1), ConvexReLU(X, Y), AdversarialReLU(X, Y, 0.1)):
        settings = Settings(time_limit=1.0)
        assert not supervision.is_heavy(problem, settings)
        assert not supervision.has_long_steps(problem, make_plan(problem, "auto", "auto", settings, None), settings)


def test_several_threads_are_only_given_up_where_the_limit_needs_it(problem, monkeypatch):
    settings = Settings(time_limit=60.0)
    plan = make_plan(problem, Slow(where, step=1.0), "direct", settings, None)
    for cores, threads, child_takes_it in ((8, None, False), (8, 1, True), (1, None, True)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert supervision.has_long_steps(problem, plan, settings.replace(threads=threads)) is child_takes_it
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    longer = make_plan(problem, Slow(where, step=2.0), "direct", settings, None)
    assert supervision.has_long_steps(problem, longer, settings)


def test_large_problems_are_heavy_and_need_no_work_to_say_so(monkeypatch):
    def never(*_):
        pytest.fail("this is work")

    monkeypatch.setattr("cvxrobust.problems.relu.choices.gate_set", never)
    monkeypatch.setattr("cvxrobust.problems.data.attacked_span.row_span", never)
    monkeypatch.setattr(np.linalg, "eigh", never)
    wide, y = np.ones((30, 3000)), np.tile([1.0, -1.0, 2.0], 10)
    for labels in (np.where(y > 0, 1.0, -1.0), y):
        for large in (
            AdversarialSDP(wide, labels, radius=0.1, scale=np.linspace(0.5, 1.0, 3000)),
            AdversarialReLU(wide, labels, radius=0.1, n_gates=20, formulation="cone"),
        ):
            assert supervision.is_heavy(large, Settings(time_limit=1.0))
            assert not supervision.is_heavy(large, Settings())
            bounds = large.at_once()
            assert 0.0 < bounds.lower < bounds.upper
        # In the span of its rows this one is small.
        assert not supervision.is_heavy(AdversarialSDP(wide, labels, radius=0.1), Settings(time_limit=1.0))


def test_conic_programmes_that_take_long_to_assemble_are_assembled_in_a_child():
    settings = Settings(time_limit=2.0)
    large = AdversarialReLU(np.tile(X, (40, 5)), np.tile(Y, 40), radius=0.1, n_gates=50, norm=1)
    for backend in ("clarabel", "scs", "cvxpy:CLARABEL"):
        assert supervision.has_long_steps(large, make_plan(large, backend, "auto", settings, None), settings)


def test_what_cannot_be_stopped_goes_to_a_child_where_a_whole_solve_is_long():
    settings = Settings(time_limit=0.1, threads=1)
    small, middle = ConvexReLU(X, Y, n_gates=5), ConvexReLU(np.tile(X, (2, 1)), np.tile(Y, 2), n_gates=20)
    for problem, backend, long in (
        (small, "cvxpy:CLARABEL", False), (middle, "cvxpy:CLARABEL", True), (middle, "scs", False)
    ):  # fmt: skip
        plan = make_plan(problem, backend, "auto", settings, None)
        assert supervision.has_long_steps(problem, plan, settings) is long


def test_a_child_that_is_ended_leaves_the_network_and_the_bounds_that_it_has_sent(problem, good, over):
    def act(settings, monitor):
        monitor.report(1.0, 0.0, lambda: good)
        over.touch()
        while True:
            pass

    result = solve(problem, backend=Slow(act), settings=LIMIT)
    assert result.termination is Termination.TIME_LIMIT
    assert "in the midst of a step" in result.message
    assert result.backend == "fake"
    assert result.network.n_neurons > 0
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    assert result.quality == "certified"
    assert result.trace[-1].upper <= result.trace[0].upper


def test_what_a_solver_claims_is_not_what_it_has_proved(problem, over):
    def act(settings, monitor):
        monitor.report(1e-9, 1e-9)
        over.touch()
        while True:
            pass

    result = solve(problem, backend=Slow(act), settings=LIMIT)
    assert result.certificate.upper == problem.objective(result.network)
    assert result.certificate.lower < result.certificate.upper


def test_a_crash_of_the_child_is_a_failed_way(problem):
    def act(settings, monitor):
        assert os.getpid() != HERE
        os.kill(os.getpid(), signal.SIGKILL)

    result = solve(problem, backend=Slow(act), settings=LIMIT)
    assert result.termination is Termination.KILLED
    assert "signal 9" in result.message
    assert result.certificate.upper == problem.objective(result.network)
    assert 0.0 < result.certificate.lower < result.certificate.upper


def test_an_exception_of_the_child_is_a_failed_way(problem, monkeypatch):
    def act(settings, monitor):
        raise ZeroDivisionError("no such number")

    result = solve(problem, backend=Slow(act), settings=LIMIT)
    assert result.termination is Termination.ERROR
    assert "ZeroDivisionError: no such number" in result.message

    def fail(*_, **__):
        raise ZeroDivisionError("in judging")

    monkeypatch.setattr("cvxrobust.core.solving.session.Session.run", fail)
    result = solve(problem, backend=Slow(where), settings=LIMIT)
    assert result.termination is Termination.ERROR
    assert "ZeroDivisionError: in judging" in result.message
    assert result.certificate.upper == problem.objective(result.network)


def test_the_callers_mistakes_are_the_callers_wherever_they_are_found(problem):
    def act(settings, monitor):
        raise InputError("a mistake of yours")

    with pytest.raises(InputError, match="a mistake of yours"):
        solve(problem, backend=Slow(act), settings=LIMIT)


def test_a_child_gives_the_answer_that_there_would_have_been_here(problem, monkeypatch):
    here = solve(problem, backend="ipm", settings=Settings(time_limit=60.0, threads=1))
    monkeypatch.setattr(ConvexReLU, "look", 1e3)
    heard = []
    there = solve(
        problem, backend="ipm", settings=Settings(time_limit=60.0, threads=1),
        callback=lambda *point: heard.append((os.getpid(), *point)),
    )  # fmt: skip
    assert there.certificate.upper == pytest.approx(here.certificate.upper, rel=1e-9)
    assert there.termination is here.termination
    assert there.quality == here.quality == "certified"
    assert there.report.keys() == here.report.keys()
    assert there.solution.peak_memory > here.solution.peak_memory == 0
    assert {pid for pid, *_ in heard} == {HERE}
    assert [point[1:] for point in heard] == [(p.elapsed, p.upper, p.lower) for p in there.trace]


def test_a_round_of_better_gates_that_is_cut_short_leaves_the_round_before(good, over):
    problem, calls = ConvexReLU(X, Y, n_gates=4, regate=3), []

    def act(settings, monitor):
        calls.append(settings)
        if len(calls) > 1:
            monitor.report(1.0, 0.0, lambda: good)  # about the second programme: it must not count for the first
            over.touch()
            while True:
                pass
        return good

    result = solve(problem, backend=Slow(act), settings=LIMIT)
    assert result.termination is Termination.TIME_LIMIT
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    assert result.certificate.relative_gap < 1e-5


@pytest.mark.parametrize("limit", [0.01, 1.0])
def test_a_heavy_problem_has_bounds_whatever_becomes_of_the_child(problem, monkeypatch, limit):
    def nothing(*_):
        while True:
            pass

    monkeypatch.setattr(ConvexReLU, "look", 1e3)
    monkeypatch.setattr(supervision, "_work", nothing)
    result = solve(problem, settings=Settings(time_limit=limit))
    assert result.termination is Termination.TIME_LIMIT
    assert result.certificate.upper == problem.objective(result.network)
    assert 0.0 < result.certificate.lower < result.certificate.upper


def test_no_process_to_be_had_is_no_reason_to_fail(problem, monkeypatch):
    def refuse():
        raise OSError("no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    assert solve(problem, backend=Slow(where), settings=LIMIT).message == str(HERE)


def test_errors_of_the_callers_own_are_not_taken_for_a_lack_of_processes(problem, monkeypatch):
    monkeypatch.setattr(ConvexReLU, "look", 1e3)
    heard = []

    def full(*point):
        heard.append(point)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        solve(problem, backend="ipm", settings=LIMIT, callback=full)
    assert len(heard) == 1


def test_a_raw_solution_that_cannot_be_sent_costs_nothing_else(problem, good):
    def act(settings, monitor):
        # Nobody finds this class again.
        unsendable = type("Unsendable", (type(good.multipliers),), {})
        return replace(good, multipliers=unsendable(**vars(good.multipliers)))

    result = solve(problem, backend=Slow(act), settings=LIMIT)
    assert result.termination is good.termination
    assert result.quality == "certified"
    assert result.report
    assert result.solution is None


def test_several_classes_are_solved_in_a_child(monkeypatch):
    problem = ConvexReLU(X, np.arange(40) % 3, n_gates=4)
    here = solve(problem, backend="ipm", settings=Settings(time_limit=60.0, threads=1))
    monkeypatch.setattr(ConvexReLU, "look", 1e3)
    there = solve(problem, backend="ipm", settings=Settings(time_limit=60.0, threads=1))
    assert there.certificate.upper == pytest.approx(here.certificate.upper, rel=1e-6)
    assert len(there.parts) == 3


def test_a_warm_start_counts_from_the_first_moment(problem, good, monkeypatch, over):
    monkeypatch.setattr(ConvexReLU, "look", 1e3)

    def act(settings, monitor):
        over.touch()
        while True:
            pass

    result = solve(problem, backend=Slow(act), settings=LIMIT, warm_start=problem.lifted(good.network))
    assert result.certificate.upper == pytest.approx(problem.objective(good.network))
    assert result.certificate.upper < 0.9 * problem.objective(problem.trivial_network())


@pytest.mark.parametrize(("limit", "repaired"), [(0.2, False), (60.0, True)])
def test_multipliers_are_repaired_only_while_there_is_time(limit, repaired, monkeypatch):
    seen = []
    monkeypatch.setattr(certificate, "generated", lambda *args: seen.append(args[1]) or args[-2:])
    problem = AdversarialReLU(X, Y, n_gates=4, formulation="cone", radius=0.01)

    def late(settings, monitor):
        time.sleep(0.2 + 2.0 * verdict.GRACE if limit < 1.0 else 0.0)
        network = problem.trivial_network()
        return Solution(Termination.TIME_LIMIT, network=network, multipliers=problem.network_multipliers(network))

    result = solve(problem, backend=Slow(late, seconds=0.0, step=0.0), settings=Settings(time_limit=limit, threads=1))
    assert (result.certificate.lower > 0.0, bool(seen)) == (True, repaired)
