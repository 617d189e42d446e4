"""What no head can help: images of different classes whose features attacks make meet.

The condition is that of Bhagoji, Cullina and Mittal (arXiv:1909.12272), for fixed features that of Bhagoji, Cullina and
Zhao (*Lower bounds on the robustness of fixed feature extractors to test-time adversaries*): if an attack on x and one
on x' of another class end in the same place, every classifier is wrong at one of the two. Of many such pairs, an edge
each, the images that are lost cover all edges, and a fractional matching bounds their number from below. Here places
are features, so that the bound holds for every head on this backbone, whatever it is trained by.

Features are brought near each other by descent, never to one point: two images *meet* here when what is left between
them is less than a share of the distance to the next image of their own class. A head that tells the two apart would
have to change within that distance. What descent does not bring together may well meet; the bound is one from below.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from cvxrobust.bench.cifar10.attacks import LEVEL
from cvxrobust.bench.cifar10.backbones.batches import ImageBank
from cvxrobust.bench.cifar10.backbones.features import Standardised
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18

NEIGHBOURS = 3
"""Images of other classes that each one is tried with: those whose features are nearest."""

STEPS = 30
BLOCK = 100
"""Pairs at a time."""

MEETING = (0.1, 0.25, 0.5)
"""Shares of the distance to the next image of the own class at which two images meet."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of images of different classes.

    Args:
        first, second: Rows, shapes (p,).
        apart: Distances of their features, shape (p,).
        own: Distance of each image to the next of its own class, shape (n,).
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    apart: NDArray[np.float64]
    own: NDArray[np.float64]

    @classmethod
    def nearest(cls, Z: NDArray[np.float64], labels: NDArray[np.int64], count: int = NEIGHBOURS) -> "Pairs":
        """Each image with those of other classes that are nearest, every pair once.

        Args:
            Z: Features, shape (n, d).
            labels: Shape (n,).
            count: Of these.
        """
        distances = torch.cdist(torch.from_numpy(Z), torch.from_numpy(Z)).numpy()
        same = labels[:, None] == labels
        own = np.where(same & ~np.eye(len(Z), dtype=np.bool_), distances, np.inf).min(axis=1, initial=np.inf)
        others = np.where(same, np.inf, distances)
        near = np.argsort(others, axis=1)[:, :count]
        rows = np.repeat(np.arange(len(Z)), near.shape[1])
        both = np.sort(np.stack([rows, near.reshape(-1)], axis=1), axis=1)
        both = np.unique(both[np.isfinite(others[rows, near.reshape(-1)])], axis=0)
        first, second = both[:, 0], both[:, 1]
        return cls(first, second, distances[first, second], own)


def sought(
    network: PreActResNet18, bank: ImageBank, units: Standardised, radii: tuple[float, ...]
) -> list[dict[str, Any]]:
    """Bring images together within each radius; a row for each.

    Args:
        network: Frozen; only images that its own layer gets right take part.
        bank: The images.
        units: Of features.
        radii: In levels of 255, ascending; what meets at one meets at the next.
    """
    rows, Z = _right_ones(network, bank, units)
    labels = bank.labels.cpu().numpy()[rows]
    pairs = Pairs.nearest(Z, labels)
    scale = torch.tensor(units.deviations, dtype=torch.float32, device=bank.device)
    left, found = pairs.apart.copy(), []
    for radius in radii:
        parts = np.array_split(np.arange(len(left)), -(-max(len(left), 1) // BLOCK))
        ends = [[torch.tensor(rows[side[part]], device=bank.device) for side in (pairs.first, pairs.second)]
                for part in parts]  # fmt: skip
        at_last = [_brought_together(network, scale, bank.plain(a), bank.plain(b), radius / LEVEL) for a, b in ends]
        left = np.minimum(left, np.concatenate(at_last))
        found.append({"radius": radius, "images": len(rows), "pairs": len(left)} | _told(pairs, left))
    return found


def _right_ones(
    network: PreActResNet18, bank: ImageBank, units: Standardised
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    features, right = [], []
    with torch.no_grad():
        for rows in bank.blocks():
            h = network.features(bank.plain(rows))
            right.append((network.layer(h).argmax(dim=1) == bank.labels[rows]).cpu().numpy())
            features.append(h.float().cpu().numpy())
    kept = np.flatnonzero(np.concatenate(right))
    return kept, units(np.concatenate(features)[kept])


def _brought_together(
    network: PreActResNet18, scale: Tensor, a: Tensor, b: Tensor, radius: float
) -> NDArray[np.float64]:
    """The least distance met on the way of both images towards each other, shape (p,)."""
    moved = [torch.zeros_like(a), torch.zeros_like(b)]
    best = torch.full((len(a),), float("inf"), device=a.device)
    for k in range(STEPS + 1):
        ends = [(x + m).clamp(0.0, 1.0).requires_grad_() for x, m in zip((a, b), moved, strict=True)]
        difference = (network.features(ends[0]) - network.features(ends[1])) / scale
        distance = torch.linalg.vector_norm(difference, dim=1)
        best = torch.minimum(best, distance.detach())
        if k == STEPS:
            break
        slopes = torch.autograd.grad(distance.sum(), ends)
        step = 0.4 * radius * (1.0 - k / STEPS)
        moved = [
            (end.detach() - x - step * slope.sign()).clamp_(-radius, radius)
            for end, x, slope in zip(ends, (a, b), slopes, strict=True)
        ]
    return np.asarray(best.double().cpu().numpy())


def _told(pairs: Pairs, left: NDArray[np.float64]) -> dict[str, Any]:
    own = np.minimum(pairs.own[pairs.first], pairs.own[pairs.second])
    own = np.where(np.isfinite(own), own, 0.0)  # where there is no other image of the class nothing is near
    n = len(pairs.own)
    row: dict[str, Any] = {
        "left": _quantiles(left / np.maximum(pairs.apart, 1e-12)),
        "of_own": _quantiles(left[own > 0.0] / own[own > 0.0]),
    }
    for share in MEETING:
        met = left < share * own
        edges = (pairs.first[met], pairs.second[met])
        touched = np.unique(np.concatenate(edges)).size
        row[f"meeting_{share:g}"] = {"images": touched / max(n, 1), "lost": lost_at_least(n, *edges) / max(n, 1)}
    return row


def _quantiles(values: NDArray[np.float64]) -> list[float]:
    finite = values[np.isfinite(values)]
    return [float(value) for value in np.quantile(finite, [0.1, 0.5, 0.9])] if finite.size else []


def lost_at_least(n: int, first: NDArray[np.intp], second: NDArray[np.intp]) -> float:
    """The least fractional vertex cover of a graph: no fewer of its n images are wrong in any classifier.

    By duality it is the largest fractional matching, half of a largest matching of the bipartite double cover
    (Nemhauser and Trotter, 1975).

    Args:
        n: Vertices.
        first, second: Ends of the edges, shapes (p,).
    """
    if not len(first):
        return 0.0
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    cover = coo_array((np.ones(len(ends[0])), ends), shape=(n, n)).tocsr()
    return float((maximum_bipartite_matching(cover) >= 0).sum()) / 2.0
