"""The cutting-set method with an oracle on pixels: what attacks find on images becomes points for a convex head.

Let image i have the points ``z_i1, z_i2, ...``: features of the image itself and of attacked ones. A head has the loss
``mean_i max_j loss(head, z_ij) + beta penalty``; over *all* points that attacks within the radius can reach this is
what robust training of the head would minimise. With finitely many of them it is a convex programme, and a lower bound
of its optimum is one of the optimum over all points: **lower** bounds are proved, for the points and hence for the
attacks. What an attack finds next gives only an estimate from below of the loss of the head at hand, because nobody
knows whether it is the worst there is: such values are called **attacked**, and prove nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust import StandardSDP
from cvxrobust.bench.cifar10.attacks import PixelAttack
from cvxrobust.bench.cifar10.backbones.batches import ImageBank
from cvxrobust.bench.cifar10.backbones.features import Standardised
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18
from cvxrobust.bench.cifar10.heads.convex import (
    Network,
    Numbers,
    SolvingTerms,
    joint_is_known,
    joint_problem,
    solve_head,
)
from cvxrobust.bench.cifar10.heads.splice import SplicedClassifier


@dataclass(frozen=True, eq=False)
class PixelOracle:
    """Attacks on images, seen as points of their features.

    Args:
        backbone: Frozen, in eval mode.
        radius: Of the attacks, norm inf, in pixels of [0, 1].
        steps: Of each attack.
        restarts: Random starts.
    """

    backbone: PreActResNet18
    radius: float
    steps: int = 10
    restarts: int = 0

    def points(
        self, network: Network, bank: ImageBank, units: Standardised, seed: int = 0
    ) -> tuple[Numbers, NDArray[np.float64]]:
        """Standardised features of attacked images, shape (n, d), and the margins there, shape (n,).

        Args:
            network: The head that is attacked, of standardised features.
            bank: The images.
            units: The units of features.
            seed: Of random starts.
        """
        module = SplicedClassifier(self.backbone, network.to_torch(), units).requires_grad_(False)
        attack = PixelAttack(self.radius, self.steps, self.restarts, seed)
        features, margins = [], []
        for rows in bank.blocks():
            attacked, smallest = attack(module, bank.plain(rows), bank.labels[rows])
            with torch.no_grad():
                features.append(self.backbone.features(attacked).float().cpu().numpy())
            margins.append(smallest.double().cpu().numpy())
        return units(np.concatenate(features)), np.concatenate(margins)


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points of images, all of an image with its class.

    Args:
        Z: Shape (n_points, n, d): of every image as many.
        labels: Shape (n,).
        weights: What each point of an image counts where the losses of points are added, shape (n_points, n); columns
            add up to 1.
    """

    Z: Numbers
    labels: NDArray[np.int64]
    weights: Numbers

    @classmethod
    def of(cls, Z: Numbers, labels: NDArray[np.int64]) -> "PointSet":
        """One point for each image, shape (n, d)."""
        return cls(Z[None], labels, np.ones((1, len(labels))))

    def joined(self, Z: Numbers) -> "PointSet":
        """One more for each image; it takes half of the weight."""
        weights = np.concatenate([0.5 * self.weights, np.full((1, len(self.labels)), 0.5)])
        return PointSet(np.concatenate([self.Z, Z[None]]), self.labels, weights)

    def problem(self, beta: float) -> Any:
        """The programme over all points.

        With one loss over the classes all points of an image share it: the largest counts. One class against the
        others has no such programme here; then points are rows with weights that add up to 1 for each image. That is
        never more than the largest of them, so that its lower bound is one of the programme of largest losses, too,
        and of all attacks.
        """
        count, n, d = self.Z.shape
        X, y = self.Z.reshape(count * n, d), np.tile(self.labels, count)
        if joint_is_known():
            return joint_problem(X, y, 0.0, beta, groups=np.tile(np.arange(n), count))
        return StandardSDP(X, y, beta=beta, sample_weight=self.weights.reshape(-1))

    def objective(self, network: Network, beta: float) -> float:
        """Of a head, each image with its largest loss over its points."""
        if joint_is_known():
            return float(self.problem(beta).objective(network))
        count, n, d = self.Z.shape
        scores = network.decision_function(self.Z.reshape(count * n, d)).reshape(count, n, -1)
        known: Any = network.classes
        signs = np.where(self.labels[:, None] == np.asarray(known), 1.0, -1.0)
        losses = np.maximum(0.0, 1.0 - signs * scores).max(axis=0)
        return float(losses.mean(axis=0).sum() + beta * np.abs(network.alpha).sum())


@dataclass(frozen=True, eq=False)
class CutRound:
    """What came of a round of the cutting-set method.

    Args:
        network: The head, best over the points before it.
        row: The certified bounds over these (``lower`` also bounds robust training), ``attacked``, the objective of
            this head with what was found now, and the share of attacked images that are still right.
        found: A point more for each image, shape (n, d).
    """

    network: Network
    row: dict[str, Any]
    found: Numbers


def cut(
    oracle: PixelOracle,
    bank: ImageBank,
    points: PointSet,
    units: Standardised,
    beta: float,
    terms: SolvingTerms,
    start: Network | None = None,
) -> CutRound:
    """Solve over the points so far, then attack the head; the caller joins what was found, and goes on.

    Args:
        oracle: Finds points.
        bank: The images.
        points: Those so far.
        units: The units of features.
        beta: Weight of the penalty.
        terms: How the programme is solved.
        start: The head of the round before.
    """
    network, row = solve_head(points.problem(beta), terms, start)
    count = len(points.Z)
    found, margins = oracle.points(network, bank, units, seed=count)
    row |= {
        "points": count,
        "attacked": points.joined(found).objective(network, beta),
        "robust": float((margins > 0.0).mean()),
    }
    return CutRound(network, row, found)
