"""The three formulations of gated programmes, each as one object that says how it holds slots to their gates.

`cvxrobust.core.programs.gated.evaluation` has the mathematics. Nobody compares names of formulations: what matters to
somebody is a flag or a method here.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Signed(Protocol):
    """What of a programme its pairs rest on."""

    @property
    def labels(self) -> Array:
        """Labels or targets, shape (n, C)."""
        ...

    @property
    def signs(self) -> Array:
        """Signs of the slots, shape (K,)."""
        ...


@dataclass(frozen=True)
class GateRules:
    """What a formulation makes of slots and gates.

    Args:
        name: What users call it.
        constrains_gates: Whether vectors are confined to the cones of their gates; else every point is feasible.
        one_sided: Whether margins are lowered by what harmful slots may add beyond their gates, a ReLU each, so that
            they are lower bounds only, and the loss one of margins.
        signed_slots: Whether a slot holds one neuron, whose output weight has the slot's sign; else the difference of
            two, and all signs are +1.
    """

    name: str
    constrains_gates: bool = False
    one_sided: bool = False
    signed_slots: bool = True

    @property
    def paired(self) -> bool:
        """Whether some samples and slots have a constraint or a ReLU of their own, with a multiplier mu."""
        return self.constrains_gates or self.one_sided

    def pairs(self, program: Signed) -> NDArray[np.bool_]:
        """Which have, shape (n, K): all in cones; the harmful ones, ``y_i s_k = -1``, where one-sided; else none."""
        if self.one_sided:
            return np.asarray(program.labels * program.signs < 0.0)
        return np.full((program.labels.shape[0], program.signs.size), self.constrains_gates)

    def clip(self, program: Signed, mu: Array, theta: Array) -> Array:
        """Multipliers mu >= 0, shape (n, K, C), into their domain, given theta, shape (n, C), on which ReLUs rest."""
        if self.constrains_gates:
            return mu
        return np.where(self.pairs(program)[..., None], np.minimum(mu, theta[:, None, :]), 0.0)

    def caps(self, theta: Array) -> Array | None:
        """How large the mu of samples with such theta may be, of the same shape; None for as large as they like."""
        return None if self.constrains_gates else theta


FORMULATIONS: dict[str, GateRules] = {
    rules.name: rules
    for rules in (
        GateRules("one-sided", one_sided=True),
        GateRules("cone", constrains_gates=True),
        GateRules("gated", signed_slots=False),
    )
}
"""By name."""
