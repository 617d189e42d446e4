"""What regressors share: targets in units of their own, and what attacks cannot move predictions out of."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.robustness.target_errors import OutputRange
from cvxrobust.core.validation import as_numbers
from cvxrobust.core.weights import checked_sample_weight
from cvxrobust.problems.data.parameters import checked_radius
from cvxrobust.problems.sklearn_estimators.answers import OutputInterval
from cvxrobust.problems.sklearn_estimators.base import Array, NetworkEstimator
from cvxrobust.problems.sklearn_estimators.rows import Stated, TrainingRows, one_per_row


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """What regressors share.

    Targets are standardised as features are: a network without an offset of its own spends its penalty on the mean.
    Outputs of the network are then in standard deviations of the targets, from their mean.
    """

    loss: str
    target_mean_: float
    target_scale_: float

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sample_radius: ArrayLike | None = None,
    ) -> Self:
        """Train on rows X, shape (n, d), with real targets y, shape (n,).

        Args:
            X: Inputs; a sparse matrix is read as the table that it stands for, where that fits into memory.
            y: Targets.
            sample_weight: What each row counts, 0 or more, shape (n,): 2 is a row twice, 0 leaves it out, also of the
                statistics. Rows that come again with the same target are taken together.
            sample_radius: A radius of the attacks on each row, 0 or more, shape (n,), which `radius` multiplies (None
                for 1). Searches and cross-validation divide it among folds as they do weights.

        Raises:
            ValueError: The data or the attacks are unusable, or the loss is none of targets.
        """
        self._check_loss()
        rows = self._given(X, y, sample_weight, sample_radius)
        return self._solved(self._stated(self._meant(rows)))

    def predict(self, X: ArrayLike) -> Array:
        """Predicted targets, shape (n,), in their own units."""
        inputs = self._inputs(X)
        outputs: Array = self.network_.predict(inputs)
        return np.asarray(self.target_mean_ + self.target_scale_ * outputs)

    def predict_interval(self, X: ArrayLike, radius: ArrayLike | None = None) -> OutputInterval:
        """What no attack within a radius moves predictions out of, by proof, in units of the targets.

        Exact for polynomial networks against l2 attacks and ellipsoids: attacks reach both ends. Otherwise there may be
        room between the ends and what attacks reach. It is about attacks alone: how far targets scatter about
        predictions it does not say.

        Args:
            X: Inputs, shape (n, d), as `predict` takes them.
            radius: Of the attacks `threat_`, one or one for each row, in the units of `attack_units`; None for that of
                `fit`.

        Returns:
            ``lower`` and ``upper``, shapes (n,).

        Raises:
            InputError: A radius is none, or `fit` had one for each of its rows and none is given here.
        """
        inputs = self._inputs(X)
        reached = self._reached(inputs, self._radius_of_rows(radius, inputs.shape[0]))
        # Rounding is on the safe side, but for this.
        ends = (self.target_mean_ + self.target_scale_ * end for end in (reached.low, reached.high))
        return OutputInterval(*ends)

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sample_radius: ArrayLike | None = None,
    ) -> float:
        """The coefficient of determination R^2; with radii, of the largest errors that attacks may make.

        Args:
            X: Inputs, shape (n, d).
            y: Targets, shape (n,).
            sample_weight: What each row counts, shape (n,).
            sample_radius: Of the attacks on each row, in the units of `attack_units`, shape (n,). None for no attacks.
        """
        targets = one_per_row(self._labels(y), self._inputs(X).shape[0], "target")
        weights = None if sample_weight is None else checked_sample_weight(sample_weight, targets.size)
        if sample_radius is None:
            return float(super().score(X, targets, weights))
        worst = self._largest_errors(X, targets, checked_radius(sample_radius, targets.size, "sample_radius"))
        mean = np.average(targets, weights=weights)
        squares = np.average(np.stack([worst**2, (targets - mean) ** 2]), axis=1, weights=weights)
        return float(1.0 - squares[0] / squares[1]) if squares[1] > 0.0 else float(squares[0] == 0.0)

    def _check_loss(self) -> None:
        if loss_by_name(self.loss).margin:
            raise InputError(f"loss is {self.loss!r}, which is of labels; expected 'squared', 'absolute' or 'huber'.")

    def _meant(self, rows: TrainingRows, *, part: bool = False) -> TrainingRows:
        """Rows that count.

        Args:
            rows: With targets as they come.
            part: Whether they are some of the rows of `fit`.
        """
        return rows.counted()

    def _own_targets(self, targets: Array, weights: Array | None) -> Array:
        self.target_mean_, self.target_scale_ = 0.0, 1.0
        if not self.standardize:
            return targets
        found = Standardizer.fit(targets[:, None], ("y",), weights)
        self.target_mean_, self.target_scale_ = float(found.mean[0]), float(found.scale[0])
        return found.transform(targets[:, None])[:, 0]

    def _finished(self, network: Any, stated: Stated) -> Any:
        found = super()._finished(network, stated)
        about = {"target_mean": self.target_mean_, "target_scale": self.target_scale_}
        return found.replace(metadata={**found.metadata, **about})

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        return as_numbers(y, "y", "expected one real target per row of X")

    def _reached(self, inputs: Array, radius: ArrayLike) -> OutputRange:
        """What attacks cannot move outputs of the network out of."""
        return OutputRange.of_threat(self.network_, inputs, radius, self.threat_)

    def _largest_errors(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """What no attack makes errors exceed, shape (n,), in units of the targets."""
        inputs, targets = self._targeted(X, y)
        return self.target_scale_ * self._reached(inputs, radius).largest_errors(targets)

    def _targeted(self, X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Inputs, and targets as the network has them."""
        inputs = self._inputs(X)
        targets = one_per_row(self._labels(y), inputs.shape[0], "target")
        return inputs, (targets - self.target_mean_) / self.target_scale_
