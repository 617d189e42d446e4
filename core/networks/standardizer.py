"""Standardisation of inputs, kept with the network so that attack radii have a stated unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Standardizer:
    """``(X - mean) / scale``, feature by feature; the radius of an attack is then in standard deviations.

    Args:
        mean: Means of the training rows, shape (d,), in the data's units.
        scale: Population standard deviations of the training rows, shape (d,); 1 for constant columns.
        names: Feature names, or empty.
    """

    mean: Array
    scale: Array
    names: tuple[str, ...] = ()

    @classmethod
    def fit(cls, X: ArrayLike, names: Sequence[str] | None = None) -> "Standardizer":
        """Mean and population standard deviation of the rows of X, shape (n, d)."""
        rows = np.asarray(X, dtype=np.float64)
        scale = rows.std(axis=0)
        # A constant column's deviation is rounding noise, not a scale.
        constant = scale <= 1e-12 * np.abs(rows).max(axis=0, initial=0.0)
        return cls(rows.mean(axis=0), np.where(constant | (scale == 0.0), 1.0, scale), tuple(names or ()))

    def transform(self, X: ArrayLike) -> Array:
        """Standardised copy of X, shape (n, d).

        Raises:
            InputError: The number of columns differs from the training data's.
        """
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.mean.size:
            raise InputError(
                f"X has shape {rows.shape}, but the standardisation was fitted on {self.mean.size} columns."
            )
        return np.asarray((rows - self.mean) / self.scale)
