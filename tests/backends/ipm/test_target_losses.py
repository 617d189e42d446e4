"""Losses of targets by interior points: kinks, worst errors on both sides, and the optimum that conic solvers find."""

import numpy as np
import pytest
from polynomial_cases import certified, solved
from random_problems import SHAPES, random_case, shape

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, Settings, StandardSDP, solve

torch = pytest.importorskip("torch")
worst = pytest.importorskip("cvxrobust.backends.ipm.worst_sides")
losses = pytest.importorskip("cvxrobust.backends.ipm.losses")

LOSSES = ("squared", "absolute", "huber:0.4")
every_loss = pytest.mark.parametrize("loss", LOSSES)
EXACT = Settings(tolerance=1e-7, threads=1)


def regression(number, n=None, d=None):
    """Inputs, targets with an outlier, radii of which some are 0, and weights or none."""
    rng = np.random.default_rng(number)
    n, d = n or int(rng.integers(4, 16)), d or int(rng.integers(1, 5))
    X = rng.standard_normal((n, d))
    y = 10.0 ** rng.integers(-2, 3) * (X[:, 0] ** 2 - X[:, -1] + 0.3 * rng.standard_normal(n))
    y[0] *= 6.0
    radius = rng.uniform(0.05, 0.5, n) * rng.integers(0, 4, n).clip(max=1)
    return X, y, radius, rng.uniform(0.2, 3.0, n) if number % 2 else None


def beta_for(loss, y):
    """A penalty that leaves something to learn, whatever the targets' units."""
    return 0.02 * (np.abs(y).mean() if loss == "squared" else 1.0)


def agree(ours, exact):
    assert ours.certificate.lower <= exact.certificate.upper * (1.0 + 1e-9)
    assert exact.certificate.lower <= ours.certificate.upper * (1.0 + 1e-9)


@every_loss
@pytest.mark.parametrize("number", range(4))
def test_attacked_regression_ends_where_conic_solvers_do(loss, number):
    X, y, radius, weights = regression(number)
    problem = AdversarialSDP(X, y, radius=radius, beta=beta_for(loss, y), loss=loss, sample_weight=weights)
    ours = solve(problem, backend="ipm", settings=Settings(threads=1))
    assert (ours.quality, ours.termination) == ("certified", "converged")
    assert ours.certificate.relative_gap <= 1e-6
    assert not ours.complaints
    agree(ours, solve(problem, backend="clarabel", method="direct", settings=EXACT))


@every_loss
@pytest.mark.parametrize("kind", SHAPES)
def test_ellipsoids_attack_regressions_too(loss, kind):
    number = LOSSES.index(loss)
    X, y, radius, weights = regression(number, d=3)
    given = shape(kind, 3, np.random.default_rng(number))
    problem = AdversarialSDP(X, y, radius=radius, beta=beta_for(loss, y), loss=loss, sample_weight=weights, **given)
    ours = solve(problem, backend="ipm", settings=Settings(threads=1))
    assert ours.certificate.relative_gap <= 1e-6
    agree(ours, solve(problem, backend="clarabel", method="direct", settings=EXACT))


