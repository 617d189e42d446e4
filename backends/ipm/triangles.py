"""Symmetric matrices as vectors: the upper triangle by rows, off-diagonal entries times sqrt(2)."""

import math

import torch
from torch import Tensor


class Triangle:
    """Order-m symmetric matrices as vectors of length ``p = m (m + 1) / 2``, with the inner product kept.

    Args:
        m: Order.
        device: A torch device.
    """

    def __init__(self, m: int, device: torch.device) -> None:
        self.m = m
        rows, columns = torch.triu_indices(m, m, device=device)
        self.rows, self.columns = rows, columns
        self.size: int = rows.numel()
        self.flat = rows * m + columns
        """Positions of the entries in a matrix laid out by rows."""
        self.off = torch.full((self.size,), math.sqrt(2.0), dtype=torch.float64, device=device)
        self.off[rows == columns] = 1.0
        place = torch.empty(m * m, dtype=torch.long, device=device)
        number = torch.arange(self.size, device=device)
        place[rows * m + columns] = number
        place[columns * m + rows] = number
        self.place = place.reshape(m, m)
        """Where entry (i, j) of the matrix lies in the vector."""

    def entries(self, matrices: Tensor) -> Tensor:
        """Upper triangles without scaling, shape (..., p)."""
        # `index_select` gathers twenty times as fast as an index in brackets does.
        found = torch.index_select(matrices.reshape(-1, self.m * self.m), 1, self.flat)
        return found.reshape(*matrices.shape[:-2], self.size)

    def vector(self, matrices: Tensor) -> Tensor:
        """Vectors of symmetric matrices, shape (..., p)."""
        return self.entries(matrices) * self.off

    def matrix(self, vectors: Tensor) -> Tensor:
        """Symmetric matrices of vectors, shape (..., m, m)."""
        found = torch.index_select((vectors / self.off).reshape(-1, self.size), 1, self.place.reshape(-1))
        return found.reshape(*vectors.shape[:-1], self.m, self.m)

    def outer(self, left: Tensor, right: Tensor) -> Tensor:
        """Upper triangles, without scaling, of ``(l r' + r l') / 2`` for rows l and r, shape (n, p)."""
        first = torch.index_select(left, 1, self.rows)
        if left is right:
            return first.mul_(torch.index_select(left, 1, self.columns))
        first.mul_(torch.index_select(right, 1, self.columns))
        second = torch.index_select(left, 1, self.columns).mul_(torch.index_select(right, 1, self.rows))
        return first.add_(second).mul_(0.5)

    def sandwich(self, K: Tensor) -> Tensor:
        """The matrix of the quadratic form ``T -> sum tr(Y T W T)`` on vectors, from ``K = sum Y (x) W``.

        Args:
            K: Sum of the outer products of upper triangles of Y with those of W, both unscaled, shape (p, p).

        Returns:
            Shape (p, p); entry ((a, b), (c, d)) is ``nu_ab nu_cd (K_ac,bd + K_bd,ac + K_ad,bc + K_bc,ad)``, nu = 1/2 on
            the diagonal and ``1 / sqrt(2)`` off it.
        """
        m = self.m
        both = (K + K.T).contiguous()
        found = torch.empty_like(K)
        lower = self.columns * m + self.rows
        start = 0
        for a in range(m):
            # Entry [b, c, d] is both[(a, c), (b, d)], for b >= a.
            wide = torch.index_select(torch.index_select(both, 0, self.place[a]), 1, self.place[a:].reshape(-1))
            block = wide.reshape(m, m - a, m).permute(1, 0, 2).reshape(m - a, m * m)
            rows = torch.index_select(block, 1, self.flat)
            found[start : start + m - a] = rows.add_(torch.index_select(block, 1, lower))
            start += m - a
        scale = 0.5 * self.off
        return found.mul_(scale[:, None]).mul_(scale[None, :])


def lift(V: Tensor) -> Tensor:
    """``diag(V, 1)``: a change of the first coordinates alone."""
    rows, columns = V.shape
    found = V.new_zeros(rows + 1, columns + 1)
    found[:rows, :columns] = V
    found[rows, columns] = 1.0
    return found


STRIP = 256
"""Columns of a strip of a symmetric product."""


def add_gram(H: Tensor, A: Tensor, sign: float = 1.0) -> None:
    """Add ``sign A'A`` to the upper triangle of H, strip by strip; `mirror` completes it.

    A symmetric update takes half the work of a product. PyTorch has none of its own, and to borrow that of another BLAS
    would set two pools of threads against each other.
    """
    for start in range(0, H.shape[0], STRIP):
        strip = A[:, start : start + STRIP]
        H[start : start + STRIP, start:].addmm_(strip.T, A[:, start:], alpha=sign)


def mirror(H: Tensor) -> Tensor:
    """The symmetric matrix of an upper triangle; what lies below it is ignored."""
    upper = torch.triu(H)
    return upper + torch.triu(H, 1).T
