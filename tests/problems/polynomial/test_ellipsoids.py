"""Attacks in ellipsoids lose nothing: programme, network and certificate agree, and no attack beats a certificate."""

from dataclasses import replace

import numpy as np
import pytest
from random_problems import SHAPES, ellipsoid_arguments, ellipsoid_problem, of_the_set

from cvxrobust import AdversarialSDP, Batches, InputError, Settings, StandardSDP, StreamedSDP, UnknownNameError, solve
from cvxrobust.core import Monitor, get_backend

TIGHT = Settings(tolerance=1e-8)
cases = pytest.mark.parametrize(
    ("kind", "number"), [(kind, 2 * k + j) for k, kind in enumerate(SHAPES) for j in (0, 1)]
)
"""Two of every shape, one of them with a radius per sample; every loss twice."""


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@cases
def test_programme_network_and_certificate_agree(kind, number):
    problem = ellipsoid_problem(kind, number)
    program = problem.to_conic()
    assert len(program.b) == problem.conic_rows
    solution = get_backend("clarabel").solve(program, TIGHT)
    value = float(program.q @ solution.x) + program.offset
    network = problem.recover(solution)
    assert problem.objective(network) == pytest.approx(value, rel=2e-6, abs=1e-6)
    assert problem.lower_bound(problem.multipliers(solution)) == pytest.approx(value, rel=2e-6, abs=1e-6)
    reference = problem.to_cvxpy().solve(solver="CLARABEL", tol_gap_rel=1e-9, tol_feas=1e-9, tol_gap_abs=1e-9)
    assert reference == pytest.approx(value, rel=2e-6, abs=1e-6)


@cases
def test_our_solvers_agree_with_the_conic_one(kind, number):
    X, y, arguments = ellipsoid_arguments(kind, number)
    problem = AdversarialSDP(X, y, **arguments)
    batches = Batches(lambda: ((X[k : k + 4], y[k : k + 4]) for k in range(0, len(X), 4)))
    streamed = StreamedSDP(batches, **arguments)
    ways = [(problem, "clarabel", "cutting-set", 1e-5), (problem, "ipm", "direct", 1e-7)]
    ways += [(problem, "torch", "direct", 1e-4), (streamed, "torch", "direct", 1e-3)][number % 2 :: 2]
    found = [
        solve(one, backend, method, settings=Settings(tolerance=tolerance)) for one, backend, method, tolerance in ways
    ]
    assert all(result.quality == "certified" for result in found)
    assert max(result.certificate.lower for result in found) <= min(result.certificate.upper for result in found)
    assert all(result.network.ellipsoid is not None for result in found)


@cases
def test_no_attack_of_the_set_beats_a_certificate(kind, number):
    problem, rng = ellipsoid_problem(kind, number), np.random.default_rng(number)
    network = solve(problem, "ipm", settings=Settings(tolerance=1e-4)).network
    worst = network.worst_case(problem.X, problem.y, problem.radius)
    assert worst.margins == pytest.approx(worst.lower, rel=1e-9, abs=1e-9)
    at_points = problem.y * network.decision_function(worst.points)
    assert at_points == pytest.approx(worst.margins, rel=1e-9, abs=1e-9)
    attack = problem.attack
    assert attack.of(slice(None)).contains((worst.points - problem.X) * (1.0 - 1e-12)).all()
    assert np.array_equal(network.worst_margins(problem.X, problem.y, problem.radius), worst.lower)
    distance, label = network.distance_to_boundary(problem.X), network.predict(problem.X)
    within = replace(problem, radius=np.where(distance < 1e3, distance * (1.0 - 1e-9), 0.0))
    for i in range(len(problem.y)):
        points = of_the_set(problem, i, 500, rng)
        assert (problem.y[i] * network.decision_function(points)).min() >= worst.lower[i] - 1e-12
        assert (network.predict(of_the_set(within, i, 500, rng)) == label[i]).all()
    beyond = network.worst_case(problem.X, label, np.where(distance < 1e3, distance * (1.0 + 1e-6), 0.0))
    assert (beyond.margins[distance < 1e3] <= 1e-9).all()


