"""Training against boxes: the programme by its own model, bounds of both sides, ranges, and what multipliers prove."""

import numpy as np
import pytest

from cvxrobust import Settings, solve
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers, own_bracket
from cvxrobust.problems.polynomial.boxes.box_sdp import BoxSDP
from cvxrobust.problems.polynomial.standard_sdp import StandardSDP

LOSSES = ("hinge", "squared_hinge", "logistic")


def instance(seed):
    """A small problem with radii of 0, immutable inputs, weights and a range now and then."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(4, 10)), int(rng.integers(1, 4))
    X, y = rng.standard_normal((n, d)), np.where(rng.random(n) < 0.5, -1.0, 1.0)
    more = {"bounds": (-1.5, 1.5), "outside": "clip"} if seed % 3 == 2 else {}
    if seed % 2:
        more |= {"scale": rng.uniform(0.1, 1.5, d) * (rng.random(d) > 0.3)}
    if seed % 4 == 1:
        more |= {"sample_weight": rng.integers(0, 3, n) + (np.arange(n) == 0)}
    radius = rng.uniform(0.0, 0.6, n) * (rng.random(n) > 0.2)
    return BoxSDP(X, y, radius, beta=0.05, loss=LOSSES[seed % 3], **more)


@pytest.mark.parametrize("seed", range(12))
def test_the_optimum_is_that_of_its_own_model(seed):
    problem = instance(seed)
    value = problem.to_cvxpy().solve(solver="CLARABEL")
    result = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6))
    assert result.quality == "certified"
    assert result.certificate.lower - 1e-6 <= value <= result.certificate.upper + 1e-6
    assert problem.conic_size.rows == problem.to_conic().b.size
    least, most = (result.report["box"][name] for name in ("attacked_objective", "certified_objective"))
    assert least <= most == result.certificate.upper


def test_points_never_make_a_network_worse_than_its_objective_says():
    rng = np.random.default_rng(0)
    problem = BoxSDP(rng.standard_normal((8, 3)), np.where(rng.random(8) < 0.5, -1.0, 1.0), 0.4, beta=0.05)
    u = rng.standard_normal((7, 3))
    network = PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), rng.standard_normal(7))
    objective = problem.objective(network)
    least, most = own_bracket(problem.to_structured(), network)
    assert most == objective
    for _ in range(300):
        points = problem.X + rng.choice([-0.4, 0.4], problem.X.shape)
        reached = np.maximum(0.0, 1.0 - problem.y * network.decision_function(points)).mean() + 0.05 * network.penalty
        assert reached <= objective + 1e-9
        assert reached <= least + 1e-6 or least < reached <= most


@pytest.mark.parametrize("seed", range(6))
def test_no_multipliers_prove_what_is_false(seed):
    problem, rng = instance(seed), np.random.default_rng(seed)
    optimum = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-7)).certificate.upper
    n, q = problem.X.shape[0], problem.to_structured().inputs.size
    for scale in (1e-3, 1.0, 1e6):
        factors = scale * rng.standard_normal((n, q + 1, 2))
        for theta in (rng.uniform(0.0, 2.0 / n, n), scale * rng.standard_normal(n), np.full(n, np.nan)):
            assert problem.lower_bound(BoxMultipliers(theta, factors)) <= optimum + 1e-9
    factors = np.full((n, q + 1, 1), np.inf)
    assert problem.lower_bound(BoxMultipliers(np.full(n, 1.0 / n), factors)) <= optimum + 1e-9


def test_without_a_radius_it_is_standard_training():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((20, 3)), np.where(rng.random(20) < 0.5, -1.0, 1.0)
    box, standard = (solve(p, backend="clarabel") for p in (BoxSDP(X, y, 0.0), StandardSDP(X, y)))
    assert box.certificate.upper == pytest.approx(standard.certificate.upper, rel=1e-5)
    assert box.certificate.upper == box.report["box"]["attacked_objective"]


def test_a_range_costs_attackers_and_rows_outside_are_refused_or_clipped():
    rng = np.random.default_rng(4)
    X, y = rng.integers(0, 2, (16, 3)).astype(float), np.where(rng.random(16) < 0.5, -1.0, 1.0)
    free, kept = (solve(BoxSDP(X, y, 0.3, bounds=b), backend="clarabel").certificate for b in (None, (0.0, 1.0)))
    assert kept.upper <= free.upper + 1e-6
    X[3, 1] = 1.2
    with pytest.raises(InputError, match="1 of 16 rows of X, the first of them row 3, lie outside of bounds"):
        BoxSDP(X, y, 0.3, bounds=(0.0, 1.0))
    assert BoxSDP(X, y, 0.3, bounds=(0.0, 1.0), outside="clip").X.max() == 1.0
    with pytest.raises(InputError, match=r"outside is 'drop'; expected one of 'refuse', 'clip'"):
        BoxSDP(X, y, 0.3, bounds=(0.0, 1.0), outside="drop")
    with pytest.raises(InputError, match="bounds are empty at column 2: from 1 to 0"):
        BoxSDP(X, y, 0.3, bounds=([0.0, 0.0, 1.0], [1.0, 1.0, 0.0]))
    with pytest.raises(InputError, match="expected a pair of numbers"):
        BoxSDP(X, y, 0.3, bounds=3.0)
