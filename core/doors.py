"""Doors from low rooms to high ones: methods that draw what an object is about, for whoever has the object at hand.

``result.plot()`` reads better than a function that takes a result. But pictures stand above all that they draw, so no
room below imports them: a method says here which function it stands for, and that is looked for when it is called.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def drawing(module: str, function: str) -> Callable[..., Any]:
    """A function of `cvxrobust.core.pictures`."""
    found: Callable[..., Any] = getattr(import_module(f"cvxrobust.core.pictures.{module}"), function)
    return found
