"""Scores of every point of a grid in every fold."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.settings import Settings
from cvxrobust.core.weights import together
from cvxrobust.problems.model_selection.folds import Split
from cvxrobust.problems.model_selection.grids import Candidates
from cvxrobust.problems.model_selection.paths import Way, along_grid
from cvxrobust.problems.model_selection.scoring import threat_of_shape, withstands
from cvxrobust.problems.model_selection.surface import ScoreSurface
from cvxrobust.problems.sklearn_estimators.base import Stated, TrainingRows
from cvxrobust.problems.sklearn_estimators.classifiers import NetworkClassifier

Array = NDArray[np.float64]


def named_like(single: NetworkClassifier, fitted: Any) -> NetworkClassifier:
    """A classifier that knows the features' names, as one does that has seen the data."""
    for name in ("feature_names_in_", "n_features_in_"):
        if hasattr(fitted, name):
            setattr(single, name, getattr(fitted, name))
    return single


def stated_for(single: NetworkClassifier, rows: TrainingRows) -> tuple[Stated, tuple[Any, ...]]:
    """What a classifier solves on some rows, all of which count, and the labels of its classes.

    Args:
        single: The classifier; its class weights are those of these rows.
        rows: With labels as they come.
    """
    weight, labels = single.class_weight, rows.targets
    if isinstance(weight, Mapping):
        # A class of which a fold has no row needs no weight.
        weight = {label: number for label, number in weight.items() if label in set(labels.tolist())}
    weights = together(rows.weights, weight, labels, labels.size)
    stated = single._stated(single._numbered(replace(rows, weights=weights)))
    return stated, tuple(single.classes_.tolist())


@dataclass(frozen=True)
class Search:
    """What is tried, and how points are judged.

    Args:
        single: The classifier that is trained at each point; its beta, radius and number of gates are set.
        candidates: The grid.
        norm: Of the threat.
        threat_radius: Of the threat.
        tolerance: Certified gap at each point.
        verbose: Say on standard error how far it is.
        warm: Whether points of a fold help each other.
        folder: Where every point is kept as soon as there is one; None for nowhere.
    """

    single: NetworkClassifier
    candidates: Candidates
    norm: Norm
    threat_radius: float
    tolerance: float
    verbose: bool
    warm: bool = True
    folder: Path | None = None

    def surface(self, rows: TrainingRows, folds: Sequence[Split], n_jobs: int | None) -> ScoreSurface:
        """Train and judge everywhere, several folds at a time where asked.

        Args:
            rows: With labels as they come, weights without those of classes.
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
        copy: Any = clone(self.single)
        single = named_like(copy, self.single)
        if gates is not None:
            single.set_params(n_gates=gates)
        stated, classes = stated_for(single, train)
        threat = threat_of_shape(self.norm, stated.shape)

        def problem_at(beta: float, radius: float) -> Any:
            return single.set_params(beta=beta)._problem(replace(stated.rows, radius=radius), stated.shape)

        scores, gaps = np.full((2, *self.candidates.shape[:2]), np.nan)
        way = self._way(single, f"fold-{number}" if gates is None else f"fold-{number}-gates-{gates}")
        for point in along_grid(problem_at, self.candidates.betas, self.candidates.radii, way):
            network = point.network.replace(standardizer=stated.standardizer, classes=classes)
            (right,) = withstands(network, held.inputs, held.targets, threat, np.array([self.threat_radius]))
            scores[point.place] = np.average(right, weights=held.weights)
            gaps[point.place] = point.gap
        seconds = time.perf_counter() - clock
        if self.verbose:
            certified = int((gaps <= self.tolerance).sum())
            about = "" if gates is None else f", {gates} gates"
            print(
                f"fold {number + 1}{about}: {gaps.size} points, {certified} certified to {self.tolerance:g}, best "
                f"{100.0 * scores.max():.1f} %, {seconds:.1f} s",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        return scores, gaps, seconds

    def _way(self, single: Any, name: str) -> Way:
        settings = Settings(tolerance=self.tolerance, time_limit=single.time_limit)
        folder = None if self.folder is None else self.folder / name
        return Way(single.backend, single.method, single.polish, settings, self.warm, folder)
