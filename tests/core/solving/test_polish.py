"""Polish: a first phase, then masters; one result that is never worse than either."""

import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import (
    AdversarialSDP,
    BackendUnavailableError,
    ConvexReLU,
    InputError,
    LicenceError,
    Quality,
    Settings,
    StandardSDP,
    Termination,
    UnknownNameError,
    UnsupportedProgramError,
    solve,
)
from cvxrobust.core.contracts.backend import Capabilities
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.discovery.registry import get_backend

EARLY = 1e-2


def data(seed=0, n=40, d=6, classes=2):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if classes > 2:
        return X, np.argmax(X @ rng.standard_normal((d, classes)) + 0.5 * rng.standard_normal((n, classes)), axis=1)
    return X, np.where(X @ rng.standard_normal(d) + 0.5 * rng.standard_normal(n) > 0, 1.0, -1.0)


@pytest.fixture(autouse=True)
def early(monkeypatch):
    """Hand over early: these problems are so small that the first phase would overshoot what was asked for."""
    monkeypatch.setattr("cvxrobust.core.solving.session.HANDOVER", EARLY)


@pytest.fixture(scope="module")
def problem():
    return AdversarialSDP(*data(), radius=0.3, beta=0.01)


class Structured(Fake):
    """A backend that reads the structure and does as it is told."""

    name = "structured"

    def __init__(self, answer):
        super().__init__(answer)
        self.capabilities = Capabilities(structured=frozenset({"polynomial"}), monitored=True)

    def solve(self, program, settings, monitor):
        return self.answer(program, settings, monitor)


def never(*_):
    pytest.fail("the backend was asked all the same")


@pytest.mark.parametrize(
    "problem",
    [
        AdversarialSDP(*data(), radius=0.3, beta=0.01),
        StandardSDP(*data(), beta=0.01, loss="logistic"),
        StandardSDP(data()[0], data()[0][:, 0], beta=0.01, loss="squared"),
    ],
    ids=["attacked", "logistic", "squared"],
)
def test_masters_go_on_to_the_gap_that_was_asked_for(problem):
    result = solve(problem, backend="torch", polish="clarabel", settings=Settings(tolerance=1e-6, threads=1))
    assert result.quality is Quality.CERTIFIED
    assert result.termination is Termination.CONVERGED
    assert (result.backend, result.method) == ("torch + clarabel", "direct + cutting-set")
    first, second = result.phases
    assert 1e-6 < first.certificate.relative_gap <= EARLY
    assert second.certificate == result.certificate
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    reference = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6)).certificate
    assert result.certificate.lower <= reference.upper * (1 + 1e-9)
    assert result.certificate.upper >= reference.lower * (1 - 1e-9)


def test_bounds_only_improve_and_times_and_iterations_add_up(problem):
    heard = []
    result = solve(problem, backend="torch", polish=True, callback=lambda *point: heard.append(point))
    elapsed, upper, lower = np.array(heard).T
    assert (np.diff(elapsed) >= 0).all()
    assert (np.diff(upper) <= 0).all()
    assert (np.diff(lower) >= 0).all()
    assert heard[-1][1:] == (result.certificate.upper, result.certificate.lower)
    first, second = result.phases
    assert result.iterations == first.iterations + second.iterations
    assert result.rounds == first.rounds + second.rounds
    assert result.times.solve == pytest.approx(first.times.solve + second.times.solve)
    assert first.times.wall + second.times.wall <= result.times.wall
    assert f"polish by backend {second.backend}" in result.selection
    assert "handed over by torch" in result.message
    assert [phase["method"] for phase in result.to_dict()["phases"]] == ["direct", "cutting-set"]


def test_nothing_is_polished_that_is_good_enough(problem):
    result = solve(problem, backend="torch", polish=Fake(never), settings=Settings(tolerance=1e-2))
    assert result.quality is Quality.CERTIFIED
    assert (result.backend, result.method, result.phases) == ("torch", "direct", ())


def test_every_class_is_polished():
    problem = AdversarialSDP(*data(n=30, d=3, classes=3), radius=0.2, beta=0.02)
    result = solve(problem, backend="torch", polish=True, settings=Settings(threads=1))
    assert result.quality is Quality.CERTIFIED
    assert [len(part.phases) for part in result.parts] == [2, 2, 2]
    assert (result.backend, result.method) == ("torch + clarabel", "direct + cutting-set")
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)


