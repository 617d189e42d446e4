"""What estimators share that choose their own hyperparameters."""

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
from sklearn.utils.validation import check_is_fitted, check_random_state

from cvxrobust.core.arguments import word
from cvxrobust.core.attacks.norms import GEOMETRIES, Norm, check_norm
from cvxrobust.core.attacks.radii import asked_radii
from cvxrobust.core.pictures.surface import plot_surface
from cvxrobust.core.robustness.models import places
from cvxrobust.core.settings import Settings
from cvxrobust.core.weights import together
from cvxrobust.problems.data.folds import splits
from cvxrobust.problems.model_selection.grids import (
    FACTORS,
    Candidates,
    checked_betas,
    checked_radii,
    checked_threat_radius,
    factors_in_l2,
)
from cvxrobust.problems.model_selection.parameters import check_search
from cvxrobust.problems.model_selection.scoring import CertifiedAccuracy, Judge, WorstError, withstands
from cvxrobust.problems.model_selection.search import Search, named_like
from cvxrobust.problems.model_selection.surface import RULES, ScoreSurface
from cvxrobust.problems.sklearn_estimators.base import NetworkEstimator
from cvxrobust.problems.sklearn_estimators.classifying import NetworkClassifier
from cvxrobust.problems.sklearn_estimators.probabilities import check_calibration
from cvxrobust.problems.sklearn_estimators.regressing import NetworkRegressor
from cvxrobust.problems.sklearn_estimators.rows import TrainingRows, one_per_row, radii_of_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

SHOWN = 3
"""Points that a warning names."""


