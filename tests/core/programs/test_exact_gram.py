"""Gram matrices to twice the working precision, against rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvxrobust.core.programs.polynomial.exact_gram import SampleSums, weighted_gram


def exactly(X, weights):
    """The same in rational numbers."""
    rows = [[Fraction(float(x)) for x in row] for row in X]
    scales = [Fraction(float(w)) for w in weights]
    d = X.shape[1]
    return [[sum(w * row[j] * row[k] for w, row in zip(scales, rows, strict=True)) for k in range(d)] for j in range(d)]


def drawn(seed, n, d):
    """Columns of very different sizes; the second half of the samples nearly takes back what the first adds."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-4, 5, d) + 10.0 ** rng.uniform(-2, 3, d)
    weights = rng.standard_normal(n) * 10.0 ** rng.uniform(-8, 0, n)
    half = n // 2
    X[half : 2 * half], weights[half : 2 * half] = X[:half] * (1.0 + 1e-9), -weights[:half]
    return X, weights


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), n=st.sampled_from([1, 2, 3, 50, 400]), d=st.integers(1, 4))
def test_sums_lack_no_more_than_they_say_and_far_less_than_ordinary_ones(seed, n, d):
    X, weights = drawn(seed, n, d)
    high, low, error = weighted_gram(X, weights)
    true = exactly(X, weights)
    missing = [
        float(Fraction(float(high[j, k])) + Fraction(float(low[j, k])) - true[j][k]) for j in range(d) for k in range(d)
    ]
    assert np.linalg.norm(missing) <= error
    size = np.abs(weights) @ (X * X).sum(axis=1)
    uneven = np.abs(weights).max() * n * (X * X).max(axis=0).sum() / size
    assert error <= 1e-6 * 2.0**-52 * size * n * uneven


def test_sums_of_blocks_are_rounded_once():
    X, weights = drawn(3, 300, 3)
    sums, naive = (SampleSums(np.empty((3, 0)), precise) for precise in (True, False))
    for rows in (slice(0, 7), slice(7, 200), slice(200, 300)):
        sums.add(X[rows], weights[rows])
        naive.add(X[rows], weights[rows])
    true = np.array(exactly(np.hstack([X, np.ones((300, 1))]), weights), dtype=object)
    rounded = np.array([[float(entry) for entry in row] for row in true])
    assert np.abs(sums.matrix() - rounded).max() <= sums.error + np.spacing(np.abs(rounded)).max()
    # Terms of 1e10 whose sum is small: ordinary sums have lost what they are compared with.
    assert np.abs(naive.matrix() - rounded).max() > 1e3 * np.abs(sums.matrix() - rounded).max()
    assert sums.mass < 1e-3 * naive.mass


def test_tensors_have_the_same_sums():
    torch = pytest.importorskip("torch")
    X, weights = drawn(5, 120, 4)
    high, low, error = weighted_gram(X, weights)
    found = weighted_gram(torch.tensor(X), torch.tensor(weights))
    assert (found[0].numpy() == high).all()
    assert found[1].numpy() == pytest.approx(low, rel=1e-9, abs=1e-300)
    assert found[2] == pytest.approx(error)


def test_no_samples_have_no_sum():
    high, low, error = weighted_gram(np.empty((0, 3)), np.empty(0))
    assert high.shape == low.shape == (3, 3)
    assert not high.any()
    assert error == 0.0
