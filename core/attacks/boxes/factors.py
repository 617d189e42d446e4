"""Multipliers of boxes from moment matrices of low rank: coordinate by coordinate, for thousands of samples at a time.

With ``X = [V; r'][V; r']'``, rows v_k of V, shape (q, p), no longer than 1 and r a unit vector, the relaxation of
`cvxrobust.core.attacks.boxes.shor` is ``<C, VV'> + 2 h'V r``. In a row alone it is a quadratic with one number as its
curvature, whose minimiser has a formula (Wang, Chang and Kolter 2017, *The mixing method*, arXiv:1706.00476, for
diagonals that are equal to 1). With p = 1 it is an attack, and exact in every coordinate. What rows pull at where they
end up are multipliers, ``lambda_k = max(0, -<(CV)_k + h_k r, v_k>)``, which need not be feasible: `proved` shifts them
until they are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dger

from cvxrobust.core.attacks.boxes.margins import BoxMargins
from cvxrobust.core.attacks.boxes.shor import positive_definite

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)
TINY = 1e-300

NEGLIGIBLE = 1e-15
"""Eigenvalues of P that are smaller, relative to the largest, belong to rounding."""

BLOCK = 2**18
"""Entries of a sweep's arrays, about: they fit into a processor's cache."""


@dataclass(frozen=True)
class Shape:
    """P as sweeps use it: ``P = U diag(values) U'``, so that a coordinate costs its rank and not q.

    Args:
        U: Shape (q, k).
        values: Shape (k,).
    """

    U: Array
    values: Array

    @classmethod
    def of(cls, P: Array) -> "Shape":
        """From P itself, symmetric."""
        values, vectors = np.linalg.eigh(P)
        kept = np.abs(values) > NEGLIGIBLE * max(float(np.abs(values).max(initial=0.0)), TINY)
        return cls(np.ascontiguousarray(vectors[:, kept]), values[kept])


def swept(margins: BoxMargins, V: Array, sweeps: int, shape: Shape) -> Array:
    """Relaxed margins after some sweeps over all coordinates, shape (n,); V is changed in place.

    Args:
        margins: Of n samples.
        V: Rows no longer than 1, shape (n, q, p); r is the first unit vector. With p = 1 they are points of the boxes.
        sweeps: How many.
        shape: Of their P.
    """
    n, q, p = V.shape
    found = np.empty(n)
    step = max(16, BLOCK // max(q * p, 1))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        found[rows] = _swept(margins.rows(rows), V[rows], sweeps, shape)
    return found


def _swept(margins: BoxMargins, V: Array, sweeps: int, shape: Shape) -> Array:
    n, q, p = V.shape
    weighted = shape.U * shape.values
    widths, half = np.ascontiguousarray(margins.widths.T), np.ascontiguousarray(margins.half.T)
    curves = (shape.U * weighted).sum(axis=1)[:, None] * margins.signs * widths * widths
    signed = margins.signs * widths
    rows = np.ascontiguousarray(V.transpose(1, 0, 2))  # a coordinate's are next to one another
    # Moved inputs in the coordinates of P, shape (k, n p): what every coordinate sees of all others.
    seen = shape.U.T @ (widths[:, :, None] * rows).reshape(q, n * p)
    for _ in range(sweeps):
        for k in range(q):
            old, curve = rows[k], curves[k]
            pull = (weighted[k] @ seen).reshape(n, p) * signed[k, :, None] - curve[:, None] * old
            pull[:, 0] += half[k]
            new = _least(curve, pull, old)
            if seen.size:  # LAPACK takes no empty arrays
                moved = (widths[k, :, None] * (new - old)).ravel()
                dger(1.0, moved, shape.U[k], a=seen.T, overwrite_x=1, overwrite_a=1)
            rows[k] = new
    V[:] = rows.transpose(1, 0, 2)
    curved = margins.signs * (shape.values @ (seen * seen)).reshape(n, p).sum(axis=1)
    return np.asarray(margins.values + curved + 2.0 * (margins.half * V[:, :, 0]).sum(axis=1))


def _least(curve: Array, pull: Array, old: Array) -> Array:
    """The v no longer than 1 with the least ``curve v'v + 2 pull'v``, shape (n, p); the old one where nothing pulls."""
    length = np.sqrt(np.einsum("np,np->n", pull, pull))
    inside = np.where(curve > 0.0, length / np.maximum(curve, TINY), np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = -pull * (np.minimum(1.0, inside) / length)[:, None]
    return np.where((length > TINY)[:, None], found, old)


ASTRAY = 0.1
"""By how much new columns of factors are: empty ones would stay so."""


def starts(margins: BoxMargins, columns: int, rng: np.random.Generator) -> Array:
    """Factors of the linearised worst case, shape (n, q, p), a little astray, so that no column stays empty."""
    V = ASTRAY * rng.standard_normal((*margins.half.shape, columns))
    V[:, :, 0] = -np.sign(np.where(margins.half == 0.0, 1.0, margins.half))
    return np.asarray(V / np.linalg.norm(V, axis=2, keepdims=True))


def multipliers_of(margins: BoxMargins, V: Array, shape: Shape) -> Array:
    """What rows of V pull at, shape (n, q + 1), lambda_m last."""
    scaled = margins.widths[:, :, None] * V
    seen = np.einsum("qk,nqp->nkp", shape.U, scaled, optimize=True) * shape.values[:, None]
    pull = (margins.signs[:, None] * margins.widths)[:, :, None] * np.einsum(
        "qk,nkp->nqp", shape.U, seen, optimize=True
    )
    pull[:, :, 0] += margins.half
    lam = np.maximum(0.0, -np.einsum("nqp,nqp->nq", pull, V))
    return np.hstack([lam, -np.einsum("nq,nq->n", margins.half, V[:, :, 0])[:, None]])


def raised(V: Array, columns: int, rng: np.random.Generator) -> Array:
    """Factors with more columns, a little astray from where they are, so that the new ones do not stay empty."""
    n, q, p = V.shape
    found = np.concatenate([V, ASTRAY * rng.standard_normal((n, q, columns - p))], axis=2)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=2, keepdims=True), 1.0))


def bounded(margins: BoxMargins, multipliers: Array, near: Array | None = None) -> Array:
    """What multipliers prove of margins in their boxes, once all are shifted until they are feasible, shape (n,).

    Args:
        margins: Of n samples.
        multipliers: Shape (n, q + 1).
        near: What a shift may cost, shape (n,): then a factorisation decides, which takes a tenth of the time, and what
            is further away counts as -inf. None for the least shifts.
    """
    n, m = multipliers.shape
    found, diagonal = np.empty(n), np.arange(m)
    step = max(1, 2**21 // (m * m))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        own, lam = margins.rows(rows), multipliers[rows]
        S = own.matrices()
        rounding = _rounding(S, lam, own.values)
        shift = np.zeros(S.shape[0]) if near is None else near[rows] / m
        S[:, diagonal, diagonal] += lam + shift[:, None]
        if near is None:
            shift = np.maximum(0.0, -np.linalg.eigvalsh(S)[:, 0])
        else:
            shift[~positive_definite(S)] = np.inf
        found[rows] = own.values - lam.sum(axis=1) - m * shift - rounding
    return found


def _rounding(C: Array, multipliers: Array, values: Array) -> Array:
    """What rounding may add to a bound, C without the multipliers on its diagonal, shape (n,)."""
    m = multipliers.shape[1]
    size = np.abs(C).max(axis=(1, 2), initial=0.0) * m + np.abs(multipliers).sum(axis=1)
    return np.asarray(m * (m + 3.0) * EPS * size + 4.0 * EPS * np.abs(values))


def proved(margins: BoxMargins, multipliers: Array, above: float) -> NDArray[np.bool_]:
    """Of which samples multipliers prove that margins in their boxes lie above a number, shape (n,).

    A shift of all multipliers costs q + 1 times as much; what is affordable has to be enough.
    """
    n, m = multipliers.shape
    done = np.zeros(n, dtype=np.bool_)
    step = max(1, 2**21 // (m * m))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        own, lam = margins.rows(rows), multipliers[rows]
        S, diagonal = own.matrices(), np.arange(m)
        shift = (own.values - lam.sum(axis=1) - _rounding(S, lam, own.values) - above) / m
        S[:, diagonal, diagonal] += lam + shift[:, None]
        hopeful = np.flatnonzero(shift > 0.0)
        done[rows.start + hopeful] = positive_definite(S[hopeful])
    return done
