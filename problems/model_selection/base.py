"""What classifiers share that choose their own hyperparameters."""

import os
import warnings
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, check_random_state

from cvxrobust.core.attacks.norms import GEOMETRIES, Norm, check_norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.pictures.surface import plot_surface
from cvxrobust.core.validation import as_numbers
from cvxrobust.core.weights import together
from cvxrobust.problems.model_selection.folds import splits
from cvxrobust.problems.model_selection.grids import (
    FACTORS,
    Candidates,
    checked_betas,
    checked_radii,
    checked_threat_radius,
    factors_in_l2,
)
from cvxrobust.problems.model_selection.scoring import threat_of_shape, withstands
from cvxrobust.problems.model_selection.search import Search, named_like, stated_for
from cvxrobust.problems.model_selection.surface import RULES, ScoreSurface
from cvxrobust.problems.sklearn_estimators.base import TrainingRows
from cvxrobust.problems.sklearn_estimators.classifiers import NetworkClassifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

SHOWN = 3
"""Points that a warning names."""


class CrossValidatedClassifier(NetworkClassifier):
    """Base of these classifiers: a subclass has a constructor, and says what is trained at a point of the grid."""

    threat_radius: float
    norm: Norm
    betas: ArrayLike | int
    radii: ArrayLike | None
    radius_factors: ArrayLike | None
    cv: Any
    rule: str
    refit: bool
    search_tolerance: float
    random_state: Any
    n_jobs: int | None
    verbose: int
    warm: bool
    folder: str | os.PathLike[str] | None

    def _single(self, seed: int) -> NetworkClassifier:
        """The classifier of a point, whose beta, radius and number of gates are yet to be set."""
        raise NotImplementedError

    def _training_norm(self, norm: Norm) -> Norm:
        """Norm of the attacks that are trained against where the threat has this one."""
        raise NotImplementedError

    def _asked_gates(self, problem: Any) -> tuple[int, ...]:
        """Numbers of gates to try where a problem of all rows is this one; none where networks have none."""
        return ()

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, groups: ArrayLike | None = None
    ) -> Self:
        """Choose hyperparameters on rows X, shape (n, d), with labels y of any kind, shape (n,), and train with them.

        Args:
            X: Inputs; a sparse matrix is read as the table that it stands for, where that fits into memory.
            y: Labels.
            sample_weight: What each row counts, in training and in scores, shape (n,): 2 is a row twice, 0 leaves it
                out.
            groups: Rows with the same one are never on both sides of a fold, shape (n,); None for rows that come again.

        Raises:
            ValueError: The data, the attacks or what is to be tried is unusable, or there are fewer than two classes.
        """
        for name in ("network_", "best_estimator_", "result_", "threat_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        if self.rule not in RULES:
            raise UnknownNameError("rule", self.rule, RULES)
        norm, radius = check_norm(self.norm), checked_threat_radius(self.threat_radius)
        inputs, labels = self._checked(X, y)
        check_classification_targets(labels)
        weights = together(sample_weight, None, labels, inputs.shape[0])
        combined = together(weights, self.class_weight, labels, inputs.shape[0])
        counted = np.ones(labels.size, dtype=np.bool_) if combined is None else combined > 0.0
        rows = TrainingRows(inputs, labels, weights, 0.0)
        self._numbered(rows.take(counted))
        of_folds, of_gates = self._seeds()
        single = named_like(self._single(of_gates), self)
        candidates = self._candidates(single, rows.take(counted), norm, radius)
        index = np.searchsorted(self.classes_, np.where(counted, labels, self.classes_[0]))
        folds = splits(self.cv, inputs, index, counted, groups, of_folds)
        kept = None if self.folder is None else Path(self.folder)
        search = Search(single, candidates, norm, radius, self.search_tolerance, bool(self.verbose), self.warm, kept)
        self._keep(search.surface(rows, folds, self.n_jobs))
        return self._refitted(single, rows.take(counted), norm, radius) if self.refit else self

    def plot_surface(self, ax: "Axes | None" = None, gates: int | None = None) -> "Axes":
        """Draw what every beta and training radius scored: means and their standard errors, the choice framed.

        Args:
            ax: Axes of matplotlib to draw into; None for a new figure.
            gates: Of ReLU networks, which number of gates; None for the one chosen.

        Raises:
            InputError: That number was not tried, or matplotlib is missing.
            NotFittedError: Nothing was tried yet.
        """
        check_is_fitted(self, "surface_")
        return plot_surface(self.surface_, ax, self.best_index_, gates)

    @property
    def certificate_(self) -> Certificate:
        """How far the network can be from the best of its kind on all rows of `fit`."""
        found: Certificate = self.result_.certificate
        return found

    @property
    def scores_(self) -> Array:
        """Certified accuracy under the threat by beta, radius, number of gates and fold, shape (B, R, G, F)."""
        return self.surface_.scores

    @property
    def score_std_(self) -> Array:
        """Standard deviations over folds, shape (B, R, G)."""
        return self.surface_.standard_deviations

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def robust_score(self, X: ArrayLike, y: ArrayLike, radii: float | ArrayLike) -> Array:
        """Accuracy that no attack of the threat's kind can take, by proof, at each radius, shape (k,).

        What hyperparameters are chosen by: exact for polynomial networks against l2 attacks and ellipsoids, a lower
        bound otherwise. Units are those of `threat_radius`.

        Raises:
            ValueError: A radius is none, or there is not one label per row.
        """
        inputs, labels = self._inputs(X), self._labels(y)
        check_consistent_length(inputs, labels)
        asked = np.atleast_1d(as_numbers(radii, "radii", "expected finite values of 0 or more"))
        if not ((asked >= 0.0) & np.isfinite(asked)).all():
            raise InputError(f"radii are {asked.tolist()}; expected finite values of 0 or more.")
        return np.asarray(withstands(self.network_, inputs, labels, self.threat_, asked).mean(axis=1))

    @property
    def threat_(self) -> Threat:
        """The attacks that hyperparameters were chosen by, but for their radius, on inputs as the network sees them."""
        check_is_fitted(self)
        return self._threat

    def _own_radius(self) -> float:
        return float(self.threat_radius)

    def _inputs(self, X: ArrayLike) -> Array:
        if hasattr(self, "surface_") and not hasattr(self, "network_"):
            raise NotFittedError(
                "hyperparameters were chosen with refit=False, so there is no network; fit with refit=True, or train "
                f"with best_params_ = {self.best_params_}."
            )
        return super()._inputs(X)

    def _seeds(self) -> tuple[int, int]:
        """Of the folds and of the gates; a whole number draws the gates that `seed` draws elsewhere."""
        drawn = check_random_state(self.random_state).randint(2**31 - 1, size=2).tolist()
        return drawn[0], int(self.random_state) if isinstance(self.random_state, Integral) else drawn[1]

    def _candidates(self, single: NetworkClassifier, rows: TrainingRows, norm: Norm, radius: float) -> Candidates:
        stated, _ = stated_for(single, rows)
        movable = threat_of_shape(norm, stated.shape).on(rows.inputs[:1]).ball.dimension
        usual = FACTORS if self._training_norm(norm) == norm else factors_in_l2(GEOMETRIES[norm], movable)
        radii = checked_radii(self.radii, self.radius_factors, radius, usual)
        return Candidates(checked_betas(self.betas), radii, self._asked_gates(stated.problem))

    def _keep(self, surface: ScoreSurface) -> None:
        """What the search found."""
        place = surface.best(self.rule)
        self.surface_ = surface
        self.best_index_, self.best_params_ = place, surface.candidates.point(*place)
        self.beta_, self.radius_ = float(self.best_params_["beta"]), float(self.best_params_["radius"])
        self.best_score_, self.best_score_std_ = (
            float(part[place]) for part in (surface.means, surface.standard_deviations)
        )
        if not (missed := surface.uncertified):
            return
        named = "; ".join(", ".join(f"{name} {value:.3g}" for name, value in one.items()) for one in missed[:SHOWN])
        more = f" and {len(missed) - SHOWN} more" if len(missed) > SHOWN else ""
        warnings.warn(
            f"{len(missed)} of {surface.gaps.size} trainings were not certified to {surface.tolerance:g} and are "
            f"scored as they are: {named}{more}. Give a longer time_limit, or a larger search_tolerance.",
            ConvergenceWarning,
            stacklevel=3,
        )

    def _refitted(self, single: NetworkClassifier, rows: TrainingRows, norm: Norm, radius: float) -> Self:
        best = single.set_params(**self.best_params_)
        stated, classes = stated_for(best, replace(rows, radius=self.radius_))
        best._solved(stated, classes=classes)
        self._threat = threat_of_shape(norm, stated.shape)
        ball = self._threat.on(stated.rows.inputs[:1]).ball
        self.best_estimator_, self.network_, self.result_ = best, best.network_, best.result_
        self.constant_features_ = best.constant_features_
        reach = radius * ball.dual_norm(np.eye(ball.attackable)) * (ball.dimension > 0)
        self.attack_reach_ = reach if stated.standardizer is None else reach * stated.standardizer.scale
        return self
