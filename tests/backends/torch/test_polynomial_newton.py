"""Newton steps for inputs in raw units: the problem as given, certified, and nobody else's business."""

from dataclasses import replace

import numpy as np
import pytest

from cvxrobust import AdversarialSDP, Batches, Settings, StandardSDP, StreamedSDP, solve
from cvxrobust.backends.torch.polynomial.newton.expansion import PathObjective
from cvxrobust.backends.torch.polynomial.newton.losses import LOSSES
from cvxrobust.backends.torch.polynomial.newton.packing import Packing
from cvxrobust.backends.torch.polynomial.newton.path import _Path
from cvxrobust.backends.torch.polynomial.newton.terms import neurons_of_factor
from cvxrobust.backends.torch.polynomial.newton.units import column_sizes, is_raw, whitening
from cvxrobust.core import AttackBall, get_backend

PROMPT = Settings(threads=1)


def raw(seed, offset=0.0, n=120, d=6):
    """Inputs, labels of a random quadratic with noise, and a radius; columns from 1e-3 to 1e4."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, d))
    score = Z @ rng.standard_normal(d) + 0.5 * Z[:, 0] * Z[:, 1] + 0.5 * rng.standard_normal(n)
    X = (Z + offset * rng.uniform(0.0, 1.0, d)) * 10.0 ** rng.permutation(np.linspace(-3.0, 4.0, d))
    return X, np.where(score > 0.0, 1.0, -1.0), 0.05 * float(np.median(X.std(axis=0)))


@pytest.mark.parametrize("offset", [0.0, 3.0])
@pytest.mark.parametrize(
    ("loss", "attacked"),
    [
        ("hinge", False),
        ("squared", False),
        ("squared_hinge", False),
        ("hinge", True),
        ("logistic", True),
        ("squared_hinge", True),
    ],
)
def test_columns_of_all_sizes_are_certified_in_their_own_units(loss, attacked, offset):
    X, y, radius = raw(1, offset)
    problem = AdversarialSDP(X, y, radius=radius, loss=loss) if attacked else StandardSDP(X, y, loss=loss)
    result = solve(problem, backend="torch", settings=PROMPT)
    assert result.quality == "certified", result
    # The optimum is that of the problem as given: interior points say the same.
    other = solve(problem, backend="ipm", settings=PROMPT)
    assert result.certificate.lower <= other.certificate.upper
    assert other.certificate.lower <= result.certificate.upper


@pytest.mark.parametrize("seed", [3, 7])
def test_attacks_that_move_far_with_small_steps_leave_multipliers_in_their_domain(seed):
    X, y, radius = raw(seed, 3.0)
    for loss in ("hinge", "squared_hinge"):
        result = solve(AdversarialSDP(X, y, radius=radius, loss=loss), backend="torch", settings=PROMPT)
        assert result.quality == "certified", result


def test_offsets_are_certified_in_their_own_units():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((120, 5))
    y = np.where(Z[:, 0] + Z[:, 1] * Z[:, 2] + 0.5 * rng.standard_normal(120) > 0.0, 1.0, -1.0)
    for problem in (StandardSDP(Z + 50.0, y), AdversarialSDP(Z + 50.0, y, radius=0.1, loss="logistic")):
        assert solve(problem, backend="torch", settings=PROMPT).quality == "certified"


def test_a_stream_in_raw_units_is_solved_as_in_memory():
    X, y, radius = raw(2, 3.0)
    batches = Batches([(X[start : start + 50], y[start : start + 50]) for start in range(0, 120, 50)])
    streamed = solve(StreamedSDP(batches, radius=radius, loss="logistic"), backend="torch", settings=PROMPT)
    whole = solve(AdversarialSDP(X, y, radius=radius, loss="logistic"), backend="torch", settings=PROMPT)
    assert streamed.quality == whole.quality == "certified"
    assert streamed.certificate.upper == pytest.approx(whole.certificate.upper, rel=2e-6)


def test_ordinary_inputs_never_see_the_path(monkeypatch):
    ran = []
    monkeypatch.setattr(_Path, "run", lambda path: ran.append(path))
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), np.where(rng.standard_normal(60) > 0.0, 1.0, -1.0)
    solve(StandardSDP(X, y), backend="torch", settings=PROMPT.replace(max_iterations=3))
    assert not ran
    solve(StandardSDP(100.0 * X, y), backend="torch", settings=PROMPT.replace(max_iterations=3))
    assert len(ran) == 1


@pytest.mark.parametrize(
    ("scales", "offset", "expected"),
    [
        ([1.0, 1.0], 0.0, False),
        ([1e-3, 1e-3], 0.0, False),
        ([1.0, 3.0], 0.0, False),
        ([1e-3, 1e4], 0.0, True),
        ([1.0, 1.0], 30.0, True),
        ([1e3, 1e3], 0.0, True),
        ([1.0, 0.0], 0.0, False),
    ],
)
def test_raw_are_columns_of_large_or_different_sizes_offsets_counted(scales, offset, expected):
    X = np.random.default_rng(0).standard_normal((200, 2)) * scales + offset
    program = StandardSDP(X, np.sign(X[:, 0] - offset)).to_structured()
    size, spread = column_sizes(program)
    np.testing.assert_allclose(spread, X.std(axis=0), rtol=1e-10, atol=1e-12)
    assert is_raw(program, size, spread) is expected


def test_white_inputs_have_second_moments_one():
    program = StandardSDP(*raw(0, 3.0)[:2]).to_structured()
    white = program.X @ whitening(program, column_sizes(program)[0])
    np.testing.assert_allclose(white.T @ white / 120, np.eye(6), atol=1e-6)


def test_few_iterations_and_no_time_leave_an_honest_answer():
    X, y, radius = raw(3)
    problem = AdversarialSDP(X, y, radius=radius)
    for settings in (PROMPT.replace(max_iterations=4), PROMPT.replace(time_limit=1e-3)):
        result = solve(problem, backend="torch", settings=settings)
        assert result.termination in ("iteration limit", "time limit")
        assert result.certificate.lower <= result.certificate.upper == problem.objective(result.network)


def test_several_classes_have_paths_of_their_own():
    X, _, _ = raw(4)
    labels = np.random.default_rng(0).integers(0, 3, X.shape[0])
    result = solve(StandardSDP(X, labels, loss="logistic"), backend="torch", settings=PROMPT)
    assert result.quality == "certified"


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic", "squared"])
def test_smooth_losses_know_their_derivatives(loss):
    t, target, step = np.linspace(-3.0, 4.0, 41), np.ones(41), 1e-5
    found = LOSSES[loss](t, target, 0.01)
    above, below = (LOSSES[loss](t + sign * step, target, 0.01) for sign in (1.0, -1.0))
    np.testing.assert_allclose((below.value - above.value) / (2.0 * step), found.weight, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose((below.weight - above.weight) / (2.0 * step), found.curvature, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("most_rows", [0, 2**23])
@pytest.mark.parametrize("radius", [0.0, 0.3, 2.0])
def test_the_hessian_is_exact_attacks_included(radius, most_rows, monkeypatch):
    monkeypatch.setattr("cvxrobust.backends.torch.polynomial.newton.expansion.MOST_ROWS", most_rows)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((25, 3)), np.where(rng.standard_normal(25) > 0.0, 1.0, -1.0)
    radii = radius * rng.uniform(0.0, 1.0, 25)
    program = replace(StandardSDP(X, y, loss="logistic").to_structured(), attack=AttackBall(2, radii, 3))
    objective = PathObjective(program, 0, whitening(program, np.ones(3)), lambda: False)
    T = rng.standard_normal((4, 4))
    # Two nearly equal lowest curvatures: worst cases are mixtures, and lam moves.
    T, packing, nu = T + T.T + np.diag([0.0, 0.0, 0.0, 3.0]), Packing(4), 0.02
    T[:3, :3] = -np.diag([1.0, 0.99, 0.3])
    here = objective.expand(T, nu)
    assert (here.hessian.rows is None) is (most_rows == 0)
    hessian = here.hessian.matrix if here.hessian.rows is None else here.hessian.rows.T @ here.hessian.rows
    for k in range(packing.size):
        move = 1e-5 * packing.unpack(np.eye(packing.size)[k])
        above, below = objective.expand(T + move, nu), objective.expand(T - move, nu)
        assert (below.value - above.value) / 2e-5 == pytest.approx(here.G[k], rel=1e-5, abs=1e-8)
        np.testing.assert_allclose((below.G - above.G) / 2e-5, hessian[k], rtol=1e-4, atol=1e-6)


def test_neurons_keep_what_is_small_beside_the_largest():
    rng = np.random.default_rng(0)
    white = np.diag([1e-4, 1.0, 1e3])
    L = np.tril(rng.standard_normal((4, 4))) * np.array([1e4, 1.0, 1e-3, 1.0])[:, None]
    L[-1] *= np.linalg.norm(white @ L[:-1]) / np.linalg.norm(L[-1])
    u, alpha = neurons_of_factor(L, white)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1.0, atol=1e-14)
    lifted = np.hstack([u, np.ones((4, 1))])
    found, wanted = lifted.T @ (alpha[:, None] * lifted), np.vstack([white @ L[:-1], L[-1:]])
    wanted = wanted @ wanted.T
    size = np.sqrt(np.diagonal(wanted))
    np.testing.assert_allclose(found / np.outer(size, size), wanted / np.outer(size, size), atol=1e-12)


def test_multipliers_of_the_path_are_what_core_judges_them_to_be():
    X, y, radius = raw(5)
    problem = AdversarialSDP(X, y, radius=radius, loss="logistic")
    solution = get_backend("torch").solve(problem.to_structured(), PROMPT)
    upper = problem.objective(solution.network)
    assert upper - problem.lower_bound(solution.multipliers) <= 1e-6 * upper
