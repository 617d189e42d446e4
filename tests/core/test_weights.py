"""Weights of samples and classes: what they mean, and what is refused."""

from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_class_weight

from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.weights import weighing

LABELS = np.array(["no", "yes", "no", "no", "maybe", "yes"])
WEIGHTS = [1.0, 2.0, 0.0, 3.0, 0.5, 1.0]


def test_weights_have_mean_one_over_the_rows_that_count():
    found = weighing(WEIGHTS, None, LABELS, 6)
    assert found.kept.tolist() == [0, 1, 3, 4, 5]
    assert found.weights == pytest.approx(np.array([1.0, 2.0, 3.0, 0.5, 1.0]) / 1.5, rel=1e-15)
    assert weighing(found.weights, None, LABELS[found.kept], 5).weights.tolist() == found.weights.tolist()


@pytest.mark.parametrize("given", [None, [7.0] * 6, np.full(6, 1e-300), pd.Series([2] * 6)], ids=str)
def test_equal_weights_are_none(given):
    found = weighing(given, None, LABELS, 6)
    assert found.kept is None
    assert found.weights is None


@pytest.mark.parametrize("sample_weight", [None, WEIGHTS])
def test_balanced_classes_weigh_what_scikit_learn_says(sample_weight):
    rows = np.ones(6) if sample_weight is None else np.array(sample_weight)
    classes = np.unique(LABELS)
    expected = compute_class_weight("balanced", classes=classes, y=LABELS, sample_weight=rows)
    weights = rows * expected[np.searchsorted(classes, LABELS)]
    found = weighing(sample_weight, "balanced", LABELS, 6)
    assert found.weights == pytest.approx(weights[weights > 0.0] / weights[weights > 0.0].mean(), rel=1e-14)
    sums = [found.weights[LABELS[rows > 0.0] == label].sum() for label in classes]
    assert sums == pytest.approx([sums[0]] * 3)


def test_classes_without_a_weight_weigh_one_and_those_of_weight_zero_are_left_out():
    found = weighing(None, MappingProxyType({"no": 3, "maybe": 0.0}), LABELS, 6)
    assert found.kept.tolist() == [0, 1, 2, 3, 5]
    assert found.weights / found.weights[1] == pytest.approx([3.0, 1.0, 3.0, 3.0, 1.0])
    assert weighing(None, {-1: 2.0}, np.array([-1.0, 1.0]), 2).weights == pytest.approx([4 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("sample_weight", "said"),
    [
        ([1.0, -0.5, 1.0], "holds -0.5 at position 1; expected one number of 0 or more per row"),
        ([1.0, np.nan, 1.0], "holds nan at position 1"),
        ([1.0, 1.0, np.inf], "holds inf at position 2"),
        ([1.0, 1.0], r"has shape \(2,\); expected \(3,\), one weight per row of X"),
        ([[1.0], [1.0], [1.0]], r"has shape \(3, 1\); expected \(3,\)"),
        (2.0, r"has shape \(\); expected \(3,\)"),
        ([0.0, 0.0, 0.0], "is zero for every row; at least one row has to count"),
        (["1", "2", "3"], "sample_weight cannot be read as numbers.*text"),
        (np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]), "holds nan at position 1"),
        ([1e-13, 1.0, 1.0], "go from 1e-13 to 1, which float64 cannot add up"),
    ],
    ids=str,
)
def test_unusable_sample_weights_are_refused(sample_weight, said):
    with pytest.raises(InputError, match=said):
        weighing(sample_weight, None, np.array([1.0, -1.0, 1.0]), 3)


@pytest.mark.parametrize(
    ("class_weight", "said"),
    [
        ("balance", "unknown class_weight 'balance'; known: balanced. Did you mean 'balanced'"),
        (2.0, "unknown class_weight 2.0.*pass a weight for each label"),
        ({"noo": 1.0}, r"names \['noo'\], which no row is labelled; the labels are \['maybe', 'no', 'yes'\]"),
        ({"no": -1.0}, "expected a number of 0 or more for each label"),
        ({"no": np.nan}, "expected a number of 0 or more for each label"),
        ({"no": "2"}, "class_weight cannot be read as numbers"),
        ({"no": 0, "yes": 0, "maybe": 0}, "leave no row"),
    ],
    ids=str,
)
def test_unusable_class_weights_are_refused(class_weight, said):
    with pytest.raises(InputError, match=said) as raised:
        weighing(None, class_weight, LABELS, 6)
    assert isinstance(raised.value, UnknownNameError) == ("unknown" in said)
