"""The exact worst case of a margin in a box, by branch and bound: boxes are split until bounds and attacks meet."""

import heapq
import time
from dataclasses import dataclass, fields, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.boxes.attack import attack_boxes
from cvxrobust.core.attacks.boxes.margins import BoxMargins
from cvxrobust.core.attacks.boxes.shor import shor_bounds

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)

TINY = 1e-300

TOGETHER = 32
"""Boxes that are split at a time."""

INNER = 0.8
"""Boxes are split where their relaxed point is, but not nearer to a side than leaves this part of the width."""


@dataclass(frozen=True)
class BoxWorstCase:
    """The worst case of one sample.

    Args:
        e: The worst point found, in units of the widths, shape (q,).
        value: The margin there.
        lower: A rigorous bound of the margin in the box.
    """

    e: Array
    value: float
    lower: float


def worst_in_box(
    margins: BoxMargins, *, seconds: float, tolerance: float = 1e-6, decide: float | None = None
) -> BoxWorstCase:
    """The worst case of a single sample, to a tolerance.

    Args:
        margins: Of one sample.
        seconds: After these the best bound so far is returned.
        tolerance: Of the margin, relative to the most that the box can change it, beside rounding.
        decide: Stop where it is known on which side of this the worst case is; None for never.
    """
    deadline, rng, order = time.monotonic() + seconds, np.random.default_rng(0), count()
    most, m = float(np.abs(margins.matrices()[0]).sum()), margins.size + 1
    enough = tolerance * most + 64.0 * m * m * EPS * (most + abs(float(margins.values[0])))
    points, values = attack_boxes(margins, rng)
    best, upper = points[0], float(values[0])
    root = _Nodes.root(margins)
    heap = [(root.lower[0], next(order), root.row(0))]
    settled = np.inf
    while heap and time.monotonic() < deadline:
        # What lies above this need not be split.
        aim = upper - enough if decide is None else min(upper - enough, decide + TINY)
        if heap[0][0] >= aim or (decide is not None and upper <= decide):
            break
        chosen = [heapq.heappop(heap)[2] for _ in range(min(TOGETHER, len(heap)))]
        children = _Nodes.joined(chosen).split(margins)
        inside = _margins_in(margins, children.centres, children.widths)
        e, found = attack_boxes(inside, rng, restarts=0, sweeps=4)
        least = int(found.argmin())
        if found[least] < upper:
            upper, best = float(found[least]), children.centres[least] + children.widths[least] * e[least]
        for k, bound in enumerate(children.lower):
            if bound >= aim:
                settled = min(settled, float(bound))
            else:
                heapq.heappush(heap, (float(bound), next(order), children.row(k)))
    lower = min([settled, upper, *(node[0] for node in heap[:1])])
    return BoxWorstCase(best, upper, float(lower))


@dataclass(frozen=True)
class _Nodes:
    """Boxes inside the box of one sample, in its units.

    Args:
        centres: Shape (k, q).
        widths: Shape (k, q).
        lower: Bounds of them, shape (k,), no worse than those of the boxes around.
        relaxed: Where the relaxation's first moments are, in units of these boxes, shape (k, q).
        variance: How far its second moments exceed theirs, in units of the sample's box, shape (k, q).
    """

    centres: Array
    widths: Array
    lower: Array
    relaxed: Array
    variance: Array

    @classmethod
    def root(cls, margins: BoxMargins) -> "_Nodes":
        """The whole box."""
        q = margins.size
        return cls._of(margins, np.zeros((1, q)), np.ones((1, q)), np.full(1, -np.inf))

    @classmethod
    def _of(cls, whole: BoxMargins, centres: Array, widths: Array, before: Array) -> "_Nodes":
        found = shor_bounds(_margins_in(whole, centres, widths), moments=True)
        assert found.moments is not None
        first = found.moments[:, :-1, -1]
        second = np.diagonal(found.moments, axis1=1, axis2=2)[:, :-1]
        spread = np.maximum(second - first * first, 0.0) * widths * widths
        return cls(centres, widths, np.maximum(found.lower, before), first, spread)

    def row(self, k: int) -> "_Nodes":
        """One of them."""
        own = slice(k, k + 1)
        return _Nodes(self.centres[own], self.widths[own], self.lower[own], self.relaxed[own], self.variance[own])

    @classmethod
    def joined(cls, nodes: list["_Nodes"]) -> "_Nodes":
        """Several together."""
        names = [part.name for part in fields(cls)]
        return cls(*(np.concatenate([getattr(node, name) for node in nodes]) for name in names))

    def split(self, whole: BoxMargins) -> "_Nodes":
        """Each in two, across the coordinate of which the relaxation is least sure."""
        rows = np.arange(self.lower.size)
        k = self.variance.argmax(axis=1)
        at = np.clip(self.relaxed[rows, k], -INNER, INNER)
        centres, widths = np.repeat(self.centres, 2, axis=0), np.repeat(self.widths, 2, axis=0)
        both, coordinate = np.arange(2 * rows.size), np.repeat(k, 2)
        side = np.tile([-1.0, 1.0], rows.size)
        # From one end to where the box is split: [-1, at] and [at, 1] in its units.
        middle, half = 0.5 * (np.repeat(at, 2) + side), 0.5 * (1.0 - side * np.repeat(at, 2))
        centres[both, coordinate] += np.repeat(self.widths[rows, k], 2) * middle
        widths[both, coordinate] *= half
        return self._of(whole, centres, widths, np.repeat(self.lower, 2))


def _margins_in(whole: BoxMargins, centres: Array, widths: Array) -> BoxMargins:
    """The margins of one sample in boxes inside its own, shapes (k, q), in units of it."""
    one = whole.rows(np.zeros(centres.shape[0], dtype=np.intp))
    slopes = one.half + one.signs[:, None] * one.widths * ((one.widths * centres) @ whole.P)
    return replace(one, widths=one.widths * widths, half=widths * slopes, values=one.at(centres))
