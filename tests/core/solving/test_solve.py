"""The front door: choices, limits, interruption, warm starts, and backends that lie."""

import json
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
from fakes import Fake

import cvxrobust
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
from cvxrobust.core.conic.cones import NonNegative, Zero
from cvxrobust.core.contracts.backend import Capabilities
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.networks.relu import ReLUNetwork


def data(seed=0, n=40, d=6):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.where(X @ rng.standard_normal(d) + 0.5 * rng.standard_normal(n) > 0, 1.0, -1.0)


@pytest.fixture(scope="module")
def problem():
    return AdversarialSDP(*data(), radius=0.3, beta=0.01)


@pytest.fixture(scope="module")
def optimum(problem):
    return solve(problem, backend="clarabel", settings=Settings(tolerance=1e-7)).certificate


def noise(program, settings):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(program.q.size), rng.standard_normal(program.b.size)
    return Solution(Termination.CONVERGED, x=x, s=program.b - program.A @ x, y=y, message="optimal")


def last_weeks_answer(program, settings):
    other = AdversarialSDP(*data(seed=7), radius=0.3, beta=0.01).to_conic()
    return get_backend("clarabel").solve(other, settings)


def nothing_finite(program, settings):
    return Solution(
        Termination.CONVERGED, *(np.full(k, np.nan) for k in (program.q.size, program.b.size, program.b.size))
    )


def enormous(program, settings):
    return Solution(Termination.CONVERGED, x=np.full(program.q.size, 1e200), y=np.full(program.b.size, 1e200))


def cone_mis_scaled(program, settings):
    honest = get_backend("clarabel").solve(program, settings)
    return replace(honest, x=2.0 * honest.x, y=3.0 * honest.y)


def wrong_shapes(program, settings):
    return Solution(Termination.CONVERGED, x=np.zeros(3), s=np.zeros((2, 2)), y=np.zeros(1))


def crash(program, settings):
    raise ZeroDivisionError("deep inside")


LIARS = [noise, last_weeks_answer, nothing_finite, enormous, cone_mis_scaled, wrong_shapes, crash, lambda *_: None]


@pytest.mark.parametrize("method", ["direct", "cutting-set"])
@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.__name__)
def test_a_backend_that_lies_never_gets_a_false_certificate(problem, optimum, liar, method):
    result = solve(problem, backend=Fake(liar), method=method, settings=Settings(max_iterations=5))
    assert result.certificate.lower <= optimum.upper * (1 + 1e-9)
    assert result.certificate.upper >= optimum.lower * (1 - 1e-9)
    assert result.quality is Quality.UNUSABLE or result.certificate.relative_gap > 1e-3
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)


def test_what_a_crashing_backend_said_is_kept(problem):
    result = solve(problem, backend=Fake(crash), method="direct")
    assert result.termination is Termination.ERROR
    assert "ZeroDivisionError: deep inside" in result.message


def test_running_out_of_memory_is_a_termination(problem):
    def greedy(program, settings):
        raise MemoryError("1 EiB")

    assert solve(problem, backend=Fake(greedy), method="direct").termination is Termination.OUT_OF_MEMORY


def test_a_missing_licence_is_an_error(problem):
    def unlicensed(program, settings):
        raise LicenceError("no licence file (1008)")

    with pytest.raises(LicenceError, match="1008"):
        solve(problem, backend=Fake(unlicensed))


@pytest.mark.parametrize("method", ["direct", "cutting-set"])
def test_a_missing_cone_is_refused_before_any_work(problem, method, monkeypatch):
    def never(program, settings):
        pytest.fail("the backend was asked all the same")

    backend = Fake(never)
    backend.capabilities = Capabilities(cones=frozenset({Zero, NonNegative}))
    monkeypatch.setattr(
        AdversarialSDP, "to_conic", lambda self: pytest.fail("the programme was assembled all the same")
    )
    with pytest.raises(UnsupportedProgramError, match="'fake' cannot read the cones PSD"):
        solve(problem, backend=backend, method=method)


def test_the_cutting_set_refuses_a_backend_without_duals(problem):
    with pytest.raises(UnsupportedProgramError, match="'fake' returns no dual variables"):
        solve(problem, backend=Fake(noise, duals=False), method="cutting-set")


