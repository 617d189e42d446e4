"""Wrong inputs by entry, and what messages about them have to be: ours, whole sentences, about the value given.

A table says for each public entry what is passed and what the message must hold; `review` runs it. Every message was
read once by a person: what was wrong, what was expected, what to do.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cvxrobust import CvxRobustError

FOREIGN = (
    "ndarray", "NoneType", "dtype('", "object has no", "not subscriptable", "unpack", "positional argument",
    "unexpected keyword", "not supported between", "invalid literal", "could not convert", "must be real number",
    "not iterable", "inhomogeneous", "ambiguous", "unhashable", "broadcast", "ufunc", "numpy.core", "pandas",
    "pydantic", "polars", "torch.nn", "typer", "Traceback", "Errno", "<class", " at 0x", "np.float",
)  # fmt: skip
"""Words of Python's and of libraries that callers need not know."""

ADVICE = (
    "expected", "known:", "needs", "pass ", "give ", "leave ", "use ", "choose", "write ", "takes", "knows", "drop ",
    "fill ", "name ", "keep ", "expects", "is it the answer", "no solution", "reads it", "which is read",
    "correct it", "there are", "its columns are", "write it anew", "check ", "did you mean", "add ", "save ", "fit ",
    "try ", "upgrade", "read it with", "say ", "see ", "go on", "divide", "install", "put ", "turn ", "set ",
    "numbers from", "has to", "mark ", "never loaded", "impute", "saved by cvxrobust", "the labels are", "trains",
    "answer about", "turn them into", "evaluate at",
)  # fmt: skip
"""One of these says what was expected, or what to do."""

FEWEST = 20
"""Wrong inputs of an entry."""

Given = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A public entry.

    Args:
        name: How it is called.
        call: Takes what is passed by name, with all else as it should be.
        cases: What is passed, and what the message must hold.
        conventions: Whether scikit-learn's words may do, as its conventions ask for.
    """

    name: str
    call: Callable[..., object]
    cases: tuple[tuple[Given, str], ...]
    conventions: bool = False

    def __str__(self) -> str:
        return self.name


def review(entry: Entry, fewest: int = FEWEST) -> list[str]:
    """What is wrong with an entry's messages; empty if nothing is.

    Args:
        entry: The entry.
        fewest: Wrong inputs that there are at least.
    """
    found = [f"{entry.name} has {len(entry.cases)} wrong inputs"] if len(entry.cases) < fewest else []
    for given, says in entry.cases:
        shown = ", ".join(f"{name}={_short(value)}" for name, value in given.items())
        found += [f"{entry.name}({shown}): {fault}" for fault in _faults(entry, given, says)]
    return found


def _short(value: object) -> str:
    try:
        return repr(value)[:40]
    except Exception:  # what is passed may be anything
        return type(value).__name__


def _faults(entry: Entry, given: Given, says: str) -> list[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            entry.call(**given)
    except CvxRobustError as error:
        return faults_of(str(error), says)
    except Exception as error:
        if entry.conventions and isinstance(
            error, ValueError | TypeError
        ):  # told over several lines, and with what scikit-learn calls things
            return [] if says in str(error) else [f"{says!r} is missing in {error}"]
        return [f"{type(error).__name__} is none of ours: {error}"]
    return ["nothing is raised"]


def faults_of(message: str, says: str) -> list[str]:
    """What is wrong with a message.

    Args:
        message: The message.
        says: What it must hold.
    """
    foreign = [word for word in FOREIGN if word in message]
    return [
        *([] if says in message else [f"{says!r} is missing in {message!r}"]),
        *([f"{foreign} stand in {message!r}"] if foreign else []),
        *([] if message.endswith((".", "?")) and "\n" not in message else [f"no sentence: {message!r}"]),
        *([] if any(word in message.lower() for word in ADVICE) else [f"no advice in {message!r}"]),
    ]


def with_defaults(call: Callable[..., object], **defaults: Any) -> Callable[..., object]:
    """A call with everything that a case does not say."""
    return lambda **given: call(**{**defaults, **given})
