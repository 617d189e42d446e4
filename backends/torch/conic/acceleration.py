"""Anderson acceleration of a fixed-point iteration, with a safeguard."""

import torch
from torch import Tensor

MEMORY = 10
REGULARISATION = 1e-8
HEAVIEST = 1e8
"""Extrapolations with weights larger than this are not tried."""


class Anderson:
    """Extrapolates ``x -> f(x)`` from its last few pairs (x, f(x)).

    The next point is the combination of the last images whose combined residual ``x - f(x)`` is smallest: type II of
    Walker and Ni (2011), *Anderson acceleration for fixed-point iterations*, SIAM J. Numer. Anal. 49. It is taken back
    if the residual there is larger than before (Zhang, O'Donoghue and Boyd 2020, *Globally convergent type-I Anderson
    acceleration for nonsmooth fixed-point iterations*, SIAM J. Optim. 30, Sec. 4, simplified as in SCS).

    Args:
        weights: Weights of the squares of the norm in which residuals are measured, shape (L,).
        memory: Pairs remembered.
    """

    def __init__(self, weights: Tensor, memory: int = MEMORY) -> None:
        self._weights = weights.sqrt()
        self._memory = memory
        self._image = self._residual = weights
        self.reset()

    def reset(self) -> None:
        """Forget all pairs, as when f has changed."""
        self._count = 0
        self._pending: tuple[Tensor, Tensor] | None = None

    def extrapolate(self, x: Tensor, image: Tensor) -> Tensor:
        """Where to go on from, given the last point and its image: mostly better than the image, shape (L,)."""
        residual = self._weights * (x - image)
        self._pending = None
        if self._count == 0:
            shape = (self._memory, x.numel())
            self._steps, self._changes = torch.empty(shape).to(x), torch.empty(shape).to(x)
        else:
            slot = (self._count - 1) % self._memory
            self._steps[slot] = image - self._image
            self._changes[slot] = residual - self._residual
        self._image, self._residual = image.clone(), residual
        self._count += 1
        if self._count <= self._memory:
            return image
        gram = self._changes @ self._changes.T
        gram.diagonal().add_(REGULARISATION * gram.diagonal().sum())
        factor, failed = torch.linalg.cholesky_ex(gram)
        weights = torch.cholesky_solve((self._changes @ residual).unsqueeze(1), factor).squeeze(1)
        if int(failed) or not float(torch.linalg.vector_norm(weights)) < HEAVIEST:
            self.reset()
            return image
        self._pending = self._image, torch.linalg.vector_norm(residual)
        return image - self._steps.T @ weights

    def checked(self, x: Tensor, image: Tensor) -> Tensor:
        """The image of the extrapolated point `x`, or the one that it was extrapolated from if that was better."""
        if self._pending is None:
            return image
        before, residual = self._pending
        self._pending = None
        if bool(torch.linalg.vector_norm(self._weights * (x - image)) <= residual):
            return image
        self.reset()
        return before
