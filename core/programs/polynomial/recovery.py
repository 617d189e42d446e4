"""From matrices Z to neurons: rank-one decomposition of psd matrices with one homogeneous equality.

Sturm and Zhang (2003, *On cones of nonnegative quadratic functions*, Math. Oper. Res. 28): a psd Z with ``<J, Z> =
0`` is a sum of terms ``p p'`` with ``p'J p = 0``. Here ``J = diag(I, -1)``, so each p is ``sqrt(alpha) [u; 1]`` with
``||u|| = 1``: one neuron u with output weight alpha.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CUTOFF = 1e-9
"""Eigenvalues of Z below this fraction of the largest are solver noise."""


def restore_feasibility(Z: Array, cutoff: float = CUTOFF) -> Array:
    """The given matrix made psd with equal block traces, whatever residuals a solver left.

    Negative eigenvalues are clipped; then the larger of ``tr Z_11`` and ``Z_22`` is shrunk to the smaller by a
    congruence, which keeps Z psd and never amplifies noise.

    Args:
        Z: Symmetric up to noise, shape (d + 1, d + 1).
        cutoff: Eigenvalues below this fraction of the largest are noise.
    """
    values, vectors = np.linalg.eigh(0.5 * Z + 0.5 * Z.T)
    largest = max(float(values[-1]), 0.0)
    kept = values > cutoff * largest
    Z = (vectors[:, kept] * values[kept]) @ vectors[:, kept].T
    d = Z.shape[0] - 1
    block, corner = float(np.trace(Z[:d, :d])), float(Z[d, d])
    if block <= 0.0 or corner <= 0.0:
        return np.zeros_like(Z)
    scale = np.ones(d + 1)
    scale[:d], scale[d] = min(1.0, np.sqrt(corner / block)), min(1.0, np.sqrt(block / corner))
    return np.asarray(Z * np.outer(scale, scale))


def rank_one_terms(Z: Array) -> Array:
    """Vectors p, in rows, with ``sum p p' = Z`` and ``||p_{1:d}|| = |p_{d+1}|`` up to rounding.

    Args:
        Z: Psd with ``tr Z_11 = Z_22``, shape (d + 1, d + 1).

    Returns:
        Shape (rank, d + 1).
    """
    values, vectors = np.linalg.eigh(0.5 * Z + 0.5 * Z.T)
    largest = max(float(values[-1]), 0.0)
    kept = values > 1e-14 * largest
    # In units of the largest eigenvalue no product below overflows or underflows.
    values = values[kept] / largest if kept.any() else values[kept]
    terms = (vectors[:, kept] * np.sqrt(values)).T
    signature = np.ones(Z.shape[0])
    signature[-1] = -1.0
    defects = (terms * terms) @ signature
    tolerance = 1e-15 * float(values.sum())
    for _ in range(max(len(terms) - 1, 0)):
        i, j = int(np.argmax(defects)), int(np.argmin(defects))
        if defects[i] <= tolerance or defects[j] >= -tolerance:
            break
        p, q = terms[i].copy(), terms[j].copy()
        t = _small_root(defects[j], float((p * signature) @ q), defects[i])
        length = np.hypot(1.0, t)
        terms[i], terms[j] = (p + t * q) / length, (q - t * p) / length
        defects[i], defects[j] = 0.0, float((terms[j] * terms[j]) @ signature)
    return np.asarray(terms * np.sqrt(largest))


def neurons_from_matrix(Z: Array, cutoff: float = CUTOFF) -> tuple[Array, Array]:
    """Unit neurons and nonnegative output weights of ``Z = sum_j alpha_j [u_j; 1][u_j; 1]'``.

    Z may carry solver-level residuals: feasibility is restored first.

    Args:
        Z: Shape (d + 1, d + 1).
        cutoff: What counts as noise, in eigenvalues relative to the largest and in weights relative to their sum.

    Returns:
        u, shape (m, d), rows of norm 1; alpha, shape (m,), positive, in decreasing order.
    """
    d = Z.shape[0] - 1
    if not np.isfinite(Z).all():
        return np.empty((0, d)), np.empty(0)
    terms = rank_one_terms(restore_feasibility(Z, cutoff))
    # Rounding may leave either part of p a little off; the geometric mean moves both least.
    lengths = np.linalg.norm(terms[:, :d], axis=1)
    alpha = lengths * np.abs(terms[:, d])
    kept = alpha > cutoff * alpha.sum() if alpha.size else np.zeros(0, dtype=bool)
    u = terms[kept, :d] * np.where(terms[kept, d] < 0.0, -1.0, 1.0)[:, None] / lengths[kept, None]
    alpha = alpha[kept]
    order = np.argsort(-alpha, kind="stable")
    return np.ascontiguousarray(u[order]), np.ascontiguousarray(alpha[order])


def attacks_from_moments(moments: Array, cutoff: float = CUTOFF) -> tuple[Array, Array]:
    """A few attacks in the unit ball, with masses, that have the moments of a random one.

    With what its trace lacks of its mass on an axis of its own, ``E [z; 1][z; 1]'`` is one of unit vectors; leaving
    that axis out only shortens them.

    Args:
        moments: The mass times ``E [z; 1][z; 1]'``, psd up to noise, shape (q + 1, q + 1).
        cutoff: Of `neurons_from_matrix`.

    Returns:
        z, shape (k, q); their masses, shape (k,).
    """
    q = moments.shape[0] - 1
    wide = np.zeros((q + 2, q + 2))
    kept = np.append(np.arange(q), q + 1)
    wide[np.ix_(kept, kept)] = moments
    wide[q, q] = max(moments[q, q] - np.trace(moments[:q, :q]), 0.0)
    z, mass = neurons_from_matrix(wide, cutoff)
    return z[:, :q], mass


def _small_root(a: float, b: float, c: float) -> float:
    """The root of smaller modulus of ``a t^2 + 2 b t + c`` (a c < 0, so both are real), without cancellation."""
    root = np.sqrt(b * b - a * c)
    return float(-c / (b + root) if b >= 0.0 else -c / (b - root))
