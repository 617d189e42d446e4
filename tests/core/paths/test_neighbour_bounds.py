"""What bounds of a path say of points between them, against the optimum itself."""

from itertools import pairwise

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, AdversarialSDP, Settings, solve
from cvxrobust.core.paths.bounds import NeighbourBounds
from cvxrobust.core.paths.choice import Choice, PathWay
from cvxrobust.core.paths.grid import halving


@pytest.mark.parametrize("seed", range(20))
def test_bounds_lie_below_every_concave_function_that_they_are_bounds_of(seed):
    rng = np.random.default_rng(seed)
    # A minimum of affine functions that are 0 or more and never fall, as optima are; worse with the radius.
    losses, slopes = np.sort(rng.random(8))[::-1], np.sort(rng.random(8))

    def optimum(beta, radius):
        return float(((1.0 + radius) * losses + beta * slopes).min())

    nested = bool(rng.integers(2))
    bounds = NeighbourBounds(nested)
    for _ in range(6):
        beta, radius = rng.random() * 3.0, float(rng.integers(3))
        bounds.add(beta, radius, optimum(beta, radius) * rng.choice([1.0, 0.9]))
    for _ in range(200):
        beta, radius = rng.random() * 4.0, float(rng.integers(4))
        assert bounds.lower(beta, radius) <= optimum(beta, radius) * (1.0 + 1e-12)


def test_bounds_are_lines_between_points_and_reach_larger_radii():
    bounds = NeighbourBounds(nested=True)
    assert bounds.lower(1.0, 0.0) == 0.0
    bounds.add(1.0, 0.1, 2.0)
    bounds.add(3.0, 0.1, 3.0)
    bounds.add(2.0, 0.1, 1.0)  # loose, so that its neighbours know better
    bounds.add(2.0, 0.2, np.nan)
    assert bounds.lower(2.0, 0.1) == pytest.approx(2.5)
    assert bounds.lower(0.5, 0.1) == pytest.approx(1.0)
    assert bounds.lower(9.0, 0.2) == pytest.approx(3.0)
    assert bounds.lower(2.0, 0.05) == 0.0
    apart = NeighbourBounds(nested=False)
    apart.add(1.0, 0.1, 2.0)
    assert apart.lower(1.0, 0.2) == 0.0


@pytest.mark.parametrize("kind", ["sdp", "soft-cone", "separate", "cone"])
def test_optima_are_concave_in_beta_and_never_fall(kind):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((20, 3))
    y = np.sign(X[:, 0] + 0.5 * rng.standard_normal(20))
    bound = {"bound": kind} if kind in ("soft-cone", "separate") else {}
    form = {"formulation": "cone", "norm": 2} if kind == "cone" else {}
    problem = AdversarialSDP(X, y, 0.1) if kind == "sdp" else AdversarialReLU(X, y, 0.1, n_gates=4, **bound, **form)
    assert problem.nested
    betas, radii = np.array([0.05, 0.1, 0.15]), (0.0, 0.02, 0.05)
    found = [
        [solve(problem.at(beta=b, radius=r), settings=Settings(tolerance=1e-5)).certificate for b in betas]
        for r in radii
    ]
    for row in found:
        assert row[1].upper >= 0.5 * (row[0].lower + row[2].lower)
        assert row[2].upper >= row[1].lower
    for smaller, larger in pairwise(found):
        assert all(two.upper >= one.lower for one, two in zip(smaller, larger, strict=True))


def test_a_row_is_halved():
    assert halving(1) == [0]
    assert halving(2) == [0, 1]
    assert halving(9) == [0, 8, 4, 2, 6, 1, 3, 5, 7]
    assert sorted(halving(20)) == list(range(20))


def test_the_cheapest_way_has_the_next_point():
    cold, warm, other = PathWay("a"), PathWay("a", starts=True), PathWay("b", starts=True)
    choice, costs = Choice([cold, warm, other]), {"a": 1.0, "b": 0.1}
    assert choice.next((0.0, 0.1), can_start=False) is cold
    assert choice.trial_seconds(warm, (0.0, 0.1)) is None
    seen = []
    for number in range(40):
        # The smaller beta, the dearer: which way is best must not depend on where it was tried.
        place = (-0.1 * number, 0.1)
        way = choice.next(place, can_start=number > 0)
        seen.append(way)
        choice.note(way, place, *(2 * [costs[way.backend] * (1.0 + way.warm) * np.exp(0.1 * number)]))
    assert seen[:3] == [cold, warm, other]
    assert all(way is other for way in seen[3:])
    assert choice.trial_seconds(other, (0.0, 0.1)) is None
    # Without attack nothing is known, and trials are limited once something is.
    assert choice.next((0.0, 0.0), can_start=True) is cold
    choice.note(cold, (0.0, 0.0), 1.0, 1.0)
    assert choice.trial_seconds(warm, (0.0, 0.0)) == pytest.approx(2.5)
    # After a trial that fell short whoever has been best goes on, then all backends over all samples.
    screened = PathWay("a", screens=True)
    choice.ways.append(screened)
    choice.note(screened, (0.0, 0.1), 1.0, 1.0, certified=False)
    assert [(way.backend, way.starts, way.screens) for way in choice.others(screened, (0.0, 0.1))] == [
        ("b", True, False),
        ("a", True, False),
        ("b", True, False),
    ]


def test_what_a_start_is_expected_to_save_gives_way_to_what_it_does():
    cold, warm = PathWay("a"), PathWay("a", starts=True)
    choice, seen = Choice([cold, warm]), []
    for _ in range(40):
        way = choice.next((0.0, 0.1), can_start=True)
        seen.append(way)
        choice.note(way, (0.0, 0.1), 1.0 + 0.4 * way.warm, 1.0)
    assert 1 <= sum(way is warm for way in seen) <= 6
    assert all(way is cold for way in seen[20:])


@pytest.mark.parametrize(("dear", "tried"), [(8.0, 0), (3.0, 2)])
def test_other_ways_of_a_backend_that_is_beyond_hope_are_not_tried(dear, tried):
    ways = [PathWay("a"), PathWay("b", starts=True), PathWay("a", starts=True), PathWay("a", screens=True)]
    choice, costs, gone = Choice(ways), {"a": dear, "b": 1.0}, []
    for k in range(6):
        place = (-0.5 * k, 0.1)
        way = choice.next(place, can_start=k > 0)
        choice.note(way, place, costs[way.name], costs[way.name])
        gone.append(way)
    assert gone[:2] == ways[:2]
    assert sum(way.name == "a" for way in gone[2:]) == tried