class CrossValidated(NetworkEstimator):
    """Base of these estimators: a subclass has a constructor, says what is trained at a point of the grid, and judges.

    In `fit` radii of rows are what others are multiplied by: 1, or those of `sample_radius`.
    """

    threat_radius: float | None
    betas: ArrayLike | int
    radii: ArrayLike | None
    radius_factors: ArrayLike | None
    cv: Any
    rule: str
    refit: bool
    search_tolerance: float
    n_jobs: int | None
    verbose: int
    warm: bool
    folder: str | os.PathLike[str] | None

    surface_: ScoreSurface
    best_params_: dict[str, float | int]

    def _single(self, seed: int) -> Any:
        """The estimator of a point, whose beta, radius and number of gates are yet to be set."""
        raise NotImplementedError

    def _training_norm(self, norm: Norm) -> Norm:
        """Norm of the attacks that are trained against where the threat has this one."""
        raise NotImplementedError

    def _asked_gates(self, problem: Any) -> tuple[int, ...]:
        """Numbers of gates to try where a problem of all rows is this one; none where networks have none."""
        return ()

    def _judge(self, radius: float) -> Judge:
        """What scores rows held out."""
        raise NotImplementedError

    def _strata(self, rows: TrainingRows, counted: NDArray[np.bool_]) -> tuple[NDArray[Any], bool]:
        """What folds keep in proportion, shape (n,), and whether it is targets, of which they keep nothing."""
        raise NotImplementedError

    def _counts(self, rows: TrainingRows) -> NDArray[np.bool_]:
        """Which rows count, shape (n,)."""
        return np.ones(rows.targets.size, dtype=np.bool_) if rows.weights is None else rows.weights > 0.0

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        *,
        sample_radius: ArrayLike | None = None,
    ) -> Self:
        """Choose hyperparameters on rows X, shape (n, d), with labels or targets y, shape (n,), and train with them.

        Args:
            X: Inputs; a sparse matrix is read as the table that it stands for, where that fits into memory.
            y: Labels of any kind, or real targets.
            sample_weight: What each row counts, in training and in scores, shape (n,): 2 is a row twice, 0 leaves it
                out.
            groups: Rows with the same one are never on both sides of a fold, shape (n,); None for rows that come again.
            sample_radius: A radius of the attacks on each row, 0 or more, shape (n,), which that of the threat and
                those to train at multiply (`threat_radius` None for 1).

        Raises:
            ValueError: The data, the attacks or what is to be tried is unusable, or there are fewer than two classes.
        """
        for name in ("network_", "best_estimator_", "result_", "calibrator_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        Settings(tolerance=self.tolerance, time_limit=self.time_limit)  # refused before the search, which has its own
        check_search(self.refit, self.warm, self.verbose, self.folder, self.n_jobs, self.random_state)
        word(self.rule, "rule", RULES)
        norm = check_norm(self.norm)
        radius = checked_threat_radius(self.threat_radius, usual=0.0 if sample_radius is None else 1.0)
        judge = self._judge(radius)
        rows = self._given(X, y, sample_weight, sample_radius)
        units = 1.0 if sample_radius is None else radii_of_rows(None, sample_radius, rows.targets.size)
        rows = replace(rows, radius=units)
        counted = self._counts(rows)
        strata, of_targets = self._strata(rows, counted)
        of_folds, of_gates = self._seeds()
        single = named_like(self._single(of_gates), self)
        candidates = self._candidates(single, rows.take(counted), norm, radius)
        folds = splits(self.cv, rows.inputs, strata, counted, groups, of_folds, targets=of_targets)
        kept = None if self.folder is None else Path(self.folder)
        search = Search(
            single, candidates, norm, self.bounds, judge, self.search_tolerance, bool(self.verbose), self.warm, kept
        )
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
    def scores_(self) -> Array:
        """What every point scored under the threat in every fold, shape (B, R, G, F), larger is better."""
        return self.surface_.scores

    @property
    def score_std_(self) -> Array:
        """Standard deviations over folds, shape (B, R, G)."""
        return self.surface_.standard_deviations

    def _asked_radius(self) -> tuple[ArrayLike | None, str]:
        return self.threat_radius, "threat_radius"

    def _inputs(self, X: ArrayLike) -> Array:
        if hasattr(self, "surface_") and not hasattr(self, "network_"):
            raise NotFittedError(
                "hyperparameters were chosen with refit=False, so there is no network; fit with refit=True, or train "
                f"with best_params_ = {self.best_params_}."
            )
        return super()._inputs(X)

    def _seeds(self) -> tuple[int, int]:
        """Of the folds and of the gates; a whole number draws the gates that `random_state` draws elsewhere."""
        gates = self._seed()
        drawn = check_random_state(self.random_state if isinstance(self.random_state, Integral) else gates)
        return int(drawn.randint(2**31 - 1)), gates

    def _candidates(self, single: Any, rows: TrainingRows, norm: Norm, radius: float) -> Candidates:
        stated = single._stated(single._meant(rows))
        self._range(rows.inputs.shape[1], None)  # which is that of judgements, not of trainings
        movable = stated.threat(norm).on(stated.rows.inputs[:1]).ball.dimension
        usual = FACTORS if self._training_norm(norm) == norm else factors_in_l2(GEOMETRIES[norm], movable)
        radii = checked_radii(self.radii, self.radius_factors, radius, usual)
        # Whatever is wrong with the problem is said before any work.
        return Candidates(checked_betas(self.betas), radii, self._asked_gates(stated.of_radius(0.0)))

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

    def _refitted(self, single: Any, rows: TrainingRows, norm: Norm, radius: float) -> Self:
        best = single.set_params(**self.best_params_)
        stated = best._stated(best._meant(rows.of_radius(self.radius_)))
        best._solved(stated, frames=5)
        self.best_estimator_, self.network_, self.result_ = best, best.network_, best.result_
        self.constant_features_ = best.constant_features_
        self._judged_by(stated, norm, rows.of_radius(radius).radius)
        return self


class CrossValidatedClassifier(CrossValidated, NetworkClassifier):
    """Classifiers that are chosen by the share of rows held out that are proved to withstand the threat."""

    def robust_score(self, X: ArrayLike, y: ArrayLike, radii: float | ArrayLike) -> Array:
        """Accuracy that no attack of the threat's kind can take, by proof, at each radius, shape (k,).

        What hyperparameters are chosen by: exact for polynomial networks against l2 attacks and ellipsoids, a lower
        bound otherwise. Units are those of `threat_radius`.

        Raises:
            ValueError: A radius is none, or there is not one label per row.
        """
        inputs = self._inputs(X)
        labels = one_per_row(self._labels(y), inputs.shape[0], "label")
        places(self.classes_.tolist(), labels, labels.size)  # folds may have a class that others lack; nobody else
        asked = asked_radii(radii)
        return np.asarray(withstands(self.network_, inputs, labels, self.threat_, asked).mean(axis=1))

    def _judge(self, radius: float) -> Judge:
        check_calibration(self.calibration)
        return CertifiedAccuracy(radius)

    def _counts(self, rows: TrainingRows) -> NDArray[np.bool_]:
        combined = together(rows.weights, self.class_weight, rows.targets, rows.targets.size)
        return np.ones(rows.targets.size, dtype=np.bool_) if combined is None else combined > 0.0

    def _strata(self, rows: TrainingRows, counted: NDArray[np.bool_]) -> tuple[NDArray[Any], bool]:
        check_classification_targets(rows.targets)
        self._numbered(rows.take(counted))
        labels = np.where(counted, rows.targets, self.classes_[0])
        return np.searchsorted(self.classes_, labels), False

    def _refitted(self, single: Any, rows: TrainingRows, norm: Norm, radius: float) -> Self:
        super()._refitted(single, rows, norm, radius)
        best = self.best_estimator_
        best._calibrate(rows.of_radius(self.radius_))
        if self.calibration is not None:
            self.calibrator_ = best.calibrator_
        return self


class CrossValidatedRegressor(CrossValidated, NetworkRegressor):
    """Regressors that are chosen by the largest errors that attacks may make on rows held out, by proof."""

    error: str

    def robust_errors(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """What no attack of the threat's kind makes ``|f(x + D) - y|`` exceed, by proof, shape (n,).

        What hyperparameters are chosen by: exact for polynomial networks against l2 attacks and ellipsoids.

        Args:
            X: Inputs, shape (n, d).
            y: Targets, shape (n,), in whose units errors are.
            radius: One, or one per row; units are those of `threat_radius`.
        """
        return self._largest_errors(X, y, radius)

    def _judge(self, radius: float) -> Judge:
        self._check_loss()
        return WorstError(radius, self.error)

    def _strata(self, rows: TrainingRows, counted: NDArray[np.bool_]) -> tuple[NDArray[Any], bool]:
        return rows.targets, True

    def _refitted(self, single: Any, rows: TrainingRows, norm: Norm, radius: float) -> Self:
        super()._refitted(single, rows, norm, radius)
        best = self.best_estimator_
        self.target_mean_, self.target_scale_ = best.target_mean_, best.target_scale_
        return self
