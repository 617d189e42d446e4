"""Values that are wrong for whoever takes a number, a word, a switch, a function, rows, labels, radii or a path.

Each comes with what a message has to say of it. Tables of entries are put together from these, parameter by parameter.
"""

import datetime
from fractions import Fraction
from inspect import signature
from pathlib import Path

import numpy as np
import pandas
from scipy import sparse

from cvxrobust import PolynomialClassifier, Settings

X = np.random.default_rng(0).normal(size=(16, 2))
SIGNS = np.where(X[:, 0] > 0.0, 1.0, -1.0)
NAMES = np.where(X[:, 0] > 0.0, "yes", "no")
TARGETS = 1.5 * X[:, 0]
GAPPY = np.where(np.arange(32).reshape(16, 2) == 7, np.nan, X)
HIDDEN = np.ma.masked_array(X, X > 0.0)
DATES = np.array([["2020", "2021"]] * 16, dtype="M8[D]")
RECORDS = np.zeros(2, dtype=[("a", float)])
EYE = sparse.eye(3).tocsr()


class Rude:
    """An object that fails at whatever it is asked."""

    def __repr__(self):
        raise RuntimeError

    def __len__(self):
        raise RuntimeError

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError


def generated():
    """A generator, which can be read once."""
    return (number for number in range(3))


def cases(name, values):
    """Values of a parameter as cases of an entry."""
    return tuple(({name: value}, says) for value, says in values)


def called(name, values, said="{} is {}"):
    """The same of values that messages show behind the parameter's name."""
    return tuple(({name: value}, said.format(name, shown)) for value, shown in values)


NOWHERE = (
    (1j, "1j"), ({1}, "{1}"), ({"a": 1}, "{'a': 1}"), (object(), "an object"), (object, "the class object"),
    (np, "the module numpy"), (generated(), "a generator"), (slice(1), "slice(None, 1, None)"), (..., "Ellipsis"),
    (np.ones(3), "an array of shape (3,)"), (np.ones((2, 2, 2)), "an array of shape (2, 2, 2)"),
    (RECORDS, "an array of shape (2,)"), (EYE, "a csr_matrix of shape (3, 3)"),
    (pandas.DataFrame({"a": [1, 2]}), "a DataFrame of shape (2, 1)"), ([[1], [1, 2]], "[[1], [1, 2]]"),
    (datetime.date(2020, 1, 1), "datetime.date(2020, 1, 1)"),
    (np.datetime64("2020-01-01"), "datetime.date(2020, 1, 1)"), (Rude(), "a Rude"), (Settings(), "a Settings"),
    (memoryview(b"abc"), "a memoryview"), (np.nan, "nan"), (np.float64("nan"), "nan"),
    (10**400, "a whole number of some 400 digits"),
)  # fmt: skip
"""What nobody takes in the place of one number, word, switch, function or path, and how messages show it."""

NO_TEXT = (*NOWHERE, (b"x", "b'x'"), (print, "the function print"), ((), "()"), ([None], "[None]"))
TEXT = (("x", "'x'"), ("", "''"), ("z" * 5_000, f"'{'z' * 60}'..."), (np.str_("x"), "'x'"))
SMALL = ((None, "None"), (-1, "-1"), (2.5, "2.5"), (np.inf, "inf"), (True, "True"))

NO_FLAG = (*NO_TEXT, *TEXT, (None, "None"), (0, "0"), (1, "1"), (0.0, "0.0"))
NO_COUNT = (*NO_TEXT, *TEXT, *SMALL)
NO_AXES = (*NO_TEXT, *TEXT, (3, "3"), (True, "True"), (0.5, "0.5"), (-1, "-1"))
NO_FUNCTION = tuple(one for one in (*NO_TEXT, *TEXT, (3, "3"), (False, "False")) if not callable(one[0]))
NO_PATH = (
    *NO_TEXT,
    ("", "''"),
    ("a\0b", "'a\\x00b'"),
    (3, "3"),
    (True, "True"),
    (Path, "the class Path"),
    (None, "None"),
)
NO_NORM = (*NO_TEXT, *TEXT, (3, "3"), (0, "0"), (True, "True"), (-1, "-1"), ("l2", "'l2'"))
NO_THREAT = (*NO_TEXT, *TEXT, (2, "2"), ("inf", "'inf'"), (0.1, "0.1"))

