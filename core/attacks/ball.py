"""The set of attacks that a programme or an evaluation is about: one ball of a norm per sample, or the image of one."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from array_api_compat import array_namespace, device
from scipy import sparse

from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import EPS, GEOMETRIES, Norm, NormGeometry
from cvxrobust.core.attacks.trust_region import minimize_in_ball
from cvxrobust.core.errors import InputError

Array = Any
"""A NumPy array or a torch tensor of floating-point numbers."""

AttackShape = Literal["ball", "ellipsoid", "scaled ball", "cut box"]
"""What attacks are, as backends say which they read: the images of l2 balls are ellipsoids, those of others scaled.
What a range of inputs leaves of a box, perhaps a scaled one, is another box for each sample."""


UNLESS_NONE = {"unless_none": True}
"""Of fields that count where programmes are compared only if they say anything: they were not always there."""


@dataclass(frozen=True)
class AttackBall:
    """Attacks ``D_i`` on the leading coordinates of sample i with ``||D_i||_p <= radius_i``.

    Vectors that attacks act on (weights, gradients) may come with all their D coordinates; attacks have the leading
    ones alone. What is here about "unit attacks" is about ``||D||_p <= 1``; a sample's attacks are radius_i times that.

    With an ellipsoid attacks are ``D = S e``, ``||e||_p <= radius_i``, S (d, q) a diagonal of scales or, in norm 2, a
    root of a covariance or some directions; without one S is the identity. In the norms inf and 1 the set is no
    ellipsoid, but a box or a cross-polytope with sides or corners of their own; S is the same. Of a vector g attacks
    see S'g, `pulled`; of a network that is a quadratic, ``S'PS``, `seen`; what is known in coordinates of the ball is
    `pushed` into the inputs.

    Boxes, the balls of norm inf, may be cut off, coordinate by coordinate and sample by sample: ``D_i = S (w_i * e)``.
    Then the dual norm is another one for each sample, ``N_i(g) = sum_k w_ik |S'g|_k``. What an attack of radius 1 is
    multiplied by on a sample is its `extent`; what it adds there to a vector, `reach` and `reaches`.

    Who must know the ball itself, because a smoothing or a cone comes with it, has a table of its own by `norm`, in one
    file each (`cvxrobust.backends.torch.gated.balls`, `cvxrobust.backends.ipm.gated.epigraph`,
    `cvxrobust.problems.relu.assembly`, `cvxrobust.core.attacks.relu_exact`).

    Args:
        norm: p: "inf", 2 or 1.
        radius: Of each sample, shape (n,), in the units of the inputs, or of S: then it counts how often its column
            fits.
        attackable: Number of leading coordinates that attacks can touch: the constant of a bias, which is the last one,
            they cannot.
        ellipsoid: S, of as many inputs; a diagonal of scales unless the norm is 2. None for a ball.
        widths: w, what is left of the boxes around inputs in the middle of what is left, from 0 to 1, shape (n, q);
            norm inf only. None for all of them.

    Raises:
        InputError: S has another number of inputs, or it is no diagonal and the norm is not 2; or what is cut off is no
            box.
    """

    norm: Norm
    radius: Array
    attackable: int
    ellipsoid: Ellipsoid | None = None
    widths: Array = field(default=None, metadata=UNLESS_NONE)

    def __post_init__(self) -> None:
        if self.widths is not None and not self.geometry.separable:
            raise InputError(f"attacks are in norm {self.norm!r}; only boxes, norm inf, can be cut off.")
        if self.ellipsoid is None:
            return
        if self.ellipsoid.scale is None and not self.geometry.isotropic:
            raise InputError(
                f"norm is {self.norm!r}, but attacks in directions of their own, or of a covariance, are in norm 2 "
                "only; give norm=2, or a scale for each input."
            )
        if self.ellipsoid.n_inputs != self.attackable:
            raise InputError(
                f"the ellipsoid of the attacks has {self.ellipsoid.n_inputs} inputs; expected {self.attackable}."
            )

    @classmethod
    def of_shape(cls, norm: Norm, radius: Array, d: int, ellipsoid: Ellipsoid | None) -> Self:
        """The attacks on d inputs; where none moves anything they are balls of radius 0, whatever their shape."""
        if ellipsoid is not None and ellipsoid.rank == 0:
            radius, ellipsoid = np.zeros_like(radius), None
        return cls(norm, radius, d, ellipsoid if bool((radius > 0.0).any()) else None)

    @property
    def geometry(self) -> NormGeometry:
        """The unit ball."""
        return GEOMETRIES[self.norm]

    @property
    def shape(self) -> AttackShape:
        """What the attacks are."""
        if self.widths is not None:
            return "cut box"
        if self.ellipsoid is None:
            return "ball"
        return "ellipsoid" if self.geometry.isotropic else "scaled ball"

    @property
    def own_axes(self) -> bool:
        """Whether the ball has coordinates of its own, other than the inputs."""
        return self.ellipsoid is not None

    @property
    def uneven(self) -> bool:
        """Whether attacks go further in some directions of what samples have than in others, and in some nowhere."""
        return self.ellipsoid is not None and not self.ellipsoid.spare

    @property
    def present(self) -> bool:
        """Whether any sample can be moved at all."""
        return self.dimension > 0 and bool((self.radius > 0.0).any())

    @property
    def dimension(self) -> int:
        """Coordinates of the ball, q."""
        return self.attackable if self.ellipsoid is None else self.ellipsoid.rank

    @property
    def isotropic(self) -> bool:
        """Whether every rotation leaves the attacks as they are: those of an l2 ball, and where there are none."""
        return not self.present or (self.ellipsoid is None and self.geometry.isotropic)

    def of(self, rows: Any) -> Self:
        """The attacks on some samples: a slice, a mask or indices, which may repeat."""
        return replace(self, radius=self.radius[rows], widths=None if self.widths is None else self.widths[rows])

    def like(self, array: Array) -> Self:
        """The same attacks in arrays of the kind and device of another."""
        if isinstance(array, np.ndarray):
            return self
        xp, where = array_namespace(array), device(array)
        radius, widths = (
            None if part is None else xp.asarray(np.array(part), device=where) for part in (self.radius, self.widths)
        )
        ellipsoid = None if self.ellipsoid is None else self.ellipsoid.like(array)
        return replace(self, radius=radius, ellipsoid=ellipsoid, widths=widths)

    @property
    def extent(self) -> Array:
        """What attacks of radius 1 are multiplied by on each sample: ``r_i``, (n, 1), or ``r_i w_ik``, (n, d)."""
        if self.widths is None:
            return self.radius[:, None]
        found = np.zeros((self.radius.size, self.attackable))
        found[:, slice(None) if self.ellipsoid is None else self.ellipsoid.kept] = self.radius[:, None] * self.widths
        return found

    def reach(self, G: Array) -> Array:
        """``r_i N_i(g)`` of vectors of each sample's own, shape (n, ..., D); shape (n, ...)."""
        radius = self.radius.reshape(-1, *(1,) * (G.ndim - 2))
        if self.widths is None:
            return radius * self.dual_norm(G)
        return radius * self.geometry.dual_norm(self.pulled_apart(G[..., : self.attackable]))

    def reaches(self, G: Array) -> Array:
        """``r_i N_i(g)`` of all samples and vectors, shape (..., D); shape (n, ...)."""
        if self.widths is None:
            return self.radius.reshape(-1, *(1,) * (G.ndim - 1)) * self.dual_norm(G)
        sizes = abs(self.pulled(G[..., : self.attackable]))
        found = (self.radius[:, None] * self.widths) @ sizes.reshape(-1, self.dimension).T
        return found.reshape(self.radius.shape[0], *sizes.shape[:-1])

    def pulled_apart(self, G: Array) -> Array:
        """What attacks on each sample see of vectors of its own: ``w_i * S'g``, shape (n, ..., d) to (n, ..., q)."""
        found = self.pulled(G)
        return found if self.widths is None else found * self._widths_for(found)

    def pushed_apart(self, E: Array) -> Array:
        """What coordinates in each sample's box are as attacks: ``S (w_i * e)``, shape (n, ..., q) to (n, ..., d)."""
        return self.pushed(E if self.widths is None else E * self._widths_for(E))

    def _widths_for(self, E: Array) -> Array:
        return self.widths.reshape(-1, *(1,) * (E.ndim - 2), E.shape[-1])

    @property
    def together(self) -> Self:
        """Attacks that see nothing of a vector just where those on all samples see nothing of it, and are not cut."""
        if self.widths is None:
            return self
        touched = (self.extent > 0.0).any(axis=0) * 1.0
        return replace(self, ellipsoid=Ellipsoid(scale=touched), widths=None)

    def dual_norm(self, G: Array) -> Array:
        """``N(g)``, the most that a unit attack adds to ``g'x``, for vectors g of shape (..., D); shape (...)."""
        return self.geometry.dual_norm(self.pulled(G[..., : self.attackable]))

    def magnitude(self, G: Array) -> Array:
        """``N(g)`` if no terms cancelled, shape (...): rounding errors of `dual_norm` are relative to this."""
        own = G[..., : self.attackable]
        return self.geometry.dual_norm(own if self.ellipsoid is None else self.ellipsoid.pulled_sizes(own))

    def maximiser(self, G: Array) -> Array:
        """A unit attack that adds as much, for vectors of shape (..., D); shape (..., d)."""
        return self.pushed(self.geometry.maximiser(self.pulled(G[..., : self.attackable])))

    def nearest(self, P: Array) -> Array:
        """The nearest unit attacks, shape (..., d)."""
        return self.pushed(self._nearest(P, array_namespace(P).ones_like(P[..., 0])))

    def inside(self, P: Array) -> Array:
        """The same, just inside where rounding could leave them outside: what may stand in a certificate."""
        e = self._nearest(P, array_namespace(P).ones_like(P[..., 0]))
        return self.pushed(e / np.maximum(self.geometry.size(e) * (1.0 + 4.0 * EPS), 1.0)[..., None])

    def size(self, D: Array) -> Array:
        """What multiple of the unit ball attacks of shape (..., d) need, shape (...)."""
        return self.geometry.size(D if self.ellipsoid is None else self.ellipsoid.coordinates(D))

    def contains(self, D: Array) -> Array:
        """Which rows of D, shape (n, d), are attacks on their samples, shape (n,); with S up to rounding."""
        if self.widths is None:
            fits = self.size(D) <= self.radius
        else:
            fits = (abs(self.coordinates(D)) <= self.radius[:, None] * self.widths).all(axis=1)
        if self.ellipsoid is None:
            return fits
        rest = D - self.ellipsoid.pushed(self.ellipsoid.coordinates(D))
        return fits & (self.geometry.size(rest) <= 64.0 * EPS * self.geometry.size(D))

    def pulled(self, G: Array) -> Array:
        """What attacks see of vectors g, shape (..., d): ``S'g``, shape (..., q), with ``g'D = (S'g)'e``."""
        return G if self.ellipsoid is None else self.ellipsoid.pulled(G)

    def pushed(self, E: Array) -> Array:
        """What coordinates of the ball are as attacks: ``S e``, shape (..., q) to (..., d)."""
        return E if self.ellipsoid is None else self.ellipsoid.pushed(E)

    def coordinates(self, D: Array) -> Array:
        """Coordinates in the ball of attacks, shape (..., d) to (..., q)."""
        return D if self.ellipsoid is None else self.ellipsoid.coordinates(D)

    def seen(self, P: Array) -> Array:
        """What attacks see of a symmetric matrix, shape (d, d): ``S'PS``, shape (q, q), with ``D'PD = e'S'PSe``."""
        if self.ellipsoid is None:
            return P
        found = self.pulled(self.pulled(P).T)
        return 0.5 * (found + found.T)

    def spread(self, M: Array) -> Array:
        """Second moments of coordinates, shape (q, q), as those of attacks: ``S M S'``, shape (d, d)."""
        if self.ellipsoid is None:
            return M
        found = self.pushed(self.pushed(M).T)
        return 0.5 * (found + found.T)

    def within(self, basis: Array) -> tuple[Self, Array]:
        """The attacks that inputs ``x'basis`` see, whose coordinates are those of a frame; shape (d, k), (q, k).

        Args:
            basis: Orthonormal columns, shape (d, k).

        Returns:
            Attacks on k inputs, and orthonormal columns: the coordinates in the ball of what they are made of.
        """
        k = int(basis.shape[1])
        if self.ellipsoid is None:
            return replace(self, attackable=k), basis
        ellipsoid, frame = self.ellipsoid.within(basis)
        return replace(self, attackable=k, ellipsoid=ellipsoid), frame

    def turned(self, V: Array) -> Self:
        """The same attacks in coordinates ``V'e``, V orthogonal, shape (q, q); a ball has no axes to turn."""
        return self if self.ellipsoid is None else replace(self, ellipsoid=self.ellipsoid.turned(V))

    def spanned(self, basis: Array) -> Array:
        """What coordinates z of attacks ``e = basis z`` are in the inputs: ``S basis``, shape (q, k) to (d, k).

        None stands for the coordinates of the ball, and for those of the inputs, where they are the same.
        """
        if self.ellipsoid is None or basis is not None:
            return basis if basis is None else self.pushed(basis.T).T
        return self.pushed(np.eye(self.dimension)).T

    def shortened(self, D: Array) -> Array:
        """Attacks on their samples where rows of D, shape (n, d), are none: as much of them as there may be."""
        if self.widths is not None:
            return self.project(D)
        if self.ellipsoid is not None:
            e = self.ellipsoid.coordinates(D)
            length = self.geometry.size(e)
            outside = length > self.radius
            factor = np.where(outside, self.radius * (1.0 - 4.0 * EPS) / np.where(outside, length, 1.0), 1.0)
            return self.pushed(factor[:, None] * e)
        outside = ~self.contains(D)
        if not outside.any():
            return D
        factor = np.ones(outside.shape)
        factor[outside] = self.radius[outside] * (1.0 - 4.0 * EPS) / self.size(D[outside])
        return factor[:, None] * D

    def project(self, D: Array) -> Array:
        """The attack on each sample that is nearest to a row of D, shape (n, d)."""
        if self.widths is not None:
            most = self.radius[:, None] * self.widths
            return self.pushed(np.clip(self.coordinates(D), -most, most))
        return self.pushed(self._nearest(D, self.radius))

    def _nearest(self, D: Array, radius: Array) -> Array:
        """The coordinates in these balls of the nearest attacks, shape (..., q)."""
        if self.ellipsoid is None:
            return self.geometry.project(D, radius)
        if self.dimension == 0:
            return D[..., :0]
        if self.ellipsoid.scale is not None:
            return self.geometry.project_scaled(self.coordinates(D), radius, self.ellipsoid.lengths)
        xp, rows = array_namespace(D), D.reshape(-1, D.shape[-1])
        products = self.seen(xp.eye(rows.shape[1], dtype=D.dtype, device=device(D)))
        found = minimize_in_ball(products, -self.pulled(rows), radius.reshape(-1))
        return found.points.reshape(*D.shape[:-1], self.dimension)

    def unseen(self, G: Array) -> Array:
        """The nearest vectors of which attacks see nothing, ``N(g) = 0`` but for rounding, shape (..., D), in NumPy."""
        own = G[..., : self.attackable]
        rest = np.zeros_like(own) if self.ellipsoid is None else self.ellipsoid.unseen(own)
        return np.concatenate([rest, G[..., self.attackable :]], axis=-1)

    def sample(self, rng: np.random.Generator) -> Array:
        """One uniformly distributed attack on each sample, shape (n, d)."""
        return self.pushed_apart(self.geometry.sample((self.radius.size, self.dimension), self.radius, rng))

    @property
    def euclidean_reach(self) -> float:
        """The largest Euclidean length of a unit attack."""
        if self.ellipsoid is None:
            return self.geometry.euclidean_reach(self.attackable)
        if self.ellipsoid.scale is None:
            return self.ellipsoid.reach
        return self.geometry.scaled_reach(self.ellipsoid.lengths) if self.dimension else 0.0

    @property
    def usual_radius(self) -> float:
        """A radius that is neither large nor small for inputs of size 1: with S, the one at which attacks go that far.

        In the data's own units S may be anything: whoever looks for a radius begins here.
        """
        reach = 1.0 if self.ellipsoid is None else self.euclidean_reach
        return 1.0 / reach if reach > 0.0 else 1.0

    @property
    def unnoticed(self) -> float:
        """How far rounding may move an attack of radius 1, and ``N(g)`` of a g of length 1: 0 where S is a diagonal.

        Products with a diagonal are right to their last digit; sums of d products, with directions, are not.
        """
        return 0.0 if self.ellipsoid is None else self.ellipsoid.rounding

    def axes(self, D: int) -> sparse.csr_array:
        """What attacks see of a vector of D coordinates, ``N(u)`` the dual norm of ``axes @ u``; shape (q, D)."""
        leading = sparse.eye_array(self.attackable, D, format="csr")
        if self.ellipsoid is None:
            return leading
        return sparse.csr_array(sparse.csr_array(self.pushed(np.eye(self.dimension))) @ leading)