@pytest.mark.parametrize("number", range(3, 37, 3))
def test_degenerate_data_is_no_other_matter(number):
    case, loss = random_case(number), LOSSES[number // 3 % 3]
    given = case.problem
    for problem in (
        AdversarialSDP(given.X, given.y, given.radius, beta=given.beta, loss=loss, activation=given.activation),
        StandardSDP(given.X, given.y, beta=given.beta, loss=loss, activation=given.activation),
    ):
        result = solve(problem, backend="ipm", settings=Settings(threads=1))
        assert result.certificate.lower <= result.certificate.upper
        assert result.quality == "certified" or not case.well_scaled, str(case)


@every_loss
def test_the_answer_of_the_backend_is_what_it_says(loss):
    X, y, radius, weights = regression(3, 20, 3)
    problem = AdversarialSDP(X, y, radius=radius, beta=beta_for(loss, y), loss=loss, sample_weight=weights)
    solution = solved(problem, tolerance=1e-9)
    upper, lower = certified(problem, solution)
    assert upper - lower <= 2e-9 * upper
    assert (solution.multipliers.weights < 0.0).any()
    assert (solution.multipliers.weights > 0.0).any()


@every_loss
@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_units_of_the_targets_are_no_matter(loss, scale):
    X, y, radius, _ = regression(4, 14, 3)
    threshold = loss.replace("0.4", repr(0.4 * scale))
    units = scale**2 if loss != "absolute" else scale
    counts = []
    for targets, name, worth in ((y, loss, 1.0), (scale * y, threshold, units)):
        problem = AdversarialSDP(X, targets, radius=radius, beta=0.02 * worth / np.abs(targets).mean(), loss=name)
        result = solve(problem, backend="ipm", settings=Settings(threads=1))
        assert result.quality == "certified"
        counts.append((result.iterations, result.certificate.upper / worth))
    assert abs(counts[0][0] - counts[1][0]) <= 2
    assert counts[0][1] == pytest.approx(counts[1][1], rel=2e-6)


@every_loss
def test_a_network_to_start_from_and_a_subspace_lead_to_the_same_optimum(loss):
    X, y, radius, weights = regression(5, 18, 4)
    problem = AdversarialSDP(X, y, radius=radius, beta=beta_for(loss, y), loss=loss, sample_weight=weights)
    cold = solved(problem, tolerance=1e-6)
    warm = solved(problem, warm_start=solved(problem, tolerance=1e-2), tolerance=1e-6)
    inside = solved(problem, tolerance=1e-6, options={"subspace": True})
    optimum = certified(problem, cold)
    for solution in (warm, inside):
        upper, lower = certified(problem, solution)
        assert upper - lower <= 1.1e-6 * upper
        assert lower <= optimum[0]
        assert optimum[1] <= upper
    assert warm.iterations <= cold.iterations + 2


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber:0.4"])
def test_columns_of_all_sizes_are_regressed_on_in_their_own_units(loss):
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((60, 5))
    y = Z[:, 0] ** 2 - Z[:, 1] + 0.3 * rng.standard_normal(60)
    X = Z * 10.0 ** np.array([-3.0, -1.0, 0.0, 2.0, 4.0])
    for problem in (AdversarialSDP(X, y, radius=0.05, loss=loss), StandardSDP(X, y, loss=loss)):
        result = solve(problem, backend="ipm", settings=Settings(threads=1))
        assert result.quality == "certified", (problem.family, result)


GATES = {"beta": 0.02, "n_gates": 6, "seed": 0}


def gated_problem(kind, number, loss):
    """One of a family of gated programmes with targets."""
    rng = np.random.default_rng(number)
    X, y, radius, weights = regression(number, int(rng.integers(10, 30)), int(rng.integers(1, 5)))
    y = y / np.abs(y).mean()
    form, norm = kind
    given = GATES | {"loss": loss, "formulation": form, "sample_weight": weights}
    if norm is None:
        several = np.column_stack([y, X[:, 0]]) if number % 3 == 0 else y
        return ConvexReLU(X, several, **given)
    return AdversarialReLU(X, y, radius=(0.1 if form == "cone" else 0.3) * radius, norm=norm, **given)


@every_loss
@pytest.mark.parametrize("norm", [None, "inf", 2, 1])
@pytest.mark.parametrize("form", ["cone", "gated"])
def test_gated_regression_ends_where_conic_solvers_do(form, norm, loss):
    number = LOSSES.index(loss) + 3 * (norm in ("inf", 1)) + (form == "gated")
    problem = gated_problem((form, norm), number, loss)
    ours = solve(problem, backend="ipm", settings=Settings(threads=1))
    assert (ours.quality, ours.termination) == ("certified", "converged")
    agree(ours, solve(problem, backend="clarabel", method="direct", settings=EXACT))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_pairs_of_rows_start_on_the_central_path(loss, weighted):
    rng = np.random.default_rng(0)
    w, goal = torch.tensor(rng.standard_normal(24) - 1.0), torch.tensor(rng.standard_normal(24))
    growth, mu = losses.LOSSES[loss].growth, 1e-3
    N = torch.tensor(rng.uniform(5.0, 20.0, 12)).repeat_interleave(2) if weighted else 12
    side = losses.LOSSES[loss].attacked_side(w, goal, N, mu)
    rho = side.rho.repeat_interleave(2)
    assert torch.allclose(side.u.slack, rho + w - goal, rtol=1e-9)
    assert torch.allclose(side.u.slack * side.u.multiplier, torch.full_like(w, mu))
    each = N[::2] if weighted else N
    inside = side.rho - side.out.slack if side.out is not None else side.rho
    slope = 2.0 * inside / each if growth.squared else growth.steepest / each + 0.0 * inside
    assert torch.allclose(side.theta.view(-1, 2).sum(1), slope, rtol=1e-9)
    if side.out is not None:
        assert torch.allclose(side.out.multiplier, (growth.steepest - 2.0 * inside) / each, rtol=1e-9)
    again = side.aim(mu, None)
    assert torch.allclose(again.joint.slope, slope, rtol=1e-9)