HOLDS = (
    ({"a": 1}, "it holds {'a': 1}"), ({1.0}, "it holds {1.0}"), (generated(), "it holds a generator"),
    (object(), "it holds an object"), (object, "it holds the class object"), (print, "it holds the function print"),
    (np, "it holds the module numpy"), (PolynomialClassifier(), "it holds PolynomialClassifier()"),
    ([[datetime.date(2020, 1, 1), 1.0]], "it holds datetime.date(2020, 1, 1)"), (DATES, "it holds dates"),
    (np.array([[b"a", b"b"]]), "it holds bytes, such as b'a'"), ([["a", "b"]], "it holds text, such as 'a'"),
    ([["1", "2"]] * 16, "it holds text, such as '1'"), (np.array([[1, "a"]], dtype=object), "it holds 'a'"),
    ([[1, 2], [3]], "its rows are not all of one length"), (Rude(), "X cannot be read as numbers"),
)  # fmt: skip
"""Tables that hold no numbers, and what is said of them."""

FILES = tuple(
    (value, f"X is {shown}; expected a table of numbers (n, d): read the file first")
    for value, shown in (("x.csv", "'x.csv'"), (b"x", "b'x'"), (Path("x.csv"), "'x.csv'"))
)

NO_ROWS = (
    *HOLDS, *FILES, (None, "X is None"), (5, "X is 5"), (X[0], "X has shape (2,)"), (X[:, :1], "X has shape (16, 1)"),
    (np.hstack([X, X]), "X has shape (16, 4)"), (X[None], "X has shape (1, 16, 2)"), ([], "X has shape (0,)"),
    (EYE, "X has shape (3, 3)"), (range(3), "X has shape (3,)"),
    (GAPPY, "X holds NaN or inf, first at row 3, column 1"),
    ([[None, 1.0]], "X holds NaN or inf, first at row 0, column 0"), (HIDDEN, "X holds NaN or inf, first at row 0"),
    (X + 1j, "it holds complex numbers"), (RECORDS, "it holds records"), (1e200 * X, "too large to compute with"),
)  # fmt: skip
"""Rows that no network of two inputs can be asked about."""

NO_ESTIMATOR_ROWS = (
    *HOLDS, *FILES, (None, "X is None; expected a table"), (5, "X is 5; expected a table"),
    (X[0], "Expected 2D array"), (X[None], "Found array with dim 3"),
    (range(3), "X has 1 dimension; expected a table"), ([], "Expected 2D array"), (GAPPY, "Input X contains NaN"),
    (HIDDEN, "X holds NaN or inf, first at row 0"), (X + 1j, "Complex data not supported"),
    (1e200 * X, "too large to compute with"),
)  # fmt: skip
"""The same for estimators: of arrays in scikit-learn's words, as its conventions have it."""

NO_LABELS = (
    (None, "y holds missing labels"), ([None] * 16, "y holds missing labels"), (3, "y has shape ()"),
    ("x", "y has shape ()"), (True, "y has shape ()"), (SIGNS[:3], "y has shape (3,)"), (X, "y has shape (16, 2)"),
    ([1.0, "b"] * 8, "y mixes strings and numbers"), (SIGNS + 1j, "y holds complex numbers"),
    ([b"a"] * 16, "y holds bytes"), (DATES[:, 0], "y holds dates"), ({0: 1}, "y holds {0: 1}"),
    ({1.0, -1.0}, "y holds {"), (generated(), "y holds a generator"), (object(), "y holds an object"),
    (object, "y holds the class object"), (print, "y holds the function print"), (RECORDS, "y holds records"),
    ([np.nan] * 16, "y holds"),
    (np.ma.masked_array(SIGNS, SIGNS > 0.0), "y holds missing labels (masked, at position"),
    (sparse.csr_matrix(SIGNS), "y is a sparse matrix"), ([[1], [1, 2]] * 8, "its rows are not all of one length"),
)  # fmt: skip
"""Labels of sixteen rows that nothing can be judged by."""

STRANGERS = tuple(
    (values, f"y holds labels {shown}, but this ")
    for values, shown in ((["a"] * 16, "['a']"), (0.0 * SIGNS + 5.0, "[5.0]"))
)
"""Labels that a network was not trained on."""

NO_TARGETS = (
    (None, "y has shape ()"), ([None] * 16, "y holds NaN or inf at position 0"), (3, "y has shape ()"),
    (True, "y has shape ()"), (SIGNS[:3], "y has shape (3,)"), (X, "y has shape (16, 2)"),
    ("x", "it holds text, such as 'x'"), (["a"] * 16, "it holds text, such as 'a'"),
    ([1.0, "b"] * 8, "it holds text, such as 'b'"), (SIGNS + 1j, "it holds complex numbers"),
    ([b"a"] * 16, "it holds bytes, such as b'a'"), (DATES[:, 0], "it holds dates"), ({0: 1}, "it holds {0: 1}"),
    ({1.0}, "it holds {1.0}"), (generated(), "it holds a generator"), (object(), "it holds an object"),
    (object, "it holds the class object"), (print, "it holds the function print"), (RECORDS, "it holds records"),
    (0.0 * SIGNS + np.inf, "y holds NaN or inf at position 0"), (sparse.csr_matrix(SIGNS), "y has shape (1, 16)"),
    (np.ma.masked_array(SIGNS, SIGNS > 9.0) * np.nan, "y holds NaN or inf at position 0"),
)  # fmt: skip
"""Targets of sixteen rows that no errors can be told of."""

