"""Scores of every point of a grid in every fold."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.settings import Settings
from cvxrobust.problems.data.folds import Split
from cvxrobust.problems.model_selection.grids import Candidates
from cvxrobust.problems.model_selection.paths import Way, along_grid
from cvxrobust.problems.model_selection.scoring import Judge
from cvxrobust.problems.model_selection.surface import ScoreSurface
from cvxrobust.problems.sklearn_estimators.base import Range
from cvxrobust.problems.sklearn_estimators.rows import TrainingRows

Array = NDArray[np.float64]


def named_like(single: Any, fitted: Any) -> Any:
    """An estimator that knows the features' names, as one does that has seen the data."""
    for name in ("feature_names_in_", "n_features_in_"):
        if hasattr(fitted, name):
            setattr(single, name, getattr(fitted, name))
    return single


@dataclass(frozen=True)
class Search:
    """What is tried, and how points are judged.

    Args:
        single: The estimator that is trained at each point; its beta, radius and number of gates are set.
        candidates: The grid.
        norm: Of the threat.
        bounds: Of inputs under attack, in the data's units; None for no range.
        judge: Scores rows held out.
        tolerance: Certified gap at each point.
        verbose: Say on standard error how far it is.
        warm: Whether points of a fold help each other.
        folder: Where every point is kept as soon as there is one; None for nowhere.
    """

    single: Any
    candidates: Candidates
    norm: Norm
    bounds: Range
    judge: Judge
    tolerance: float
    verbose: bool
    warm: bool = True
    folder: Path | None = None

    def surface(self, rows: TrainingRows, folds: Sequence[Split], n_jobs: int | None) -> ScoreSurface:
        """Train and judge everywhere, several folds at a time where asked.

        Args:
            rows: With labels as they come, weights without those of classes; their radii, or 1, are what those of the
                grid are multiplied by.
            folds: Rows to train on and to judge.
            n_jobs: Processes, as in scikit-learn.
        """
        gates: Sequence[int | None] = self.candidates.gates or (None,)
        tasks = [(number, count) for number in range(len(folds)) for count in gates]
        run = Parallel(n_jobs=n_jobs)
        found: Any = run(
            delayed(self.fold)(rows.take(folds[number][0]), rows.take(folds[number][1]), count, number)
            for number, count in tasks
        )
        shape = (len(folds), len(gates))
        scores, gaps = (
            np.array([one[part] for one in found]).reshape(*shape, *self.candidates.shape[:2]).transpose(2, 3, 1, 0)
            for part in (0, 1)
        )
        seconds = np.array([one[2] for one in found]).reshape(shape).T
        return ScoreSurface(self.candidates, scores, gaps, self.tolerance, seconds)

    def fold(
        self, train: TrainingRows, held: TrainingRows, gates: int | None, number: int
    ) -> tuple[Array, Array, float]:
        """Scores and gaps of one fold with one number of gates, shapes (B, R), and its seconds."""
        clock = time.perf_counter()
        single = named_like(clone(self.single), self.single)
        if gates is not None:
            single.set_params(n_gates=gates)
        stated = single._stated(single._meant(train, part=True))
        threat = replace(stated.threat(self.norm), bounds=self.bounds)

        def problem_at(beta: float, radius: float) -> Any:
            single.set_params(beta=beta)
            return stated.of_radius(radius)

        scores, gaps = np.full((2, *self.candidates.shape[:2]), np.nan)
        way = self._way(single, f"fold-{number}" if gates is None else f"fold-{number}-gates-{gates}")
        for point in along_grid(problem_at, self.candidates.betas, self.candidates.radii, way):
            network = single._finished(point.network, stated)
            scores[point.place] = np.average(self.judge(network, held, threat), weights=held.weights)
            gaps[point.place] = point.gap
        seconds = time.perf_counter() - clock
        if self.verbose:
            certified = int((gaps <= self.tolerance).sum())
            about = "" if gates is None else f", {gates} gates"
            print(
                f"fold {number + 1}{about}: {gaps.size} points, {certified} certified to {self.tolerance:g}, best "
                f"{self.judge.shown(float(scores.max()))}, {seconds:.1f} s",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        return scores, gaps, seconds

    def _way(self, single: Any, name: str) -> Way:
        settings = Settings(tolerance=self.tolerance, time_limit=single.time_limit)
        folder = None if self.folder is None else self.folder / name
        return Way(single.backend, single.method, single.polish, settings, self.warm, folder)
