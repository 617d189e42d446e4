"""Tiny training problems of every family and loss, found through the registry: for contracts and for warming up."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.discovery.registry import problems
from cvxrobust.core.losses.by_name import LOSSES, MARGIN_LOSSES, TARGET_LOSSES


@dataclass(frozen=True)
class Case:
    """A tiny training problem.

    Args:
        family: The registered name of its family.
        arguments: Keyword arguments of the family's class, beside the data and beta.
    """

    family: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        values = [str(value) for name, value in self.arguments.items() if name in ("loss", "formulation", "norm")]
        return "-".join([self.family, *values])

    def problem(self, seed: int = 0) -> Problem[Any]:
        """The problem on ten random samples of two features, labelled by a parabola."""
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((10, 2))
        y = np.where(X[:, 0] ** 2 + X[:, 1] > 0.3, 1.0, -1.0)
        made: Problem[Any] = problems()[self.family].factory()(X, y, beta=0.1, **self.arguments)
        return made


def _cases() -> tuple[Case, ...]:
    gates = {"n_gates": 3, "seed": 1}
    standard = [Case("standard-sdp", {"loss": loss}) for loss in LOSSES]
    adversarial = [Case("adversarial-sdp", {"loss": loss, "radius": 0.2}) for loss in LOSSES]
    convex = [Case("convex-relu", {"loss": loss} | gates) for loss in MARGIN_LOSSES]
    convex += [
        Case("convex-relu", {"loss": loss, "formulation": form} | gates)
        for loss in TARGET_LOSSES
        for form in ("cone", "gated")
    ]
    attacked: list[Case] = [
        Case("adversarial-relu", {"loss": loss, "norm": norm, "radius": 0.1} | gates)
        for loss, norm in zip(MARGIN_LOSSES, cycle(("inf", 2, 1)), strict=False)
    ]
    cone: dict[str, Any] = {"loss": "hinge", "formulation": "cone", "radius": 0.05}
    attacked += [Case("adversarial-relu", cone | {"norm": norm} | gates) for norm in ("inf", 2)]
    return (*standard, *adversarial, *convex, *attacked)


CASES: tuple[Case, ...] = _cases()
"""All four families with all their losses; ReLU in several formulations and norms of the attack."""
