"""The classifiers that choose their own hyperparameters."""

import os
from typing import Any

from numpy.typing import ArrayLike

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.model_selection.base import Array, CrossValidatedClassifier
from cvxrobust.problems.model_selection.grids import BETAS, checked_gates
from cvxrobust.problems.model_selection.surface import BEST
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION
from cvxrobust.problems.sklearn_estimators.base import STANDARDIZED, Range, Shape
from cvxrobust.problems.sklearn_estimators.classifiers import PolynomialClassifier, ReLUClassifier


class PolynomialClassifierCV(CrossValidatedClassifier):
    """A `PolynomialClassifier` that chooses beta and the radius to train at by cross-validation.

    Every point of the grid is trained to a certified gap in every fold, and scored by the share of rows held out that
    are proved to withstand the threat: exactly against l2 attacks and ellipsoids, by a bound in other norms. The point
    with the best mean is trained once more on all rows.

    Args:
        threat_radius: Of the attacks that the classifier is to withstand, in the units of `attack_units`, or of the
            shape that scale, covariance or directions give to attacks; 0, or None, to choose by clean accuracy. Where
            `fit` has `sample_radius`, what that is multiplied by, None for 1.
        norm: Of these attacks: 2, "inf" or 1. Training is against l2 attacks, whose radius is chosen.
        betas: Weights of the penalty to try, or how many, from 0.1 to 0.001 on a logarithmic scale.
        radii: Radii to train at, in the units of `threat_radius`; None to go by factors.
        radius_factors: The same in radii of the threat; None for 0, 1 and 2, and in other norms than 2 for 0 and
            l2 balls inside the ball of the threat, around it and between.
        cv: How many folds, with classes in equal proportion, where rows that come again, or groups, stay together; or a
            splitter of scikit-learn's, or pairs of indices. None for 5.
        rule: ``"best"``, or ``"one-standard-error"``: the simplest network (largest beta, then largest radius) within a
            standard error of the best.
        refit: Train on all rows with what was chosen; without it there is no network.
        search_tolerance: Relative certified gap at every point of the grid.
        random_state: Of the folds, and of solvers that draw anything.
        n_jobs: Processes for folds, as in scikit-learn.
        verbose: Say on standard error how far it is.
        warm: Let points of a fold help each other (`solve_path`). Which of the networks within `search_tolerance` of
            an optimum is scored may then depend on what else the machine does; without it points are slower and the
            same every time.
        folder: Where every point is kept as soon as there is one; a search of the same rows goes on from there,
            on whichever grid. Needs `warm`. None for nowhere.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``.
        activation: (a, b, c) of ``a t^2 + b t + c``.
        standardize: Standardise the features with the statistics of the rows trained on, in every fold anew.
        backend: See `solve`.
        method: See `solve`.
        tolerance: Relative certified gap of the last training.
        time_limit: Seconds for each training, or None. Points that end short are scored all the same, and named in a
            warning.
        polish: See `solve`.
        class_weight: By label, what the rows of a class count in training, or ``"balanced"``, as in scikit-learn.
        scale: As for `PolynomialClassifier`.
        covariance: The same.
        directions: The same.
        immutable: Features that attacks cannot touch, whatever the scale of the others: names or numbers, or a mask.
        attack_units: What radii and shapes are in: ``"standardized"``, standard deviations of the features (the data's
            units without `standardize`), or ``"data"``, the data's units.
        bounds: With norm "inf" the range that inputs stay in under attack, whatever `attack_units`: the least and the
            largest values, each a number or one for each feature, in the data's units; None for none.
        calibration: How outputs of the last network become the probabilities of `predict_proba`, as for
            `PolynomialClassifier`. Its folds keep rows together that come again, but no groups.

    Attributes:
        best_params_: What was chosen: beta and radius, also as `beta_` and `radius_`.
        best_score_: Its mean score over folds; `best_score_std_` is their standard deviation.
        best_index_: Its place on the grid.
        surface_: The `ScoreSurface`: the grid, scores, gaps, points that were not certified.
        scores_: Certified accuracy under the threat, shape (B, R, 1, F); `score_std_` has deviations over folds.
        best_estimator_: The `PolynomialClassifier` that was trained on all rows.
        network_: Its network, which is asked about attacks of the threat's shape, and can be saved.
        result_: Its `Result`; `certificate_` is its certificate, `n_iter_` its iterations.
        threat_: The `Threat`, in the network's units.
        classes_: The labels, sorted.
        n_features_in_: Number of features; `feature_names_in_` their names, if they have any.
        attack_reach_: By how much an attack of the threat may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        threat_radius: float | None = None,
        norm: Norm = 2,
        betas: ArrayLike | int = BETAS,
        radii: ArrayLike | None = None,
        radius_factors: ArrayLike | None = None,
        cv: Any = None,
        rule: str = BEST,
        refit: bool = True,
        search_tolerance: float = 1e-3,
        random_state: Any = 0,
        n_jobs: int | None = None,
        verbose: int = 0,
        warm: bool = True,
        folder: str | os.PathLike[str] | None = None,
        loss: str = "hinge",
        activation: tuple[float, float, float] = DEFAULT_ACTIVATION,
        standardize: bool = True,
        backend: str = "auto",
        method: str = "auto",
        tolerance: float = 1e-4,
        time_limit: float | None = None,
        polish: bool | str | None = None,
        class_weight: ClassWeight = None,
        scale: Shape = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        immutable: object = None,
        attack_units: str = STANDARDIZED,
        calibration: str | None = None,
        bounds: Range = None,
    ) -> None:
        self.threat_radius = threat_radius
        self.norm: Norm = norm
        self.betas = betas
        self.radii = radii
        self.radius_factors = radius_factors
        self.cv = cv
        self.rule = rule
        self.refit = refit
        self.search_tolerance = search_tolerance
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.warm = warm
        self.folder = folder
        self.loss = loss
        self.activation = activation
        self.standardize = standardize
        self.backend = backend
        self.method = method
        self.tolerance = tolerance
        self.time_limit = time_limit
        self.polish = polish
        self.class_weight = class_weight
        self.scale = scale
        self.covariance = covariance
        self.directions = directions
        self.immutable = immutable
        self.attack_units = attack_units
        self.calibration = calibration
        self.bounds = bounds

    def _single(self, seed: int) -> PolynomialClassifier:
        return PolynomialClassifier(
            loss=self.loss, activation=self.activation, standardize=self.standardize, backend=self.backend,
            method=self.method, tolerance=self.tolerance, time_limit=self.time_limit, polish=self.polish,
            class_weight=self.class_weight, scale=self.scale, covariance=self.covariance, directions=self.directions,
            immutable=self.immutable, attack_units=self.attack_units, calibration=self.calibration, random_state=seed,
        )  # fmt: skip

    def _training_norm(self, norm: Norm) -> Norm:
        return 2


class ReLUClassifierCV(CrossValidatedClassifier):
    """A `ReLUClassifier` that chooses beta, the radius to train at and the number of gates by cross-validation.

    As `PolynomialClassifierCV`; scores are certified by linear relaxation.

    Args:
        threat_radius: Of the attacks that the classifier is to withstand, in the units of `attack_units`, or of the
            shape that scale, covariance or directions give to attacks; 0, or None, to choose by clean accuracy. Where
            `fit` has `sample_radius`, what that is multiplied by, None for 1.
        norm: Of these attacks, and of those trained against: "inf", 2 or 1.
        betas: Weights of the penalty to try, or how many, from 0.1 to 0.001 on a logarithmic scale.
        radii: Radii to train at, in the units of `threat_radius`; None to go by factors.
        radius_factors: The same in radii of the threat; None for 0, 1 and 2.
        gates: Numbers of gates to try; the same are drawn in every fold. None for the one that `ReLUClassifier` draws
            by default.
        cv: As for `PolynomialClassifierCV`.
        rule: ``"best"``, or ``"one-standard-error"``: the simplest network (fewest gates, then largest beta, then
            largest radius) within a standard error of the best.
        refit: Train on all rows with what was chosen; without it there is no network.
        search_tolerance: Relative certified gap at every point of the grid.
        random_state: Of the folds and the gates.
        n_jobs: Processes for folds and numbers of gates, as in scikit-learn.
        verbose: Say on standard error how far it is.
        warm: Let points of a fold help each other (`solve_path`). Which of the networks within `search_tolerance` of
            an optimum is scored may then depend on what else the machine does; without it points are slower and the
            same every time.
        folder: Where every point is kept as soon as there is one; a search of the same rows goes on from there,
            on whichever grid. Needs `warm`. None for nowhere.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``.
        formulation: ``"one-sided"``, ``"cone"`` or ``"gated"``.
        bias: Give every neuron a bias, which attacks do not touch.
        regate: Rounds of regating (one-sided formulation).
        standardize: Standardise the features with the statistics of the rows trained on, in every fold anew.
        backend: See `solve`.
        method: See `solve`.
        tolerance: Relative certified gap of the last training.
        time_limit: Seconds for each training, or None. Points that end short are scored all the same, and named in a
            warning.
        class_weight: By label, what the rows of a class count in training, or ``"balanced"``, as in scikit-learn.
        scale: As for `ReLUClassifier`.
        covariance: The same.
        directions: The same.
        immutable: Features that attacks cannot touch, whatever the scale of the others: names or numbers, or a mask.
        attack_units: What radii and shapes are in: ``"standardized"``, standard deviations of the features (the data's
            units without `standardize`), or ``"data"``, the data's units.
        bounds: With norm "inf" the range that inputs stay in under attack, whatever `attack_units`: the least and the
            largest values, each a number or one for each feature, in the data's units; None for none.
        calibration: How outputs of the last network become the probabilities of `predict_proba`, as for
            `PolynomialClassifier`. Its folds keep rows together that come again, but no groups.

    Attributes:
        best_params_: What was chosen: beta, radius and n_gates, also as `beta_`, `radius_` and `n_gates_`.
        best_score_: Its mean score over folds; `best_score_std_` is their standard deviation.
        best_index_: Its place on the grid.
        surface_: The `ScoreSurface`: the grid, scores, gaps, points that were not certified.
        scores_: Certified accuracy under the threat, shape (B, R, G, F); `score_std_` has deviations over folds.
        best_estimator_: The `ReLUClassifier` that was trained on all rows.
        network_: Its network, which is asked about attacks of the threat's shape, and can be saved.
        result_: Its `Result`; `certificate_` is its certificate, `n_iter_` its iterations.
        threat_: The `Threat`, in the network's units.
        classes_: The labels, sorted.
        n_features_in_: Number of features; `feature_names_in_` their names, if they have any.
        attack_reach_: By how much an attack of the threat may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        threat_radius: float | None = None,
        norm: Norm = "inf",
        betas: ArrayLike | int = BETAS,
        radii: ArrayLike | None = None,
        radius_factors: ArrayLike | None = None,
        gates: ArrayLike | None = None,
        cv: Any = None,
        rule: str = BEST,
        refit: bool = True,
        search_tolerance: float = 1e-3,
        random_state: Any = 0,
        n_jobs: int | None = None,
        verbose: int = 0,
        warm: bool = True,
        folder: str | os.PathLike[str] | None = None,
        loss: str = "hinge",
        formulation: Formulation = "one-sided",
        bias: bool = True,
        regate: int = 0,
        standardize: bool = True,
        backend: str = "auto",
        method: str = "auto",
        tolerance: float = 1e-4,
        time_limit: float | None = None,
        class_weight: ClassWeight = None,
        scale: Shape = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        immutable: object = None,
        attack_units: str = STANDARDIZED,
        bounds: Range = None,
        calibration: str | None = None,
    ) -> None:
        self.threat_radius = threat_radius
        self.norm: Norm = norm
        self.betas = betas
        self.radii = radii
        self.radius_factors = radius_factors
        self.gates = gates
        self.cv = cv
        self.rule = rule
        self.refit = refit
        self.search_tolerance = search_tolerance
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.warm = warm
        self.folder = folder
        self.loss = loss
        self.formulation: Formulation = formulation
        self.bias = bias
        self.regate = regate
        self.standardize = standardize
        self.backend = backend
        self.method = method
        self.tolerance = tolerance
        self.time_limit = time_limit
        self.class_weight = class_weight
        self.scale = scale
        self.covariance = covariance
        self.directions = directions
        self.immutable = immutable
        self.attack_units = attack_units
        self.bounds = bounds
        self.calibration = calibration

    @property
    def n_gates_(self) -> int:
        """The number of gates that was chosen."""
        return int(self.best_params_["n_gates"])

    def certified_score(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Array:
        """`robust_score`: accuracy that no attack of each radius can take, by linear relaxation, shape (k,)."""
        return self.robust_score(X, y, radii)

    def attacked_score(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Array:
        """Accuracy under the attacks found at each radius, shape (k,): at least the true robust accuracy."""
        if self.bounds is not None:
            return self._in_range(X, y, radii).attacked
        inputs = self._inputs(X)
        accuracies: Array = self.network_.attacked_accuracy(inputs, y, radii, self.norm)
        return accuracies

    def _asked_gates(self, problem: Any) -> tuple[int, ...]:
        return checked_gates(problem.n_gates if self.gates is None else self.gates)

    def _single(self, seed: int) -> ReLUClassifier:
        return ReLUClassifier(
            norm=self.norm, loss=self.loss, formulation=self.formulation, bias=self.bias, regate=self.regate,
            random_state=seed, standardize=self.standardize, backend=self.backend, method=self.method,
            tolerance=self.tolerance, time_limit=self.time_limit, class_weight=self.class_weight, scale=self.scale,
            covariance=self.covariance, directions=self.directions, immutable=self.immutable,
            attack_units=self.attack_units, bounds=self.bounds, calibration=self.calibration,
        )  # fmt: skip

    def _training_norm(self, norm: Norm) -> Norm:
        return norm
