"""What comes of a path: a network and a certificate per point."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.arguments import function, whole, word
from cvxrobust.core.certificate import Certificate, interval_words
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.result import Quality, Termination
from cvxrobust.core.doors import drawing
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import N
from cvxrobust.core.paths.grid import Index, ProblemGrid
from cvxrobust.core.strangers import shown
from cvxrobust.core.summary import Bar, Cell, Summarised, Summary, counted, gap_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class Origin(StrEnum):
    """What certified a point."""

    COLD = "cold"
    WARM = "warm"
    NEIGHBOURS = "neighbours"


@dataclass(frozen=True, repr=False)
class PathPoint(Summarised, Generic[N]):
    """One point of a path.

    Args:
        beta: Weight of the penalty.
        radius: Attack radius; the factor on the radii of samples that have their own.
        index: Its place among the betas and among the radii, as they were given.
        network: Its network.
        certificate: Bounds on the optimum of this very problem; the upper one is the objective of the network.
        quality: What `core` makes of them.
        termination: Why the solve stopped; converged where neighbours' bounds were enough.
        origin: Whether it was solved from a neighbour's network, from nothing, or needed no solve.
        backend: Who solved it; empty if nobody had to.
        method: By which method.
        seconds: CPU seconds that it took, children's and all threads' included.
        wall: Seconds that it took.
    """

    beta: float
    radius: float
    index: Index
    network: N
    certificate: Certificate
    quality: Quality
    termination: Termination
    origin: Origin
    backend: str = ""
    method: str = ""
    seconds: float = 0.0
    wall: float = 0.0

    def _summary(self) -> Summary:
        how = f"{self.origin}, {self.termination}, {self.seconds:.2f} s of CPU" + (
            f", {self.backend}/{self.method}" if self.backend else ""
        )
        kind = f"{type(self.network).__name__} of {counted(self.network.n_neurons, 'neuron')}"
        facts: tuple[tuple[str, Cell], ...] = (
            ("optimum", interval_words(self.certificate)), ("relative gap", gap_bar(self.gap, self.quality)),
            ("network", kind), ("solved", how),
        )  # fmt: skip
        title = f"PathPoint: beta {self.beta:g}, radius {self.radius:g}, {self.quality}, relative gap {self.gap:.1e}"
        return Summary(title, (f"optimum {interval_words(self.certificate)}, {kind}", how), facts)

    @property
    def gap(self) -> float:
        """The certificate's relative gap."""
        return self.certificate.relative_gap

    def to_dict(self) -> dict[str, Any]:
        """Everything but the network's arrays, ready for JSON."""
        return {
            "beta": self.beta,
            "radius": self.radius,
            "index": list(self.index),
            "upper": self.certificate.upper,
            "lower": self.certificate.lower,
            "gap": self.gap,
            "quality": str(self.quality),
            "termination": str(self.termination),
            "origin": str(self.origin),
            "backend": self.backend,
            "method": self.method,
            "neurons": self.network.n_neurons,
            "seconds": self.seconds,
            "wall": self.wall,
        }


