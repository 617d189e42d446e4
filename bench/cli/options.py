"""Values on the command line that typer has no type for."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from cvxrobust.core.errors import InputError

if TYPE_CHECKING:
    from cvxrobust.bench.data.csv_files import CsvFormat

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


def _is_numeric(text: str) -> bool:
    try:
        [float(part) for part in text.split(",") if part]
    except ValueError:
        return False
    return bool(text.strip(","))


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


def given_parameters(norm: str | None, **values: Any) -> dict[str, Any]:
    """The parameters of a problem that the command line gives, by the problem's own names.

    Args:
        norm: Norm of the attacks as typed, None where it is not.
        **values: The others, None where they are not given.

    Raises:
        InputError: There is no such norm.
    """
    from cvxrobust.core.attacks.norms import check_norm

    found = {"norm": None if norm is None else check_norm(norm), **values}
    return {name: value for name, value in found.items() if value is not None}


def csv_format(
    separator: str, decimal: str, missing: Sequence[str] | None, drop_incomplete: bool
) -> "CsvFormat | None":
    """How a CSV file is to be read, None if nothing is said about it.

    Raises:
        InputError: A sign is none.
    """
    from cvxrobust.bench.data.csv_files import CsvFormat

    form = CsvFormat(separator, decimal, tuple(missing) if missing else None, drop_incomplete)
    return None if form == CsvFormat() else form


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
