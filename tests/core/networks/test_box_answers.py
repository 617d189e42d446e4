"""What polynomial networks say of themselves where they were trained against attacks in the norm inf."""

import numpy as np
import pytest

from cvxrobust import AdversarialSDP, BoxSDP, PolynomialClassifier, PolynomialNetwork, Threat, evaluate_robustness, load
from cvxrobust import solve as solved
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.errors import InputError


def network(rng, d, outputs=1, **more):
    u = rng.standard_normal((2 * d, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    alpha = rng.standard_normal((2 * d, outputs))
    return PolynomialNetwork(u, alpha[:, 0] if outputs == 1 else alpha, classes=tuple(range(max(2, outputs))), **more)


@pytest.mark.parametrize("outputs", [1, 3])
def test_answers_are_about_boxes_of_its_own_scales(outputs):
    rng = np.random.default_rng(outputs)
    scale = np.array([1.0, 0.0, 2.0, 0.5])
    model = network(rng, 4, outputs, norm="inf", ellipsoid=Ellipsoid.of(4, scale))
    X = rng.standard_normal((40, 4))
    y = model.predict(X)
    worst, lower = model.worst_case(X, y, 0.2), model.worst_margins(X, y, 0.2)
    assert np.array_equal(worst.lower, lower)
    assert (lower <= worst.margins + 1e-12).all()
    assert (np.abs(worst.points - X) <= 0.2 * scale * (1.0 + 1e-14)).all()
    np.testing.assert_allclose(model.margins(worst.points, y), worst.margins, atol=1e-9)
    for _ in range(200):
        points = X + 0.2 * scale * rng.choice([-1.0, 1.0], X.shape)
        assert (model.margins(points, y) >= lower).all()
    radius = model.certified_radius(X)
    moved = X + (radius[:, None] * scale) * rng.choice([-1.0, 1.0], (300, *X.shape))
    assert all(np.array_equal(model.predict(points), y) for points in moved)
    shares = model.robust_accuracy(X, y, [0.3, 0.0, 0.1])
    assert shares[1] == 1.0
    assert shares[0] == np.mean(model.worst_margins(X, y, 0.3) > 0.0)
    assert shares[2] >= np.mean(radius >= 0.1)
    # About balls and ellipsoids it answers as well, if it is asked.
    assert np.array_equal(model.certified_radius(X, 2), model.replace(norm=2).distance_to_boundary(X))


def test_radii_beyond_which_no_row_is_left_are_answered_too():
    model = network(np.random.default_rng(0), 3, norm="inf")
    X = np.random.default_rng(1).standard_normal((10, 3))
    assert model.robust_accuracy(X, model.predict(X), [0.0, 1e3, 1e4]).tolist() == [1.0, 0.0, 0.0]


def test_files_keep_the_norm(tmp_path):
    model = network(np.random.default_rng(0), 3, norm="inf")
    model.save(tmp_path / "box.npz")
    found = load(tmp_path / "box.npz")
    assert found.norm == "inf"
    X = np.random.default_rng(1).standard_normal((9, 3))
    assert np.array_equal(found.certified_radius(X), model.certified_radius(X))


def test_norms_without_answers_are_refused():
    with pytest.raises(InputError, match="norm is 1; polynomial networks answer about attacks in norm 2 and inf"):
        network(np.random.default_rng(0), 3, norm=1)
    with pytest.raises(InputError, match="are in norm 2 only"):
        network(np.random.default_rng(0), 3, norm="inf", ellipsoid=Ellipsoid.of(3, None, None, np.ones((3, 1))))


def data():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 3))
    return X, np.where(X[:, 0] + X[:, 1] ** 2 > 0.5, 1.0, -1.0)


def test_the_norm_makes_the_problem():
    X, y = data()
    problem = AdversarialSDP(X, y, 0.2, norm=np.inf, beta=0.02, scale=[1.0, 0.5, 0.0], bounds=(-4.0, 4.0))
    assert isinstance(problem, BoxSDP)
    result = solved(problem)
    assert result.quality == "certified"
    model = result.network
    assert (model.norm, model.ellipsoid.immutable) == ("inf", (2,))
    lower, least = model.worst_margins(X, y, 0.2), result.report["box"]["attacked_objective"]
    assert np.maximum(0.0, 1.0 - lower).mean() + 0.02 * model.penalty >= least - 1e-9
    report = evaluate_robustness(model, X, y, Threat("inf", scale=[1.0, 0.5, 0.0]), [0.2])
    assert report.certified[0] == model.robust_accuracy(X, y, [0.2])[0] <= report.attacked[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"norm": "inf", "covariance": np.eye(3)}, "attacks in these are in norm 2 only"),
        ({"norm": 1}, "for classes: bounds of worst cases in boxes"),
        ({"bounds": (0.0, 1.0)}, "worst cases of l2 attacks are exact without a range only"),
    ],
)
def test_what_does_not_go_together_is_refused(more, words):
    X, y = data()
    with pytest.raises(InputError, match=words):
        AdversarialSDP(X, y, 0.2, **more)


def test_estimators_score_against_what_they_were_trained_for():
    X, y = data()
    model = PolynomialClassifier(radius=0.2, norm="inf").fit(X, y)
    assert model.network_.norm == "inf"
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    report = evaluate_robustness(model.network_.inner, scaled, y, Threat("inf"), [0.2])
    assert model.robust_score(X, y, [0.2])[0] == report.certified[0]
