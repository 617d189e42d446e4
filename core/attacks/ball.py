"""The set of attacks that a programme or an evaluation is about: one ball of a norm per sample."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from array_api_compat import array_namespace
from scipy import sparse

from cvxrobust.core.attacks.norms import EPS, GEOMETRIES, Norm, NormGeometry

Array = Any
"""A NumPy array or a torch tensor of floating-point numbers."""


@dataclass(frozen=True)
class AttackBall:
    """Attacks ``D_i`` on the leading coordinates of sample i with ``||D_i||_p <= radius_i``.

    Vectors that attacks act on (weights, gradients) may come with all their D coordinates; attacks have the leading
    ones alone. What is here about "unit attacks" is about ``||D||_p <= 1``; a sample's attacks are radius_i times that.

    This is the place for other shapes. Attacks ``D = S e``, e in the ball, S (d, q) a diagonal of scales with zeros, a
    root of a covariance, or some directions, are a field S here and nothing elsewhere that asks this object:
    `dual_norm` is that of S'g, `maximiser` and `sample` are S times those of the ball, `size` is that of the shortest
    e, and `axes` is S'. Who must know the ball itself, because a smoothing or a cone comes with it, has a table of its
    own by `norm`, in one file each (`cvxrobust.backends.torch.gated.balls`, `cvxrobust.backends.ipm.gated.epigraph`,
    `cvxrobust.problems.relu.assembly`, `cvxrobust.core.attacks.relu_exact`), and reads vectors through the same S'.
    Of a network that is a quadratic, attacks see ``S'PS`` and ``S'g``, `pulled` and `seen` here, and what is known of
    them in coordinates of the ball is `pushed` into the inputs.

    Args:
        norm: p: "inf", 2 or 1.
        radius: Of each sample, shape (n,), in the units of the inputs.
        attackable: Number of leading coordinates that attacks can touch: the constant of a bias, which is the last one,
            they cannot.
    """

    norm: Norm
    radius: Array
    attackable: int

    @property
    def geometry(self) -> NormGeometry:
        """The unit ball."""
        return GEOMETRIES[self.norm]

    @property
    def present(self) -> bool:
        """Whether any sample can be moved at all."""
        return self.attackable > 0 and bool((self.radius > 0.0).any())

    @property
    def dimension(self) -> int:
        """Coordinates of the ball, q."""
        return self.attackable

    @property
    def isotropic(self) -> bool:
        """Whether every rotation leaves the attacks as they are: those of an l2 ball, and where there are none."""
        return not self.present or self.geometry.isotropic

    def of(self, rows: Any) -> Self:
        """The attacks on some samples: a slice, a mask or indices, which may repeat."""
        return replace(self, radius=self.radius[rows])

    def dual_norm(self, G: Array) -> Array:
        """``N(g)``, the most that a unit attack adds to ``g'x``, for vectors g of shape (..., D); shape (...)."""
        return self.geometry.dual_norm(G[..., : self.attackable])

    def maximiser(self, G: Array) -> Array:
        """A unit attack that adds as much, for vectors of shape (..., D); shape (..., d)."""
        return self.geometry.maximiser(G[..., : self.attackable])

    def nearest(self, P: Array) -> Array:
        """The nearest unit attacks, shape (..., d)."""
        return self.geometry.project(P, array_namespace(P).ones_like(P[..., 0]))

    def inside(self, P: Array) -> Array:
        """The same, just inside where rounding could leave them outside: what may stand in a certificate."""
        near = self.nearest(P)
        return near / np.maximum(self.geometry.size(near) * (1.0 + 4.0 * EPS), 1.0)[..., None]

    def size(self, D: Array) -> Array:
        """What multiple of the unit ball attacks of shape (..., d) need, shape (...)."""
        return self.geometry.size(D)

    def contains(self, D: Array) -> Array:
        """Which rows of D, shape (n, d), are attacks on their samples, shape (n,)."""
        return self.size(D) <= self.radius

    def pulled(self, G: Array) -> Array:
        """What attacks see of vectors g, shape (..., d): ``S'g``, shape (..., q), with ``g'D = (S'g)'e``."""
        return G

    def pushed(self, E: Array) -> Array:
        """What coordinates of the ball are as attacks: ``S e``, shape (..., q) to (..., d)."""
        return E

    def seen(self, P: Array) -> Array:
        """What attacks see of a symmetric matrix, shape (d, d): ``S'PS``, shape (q, q), with ``D'PD = e'S'PSe``."""
        return P

    def spread(self, M: Array) -> Array:
        """Second moments of coordinates, shape (q, q), as those of attacks: ``S M S'``, shape (d, d)."""
        return M

    def within(self, basis: Array) -> tuple[Self, Array]:
        """The attacks that inputs ``x'basis`` see, whose coordinates are those of a frame; shape (d, k), (q, k).

        Args:
            basis: Orthonormal columns, shape (d, k).

        Returns:
            Attacks on k inputs, and orthonormal columns: the coordinates in the ball of what they are made of.
        """
        return replace(self, attackable=int(basis.shape[1])), basis

    def spanned(self, basis: Array) -> Array:
        """What coordinates z of attacks ``e = basis z`` are in the inputs: ``S basis``, shape (q, k) to (d, k).

        None stands for no change of coordinates at all.
        """
        return basis if basis is None else self.pushed(basis.T).T

    def shortened(self, D: Array) -> Array:
        """Attacks on their samples where rows of D, shape (n, d), are none: as much of them as there may be."""
        outside = ~self.contains(D)
        if not outside.any():
            return D
        factor = np.ones(outside.shape)
        factor[outside] = self.radius[outside] * (1.0 - 4.0 * EPS) / self.size(D[outside])
        return factor[:, None] * D

    def project(self, D: Array) -> Array:
        """The attack on each sample that is nearest to a row of D, shape (n, d)."""
        return self.geometry.project(D, self.radius)

    def sample(self, rng: np.random.Generator) -> Array:
        """One uniformly distributed attack on each sample, shape (n, d)."""
        return self.geometry.sample((self.radius.size, self.attackable), self.radius, rng)

    @property
    def euclidean_reach(self) -> float:
        """The largest Euclidean length of a unit attack."""
        return self.geometry.euclidean_reach(self.attackable)

    def axes(self, D: int) -> sparse.csr_array:
        """What attacks see of a vector of D coordinates, ``N(u)`` the dual norm of ``axes @ u``; shape (d, D)."""
        return sparse.eye_array(self.attackable, D, format="csr")
