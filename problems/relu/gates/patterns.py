"""Gates of a ReLU network's slots: activation patterns that are given, sampled, or all there are.

A gate vector u opens for the samples with ``x_i'u >= 0``; the column of these bits is its pattern. Two vectors with the
same pattern give the same slot, and the pattern without an open gate gives none.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import whole
from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers

Array = NDArray[np.float64]
Patterns = NDArray[np.bool_]

PARALLEL = 1e-9
"""Distance of unit rows that counts as rounding: such samples share one hyperplane."""


@dataclass(frozen=True)
class GateSet:
    """Distinct activation patterns and where they come from. All arrays are read-only.

    Args:
        patterns: Shape (n, P), bool; no two columns alike, none all False, in the order of first appearance.
        vectors: Gate vectors that gave them, shape (D, P); None where patterns were given.
        asked: How many were given, sampled or found.
        duplicates: How many of these repeated an earlier pattern and were left out.
        empty: How many of these were open for no sample and were left out.
        source: ``"given patterns"``, ``"given gates"``, ``"sampled"``, ``"all"`` or ``"resampled"``.
    """

    patterns: Patterns
    vectors: Array | None
    asked: int
    duplicates: int
    empty: int
    source: str


def from_patterns(patterns: ArrayLike, n: int) -> GateSet:
    """Patterns as they are given.

    Args:
        patterns: Shape (n, P), bool.
        n: Number of samples.

    Raises:
        InputError: No boolean table with n rows, or no column with an open gate.
    """
    given = pattern_table(patterns, n)
    return distinct(given, None, "given patterns", "pass a pattern with at least one True")


def pattern_table(patterns: ArrayLike, n: int) -> NDArray[np.bool_]:
    """Patterns as a table, shape (n, P).

    Raises:
        InputError: No boolean table with n rows.
    """
    given = _as_table(patterns, "patterns", f"a boolean table of shape ({n}, P), one column per pattern")
    if given.dtype == object and all(isinstance(value, bool | np.bool_) for value in given.ravel().tolist()):
        given = given.astype(np.bool_)
    if given.dtype != np.bool_:
        raise InputError(f"patterns has dtype {given.dtype}; expected bool: pass patterns.astype(bool).")
    if given.shape[0] != n:
        raise InputError(f"patterns has shape {given.shape}; expected ({n}, P), one row per row of X.")
    return given


def from_gates(gates: ArrayLike, X: Array, bias: bool = False) -> GateSet:
    """Patterns ``1[x_i'g >= 0]`` of gate vectors.

    Args:
        gates: One vector per column, shape (D, P).
        X: Inputs, shape (n, D).
        bias: Whether the last column of X is the constant of a bias; for messages.

    Raises:
        InputError: No finite numbers of this shape, or no vector opens for any sample.
    """
    vectors = gate_vectors(gates, X.shape[1], bias)
    return distinct(X @ vectors >= 0.0, vectors, "given gates", "pass -g for one of them")


def gate_vectors(gates: ArrayLike, D: int, bias: bool = False) -> Array:
    """Gate vectors as numbers, shape (D, P); D counts the constant of a bias.

    Raises:
        InputError: No finite numbers of this shape.
    """
    counted = " (the last entry of each is that of the bias)" if bias else ""
    expected = f"gate vectors of shape ({D}, P), one per column{counted}"
    given = _as_table(gates, "gates", expected)
    if given.dtype.kind not in "iufO":
        instead = ": pass activation patterns as patterns" if given.dtype == np.bool_ else ""
        raise InputError(f"gates has dtype {given.dtype}; expected {expected}{instead}.")
    vectors = np.array(as_numbers(given, "gates", f"expected {expected}"))
    if vectors.shape[0] != D:
        turn = ": pass gates.T" if vectors.shape[1] == D else ""
        raise InputError(f"gates has shape {vectors.shape}; expected {expected}{turn}.")
    if not np.isfinite(vectors).all():
        row, column = (int(k) for k in np.argwhere(~np.isfinite(vectors))[0])
        raise InputError(f"gates holds NaN or inf, first at row {row}, column {column}; expected finite numbers.")
    return vectors


def sampled(X: Array, n_gates: int, seed: int) -> GateSet:
    """Patterns of ``numpy.random.default_rng(seed).standard_normal((D, n_gates))``.

    Args:
        X: Inputs, shape (n, D).
        n_gates: How many vectors to draw; the set may be smaller.
        seed: Seed of the generator.

    Raises:
        InputError: n_gates or seed is not such an integer, or no vector opens for any sample.
    """
    shape = (X.shape[1], checked_count(n_gates, "n_gates", 1))
    vectors = np.random.default_rng(checked_count(seed, "seed", 0)).standard_normal(shape)
    return distinct(X @ vectors >= 0.0, vectors, "sampled", "pass a larger n_gates or another seed")


def with_constant(found: GateSet, X: Array) -> GateSet:
    """A set with the gate that is open for every sample: with a bias it makes constants, without it nothing does.

    Args:
        found: The set.
        X: Inputs, shape (n, D), the last column the constant of a bias.
    """
    if found.vectors is None or found.patterns.all(axis=0).any():
        return found
    constant = np.zeros((X.shape[1], 1))
    constant[-1] = 1.0
    patterns = np.hstack([found.patterns, np.ones((X.shape[0], 1), dtype=np.bool_)])
    vectors = np.hstack([found.vectors, constant])
    return GateSet(_frozen(patterns), _frozen(vectors), found.asked, found.duplicates, found.empty, found.source)


def all_patterns(X: Array, limit: int = 20_000) -> GateSet:
    """Every pattern that some vector has without being orthogonal to a sample, each with such a vector.

    These are the cells of the arrangement of the hyperplanes ``x_i'u = 0``, found by deletion and restriction: a
    hyperplane added to an arrangement splits the cells that it meets, and where it meets them is again an arrangement,
    of one dimension less (Zaslavsky 1975, Facing up to arrangements). Samples on one line share a hyperplane, up to
    rounding; samples that are 0 always have an open gate.

    Args:
        X: Inputs, shape (n, D).
        limit: The most patterns to enumerate.

    Raises:
        InputError: There may be more patterns than the limit, or none has an open gate.
    """
    bound = pattern_count_bound(X)
    if bound > checked_count(limit, "limit", 1):
        count = str(bound) if bound < 10**12 else f"more than 10^{int((bound.bit_length() - 1) * np.log10(2.0))}"
        raise InputError(
            f"X may have {count} activation patterns, but at most {limit} are enumerated; pass n_gates instead, which "
            "samples some of them."
        )
    scales = _column_scales(X)
    A = _lines(_unit_rows(X / scales))
    vectors = (_cells(A) / scales).T
    vectors /= np.abs(vectors).max(axis=0, initial=np.finfo(np.float64).tiny)
    patterns = X @ vectors >= 0.0
    # The order of the cells depends on a factorisation; that of the patterns must not.
    order = np.lexsort(~patterns[::-1])
    return distinct(patterns[:, order], vectors[:, order], "all", "pass data with a sample that is not 0")


def pattern_count_bound(X: Array) -> int:
    """At least the number of patterns of `all_patterns`: ``2 sum_{k < rank} C(n - 1, k)`` for n distinct lines.

    Attained in general position. Source: Cover (1965), Geometrical and statistical properties of systems of linear
    inequalities, Theorem 1.

    Args:
        X: Inputs, shape (n, D).
    """
    return _count_bound(X / _column_scales(X))


def has_more_patterns(X: Array, count: int) -> bool:
    """Whether `pattern_count_bound` exceeds a number; of much data a few rows say so, whose bound is no larger.

    Args:
        X: Inputs, shape (n, D).
        count: The number.
    """
    scaled = X / _column_scales(X)
    few = scaled[: count + 2]
    return (len(few) < len(scaled) and _count_bound(few) > count) or _count_bound(scaled) > count


def _count_bound(scaled: Array) -> int:
    """`pattern_count_bound` of inputs in other units."""
    A = _lines(_unit_rows(scaled))
    n, D = A.shape
    few = A[:: max(1, n // (2 * D))]
    rank = _row_space(few).shape[0]
    if rank < min(n, D):  # a few of many rows have full rank wherever all have, and take much less time
        rank = _row_space(A).shape[0]
    terms = accumulate(range(1, rank), lambda term, k: term * (n - k) // k, initial=1)
    return 2 * sum(terms) if n else 1


def distinct(patterns: Patterns, vectors: Array | None, source: str, remedy: str) -> GateSet:
    """A set without repeated and empty patterns.

    Args:
        patterns: Shape (n, P).
        vectors: Shape (D, P), or None.
        source: Where they come from.
        remedy: What to do if nothing is left, for the message.

    Raises:
        InputError: Nothing is left.
    """
    asked, opened, first = patterns.shape[1], int(patterns.any(axis=0).sum()), first_seen(patterns)
    if first.size == 0:
        raise InputError(f"none of the {asked} activation patterns ({source}) is open for any sample; {remedy}.")
    kept = None if vectors is None else _frozen(vectors[:, first])
    return GateSet(_frozen(patterns[:, first]), kept, asked, opened - first.size, asked - opened, source)


def first_seen(patterns: Patterns) -> NDArray[np.intp]:
    """Columns, in order, that are neither empty nor like an earlier one."""
    opened = np.flatnonzero(patterns.any(axis=0))
    return np.asarray(opened[np.sort(np.unique(_keys(patterns[:, opened].T), return_index=True)[1])])


def checked_count(value: object, name: str, least: int) -> int:
    """An integer parameter.

    Raises:
        InputError: Not an integer, or below `least`.
    """
    return whole(value, name, least)


def _as_table(given: ArrayLike, name: str, expected: str) -> NDArray[Any]:
    try:
        # What a masked array hides is missing, not whatever lies underneath.
        hidden = isinstance(given, np.ma.MaskedArray) and bool(np.ma.getmaskarray(given).any())
        table = np.asarray(given)
    except Exception as error:  # what is handed over converts itself, and may fail in its own ways
        raise InputError(f"{name} is {shown(given)}, which is no table; expected {expected}.") from error
    if hidden:
        raise InputError(f"{name} has masked entries; expected {expected}.")
    if table.ndim != 2:
        raise InputError(f"{name} has {table.ndim} dimension(s); expected {expected}.")
    return table


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _keys(bits: Patterns) -> NDArray[np.void]:
    """One scalar per row that is equal where the rows are; they also sort, in some order."""
    packed = np.packbits(np.pad(bits, ((0, 0), (0, 1))), axis=1)
    return packed.view(np.dtype((np.void, packed.shape[1]))).ravel()


# -- cells of a central arrangement ----------------------------------------------------------------------------------
# Rows of A are unit normals. A witness of a cell is a unit vector inside it; cells come as the rows of a matrix.


def _cells(A: Array) -> Array:
    """A witness of every cell, of the dimension of A's columns; no two rows of A may be parallel."""
    basis = _row_space(A)
    n, rank = A.shape[0], basis.shape[0]
    if rank == 0:
        return np.zeros((1, A.shape[1]))
    inside = _unit_rows(A @ basis.T)
    if n == rank:
        return _orthants(inside) @ basis
    return (_sectors(inside) if rank == 2 else _split(inside)) @ basis


def _orthants(A: Array) -> Array:
    """Cells of linearly independent normals: every combination of sides."""
    sides = 1.0 - 2.0 * np.indices((2,) * A.shape[0]).reshape(A.shape[0], -1)
    return _unit_rows(np.asarray(np.linalg.solve(A, sides).T, dtype=np.float64))


def _sectors(A: Array) -> Array:
    """Cells in the plane: the middles between neighbouring lines."""
    lines = np.sort((np.arctan2(A[:, 1], A[:, 0]) + 0.5 * np.pi) % np.pi)
    middles = 0.5 * (lines + np.append(lines[1:], lines[0] + np.pi))
    half: Array = np.stack([np.cos(middles), np.sin(middles)], axis=1)
    return np.concatenate([half, -half])


def _split(A: Array) -> Array:
    """Cells in three dimensions or more: hyperplanes are added one by one to those that make a basis."""
    from scipy.linalg import qr  # slow to import, and rarely needed

    n, rank = A.shape
    A = A[qr(A.T, mode="r", pivoting=True)[1]]
    cells = _orthants(A[:rank])
    for k in range(rank, n):
        normal, earlier = A[k], A[:k]
        within = np.linalg.svd(normal[None])[2][1:]
        trace = _cells(_lines(_unit_rows(earlier @ within.T))) @ within
        # Half the way to the nearest of the other hyperplanes, on either side of the new one.
        speed = np.maximum(np.abs(earlier @ normal), PARALLEL)
        step = 0.5 * np.minimum((np.abs(trace @ earlier.T) / speed).min(axis=1), 1.0)[:, None] * normal
        cells = _widest(_unit_rows(np.concatenate([cells, trace + step, trace - step])), A[: k + 1])
    return cells


def _widest(witnesses: Array, A: Array) -> Array:
    """One witness of each cell among many: that which is farthest from all hyperplanes."""
    products = witnesses @ A.T
    order = np.argsort(-np.abs(products).min(axis=1), kind="stable")
    first = np.unique(_keys(products[order] > 0.0), return_index=True)[1]
    return np.asarray(witnesses[order[first]])


def _lines(A: Array) -> Array:
    """One of the unit rows on each line through 0, up to rounding, in order; rows of zeros are left out."""
    A = A[A.any(axis=1)]
    place = np.abs(A @ np.random.default_rng(0).standard_normal(A.shape[1]))
    order = np.argsort(place, kind="stable")
    # Parallel rows have the same place, so that only runs of nearly equal places need a look.
    reach = PARALLEL * (1.0 + A.shape[1])
    kept: list[int] = []
    for run in np.split(order, np.flatnonzero(np.diff(place[order]) > reach) + 1):
        rest = np.sort(run)
        while rest.size:
            kept.append(int(rest[0]))
            apart = np.minimum(*(np.linalg.norm(A[rest] - sign * A[rest[0]], axis=1) for sign in (1.0, -1.0)))
            rest = rest[apart > PARALLEL]
    return A[np.sort(np.asarray(kept, dtype=np.intp))]


def _row_space(A: Array) -> Array:
    """An orthonormal basis of the span of unit rows, shape (rank, columns)."""
    # The triangle of a QR has the singular values of wide rows, at a fraction of the time.
    Q, R = np.linalg.qr(A.T) if A.shape[0] < A.shape[1] else (None, A.T)
    _, values, basis = np.linalg.svd(R.T, full_matrices=False)
    basis = basis if Q is None else basis @ Q.T
    return np.asarray(basis[values > PARALLEL * max(1.0, float(values.max(initial=0.0)))])


def _unit_rows(A: Array) -> Array:
    size = np.linalg.norm(A, axis=1, keepdims=True)
    return np.asarray(A / np.where(size > 0.0, size, 1.0))


def _column_scales(X: Array) -> Array:
    """Largest entry of each column: in other units of the inputs the patterns are the same."""
    largest = np.abs(X).max(axis=0, initial=0.0)
    return np.asarray(np.where(largest > 0.0, largest, 1.0))
