"""Slots of gated programmes: from activation patterns to a gate for every sample and signed neuron."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall

Array = NDArray[np.float64]
Patterns = NDArray[np.bool_]
Bound = Literal["soft-cone", "separate", "mixed"]
BOUNDS: tuple[Bound, ...] = ("soft-cone", "separate", "mixed")


@dataclass(frozen=True)
class Slots:
    """What a gated programme fixes beforehand.

    Args:
        gates: A gate for every sample and slot, shape (n, K), bool.
        signs: Sign of the output weight of each slot, shape (K,), -1.0 or +1.0.
    """

    gates: Patterns
    signs: Array

    def with_more(self, gates: Patterns, signs: Array) -> "Slots":
        """These slots followed by further ones."""
        return Slots(np.hstack([self.gates, gates]), np.concatenate([self.signs, signs]))


def signed_slots(positive: Patterns, negative: Patterns) -> Slots:
    """One slot of sign +1 per column of `positive`, then one of sign -1 per column of `negative`."""
    signs = np.concatenate([np.ones(positive.shape[1]), -np.ones(negative.shape[1])])
    return Slots(np.hstack([positive, negative]), signs)


def with_bound(slots: Slots, labels: Array, bound: Bound, crossing: Patterns | None = None) -> Slots:
    """The slots of a one-sided programme with the gates of its harmful pairs (label times sign -1) chosen.

    Args:
        slots: Slots whose gates are patterns.
        labels: Labels in {-1, +1}, shape (n,).
        bound: ``"soft-cone"`` keeps the patterns, ``"separate"`` takes 0, ``"mixed"`` takes 0 where `crossing` says so.
        crossing: For ``"mixed"``: where the ball of a sample meets the boundary of a gate, shape (n, K).
    """
    if bound == "soft-cone":
        return slots
    harmful = labels[:, None] * slots.signs < 0.0
    zeroed = harmful if bound == "separate" or crossing is None else harmful & crossing
    return Slots(slots.gates & ~zeroed, slots.signs)


def crossings(X: Array, vectors: Array, attack: AttackBall) -> Patterns:
    """Where an attack can carry a sample across the boundary of a gate vector, shape (n, P).

    Args:
        X: Inputs, shape (n, D).
        vectors: Gate vectors, shape (D, P).
        attack: The attacks on each sample.
    """
    return np.asarray(np.abs(X @ vectors) < attack.reaches(vectors.T))
