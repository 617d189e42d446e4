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

    def factors(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Whose product, entry by entry, is the upper triangle of ``l l'``; columns l (m, b), found (p, b).

        With samples in columns whole rows are gathered, which takes a twentieth of the time that entries take.
        """
        return torch.index_select(vectors, 0, self.rows), torch.index_select(vectors, 0, self.columns)

    def outer(self, vectors: Tensor) -> Tensor:
        """Upper triangles of ``l l'``, without scaling, for columns l (m, b), shape (p, b)."""
        first, second = self.factors(vectors)
        return first.mul_(second)

    def sandwich(self, K: Tensor) -> Tensor:
        """The matrix of the quadratic form ``T -> sum tr(Y T W T)`` on vectors, from ``K = sum Y (x) W``.

        Args:
            K: Sum of the outer products of upper triangles of Y with those of W, both unscaled, shape (p, p).

        Returns:
            Shape (p, p); entry ((a, b), (c, d)) is ``nu_ab nu_cd (K_ac,bd + K_bd,ac + K_ad,bc + K_bc,ad)``, nu = 1/2 on
            the diagonal and ``1 / sqrt(2)`` off it.
        """
        m, both = self.m, torch.empty_like(K)
        for rows in _strips(self.size):
            torch.add(K[rows, rows.start :], K[rows.start :, rows].T, out=both[rows, rows.start :])
        mirror(both)
        found, scale = torch.empty_like(K), 0.5 * self.off
        start = 0
        for a in range(m):
            # Entry [b, d, c] is both[(a, c), (b, d)], for b >= a. Whole rows are gathered as far as possible.
            wide = torch.index_select(both, 0, self.place[a]).T.contiguous()
            block = torch.index_select(wide, 0, self.place[a:].reshape(-1)).reshape(m - a, m, m)
            entries = torch.index_select((block + block.mT).reshape(m - a, m * m), 1, self.flat)
            torch.mul(entries.mul_(scale), scale[start : start + m - a, None], out=found[start : start + m - a])
            start += m - a
        return found


def lift(V: Tensor) -> Tensor:
    """``diag(V, 1)``: a change of the first coordinates alone."""
    rows, columns = V.shape
    found = V.new_zeros(rows + 1, columns + 1)
    found[:rows, :columns] = V
    found[rows, columns] = 1.0
    return found


STRIP = 256
"""Columns of a strip of a symmetric matrix."""


def _strips(size: int) -> list[slice]:
    return [slice(start, min(start + STRIP, size)) for start in range(0, size, STRIP)]


def add_gram(H: Tensor, A: Tensor, sign: float = 1.0, *, anew: bool = False) -> None:
    """Add ``sign A'A`` to the upper triangle of H, strip by strip; `mirror` completes it.

    A symmetric update takes half the work of a product. PyTorch has none of its own, and to borrow that of another BLAS
    would set two pools of threads against each other.

    Args:
        H: Symmetric; changed.
        A: Its rows.
        sign: 1 or -1.
        anew: Put it there instead, whatever H holds.
    """
    kept = 0.0 if anew else 1.0
    for rows in _strips(H.shape[0]):
        H[rows, rows.start :].addmm_(A[:, rows].T, A[:, rows.start :], alpha=sign, beta=kept)


def mirror(H: Tensor) -> None:
    """Put the upper triangle of H below its diagonal, in place."""
    for rows in _strips(H.shape[0]):
        square = H[rows, rows]
        square.copy_(torch.triu(square) + torch.triu(square, 1).T)
        H[rows.stop :, rows] = H[rows, rows.stop :].T