def test_any_backend_and_any_method_can_be_polished():
    small = AdversarialSDP(*data(n=15, d=3), radius=0.3, beta=0.02)
    for method in ("direct", "cutting-set"):
        result = solve(small, backend="scs", method=method, polish="clarabel")
        assert result.quality is Quality.CERTIFIED
        assert (result.backend, result.method) == ("scs + clarabel", f"{method} + cutting-set")


@pytest.mark.parametrize(
    ("polish", "error", "message"),
    [
        ("claribel", UnknownNameError, "unknown backend 'claribel'.*Did you mean 'clarabel'"),
        (Structured(never), UnsupportedProgramError, "'structured' cannot read the cones"),
        (Fake(never, duals=False), UnsupportedProgramError, "'fake' returns no dual variables"),
        (3, InputError, "backend is 3"),
    ],
    ids=["unknown", "no cones", "no duals", "no backend"],
)
def test_a_polisher_that_cannot_is_refused_before_any_work(problem, polish, error, message):
    with pytest.raises(error, match=message):
        solve(problem, backend=Structured(never), polish=polish)


def test_a_polisher_that_is_not_installed_is_refused_before_any_work(problem):
    absent = Fake(never)
    absent.unavailable = lambda: "run `pip install fake`"
    with pytest.raises(BackendUnavailableError, match="'fake' cannot run here: run `pip install fake`"):
        solve(problem, backend=Structured(never), polish=absent)


def test_a_problem_without_masters_is_not_polished():
    with pytest.raises(InputError, match=r"ConvexReLU offers no exact worst case.*leave polish out"):
        solve(ConvexReLU(*data(), n_gates=3), backend="torch", polish=True)


def crash(program, settings):
    raise ZeroDivisionError("deep inside")


def unlicensed(program, settings):
    raise LicenceError("no licence file (1008)")


def noise(program, settings):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(program.q.size), rng.standard_normal(program.b.size)
    return Solution(Termination.CONVERGED, x=x, s=program.b - program.A @ x, y=y, message="optimal")


@pytest.mark.parametrize("liar", [crash, unlicensed, noise, lambda *_: None], ids=lambda liar: liar.__name__)
def test_a_polisher_that_fails_costs_nothing(problem, liar):
    first = solve(problem, backend="torch", settings=Settings(tolerance=EARLY, threads=1))
    result = solve(problem, backend="torch", polish=Fake(liar), settings=Settings(max_iterations=10_000, threads=1))
    assert result.termination is not Termination.CONVERGED
    assert result.certificate.upper <= first.certificate.upper
    assert result.certificate.lower >= first.certificate.lower
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    assert result.phases[0].termination is Termination.CONVERGED


def test_what_a_failing_polisher_said_is_kept(problem):
    for liar, words in ((crash, "ZeroDivisionError: deep inside"), (unlicensed, "LicenceError: no licence file")):
        assert words in solve(problem, backend="torch", polish=Fake(liar)).message


@pytest.mark.parametrize("classes", [2, 3])
def test_bounds_that_a_first_phase_claims_are_not_believed(classes):
    problem = AdversarialSDP(*data(n=20, d=3, classes=classes), radius=0.3, beta=0.02)

    def boast(program, settings, monitor):
        monitor.report(1e-3, 1e-3)
        return Solution(Termination.CONVERGED)

    for polish in (None, "clarabel"):
        result = solve(problem, backend=Structured(boast), method="direct", polish=polish)
        assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-9)
        assert result.certificate.lower <= result.certificate.upper
    assert result.quality is Quality.CERTIFIED


def test_the_time_limit_is_for_both_phases(problem):
    def slow(program, settings, monitor):
        while not monitor.should_stop:
            time.sleep(0.01)
        return Solution(Termination.TIME_LIMIT)

    result = solve(problem, backend=Structured(slow), polish=True, settings=Settings(tolerance=5e-2, time_limit=4))
    assert [phase.termination for phase in result.phases] == [Termination.TIME_LIMIT, Termination.CONVERGED]


