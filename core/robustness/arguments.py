"""What evaluations take besides data, refused before any work where it is something else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cvxrobust.core.arguments import flag, whole
from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown


def check_viewing(model: Any, is_module: bool, classes: Any, batch: int | None, double: bool) -> None:
    """How a classifier is to be looked at.

    Args:
        model: The classifier.
        is_module: Whether it is a PyTorch module.
        classes: Labels of a module's outputs; None for no say in it.
        batch: Rows that a module sees at a time, or None.
        double: Whether its slopes are those of a copy in double precision.

    Raises:
        InputError: One of these is none, or there are labels for the outputs of what has its own.
    """
    if batch is not None:
        whole(batch, "batch", 1, otherwise=", or None")
    flag(double, "double")
    if classes is None:
        return
    if not is_module:
        raise InputError(f"classes is {shown(classes)}, but a {type(model).__name__} has its own; leave it out.")
    if isinstance(classes, str) or not isinstance(classes, Sequence | np.ndarray):
        raise InputError(f"classes is {shown(classes)}; expected a label for each output of the module, in order.")


def named_attacks(attacks: Any, ours: Mapping[str, Callable[..., None]]) -> dict[str, Any]:
    """Attacks by name; all of ours for None.

    Raises:
        InputError: They are something else.
    """
    if attacks is None:
        return dict(ours)
    if isinstance(attacks, Mapping) and all(isinstance(name, str) and callable(attacks[name]) for name in attacks):
        return dict(attacks)
    raise InputError(
        f"attacks is {shown(attacks)}; expected attacks by name, for example {{'pgd': "
        "cvxrobust.core.robustness.attacks.pgd}, or None for all of ours."
    )
