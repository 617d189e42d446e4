"""Neurons of a matrix whose columns differ by many orders of magnitude.

As `cvxrobust.core.programs.polynomial.recovery`, for factors, whose small entries keep their digits: with T+ and T- a
million times larger than what their difference computes, no term may lack a part that is small beside the largest.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EXACT = 1e-15
"""Defect of a term, relative to its own size, that is rounding."""


def neurons_of_factor(L: Array, white: Array) -> tuple[Array, Array]:
    """Unit neurons and output weights of ``L L' = sum_j alpha_j [u_j; 1][u_j; 1]'`` in white inputs.

    Args:
        L: Shape (d + 1, d + 1), with equal traces of ``L L'`` in the inputs' own units.
        white: W of `whitening`, shape (d, d).

    Returns:
        u, in the inputs' own units, shape (d + 1, d), and alpha, positive, shape (d + 1,).
    """
    terms = np.hstack([L[:-1].T @ white.T, L[-1:].T])
    signature = np.append(np.ones(white.shape[0]), -1.0)
    for _ in range(len(terms) - 1):
        defects, sizes = (terms * terms) @ signature, np.einsum("ij,ij->i", terms, terms)
        i, j = int(np.argmax(defects)), int(np.argmin(defects))
        if defects[i] <= EXACT * sizes[i] or defects[j] >= -EXACT * sizes[j]:
            break
        _settle(terms, signature, *((i, j) if sizes[i] < sizes[j] else (j, i)))
    # What rounding has left is lost in the largest term, not in small ones.
    for _ in range(2):
        defects, sizes = (terms * terms) @ signature, np.einsum("ij,ij->i", terms, terms)
        largest = int(np.argmax(sizes))
        for k in np.flatnonzero(np.abs(defects) > EXACT * sizes):
            if k != largest:
                _settle(terms, signature, int(k), largest)
    lengths = np.linalg.norm(terms[:, :-1], axis=1)
    directions = np.where(terms[:, -1:] < 0.0, -1.0, 1.0) * terms[:, :-1]
    return directions / np.maximum(lengths, 1e-300)[:, None], lengths * np.abs(terms[:, -1])


def _settle(terms: Array, signature: Array, i: int, j: int) -> None:
    """Rotate two terms so that the first one's defect vanishes, by as little as possible."""
    p, q = terms[i].copy(), terms[j].copy()
    first, second, mixed = ((x * y) @ signature for x, y in ((p, p), (q, q), (p, q)))
    inside = mixed * mixed - first * second
    slope = mixed + np.copysign(np.sqrt(max(inside, 0.0)), mixed)
    if inside < 0.0 or slope == 0.0:
        return
    t = -first / slope
    length = np.hypot(1.0, t)
    terms[i], terms[j] = (p + t * q) / length, (q - t * p) / length
