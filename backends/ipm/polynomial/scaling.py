"""Nesterov and Todd's scaling of the matrices Z and Z', and the basis in which both scalings are diagonal."""

from dataclasses import dataclass

import torch
from scipy.linalg.lapack import dgejsv
from torch import Tensor

GRADED = 1e4
"""Ratio of singular values up to which an ordinary decomposition will do."""

FOR_GRADED = 2
"""How LAPACK's dgejsv treats matrices whose rows and columns have scales of their own (its JOBA = 'F')."""


@dataclass(frozen=True)
class Scaled:
    """A psd matrix Z and its dual U with ``Z = R S R'`` and ``U = R^-T S R^-1``, S diagonal.

    Args:
        root: R, shape (m, m); the scaling point is ``G = R R'``.
        inverse: ``R^-1``.
        values: Diagonal of S, shape (m,).
    """

    root: Tensor
    inverse: Tensor
    values: Tensor

    @classmethod
    def of(cls, Z: Tensor, U: Tensor) -> "Scaled | None":
        """The scaling; None if either matrix is not positive definite.

        From Cholesky factors alone: with ``Z = L L'``, ``U = M M'`` and the singular values ``M'L = Q S P'``,
        ``R = L P S^-1/2`` and ``R^-1 = S^-1/2 Q'M'`` (Todd, Toh and Tutuncu 1998, SIAM J. Optim. 8, 769-796).
        """
        (L, wrong), (M, wrong_too) = (torch.linalg.cholesky_ex(part) for part in (Z, U))
        if int(wrong) or int(wrong_too):
            return None
        Q, S, Ph = torch.linalg.svd(M.T @ L)
        if not bool((S > 0.0).all()):
            return None
        scale = torch.rsqrt(S)
        return cls(L @ (Ph.T * scale), (Q * scale).T @ M.T, S)

    def target(self, mu: float, previous: tuple[Tensor, Tensor] | None) -> Tensor:
        """The scaled ``dZ + dU`` that aims at complementarity mu, plus S; so what U becomes where Z stays.

        Args:
            mu: Complementarity.
            previous: A previous scaled direction (dZ, dU), for Mehrotra's correction.
        """
        aimed = torch.diag(mu / self.values)
        if previous is None:
            return aimed
        product = previous[0] @ previous[1]
        return aimed - (product + product.T) / (self.values[:, None] + self.values[None, :])

    def longest(self, change: Tensor) -> float:
        """The longest step that keeps ``S + step change`` psd."""
        root = torch.rsqrt(self.values)
        least = float(torch.linalg.eigvalsh(change * root[:, None] * root[None, :])[0])
        return 1.0 / -least if least < 0.0 else float("inf")


@dataclass(frozen=True)
class Basis:
    """R with ``G_1 = R R'`` and ``G_2 = R D R'`` for the scaling points of Z and Z', D diagonal.

    With it ``(G_1 (x) G_1 + G_2 (x) G_2)^-1`` is diagonal: ``1 / (1 + D_k D_l)``.

    Args:
        root: R, shape (m, m).
        ratio: Diagonal of D, shape (m,).
        first: Orthogonal, ``R = R_1 first``.
        second: ``R_2^-1 R``, shape (m, m).
    """

    root: Tensor
    ratio: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, one: Scaled, two: Scaled) -> "Basis":
        """From the singular values ``R_1^-1 R_2 = Q s P'``: ``R = R_1 Q``, ``D = s^2``, ``R_2^-1 R = P s^-1``.

        They span many orders of magnitude, and the small ones matter: Jacobi's method has all of them to relative
        accuracy (Drmac and Veselic 2008, SIAM J. Matrix Anal. Appl. 29, 1322-1362).
        """
        product = one.inverse @ two.root
        Q, s, Ph = torch.linalg.svd(product)
        if float(s[-1]) * GRADED > float(s[0]):
            return cls(one.root @ Q, s * s, Q, Ph.T / s)
        s, Q, P, _, _, info = dgejsv(product.cpu().numpy(), joba=FOR_GRADED)
        if info != 0 or not (s > 0.0).all():
            raise ArithmeticError("the scalings of both matrices have no common basis")
        s, Q, P = (torch.tensor(part, device=product.device) for part in (s, Q, P))
        return cls(one.root @ Q, s * s, Q, P / s)

    def inside(self, matrix: Tensor) -> Tensor:
        """``R' matrix R``."""
        return self.root.T @ matrix @ self.root
