"""Columns brought to one size, by the statistics of the training rows alone."""

import numpy as np
import pytest

from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.standardizer import Standardizer


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
