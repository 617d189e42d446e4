"""Joint training: the programme, its own model in cvxpy, the objective from its definition, and what bounds prove."""

import numpy as np
import pytest
from random_problems import random_joint, some_joint_network

from cvxrobust import AdversarialSDP, InputError, JointSDP, Settings, UnsupportedProgramError, solve
from cvxrobust.core import get_backend
from cvxrobust.core.programs.joint.certificate import JointPoints

TIGHT = Settings(tolerance=1e-8, threads=1)
NUMBERS = range(105)
"""Every loss with every activation, shape of attacks, and number of classes."""


def close(tolerance=1e-6):
    return {"rel": tolerance, "abs": tolerance}


def bounds(problem):
    """What a conic solver finds, the objective of its network, and what its multipliers prove."""
    program = problem.to_conic()
    solution = get_backend("clarabel").solve(program, TIGHT)
    network = problem.recover(solution)
    best = max(problem.lower_bound(one) for one in problem.multiplier_candidates(solution, network))
    return program.q @ solution.x + program.offset, problem.objective(network), best


@pytest.mark.parametrize("first", range(0, 105, 15))
def test_value_objective_and_bound_are_one_number(first):
    for number in NUMBERS[first : first + 15]:
        problem = random_joint(number)
        value, upper, lower = bounds(problem)
        assert lower <= upper * (1 + 1e-12), number
        assert upper == pytest.approx(value, **close()), number
        assert lower == pytest.approx(value, **close()), number


@pytest.mark.parametrize("number", [1, 5, 23, 62, 87])
def test_the_vectorised_programme_is_the_readable_one(number):
    problem = random_joint(number)
    reference = problem.to_cvxpy()
    reference.solve(solver="CLARABEL")
    assert bounds(problem)[0] == pytest.approx(reference.value, **close())


@pytest.mark.parametrize("number", NUMBERS[::5])
def test_the_objective_is_that_of_its_definition(number):
    """No attack that is sampled beats it, and attacks that are searched for come near."""
    problem = random_joint(number)
    network = some_joint_network(problem, number)
    losses = problem.losses_of(network)
    found = np.full(losses.size, -np.inf)
    rng = np.random.default_rng(number)
    margins = np.full(losses.size, np.inf)
    for _ in range(400):
        moves = problem.attack.sample(rng) if problem.attack.present else np.zeros_like(problem.X)
        stretch = problem.attack.radius / np.maximum(problem.attack.size(moves), 1e-300)
        for points in (problem.X + moves, problem.X + moves * stretch[:, None]):
            np.minimum.at(margins, problem.samples, network.margins(points, problem.y))
    worst = network.worst_case(problem.X, problem.y, problem.radius if problem.attack.present else 0.0)
    own = network.margins(worst.points, problem.y)
    exact = margins.copy()
    np.minimum.at(exact, problem.samples, own)
    found, reached = (problem.program.loss_function.value(one, np.ones_like(one)) for one in (margins, exact))
    assert (found <= losses + 1e-9 * (1 + losses)).all()
    assert losses == pytest.approx(reached, rel=1e-9, abs=1e-9)
    penalty = np.abs(network.alpha).sum(axis=0) @ problem.penalties
    assert problem.objective(network) == pytest.approx(losses.mean() + problem.beta * penalty)


@pytest.mark.parametrize("number", NUMBERS[::7])
def test_no_multipliers_prove_more_than_a_network_is_worth(number):
    problem, rng = random_joint(number), np.random.default_rng(number)
    (n, d), K = problem.X.shape, len(problem.classes)
    networks = [problem.trivial_network(), *(some_joint_network(problem, seed, size=0.1) for seed in range(3))]
    least = min(problem.objective(network) for network in networks)
    owners = rng.integers(0, n, 40)
    # Far outside the balls, of any sign and size, against the own class, too.
    wrong = JointPoints(
        rng.standard_normal(40) * 10.0 ** rng.uniform(-3, 3), owners, rng.integers(0, K, 40),
        problem.X[owners] + 5.0 * rng.standard_normal((40, d)),
    )  # fmt: skip
    spoilt = JointPoints(np.full(40, np.nan), owners, wrong.rivals, np.full((40, d), np.inf))
    for multipliers in (wrong, spoilt, *(problem.network_multipliers(network) for network in networks)):
        assert problem.lower_bound(multipliers) <= least * (1 + 1e-12)


def test_multipliers_of_another_problem_are_refused():
    problem = random_joint(1)
    one = JointPoints(np.ones(1), np.array([problem.X.shape[0]]), np.zeros(1, dtype=int), problem.X[:1])
    with pytest.raises(InputError, match="name points or rivals that there are not; expected 7 rows, 3 classes"):
        problem.lower_bound(one)


def test_a_point_of_its_own_class_proves_nothing():
    """Margins against the own class are 0: weights on these would count for a loss that nobody has."""
    problem = random_joint(1)
    n = problem.X.shape[0]
    own = JointPoints(np.full(n, 1.0), np.arange(n), problem.labels, problem.X)
    assert problem.lower_bound(own) == 0.0


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_two_classes_are_the_binary_problem_with_the_same_beta(loss):
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((9, 2)), np.where(rng.random(9) < 0.5, 1.0, -1.0)
    same = {"radius": 0.3, "beta": 0.02, "loss": loss}
    joint, binary = JointSDP(X, y, **same), AdversarialSDP(X, y, **same)
    program = binary.to_conic()
    solution = get_backend("clarabel").solve(program, TIGHT)
    assert bounds(joint)[0] == pytest.approx(program.q @ solution.x + program.offset, **close())


