"""The three formulations of gated programmes, each as one object that says how it holds slots to their gates.

`cvxrobust.core.programs.gated.evaluation` has the mathematics. Nobody compares names of formulations: what matters to
somebody is a flag or a method here. `FORMULATIONS` has them by name.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Signed(Protocol):
    """What of a programme the pairs of its samples and slots rest on."""

    @property
    def labels(self) -> Array:
        """Labels or targets, shape (n, C)."""
        ...

    @property
    def signs(self) -> Array:
        """Signs of the slots, shape (K,)."""
        ...


class GateRules(Protocol):
    """What a formulation makes of slots and gates.

    Attributes:
        name: What users call it.
        constrains_gates: Whether vectors are confined to the cones of their gates. Else every point is feasible.
        one_sided: Whether what the loss sees is less than the margin by what slots could do beyond their gates: only
            lower bounds of margins, so only losses of margins, and harmful slots have a ReLU each.
        signed_slots: Whether a slot holds one neuron, whose output weight has the slot's sign. Else it holds the
            difference of two, and has the sign +1.
    """

    name: str
    constrains_gates: bool
    one_sided: bool
    signed_slots: bool

    @property
    def paired(self) -> bool:
        """Whether samples and slots have constraints or ReLUs of their own, with multipliers mu."""
        ...

    def pairs(self, program: Signed) -> NDArray[np.bool_]:
        """Which samples and slots have, shape (n, K)."""
        ...

    def clip(self, program: Signed, mu: Array, theta: Array) -> Array:
        """Multipliers mu of 0 or more, shape (n, K, C), into their domain, given theta of shape (n, C)."""
        ...

    def caps(self, theta: Array) -> Array | None:
        """How large the mu of samples with such theta may be, of the same shape; None for as large as they like."""
        ...


@dataclass(frozen=True)
class ConeRules:
    """Every ReLU stays in its gate over the whole ball."""

    name = "cone"
    constrains_gates = paired = signed_slots = True
    one_sided = False

    def pairs(self, program: Signed) -> NDArray[np.bool_]:
        """All."""
        return np.ones((program.labels.shape[0], program.signs.size), dtype=np.bool_)

    def clip(self, program: Signed, mu: Array, theta: Array) -> Array:
        """As they are."""
        return mu

    def caps(self, theta: Array) -> Array | None:
        """None."""
        return None


@dataclass(frozen=True)
class OneSidedRules:
    """What harmful slots may add beyond their gates is taken off the margins."""

    name = "one-sided"
    one_sided = paired = signed_slots = True
    constrains_gates = False

    def pairs(self, program: Signed) -> NDArray[np.bool_]:
        """The harmful ones, ``y_i s_k = -1``."""
        return np.asarray(program.labels * program.signs < 0.0)

    def clip(self, program: Signed, mu: Array, theta: Array) -> Array:
        """No larger than the theta that they rest on, and only where slots are harmful."""
        return np.where(self.pairs(program)[..., None], np.minimum(mu, theta[:, None, :]), 0.0)

    def caps(self, theta: Array) -> Array | None:
        """Theta itself."""
        return theta


@dataclass(frozen=True)
class GatedRules:
    """The relaxation: nothing holds slots to their gates."""

    name = "gated"
    constrains_gates = one_sided = paired = signed_slots = False

    def pairs(self, program: Signed) -> NDArray[np.bool_]:
        """None."""
        return np.zeros((program.labels.shape[0], program.signs.size), dtype=np.bool_)

    def clip(self, program: Signed, mu: Array, theta: Array) -> Array:
        """Zero."""
        return np.zeros_like(mu)

    def caps(self, theta: Array) -> Array | None:
        """Zero."""
        return np.zeros_like(theta)


FORMULATIONS: dict[str, GateRules] = {rules.name: rules for rules in (OneSidedRules(), ConeRules(), GatedRules())}
