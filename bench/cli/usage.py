"""What is wrong with a command line that cannot be parsed: what it was, what was expected, where to look.

The parser's exceptions are known by their names and attributes alone: it is Typer's own in newer versions, Click's in
older ones.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from typer.main import get_command


class EmptyPathError(Exception):
    """The path of a file or folder that is no text at all, as variables of shells are that nobody set.

    Args:
        option: Which option got it.
    """

    def __init__(self, option: str) -> None:
        super().__init__(option)
        self.option = option

    def format_message(self) -> str:
        """What was wrong and what was expected, as the parser's own exceptions say it."""
        return f"{self.option} got ''; expected the path of a file or folder, such as . for this one"


def without_empty_paths(app: Any, given: list[str]) -> list[str]:
    """What was typed, unless a path in it is empty: it would be read as the folder that one happens to be in.

    Args:
        app: Typer's, of the whole program.
        given: What was typed after the program's name.

    Raises:
        EmptyPathError: A path is empty.
    """
    if not any(word == "" or word.endswith("=") for word in given):
        return given
    words, command = list(given), get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    paths = {name for param in command.params if _is_path(param) for name in param.opts}
    for word, after in zip(words, [*words[1:], "-"], strict=True):
        name, equals, value = word.partition("=")
        if name in paths and not (value if equals else after):
            raise EmptyPathError(name)
    return given


def _is_path(param: Any) -> bool:
    """Whether an option takes a path; Typer says so in newer versions, Click in older ones."""
    annotated = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    return annotated is Path or type(getattr(param, "type", None)).__name__.endswith("Path")


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
    bare = {one.lstrip("-"): one for one in sorted(error.possibilities or ())}
    close = [bare[one] for one in get_close_matches(error.option_name.lstrip("-"), bare, n=1)]
    return f"there is no option {error.option_name}{f', did you mean {close[0]}?' if close else ''}"


def _bad_value(error: Any, given: list[str]) -> str:
    name, said = _name(error.param), str(error.message)
    value = _value(error.param, given)
    got = f"{name} got something else" if value is None else f"{name} got {value!r}"
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


def _value(param: Any, given: list[str]) -> str | None:
    """What was typed for an option; None for arguments, which have no name to be found by."""
    for place in range(len(given) - 1, -1, -1):
        name, equals, value = given[place].partition("=")
        if name in param.opts:
            return value if equals else " ".join(given[place + 1 : place + 1 + max(1, param.nargs)])
    return None


def _command(context: Any, given: Sequence[str]) -> str:
    """The command that was meant, as it is typed."""
    if context is not None:
        # Not its path, which begins with all of "python -m cvxrobust" where that was typed.
        names: list[str] = []
        while context.parent is not None:
            names, context = [str(context.info_name), *names], context.parent
        return " ".join(["cvxrobust", *names])
    return " ".join(["cvxrobust", *given[:1]]) if given and not given[0].startswith("-") else "cvxrobust"
