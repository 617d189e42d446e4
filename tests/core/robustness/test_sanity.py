"""Checks of an evaluation: honest attacks pass, blind ones are found out."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from cvxrobust import InputError, PolynomialNetwork
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.robustness.sanity import check_sanity


def case():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 4))
    u = rng.standard_normal((5, 4))
    network = PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), rng.standard_normal(5))
    return X, network.predict(X), network


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("make", [lambda X, y, network: network, lambda X, y, network: LogisticRegression().fit(X, y)])
def test_honest_evaluations_pass(norm, make):
    X, y, network = case()
    report = check_sanity(make(X, y, network), X, y, Threat(norm), 0.2)
    assert report.passed, str(report)
    assert len(report.checks) == 8


def test_classifiers_without_slopes_have_one_check_less():
    X, y, _ = case()
    report = check_sanity(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y), X, y, Threat("inf"), 0.3)
    assert len(report.checks) == 7
    assert "one" not in [check.name.split()[-1] for check in report.checks]


def test_a_module_that_hides_its_slopes_is_found_out():
    torch = pytest.importorskip("torch")
    X, y, network = case()

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network.to_torch()

        def forward(self, x):
            return torch.sign(self.network(x)) + 0.0 * self.network(x)

    report = check_sanity(Hidden().eval(), X, y, Threat(2), 0.5)
    failed = {check.name for check in report.checks if not check.passed}
    assert "slopes lead somewhere" in failed
    assert "noise is weaker" in failed
    assert "FAIL" in str(report)


def test_rows_that_nothing_turns_are_allowed_where_that_is_proved():
    X, _, network = case()
    positive = network.replace(alpha=np.abs(network.alpha), activation=(1.0, 0.0, 1.0))
    report = check_sanity(positive, X, positive.predict(X), Threat(2), 0.5)
    assert report.passed, str(report)
    (last,) = (check for check in report.checks if "bounds" in check.name)
    assert last.found.startswith("1.0000 left, 1.0000")


def last_check(model, X, y, threat, radius=0.2):
    (found,) = (
        check
        for check in check_sanity(model, X, y, threat, radius, steps=10, restarts=1).checks
        if check.name == "attacks without bounds leave nothing"
    )
    return found


def test_in_a_range_every_row_can_be_moved_to_where_another_one_is():
    X, y, network = case()
    found = last_check(network, X, y, Threat("inf", bounds=(-9.0, 9.0)))
    assert (found.passed, found.found) == (True, "0.0000 left, 0.0000 proved to be")


def test_what_was_not_tried_is_said():
    X, y, network = case()
    one = y > 0.0
    for rows, scale in ((slice(None), [1.0, 0.0, 1.0, 1.0]), (one, None)):
        found = last_check(network, X[rows], y[rows], Threat("inf", scale=scale, bounds=(-9.0, 9.0)))
        assert found.passed
        assert found.found.startswith("not tried: inputs have a range")
    tree = SVC().fit(X, y)
    found = last_check(tree, X, y, Threat("inf", scale=[0.0, 0.0, 1.0, 0.0]))
    assert found.passed
    assert "nobody knows what inputs decide" in found.found


def test_a_radius_of_0_is_refused():
    X, y, network = case()
    with pytest.raises(InputError, match="above 0"):
        check_sanity(network, X, y, Threat(2), 0.0)
