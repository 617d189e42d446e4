"""How the attacks of each sample spread, as a Newton system takes it: along the axes of the frame, but for few samples.

Section 3 of `cvxrobust.backends.ipm.polynomial.solve`.
"""

import torch
from torch import Tensor

from cvxrobust.backends.ipm.polynomial.samples import sample_blocks

NEAR = 2.0
"""Frobenius norm of the correlations up to which a covariance is taken to be diagonal.

Iterations hardly depend on it (Breast Cancer to 1e-8: 22 with 0.2, 21 from 0.4 on; digits 14 or 15 with all values),
time does (digits 16.2 s with 0.2, 11.9 with 2). Without a limit, and before short steps made all of them count, two
problems with radii of 5,000 and more ended at a gap of 1.
"""


class Spread:
    """Covariances, times mass: ``diag(S)`` alone where correlations are weak, all of S elsewhere.

    On the central path ``X_i = mu M_i^-1`` is diagonal in arrow form. Close to it are the samples that no attack moves
    into the loss (multiplier zero) and those that every attack leaves there (saturated): all but a few, in the end.

    Args:
        cov: theta times the covariances in the frame, shape (n, d, d).
        near: Frobenius norm of the correlations up to which they are left out; None for `NEAR`.

    Attributes:
        diagonal: Of every S, shape (n, d).
        whole: Numbers of the samples whose correlations count, in order, shape (w,).
        off: What these have off the diagonal, shape (w, d, d).
    """

    def __init__(self, cov: Tensor, near: float | None = None) -> None:
        n, d = cov.shape[:2]
        limit = NEAR if near is None else near
        self.diagonal = torch.diagonal(cov, dim1=1, dim2=2).contiguous()
        inverse = 1.0 / self.diagonal
        size = torch.empty_like(self.diagonal[:, 0])
        for rows in sample_blocks(n, d, cov.device):
            squares = cov[rows] * cov[rows]
            scaled = torch.bmm(squares, inverse[rows, :, None])[:, :, 0]
            size[rows] = (scaled * inverse[rows]).sum(1) - d
        # Not `size > limit^2`: what is not a number counts as far.
        whole = ~(size <= limit * limit)
        self.whole = torch.nonzero(whole)[:, 0]
        self.off = cov[self.whole]
        torch.diagonal(self.off, dim1=1, dim2=2).zero_()
        self._weak = (~whole).to(cov.dtype)

    def times(self, vectors: Tensor) -> Tensor:
        """``S v`` for a vector per sample, shape (n, d)."""
        found = self.diagonal * vectors
        return found.index_add_(0, self.whole, torch.bmm(self.off, vectors[self.whole, :, None])[:, :, 0])

    def matrices(self, rows: slice) -> Tensor:
        """The covariances of consecutive samples as the linear part has them, shape (b, d, d)."""
        found, places = torch.diag_embed(self.diagonal[rows]), self.between(rows)
        return found.index_add_(0, self.whole[places] - rows.start, self.off[places])

    def between(self, rows: slice) -> slice:
        """Which places of `whole` hold samples of consecutive rows."""
        edges = torch.tensor([rows.start, rows.stop], device=self.whole.device)
        first, last = torch.searchsorted(self.whole, edges).tolist()
        return slice(first, last)

    def left_out(self, cov: Tensor, rows: slice) -> Tensor:
        """What is taken to be zero in the covariances of consecutive samples, shape (b, d, d)."""
        found = cov[rows] * self._weak[rows, None, None]
        torch.diagonal(found, dim1=1, dim2=2).zero_()
        return found
