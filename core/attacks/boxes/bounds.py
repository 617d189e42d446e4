"""Bounds of margins in boxes, with the relaxed attacks that go with them: factors first, then interior points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.boxes.factors import Shape, bounded, multipliers_of, proved, raised, starts, swept
from cvxrobust.core.attacks.boxes.margins import BoxMargins
from cvxrobust.core.attacks.boxes.shor import shor_bounds

Array = NDArray[np.float64]
Index = NDArray[np.intp]
EPS = float(np.finfo(np.float64).eps)

COLUMNS = 3
"""Of factors at first."""

SWEEPS = 12
"""Before it is asked which samples are beyond interest."""

ROUNDS = ((3, 24), (8, 36), (16, 60)), ((8, 12), (8, 24), (12, 24))
"""Columns of factors, and sweeps with them, one after the other where bounds are not yet near the relaxation: up to
`INTERIOR` coordinates, and beyond."""

INTERIOR = 128
"""Coordinates up to which interior points finish what factors leave: beyond they take seconds for a few samples."""

COARSE = 5e-4
"""How near bounds shall come beyond, in units of the margin: closer ones take eigenvalues, or ever more sweeps."""

WIDEST, LARGE = 24, 2**26
"""Columns of factors that are kept of moments where all of them were more entries than that."""

ASTRAY = 17
"""Seed of what keeps the columns of factors apart: bounds hold whatever it is."""


@dataclass(frozen=True)
class BoxBounds:
    """What is known of margins in boxes.

    Args:
        lower: Rigorous bounds of the margins, shape (n,).
        factors: Of the relaxed attacks, in units of the widths, the constant last, shape (n, q + 1, p).
    """

    lower: Array
    factors: Array


def box_bounds(margins: BoxMargins, *, tolerance: float = 1e-8, enough: float | None = None) -> BoxBounds:
    """Bounds of all margins, near the values of the relaxation.

    Args:
        margins: Of n samples.
        tolerance: How near, relative to what boxes can change; with more than `INTERIOR` coordinates `COARSE` instead.
        enough: A margin beyond which nobody asks for more; None for never.
    """
    if margins.size == 0:
        return BoxBounds(margins.values, np.ones((margins.values.size, 1, 1)))
    found = _Found(np.full(margins.values.size, -np.inf), [])
    shape, rng = Shape.of(margins.P), np.random.default_rng(ASTRAY)
    if shape.values.size == 0:
        return _straight(margins)
    left, V = np.arange(margins.values.size), starts(margins, min(COLUMNS, margins.size + 1), rng)
    own = margins
    relaxed = swept(own, V, SWEEPS, shape)
    if enough is not None:
        # What no relaxation puts above is not asked.
        done = relaxed > enough
        done[done] = proved(own.rows(done), multipliers_of(own.rows(done), V[done], shape), enough)
        found.keep(left[done], V[done], np.nextafter(enough, np.inf))
        left, V, own = left[~done], V[~done], own.rows(~done)
    large = margins.size > INTERIOR
    near, rounds = tolerance * _reach(own), ROUNDS[large]
    for k, (columns, sweeps) in enumerate(rounds, start=1):
        if not left.size:
            break
        if columns > V.shape[2] and margins.size >= columns:
            V = raised(V, columns, rng)
        relaxed, last = swept(own, V, sweeps, shape), large and k == len(rounds)
        coarse = np.full(left.size, 0.5 * COARSE) if large and not last else None
        lower = bounded(own, multipliers_of(own, V, shape), coarse)
        done = (relaxed - lower <= (COARSE if large else near)) | last
        found.keep(left[done], V[done], lower[done])
        left, V, own, near = left[~done], V[~done], own.rows(~done), near[~done]
    if left.size:
        interior = shor_bounds(own, tolerance=tolerance, moments=True)
        assert interior.moments is not None
        found.keep_moments(left, interior.moments, interior.lower)
    return found.together(margins.size)


def _straight(margins: BoxMargins) -> BoxBounds:
    """Of what does not bend at all: an attack in a corner."""
    corners = -np.where(margins.half < 0.0, -1.0, 1.0)
    factors = np.ones((corners.shape[0], margins.size + 1, 1))
    factors[:, :-1, 0] = corners
    lost = 2.0 * np.abs(margins.half).sum(axis=1)
    rounding = 4.0 * EPS * (margins.size * lost + np.abs(margins.values))
    return BoxBounds(margins.values - lost - rounding, factors)


def _reach(margins: BoxMargins) -> Array:
    """What boxes can change, about, shape (n,)."""
    widths = np.abs(margins.widths)
    bent = (widths @ np.abs(margins.P)) * widths
    return np.asarray((np.abs(margins.half) + bent).max(axis=1))


@dataclass(frozen=True)
class _Found:
    """Bounds and factors of samples that are done.

    Args:
        lower: Shape (n,); -inf of those that are not.
        parts: Samples, and their factors, constants included.
    """

    lower: Array
    parts: list[tuple[Index, Array]]

    def keep(self, rows: Index, V: Array, lower: Array | float) -> None:
        """Factors without their constants."""
        factors = np.zeros((rows.size, V.shape[1] + 1, V.shape[2]))
        factors[:, :-1], factors[:, -1, 0] = V, 1.0
        self.lower[rows] = lower
        self.parts.append((rows, factors))

    def keep_moments(self, rows: Index, moments: Array, lower: Array) -> None:
        """Moments, of which no more than `WIDEST` columns are kept where there are many samples."""
        m = moments.shape[1]
        self.lower[rows] = lower
        if self.lower.size * m * m <= LARGE or m <= WIDEST:
            self.parts.append((rows, np.asarray(np.linalg.cholesky(moments), dtype=np.float64)))
            return
        # What is dropped leaves moments of an attack, once constants are 1 again.
        mean, spread = moments[:, :-1, -1], moments[:, :-1, :-1]
        values, vectors = np.linalg.eigh(spread - mean[:, :, None] * mean[:, None, :])
        columns = vectors[:, :, 1 - WIDEST :] * np.sqrt(np.maximum(values[:, None, 1 - WIDEST :], 0.0))
        self.keep(rows, np.concatenate([mean[:, :, None], columns], axis=2), lower)

    def together(self, size: int) -> BoxBounds:
        """All of them, of boxes of so many coordinates."""
        widest = max((factors.shape[2] for _, factors in self.parts), default=1)
        found = np.zeros((self.lower.size, size + 1, widest))
        for rows, factors in self.parts:
            found[rows, :, : factors.shape[2]] = factors
        return BoxBounds(self.lower, found)
