"""The network of a point of the path as a quadratic, and its smoothed worst cases."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.backends.torch.polynomial.attacks import offset_of, smoothed_attacks, varying_coordinates
from cvxrobust.core import AttackBall, PolynomialProgram

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BlockAttacks:
    """Smoothed worst cases of a block of b samples, in units of the radius and along the axes of a `Quadric`.

    Args:
        change: What they do to the margins, shape (b,).
        against: Means, negated, shape (b, q).
        variance: Shape (b, q).
        shift: Roots, to start from next time, shape (b,).
        gaps: ``w_k + lam``, the curvatures that the attacks see, shape (b, q).
        free: Where lam is above its floor of 0, bool, shape (b,).
    """

    change: Array
    against: Array
    variance: Array
    shift: Array
    gaps: Array
    free: NDArray[np.bool_]


class Quadric:
    """``f(x) = x'(a T_11)x + b T_12'x + c T_22`` for T in white inputs.

    Args:
        T: Shape (d + 1, d + 1), for inputs ``X W``.
        white: W, shape (d, d).
        activation: (a, b, c).
        attack: The attacks, in q coordinates.

    Attributes:
        values: Eigenvalues of what attacks see of ``a T_11`` in the inputs' own units, ascending, shape (q,).
        axes: Eigenvectors, shape (q, q).
        white: What white inputs see of attacks along these, in columns, shape (d, q).
        offset: Of the attacks' smoothing.
    """

    def __init__(self, T: Array, white: Array, activation: tuple[float, float, float], attack: AttackBall) -> None:
        a, b, _ = activation
        d = white.shape[0]
        T11 = white @ T[:d, :d] @ white.T
        P = 0.5 * a * (T11 + T11.T)
        self.values, self.axes = np.linalg.eigh(attack.seen(P))
        columns = attack.spanned(self.axes)
        self.white = white.T @ columns
        self._linear = 0.5 * b * (T[:d, d] @ self.white)
        # Of a ball these are the axes times the eigenvalues: two small products lose less than one with P.
        self._curved, self.offset = P @ columns if attack.own_axes else None, offset_of(attack)

    def _half(self, X: Array) -> Array:
        """Half gradients as attacks see them, shape (b, q)."""
        curved = X @ self._curved if self._curved is not None else (X @ self.axes) * self.values
        return np.asarray(curved + self._linear)

    def attack(
        self,
        X: Array,
        sides: Array,
        radius: Array,
        smoothing: float,
        guess: Array | None = None,
        *,
        solved: bool = False,
    ) -> BlockAttacks:
        """The smoothed worst cases of a block.

        Args:
            X: Shape (b, d).
            sides: Labels, shape (b,).
            radius: Shape (b,), not all 0.
            smoothing: nu of `smoothed_attacks`.
            guess: Roots of a similar problem, shape (b,).
            solved: Whether these are the roots themselves.
        """
        scale = sides * radius * radius
        some = np.abs(scale[scale != 0.0])
        reach = (float(scale.min()), float(scale.max()), float(some.min(initial=np.inf)))
        values = torch.from_numpy(self.values)
        varying = varying_coordinates(values, reach if some.size else (0.0, 0.0, 0.0), smoothing)
        half = ((sides * radius)[:, None] * self._half(X)).T
        arguments = torch.from_numpy(scale), values, torch.from_numpy(np.ascontiguousarray(half)).T, smoothing, varying
        known = None if guess is None else torch.from_numpy(guess)
        found = smoothed_attacks(*arguments, known, self.offset, solved=solved)
        variance = np.zeros(half.shape[::-1])
        variance[:, varying.numpy()] = found.variance.numpy()
        shift = found.shift.numpy()
        lowest = np.minimum(scale * self.values[0], scale * self.values[-1])
        return BlockAttacks(
            np.where(radius == 0.0, 0.0, found.change.numpy()),
            found.against.numpy(),
            variance,
            shift,
            scale[:, None] * self.values + (shift - lowest)[:, None],
            (radius > 0.0) & (shift - lowest > 1e-12 * np.maximum(1.0, np.abs(lowest))),
        )


@dataclass(frozen=True)
class PathMultipliers:
    """Multipliers of a point of the path, whose attacks are computed again where they are asked for.

    See `cvxrobust.core.programs.polynomial.moments.AttackMultipliers`.

    Args:
        program: What they belong to.
        task: Column of the labels.
        theta: Shape (n,).
        quadric: The network that is attacked.
        smoothing: Of the attacks.
        shift: Their roots, shape (n,): multipliers balance these very attacks, to the last digit. None where nobody
            knows them yet.
    """

    program: PolynomialProgram
    task: int
    theta: Array
    quadric: Quadric
    smoothing: float
    shift: Array | None

    @property
    def basis(self) -> Array:
        """Shape (q, q)."""
        return self.quadric.axes

    def attacks(self, rows: slice, X: Array) -> tuple[Array, Array | None]:
        """Means and variances of the attacks' coordinates in a block of samples."""
        radius = self.program.attack.radius[rows]
        if not (radius > 0.0).any():
            return np.zeros((X.shape[0], self.quadric.values.size)), None
        sides, shift = self.program.labels[rows, self.task], None if self.shift is None else self.shift[rows]
        found = self.quadric.attack(X, sides, radius, self.smoothing, shift, solved=shift is not None)
        return -radius[:, None] * found.against, (radius * radius)[:, None] * found.variance
