"""What fitted estimators refuse to answer about: rows, labels, targets, radii and attacks that are none."""

from functools import cache
from inspect import ismethod, signature

import numpy as np
import pytest
from wrong_inputs import Entry, review
from wrong_values import (
    NAMES,
    NO_AXES,
    NO_COUNT,
    NO_ESTIMATOR_ROWS,
    NO_LABELS,
    NO_RADII,
    NO_RADIUS,
    NO_TARGETS,
    NO_TEXT,
    NO_THREAT,
    NO_TRAINING_RADIUS,
    NO_WEIGHTS,
    STRANGERS,
    TARGETS,
    TEXT,
    X,
    called,
    cases,
)

from cvxrobust import (
    PolynomialClassifier,
    PolynomialClassifierCV,
    PolynomialRegressor,
    PolynomialRegressorCV,
    ReLUClassifier,
    ReLUClassifierCV,
    ReLURegressor,
    ReLURegressorCV,
)

QUICK = {"backend": "clarabel", "tolerance": 1e-1}
GRID = QUICK | {"betas": [0.1], "radii": [0.1], "cv": 2, "threat_radius": 0.1, "search_tolerance": 0.1}
LIKELY = QUICK | {"radius": 0.1, "loss": "logistic"}
FITTED = {
    PolynomialClassifier: (LIKELY, NAMES), PolynomialRegressor: (QUICK | {"radius": 0.1}, TARGETS),
    ReLUClassifier: (LIKELY | {"n_gates": 3}, NAMES), ReLURegressor: (QUICK | {"radius": 0.1, "n_gates": 3}, TARGETS),
    PolynomialClassifierCV: (GRID | {"loss": "logistic"}, NAMES), PolynomialRegressorCV: (GRID, TARGETS),
    ReLUClassifierCV: (GRID | {"gates": [3], "loss": "logistic"}, NAMES),
    ReLURegressorCV: (GRID | {"gates": [3]}, TARGETS),
}  # fmt: skip
"""How each is made, and the labels or targets that it is fitted to."""

OF_TRAINING = ("predict_certified", "predict_interval")
"""Methods whose radii are read as those of `fit` are."""

WIDE = ((X[:, :1], "X has 1 features, but"), (np.hstack([X, X]), "X has 4 features, but"))
ERRORS = ("robust_errors", "certified_errors", "attacked_errors")
"""Those whose radii are read as networks read theirs."""
WRONG = {
    "X": cases("X", (*NO_ESTIMATOR_ROWS, *WIDE)),
    "radii": cases("radii", NO_RADII),
    "radius": called("radius", [one for one in NO_COUNT if one[1] not in ("None", "2.5")]),
    "sample_radius": tuple(({"sample_radius": value}, f"sample_{says}") for value, says in NO_TRAINING_RADIUS),
    "sample_weight": cases("sample_weight", NO_WEIGHTS),
    "threat": called("threat", NO_THREAT),
    "abstain": called("abstain", [one for one in NO_TEXT if one[1] not in ("nan", "b'x'") and "digits" not in one[1]]),
    "exact_seconds": called("exact_seconds", [one for one in NO_COUNT if one[1] != "2.5"]),
    "attacks": called("attacks", [*NO_TEXT[:2], *TEXT, (3, "3"), (["pgd"], "['pgd']")]),
    "ax": called("ax", NO_AXES),
    "gates": called("gates", [*NO_TEXT, *TEXT, (7, "7"), (-1, "-1"), (2.5, "2.5")]),
    **{name: called(name, NO_COUNT) for name in ("steps", "restarts", "seed")},
}
"""Wrong values by parameter."""


@cache
def fitted(family):
    """An estimator, once it is asked."""
    parameters, targets = FITTED[family]
    return family(**parameters).fit(X, targets)


def asking(family, name, given):
    """A method of an estimator that is fitted when it is first asked."""
    return lambda **wrong: getattr(fitted(family), name)(**(given | wrong))


def entries():
    """Every method of every estimator that takes arguments."""
    for family, (parameters, targets) in FITTED.items():
        made = family(**parameters)
        for name in dir(family):
            method = None if name.startswith("_") or name == "fit" else getattr(made, name, None)
            if not ismethod(method) or method.__func__.__module__.startswith("sklearn"):
                continue
            if not (names := list(signature(method).parameters)):
                continue
            known = {"X": X, "y": targets, "radius": 0.1, "radii": [0.1]}
            of_labels = (*NO_LABELS, *(() if name == "score" else STRANGERS))
            tables = WRONG | {"y": cases("y", of_labels if targets is NAMES else NO_TARGETS)}
            radii = NO_TRAINING_RADIUS if name in OF_TRAINING else NO_RADIUS
            tables |= {"radius": cases("radius", radii)} if name in (*OF_TRAINING, *ERRORS) else {}
            wrong = tuple(case for one in names for case in tables[one])
            call = asking(family, name, {one: known[one] for one in names if one in known})
            yield Entry(f"{family.__name__}.{name}", call, wrong, conventions=True)


ENTRIES = tuple(entries())


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_wrong_inputs_are_refused_in_our_own_words(entry):
    assert "\n".join(review(entry)) == ""


@pytest.mark.parametrize("family", FITTED, ids=lambda family: family.__name__)
def test_who_was_not_fitted_says_so(family):
    with pytest.raises(ValueError, match=f"This {family.__name__} instance is not fitted yet"):
        family().predict(X)
