"""What an evaluation found: a bracket of the robust accuracy at every radius, and who proved or broke what."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.doors import drawing
from cvxrobust.core.robustness.certificates import Kind
from cvxrobust.core.summary import Bar, Summarised, Summary, counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class RobustnessReport(Summarised):
    """``certified <= true robust accuracy <= attacked`` at every radius.

    Args:
        radii: Shape (k,), ascending.
        held: Rows that are proved to keep their class at each radius, shape (k, n).
        alive: Rows that no attack turned wrong, shape (k, n).
        broken_by: The attack that first turned each row wrong, "" for none, shape (n,).
        broken_at: The radius at which it did, inf for none, shape (n,).
        points: The attacked inputs of rows that were turned wrong, in the units of X, and X elsewhere, in its shape.
        certificate: What proves the lower end.
        kind: Whether a row without a certificate can be attacked: "exact" says surely, but for rounding.
        units: What a radius of 1 is.
        refused: Attacks that claimed success and did not pass the check here, by name.
        notes: What was not as usual, one sentence each.
    """

    radii: Array
    held: NDArray[np.bool_]
    alive: NDArray[np.bool_]
    broken_by: NDArray[Any]
    broken_at: Array
    points: Array
    certificate: str
    kind: Kind
    units: str
    refused: dict[str, int]
    notes: tuple[str, ...] = ()

    def _summary(self) -> Summary:
        brackets = list(zip(self.radii.tolist(), self.certified.tolist(), self.attacked.tolist(), strict=True))
        rows = f"{counted(int(self.held.shape[1]), 'row')}, {counted(self.radii.size, 'radius', 'radii')}"
        words = [f"{radius:g}: {_share_words(low, high)}" for radius, low, high in brackets]
        by = f"certified by {self.certificate}, turned wrong by {self.breakers}"
        records = tuple(
            (f"{radius:g}", Bar(low, _share_words(low, high), further=high)) for radius, low, high in brackets
        )
        facts = (("rows", rows), ("radii in", self.units), ("certified by", self.certificate),
                 ("turned wrong by", self.breakers), ("notes", " ".join(self.notes)))  # fmt: skip
        title = f"RobustnessReport: {rows}, in {self.units}"
        return Summary(title, (f"accuracy at {', '.join(words)}", by), facts, ("radius", "accuracy"), records)

    @property
    def certified(self) -> Array:
        """The share of rows that surely withstand every attack, shape (k,)."""
        return np.asarray(self.held.mean(axis=1))

    @property
    def attacked(self) -> Array:
        """The share of rows that no attack here turned wrong, shape (k,)."""
        return np.asarray(self.alive.mean(axis=1))

    @property
    def certified_at(self) -> Array:
        """The largest of the radii at which each row is certified, shape (n,); NaN where it is at none."""
        count = self.held.cumprod(axis=0).sum(axis=0)
        return np.asarray(np.where(count > 0, self.radii[np.maximum(count - 1, 0)], np.nan))

    @property
    def clean(self) -> float:
        """The share of rows that are right without an attack; NaN unless 0 is among the radii."""
        return float(self.attacked[0]) if self.radii.size and self.radii[0] == 0.0 else float("nan")

    @property
    def breakers(self) -> str:
        """Which attacks turned how many rows wrong, in words."""
        return ", ".join(f"{name} {count}" for name, count in self._broken().items()) or "nothing"

    def _broken(self) -> dict[str, int]:
        names, counts = np.unique(self.broken_by[self.broken_by != ""].astype(str), return_counts=True)
        return {str(name): int(count) for name, count in zip(names, counts, strict=True)}

    def __str__(self) -> str:
        lines = [f"{'radius':>10}  certified  attacked    (radii in {self.units})"]
        lines += [
            f"{radius:10.4g}  {low:9.4f}  {high:8.4f}"
            for radius, low, high in zip(self.radii, self.certified, self.attacked, strict=True)
        ]
        kind = "" if self.kind == "none" else f" ({self.kind})"
        lines += [f"certified by: {self.certificate}{kind}", f"turned wrong by: {self.breakers}"]
        if self.refused:
            found = ", ".join(f"{name} {count}" for name, count in self.refused.items())
            lines.append(f"claims that did not pass the check: {found}")
        return "\n".join([*lines, *self.notes])

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the brackets, and what lies between them at all radii.

        Args:
            ax: Axes of matplotlib to draw into; None for a new figure.

        Raises:
            InputError: There are fewer than two radii, or matplotlib is missing.
        """
        axes: Axes = drawing("band", "plot_band")(self, ax)
        return axes

    def to_json(self) -> dict[str, Any]:
        """The brackets and who is behind them, ready for JSON; without rows."""
        return {
            "radii": self.radii.tolist(),
            "certified": self.certified.tolist(),
            "attacked": self.attacked.tolist(),
            "rows": int(self.held.shape[1]),
            "certificate": self.certificate,
            "kind": self.kind,
            "units": self.units,
            "broken_by": self._broken(),
            "refused": dict(self.refused),
            "notes": list(self.notes),
        }


def _share_words(low: float, high: float) -> str:
    """A bracket in per cent: ``93.0 %``, ``91.0 to 93.0 %``."""
    return f"{100.0 * low:.1f} %" if low == high else f"{100.0 * low:.1f} to {100.0 * high:.1f} %"
