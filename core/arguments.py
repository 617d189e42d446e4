"""Numbers, words, paths and functions as callers pass them: whoever takes one asks here, so that all refuse the same.

Tables and labels are read by `cvxrobust.core.validation`.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.strangers import shown

MOST = 2**63
"""Whole numbers are below: larger ones count nothing that fits into a machine."""


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
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or not least <= value < MOST:
        below = ", below 2^63" if isinstance(value, int) and value >= MOST else ""
        raise InputError(f"{name} is {shown(value)}; expected a whole number of {least} or more{below}{otherwise}.")
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
    try:
        found = float(value) if real else math.nan  # type: ignore[arg-type]
    except OverflowError:  # a whole number of hundreds of digits
        found = math.inf
    if not math.isfinite(found) or not fits(found):
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


def no_flag(value: Any, name: str, expected: str) -> Any:
    """What is to be read as numbers, unless it is True or False, which NumPy would read as 1 and 0.

    Raises:
        InputError: It is one of these.
    """
    if isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {shown(value)}; expected {expected}.")
    return value


def listener(value: object, name: str, hears: str, count: int = 1) -> None:
    """Refuse what cannot be called with what there is to hear.

    Args:
        value: What was passed; None for nobody.
        name: What messages call it.
        hears: With what it would be called, for messages.
        count: How many arguments these are.

    Raises:
        InputError: It is neither None nor can be called so.
    """
    if value is not None:
        function(value, name, hears, count, ", or None")


def function(value: object, name: str, takes: str, count: int = 1, otherwise: str = "") -> None:
    """Refuse what cannot be called with as many arguments as there will be.

    Args:
        value: What was passed.
        name: What messages call it.
        takes: With what it is called, for messages.
        count: How many arguments these are.
        otherwise: What else would have done, for messages, e.g. ``", or None"``.

    Raises:
        InputError: It cannot.
    """
    if not callable(value):
        raise InputError(f"{name} is {shown(value)}; expected a function of {takes}{otherwise}.")
    try:
        given = signature(value)
    except (TypeError, ValueError):  # functions in C may not say what they take
        return
    try:
        given.bind(*[None] * count)
    except TypeError as error:
        raise InputError(
            f"{name} is {shown(value)}, which takes ({', '.join(map(str, given.parameters))}); expected a function of "
            f"{takes}{otherwise}."
        ) from error


def word(value: object, kind: str, known: Iterable[str], hint: str = "") -> str:
    """One of some words.

    Args:
        value: What was passed.
        kind: What the word is meant to name, for messages.
        known: Those that would do.
        hint: What else could be done about it.

    Raises:
        UnknownNameError: It is none of them.
    """
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise UnknownNameError(kind, value, known, hint)
    return value


def changed(old: Any, changes: Mapping[str, Any]) -> Any:
    """The same dataclass with some fields changed.

    Raises:
        UnknownNameError: It has no field of such a name.
    """
    for name in changes:
        word(name, f"field of {type(old).__name__}", (one.name for one in fields(old) if one.init))
    return replace(old, **changes)


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
