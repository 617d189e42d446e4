"""Multipliers on random attacks in the span of a network's neurons, and sums of second moments block by block.

The certificate (`cvxrobust.core.programs.polynomial.certificate`) sees attacks only through ``S = sum_k w_k sign_k
[x_k; 1][x_k; 1]'``. A worst attack on a polynomial network lies in the span of its neurons, and where the worst case is
a mixture of several attacks, their mean and covariance say all that S needs. So a sample's multiplier takes 2 k + 1
numbers, k the dimension of the span, instead of several points of d numbers each; and S is summed in blocks of samples,
on whatever device the data is.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.quadratic import blocks
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.programs.polynomial.certificate import EPS, HUGE, TINY, moderate
from cvxrobust.core.programs.polynomial.exact_gram import SampleSums
from cvxrobust.core.programs.rows import Rows, row_blocks

Array = NDArray[np.float64]
AnyArray = Any
"""A NumPy array or a torch tensor of float64."""


class AttackMultipliers(Protocol):
    """Multipliers that sit on random attacks ``D_i = basis z_i`` whose coordinates are uncorrelated.

    In an ellipsoid attacks are ``S basis z_i``: the basis is in the q coordinates of the ball
    (`cvxrobust.core.attacks.ball`), which otherwise are the inputs.

    A solver that can say what the attacks on some samples are need not keep those on all of them.
    """

    @property
    def theta(self) -> Array:
        """Multiplier of each sample, shape (n,)."""
        ...

    @property
    def basis(self) -> Array:
        """Shape (q, k)."""
        ...

    def attacks(self, rows: slice, X: Array) -> tuple[Array, Array | None]:
        """Means and variances of the coordinates, in the units of X, for a block of consecutive samples.

        Args:
            rows: Which samples.
            X: Their inputs, shape (b, d).

        Returns:
            Two arrays of shape (b, k); None for variances of 0. Where an attack's expected squared length in the
            ball, ``E ||basis z_i||^2``, exceeds ``radius_i^2`` it is shortened before use.
        """
        ...


@dataclass(frozen=True)
class SpanMultipliers:
    """`AttackMultipliers` that are kept whole.

    Args:
        theta: Multiplier of each sample, shape (n,).
        basis: Shape (q, k).
        mean: Means of the coordinates, shape (n, k), in the units of X.
        variance: Variances of the coordinates, shape (n, k); None for attacks that are not random.
    """

    theta: Array
    basis: Array
    mean: Array
    variance: Array | None = None

    def attacks(self, rows: slice, X: Array) -> tuple[Array, Array | None]:
        """Means and variances of a block."""
        return self.mean[rows], None if self.variance is None else self.variance[rows]


@dataclass(frozen=True)
class SidedMultipliers:
    """Multipliers of a loss of targets under attack, whose worst error has two sides.

    Args:
        down: On attacks that lower the outputs, where these are too small; its theta is 0 or more.
        up: On attacks that raise them, where they are too large; its theta is 0 or more, too.
    """

    down: AttackMultipliers
    up: AttackMultipliers


@dataclass(frozen=True)
class AttackSums:
    """Feasible multipliers, and the second moments of their attacks.

    Args:
        theta: Multiplier of each sample, in the domain of the loss's conjugate, shape (n,).
        second_moments: ``sum_k theta_k sign_k [x_k; 1][x_k; 1]'``, shape (d + 1, d + 1).
        mass: The size of what was summed in working precision.
        error: What the rest of the sums may lack, in the Frobenius norm.
        reach: With a loss of targets what the multipliers of a sample weigh in all, shape (n,); ``|theta|`` if None.
    """

    theta: Array
    second_moments: Array
    mass: float
    error: float
    reach: Array | None = None

    @property
    def weights(self) -> Array:
        """What the multipliers of each sample weigh in all, shape (n,)."""
        return np.abs(self.theta) if self.reach is None else self.reach


def span_moments(
    multipliers: AttackMultipliers | SidedMultipliers,
    X: Array | Rows,
    signs: Array,
    attack: AttackBall,
    loss: Loss,
    *,
    precise: bool = False,
) -> AttackSums:
    """Repaired multipliers and the signed second moments of their attacks, for `dual_bound`.

    Args:
        multipliers: Of any origin: theta is moved into the conjugate's domain, attacks into their balls.
        X: Shape (n, d).
        signs: Labels as signs of the output, shape (n,).
        attack: The attacks on each sample.
        loss: The loss.
        precise: Whether to sum what samples add without their attacks to twice the working precision.

    """
    reach: Array | None = None
    if isinstance(multipliers, SidedMultipliers):
        pair = repaired_sides(np.stack([multipliers.down.theta, multipliers.up.theta]), loss)
        theta, reach = pair[0] - pair[1], pair.sum(axis=0)
        sides = [(multipliers.down, pair[0]), (multipliers.up, -pair[1])]
    else:
        theta = repaired_theta(multipliers.theta, loss)
        sides = [(multipliers, theta * signs)]
    # A basis that is none allows for no attack.
    bases = [one.basis if (np.abs(one.basis) < HUGE).all() else np.zeros_like(one.basis) for one, _ in sides]
    sums = [SecondMoments(attack.spanned(basis), precise) for basis in bases]
    for rows, block in row_blocks(X):
        for (one, weights), basis, found in zip(sides, bases, sums, strict=True):
            attacks = repaired_attacks(*one.attacks(rows, block), basis, attack.of(rows))
            found.add(block, weights[rows], *attacks)
    matrix, mass, error = (
        sum(one.matrix() for one in sums),
        sum(one.mass for one in sums),
        sum(one.error for one in sums),
    )
    return AttackSums(theta, np.asarray(matrix), mass, error, reach)


def repaired_sides(theta: Array, loss: Loss) -> Array:
    """The same of multipliers of both sides of targets, shape (2, n): 0 or more, and together in the domain."""
    pair = moderate(np.maximum(np.where(np.isfinite(theta), theta, 0.0), 0.0))
    reach = pair.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return pair * np.where(reach > 0.0, loss.clip(reach) / reach, 1.0)


def repaired_theta(theta: Array, loss: Loss) -> Array:
    """The nearest multipliers in the conjugate's domain; what is no number counts as 0. Shape (n,)."""
    finite = np.where(np.isfinite(theta), theta, 0.0)
    return loss.clip(moderate(np.maximum(finite, 0.0) if loss.margin else finite))


