"""Which patterns can carry a neuron under attack, and gates that were moved until they can."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.optimize

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.errors import InputError
from cvxrobust.core.programs.gated import cones as gate_cones
from cvxrobust.core.programs.gated.cones import NEAR, GateCone, can_carry, interior, interiors
from cvxrobust.problems.relu.gates.cones import resampled
from cvxrobust.problems.relu.gates.patterns import all_patterns, sampled

NORMS = ("inf", 2, 1)
DUAL = {"inf": 1, 2: 2, 1: np.inf}
both_norms = pytest.mark.parametrize("norm", NORMS)
with_and_without_bias = pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])


def data(n, d, seed, bias=False):
    X = np.random.default_rng([seed, n, d]).standard_normal((n, d))
    return np.hstack([X, np.ones((n, 1))]) if bias else X


def slacks(u, X, pattern, radius, norm, attackable):
    """By the definition, one sample at a time."""
    reach = np.linalg.norm(u[:attackable], DUAL[norm]) if attackable else 0.0
    return np.array([(1 if g else -1) * (x @ u) - r * reach for x, g, r in zip(X, pattern, radius, strict=True)])


def largest_margin(X, pattern, radius, norm, attackable):
    """The same question as a conic model."""
    u, t = cp.Variable(X.shape[1]), cp.Variable()
    sides = np.where(pattern, 1.0, -1.0)
    sizes = np.linalg.norm(X, axis=1)
    reach = cp.norm(u[:attackable], DUAL[norm])
    model = cp.Problem(
        cp.Maximize(t), [cp.multiply(sides, X @ u) - radius * reach >= cp.multiply(sizes, t), cp.norm(u) <= 1.0]
    )
    return float(model.solve(solver="CLARABEL"))


# -- interiors --------------------------------------------------------------------------------------------------------


@both_norms
@with_and_without_bias
@pytest.mark.parametrize("scale", [0.0, 0.02, 0.1, 0.3])
def test_interiors_are_found_where_there_are_any_and_lie_well_inside(norm, bias, scale):
    X = data(25, 6, 0, bias)
    radius = scale * np.random.default_rng(1).uniform(0.2, 1.0, 25)
    patterns = sampled(X, 12, seed=3).patterns
    verdicts = []
    for pattern, found in zip(patterns.T, interiors(X, patterns, AttackBall(norm, radius, 6)), strict=True):
        best = largest_margin(X, pattern, radius, norm, 6)
        assert abs(best) < 1e-6 or best > 1e-4  # the model leaves no doubt
        verdicts.append(found is not None)
        assert verdicts[-1] == (best > 1e-5)
        if found is not None:
            true = (slacks(found.direction, X, pattern, radius, norm, 6) / np.linalg.norm(X, axis=1)).min()
            assert found.margin == pytest.approx(true, rel=1e-9)
            assert NEAR * best - 1e-7 <= true <= best + 1e-7
            assert np.linalg.norm(found.direction) == pytest.approx(1.0)
    assert any(verdicts)
    assert not all(verdicts) or scale < 0.3


@both_norms
def test_a_thin_cone_is_told_from_an_empty_one(norm):
    # The cone of these is |u_2| <= c u_1 less what the attack takes: empty if the radius is at least 1 / N(e_1) = 1.
    X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    pattern = np.ones(3, dtype=bool)
    for radius in (1.0 - 1e-6, 1.0 - 1e-8):
        found = interior(X, pattern, AttackBall(norm, np.full(3, radius), 2))
        assert found is not None
        assert 0.0 < found.margin <= 1.0 - radius
    for radius in (1.0, 1.0 + 1e-6):
        assert interior(X, pattern, AttackBall(norm, np.full(3, radius), 2)) is None


@pytest.mark.parametrize("seed", range(20))
def test_rounding_is_no_interior(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2, 2))
    # The last lies opposite to the cone of the others: all three can only be on one side of 0.
    X = np.vstack([X, -rng.uniform(0.1, 1.0, 2) @ X])
    assert interior(X, np.ones(3, dtype=bool), AttackBall("inf", np.zeros(3), 2)) is None
    assert not can_carry(X, np.ones(3, dtype=bool), AttackBall("inf", np.zeros(3), 2))


def test_a_search_that_ends_early_returns_the_best_so_far_or_nothing(monkeypatch):
    X, radius = data(60, 8, 0), np.full(60, 0.03)
    patterns = resampled(X, 40, 0, AttackBall("inf", radius, 8)).patterns
    before = np.zeros(40)
    for rounds in range(1, 14):
        monkeypatch.setattr(gate_cones, "ROUNDS", rounds)
        found = interiors(X, patterns, AttackBall("inf", radius, 8))
        margins = np.array([0.0 if each is None else each.margin for each in found])
        assert all(each is None or each.margin > 0.0 for each in found)
        assert (margins >= before).all()
        assert rounds > 1 or (margins == 0.0).any()
        before = margins
    assert (before > 0.0).all()


@both_norms
def test_a_bias_alone_withstands_every_attack(norm):
    X = data(20, 3, 0, bias=True)
    found = interior(X, np.ones(20, dtype=bool), AttackBall(norm, np.full(20, 1e3), 3))
    np.testing.assert_allclose(found.direction, [0, 0, 0, 1], atol=1e-3)
    assert interior(X, X[:, 0] > 0.0, AttackBall(norm, np.full(20, 1e3), 3)) is None
    only = interior(X[:, 3:], np.ones(20, dtype=bool), AttackBall(norm, np.full(20, 1e3), 0))
    assert only.margin == pytest.approx(1.0)


@both_norms
def test_samples_that_are_zero_matter_only_under_attack(norm):
    X = np.array([[1.0, 2.0], [0.0, 0.0]])
    for pattern in np.array([[True, True], [True, False]]):
        free = interior(X, pattern, AttackBall(norm, np.array([0.1, 0.0]), 2))
        assert free.margin == pytest.approx(slacks(free.direction, X, pattern, [0.1, 0.0], norm, 2)[0] / np.sqrt(5.0))
        assert interior(X, pattern, AttackBall(norm, np.array([0.1, 0.1]), 2)) is None
        assert not can_carry(X, pattern, AttackBall(norm, np.array([0.1, 0.1]), 2))
    # What the attack does not touch stays.
    for last, carries in ((1.0, True), (0.0, False)):
        X = np.array([[1.0, last], [0.0, 0.0]])
        assert can_carry(X, np.array([True, True]), AttackBall(norm, np.array([0.1, 0.1]), 1)) == carries


def test_without_any_constraint_everything_is_inside():
    found = interior(np.zeros((3, 2)), np.ones(3, dtype=bool), AttackBall(2, np.zeros(3), 2))
    assert found.margin == np.inf
    assert not can_carry(np.zeros((3, 2)), np.ones(3, dtype=bool), AttackBall(2, np.zeros(3), 2))


@both_norms
def test_what_is_inside_under_a_large_attack_is_inside_under_a_small_one(norm):
    X = data(40, 8, 2)
    strong = resampled(X, 10, 0, AttackBall(norm, np.full(40, 0.1), 8)).patterns
    margins = [
        [found.margin for found in interiors(X, strong, AttackBall(norm, np.full(40, r), 8))] for r in (0.1, 0.05, 0.0)
    ]
    assert (np.diff(margins, axis=0) >= -(1.0 - NEAR) * np.array(margins[1:])).all()


@both_norms
def test_units_of_samples_do_not_matter(norm):
    X, radius = data(20, 4, 3), np.full(20, 0.05)
    scale = np.logspace(-8, 8, 20)
    pattern = resampled(X, 1, 0, AttackBall(norm, radius, 4)).patterns[:, 0]
    found = interior(X, pattern, AttackBall(norm, radius, 4))
    again = interior(scale[:, None] * X, pattern, AttackBall(norm, scale * radius, 4))
    assert again.margin == pytest.approx(found.margin, rel=1e-6)


def test_least_squares_that_cycle_are_solved_otherwise(monkeypatch):
    X, radius = data(30, 5, 0), np.full(30, 0.02)
    patterns = sampled(X, 10, 0).patterns
    expected = interiors(X, patterns, AttackBall(2, radius, 5))

    def cycles(*_, **__):
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(scipy.optimize, "nnls", cycles)
    for found, before in zip(interiors(X, patterns, AttackBall(2, radius, 5)), expected, strict=True):
        assert (found is None) == (before is None)
        if found is not None:
            assert NEAR * before.margin <= found.margin <= before.margin / NEAR


# -- cones without an interior ----------------------------------------------------------------------------------------

OPPOSITE = np.array([[1.0, 2.0, 0.0], [-0.5, -1.0, 0.0], [0.0, 0.0, 1.0]])


@both_norms
@pytest.mark.parametrize(
    ("pattern", "radius", "carries"),
    [
        ([True, True, True], [0.0, 0.0, 0.0], True),  # e_3
        ([True, True, True], [0.0, 0.0, 0.5], True),
        ([True, True, True], [0.0, 0.0, 1.5], False),
        ([True, True, True], [0.0, 0.1, 0.0], False),
        ([False, False, True], [0.0, 0.0, 0.5], True),
        ([True, True, False], [0.0, 0.0, 0.0], False),  # -e_3 is active nowhere
        ([True, False, False], [0.0, 0.0, 0.0], True),  # has an interior
        ([False, False, False], [0.0, 0.0, 0.0], False),
    ],
)
def test_opposite_samples_that_share_a_gate_leave_what_is_orthogonal_to_them(norm, pattern, radius, carries):
    pattern, radius = np.array(pattern), np.array(radius)
    assert can_carry(OPPOSITE, pattern, AttackBall(norm, radius, 3)) == carries
    if pattern[0] == pattern[1]:
        assert interior(OPPOSITE, pattern, AttackBall(norm, radius, 3)) is None


@both_norms
@pytest.mark.parametrize("seed", range(8))
def test_degenerate_cones_are_judged_as_a_conic_model_judges_them(norm, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 2, (5, 4)).astype(float)
    X = X[X.any(axis=1)]
    X = np.vstack([X, -X[0], -2.0 * X[1]])
    n = len(X)
    # The opposite pairs share their gates, and lie in the middle of their balls or are not attacked.
    u = rng.standard_normal(4)
    u -= np.linalg.pinv(X[:2]) @ (X[:2] @ u)
    pattern = X @ u > 1e-9
    radius = np.where(np.abs(X @ u) > 1e-9, 0.3 * rng.uniform(size=n), 0.0)
    v = cp.Variable(4)
    sides = np.where(pattern, 1.0, -1.0)
    model = cp.Problem(
        cp.Maximize(cp.sum(X[pattern] @ v) if pattern.any() else 0.0),
        [cp.multiply(sides, X @ v) >= radius * cp.norm(v, DUAL[norm]), cp.norm(v, "inf") <= 1.0],
    )
    best = float(model.solve(solver="CLARABEL"))
    assert abs(best) < 1e-6 or best > 1e-3
    assert can_carry(X, pattern, AttackBall(norm, radius, 4)) == (best > 1e-3)
    assert interior(X, pattern, AttackBall(norm, radius, 4)) is None


def test_every_pattern_that_a_vector_has_can_carry_without_attack():
    X = data(9, 3, 5)
    assert all(can_carry(X, pattern, AttackBall("inf", np.zeros(9), 3)) for pattern in all_patterns(X).patterns.T)


@both_norms
def test_patterns_without_an_interior_carry_nothing_under_attack(norm):
    X, radius = data(60, 4, 6), np.full(60, 0.1)
    for pattern in sampled(X, 20, 0).patterns.T:
        assert can_carry(X, pattern, AttackBall(norm, radius, 4)) == (
            interior(X, pattern, AttackBall(norm, radius, 4)) is not None
        )


# -- cuts -------------------------------------------------------------------------------------------------------------


@both_norms
@pytest.mark.parametrize("attackable", [0, 3, 4])
def test_cuts_bound_the_slacks_and_touch_them(norm, attackable):
    X, rng = data(10, 4, 0), np.random.default_rng(0)
    radius = rng.uniform(size=10)
    cone = GateCone.of(X, X[:, 0] > 0.0, AttackBall(norm, radius, attackable))
    rows = np.array([7, 0, 3])
    for _ in range(20):
        u, v = rng.standard_normal((2, 4))
        assert cone.cuts(u, rows) @ u == pytest.approx(cone.slacks(u)[rows])
        assert (cone.cuts(u, rows) @ v >= cone.slacks(v)[rows] - 1e-12).all()
    expected = slacks(u, X, X[:, 0] > 0.0, radius, norm, attackable) / np.linalg.norm(X, axis=1)
    assert cone.slacks(u) == pytest.approx(expected)


# -- resampled --------------------------------------------------------------------------------------------------------


@both_norms
@with_and_without_bias
@pytest.mark.parametrize("scale", [0.0, 0.05, 0.1])
def test_resampled_gates_keep_every_ball_on_one_side(norm, bias, scale):
    X = data(60, 8, 0, bias)
    radius = scale * np.random.default_rng(2).uniform(0.5, 1.0, 60)
    found = resampled(X, 15, 4, AttackBall(norm, radius, 8))
    assert found.patterns.shape == (60, 15)
    assert (found.source, found.asked) == ("resampled", 256)
    assert len({tuple(column) for column in found.patterns.T.tolist()}) == 15
    for pattern, vector in zip(found.patterns.T, found.vectors.T, strict=True):
        assert pattern.any()
        assert slacks(vector, X, pattern, radius, norm, 8).min() > 0.0
        assert interior(X, pattern, AttackBall(norm, radius, 8)) is not None
    assert found.patterns[:, 0].all() or not bias
    again = resampled(X, 15, 4, AttackBall(norm, radius, 8))
    np.testing.assert_array_equal(found.patterns, again.patterns)
    np.testing.assert_array_equal(found.vectors, again.vectors)


@both_norms
def test_resampling_finds_what_sampling_does_not(norm):
    X, radius = data(100, 10, 0), np.full(100, {"inf": 0.09, 2: 0.225, 1: 0.45}[norm])
    drawn = sampled(X, 256, 0)
    assert sum(found is not None for found in interiors(X, drawn.patterns, AttackBall(norm, radius, 10))) < 8
    found = resampled(X, 256, 0, AttackBall(norm, radius, 10), tries=256)
    assert found.patterns.shape[1] > 64
    assert found.asked == 256


def test_without_attack_the_first_random_vectors_are_taken():
    X = data(30, 5, 0)
    found = resampled(X, 10, 3, AttackBall("inf", np.zeros(30), 5), tries=256)
    drawn = np.random.default_rng(3).standard_normal((256, 5))[:10]
    np.testing.assert_array_equal(found.patterns, X @ drawn.T >= 0.0)


def test_few_tries_give_few_gates_and_are_counted():
    X, radius = data(30, 5, 0), np.full(30, 0.02)
    found = resampled(X, 50, 0, AttackBall("inf", radius, 5), tries=20)
    assert found.asked == 20
    assert 0 < found.patterns.shape[1] <= 20
    # What crosses a ball to the end is no gate: of these candidates only some arrive.
    found = resampled(data(100, 10, 0), 64, 0, AttackBall("inf", np.full(100, 0.12), 10), tries=256)
    assert found.patterns.shape[1] + found.duplicates + found.empty < found.asked == 256
    # In one dimension there are two patterns, one of them empty.
    found = resampled(np.ones((3, 1)), 5, 0, AttackBall("inf", np.full(3, 0.1), 1), tries=300)
    assert (found.patterns.shape[1], found.asked) == (1, 300)
    assert found.duplicates + found.empty == 299


@both_norms
def test_where_nothing_carries_the_error_names_the_ways_out(norm):
    X = data(40, 4, 0)
    with pytest.raises(
        InputError, match=r"no pattern was found .* \(30 candidates .*\); use formulation=\"one-sided\""
    ):
        resampled(X, 5, 0, AttackBall(norm, np.full(40, 5.0), 4), tries=30)
    # Only the bias is left, whatever the radius; it has one pattern, and an empty one.
    found = resampled(np.hstack([X, np.ones((40, 1))]), 5, 0, AttackBall(norm, np.full(40, 50.0), 4), tries=30)
    assert found.patterns[:, 0].all()


def test_samples_that_are_zero_do_not_stop_the_search():
    X = np.vstack([np.zeros(4), data(20, 4, 0)])
    radius = np.full(21, 0.02)
    with pytest.raises(InputError, match="no pattern was found"):
        resampled(X, 3, 0, AttackBall("inf", radius, 4), tries=20)
    radius[0] = 0.0
    found = resampled(X, 3, 0, AttackBall("inf", radius, 4))
    assert found.patterns.shape[1] == 3
    assert found.patterns[0].all()
    # Attacked zeros leave what the attack does not touch.
    rest = resampled(X, 3, 0, AttackBall("inf", np.full(21, 0.02), 3))
    assert np.abs(rest.vectors[:3]).max() == 0.0
    X[5, 3] = 0.0
    with pytest.raises(InputError, match="no pattern was found"):
        resampled(X, 3, 0, AttackBall("inf", np.full(21, 0.02), 3), tries=20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_gates": 0}, "n_gates is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"tries": 2.5}, "tries is 2.5; expected a whole"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        resampled(**{"X": np.eye(2), "n_gates": 2, "seed": 0, "attack": AttackBall(2, np.zeros(2), 2)} | changes)