UNREAL = (
    ("x", "'x'"), (b"x", "b'x'"), (1j, "1j"), ({}, "{}"), ({1}, "{1}"), (object(), "an object"),
    (generated(), "a generator"), (object, "the class object"), (print, "the function print"),
    (np, "the module numpy"), (True, "True"), (Rude(), "a Rude"), (["a"], "['a']"),
    (datetime.date(2020, 1, 1), "datetime.date(2020, 1, 1)"), ([[1], [1, 2]], "[[1], [1, 2]]"),
    (RECORDS, "an array of shape (2,)"), (slice(1), "slice(None, 1, None)"), (..., "Ellipsis"),
    (Settings(), "a Settings"),
)  # fmt: skip
"""What cannot be read as radii, weights or betas."""

UNREAD = tuple((value, "cannot be read as numbers") for value, _ in UNREAL if value is not True)

NO_RADIUS = (
    *UNREAD, (True, "radius is True"), (-1, "radius holds -1"), (np.nan, "radius holds nan"),
    (np.inf, "radius holds inf"), ([-0.1, 0.2], "radius has shape (2,)"), ([[0.1]], "radius has shape (1, 1)"),
    (-SIGNS, "radius holds -1"), (10**400, "radius"), (Fraction(-1, 3), "radius holds -0.333"),
)  # fmt: skip
"""Radii that networks refuse."""

NO_RADII = (
    *UNREAD, (True, "radii is True"), (-1, "radii hold -1"), (np.nan, "radii hold nan"),
    ([0.1, np.inf], "radii hold inf"), ([-0.1, 0.2], "radii hold -0.1"), ([[0.1]], "radii has shape (1, 1)"),
    (EYE, "radii has shape (3, 3)"),
)  # fmt: skip
"""Lists of radii that nothing is judged at."""

NO_TRAINING_RADIUS = (
    *((value, f"radius is {shown}") for value, shown in UNREAL), (-1, "radius is -1"), (np.nan, "radius is nan"),
    (np.inf, "radius is inf"), ([0.1, 0.2], "radius has shape (2,)"), ([[0.1]], "radius has shape (1, 1)"),
)  # fmt: skip
"""Radii that problems and estimators refuse."""

NO_BETA = (
    *((value, f"beta is {shown}") for value, shown in UNREAL), (0, "beta is 0"), (-1, "beta is -1"),
    (np.nan, "beta is nan"), (np.inf, "beta is inf"), ([0.1], "beta is [0.1]"),
    (SIGNS, "beta is an array of shape (16,)"),
)  # fmt: skip

NO_WEIGHTS = (
    *UNREAD, (True, "sample_weight"), ([1], "sample_weight has shape (1,)"),
    (0.0 * SIGNS, "sample_weight is zero for every row"), (-np.ones(16), "sample_weight holds -1 at position 0"),
    (np.nan * SIGNS, "sample_weight holds nan at position 0"),
)  # fmt: skip

WRONG = {
    "norm": tuple(({"norm": value}, f"unknown norm {shown}") for value, shown in NO_NORM), "X": cases("X", NO_ROWS),
    "y": cases("y", (*NO_LABELS, *STRANGERS)), "radius": cases("radius", NO_RADIUS),
    "radii": cases("radii", NO_RADII), "ax": called("ax", NO_AXES), "threat": called("threat", NO_THREAT),
    "path": called("path", NO_PATH), "standardized": called("standardized", NO_FLAG),
    **{name: called(name, NO_COUNT) for name in ("steps", "restarts", "seed")},
    **{name: called(name, [one for one in NO_COUNT if one[1] not in ("None", "2.5")]) for name in ("time_limit",)},
}  # fmt: skip
"""Wrong inputs of the parameters of networks, by name."""


def of_parameters(call, tables):
    """Wrong inputs of every parameter that a call has.

    Args:
        call: A function or bound method.
        tables: Wrong inputs by parameter; that one has none is an error.
    """
    return tuple(case for name in signature(call).parameters for case in tables[name])
