"""The attacked points of a master: which to add, which to let go, and never the same ones again and again."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class WorkingPointsTuning:
    """Which points stay, for how long, and which are one."""

    negligible: float = 1e-2
    """A point matters while its multiplier exceeds this fraction of 1 / n."""

    purge: float = 5e-2
    """The same after a master that its solver could not solve accurately: fewer points condition the next one
    better."""

    small_master: int = 150
    """Masters with no more points than this keep them all."""

    backoff: int = 2
    """A sample that wanted a dropped point back keeps its points this many times as long from then on."""

    longest_patience: int = 1_000_000
    """Patience grows no further: no run has as many rounds."""

    near: float = 1e-2
    """Attacks on a sample closer than this times the root of the gap are one: at a worst case the loss is flat along
    the ball, so theirs differ by a small fraction of the gap."""

    same: float = 1.0
    """Had a point been dropped closer than this times the root of the gap, the new one would not have been needed."""

    remembered: int = 4
    """Dropped points that are remembered, in multiples of the number of samples."""


TUNING = WorkingPointsTuning()


@dataclass
class WorkingPoints:
    """The points of the masters, one round after the other.

    Args:
        owners: The sample that each point is an attack on, shape (k,).
        points: Shape (k, d).
        samples: Number of samples, n.
    """

    owners: Index
    points: Array
    samples: int
    idle: Index = field(init=False)
    patience: Index = field(init=False)
    dropped: tuple[Index, Array] = field(init=False)

    def __post_init__(self) -> None:
        self.idle = np.zeros(self.owners.size, dtype=np.intp)
        self.patience = np.ones(self.samples, dtype=np.intp)
        self.dropped = self.owners[:0], self.points[:0]

    @property
    def crowded(self) -> bool:
        """Whether there are enough points for dropping some to pay."""
        return self.owners.size > max(TUNING.small_master, self.samples // 2)

    def losses(self, found: Array) -> Array:
        """The master's loss of each sample, shape (n,), from the loss at each point; without points it is 0."""
        known = np.zeros(self.samples)
        np.maximum.at(known, self.owners, found)
        return known

    def age(self, weights: Array, accurate: bool) -> None:
        """Note which points mattered to the last master.

        Args:
            weights: Their multipliers, shape (k,).
            accurate: Whether its solver was content.
        """
        matters = np.abs(weights) > (TUNING.negligible if accurate else TUNING.purge) / self.samples
        self.idle = np.where(matters, 0, self.idle + 1)

    def drop(self, needed: Index) -> None:
        """Let the points go that have not mattered for as long as their sample has patience.

        Args:
            needed: Samples that must not lose their last point.
        """
        kept = self.idle < self.patience[self.owners]
        kept |= np.isin(self.owners, np.setdiff1d(needed, self.owners[kept]))
        newest = -TUNING.remembered * self.samples
        self.dropped = (
            np.concatenate([self.dropped[0], self.owners[~kept]])[newest:],
            np.vstack([self.dropped[1], self.points[~kept]])[newest:],
        )
        self._keep(kept)

    def add(self, owners: Index, points: Array, gap: float, settled: bool) -> None:
        """Add points, each in place of those of its sample that it hardly differs from.

        Args:
            owners: Samples, each at most once, shape (m,).
            points: Shape (m, d).
            gap: Absolute gap, the scale of differences in the loss that matter.
            settled: Whether the networks change so little that a point which returns was dropped too early.
        """
        place = np.full(self.samples, -1)
        place[owners] = np.arange(owners.size)
        reach = float(np.sqrt(gap))
        if settled:
            back = self.dropped[0][_close(self.dropped, place, points, TUNING.same * reach)]
            again = np.unique(back)
            self.patience[again] = np.minimum(TUNING.backoff * self.patience[again], TUNING.longest_patience)
            stay = ~np.isin(self.dropped[0], back)
            self.dropped = self.dropped[0][stay], self.dropped[1][stay]
        self._keep(~_close((self.owners, self.points), place, points, TUNING.near * reach))
        self.owners = np.concatenate([self.owners, owners])
        self.points = np.vstack([self.points, points])
        self.idle = np.concatenate([self.idle, np.zeros(owners.size, dtype=np.intp)])

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        self.owners, self.points, self.idle = self.owners[kept], self.points[kept], self.idle[kept]


def _close(known: tuple[Index, Array], place: Index, points: Array, reach: float) -> NDArray[np.bool_]:
    """Which known points lie within reach of the new point of their sample, if ``place`` names one."""
    owners, positions = known
    match = place[owners]
    candidates = np.flatnonzero(match >= 0)
    distances = np.linalg.norm(positions[candidates] - points[match[candidates]], axis=1)
    close = np.zeros(owners.size, dtype=bool)
    close[candidates] = distances <= reach
    return close
