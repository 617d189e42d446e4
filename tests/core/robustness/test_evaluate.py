"""Brackets of robust accuracy: proofs below, checked attacks above, for classifiers of every kind."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from cvxrobust import CvxRobustError, InputError, PolynomialNetwork, ReLUNetwork, Standardizer
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.robustness import trees
from cvxrobust.core.robustness.attacks import ATTACKS, apgd
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.models import LinearScores, as_model

NORMS = ("inf", 2, 1)
RADII = (0.0, 0.05, 0.2, 0.6)


def data(seed, n=40, d=4, classes=2):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    scores = np.column_stack([X[:, 0] ** 2 - 1.0, X[:, 1], 0.7 * X[:, 2] - 0.2])[:, :classes]
    return X, scores.argmax(axis=1) if classes > 2 else np.where(scores[:, 0] + scores[:, 1] > 0.0, 1.0, -1.0)


def polynomial(seed, outputs=1, d=4):
    rng = np.random.default_rng([seed, 1])
    u = rng.standard_normal((6, d))
    alpha = rng.standard_normal(6) if outputs == 1 else rng.standard_normal((6, outputs))
    return PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), alpha)


def relu(seed, outputs=1, d=4, m=6):
    rng = np.random.default_rng([seed, 2])
    alpha = rng.standard_normal(m) if outputs == 1 else rng.standard_normal((m, outputs))
    return ReLUNetwork(rng.standard_normal((m, d + 1)), alpha, bias=True)


def labels_of(network, X, seed):
    """Those of the network itself, a fifth of them at random."""
    y, rng = network.predict(X), np.random.default_rng([seed, 3])
    return np.where(rng.uniform(size=y.size) < 0.2, rng.permutation(y), y)


def threat(seed, norm, d=4):
    rng = np.random.default_rng([seed, 4])
    scale = None if seed % 2 else np.where(rng.uniform(size=d) < 0.3, 0.0, rng.uniform(0.2, 2.0, d))
    return Threat(norm, scale=scale)


def brute(model, X, index, attacks, tries=200):
    """Which rows random attacks turn wrong."""
    rng, broken = np.random.default_rng(5), np.zeros(index.size, dtype=bool)
    for k in range(tries):
        points = attacks.sample(rng) if k % 2 else attacks.moved(9.0 * attacks.steepest(rng.standard_normal(X.shape)))
        broken |= model.predicted(points) != index
    return broken


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(12))
def test_linear_classifiers_and_trees_have_exact_answers(seed, norm):
    classes = 2 + seed % 2
    X, y = data(seed, classes=classes)
    models = [LogisticRegression(C=10.0 ** (seed % 4)), RidgeClassifier()]
    models.append(DecisionTreeClassifier(max_depth=2 + seed % 6, random_state=seed))
    for fitted in (model.fit(X, y) for model in models):
        report = evaluate_robustness(fitted, X, y, threat(seed, norm), RADII, steps=5, restarts=0)
        assert report.kind == "exact"
        assert (report.held == report.alive).all(), fitted
        assert report.refused == {}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("family", [polynomial, relu])
def test_brackets_never_cross_and_random_attacks_never_beat_a_certificate(seed, norm, family):
    X, _ = data(seed)
    network = family(seed, 1 + 2 * (seed % 2))
    y, asked = labels_of(network, X, seed), threat(seed, norm)
    report = evaluate_robustness(network, X, y, asked, RADII, steps=10)
    assert (report.held <= report.alive).all()
    assert (np.diff(report.certified) <= 0.0).all()
    assert (np.diff(report.attacked) <= 0.0).all()
    assert report.clean == np.mean(network.predict(X) == y)
    model = as_model(network, y)
    index = np.array([model.classes.index(label) for label in y.tolist()])
    for radius, held, alive in zip(report.radii, report.held, report.alive, strict=True):
        broken = brute(model, X, index, asked.on(X).of_radius(radius))
        assert not (held & broken).any()
        assert (~alive | ~broken).mean() >= 0.9  # random points find little that attacks do not


@pytest.mark.parametrize("norm", NORMS)
def test_exact_worst_cases_of_relu_networks_close_the_bracket(norm):
    X, _ = data(3, n=25)
    network = relu(3, m=16)
    y = labels_of(network, X, 3)
    loose = evaluate_robustness(network, X, y, Threat(norm), [0.3, 0.6])
    tight = evaluate_robustness(network, X, y, Threat(norm), [0.3, 0.6], exact_seconds=600.0)
    assert (loose.certified < loose.attacked).any()
    assert (tight.held == tight.alive).all()
    assert (loose.certified <= tight.certified).all()
    assert (tight.attacked <= loose.attacked).all()


def test_answers_about_polynomial_networks_are_those_of_robust_accuracy():
    X, _ = data(1)
    network = polynomial(1)
    y = labels_of(network, X, 1)
    report = evaluate_robustness(network, X, y, Threat(2), RADII)
    assert report.kind == "exact"
    np.testing.assert_array_equal(report.certified, network.robust_accuracy(X, y, RADII))
    np.testing.assert_array_equal(report.certified, report.attacked)


def test_a_network_with_a_standardizer_is_attacked_in_standard_deviations():
    X, _ = data(2)
    raw = X * [1.0, 10.0, 0.1, 3.0] + 5.0
    standardizer = Standardizer.fit(raw)
    inner = polynomial(2)
    network = inner.replace(standardizer=standardizer)
    y = labels_of(network, raw, 2)
    bounds = (raw.min(axis=0), raw.max(axis=0))
    ours = evaluate_robustness(network, raw, y, Threat(2, bounds=bounds), RADII)
    rows = standardizer.transform(raw)
    theirs = evaluate_robustness(inner, rows, y, Threat(2, bounds=(rows.min(axis=0), rows.max(axis=0))), RADII)
    assert "standard deviations" in str(ours)
    np.testing.assert_array_equal(ours.alive, theirs.alive)
    broken = np.isfinite(ours.broken_at)
    assert (network.predict(ours.points[broken]) != y[broken]).all()
    assert ((ours.points >= bounds[0] - 1e-12) & (ours.points <= bounds[1] + 1e-12)).all()


@pytest.mark.parametrize("factor", [1.0, 30.0, 1000.0])
def test_the_scale_of_logits_hides_nothing(factor):
    torch = pytest.importorskip("torch")
    X, _ = data(3)
    network = relu(3, outputs=3)
    y = labels_of(network, X, 3)

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network.to_torch()

        def forward(self, x):
            return factor * self.network(x)

    report = evaluate_robustness(Scaled().eval(), X, y, Threat("inf"), RADII)
    same = evaluate_robustness(network, X, y, Threat("inf"), RADII)
    np.testing.assert_array_equal(report.attacked, same.attacked)
    assert (report.kind, report.certified.tolist()) == ("none", [0.0] * 4)


def test_labels_are_those_of_the_module_in_its_own_precision():
    torch = pytest.importorskip("torch")
    X, y = data(4)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).eval()
    report = evaluate_robustness(module, X, y, Threat("inf"), RADII, classes=(-1.0, 1.0))
    broken = np.isfinite(report.broken_at)
    with torch.no_grad():
        found = np.where(module(torch.tensor(report.points, dtype=torch.float32))[:, 0].numpy() >= 0.0, 1.0, -1.0)
    assert broken.any()
    assert (found[broken] != y[broken]).all()
    assert module[0].weight.dtype == torch.float32  # nothing was done to it


@pytest.mark.parametrize(
    "model", [SVC(), HistGradientBoostingClassifier(max_iter=5), make_pipeline(StandardScaler(), SVC())]
)
def test_other_classifiers_are_attacked_without_slopes(model):
    X, y = data(5, n=60)
    report = evaluate_robustness(model.fit(X, y), X, y, Threat("inf"), [0.0, 0.5])
    assert report.kind == "none"
    assert report.attacked[0] - report.attacked[1] > 0.2
    assert "no certificate" in str(report)


@pytest.mark.parametrize("norm", NORMS)
def test_columns_of_very_different_sizes_are_attacked_to_the_last_digit(norm):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((60, 6)) * 10.0 ** np.array([-3, -2, 0, 1, 2, 3]) + [0.0, 1.0, 0.0, 50.0, -400.0, 0.0]
    y = np.arange(60) % 3
    model = RidgeClassifier().fit(X / X.std(axis=0), y)
    model.coef_ = model.coef_ / X.std(axis=0)
    asked = Threat(norm, scale=X.std(axis=0) * [1.0, 1e-3, 1.0, 1e-3, 0.0, 1.0])
    report = evaluate_robustness(model, X, model.predict(X), asked, [0.01, 0.1, 1.0], steps=1, restarts=0)
    assert report.refused == {}
    assert (report.held == report.alive).all()
    assert report.attacked[-1] < 0.5


def test_equal_shares_of_classes_are_judged_by_what_is_predicted():
    X = np.array([[0.0], [0.0], [1.0], [1.0], [2.0], [2.0]])
    tree = DecisionTreeClassifier().fit(X, [0, 1, 1, 1, 1, 2])  # at 0 and at 2 the first of two classes is predicted
    nearest = {"nothing": lambda *given: None}
    report = evaluate_robustness(tree, np.array([[2.0]]), [1], Threat("inf"), [1.4, 1.6], attacks=nearest)
    np.testing.assert_array_equal(report.held, [[True], [False]])
    np.testing.assert_array_equal(report.alive, report.held)


def far(model, attacks, index, best, effort):
    """An attack that goes further than it may."""
    points = attacks.X + 100.0
    best.offer(points, model.margins(points, index) - 1e6)


def boastful(model, attacks, index, best, effort):
    """One that claims what is not so."""
    best.offer(attacks.X.copy(), np.full(index.size, -1e6))


def test_claims_are_checked_here():
    X, _ = data(6)
    network = polynomial(6, outputs=3)
    y = network.predict(X)
    model = LogisticRegression().fit(X, y)
    y = model.predict(X)
    report = evaluate_robustness(model, X, y, Threat(2), [0.1], attacks={"far": far, "boastful": boastful})
    assert report.attacked.tolist() == [1.0]
    assert report.refused["far"] > 0
    assert "boastful" not in report.refused
    both = evaluate_robustness(model, X, y, Threat(2), [0.1], attacks={"far": far, "apgd": apgd})
    assert both.attacked == both.certified  # what was refused spoils no other attack


class Contrary(LogisticRegression):
    """A linear classifier of somebody who changed its answers."""

    def predict(self, X):
        return np.where(X[:, 3] > 0.0, 1.0, -1.0)


def test_answers_that_somebody_changed_are_certified_by_nobody():
    X, y = data(11)
    report = evaluate_robustness(Contrary().fit(X, y), X, y, Threat(2), [0.1])
    assert report.kind == "none"


def test_a_certificate_that_an_attack_contradicts_is_an_error():
    X, _ = data(12)

    class Lying(LinearScores):
        classes_, coef_, intercept_ = np.array([-1.0, 1.0]), np.zeros((1, 4)), np.ones(1)

        def predict(self, rows):
            return np.where(rows[:, 0] > 0.0, 1.0, -1.0)

    with pytest.raises(CvxRobustError, match="one of the two is a fault"):
        evaluate_robustness(Lying(), X, np.ones(40), Threat(2), [1.0])


def test_immutable_inputs_are_never_touched():
    X, _ = data(7)
    network = relu(7)
    report = evaluate_robustness(network, X, network.predict(X), Threat("inf", scale=[1.0, 0.0, 2.0, 0.0]), [0.5])
    assert np.isfinite(report.broken_at).any()
    np.testing.assert_array_equal(report.points[:, [1, 3]], X[:, [1, 3]])


def test_trees_are_judged_in_the_precision_in_which_they_compare():
    X = np.linspace(0.1, 0.9, 9)[:, None]
    tree = DecisionTreeClassifier().fit(X, X[:, 0] > 0.45)
    (low, high, _) = trees.leaves(tree)
    threshold = tree.tree_.threshold[0]
    assert low.max() < threshold < high[np.isfinite(high)].min()
    x = np.array([[threshold - 1e-9]])
    assert not evaluate_robustness(tree, x, tree.predict(x), Threat("inf"), [2e-9]).held.any()


def test_a_report_says_who_broke_what_and_reads_as_json():
    X, y = data(8)
    report = evaluate_robustness(LogisticRegression().fit(X, y), X, y, Threat(1), [0.3, 0.0])
    found = report.to_json()
    assert found["radii"] == [0.0, 0.3]
    assert sum(found["broken_by"].values()) == int((~report.alive[-1]).sum())
    assert set(found["broken_by"]) <= {"no attack", *ATTACKS}
    assert "dual norm" in str(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"radii": [-0.1]}, "0 or more"),
        ({"radii": []}, "at least one"),
        ({"y": [3.0] * 40}, "labels"),
        ({"X": np.zeros((0, 4)), "y": []}, "no rows"),
        ({"model": LogisticRegression()}, "fitted"),
        ({"model": object()}, "PyTorch module"),
        ({"threat": Threat("inf", directions=np.eye(4)[:, :2])}, "norm=2"),
        ({"threat": Threat("inf", bounds=(0.0, 1.0))}, "outside of"),
        ({"threat": Threat(2, bounds=(1.0, 0.0))}, "empty"),
        ({"threat": Threat(2, covariance=np.eye(4) + 0.1, bounds=(-9.0, 9.0))}, "bounds"),
        ({"threat": Threat(2, scale=[1.0])}, "scale"),
        ({"steps": 0}, "steps"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_cannot_be_judged_is_refused(change, words):
    X, y = data(9)
    given = {"model": polynomial(9), "X": X, "y": y, "threat": Threat(2), "radii": [0.1]} | change
    with pytest.raises(InputError, match=words):
        evaluate_robustness(**given)


def test_a_module_in_training_mode_and_one_with_other_outputs_are_refused():
    torch = pytest.importorskip("torch")
    X, y = data(10)
    with pytest.raises(InputError, match="eval"):
        evaluate_robustness(torch.nn.Linear(4, 1), X, y, Threat(2), [0.1])
    with pytest.raises(InputError, match="one per class"):
        evaluate_robustness(torch.nn.Linear(4, 5).eval(), X, y, Threat(2), [0.1])
