"""Options that go together as the fields of one object, for commands that take them one by one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any


def fields_as_options(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For commands: a parameter that is one of the objects above becomes an option for each of its fields.

    Args:
        *without: Fields that the command has no option for; they are what they are by default.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = signature(command).parameters.values()

        @wraps(command)
        def call(**given: Any) -> None:
            command(**_gathered(own, given))

        call.__signature__ = Signature(list(_spread(own, without)))  # type: ignore[attr-defined]
        return call

    return decorate


def _spread(parameters: Iterable[Parameter], without: tuple[str, ...]) -> Iterator[Parameter]:
    for one in parameters:
        if _is_object(one):
            yield from _spread(signature(one.annotation).parameters.values(), without)
        elif one.name not in without:
            # Keywords alone, because those without a default need not come first.
            yield one.replace(kind=Parameter.KEYWORD_ONLY)


def _gathered(parameters: Iterable[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for one in parameters:
        if _is_object(one):
            found[one.name] = one.annotation(**_gathered(signature(one.annotation).parameters.values(), given))
        elif one.name in given:
            found[one.name] = given[one.name]
    return found


def _is_object(one: Parameter) -> bool:
    return is_dataclass(one.annotation)
