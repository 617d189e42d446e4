"""Complementary pairs of non-negative numbers: a slack and its multiplier."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """Slacks and multipliers of the same shape, all positive; or a direction of both."""

    slack: Tensor
    multiplier: Tensor

    @classmethod
    def centred(cls, slack: Tensor, mu: float | Tensor) -> "Pair":
        """Multipliers ``mu / slack``."""
        return cls(slack, mu / slack)

    @property
    def weight(self) -> Tensor:
        """Second derivative that the pair adds to the reduced system, ``multiplier / slack``."""
        return self.multiplier / self.slack

    def aim(self, mu: float | Tensor, previous: "Pair | None") -> Tensor:
        """What the multiplier becomes where the slack stays, for complementarity mu, with Mehrotra's correction."""
        aimed = mu / self.slack
        return aimed if previous is None else aimed - previous.slack * previous.multiplier / self.slack

    def towards(self, aimed: Tensor, change: Tensor) -> "Pair":
        """The direction in which the slack changes by `change`."""
        return Pair(change, aimed - self.multiplier - self.weight * change)

    def step(self, direction: "Pair", primal: float, dual: float) -> "Pair":
        """The pair after a step."""
        return Pair(self.slack + primal * direction.slack, self.multiplier + dual * direction.multiplier)

    def longest(self, direction: "Pair") -> tuple[float, float]:
        """Longest steps that keep slack and multiplier non-negative; inf where there is no limit."""
        if self.slack.numel() == 0:
            return float("inf"), float("inf")
        worst = torch.stack([(direction.slack / self.slack).min(), (direction.multiplier / self.multiplier).min()])
        primal, dual = (1.0 / -least if least < 0.0 else float("inf") for least in worst.tolist())
        return primal, dual

    def product(self) -> float:
        """Sum of the products."""
        return float((self.slack * self.multiplier).sum())


def longest(value: Tensor, change: Tensor) -> float:
    """The longest step along `change` that keeps `value` non-negative."""
    if value.numel() == 0:
        return float("inf")
    worst = float((change / value).min())
    return 1.0 / -worst if worst < 0.0 else float("inf")


def products(pairs: tuple[Pair, ...]) -> float:
    """Sum of all products."""
    return float(sum((pair.product() for pair in pairs), 0.0))


def steps(pairs: tuple[Pair, ...], directions: tuple[Pair, ...]) -> tuple[float, float]:
    """The longest steps of all pairs."""
    found = [pair.longest(direction) for pair, direction in zip(pairs, directions, strict=True)]
    return min((p for p, _ in found), default=float("inf")), min((d for _, d in found), default=float("inf"))


def products_after(pairs: tuple[Pair, ...], directions: tuple[Pair, ...], primal: float, dual: float) -> float:
    """Sum of all products after a step."""
    moved = (pair.step(direction, primal, dual) for pair, direction in zip(pairs, directions, strict=True))
    return float(sum((pair.product() for pair in moved), 0.0))
