"""The parts of a run, in the order in which they are run; each is a module with the same four names.

``TITLE`` and ``NOTE`` introduce its table in the report, ``BUDGET`` is its share of the time in seconds, and
``rows(context)`` yields one row after the other, each as soon as it is known.
"""

from importlib import import_module
from typing import Protocol, cast

from cvxrobust.bench.gpu.context import Rows

NAMES = ("device_tests", "gradient", "interior_point", "mnist", "ten_classes", "relu")


class Part(Protocol):
    """What a module in this folder says."""

    TITLE: str
    NOTE: str
    BUDGET: float
    rows: Rows


def part(name: str) -> Part:
    """The part of that name; what it needs is imported only when it runs."""
    return cast(Part, import_module(f"{__name__}.{name}"))
