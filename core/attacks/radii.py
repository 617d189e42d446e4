"""Radii that answers are asked at, as callers pass them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import no_flag
from cvxrobust.core.errors import InputError
from cvxrobust.core.validation import as_numbers

EXPECTED = "finite values of 0 or more"


def asked_radii(radii: ArrayLike, *, least: int = 0) -> NDArray[np.float64]:
    """Radii, shape (k,); a single one may be a plain number.

    Args:
        radii: What was passed.
        least: How many there have to be.

    Raises:
        InputError: One is negative or not finite, there are fewer, or they are no list.
    """
    asked = np.atleast_1d(as_numbers(no_flag(radii, "radii", EXPECTED), "radii", f"expected {EXPECTED}"))
    if asked.ndim > 1:
        raise InputError(f"radii has shape {asked.shape}; expected a list of {EXPECTED}, shape (k,).")
    wrong = asked[~(np.isfinite(asked) & (asked >= 0.0))]
    if wrong.size:
        raise InputError(f"radii hold {wrong[0]:g}; expected {EXPECTED}.")
    if asked.size < least:
        raise InputError(f"radii are {asked.tolist()}; expected {EXPECTED}, at least one.")
    return asked