def repaired_attacks(
    mean: Array, variance: Array | None, basis: Array, attack: AttackBall
) -> tuple[Array, Array | None]:
    """Attacks shortened to ``E ||D||^2 <= radius^2``; those that are none, or absurdly long, become none."""
    sane: NDArray[np.bool_] = np.all(np.abs(mean) < HUGE, axis=1)
    if variance is not None:
        sane &= np.all((variance >= 0.0) & (variance < HUGE), axis=1)
    gram, radius = basis.T @ basis, attack.radius
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.einsum("ij,ij->i", mean @ gram, mean)
        if variance is not None:
            length = length + variance @ np.diag(gram)
        shrink = np.where(length > radius**2, radius**2 / np.maximum(length, TINY) * (1.0 - 16.0 * EPS), 1.0)
    shrink = np.where(sane & np.isfinite(length), shrink, 0.0)[:, None]
    fair = np.where(sane[:, None], mean, 0.0) * np.sqrt(shrink)
    return fair, None if variance is None else np.where(sane[:, None], variance, 0.0) * shrink


class SecondMoments:
    """``S = sum_i w_i E [x_i + D_i; 1][x_i + D_i; 1]'``, summed block by block.

    Args:
        basis: Of the random attacks in the inputs, shape (d, k); decides device and kind of the arrays.
        precise: Whether to sum what samples add without their attacks to twice the working precision; such sums are
            not for `parts`.
    """

    def __init__(self, basis: AnyArray, precise: bool = False) -> None:
        xp = self._xp = array_namespace(basis)
        (d, k), where = basis.shape, device(basis)
        self.basis, self._gram = basis, basis.T @ basis
        self._core = xp.zeros((d, d), dtype=basis.dtype, device=where)
        self._cross = xp.zeros((d, k), dtype=basis.dtype, device=where)
        self._inner = xp.zeros((k, k), dtype=basis.dtype, device=where)
        self._first = xp.zeros((d,), dtype=basis.dtype, device=where)
        self._shift = xp.zeros((k,), dtype=basis.dtype, device=where)
        self._weight = self._mass = 0.0
        self._samples = SampleSums(basis, True) if precise else None

    def add(
        self, X: AnyArray, weights: AnyArray, mean: AnyArray | None = None, variance: AnyArray | None = None
    ) -> None:
        """Add samples.

        Args:
            X: Shape (n, d).
            weights: ``w_i``, shape (n,), of either sign; samples of weight 0 cost nothing.
            mean: Shape (n, k); None for no attack.
            variance: Shape (n, k); None where attacks are not random.
        """
        xp = self._xp
        for rows in blocks(X.shape[0], X.shape[1]):
            for sign in (1.0, -1.0):
                chosen = xp.nonzero(sign * weights[rows] > 0.0)[0]
                if not chosen.shape[0]:
                    continue
                w = weights[rows][chosen]
                if self._samples is not None:
                    self._samples.add(X[rows][chosen], w)
                # A product of a matrix with itself takes half the work: hence one sign at a time.
                root = xp.sqrt(sign * w)[:, None]
                x = X[rows][chosen]
                scaled = x * root
                if self._samples is None:
                    self._core += sign * (scaled.T @ scaled)
                    self._first += w @ x
                    self._weight += float(xp.sum(w))
                own = xp.sum(x * x, axis=1) + 1.0
                reach = xp.sqrt(own)
                if mean is not None:
                    m = mean[rows][chosen]
                    self._cross += sign * (scaled.T @ (m * root))
                    self._inner += (m * w[:, None]).T @ m
                    self._shift += w @ m
                    square = xp.sum((m @ self._gram) * m, axis=1)
                    if variance is not None:
                        v = variance[rows][chosen]
                        diagonal = w @ v
                        self._inner += xp.eye(diagonal.shape[0], dtype=v.dtype, device=device(v)) * diagonal
                        square = square + v @ xp.linalg.diagonal(self._gram)
                    reach = reach + xp.sqrt(square)
                size = reach * reach if self._samples is None else reach * reach - own
                self._mass += sign * float(w @ size)

    def parts(self) -> AnyArray:
        """All sums in one vector, so that several processes can add theirs up."""
        xp = self._xp
        numbers = xp.asarray([self._weight, self._mass], dtype=self._core.dtype, device=device(self._core))
        pieces = (self._core, self._cross, self._inner, self._first, self._shift, numbers)
        return xp.concat([xp.reshape(piece, (-1,)) for piece in pieces])

    def set_parts(self, parts: AnyArray) -> None:
        """Take sums over from a vector like that of `parts`."""
        xp, start = self._xp, 0
        for name in ("_core", "_cross", "_inner", "_first", "_shift"):
            shape = getattr(self, name).shape
            size = int(np.prod(shape))
            setattr(self, name, xp.reshape(parts[start : start + size], tuple(shape)))
            start += size
        self._weight, self._mass = float(parts[start]), float(parts[start + 1])

    @property
    def mass(self) -> float:
        """The size of what was summed in working precision.

        ``sum_i |w_i| r_i^2``, r_i the length of ``[x_i; 1]`` and of the attack; of precise sums the part with an
        attack, and the sums.
        """
        return self._mass + (0.0 if self._samples is None else self._samples.mass)

    @property
    def error(self) -> float:
        """What precise sums lack at most, in the Frobenius norm."""
        return 0.0 if self._samples is None else self._samples.error

    def matrix(self) -> Array:
        """S, shape (d + 1, d + 1), as a NumPy array."""
        d = self._core.shape[0]
        side = self._cross @ self.basis.T
        top = self._core + side + side.T + self.basis @ self._inner @ self.basis.T
        right = self._first + self.basis @ self._shift
        S = np.empty((d + 1, d + 1))
        S[:d, :d], S[:d, d], S[d, d] = _numpy(top), _numpy(right), self._weight
        S[d, :d] = S[:d, d]
        return S if self._samples is None else S + _numpy(self._samples.matrix())


def _numpy(array: AnyArray) -> Array:
    return np.asarray(array if isinstance(array, np.ndarray) else array.cpu().numpy())
