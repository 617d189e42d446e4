"""The structured programme of gated ReLU networks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.losses.weighted import weighted_loss
from cvxrobust.core.programs.gated.formulations import FORMULATIONS, GateRules

Array = NDArray[np.float64]
Formulation = Literal["cone", "one-sided", "gated"]


@dataclass(frozen=True)
class GatedProgram:
    """Train a two-layer ReLU network whose neurons sit in given slots, each with gates of its own.

    A slot k has a sign s_k, the sign of its neuron's output weight, and a gate g_ik for every sample: the slope, 0 or
    1, by which the programme replaces the ReLU there. A point of the programme is one vector per slot and output; see
    `cvxrobust.core.programs.gated.evaluation` for the three formulations and what each proves.

    Args:
        X: Inputs, shape (n, D); with `bias` the last column is a constant 1 that no attack touches.
        labels: Labels in {-1, +1}, shape (n, 1), or targets, shape (n, C).
        loss: Name of a loss in `cvxrobust.core.losses`.
        gates: Shape (n, K), bool.
        signs: Shape (K,), each -1 or +1; all +1 where the formulation is ``"gated"``.
        attack: The attacks on each sample, of n radii: balls in the units of X, or their images, `AttackBall.shape`.
        beta: Weight of the group penalty.
        formulation: ``"cone"``, ``"one-sided"`` or ``"gated"``.
        bias: Whether the last column of X is the constant of a bias.
        uncertainty: How far rounding may have moved each row of X from the sample that is meant, in the 2-norm, shape
            (n,), where X was computed from other data; None for not at all. Certificates allow for it.
        weights: What the loss of each sample counts in the mean: above 0 and 1 on average, shape (n,); None for 1.
    """

    X: Array
    labels: Array
    loss: str
    gates: NDArray[np.bool_]
    signs: Array
    attack: AttackBall
    beta: float
    formulation: Formulation
    bias: bool = False
    uncertainty: Array | None = None
    weights: Array | None = None

    kind = "gated"

    @property
    def loss_function(self) -> Loss:
        """The loss itself, of samples with their weights.

        Raises:
            UnknownNameError: There is none of that name.
        """
        return weighted_loss(loss_by_name(self.loss), self.weights)

    @property
    def rules(self) -> GateRules:
        """The formulation itself."""
        return FORMULATIONS[self.formulation]

    @property
    def radius(self) -> Array:
        """Attack radius of each sample, shape (n,): of balls in the units of X, unless `attack` says otherwise."""
        found: Array = self.attack.radius
        return found

    @property
    def norm(self) -> Norm:
        """Norm of the attack: "inf", 2 or 1."""
        return self.attack.norm

    @property
    def attackable(self) -> int:
        """Number of leading coordinates that an attack can touch, but for those that its shape leaves alone."""
        return self.attack.attackable

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (K, C, D) of a point: slots, outputs, inputs."""
        return int(self.signs.size), int(self.labels.shape[1]), int(self.X.shape[1])
