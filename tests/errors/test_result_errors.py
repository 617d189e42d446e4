"""Results, paths, reports and certificates refuse what they cannot be compared with, asked for or drawn into."""

from functools import cache

import numpy as np
import pytest
from wrong_inputs import Entry, review
from wrong_values import (
    FILES,
    GAPPY,
    HOLDS,
    NO_AXES,
    NO_COUNT,
    NO_FUNCTION,
    NO_LABELS,
    NO_TEXT,
    NO_THREAT,
    SIGNS,
    STRANGERS,
    TEXT,
    UNREAD,
    X,
    called,
    cases,
)

from cvxrobust import (
    AdversarialSDP,
    Certificate,
    PolynomialNetwork,
    Settings,
    StandardSDP,
    Threat,
    evaluate_robustness,
    plot_decision_regions,
    solve,
    solve_path,
)

QUICK = {"backend": "clarabel", "settings": Settings(tolerance=1e-1)}
NETWORK = PolynomialNetwork(np.eye(2), np.array([1.0, -1.0]))


@cache
def result():
    return solve(StandardSDP(X, SIGNS), **QUICK)


@cache
def path():
    return solve_path(AdversarialSDP(X, SIGNS, radius=0.1), betas=[0.1, 0.01], **QUICK)


@cache
def report():
    return evaluate_robustness(NETWORK, X, SIGNS, Threat(), [0.1, 0.2], steps=1, restarts=0)


def drawn(**given):
    return plot_decision_regions(**({"model": NETWORK, "X": X, "y": SIGNS} | given))


NO_MODEL = (*NO_TEXT, *TEXT, (None, "None"), (3, "3"))
NO_FEATURES = (
    *NO_TEXT[:7], *TEXT[:2], (None, "None"), (3, "3"), ((0,), "(0,)"), ((0, 1, 2), "(0, 1, 2)"), ((0, 5), "(0, 5)"),
    ((0, 0), "(0, 0)"), ((0, 1.5), "(0, 1.5)"), (("a", "b"), "('a', 'b')"), ([None, 1], "[None, 1]"),
)  # fmt: skip
NO_PLACE = [one for one in NO_COUNT if one[1] != "None"]
NO_SCORES = (
    ({"score": lambda: 0.0}, "score is the function <lambda>, which takes ()"),
    ({"score": lambda point, rows: 0.0}, "score is the function <lambda>, which takes (point, rows)"),
    ({"score": lambda point: None}, "score returns None; expected a number for each point"),
    ({"score": lambda point: "high"}, "score returns 'high'"),
    ({"score": lambda point: [1.0]}, "score returns [1.0]"),
    ({"score": lambda point: np.nan}, "no point of this path has a score; give one"),
    ({"score": None}, "score is None; expected a function of a PathPoint that returns a number"),
)

ENTRIES = (
    Entry("Certificate.best", Certificate(1.0, 0.0).best, called("other", NO_MODEL)),
    Entry("Result.plot", lambda **given: result().plot(**given), called("ax", NO_AXES)),
    Entry("RobustnessReport.plot", lambda **given: report().plot(**given), called("ax", NO_AXES)),
    Entry("PathResult.plot", lambda **given: path().plot(**given), called("ax", NO_AXES)),
    Entry("PathResult.best", lambda **given: path().best(**given), called("score", NO_FUNCTION) + NO_SCORES),
    Entry(
        "PathResult.count",
        lambda **given: path().count(**given),
        tuple(({"origin": value}, f"unknown origin {shown}") for value, shown in (*NO_TEXT, *TEXT, ("hot", "'hot'"))),
    ),
    Entry(
        "PathResult.problem_at",
        lambda **given: path().problem_at(**({"beta": 0, "radius": 0} | given)),
        (
            *called("beta", NO_PLACE),
            *called("radius", NO_PLACE),
            ({"beta": 2}, "beta is 2, a place among 2; expected 0 to 1"),
            ({"radius": 1}, "radius is 1, a place among 1; expected 0 to 0"),
        ),
    ),
    Entry(
        "plot_decision_regions",
        drawn,
        (
            *called("model", NO_MODEL),
            *cases("X", (*HOLDS, *FILES, (None, "X is None"), (X[0], "X has 1 dimension"), (X[:, :1], "X has shape"))),
            *cases("X", ((GAPPY, "X holds NaN"), (X[None], "X has 3 dimensions"), (1e200 * X, "too large"))),
            *cases("y", (*NO_LABELS, *STRANGERS)),
            *cases("radius", UNREAD),
            *(({"features": value}, shown) for value, shown in NO_FEATURES),
            *called("threat", NO_THREAT),
            *called("ax", NO_AXES),
        ),
    ),
)


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_wrong_inputs_are_refused_in_our_own_words(entry):
    assert "\n".join(review(entry)) == ""
