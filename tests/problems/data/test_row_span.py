"""The span of the rows of data: which rank it has, what is left outside, and that nothing left outside is forgotten."""

import numpy as np
import pytest

from cvxrobust.problems.data import row_span as module
from cvxrobust.problems.data.row_span import row_span


def wide(seed=0, n=5, d=12):
    return np.random.default_rng(seed).standard_normal((n, d))


def deficient(seed=0, n=40, d=10, rank=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))


def test_wide_rows_have_as_many_coordinates_as_there_are_rows():
    X = wide()
    span = row_span(X)
    assert span.rank == 5
    assert span.coordinates @ span.coordinates.T == pytest.approx(X @ X.T, rel=1e-13)
    assert span.basis.T @ span.basis == pytest.approx(np.eye(5), abs=1e-14)
    assert span.lifted(span.coordinates) == pytest.approx(X, abs=1e-14)


@pytest.mark.parametrize("further", [0, 1, 2])
def test_data_that_would_hardly_shrink_stays_as_it_is(further):
    X = wide(n=9, d=10)
    assert (row_span(X, further) is None) == (further > 0)


def test_data_of_full_rank_stays_as_it_is():
    assert row_span(wide(n=50, d=8)) is None
    assert row_span(wide(n=10, d=10)) is None


@pytest.mark.parametrize("seed", range(5))
def test_many_rows_of_low_rank_are_found_out(seed):
    X = deficient(seed)
    span = row_span(X)
    assert span.rank == 4
    assert span.lifted(span.coordinates) == pytest.approx(X, abs=1e-12)


def test_directions_of_a_few_rows_among_many_are_not_missed():
    X = np.zeros((500, 20))
    X[:, :2] = np.random.default_rng(0).standard_normal((500, 2))
    X[[3, 77, 78, 401], [5, 9, 13, 17]] = 1.0
    span = row_span(X)
    assert span.rank == 6
    assert (span.rest < 1e-13).all()


def test_rows_of_any_size_keep_their_own_directions():
    X = wide(n=4, d=9) * np.array([1e6, 1.0, 1e-6, 1e-3])[:, None]
    span = row_span(X)
    assert span.rank == 4
    assert (span.rest <= 1e-13 * np.linalg.norm(X, axis=1)).all()


def test_repeated_rows_and_rows_of_zeros_add_nothing_to_the_rank():
    X = wide(n=4, d=12)
    X = np.vstack([X, 3.0 * X[:1], np.zeros((2, 12)), -X[2:3]])
    span = row_span(X)
    assert span.rank == 4
    assert (span.rest <= 1e-13 * np.linalg.norm(X, axis=1)).all()


def test_rows_rounded_to_single_precision_are_as_independent_as_they_are():
    X = wide(n=3)
    rounded = (np.arange(9.0).reshape(3, 3) @ X).astype(np.float32)
    assert row_span(np.vstack([X, rounded])).rank > 3


def test_data_of_zeros_or_of_extreme_sizes_stays_as_it_is():
    assert row_span(np.zeros((3, 9))) is None
    for size in (1e120, 1e-120):
        assert row_span(size * wide()) is None


def test_the_basis_does_not_depend_on_ties_of_pivots():
    X = np.eye(12)[:5]
    noisy = X + 1e-15 * wide()
    assert row_span(X).basis == pytest.approx(row_span(noisy).basis, abs=1e-13)


@pytest.mark.parametrize("threshold", [1e-13, 1e-6, 1e-2])
def test_the_uncertainty_covers_what_is_left_out_whatever_the_threshold(threshold, monkeypatch):
    monkeypatch.setattr(module, "DEPENDENT", threshold)
    rng = np.random.default_rng(0)
    X = deficient(n=6, d=30, rank=3) + 1e-3 * threshold**0.5 * rng.standard_normal((6, 30))
    span = row_span(X)
    away = span.uncertainty()
    for u in rng.standard_normal((200, 30)):
        u /= np.linalg.norm(u)
        p = span.projected(u[None])[0]
        p /= max(1.0, np.linalg.norm(p))
        assert (np.abs(X @ u - span.coordinates @ p) <= away).all()
    # And the worst u of all: along what is left of a row.
    rest = X - span.lifted(span.coordinates)
    assert (away >= np.linalg.norm(rest, axis=1)).all()


def test_the_uncertainty_covers_a_basis_that_is_not_quite_orthonormal():
    X = wide()
    span = row_span(X)
    bent = span.basis * (1.0 + 1e-4 * np.arange(5))
    skew = float(np.linalg.norm(bent.T @ bent - np.eye(5)))
    coordinates = X @ bent
    rest = np.linalg.norm(X - coordinates @ bent.T, axis=1)
    other = module.RowSpan(bent, coordinates, rest, skew)
    rng, radius = np.random.default_rng(1), 0.7
    for _ in range(100):
        w, p = rng.uniform(-1, 1, 5), rng.standard_normal(5)
        p /= np.linalg.norm(p)
        q = bent @ p / max(1.0, np.linalg.norm(bent @ p))
        given = np.linalg.norm(w @ (X + radius * q))
        found = np.linalg.norm(w @ (coordinates + radius * p))
        assert given <= found + np.abs(w) @ other.uncertainty(radius)


def test_the_normal_is_a_unit_vector_orthogonal_to_all_rows():
    X = wide(n=9, d=12)
    span = row_span(X)
    assert np.linalg.norm(span.normal) == pytest.approx(1.0, abs=1e-15)
    assert X @ span.normal == pytest.approx(np.zeros(9), abs=1e-14)
