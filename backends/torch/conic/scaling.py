"""Equilibration: a programme in units in which first-order methods do well."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.backends.torch.conic.cones import ConeLayout
from cvxrobust.core import ConicProgram

Array = NDArray[np.float64]

PASSES = 1
SMALLEST, LARGEST = 1e-4, 1e4


@dataclass(frozen=True)
class Scaled:
    """``A = D A0[rows] E``, ``b = size_b D b0[rows]`` and ``q = size_q E q0`` of a programme (A0, b0, q0).

    So ``x0 = E x / size_b``, ``s0 = s / (D size_b)`` and ``y0 = D y / size_q``. D is constant on every cone that a
    diagonal matrix would deform.

    Args:
        A: Shape (M, N).
        b: Shape (M,).
        q: Shape (N,).
        D: Diagonal, shape (M,).
        E: Diagonal, shape (N,).
        size_b: Scale of b, x and s.
        size_q: Scale of q and y.
    """

    A: sparse.csr_array
    b: Array
    q: Array
    D: Array
    E: Array
    size_b: float
    size_q: float


def equilibrated(program: ConicProgram, layout: ConeLayout) -> Scaled:
    """Rows and columns of about equal norm (Ruiz 2001, *A scaling algorithm to equilibrate both rows and columns
    norms in matrices*, RAL-TR-2001-034; O'Donoghue 2021, SIAM J. Optim. 31, Sec. 5.3), cones undeformed.
    """
    A = sparse.csr_array(program.A[layout.rows])
    rows, columns = A.shape
    D, E = np.ones(rows), np.ones(columns)
    if A.nnz:
        row_of, column_of = np.repeat(np.arange(rows), np.diff(A.indptr)), A.indices
        magnitudes = np.abs(A.data)
        for step in range(PASSES + 1):
            entries = magnitudes * D[row_of] * E[column_of]
            if step < PASSES:
                by_row, by_column = np.zeros(rows), np.zeros(columns)
                np.maximum.at(by_row, row_of, entries)
                np.maximum.at(by_column, column_of, entries)
            else:
                by_row = np.sqrt(np.bincount(row_of, entries**2, rows))
                by_column = np.sqrt(np.bincount(column_of, entries**2, columns))
            D /= np.sqrt(_safe(_averaged(by_row, layout.owners)))
            E /= np.sqrt(_safe(by_column))
    b, q = D * program.b[layout.rows], E * program.q
    sizes = _safe(np.array([np.abs(b).max(initial=0), np.abs(q).max(initial=0)]))
    size_b, size_q = (1.0 / sizes).tolist()
    scaled = sparse.csr_array(sparse.diags_array(D) @ A @ sparse.diags_array(E)) if A.nnz else A
    return Scaled(scaled, size_b * b, size_q * q, D, E, size_b, size_q)


def _averaged(norms: Array, owners: NDArray[np.intp]) -> Array:
    """Means over the rows of each cone that must not be deformed."""
    if not owners.size:
        return norms
    counts = np.bincount(owners)
    return np.asarray((np.bincount(owners, norms) / counts)[owners])


def _safe(norms: Array) -> Array:
    """Norms to divide by: 1 instead of nearly 0, and none that would upset everything else."""
    return np.where(norms < SMALLEST, 1.0, np.minimum(norms, LARGEST))