def test_an_unavailable_backend_says_what_to_do(problem):
    backend = Fake(noise)
    backend.unavailable = lambda: "run `pip install fake`"
    with pytest.raises(BackendUnavailableError, match="pip install fake"):
        solve(problem, backend=backend)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "claribel"}, "unknown backend 'claribel'.*Did you mean 'clarabel'"),
        ({"method": "cuting-set"}, "unknown method 'cuting-set'.*Did you mean 'cutting-set'"),
        ({"settings": Settings(options={"max_itr": 3})}, "option 'max_itr'.*Did you mean 'max_iter'"),
    ],
)
def test_unknown_names_are_errors_with_a_suggestion(problem, arguments, message):
    with pytest.raises(UnknownNameError, match=message):
        solve(problem, **{"backend": "clarabel", **arguments})


# Through CVXPY only some solvers' options are known beforehand; the others refuse for themselves.
@pytest.mark.parametrize("backend", ["clarabel", "scs", "cvxpy:CVXOPT"])
@pytest.mark.parametrize("method", ["direct", "cutting-set"])
def test_an_unknown_option_is_refused_before_any_work(problem, backend, method, monkeypatch):
    for work in ("to_conic", "restricted", "objective"):
        monkeypatch.setattr(AdversarialSDP, work, lambda *_: pytest.fail("something was computed all the same"))
    with pytest.raises(UnknownNameError, match=r"option 'no_such_option'"):
        solve(problem, backend=backend, method=method, settings=Settings(options={"no_such_option": 1}))


def test_something_that_is_no_problem_is_refused():
    with pytest.raises(InputError, match=r"StandardSDP\(X, y\) or AdversarialSDP"):
        solve(np.eye(3))


@pytest.mark.parametrize("backend", ["clarabel", "scs", "cvxpy"])
@pytest.mark.parametrize("method", ["direct", "cutting-set"])
def test_backends_and_methods_agree(backend, method):
    small = AdversarialSDP(*data(n=15, d=3), radius=0.3, beta=0.02)
    reference = solve(small, backend="clarabel", settings=Settings(tolerance=1e-7)).certificate
    result = solve(small, backend=backend, method=method, settings=Settings(tolerance=1e-4, time_limit=60))
    assert result.quality is Quality.CERTIFIED
    assert result.certificate.lower <= reference.upper
    assert result.certificate.upper >= reference.lower
    assert result.backend == backend
    assert result.method == method


def test_automatic_choices_say_what_and_why():
    small, large = (AdversarialSDP(*data(n=n, d=d), radius=0.3) for n, d in ((10, 3), (120, 12)))
    first, second = solve(small), solve(large, backend="clarabel", settings=Settings(max_iterations=2))
    assert first.method == "direct"
    assert second.method == "cutting-set"
    assert "rows" in second.selection
    assert "by its estimate" in first.selection
    assert first.backend in first.selection
    assert solve(small, backend="clarabel", method="direct").selection == ""


def test_problems_that_are_not_tiny_go_to_the_interior_point_method_that_reads_their_structure():
    assert solve(AdversarialSDP(*data(n=10, d=3), radius=0.3)).backend == "clarabel"
    for n, d in ((120, 12), (200, 15)):
        result = solve(AdversarialSDP(*data(n=n, d=d), radius=0.3), settings=Settings(tolerance=1e-8, threads=1))
        assert (result.backend, result.method, result.quality) == ("ipm", "direct", Quality.CERTIFIED)
        assert "backend ipm: reads the problem's own structure" in result.selection
        assert result.phases == ()


@pytest.mark.parametrize(
    "choice",
    [
        {"polish": "clarabel"},
        {"method": "cutting-set"},
        {"backend": "clarabel"},
        {"settings": Settings(tolerance=1e-3, options={"max_iter": 99})},
    ],
    ids=repr,
)
def test_who_has_chosen_otherwise_does_not_get_the_interior_point_method(choice):
    problem = AdversarialSDP(*data(n=10, d=3), radius=0.3)
    assert "ipm" not in solve(problem, **{"settings": Settings(tolerance=1e-3), **choice}).backend


def test_large_problems_do_not_go_to_the_interior_point_method_first():
    rng = np.random.default_rng(0)
    for n, d in ((20_000, 128), (500, 1_000)):
        problem = AdversarialSDP(rng.standard_normal((n, d)), np.where(np.arange(n) % 2, 1.0, -1.0), radius=0.3)
        ours, theirs = (get_backend(name).estimate(problem.to_structured()).seconds for name in ("ipm", "torch"))
        assert ours > theirs