def test_a_scale_of_one_is_the_ball_and_other_descriptions_of_an_ellipsoid_are_the_same():
    X, y, arguments = ellipsoid_arguments("scale", 1)
    d, scale = X.shape[1], arguments.pop("scale") + 0.1
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))
    same = [
        [{}, {"scale": np.ones(d)}, {"covariance": np.eye(d)}, {"directions": turn}],
        [{"scale": scale}, {"covariance": np.diag(scale**2)}, {"directions": np.diag(scale) @ turn}],
    ]
    for shapes in same:
        found = [solve(AdversarialSDP(X, y, **arguments, **shape), "clarabel", settings=TIGHT) for shape in shapes]
        uppers = [result.certificate.upper for result in found]
        assert uppers == pytest.approx(uppers[:1] * len(uppers), rel=1e-6)


def test_inputs_that_attacks_cannot_touch_are_left_alone_and_none_at_all_is_standard_training():
    X, y, arguments = ellipsoid_arguments("scale", 4)
    arguments["scale"] = np.zeros(X.shape[1])
    nowhere, standard = AdversarialSDP(X, y, **arguments), StandardSDP(X, y, **standard_arguments(arguments))
    assert not nowhere.attack.present
    found = [solve(problem, "ipm", settings=TIGHT) for problem in (nowhere, standard)]
    assert found[0].certificate.upper == pytest.approx(found[1].certificate.upper, rel=1e-7)
    network = found[0].network
    assert np.array_equal(network.worst_case(X, y, 5.0).points, X)
    assert np.isinf(network.distance_to_boundary(X)).all()
    arguments["scale"] = np.eye(X.shape[1])[0]
    one = solve(AdversarialSDP(X, y, **arguments), "ipm", settings=TIGHT)
    moved = one.network.worst_case(X, y, 0.5).points - X
    assert np.abs(moved[:, 0]).max() > 0.4
    assert not moved[:, 1:].any()
    assert found[0].certificate.lower <= one.certificate.upper


def standard_arguments(arguments):
    return {name: arguments[name] for name in ("beta", "loss", "activation")}


def test_a_problem_keeps_its_shape_when_something_else_is_replaced():
    problem = ellipsoid_problem("covariance", 3)
    other = replace(problem, radius=0.4)
    assert np.array_equal(
        other.attack.seen(np.eye(problem.X.shape[1])), problem.attack.seen(np.eye(problem.X.shape[1]))
    )
    assert (other.attack.radius == 0.4).all()


def test_classes_are_told_apart_under_the_same_ellipsoid():
    rng = np.random.default_rng(0)
    X, scale = rng.standard_normal((24, 3)), np.array([1.0, 0.0, 0.5])
    y = np.array(["a", "b", "c"])[rng.integers(0, 3, 24)]
    problem = AdversarialSDP(X, y, radius=0.3, beta=0.05, scale=scale)
    result = solve(problem, "ipm", settings=Settings(tolerance=1e-6))
    assert result.quality == "certified"
    assert result.network.ellipsoid is problem.ellipsoid
    moved = result.network.worst_case(X, y, 0.3).points - X
    assert np.linalg.norm(moved[:, [0, 2]] / scale[[0, 2]], axis=1) == pytest.approx(0.3, abs=1e-9)
    assert not moved[:, 1].any()


@pytest.mark.parametrize("backend", ["ipm", "torch"])
def test_raw_units_with_radii_of_their_own(backend):
    """The case that scales are for: columns from 1e-2 to 1e2, each attacked in its own units."""
    rng = np.random.default_rng(5)
    Z, units = rng.standard_normal((40, 4)), 10.0 ** np.array([-2.0, 0.0, 1.0, 2.0])
    y = np.where(Z[:, 0] + Z[:, 1] * Z[:, 2] + 0.3 * rng.standard_normal(40) > 0.0, 1.0, -1.0)
    problem = AdversarialSDP((Z + 2.0) * units, y, radius=0.3, beta=1e-3, loss="logistic", scale=units)
    assert solve(problem, backend, settings=Settings(tolerance=1e-4)).quality == "certified"


