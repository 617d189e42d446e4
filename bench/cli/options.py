"""Values on the command line that typer has no type for."""

import csv
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from cvxrobust.core.errors import InputError

_WORDS = {"true": True, "false": False, "none": None}


def spread_values(arguments: Sequence[str], flag: str) -> list[str]:
    """``--radius 0.1 0.3`` as ``--radius 0.1 --radius 0.3``.

    Only what looks like numbers (or a list of them with commas) follows the flag, so the next option or
    argument is left alone.
    """
    spread: list[str] = []
    more = False
    for argument in arguments:
        waiting = spread[-1:] == [flag]
        if more and not waiting and _is_numeric(argument):
            spread.append(flag)
        elif argument == flag or argument.startswith(f"{flag}="):
            more = True
        elif not waiting:
            more = False
        spread.append(argument)
    return spread


def name_optional_values(arguments: Sequence[str], flag: str, default: str) -> list[str]:
    """``--polish`` as ``--polish=auto``, where the next argument is another option or there is none."""
    named: list[str] = []
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue="-"):
        alone = argument == flag and following.startswith("-")
        named.append(f"{flag}={default}" if alone else argument)
    return named


def parse_class_weight(values: Sequence[str] | None) -> str | dict[str, float] | None:
    """``balanced``, or a number by label from values such as ``yes=2``.

    Raises:
        InputError: A value is neither, or a label comes twice.
    """
    if not values or list(values) == ["balanced"]:
        return "balanced" if values else None
    found: dict[str, float] = {}
    for value in values:
        label, _, number = value.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not label or not 0.0 <= weight < float("inf"):
            raise InputError(f"--class-weight got {value!r}; expected balanced, or LABEL=NUMBER such as yes=2.")
        if label in found:
            raise InputError(f"--class-weight names {label!r} twice; give each label one weight.")
        found[label] = weight
    return found


def parse_names(values: Sequence[str] | None) -> list[str] | None:
    """Names of columns from repeated values, each a name or a list of them with commas; one with a comma in quotes.

    Raises:
        InputError: There is no name among them.
    """
    if not values:
        return None
    names = [name.strip() for row in csv.reader(values, skipinitialspace=True) for name in row if name.strip()]
    if not names:
        raise InputError("--immutable got no name; expected names of columns, for example --immutable age,sex.")
    return list(dict.fromkeys(names))


def parse_feature_radii(values: Sequence[str] | None) -> dict[str, float] | None:
    """A radius by name of a column from values such as ``bmi=0.5``.

    Raises:
        InputError: A value is none, or a name comes twice.
    """
    found: dict[str, float] = {}
    for value in values or ():
        name, _, number = value.rpartition("=")
        try:
            radius = float(number)
        except ValueError:
            radius = -1.0
        if not name.strip() or not 0.0 < radius < float("inf"):
            raise InputError(
                f"--feature-radius got {value!r}; expected NAME=NUMBER such as bmi=0.5, in units of the data and above "
                "0 (--immutable names columns that attacks cannot touch)."
            )
        if name.strip() in found:
            raise InputError(f"--feature-radius names {name.strip()!r} twice; give each column one radius.")
        found[name.strip()] = radius
    return found or None


def _is_numeric(text: str) -> bool:
    try:
        [float(part) for part in text.split(",") if part]
    except ValueError:
        return False
    return bool(text.strip(","))


def parse_shape(text: str | None) -> tuple[int, ...]:
    """The shape of one input, from numbers with commas; () for none.

    Raises:
        InputError: A number is none, or not above 0.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--input-shape got {text!r}; expected whole numbers above 0, for example 3,32,32.")
    return tuple(int(part) for part in parts)


def parse_radii(values: Sequence[str]) -> tuple[float, ...]:
    """Radii from repeated values, each a number or a list of them with commas.

    Raises:
        InputError: One is not a number.
    """
    radii = []
    for part in (part for value in values for part in value.split(",") if part.strip()):
        try:
            radii.append(float(part))
        except ValueError as error:
            raise InputError(f"--radius got {part!r}; expected numbers, for example --radius 0.1 0.3 0.5.") from error
    if not radii:
        raise InputError("--radius got no number; expected at least one, for example --radius 0.3.")
    return tuple(radii)


def parse_values(text: str, flag: str, *, geometric: bool) -> list[float]:
    """Numbers from a list with commas, or from ``FROM:TO:COUNT``.

    Args:
        text: What followed the flag.
        flag: The flag, for messages.
        geometric: Whether those between two have equal ratios, instead of differences.

    Raises:
        InputError: It is neither.
    """
    expected = f"{flag} got {text!r}; expected numbers with commas, or FROM:TO:COUNT such as "
    expected += "0.3:0.001:10, both above 0." if geometric else "0:0.5:6."
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        first, last, count = text.split(":")
        if geometric and min(float(first), float(last)) <= 0.0:
            raise InputError(expected)
        spread = np.geomspace if geometric else np.linspace
        if int(count) < 1:
            raise InputError(expected)
        found: list[float] = spread(float(first), float(last), int(count)).tolist()
    except ValueError as error:
        raise InputError(expected) from error
    return found


def parse_options(values: Sequence[str], flag: str = "--option") -> dict[str, Any]:
    """Named values from ``NAME=VALUE``: whole numbers, numbers, true, false and none are read as such.

    Args:
        values: What followed the flag, each time.
        flag: The flag, for messages.

    Raises:
        InputError: There is no name or no equals sign, or a name comes twice.
    """
    options: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{flag} got {value!r}; expected NAME=VALUE, for example {flag} max_step_fraction=0.9.")
        if name.strip() in options:
            raise InputError(f"{flag} {name.strip()!r} is given twice; give it once.")
        options[name.strip()] = _parse_value(text.strip())
    return options


def _parse_value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
