"""Symmetric matrices as vectors, with the inner product of matrices."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Packing:
    """The upper triangles of symmetric matrices, entries off the diagonal times sqrt(2).

    Args:
        order: Order m of the matrices.

    Attributes:
        size: ``m (m + 1) / 2``.
        rows: Row of each entry, shape (size,).
        columns: Column of each entry, shape (size,); the last entry is (m - 1, m - 1).
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.rows, self.columns = np.triu_indices(order)
        self.size = int(self.rows.size)
        self._weights = np.where(self.rows == self.columns, 1.0, np.sqrt(2.0))

    def pack(self, matrices: Array) -> Array:
        """Vectors, shape (..., size), of symmetric matrices, shape (..., m, m)."""
        return np.asarray(matrices[..., self.rows, self.columns] * self._weights)

    def unpack(self, vectors: Array) -> Array:
        """The matrices of vectors."""
        matrices = np.empty((*vectors.shape[:-1], self.order, self.order))
        entries = vectors / self._weights
        matrices[..., self.rows, self.columns] = entries
        matrices[..., self.columns, self.rows] = entries
        return matrices

    def products(self, u: Array, v: Array) -> Array:
        """Vectors of ``(u v' + v u') / 2``, whose inner product with that of A is ``u'A v``, shape (..., size)."""
        i, j = self.rows, self.columns
        return np.asarray(0.5 * self._weights * (u[..., i] * v[..., j] + u[..., j] * v[..., i]))

    def congruence(self, F: Array) -> Array:
        """The matrix of ``A -> F'AF`` on vectors, shape (size, size)."""
        left, right = F[self.rows], F[self.columns]
        straight = left[:, self.rows] * right[:, self.columns]
        crossed = left[:, self.columns] * right[:, self.rows]
        entries = straight + np.where((self.rows != self.columns)[:, None], crossed, 0.0)
        return np.asarray((entries / self._weights[:, None] * self._weights).T)
