"""The data and the parameters of the ReLU problems, as they are given and, once checked, in their final form."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import LOSSES, loss_by_name
from cvxrobust.core.programs.gated.formulations import FORMULATIONS, GateRules
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.problems.relu.gates.slots import Slots

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReLUFields:
    """The fields of `ConvexReLU` and `AdversarialReLU`; see those for what they mean."""

    X: Any
    y: Any
    radius: Any
    patterns: Any = None
    _: KW_ONLY
    norm: Norm = "inf"
    beta: float = 1e-2
    loss: str = "hinge"
    formulation: Formulation | None = None
    bound: str | None = None
    gates: Any = None
    n_gates: int | None = None
    seed: int = 0
    bias: bool = False
    regate: int = 0
    multiclass: str | None = None
    resample: bool = False
    slots: Slots | None = None
    grow: int = 10
    grow_gain: float = 0.01

    losses: ClassVar[tuple[str, ...]] = tuple(LOSSES)
    family: ClassVar[str]

    @property
    def loss_function(self) -> Loss:
        """The loss itself."""
        return loss_by_name(self.loss)

    @property
    def rules(self) -> GateRules:
        """The formulation itself."""
        return FORMULATIONS[self.formulation or "one-sided"]

    @property
    def attack(self) -> AttackBall:
        """The attacks on the inputs, once `radius` and `norm` are checked."""
        return AttackBall(self.norm, self.radius, self.X.shape[1])

    @cached_property
    def inputs(self) -> Array:
        """The inputs with the constant of the bias as their last column, if there is one; shape (n, D)."""
        return np.hstack([self.X, np.ones((self.X.shape[0], 1))]) if self.bias else np.asarray(self.X)
