"""What is wrong with a command line that cannot be parsed: what it was, what was expected, where to look.

The parser's exceptions are known by their names and attributes alone: it is Typer's own in newer versions, Click's in
older ones.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any


def usage_message(error: Any, given: Sequence[str]) -> str:
    """A sentence for an exception of the parser's.

    Args:
        error: The exception.
        given: What was typed after the program's name.
    """
    context = getattr(error, "ctx", None)
    told = _WORDS.get(type(error).__name__, _other)(error, list(given))
    told = told.rstrip(".")
    return f"{told}{' See' if told.endswith('?') else '; see'} `{_command(context, given)} --help`."


def _missing(error: Any, given: list[str]) -> str:
    name = _name(error.param)
    return f"{name} is missing; give a value" if name.startswith("-") else f"the argument {name} is missing"


def _bad_option(error: Any, given: list[str]) -> str:
    if "does not take" in str(error.message):
        return f"{error.option_name} takes no value"
    count = re.search(r"requires (\d+) ", str(error.message))
    return f"{error.option_name} needs {f'{count.group(1)} values' if count else 'a value'} after it"


def _no_option(error: Any, given: list[str]) -> str:
    close = sorted(error.possibilities or ())
    return f"there is no option {error.option_name}{f', did you mean {close[0]}?' if close else ''}"


def _bad_value(error: Any, given: list[str]) -> str:
    name, said = _name(error.param), str(error.message)
    value = _value(error.param, given)
    got = f"{name} got {value!r}" if value else f"{name} got something else"
    sort = "a whole number" if "integer" in said else "a number"
    least = re.search(r"greater than or equal to (\S+)", said)
    if least:
        return f"{got}; expected {sort} of {least.group(1)} or more"
    if "integer" in said or "number" in said:
        return f"{got}; expected {sort}"
    return f"{got} ({said.rstrip('.')})"


def _other(error: Any, given: list[str]) -> str:
    said = str(error.format_message())
    if extra := re.search(r"unexpected extra argument[^(]*\(?s?\)? ?\((.*)\)", said):
        return f"there is no place for {extra.group(1)!r}; leave it out, or put the option's name before it"
    if unknown := re.search(r"No such command '(.*?)'", said):
        known = sorted(getattr(error.ctx.command, "commands", {}))
        close = get_close_matches(unknown.group(1), known, n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown command {unknown.group(1)!r}; known: {', '.join(known)}.{guess}"
    return said


_WORDS = {
    "MissingParameter": _missing, "BadOptionUsage": _bad_option, "NoSuchOption": _no_option, "BadParameter": _bad_value,
}  # fmt: skip


def _name(param: Any) -> str:
    """An option as it is typed; an argument as the help calls it."""
    long = [name for name in param.opts if name.startswith("--")]
    return str((long or param.opts)[0]) if str(param.opts[0]).startswith("-") else str(param.metavar or param.name)


def _value(param: Any, given: list[str]) -> str:
    """What was typed for an option; empty for arguments, which have no name to be found by."""
    for place in range(len(given) - 1, -1, -1):
        name, equals, value = given[place].partition("=")
        if name in param.opts:
            return value if equals else " ".join(given[place + 1 : place + 1 + max(1, param.nargs)])
    return ""


def _command(context: Any, given: Sequence[str]) -> str:
    """The command that was meant, as it is typed."""
    if context is not None:
        return " ".join(["cvxrobust", *str(context.command_path).split()[1:]])
    return " ".join(["cvxrobust", *given[:1]]) if given and not given[0].startswith("-") else "cvxrobust"