def test_progress_is_certified_and_monotone(problem):
    heard = []
    result = solve(problem, method="cutting-set", callback=lambda *point: heard.append(point))
    elapsed, upper, lower = np.array(heard).T
    assert len(heard) > 3
    assert (np.diff(elapsed) >= 0).all()
    assert (np.diff(upper) <= 0).all()
    assert (np.diff(lower) >= 0).all()
    assert (lower <= upper).all()
    assert [(p.elapsed, p.upper, p.lower) for p in result.trace] == heard
    assert heard[-1][1:] == (result.certificate.upper, result.certificate.lower)


@pytest.mark.parametrize("method", ["direct", "cutting-set"])
def test_a_time_limit_returns_a_certified_network(method):
    large = AdversarialSDP(*data(n=120, d=12), radius=0.3)
    result = solve(large, backend="clarabel", method=method, settings=Settings(time_limit=0.3))
    assert result.termination is Termination.TIME_LIMIT
    assert large.objective(result.network) == pytest.approx(result.certificate.upper)
    assert 0 < result.certificate.lower <= result.certificate.upper <= 1.0


def test_an_iteration_limit_of_the_cutting_set_counts_rounds(problem):
    result = solve(problem, method="cutting-set", settings=Settings(max_iterations=3))
    assert result.termination is Termination.ITERATION_LIMIT
    assert result.rounds == 3


@pytest.mark.parametrize("method", ["direct", "cutting-set"])
def test_ctrl_c_returns_the_best_network_so_far(method):
    large = AdversarialSDP(*data(n=150, d=14), radius=0.5)
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    result = solve(large, backend="clarabel", method=method, settings=Settings(tolerance=1e-9, time_limit=120))
    timer.join()
    assert result.termination is Termination.INTERRUPTED
    assert large.objective(result.network) == pytest.approx(result.certificate.upper)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_warm_start_is_an_upper_bound_from_the_first_moment(problem, optimum):
    first = solve(problem, method="cutting-set", settings=Settings(tolerance=1e-4))
    heard = []
    again = solve(problem, method="cutting-set", warm_start=first, callback=lambda *point: heard.append(point))
    assert heard[0][1] == pytest.approx(first.certificate.upper, rel=1e-12)
    assert again.rounds < solve(problem, method="cutting-set").rounds
    assert again.quality is Quality.CERTIFIED
    stopped = solve(problem, method="direct", warm_start=first.network, settings=Settings(time_limit=1e-6))
    assert stopped.certificate.upper == pytest.approx(first.certificate.upper, rel=1e-12)


@pytest.mark.parametrize("method", ["direct", "cutting-set"])
def test_a_worse_network_never_replaces_a_better_one(problem, method):
    good = solve(problem, backend="clarabel")
    result = solve(
        problem, backend=Fake(noise), method=method, warm_start=good.network, settings=Settings(max_iterations=3)
    )
    assert result.certificate.upper == pytest.approx(good.certificate.upper, rel=1e-12)
    assert problem.objective(result.network) == pytest.approx(good.certificate.upper, rel=1e-12)


def test_a_first_order_backend_starts_from_the_previous_solution():
    small = StandardSDP(*data(n=20, d=3), beta=0.02)
    first = solve(small, backend="scs", method="direct", settings=Settings(tolerance=1e-4))
    again = solve(small, backend="scs", method="direct", settings=Settings(tolerance=1e-4), warm_start=first)
    assert again.iterations < first.iterations


def test_a_warm_start_that_does_not_fit_is_refused(problem):
    other = solve(StandardSDP(*data(n=10, d=3)))
    with pytest.raises(InputError, match="warm_start does not fit: the network has 3 inputs"):
        solve(problem, warm_start=other)
    with pytest.raises(InputError, match="expected a Result or a network"):
        solve(problem, warm_start="yesterday")
    with pytest.raises(InputError, match="activation"):
        solve(replace(problem, activation=(1.0, 0.0, 0.0)), warm_start=solve(problem).network)


def test_the_result_says_everything_and_is_json(problem):
    settings = Settings(seed=3, threads=1, options={"max_iter": 77})
    result = solve(problem, backend="clarabel", method="direct", settings=settings)
    assert result.applied["max_iter"] == 77
    assert "seed" in result.ignored
    assert len(result.dimacs_errors) == 6
    assert max(result.dimacs_errors) < 1e-5
    assert result.peak_memory > 1e6
    assert result.iterations > 3
    assert result.times.wall >= result.times.solve > 0
    assert {"python", "numpy", "clarabel"} <= set(result.versions)
    assert json.loads(json.dumps(result.to_dict()))["upper"] == result.certificate.upper
    assert "certified: optimum in [" in str(result)


