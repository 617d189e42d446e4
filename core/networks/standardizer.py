"""Standardisation of inputs, kept with the network so that attack radii have a stated unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown
from cvxrobust.core.summary import Summarised, Summary, counted
from cvxrobust.core.validation import as_numbers, check_finite, checked_rows
from cvxrobust.core.weights import checked_sample_weight

Array = NDArray[np.float64]

ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
"""Deviations up to so much of a column's largest number are what rounding leaves of one value computed in several ways.

Whole numbers are not rounded: theirs are always steps.
"""

SMALLEST = float(np.finfo(np.float64).tiny)
"""Below this deviation numbers lose their digits."""


@dataclass(frozen=True, repr=False)
class Standardizer(Summarised):
    """``(X - mean) / scale``, feature by feature; the radius of an attack is then in standard deviations.

    Args:
        mean: Means of the training rows, shape (d,), in the data's units.
        scale: Population standard deviations of the training rows, shape (d,); 1 for constant columns.
        names: Feature names, or empty.

    Raises:
        InputError: Means and scales are not as many finite numbers, a scale is not above 0, or names are not as many
            texts.
    """

    mean: Array
    scale: Array
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("mean", "scale"):
            given = as_numbers(getattr(self, name), name, "expected one number for each column")
            if given.ndim != 1:
                raise InputError(f"{name} has shape {given.shape}; expected (d,), one number for each column.")
            object.__setattr__(self, name, given)
        if self.mean.shape != self.scale.shape:
            raise InputError(f"mean has {self.mean.size} numbers and scale {self.scale.size}; expected equally many.")
        object.__setattr__(self, "names", _checked_names(self.names, self.mean.size))
        if not np.isfinite(self.mean).all():
            column = int(np.argmin(np.isfinite(self.mean)))
            raise InputError(f"mean holds {self.mean[column]} at column {column}; expected finite numbers.")
        if not ((self.scale > 0.0) & np.isfinite(self.scale)).all():
            column = int(np.argmin((self.scale > 0.0) & np.isfinite(self.scale)))
            raise InputError(
                f"scale holds {self.scale[column]:g} at column {column}; expected finite numbers above 0, 1 for "
                "columns that hold one value."
            )

    def _summary(self) -> Summary:
        count, names = int(self.mean.size), ", ".join(self.names)
        title = f"Standardizer: (x - mean) / scale of {counted(count, 'input')}"
        records = tuple(
            (self.names[k] if k < len(self.names) else f"{k}", f"{mean:.6g}", f"{scale:.6g}")
            for k, (mean, scale) in enumerate(zip(self.mean.tolist(), self.scale.tolist(), strict=True))
        )
        return Summary(title, (names,), (), ("input", "mean", "scale"), records)

    @classmethod
    def fit(cls, X: ArrayLike, names: Sequence[str] | None = None, weights: ArrayLike | None = None) -> "Standardizer":
        """Mean and population standard deviation of the rows of X, shape (n, d), whatever its layout in memory.

        Deviations are taken from the first row, so that the size of the mean costs no digits, and in units of their
        size, so that no square leaves the range of float64. Columns that `constant_columns` finds keep
        scale 1. With weights of the rows, 0 or more, shape (n,), a row of weight 2 counts as if it came twice.

        Raises:
            InputError: X is no finite table of numbers with a row, or a column's numbers spread too far or too little
                for float64.
        """
        rows, counted = _rows(X), None
        if weights is not None:
            given = checked_sample_weight(weights, rows.shape[0], "weights")
            rows, counted = rows[given > 0.0], given[given > 0.0]
        named = _checked_names(() if names is None else names, rows.shape[1])
        centre, scale = _deviations(rows, counted)
        bad = ~np.isfinite(scale) | ((scale < SMALLEST) & (scale > 0.0))
        if bad.any():
            column = int(np.argmax(bad))
            raise InputError(
                f"column {_name(column, named)} of X holds numbers from {rows[:, column].min():.3g} to "
                f"{rows[:, column].max():.3g}, whose spread float64 cannot hold; divide the column by its size."
            )
        return cls(rows[0] + centre, np.where(_is_constant(rows, scale), 1.0, scale), named)

    def transform(self, X: ArrayLike) -> Array:
        """Standardised copy of X, shape (n, d), row by row in memory.

        Raises:
            InputError: X is no finite table of numbers, the number of columns differs from the training data's, or
                numbers are so large that the result is not finite.
        """
        rows = checked_rows(X, self.mean.size, f"the standardisation was fitted on {self.mean.size} columns, expected")
        with np.errstate(over="ignore"):
            standardised = np.asarray((rows - self.mean) / self.scale)
        bad = ~np.isfinite(standardised)
        if bad.any():
            row, column = (int(k) for k in np.argwhere(bad)[0])
            raise InputError(
                f"X holds {rows[row, column]:.3g} at row {row}, column {_name(column, self.names)}, more standard "
                "deviations from the mean than float64 can hold; check the units of that column."
            )
        return standardised


def constant_columns(X: ArrayLike) -> NDArray[np.intp]:
    """Columns that carry nothing: one value in all rows, up to what rounding makes of it.

    Args:
        X: Shape (n, d).

    Raises:
        InputError: X is no finite table of numbers with a row.
    """
    rows = _rows(X)
    return np.flatnonzero(_is_constant(rows, _deviations(rows)[1]))


def _rows(X: ArrayLike) -> Array:
    rows = as_numbers(X, "X")
    if rows.ndim != 2 or not rows.size:
        raise InputError(f"X has shape {rows.shape}; expected (n, d) with at least one row and one column.")
    check_finite(rows, "X", "drop or impute missing values first")
    return rows


def _deviations(rows: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """By how much the mean differs from the first row, and the standard deviations; inf where they overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        shifted = rows - rows[0]
        largest = np.abs(shifted).max(axis=0)
        # A power of two, so that nothing is rounded.
        unit = np.where(largest > 0.0, np.ldexp(1.0, np.frexp(largest)[1] - 1), 1.0)
        shares = shifted / unit
        centre = np.average(shares, axis=0, weights=weights)
        scale = unit * np.sqrt(np.average((shares - centre) ** 2, axis=0, weights=weights))
        scale = np.where((scale == 0.0) & shifted.any(axis=0), unit, scale)  # the smallest number there is
        return unit * centre, np.where(np.isfinite(largest), scale, np.inf)


def _is_constant(rows: Array, scale: Array) -> NDArray[np.bool_]:
    noise = scale <= ROUNDING * np.abs(rows).max(axis=0)
    # Looked at only where it decides: most columns are far from constant.
    for column in np.flatnonzero(noise & (scale > 0.0)):
        noise[column] = not bool((rows[:, column] == np.round(rows[:, column])).all())
    return np.asarray(noise)


def _checked_names(names: Any, width: int) -> tuple[str, ...]:
    """Names of as many columns, or none.

    Raises:
        InputError: They are something else.
    """
    if isinstance(names, str) or not isinstance(names, Sequence | np.ndarray) or getattr(names, "shape", None) == ():
        raise InputError(f"names is {shown(names)}; expected a name for each of {width} columns, or none.")
    if not all(isinstance(name, str) for name in names) or len(names) not in (0, width):
        raise InputError(f"names are {shown(names)}; expected a text for each of {width} columns, or none.")
    return tuple(names)


def _name(column: int, names: Sequence[str]) -> str:
    return repr(names[column]) if column < len(names) else str(column)
