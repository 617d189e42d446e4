"""The range that inputs stay in, and what becomes of rows outside of it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers, frozen

Array = NDArray[np.float64]

OUTSIDE = ("refuse", "clip")
"""What may become of rows outside of their range."""


def checked_range(bounds: tuple[ArrayLike, ArrayLike] | None, d: int) -> tuple[Array | None, Array | None]:
    """The least and the largest values of inputs, shapes (d,); None where there is no range.

    Raises:
        InputError: They are no pair of numbers or of one number per column, or the range is empty.
    """
    if bounds is None:
        return None, None
    expected = f"expected a pair of numbers, or of one number per column, shape ({d},)"
    try:
        low, high = (as_numbers(value, "bounds", expected) for value in bounds)
    except (TypeError, ValueError) as error:
        raise InputError(f"bounds is {shown(bounds)}; {expected}.") from error
    for found in (low, high):
        if found.shape not in ((), (d,)) or np.isnan(found).any():
            raise InputError(f"bounds hold shape {found.shape}; {expected}, none of them NaN.")
    low, high = np.broadcast_to(low, (d,)), np.broadcast_to(high, (d,))
    if not (low <= high).all():
        column = int(np.argmin(low <= high))
        raise InputError(
            f"bounds are empty at column {column}: from {low[column]:g} to {high[column]:g}; give the least "
            "value before the largest."
        )
    return frozen(low.copy()), frozen(high.copy())


def within_range(X: Array, low: Array | None, high: Array | None, outside: str) -> Array:
    """The rows, or the nearest in the range, shape (n, d).

    Raises:
        InputError: Some lie outside, and that is to be refused; or what becomes of them is not said.
    """
    if not isinstance(outside, str) or outside not in OUTSIDE:
        raise InputError(f"outside is {shown(outside)}; expected one of {', '.join(map(repr, OUTSIDE))}.")
    if low is None or high is None:
        return X
    away = ((low > X) | (high < X)).any(axis=1)
    if not away.any():
        return X
    if outside == OUTSIDE[0]:
        raise InputError(
            f"{int(away.sum())} of {X.shape[0]} rows of X, the first of them row {int(away.argmax())}, lie outside of "
            "bounds; give the range that inputs really have, or outside='clip'."
        )
    return np.asarray(np.clip(X, low, high))
