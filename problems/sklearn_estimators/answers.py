"""What fitted estimators say of attacks: labels and numbers that are proved, brackets between proofs and attacks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.fields import LABELS
from cvxrobust.core.robustness.attacks import Attack
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.label_proofs import LabelProofs
from cvxrobust.core.robustness.report import RobustnessReport
from cvxrobust.core.robustness.sanity import SanityReport, check_sanity
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers
from cvxrobust.problems.sklearn_estimators.base import DATA, Array, NetworkEstimator

SHOWN = 21
"""Radii of a report where nobody gives others."""


class CertifiedLabels(NamedTuple):
    """Labels, and which of them no attack changes.

    Attributes:
        labels: Shape (n,).
        certified: Whether it is proved of each, shape (n,), bool.
    """

    labels: NDArray[Any]
    certified: NDArray[np.bool_]


class OutputInterval(NamedTuple):
    """What no attack moves predicted numbers out of.

    Attributes:
        lower: Shape (n,).
        upper: Shape (n,).
    """

    lower: Array
    upper: Array


class AnswersAboutLabels(NetworkEstimator):
    """What classifiers say of attacks. All is about the network's own labels, whatever those of `fit` were."""

    classes_: NDArray[Any]

    def predict_certified(
        self, X: ArrayLike, radius: ArrayLike | None = None, abstain: object = None
    ) -> CertifiedLabels:
        """Labels, and whether it is proved of each that no attack within a radius changes it.

        Exactly those that no attack changes are certified of polynomial networks against l2 attacks and ellipsoids; in
        boxes (norm "inf"), in norm 1 and of ReLU networks there may be more that none changes than can be proved.

        Args:
            X: Inputs, shape (n, d), as `predict` takes them.
            radius: Of the attacks `threat_`, one or one for each row, in the units of `attack_units`; None for that of
                `fit`.
            abstain: What stands in the place of labels that are not certified, such as -1 or "unknown"; None leaves
                them.

        Returns:
            ``labels`` and ``certified``, shapes (n,).

        Raises:
            InputError: A radius is none, or `fit` had one for each of its rows and none is given here.
        """
        inputs = self._inputs(X)
        proofs = LabelProofs.of(self.network_, inputs, self.threat_)
        certified = proofs.held(self._radius_of_rows(radius, inputs.shape[0]))
        labels = np.asarray(self.classes_[proofs.index])
        return CertifiedLabels(labels if abstain is None else _with_gaps(labels, certified, abstain), certified)

    def certified_radius(self, X: ArrayLike) -> Array:
        """Up to which radius no attack changes the label of each row, shape (n,); inf where none does at all.

        Exact for polynomial networks against l2 attacks and ellipsoids: beyond it there is an attack that does.
        Otherwise it is a radius that is proved, to one per cent the largest one that is. `predict_certified` certifies
        every row at this radius.

        Args:
            X: Inputs, shape (n, d), as `predict` takes them.

        Returns:
            Radii of attacks `threat_`, in the units of `attack_units`.
        """
        return LabelProofs.of(self.network_, self._inputs(X), self.threat_).radius()

    def evaluate_robustness(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radii: ArrayLike | None = None,
        threat: Threat | None = None,
        *,
        steps: int = 40,
        restarts: int = 2,
        seed: int = 0,
        exact_seconds: float = 0.0,
        attacks: Mapping[str, Attack] | None = None,
    ) -> RobustnessReport:
        """For every radius a bracket of the accuracy under attack; see `cvxrobust.evaluate_robustness`.

        Args:
            X: Inputs, shape (n, d), as `predict` takes them.
            y: Labels, shape (n,).
            radii: In the units of `attack_units`, shape (k,); None for some from 0 to twice the radius that `fit` was
                about.
            threat: Other attacks; None for those of `fit`: their norm, shape, units and immutable features. What is
                given here is in standard deviations of the features with `standardize`, but for `bounds`.
            steps: As there.
            restarts: As there.
            seed: As there.
            exact_seconds: As there.
            attacks: As there.

        Raises:
            InputError: As there.
        """
        inputs, own = self._inputs(X), self.threat_ if threat is None else threat
        report = evaluate_robustness(
            self.network_, inputs, y, own, self._shown(radii), steps=steps, restarts=restarts, seed=seed,
            exact_seconds=exact_seconds, attacks=attacks,
        )  # fmt: skip
        in_data = threat is None and self.attack_units == DATA and self.standardize
        return replace(report, units="the data's units") if in_data else report

    def _in_range(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> RobustnessReport:
        """What is proved and found at each radius where inputs stay in their range."""
        return self.evaluate_robustness(X, y, np.atleast_1d(as_numbers(radii, "radii")))

    def _shown(self, radii: ArrayLike | None) -> ArrayLike:
        """Radii of a report where nobody gives others."""
        if radii is not None:
            return radii
        largest = self._radii[1]
        if not largest > 0.0:
            raise InputError(
                f"{type(self).__name__} was trained at radius 0; expected radii, shape (k,), to judge it at."
            )
        return np.linspace(0.0, 2.0 * largest, SHOWN)

    def check_sanity(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radius: float,
        threat: Threat | None = None,
        *,
        steps: int = 40,
        restarts: int = 2,
        seed: int = 0,
    ) -> SanityReport:
        """Whether what attacks leave of the accuracy at a radius is to be believed; see `cvxrobust.check_sanity`.

        Args:
            X: Inputs, shape (n, d), as `predict` takes them.
            y: Labels, shape (n,).
            radius: In the units of `attack_units`, above 0.
            threat: As for `evaluate_robustness`.
            steps: As there.
            restarts: As there.
            seed: As there.

        Raises:
            InputError: As there.
        """
        inputs, own = self._inputs(X), self.threat_ if threat is None else threat
        return check_sanity(self.network_, inputs, y, own, radius, steps=steps, restarts=restarts, seed=seed)


def _with_gaps(labels: NDArray[Any], certified: NDArray[np.bool_], abstain: object) -> NDArray[Any]:
    """Labels with another value where they are not certified, of a type that holds both as they are."""
    value = np.asarray(abstain) if isinstance(abstain, LABELS) else np.empty(0)
    if value.ndim:
        raise InputError(f"abstain is {shown(abstain)}; expected one label, such as -1 or 'unknown', or None.")
    numbers = labels.dtype.kind in "biuf" and value.dtype.kind in "biuf"
    texts = labels.dtype.kind == value.dtype.kind == "U"
    found = labels.astype(np.result_type(labels, value) if numbers or texts else object)
    found[~certified] = abstain
    return found