def test_inputs_are_never_modified():
    X, y = data(n=12, d=3)
    kept = X.copy(), y.copy()
    X.setflags(write=False)
    solve(AdversarialSDP(X, y, radius=0.2), method="cutting-set")
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_the_same_call_twice_gives_the_same_answer(problem):
    first, second = (solve(problem, backend="clarabel", settings=Settings(threads=1)) for _ in range(2))
    assert first.certificate == second.certificate
    np.testing.assert_array_equal(first.network.u, second.network.u)


@pytest.mark.parametrize(("method", "first"), [("interior-point", 1e-6), ("first-order", 1e-4)])
def test_interior_points_are_asked_for_more_than_the_gap_at_once(problem, method, first):
    asked = []

    def honest(program, settings):
        asked.append(settings.tolerance)
        found = get_backend("clarabel").solve(program, settings)
        return replace(found, termination=Termination.NUMERICAL)

    backend = Fake(honest)
    backend.capabilities = replace(backend.capabilities, method=method)
    result = solve(problem, backend=backend, method="direct", settings=Settings(tolerance=1e-4))
    assert asked == [pytest.approx(first)]
    # Whoever reaches the gap that the caller wanted has converged, even if it stalled on the way to more.
    assert result.quality is not Quality.CERTIFIED or result.termination is Termination.CONVERGED


def test_a_structured_backend_is_given_the_structured_programme(problem, optimum):
    reference = solve(problem, backend="clarabel")
    asked = []

    class Structured(Fake):
        def solve(self, program, settings):
            asked.append(program)
            multipliers = problem.multipliers(get_backend("clarabel").solve(problem.to_conic(), settings))
            return Solution(Termination.CONVERGED, network=reference.network, multipliers=multipliers)

    backend = Structured(None)
    backend.capabilities = Capabilities(structured=frozenset({"polynomial"}))
    result = solve(problem, backend=backend, method="direct")
    assert asked[0].kind == "polynomial"
    assert asked[0].labels.shape == (40, 1)
    assert result.certificate.upper == pytest.approx(optimum.upper, rel=1e-5)
    assert result.quality is Quality.CERTIFIED


def test_a_structured_backend_starts_from_the_network_and_needs_no_cones(problem):
    begun = solve(problem, backend="clarabel")
    seen = []

    class Structured(Fake):
        def solve(self, program, settings, warm_start=None):
            seen.append(warm_start)
            return Solution(Termination.TIME_LIMIT)

    backend = Structured(None)
    backend.capabilities = Capabilities(structured=frozenset({"polynomial"}), warm_start=True)
    # No cones, and large enough that a conic backend would be given the cutting-set method.
    X, y = data(n=300, d=8)
    result = solve(AdversarialSDP(X, y, radius=0.3), backend=backend)
    assert (result.method, seen) == ("direct", [None])
    assert "structure" in result.selection
    result = solve(problem, backend=backend, warm_start=begun)
    assert seen[1].network is begun.network
    assert result.certificate.upper == pytest.approx(begun.certificate.upper, rel=1e-12)
    with pytest.raises(UnsupportedProgramError, match="cannot read the cones"):
        solve(ConvexReLU(X, y, n_gates=3), backend=backend)


def test_a_structured_backend_whose_network_does_not_fit_gives_none(problem):
    class Confused(Fake):
        def solve(self, program, settings):
            return Solution(Termination.CONVERGED, network=ReLUNetwork(np.ones((1, problem.X.shape[1])), np.ones(1)))

    backend = Confused(None)
    backend.capabilities = Capabilities(structured=frozenset({"polynomial"}))
    result = solve(problem, backend=backend, method="direct")
    assert result.certificate.lower <= result.certificate.upper
    assert result.network.n_neurons == 0
    with pytest.raises(InputError, match="the network is a ReLUNetwork"):
        solve(problem, warm_start=ReLUNetwork(np.ones((1, problem.X.shape[1])), np.ones(1)))


def test_the_public_face_offers_what_it_lists():
    for name in cvxrobust.__all__:
        assert hasattr(cvxrobust, name)
    assert "clarabel" in cvxrobust.backends()
