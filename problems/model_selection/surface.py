"""Scores over a grid of hyperparameters, and the point that is chosen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.arguments import word
from cvxrobust.core.summary import Bar, Cell, Summarised, Summary, counted
from cvxrobust.problems.model_selection.grids import Candidates

Array = NDArray[np.float64]

BEST, ONE_STANDARD_ERROR = "best", "one-standard-error"
RULES = (BEST, ONE_STANDARD_ERROR)
"""How a point is chosen: the best mean, or the simplest network among those within a standard error of it."""

ROUNDING = 1e-12
"""Means that differ by less are the same."""


@dataclass(frozen=True, eq=False, repr=False)
class ScoreSurface(Summarised):
    """What every point of a grid scored in every fold.

    Args:
        candidates: The grid.
        scores: Means over rows not trained on, shape (B, R, G, F), larger is better: of classifiers the certified
            accuracy under the threat, of regressors minus the largest errors, or their squares, that it may make.
        gaps: Certified relative gaps of training, of the same shape.
        tolerance: The gap that was asked for.
        seconds: That each fold took for each number of gates, shape (G, F).
        of_errors: Whether scores are minus the errors of a regressor, and no shares.
    """

    candidates: Candidates
    scores: Array
    gaps: Array
    tolerance: float
    seconds: Array
    of_errors: bool = False

    def _summary(self) -> Summary:
        betas, radii, gates, folds = self.scores.shape
        grid = f"{counted(betas, 'beta')} x {counted(radii, 'radius', 'radii')}"
        grid += f" x {counted(gates, 'number', 'numbers')} of gates" if self.candidates.gates else ""
        order = np.argsort(-self.means, axis=None, kind="stable")
        places = [tuple(int(part) for part in np.unravel_index(k, self.means.shape)) for k in order]
        records = tuple(_record(self, at) for at in places)
        heads = (*self.candidates.point(0, 0, 0), "certified accuracy")
        best = self.best()
        point = ", ".join(f"{name} {value:.4g}" for name, value in self.candidates.point(*best).items())
        missed = f"{len(self.uncertified)} of {self.gaps.size} trainings above a gap of {self.tolerance:g}"
        facts = (("grid", f"{grid}, {counted(folds, 'fold')}"), ("best", f"{_words(self, best)} at {point}"),
                 ("at an end of the grid", "; ".join(self.at_ends)), ("not certified", missed))  # fmt: skip
        title = f"ScoreSurface: {grid}, {counted(folds, 'fold')}"
        return Summary(title, (f"best {_words(self, best)} at {point}", missed), facts, heads, records)

    @property
    def means(self) -> Array:
        """Over folds, shape (B, R, G)."""
        return np.asarray(self.scores.mean(axis=-1))

    @property
    def standard_deviations(self) -> Array:
        """Of a fold's score, shape (B, R, G); 0 for a single fold."""
        return np.asarray(self.scores.std(axis=-1, ddof=min(1, self.scores.shape[-1] - 1)))

    @property
    def standard_errors(self) -> Array:
        """Of the means, as if folds were independent, shape (B, R, G)."""
        return np.asarray(self.standard_deviations / np.sqrt(self.scores.shape[-1]))

    @property
    def uncertified(self) -> tuple[dict[str, float | int], ...]:
        """The points whose gap is larger than asked for: hyperparameters, fold and gap."""
        places = np.argwhere(~(self.gaps <= self.tolerance))
        return tuple(
            self.candidates.point(b, r, g) | {"fold": f, "gap": float(self.gaps[b, r, g, f])}
            for b, r, g, f in places.tolist()
        )

    def best(self, rule: str = BEST) -> tuple[int, int, int]:
        """The place that a rule chooses.

        Of points that are alike the simplest network counts: the fewest gates, the largest beta, the largest radius.

        Raises:
            UnknownNameError: There is no such rule.
        """
        word(rule, "rule", RULES)
        means = self.means
        place = np.unravel_index(int(means.argmax()), means.shape)
        least = float(means[place]) - ROUNDING
        if rule == ONE_STANDARD_ERROR:
            least -= float(self.standard_errors[place])
        good = np.argwhere(means >= least)
        # Betas descend, radii and numbers of gates ascend.
        b, r, g = min(good.tolist(), key=lambda at: (at[2], at[0], -at[1]))
        return b, r, g

    @property
    def at_ends(self) -> tuple[str, ...]:
        """What the best point has at an end of the grid, so that others beyond may be better; mostly nothing.

        Only where the next value inside is worse, and never that a radius is 0.
        """
        best, means, grid = self.best(), self.means, self.candidates
        found = []
        # Along each axis: its values, and what the first and the last of them are called; a radius of 0 is no end.
        axes = ((grid.betas, "beta", "largest", "smallest"), (grid.radii, "training radius", "smallest", "largest"),
                (grid.gates, "number of gates", "smallest", "largest"))  # fmt: skip
        for axis, (values, name, first, last) in enumerate(axes):
            place = best[axis]
            if len(values) < 2 or 0 < place < len(values) - 1 or values[place] == 0.0:
                continue
            inside = list(best)
            inside[axis] += 1 if place == 0 else -1
            if means[best] > means[tuple(inside)] + ROUNDING:
                found.append(f"{name} {values[place]:.4g} is the {first if place == 0 else last} that was tried")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        grid = self.candidates
        return {
            "betas": list(grid.betas),
            "radii": list(grid.radii),
            "n_gates": list(grid.gates),
            "scores": self.scores.tolist(),
            "means": self.means.tolist(),
            "standard_errors": self.standard_errors.tolist(),
            "gaps": self.gaps.tolist(),
            "tolerance": self.tolerance,
            "uncertified": list(self.uncertified),
            "at_ends": list(self.at_ends),
            "seconds": float(self.seconds.sum()),
        }


def _record(surface: ScoreSurface, place: tuple[int, ...]) -> tuple[Cell, ...]:
    b, r, g = place
    values = [f"{value:.4g}" for value in surface.candidates.point(b, r, g).values()]
    return (*values, Bar(float(surface.means[place]), _words(surface, place)))


def _words(surface: ScoreSurface, place: tuple[int, ...]) -> str:
    """A mean score and its standard error in per cent."""
    mean, error = float(surface.means[place]), float(surface.standard_errors[place])
    return f"{100.0 * mean:.1f} ± {100.0 * error:.1f} %"
