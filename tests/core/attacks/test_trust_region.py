"""The trust-region solver against brute force, and against the same problems solved with 50 digits."""

from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
import torch

from cvxrobust.core.attacks.trust_region import decompose, distance_to_zero, minimize_in_ball, minimize_on_sphere

EPS = 2.0**-52
DIGITS = 50
KINDS = (
    "random",
    "hard",
    "nearly hard",
    "clustered lowest",
    "multiple lowest",
    "zero matrix",
    "singular",
    "positive definite",
    "interior",
    "wide spectrum",
    "scales",
)


@dataclass(frozen=True)
class Subproblem:
    """``D'P D + 2 g'D`` over a ball or sphere of the radius."""

    P: np.ndarray
    g: np.ndarray
    radius: float

    @property
    def noise(self):
        """What an error of 1 in the last digits of P costs on the ball: below it no value in float64 means a thing."""
        return EPS * np.linalg.norm(self.P, 2) * self.radius**2

    def tolerance(self, value):
        return 1e-12 * abs(float(value)) + 32.0 * self.noise


def subproblem(kind, seed, largest=8):
    rng = np.random.default_rng([KINDS.index(kind), seed])
    d = int(rng.integers(1, largest + 1))
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    w, h, radius = np.sort(rng.standard_normal(d)), rng.standard_normal(d), 1.0
    if kind in ("hard", "nearly hard"):
        h *= 10.0 ** rng.uniform(-3, 0.5)
        h[0] = 0.0 if kind == "hard" else 10.0 ** rng.uniform(-30, -5)
    if kind == "clustered lowest":
        w[: d // 2 + 1] = -1.0 + 1e-13 * rng.standard_normal(d // 2 + 1)
    if kind == "multiple lowest":
        w[: d // 2 + 1] = -2.0
    if kind == "zero matrix":
        w[:] = 0.0
    if kind in ("singular", "positive definite", "interior"):
        w = np.abs(w)
        w[0] = 0.0 if kind == "singular" else w[0]
    if kind == "interior":
        w, h = w + 0.1, 0.01 * h
    if kind == "wide spectrum":
        w = rng.choice([-1.0, 1.0], d) * 10.0 ** rng.uniform(-16, 0, d)
        h = h * 10.0 ** rng.uniform(-12, 0, d)
    P, g = (Q * w) @ Q.T, Q @ h
    if kind == "scales":
        P, g, radius = P * 10.0 ** rng.uniform(-8, 8), g * 10.0 ** rng.uniform(-8, 8), 10.0 ** rng.uniform(-8, 8)
    return Subproblem(0.5 * (P + P.T), g, float(radius))


# -- references with 50 digits ---------------------------------------------------------------------------------------


def diagonalise(P, g):
    """Eigenvalues of P, ascending, and g in the basis of its eigenvectors, to 50 digits."""
    E, Q = mpmath.eigsy(mpmath.matrix(P.tolist()))
    d = g.size
    return [E[k] for k in range(d)], [sum(Q[i, k] * mpmath.mpf(float(g[i])) for i in range(d)) for k in range(d)]


def spread(w, h):
    return max([abs(value) for value in w] + [abs(value) for value in h] + [mpmath.mpf("1e-300")])


def squared_length(w, h, mu):
    return mpmath.fsum((h[k] / (w[k] - w[0] + mu)) ** 2 for k in range(len(w)))


def bisect(low, high, negative):
    """The point of [low, high] where `negative` turns false, by bisection in the logarithm."""
    for _ in range(240):
        middle = mpmath.sqrt(low * high)
        low, high = (middle, high) if negative(middle) else (low, middle)
    return high


def exact_minimum(problem, sphere):
    """The dual value at the root of the secular equation; the hard case is the limit at its left end."""
    with mpmath.workdps(DIGITS):
        r = mpmath.mpf(problem.radius)
        w, h = diagonalise(problem.P, problem.g)
        # In units of the radius.
        w, h = [value * r * r for value in w], [value * r for value in h]
        end = spread(w, h) * mpmath.mpf("1e-42")
        low = end if sphere else max(w[0], end)
        if squared_length(w, h, low) > 1:
            high = low + mpmath.sqrt(mpmath.fsum(value**2 for value in h))
            low = bisect(low, high, lambda mu: squared_length(w, h, mu) > 1)
        return w[0] - low - mpmath.fsum(h[k] ** 2 / (w[k] - w[0] + low) for k in range(len(w)))


def exact_distance(P, g, value):
    """The length of the shortest D with ``value + 2 g'D + D'P D = 0`` from the path of minimisers."""
    if value == 0.0:
        return mpmath.mpf(0)
    with mpmath.workdps(DIGITS):
        sign = 1.0 if value > 0 else -1.0
        w, h = diagonalise(sign * P, sign * g)
        v = mpmath.mpf(abs(value))
        size = max([abs(k) for k in w] + [k**2 / v for k in h] + [mpmath.mpf("1e-300")])

        def along(mu):
            return v - mpmath.fsum((h[k] / (w[k] - w[0] + mu)) ** 2 * (w[k] + 2 * (mu - w[0])) for k in range(len(w)))

        low = max(w[0], 0) + size * mpmath.mpf("1e-42")
        if along(low) >= 0:
            return mpmath.sqrt(squared_length(w, h, low) + along(low) / -w[0]) if w[0] < 0 else mpmath.inf
        return mpmath.sqrt(squared_length(w, h, bisect(low, 100 * size, lambda mu: along(mu) <= 0)))


def exact_value(P, g, D, constant=0.0):
    with mpmath.workdps(DIGITS):
        x = mpmath.matrix(D.tolist())
        quadratic = (x.T * mpmath.matrix(P.tolist()) * x)[0]
        return quadratic + 2 * (x.T * mpmath.matrix(g.tolist()))[0] + mpmath.mpf(float(constant))


def solve(problem, sphere):
    minimize = minimize_on_sphere if sphere else minimize_in_ball
    return minimize(problem.P, problem.g[None], np.array([problem.radius]))


def check_against_fifty_digits(problem, sphere):
    exact = exact_minimum(problem, sphere)
    found = solve(problem, sphere)
    primal, dual, point = float(found.primal[0]), float(found.dual[0]), found.points[0]
    tolerance = problem.tolerance(exact)
    assert dual <= exact  # a bound, not an approximation
    assert dual <= primal
    assert primal - dual <= tolerance
    assert abs(primal - exact) <= tolerance
    assert abs(exact_value(problem.P, problem.g, point) - exact) <= tolerance
    length = np.linalg.norm(point)
    assert length <= problem.radius * (1.0 + 8.0 * EPS)
    if sphere:
        assert length >= problem.radius * (1.0 - 8.0 * EPS)


@pytest.mark.parametrize("sphere", [False, True], ids=["ball", "sphere"])
@pytest.mark.parametrize("kind", KINDS)
def test_minimum_equals_fifty_digits(kind, sphere):
    for seed in range(6):
        check_against_fifty_digits(subproblem(kind, seed), sphere)


@pytest.mark.parametrize("sphere", [False, True], ids=["ball", "sphere"])
def test_minimum_equals_fifty_digits_in_thirty_dimensions(sphere):
    rng = np.random.default_rng(3)
    # Diagonal, so that the reference stays quick; a permutation keeps eigh from being handed a sorted matrix.
    for seed in range(6):
        w = np.sort(rng.standard_normal(30)) * 10.0 ** rng.uniform(-8, 8)
        if seed % 2:
            w[:5] = w[0]
        h = rng.standard_normal(30) * 10.0 ** rng.uniform(-8, 8)
        h[0] = 0.0 if seed > 3 else h[0]
        order = rng.permutation(30)
        problem = Subproblem(np.diag(w[order]), h[order], float(10.0 ** rng.uniform(-4, 4)))
        check_against_fifty_digits(problem, sphere)


@pytest.mark.parametrize("component", [0.0, *(10.0**-k for k in range(5, 31, 5))])
def test_hard_and_nearly_hard_cases_meet_their_dual(component):
    # Away from the lowest eigenvector the step is shorter than the radius, so that direction must fill up the rest.
    w, h = np.array([-1.0, 0.5, 2.0, 3.0]), np.array([component, 0.3, -0.2, 0.1])
    check_against_fifty_digits(Subproblem(np.diag(w), h, 1.0), sphere=False)
    found = solve(Subproblem(np.diag(w), h, 1.0), sphere=False)
    assert bool(found.hard[0]) == (component == 0.0)
    assert not found.interior[0]
    # The shifts of the eigenvalues differ from 1 only through the component.
    assert found.multiplier[0] == pytest.approx(1.0 + component / np.sqrt(1 - 0.2**2 - 0.2**2 / 9 - 0.1**2 / 16), 1e-4)


def test_an_interior_minimum_is_found_where_newton_puts_it():
    problem = subproblem("interior", 0)
    found = solve(problem, sphere=False)
    assert found.interior[0]
    assert found.multiplier[0] == 0.0
    assert found.points[0] == pytest.approx(-np.linalg.solve(problem.P, problem.g), rel=1e-12)
    assert not solve(problem, sphere=True).interior[0]


def test_on_the_sphere_even_a_positive_definite_matrix_has_hard_cases():
    problem = Subproblem(np.diag([1.0, 4.0]), np.array([0.0, 0.3]), 1.0)
    check_against_fifty_digits(problem, sphere=True)
    found = solve(problem, sphere=True)
    assert found.hard[0]
    assert not found.interior[0]
    assert found.multiplier[0] == -1.0  # a multiplier of either sign will do on the sphere
    assert found.points[0, 1] == pytest.approx(-0.1)


# -- brute force -----------------------------------------------------------------------------------------------------


def directions(d, count=20_000):
    """Unit vectors that cover the sphere evenly, in one to three dimensions."""
    if d == 1:
        return np.array([[-1.0], [1.0]])
    if d == 2:
        angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    height = np.linspace(-1.0, 1.0, count)
    angle = np.pi * (1.0 + 5.0**0.5) * np.arange(count)
    return np.stack([np.sqrt(1 - height**2) * np.cos(angle), np.sqrt(1 - height**2) * np.sin(angle), height], axis=1)


@pytest.mark.parametrize("sphere", [False, True], ids=["ball", "sphere"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_no_sampled_point_beats_the_minimum_and_some_come_near(d, sphere):
    rng = np.random.default_rng(d)
    unit = directions(d)
    for _ in range(20):
        P, g = rng.standard_normal((d, d)), rng.standard_normal(d) * rng.choice([0.1, 1.0])
        P, radius = P + P.T, rng.uniform(0.1, 2.0)
        found = solve(Subproblem(P, g, radius), sphere)
        # Along each direction the best length is known, so that only directions need sampling.
        curvature, slope = np.einsum("ij,jk,ik->i", unit, P, unit), unit @ g
        lengths = np.stack([np.full(unit.shape[0], radius), np.zeros(unit.shape[0]), np.zeros(unit.shape[0])])
        if sphere:
            lengths[1:] = radius
        else:
            convex = curvature > 0.0
            lengths[2, convex] = np.clip(-slope[convex] / curvature[convex], 0.0, radius)
        sampled = (curvature * lengths**2 + 2.0 * slope * lengths).min()
        size = np.linalg.norm(P, 2) * radius**2 + np.linalg.norm(g) * radius
        assert found.dual[0] <= sampled
        assert found.primal[0] >= sampled - (1e-12 if d == 1 else 1e-3) * size


# -- the interface ---------------------------------------------------------------------------------------------------


def mixed_batch():
    """One matrix; interior, boundary, hard and nearly hard rows, radius 0 and extreme radii."""
    w = np.array([-1.0, -1.0, 0.5, 2.0, 7.0])
    Q = np.linalg.qr(np.random.default_rng(5).standard_normal((5, 5)))[0]
    H = np.random.default_rng(6).standard_normal((9, 5))
    H[1, :2] = 0.0
    H[2, :2] = 0.0, 1e-20
    H[3] = 0.0
    H[4] *= 1e-8
    H[5] *= 1e8
    return (Q * w) @ Q.T, H @ Q.T, np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1e-8, 1e8])


@pytest.mark.parametrize("sphere", [False, True], ids=["ball", "sphere"])
def test_a_batch_of_mixed_cases_equals_its_rows_one_by_one(sphere):
    P, G, radius = mixed_batch()
    minimize = minimize_on_sphere if sphere else minimize_in_ball
    together = minimize(P, G, radius)
    for k in range(G.shape[0]):
        alone = minimize(P, G[k : k + 1], radius[k : k + 1])
        assert together.primal[k] == pytest.approx(alone.primal[0], rel=1e-14)
        assert together.dual[k] == pytest.approx(alone.dual[0], rel=1e-14)
        if k not in (1, 2, 3):  # with two lowest eigenvectors a (nearly) hard case has many minimisers
            assert together.points[k] == pytest.approx(alone.points[0], rel=1e-9, abs=1e-12 * radius[k])
    definite = minimize(P + 2.0 * np.eye(5), 0.1 * G, radius)
    assert sphere or definite.interior.any()


def test_a_shared_decomposition_gives_the_same_answer():
    P, G, radius = mixed_batch()
    assert np.array_equal(minimize_in_ball(decompose(P), G, radius).primal, minimize_in_ball(P, G, radius).primal)


def test_the_unit_sphere_is_the_default():
    P, G, _ = mixed_batch()
    explicit = minimize_on_sphere(P, G, np.ones(9))
    assert np.array_equal(minimize_on_sphere(P, G).dual, explicit.dual)
    assert np.linalg.norm(explicit.points, axis=1) == pytest.approx(1.0, rel=1e-14)


def test_radius_zero_stays_at_the_centre():
    P, G, _ = mixed_batch()
    found = minimize_in_ball(P, G, np.zeros(9))
    assert not found.points.any()
    assert not found.primal.any()
    assert not found.dual.any()


def test_no_matrix_and_no_gradient_leave_nothing_to_gain():
    found = minimize_in_ball(np.zeros((3, 3)), np.zeros((2, 3)), np.ones(2))
    assert not found.primal.any()
    assert not found.dual.any()


@pytest.mark.parametrize("sphere", [False, True], ids=["ball", "sphere"])
def test_torch_and_numpy_agree_and_leave_their_inputs_alone(sphere):
    P, G, radius = mixed_batch()
    minimize = minimize_on_sphere if sphere else minimize_in_ball
    numbers = (P, G, radius)
    copies = tuple(array.copy() for array in numbers)
    tensors = tuple(torch.tensor(array) for array in numbers)
    by_numpy, by_torch = minimize(*numbers), minimize(*tensors)
    for before, array, tensor in zip(copies, numbers, tensors, strict=True):
        assert np.array_equal(before, array)
        assert np.array_equal(before, tensor.numpy())
    assert isinstance(by_torch.points, torch.Tensor)
    assert by_torch.points.dtype == torch.float64
    size = 7.0 * radius**2 + np.linalg.norm(G, axis=1) * radius
    for name in ("primal", "dual", "multiplier"):
        difference = np.abs(getattr(by_torch, name).numpy() - getattr(by_numpy, name))
        scale = 7.0 + np.linalg.norm(G, axis=1) / np.maximum(radius, 1e-8) if name == "multiplier" else size
        assert (difference <= 1e-13 * scale).all()
    distances = distance_to_zero(P, G, radius), distance_to_zero(tensors[0], tensors[1], tensors[2])
    for name in ("distance", "lower"):
        assert getattr(distances[1], name).numpy() == pytest.approx(getattr(distances[0], name), rel=1e-10)


def test_read_only_arrays_will_do():
    numbers = mixed_batch()
    for array in numbers:
        array.setflags(write=False)
    minimize_in_ball(*numbers)
    distance_to_zero(*numbers)


@pytest.mark.parametrize("sphere", [False, True], ids=["ball", "sphere"])
def test_ten_thousand_points_in_thirty_dimensions_meet_their_duals(sphere):
    rng = np.random.default_rng(0)
    P = rng.standard_normal((30, 30))
    P, G, radius = P + P.T, rng.standard_normal((10_000, 30)), rng.uniform(0.0, 3.0, 10_000)
    G *= 10.0 ** rng.uniform(-6, 6, (10_000, 1))
    found = (minimize_on_sphere if sphere else minimize_in_ball)(P, G, radius)
    gap = found.primal - found.dual
    assert (gap >= 0.0).all()
    assert (gap <= 1e-12 * np.abs(found.primal)).all()
    assert (np.linalg.norm(found.points, axis=1) <= radius * (1.0 + 1e-14)).all()


# -- the distance to the zero set ------------------------------------------------------------------------------------


def quadratic(kind, seed):
    """P, g and a value at the centre, of either sign."""
    problem = subproblem(kind, seed)
    rng = np.random.default_rng([99, seed])
    value = rng.choice([-1.0, 1.0]) * 10.0 ** (rng.uniform(-8, 8) if kind == "scales" else rng.uniform(-3, 1))
    return problem.P, problem.g, float(value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "wide spectrum"])
def test_distance_equals_fifty_digits(kind):
    reached = 0
    for seed in range(8):
        P, g, value = quadratic(kind, seed)
        exact = exact_distance(P, g, value)
        found = distance_to_zero(P, g[None], np.array([value]))
        distance, lower, step = float(found.distance[0]), float(found.lower[0]), found.steps[0]
        assert lower <= exact
        assert lower <= distance
        if mpmath.isinf(exact):
            assert distance == np.inf
            assert np.isnan(step).all()
            continue
        reached += 1
        assert distance == pytest.approx(float(exact), rel=1e-12)
        assert lower == pytest.approx(float(exact), rel=1e-11)
        assert np.linalg.norm(step) == pytest.approx(distance, rel=1e-13)
        size = abs(value) + np.linalg.norm(P, 2) * distance**2 + np.linalg.norm(g) * distance
        assert abs(exact_value(P, g, step, value)) <= 1e-14 * size
    assert reached >= 1


@pytest.mark.parametrize("kind", ["wide spectrum", "just out of reach"])
def test_the_lower_bound_of_the_distance_survives_what_rounding_can_do(kind):
    unsafe_without_care = 0
    for seed in range(30):
        P, g, value = quadratic("wide spectrum", seed)
        if kind == "just out of reach":
            rng = np.random.default_rng(seed)
            P = P + (np.linalg.norm(P, 2) + 0.01) * np.eye(g.size)
            # The minimum of the quadratic is zero but for rounding, so a perturbation decides whether there is a root.
            value = float(g @ np.linalg.solve(P, g)) * (1.0 + rng.choice([0.0, 1e-16, -1e-16, 1e-15, 1e-12]))
        if value == 0.0:
            continue
        exact = exact_distance(P, g, value)
        found = distance_to_zero(P, g[None], np.array([value]))
        assert found.lower[0] <= exact
        # It is no way out to give up: where the quadratic only touches zero, that happens at its minimiser.
        reach = np.linalg.norm(np.linalg.solve(P, g)) if kind == "just out of reach" else float(exact)
        assert found.lower[0] >= 0.999 * reach
        unsafe_without_care += bool(found.distance[0] > exact)
    assert unsafe_without_care > 0


@pytest.mark.parametrize("d", [1, 2, 3])
def test_no_direction_leads_to_zero_sooner_than_the_distance(d):
    rng = np.random.default_rng(d)
    unit = directions(d)
    reached = 0
    for _ in range(40):
        P, g, value = rng.standard_normal((d, d)), rng.standard_normal(d), float(rng.standard_normal())
        P = P + P.T
        found = distance_to_zero(P, g[None], np.array([value]))
        # Along a direction the quadratic has at most two roots.
        a, b = np.einsum("ij,jk,ik->i", unit, P, unit), unit @ g
        inside = b * b - a * value
        root = np.sqrt(np.maximum(inside, 0.0))
        lengths = np.concatenate([((-b + s * root) / a)[inside >= 0.0] for s in (1.0, -1.0)])
        sampled = lengths[lengths >= 0.0].min(initial=np.inf)
        assert found.lower[0] <= sampled * (1.0 + 1e-12)
        if np.isfinite(sampled):
            reached += 1
            assert found.distance[0] == pytest.approx(sampled, rel=1e-12 if d == 1 else 1e-2)
        else:
            assert found.distance[0] == np.inf
    assert reached >= 10


@pytest.mark.parametrize("kind", ["random", "hard", "nearly hard", "multiple lowest", "zero matrix", "scales"])
def test_the_worst_value_at_the_distance_is_zero(kind):
    for seed in range(20):
        P, g, value = quadratic(kind, seed)
        distance = float(distance_to_zero(P, g[None], np.array([value])).distance[0])
        if not np.isfinite(distance):
            continue
        sign = np.sign(value)
        worst = minimize_in_ball(sign * P, sign * g[None], np.array([distance])).primal[0] + abs(value)
        size = abs(value) + np.linalg.norm(P, 2) * distance**2 + np.linalg.norm(g) * distance
        assert abs(worst) <= 1e-13 * size


def test_distance_in_the_hard_case_goes_along_the_lowest_eigenvector():
    # 1 - x^2 + 4 y^2 vanishes first at x = 1, y = 0.
    found = distance_to_zero(np.diag([-1.0, 4.0]), np.zeros((1, 2)), np.array([1.0]))
    assert found.distance[0] == pytest.approx(1.0, rel=1e-15)
    assert np.abs(found.steps[0]) == pytest.approx([1.0, 0.0])


def test_a_boundary_out_of_reach_is_infinitely_far():
    # |x|^2 + 2 x_1 + 2 = (x_1 + 1)^2 + x_2^2 + 1 > 0, and a constant never vanishes.
    g = np.array([[1.0, 0.0]])
    for P, gradient, value in ((np.eye(2), g, 2.0), (-np.eye(2), -g, -2.0), (np.zeros((2, 2)), 0.0 * g, 1.0)):
        found = distance_to_zero(P, gradient, np.array([value]))
        assert found.distance[0] == np.inf
        assert found.lower[0] == np.inf
        assert np.isnan(found.steps).all()


def test_a_value_of_zero_is_at_no_distance():
    found = distance_to_zero(np.diag([1.0, -2.0]), np.ones((1, 2)), np.zeros(1))
    assert found.distance[0] == found.lower[0] == 0.0
    assert not found.steps.any()


def test_values_of_both_signs_share_one_batch():
    P, g = np.diag([1.0, 0.5]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    # x^2 + 2 x + 0.75 vanishes at -0.5, x^2 + 2 x - 3 at 1, x^2 - 3 at sqrt(3).
    found = distance_to_zero(P, g, np.array([0.75, -3.0, -3.0]))
    assert found.distance == pytest.approx([0.5, 1.0, 3.0**0.5], rel=1e-14)
    assert found.steps[0] == pytest.approx([-0.5, 0.0])
    assert found.steps[1] == pytest.approx([1.0, 0.0])


def test_an_uncertain_matrix_shortens_the_lower_bound_as_its_worst_member_does():
    P, g, value = np.diag([1.0, -0.5]), np.array([[0.3, 0.2]]), np.array([1.0])
    exact = float(exact_distance(P - 1e-3 * np.eye(2), g[0], 1.0))
    found = distance_to_zero(P, g, value, uncertainty=1e-3)
    assert found.lower[0] <= exact
    assert found.lower[0] == pytest.approx(exact, rel=1e-3)
    assert found.distance[0] == distance_to_zero(P, g, value).distance[0]
