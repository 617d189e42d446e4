"""Columns brought to one size, by the statistics of the training rows alone."""

import numpy as np
import pytest

from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.standardizer import Standardizer, constant_columns


def test_standardised_columns_have_mean_zero_and_population_deviation_one():
    X = np.random.default_rng(0).standard_normal((7, 3)) * [1.0, 1e6, 1e-6] + [0.0, 5e6, 1.0]
    standardizer = Standardizer.fit(X, ["a", "b", "c"])
    assert standardizer.names == ("a", "b", "c")
    Z = standardizer.transform(X)
    assert Z.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert np.sqrt((Z**2).mean(axis=0)) == pytest.approx(np.ones(3))
    assert standardizer.scale == pytest.approx(np.sqrt(((X - X.mean(axis=0)) ** 2).sum(axis=0) / 7))


def test_constant_columns_become_zero_whatever_rounding_says():
    X = np.stack([np.full(11, 0.1), np.zeros(11), np.full(11, 1e9 + 0.1), np.arange(11.0)], axis=1)
    standardizer = Standardizer.fit(X)
    assert standardizer.scale[:3].tolist() == [1.0, 1.0, 1.0]
    Z = standardizer.transform(X)
    assert np.abs(Z[:, 0]).max() <= 1e-15
    assert not Z[:, 1].any()
    assert np.abs(Z[:, 2]).max() <= 1e-6
    assert Standardizer.fit(np.ones((1, 2))).transform(np.full((1, 2), 3.0)).tolist() == [[2.0, 2.0]]


def test_new_rows_use_the_training_rows_statistics_and_stay_unmodified():
    standardizer = Standardizer.fit([[0.0, 0.0], [2.0, 4.0]])
    X = np.array([[3.0, 2.0]])
    X.setflags(write=False)
    assert standardizer.transform(X).tolist() == [[2.0, 0.0]]
    assert X.tolist() == [[3.0, 2.0]]


def test_tables_of_another_width_are_refused():
    standardizer = Standardizer.fit(np.ones((3, 2)))
    for wrong in (np.ones((3, 3)), np.ones(2)):
        with pytest.raises(InputError, match="the standardisation was fitted on 2 columns"):
            standardizer.transform(wrong)


@pytest.mark.parametrize(
    ("mean", "deviation"), [(1e9, 1e-3), (1e12, 0.1), (1.7e18, 1e5), (1.7e18, 1e6), (-1.7e18, 1e9), (0.0, 1e-200)]
)
def test_columns_with_steps_are_scaled_whatever_their_mean(mean, deviation):
    X = mean + deviation * np.random.default_rng(0).standard_normal((40, 3))
    Z = Standardizer.fit(X).transform(X)
    assert Z.std(axis=0) == pytest.approx(np.ones(3), rel=1e-6)
    assert constant_columns(X).size == 0


def test_whole_numbers_are_steps_though_the_next_float_is_one_away():
    X = np.array([[2.0**60], [2.0**60 + 256.0]])
    assert np.ptp(Standardizer.fit(X).transform(X)) == 2.0  # its mean is no float64


def test_columns_that_carry_nothing_are_found():
    X = np.stack([np.full(4, 0.3), [0.3, 0.1 * 3, 0.3, 0.3], np.arange(4.0), np.full(4, 1e300)], axis=1)
    assert constant_columns(X).tolist() == [0, 1, 3]


@pytest.mark.parametrize("size", [1e150, 1e155, 1e200, 1e307, 1e-160, 1e-200, 1e-300])
def test_no_size_overflows_or_vanishes(size):
    X = np.random.default_rng(0).standard_normal((40, 3))
    expected = Standardizer.fit(X).transform(X)
    assert Standardizer.fit(size * X).transform(size * X) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("column", [[-1.7e308, 1.7e308], [0.0, 1e-310], [0.0, 5e-324]])
def test_columns_that_cannot_be_scaled_are_named(column):
    with pytest.raises(InputError, match=r"column 'b' of X holds numbers from .* divide the column by its size"):
        Standardizer.fit(np.stack([[0.0, 1.0], column], axis=1), ["a", "b"])


def test_new_rows_out_of_all_proportion_are_named():
    with pytest.raises(InputError, match=r"holds 1e\+308 at row 0, column 'a'"):
        Standardizer.fit([[0.0], [1e-3]], ["a"]).transform([[1e308]])


def test_the_layout_in_memory_changes_no_bit():
    X = np.random.default_rng(0).standard_normal((57, 3)) * [1.0, 1e3, 1e-3] + [0.1, 1e4, 0.0]
    first = Standardizer.fit(X)
    for same in (np.asfortranarray(X), np.hstack([X, X])[:, :3], X[::-1][::-1], X.tolist()):
        found = Standardizer.fit(same)
        assert found.mean.tobytes() == first.mean.tobytes()
        assert found.scale.tobytes() == first.scale.tobytes()
        assert found.transform(same).tobytes() == first.transform(X).tobytes()


def test_a_row_of_weight_two_counts_twice_and_one_of_weight_zero_not_at_all():
    rng = np.random.default_rng(0)
    X = np.hstack([1e6 + 10.0 ** rng.uniform(-3, 3, (9, 3)), np.full((9, 1), 0.1)])
    X[2] = 1e9
    weights = np.array([1, 2, 0, 3, 1, 1, 2, 1, 5])
    weighted, repeated = Standardizer.fit(X, weights=weights), Standardizer.fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-15)
    np.testing.assert_allclose(weighted.scale, repeated.scale, rtol=1e-13)
    assert weighted.scale[3] == 1.0
    with pytest.raises(InputError, match=r"weights has shape \(8,\)"):
        Standardizer.fit(X, weights=weights[1:])