@pytest.mark.parametrize("phase", [1, 2])
def test_ctrl_c_ends_either_phase(problem, phase):
    def interrupt():
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    def first(program, settings, monitor):
        if phase == 1:
            interrupt()
            while not monitor.should_stop:
                time.sleep(0.01)
            return Solution(Termination.INTERRUPTED)
        return Solution(Termination.CONVERGED)

    class Waits(Fake):
        def solve(self, program, settings, monitor):
            interrupt()
            while not monitor.should_stop:
                time.sleep(0.01)
            return Solution(Termination.INTERRUPTED)

    second = Waits(never) if phase == 2 else Fake(never)
    second.capabilities = get_backend("clarabel").capabilities
    result = solve(problem, backend=Structured(first), polish=second)
    assert result.termination is Termination.INTERRUPTED
    assert len(result.phases) == (0 if phase == 1 else 2)
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper)


def test_a_first_phase_that_crawls_makes_way(problem):
    good = solve(problem, backend="torch", settings=Settings(tolerance=5e-4, threads=1))

    def crawl(program, settings, monitor):
        monitor.report(good.certificate.upper, good.certificate.lower)
        begun = time.perf_counter()
        while not monitor.should_stop and time.perf_counter() < begun + 60:
            time.sleep(0.01)
        return Solution(Termination.INTERRUPTED, network=good.network)

    result = solve(problem, backend=Structured(crawl), polish=True)
    assert [phase.termination for phase in result.phases] == [Termination.TIME_LIMIT, Termination.CONVERGED]


def test_native_options_are_the_first_backends_own(problem):
    settings = Settings(tolerance=1e-5, options={"neurons": 5})
    assert solve(problem, backend="torch", polish="clarabel", settings=settings).quality is Quality.CERTIFIED


class TestAuto:
    """Where our interior-point method is not to be had "auto" picks what reads the structure; masters come after."""

    small, large = (AdversarialSDP(*data(n=n, d=d), radius=0.3) for n, d in ((10, 3), (120, 12)))

    @pytest.fixture(autouse=True)
    def beyond_the_interior_point_method(self, monkeypatch):
        monkeypatch.setattr(type(get_backend("ipm")), "estimate", lambda self, program: None)

    def test_large_problems_go_to_what_reads_their_structure(self):
        result = solve(self.large, settings=Settings(tolerance=1e-4, threads=1))
        assert result.quality is Quality.CERTIFIED
        assert (result.backend, result.method) == ("torch", "direct")
        assert "backend torch: reads the problem's own structure, about" in result.selection
        assert "if it falls short: clarabel/" in result.selection

    def test_masters_go_on_from_where_it_ends_short(self, monkeypatch):
        torch = type(get_backend("torch"))
        solve_short = torch.solve

        def stall(self, program, settings, monitor=None, warm_start=None):
            found = solve_short(self, program, settings.replace(tolerance=0.1), monitor, warm_start)
            return replace(found, termination=Termination.NUMERICAL)

        monkeypatch.setattr(torch, "solve", stall)
        result = solve(AdversarialSDP(*data(n=150, d=20), radius=0.3), settings=Settings(tolerance=1e-3))
        assert (result.backend, result.method) == ("torch + clarabel", "direct + cutting-set")
        assert result.quality is Quality.CERTIFIED

    @pytest.mark.parametrize(
        "choice",
        [
            {"method": "cutting-set"},
            {"settings": Settings(tolerance=1e-3, options={"max_iter": 99})},
        ],
        ids=repr,
    )
    def test_who_has_chosen_otherwise_gets_that(self, choice):
        result = solve(self.large, **{"settings": Settings(tolerance=1e-3), **choice})
        assert (result.backend, result.method, result.phases) == ("clarabel", "cutting-set", ())

    def test_nobody_polishes_where_that_is_forbidden(self):
        result = solve(self.large, polish=False, settings=Settings(tolerance=1e-3))
        assert (result.backend, result.method, result.phases) == ("torch", "direct", ())

    def test_small_problems_and_those_without_masters_stay_with_conic_solvers(self):
        # Tiny ones everywhere: nothing of ours is as quick.
        for problem in (self.small, ConvexReLU(*data(n=10, d=3), n_gates=3)):
            assert solve(problem).backend == "clarabel"

    def test_without_such_a_backend_it_is_masters_alone(self, monkeypatch):
        monkeypatch.setattr(type(get_backend("torch")), "unavailable", lambda self: "run `pip install torch`")
        result = solve(AdversarialSDP(*data(n=150, d=20), radius=0.3), settings=Settings(tolerance=1e-3))
        assert (result.backend, result.method) == ("clarabel", "cutting-set")