@dataclass(frozen=True, eq=False, repr=False)
class PathResult(Summarised, Generic[N]):
    """A path, or a surface: what came of every point that was reached.

    Args:
        grid: The problems.
        points: By their places among betas and radii; those that were not reached are missing.
        termination: Why the path ended: converged if every point was reached, whatever its quality.
        tolerance: Relative gap that was asked for.
        seconds_in_all: CPU seconds of this call, points that a folder had already not counted.
        wall: Seconds of this call.
    """

    grid: ProblemGrid[N] = field(repr=False)
    points: Mapping[Index, PathPoint[N]] = field(repr=False)
    termination: Termination
    tolerance: float
    seconds_in_all: float = 0.0
    wall: float = 0.0

    def _summary(self) -> Summary:
        certified = sum(point.quality == "certified" for point in self)
        grid = f"{counted(self.betas.size, 'beta')} x {counted(self.radii.size, 'radius', 'radii')}"
        share = Bar(certified / self.solved.size, f"{certified} of {self.solved.size} points to {self.tolerance:.0e}",
                    "certified")  # fmt: skip
        seconds = f"{self.seconds_in_all:.2f} s of CPU, {self.wall:.2f} s"
        facts: tuple[tuple[str, Cell], ...] = (
            ("grid", grid), ("certified", share), ("ended", f"{self.termination} after {seconds}"),
        )  # fmt: skip
        points = tuple(
            (f"{point.beta:.4g}", f"{point.radius:.4g}", f"{point.certificate.upper:.6g}", str(point.origin),
             gap_bar(point.gap, point.quality))
            for point in self
        )  # fmt: skip
        heads = ("beta", "radius", "objective", "by", "relative gap")
        words = f"{certified} of {self.solved.size} points certified to {self.tolerance:.0e}, {len(self)} reached"
        lines = words, f"{self.termination} after {seconds}"
        return Summary(f"PathResult: {grid}", lines, facts, heads, points)

    @property
    def betas(self) -> Array:
        """Weights of the penalty, shape (B,)."""
        return self.grid.betas

    @property
    def radii(self) -> Array:
        """Attack radii, or factors, shape (R,)."""
        return self.grid.radii

    @property
    def upper(self) -> Array:
        """Upper bounds, shape (B, R); NaN where there is no point."""
        return self._table(lambda point: point.certificate.upper)

    @property
    def lower(self) -> Array:
        """Lower bounds, shape (B, R)."""
        return self._table(lambda point: point.certificate.lower)

    @property
    def gap(self) -> Array:
        """Relative gaps, shape (B, R)."""
        return self._table(lambda point: point.gap)

    @property
    def seconds(self) -> Array:
        """CPU seconds, shape (B, R)."""
        return self._table(lambda point: point.seconds)

    @property
    def solved(self) -> NDArray[np.bool_]:
        """Which points were reached, shape (B, R)."""
        return np.isfinite(self._table(lambda point: 0.0))

    @property
    def terminated(self) -> tuple[tuple[Termination | None, ...], ...]:
        """Why each solve stopped, B tuples of R; None where there is no point."""
        return self._tuples(lambda point: point.termination)

    @property
    def networks(self) -> tuple[tuple[N | None, ...], ...]:
        """The networks, B tuples of R; None where there is no point."""
        return self._tuples(lambda point: point.network)

    @property
    def complete(self) -> bool:
        """Whether every point was reached and certified to the tolerance."""
        return bool(self.solved.all()) and all(point.quality == "certified" for point in self.points.values())

    def __getitem__(self, index: Index) -> PathPoint[N]:
        """The point of the given places among betas and radii, which may count from the end.

        Raises:
            IndexError: There is no such place.
            KeyError: The point was not reached.
        """
        beta, radius = (range(size)[place] for place, size in zip(index, self.grid.shape, strict=True))
        if (beta, radius) not in self.points:
            raise KeyError(f"point {(beta, radius)} was not reached: the path ended by its {self.termination}.")
        return self.points[beta, radius]

    def __iter__(self) -> Iterator[PathPoint[N]]:
        """The points that were reached, beta by beta."""
        return (self.points[index] for index in sorted(self.points))

    def __len__(self) -> int:
        return len(self.points)

    def best(self, score: Callable[[PathPoint[N]], float]) -> PathPoint[N]:
        """The point with the largest score; of equals the one with the largest beta, then the largest radius.

        Args:
            score: Of a point, a robust accuracy on held-out rows say; NaN never wins.

        Raises:
            InputError: No point was reached, none has a score, or `score` gives no number.
        """
        function(score, "score", "a PathPoint that returns a number")
        found = [(_score(score, point), point.beta, point.radius, point) for point in self]
        scored = [one for one in found if one[0] == one[0]]
        if not scored:
            raise InputError("no point of this path has a score; give one that is a number for some point.")
        return max(scored, key=lambda one: one[:3])[3]

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the optimum between its bounds along betas, a line per radius; along radii if there is one beta.

        Args:
            ax: Axes of matplotlib to draw into; None for a new figure.

        Raises:
            InputError: No point was reached, or matplotlib is missing.
        """
        axes: Axes = drawing("path", "plot_path")(self, ax)
        return axes

    def problem_at(self, beta: int, radius: int) -> Problem[N]:
        """The problem of the given places among betas and radii, to be solved again, say.

        Raises:
            InputError: There are no such places.
        """
        for name, place, size in (("beta", beta, self.betas.size), ("radius", radius, self.radii.size)):
            if whole(place, name, 0) >= size:
                raise InputError(f"{name} is {place}, a place among {size}; expected 0 to {size - 1}.")
        return self.grid.at((beta, radius))

    def count(self, origin: str) -> int:
        """How many points came about in one way: ``"cold"``, ``"warm"`` or ``"neighbours"``.

        Raises:
            UnknownNameError: It is none of them.
        """
        word(origin, "origin", Origin)
        return sum(point.origin == origin for point in self.points.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything but the networks' arrays, ready for JSON."""
        return {
            "betas": self.betas.tolist(),
            "radii": self.radii.tolist(),
            "termination": str(self.termination),
            "tolerance": self.tolerance,
            "complete": self.complete,
            "seconds": self.seconds_in_all,
            "wall": self.wall,
            "points": [point.to_dict() for point in self],
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1)

    def table(self) -> str:
        """A line per point, as plain text."""
        lines = [f"{'beta':>10} {'radius':>8} {'lower':>12} {'upper':>12} {'gap':>8} {'by':>10} {'seconds':>8}"]
        for one in self:
            bounds = one.certificate
            lines.append(
                f"{one.beta:10.4g} {one.radius:8.4g} {bounds.lower:12.6g} {bounds.upper:12.6g} {one.gap:8.1e} "
                f"{one.origin:>10} {one.seconds:8.3f}"
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        total, reached = self.solved.size, len(self)
        certified = sum(point.quality == "certified" for point in self.points.values())
        worst = max((point.gap for point in self.points.values()), default=float("nan"))
        ways = ", ".join(f"{count} {way}" for way in Origin if (count := self.count(way)))
        return (
            f"{certified} of {total} points certified to {self.tolerance:.0e} ({reached} reached, worst gap "
            f"{worst:.1e}; {ways}), "
            f"{self.termination} after {self.seconds_in_all:.2f} s of CPU, {self.wall:.2f} s"
        )

    def _table(self, value: Callable[[PathPoint[N]], float]) -> Array:
        found = np.full(self.grid.shape, np.nan)
        for index, point in self.points.items():
            found[index] = value(point)
        return found

    def _tuples(self, value: Callable[[PathPoint[N]], Any]) -> tuple[tuple[Any, ...], ...]:
        rows, columns = self.grid.shape
        return tuple(
            tuple(value(self.points[i, j]) if (i, j) in self.points else None for j in range(columns))
            for i in range(rows)
        )


def _score(score: Callable[[PathPoint[N]], float], point: PathPoint[N]) -> float:
    """What a caller's function makes of a point.

    Raises:
        InputError: It is no number.
    """
    found = score(point)
    if not isinstance(found, int | float | np.bool_ | np.number) or isinstance(found, complex | np.complexfloating):
        raise InputError(f"score returns {shown(found)}; expected a number for each point.")
    return float(found)
