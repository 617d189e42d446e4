"""The losses that there are, by name."""

from cvxrobust.core.errors import UnknownNameError
from cvxrobust.core.losses.base import PlainLoss
from cvxrobust.core.losses.hinge import Hinge
from cvxrobust.core.losses.logistic import Logistic
from cvxrobust.core.losses.squared import Squared
from cvxrobust.core.losses.squared_hinge import SquaredHinge

LOSSES: dict[str, PlainLoss] = {loss.name: loss for loss in (Hinge(), SquaredHinge(), Logistic(), Squared())}

MARGIN_LOSSES = tuple(name for name, loss in LOSSES.items() if loss.margin)
"""Names of those of margins."""


def loss_by_name(name: str, allowed: tuple[str, ...] = tuple(LOSSES)) -> PlainLoss:
    """The loss called `name`.

    Raises:
        UnknownNameError: There is none, or the problem does not offer it.
    """
    if name not in allowed:
        raise UnknownNameError("loss", name, allowed)
    return LOSSES[name]