def test_points_of_a_sample_share_its_loss():
    """A point that comes again changes nothing; points apart cost at most what they cost together."""
    problem = random_joint(15)
    again = JointSDP(
        np.vstack([problem.X, problem.X]), np.tile(problem.y, 2), np.tile(problem.radius, 2), problem.beta,
        problem.loss, problem.activation, groups=np.tile(problem.samples, 2), penalties=problem.penalties,
        scale=problem.scale, covariance=problem.covariance, directions=problem.directions,
    )  # fmt: skip
    assert bounds(again)[0] == pytest.approx(bounds(problem)[0], **close())
    network = some_joint_network(problem, 0)
    moved = JointSDP(np.vstack([problem.X, problem.X + 0.3]), np.tile(problem.y, 2), groups=np.tile(problem.samples, 2))
    near, far = (JointSDP(X, problem.y).losses_of(network) for X in (problem.X, problem.X + 0.3))
    assert moved.losses_of(network) == pytest.approx(np.maximum(near, far))


def test_rows_without_weight_are_no_points():
    rng = np.random.default_rng(0)
    X, y, groups = rng.standard_normal((8, 2)), np.arange(8) // 2 % 3, np.arange(8) // 2 + 10
    weight = np.array([1.0, 1, 0, 0, 2, 2, 1, 1])
    problem = JointSDP(X, y, groups=groups, sample_weight=weight, beta=0.05)
    assert problem.X.shape == (6, 2)
    assert problem.groups.tolist() == [10, 12, 13]
    assert problem.sample_weight == pytest.approx([0.75, 1.5, 0.75])
    twice = JointSDP(np.vstack([X, X[4:6]]), [*y, 2, 2], groups=[*groups, 99, 99], beta=0.05,
                     sample_weight=[1, 1, 0, 0, 1, 1, 1, 1, 1, 1])  # fmt: skip
    assert bounds(problem)[0] == pytest.approx(bounds(twice)[0], **close())


def test_the_front_door_takes_it_and_the_network_answers():
    rng = np.random.default_rng(1)
    y = np.array(["a", "b", "c"])[np.arange(18) % 3]
    X = rng.standard_normal((18, 2)) + 2.0 * np.array([[0, 0], [1, 0], [0, 1]])[np.arange(18) % 3]
    problem = JointSDP(X, y, radius=0.2, beta=0.01)
    result = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6))
    assert result.quality == "certified"
    assert result.network.classes == ("a", "b", "c")
    assert result.network.decision_function(X).shape == (18, 3)
    clean, robust = result.network.robust_accuracy(X, y, [0.0, 0.2])
    assert 1 / 3 < robust <= clean
    again = solve(problem, backend="clarabel", warm_start=result, settings=Settings(tolerance=1e-6))
    assert again.certificate.upper <= result.certificate.upper
    assert problem.at(beta=0.02).beta == 0.02
    assert (problem.at(radius=0.0).radius == 0.0).all()


def test_a_backend_that_trains_one_class_against_the_others_refuses_by_name():
    with pytest.raises(UnsupportedProgramError, match="'ipm' does not train several classes by 'joint'"):
        solve(random_joint(1), backend="ipm")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": [0, 0, 1, 1, 2, 2]}, "points of group 0 have different labels: 0 in row 0, 1 in row 1"),
        ({"groups": [0, 1, 2, 0, 1, 2], "sample_weight": [1, 1, 1, 2, 1, 1]}, "group 0 have different weights"),
        ({"groups": [0.5] * 6}, "groups has shape .* expected whole numbers"),
        ({"groups": [0, 1]}, r"groups has shape \(2,\)"),
        ({"y": [1] * 6}, r"y holds one class, \[1\]; joint training needs at least two"),
        ({"y": [0, 1]}, r"y has shape \(2,\); expected \(6,\)"),
        ({"y": [0.1, 0.2, 0.3, 0.4, 0.5, 0.65]}, "look like real targets"),
        ({"penalties": [1.0, 0.0, 1.0]}, r"penalties are .* expected a finite number above 0 for each of the 3"),
        ({"loss": "squared"}, "squared"),
        ({"norm": "inf"}, "exact for l2 attacks"),
        ({"beta": 0}, "beta is 0"),
    ],
)
def test_what_is_unusable_is_refused(changes, message):
    given = {"X": np.eye(6)[:, :2], "y": [0, 1, 2, 0, 1, 2]} | changes
    with pytest.raises(InputError, match=message):
        JointSDP(**given)


def test_a_network_that_does_not_fit_is_refused():
    problem = random_joint(1)
    network = some_joint_network(problem, 0)
    for wrong in (network.replace(u=2.0 * network.u), network.replace(alpha=network.alpha[:, :2], classes=None)):
        with pytest.raises(InputError, match="the network has"):
            problem.objective(wrong)