@pytest.mark.parametrize("backend", ["ipm", "torch"])
@pytest.mark.parametrize("kind", SHAPES)
def test_whoever_is_stopped_at_once_has_multipliers_that_prove_something(backend, kind):
    problem = ellipsoid_problem(kind, 0)
    for settings, monitor in ((Settings(max_iterations=1), Monitor()), (Settings(), Monitor(deadline=0.0))):
        found = get_backend(backend).solve(problem.to_structured(), settings, monitor)
        assert 0.0 <= problem.lower_bound(found.multipliers) <= problem.objective(found.network)


def test_a_solve_goes_on_from_a_checkpoint_a_start_and_a_first_way(tmp_path):
    problem = ellipsoid_problem("scale", 0)
    kept = Settings(tolerance=1e-4, options={"checkpoint": str(tmp_path), "checkpoint_every": 0.0})
    first = solve(problem, "torch", settings=kept.replace(max_iterations=40))
    assert solve(problem, "torch", settings=kept).quality == "certified"
    assert solve(problem, "ipm", warm_start=first, settings=Settings(tolerance=1e-7)).quality == "certified"
    polished = solve(problem, "torch", polish="clarabel", settings=Settings(tolerance=1e-7))
    assert polished.quality == "certified"
    assert len(list(tmp_path.iterdir())) == 1
    solve(replace(problem, scale=problem.scale + 1.0), "torch", settings=kept.replace(max_iterations=1))
    assert len(list(tmp_path.iterdir())) == 2  # another programme


@pytest.mark.parametrize("kind", ["scale", "directions"])
def test_a_growing_subspace_sees_the_same_attacks(kind):
    rng, d = np.random.default_rng(3), 14
    X = rng.standard_normal((20, d))
    y = np.where(X[:, 0] + 0.3 * rng.standard_normal(20) > 0, 1.0, -1.0)
    shapes = {"scale": np.arange(d) % 3 * 0.5, "directions": rng.standard_normal((d, 5)) / 3.0}
    problem = AdversarialSDP(X, y, radius=0.4, **{kind: shapes[kind]})
    whole, parts = (
        solve(problem, "ipm", settings=Settings(tolerance=1e-4, options={"subspace": asked})) for asked in (False, True)
    )
    assert parts.quality == "certified"
    assert parts.certificate.upper == pytest.approx(whole.certificate.upper, rel=2e-4)


X, Y = np.random.default_rng(0).standard_normal((6, 3)), np.array([1.0, -1.0] * 3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scale": np.ones(2)}, r"scale has shape \(2,\); expected \(3,\), one number for each column of X"),
        ({"scale": [1.0, -1.0, 0.0]}, "scale holds -1 at column 1; expected finite numbers of 0 or more"),
        ({"scale": [1.0, 0.0, np.inf]}, "scale holds inf at column 2"),
        ({"scale": ["a", "b", "c"]}, "scale cannot be read as numbers"),
        ({"covariance": np.eye(2)}, r"covariance has shape \(2, 2\); expected \(3, 3\)"),
        (
            {"covariance": np.diag([1.0, -1.0, 1.0])},
            "covariance is not positive semidefinite: its correlations have an",
        ),
        ({"covariance": np.triu(np.ones((3, 3)))}, "covariance is not symmetric"),
        ({"covariance": np.full((3, 3), np.nan)}, "covariance holds NaN or inf, first at row 0, column 0"),
        ({"directions": np.ones(3)}, r"directions has shape \(3,\); expected \(3, q\), a direction in each column"),
        ({"directions": np.full((3, 1), 1e60)}, "directions holds numbers beyond 1e\\+50"),
        ({"scale": np.ones(3), "directions": np.ones((3, 1))}, "scale and directions are given; give one of"),
        ({"norm": 1}, "norm is 1, but the worst case of a polynomial network is exact for l2 attacks"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_describes_no_ellipsoid_is_refused_before_work(given, said):
    with pytest.raises(InputError, match=said):
        AdversarialSDP(X, Y, 0.1, **given)
    with pytest.raises(InputError, match=said):
        StreamedSDP(Batches(lambda: [(X, Y)]), 0.1, **given)


def test_norms_that_there_are_not_are_refused():
    with pytest.raises(UnknownNameError, match="norm 'l3'"):
        AdversarialSDP(X, Y, 0.1, norm="l3")
