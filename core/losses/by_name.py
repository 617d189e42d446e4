"""The losses that there are, by name."""

from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.losses.absolute import Absolute
from cvxrobust.core.losses.base import PlainLoss
from cvxrobust.core.losses.hinge import Hinge
from cvxrobust.core.losses.huber import Huber
from cvxrobust.core.losses.logistic import Logistic
from cvxrobust.core.losses.squared import Squared
from cvxrobust.core.losses.squared_hinge import SquaredHinge

LOSSES: dict[str, PlainLoss] = {
    loss.name: loss for loss in (Hinge(), SquaredHinge(), Logistic(), Squared(), Absolute(), Huber())
}

MARGIN_LOSSES = tuple(name for name, loss in LOSSES.items() if loss.margin)
"""Names of those of margins."""

TARGET_LOSSES = tuple(name for name, loss in LOSSES.items() if not loss.margin)
"""Names of those of targets."""

WITH_NUMBERS = {Huber().name: Huber}
"""Losses that a number may follow, after a colon: ``"huber:0.5"``."""


def is_of_targets(name: str) -> bool:
    """Whether that is a loss of targets; one that nobody knows is not."""
    return name.partition(":")[0] in TARGET_LOSSES


def loss_by_name(name: str, allowed: tuple[str, ...] = tuple(LOSSES)) -> PlainLoss:
    """The loss called `name`, perhaps with a number of its own, as in ``"huber:0.5"``.

    Raises:
        UnknownNameError: There is none, or the problem does not offer it.
        InputError: The number is none, or not above 0.
    """
    family, colon, number = name.partition(":") if isinstance(name, str) else ("", "", "")
    if family not in allowed or (colon and family not in WITH_NUMBERS):
        raise UnknownNameError("loss", name, allowed)
    if not colon:
        return LOSSES[family]
    try:
        threshold = float(number)
    except ValueError:
        threshold = float("nan")
    if not 0.0 < threshold < float("inf"):
        raise InputError(f"loss is {name!r}; expected a number above 0 after the colon, as in {family}:0.5.")
    return WITH_NUMBERS[family](threshold)
