"""How messages show what callers pass: as it is where that is short, else in plain words, whatever it does."""

import math
from pathlib import Path

import numpy as np
import pytest

from cvxrobust.core.strangers import shown


class Rude:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "None"),
        ("x", "'x'"),
        ("x" * 99, f"'{'x' * 60}'..."),
        (Path("a.csv"), "'a.csv'"),
        ((1, 2), "(1, 2)"),
        (list(range(99)), "a list"),
        (10**50, str(10**50)),
        (10**400, "a whole number of some 400 digits"),
        (np.float64("nan"), "nan"),
        (np.array(3), "3"),
        (np.ones((2, 3)), "an array of shape (2, 3)"),
        (object(), "an object"),
        (Rude(), "a Rude"),
        (Rude, "the class Rude"),
        (math, "the module math"),
        (print, "the function print"),
        ((i for i in ()), "a generator"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_shown_in_plain_words(value, said):
    assert shown(value) == said
