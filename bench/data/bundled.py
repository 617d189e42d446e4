"""Data sets that come with scikit-learn, as arrays: its own types leave open what its loaders return."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BundledData:
    """One data set.

    Args:
        X: Inputs, shape (n, d).
        target: The class of each row, counted from 0, shape (n,).
        feature_names: Names of the columns.
    """

    X: NDArray[np.float64]
    target: NDArray[np.int64]
    feature_names: tuple[str, ...]


def load_breast_cancer() -> BundledData:
    """Breast Cancer Wisconsin (Diagnostic): 569 rows, 30 features; class 1 is benign."""
    from sklearn import datasets

    return _loaded(datasets.load_breast_cancer)


def load_digits() -> BundledData:
    """1,797 images of 8 x 8 pixels with values from 0 to 16, and the digits."""
    from sklearn import datasets

    return _loaded(datasets.load_digits)


def _loaded(load: Callable[[], Any]) -> BundledData:
    bunch = load()
    return BundledData(
        np.asarray(bunch.data, dtype=np.float64),
        np.asarray(bunch.target, dtype=np.int64),
        tuple(str(feature) for feature in bunch.feature_names),
    )
