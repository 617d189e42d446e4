"""Numbers, flags, paths and functions as callers pass them: whoever takes one asks here, so that all refuse the same.

Tables and labels are read by `cvxrobust.core.validation`.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown


def whole(value: object, name: str, least: int, *, otherwise: str = "") -> int:
    """A whole number.

    Args:
        value: What was passed.
        name: What messages call it.
        least: The smallest that will do.
        otherwise: What else would have done, for messages, e.g. ``", or None"``.

    Raises:
        InputError: It is none, or smaller.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} is {shown(value)}; expected a whole number of {least} or more{otherwise}.")
    return int(value)


def number(value: object, name: str, expected: str, fits: Callable[[float], bool]) -> float:
    """A finite real number.

    Args:
        value: What was passed.
        name: What messages call it.
        expected: Which numbers will do, for messages.
        fits: Whether a finite number does.

    Raises:
        InputError: It is none, or not one of those.
    """
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not math.isfinite(found := float(value)) or not fits(found):  # type: ignore[arg-type]
        raise InputError(f"{name} is {shown(value)}; expected {expected}.")
    return found


def flag(value: object, name: str) -> bool:
    """True or False.

    Raises:
        InputError: It is neither.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {shown(value)}; expected True or False.")
    return bool(value)


def place(value: object, name: str, what: str = "a file") -> Path:
    """Where a file or folder is, or is to go.

    Args:
        value: What was passed.
        name: What messages call it.
        what: What lies there, for messages.

    Raises:
        InputError: It is no path.
    """
    if isinstance(value, str | os.PathLike):
        found = os.fspath(value)
        if isinstance(found, str) and found and "\0" not in found:
            return Path(found)
    raise InputError(f"{name} is {shown(value)}; expected the path of {what}, as text or a pathlib.Path.")


def listener(value: object, name: str, hears: str) -> None:
    """Refuse what cannot be called.

    Args:
        value: What was passed; None for nobody.
        name: What messages call it.
        hears: With what it would be called, for messages.

    Raises:
        InputError: It is neither None nor can be called.
    """
    if value is not None and not callable(value):
        raise InputError(f"{name} is {shown(value)}; expected a function of {hears}, or None.")


def instance(value: Any, name: str, kind: Any, expected: str) -> Any:
    """An object of a class.

    Args:
        value: What was passed.
        name: What messages call it.
        kind: The class, abstract or not.
        expected: What will do, for messages.

    Raises:
        InputError: It is of another.
    """
    if not isinstance(value, kind):
        raise InputError(f"{name} is {shown(value)}; expected {expected}.")
    return value
