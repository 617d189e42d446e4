"""Samples for benchmarks: drawn at random from a seed, or taken from data sets."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.core.environment import total_memory
from cvxrobust.core.errors import InputError, TooLargeError
from cvxrobust.core.networks.standardizer import Standardizer

Array = NDArray[np.float64]
Generator = Callable[[int, int, np.random.Generator], tuple[Array, Array]]

BYTES = 16
"""Of memory that a number takes while samples are drawn: its own eight, and those of a copy."""

LABEL_NOISE = 0.05
"""Share of the labels that `planted` turns over."""


def blobs(n: int, d: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Two Gaussian clouds, one per class, whose centres are two standard deviations apart."""
    y = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    direction = rng.standard_normal(d)
    direction /= np.linalg.norm(direction)
    return rng.standard_normal((n, d)) + np.outer(y, direction), y


def planted(n: int, d: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Gaussian inputs, labelled by the sign of a random two-layer network with three quadratic neurons.

    One label in twenty is turned over, so that no network fits them all.
    """
    X = rng.standard_normal((n, d))
    neurons = rng.standard_normal((d, 3)) / np.sqrt(d)
    score = ((X @ neurons) ** 2) @ np.array([1.0, -1.0, 0.5]) + 0.5 * X @ neurons[:, 0]
    y = np.where(score > np.median(score), 1.0, -1.0)
    y[rng.random(n) < LABEL_NOISE] *= -1.0
    return X, y


def targets(n: int, d: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Gaussian inputs with real targets, a quadratic function and noise: for the squared loss."""
    X = rng.standard_normal((n, d))
    direction = rng.standard_normal(d) / np.sqrt(d)
    score = X @ direction
    return X, 0.5 * score**2 + score + 0.1 * rng.standard_normal(n)


GENERATORS: dict[str, Generator] = {"blobs": blobs, "planted": planted, "targets": targets}


def samples(
    name: str,
    n: int | None,
    d: int | None,
    seed: int,
    folder: str | None = None,
    label: str | None = None,
    form: CsvFormat | None = None,
) -> tuple[Array, NDArray[Any]]:
    """Draw samples, or take them from a data set.

    Of a data set, all rows are standardised (mean 0, population standard deviation 1; constant features are left at
    0), then `n` rows are drawn without replacement by the seed and the first `d` features kept.

    Args:
        name: A generator, a data set or a file.
        n: Samples; None for all of a data set's.
        d: Features; None for all of a data set's.
        seed: Of the draw.
        folder: Where data sets lie; None takes the environment variable ``CVXROBUST_DATA``.
        label: The column or array of labels of a file; None takes the usual one.
        form: How a CSV file is to be read; None for the usual form.

    Returns:
        Inputs, shape (n, d), and labels, shape (n,).

    Raises:
        InputError: There is no such data, or not enough of it.
    """
    rng = np.random.default_rng(seed)
    if name in GENERATORS:
        if n is None or d is None:
            raise InputError(f"data {name!r} is drawn at random: say how many samples, n, and features, d.")
        if n * d * BYTES > total_memory():
            raise TooLargeError(f"{n:,} samples of {d:,} features do not fit into memory; choose fewer.")
        return GENERATORS[name](n, d, rng)
    from cvxrobust.bench.data.dataset import load_dataset

    dataset = load_dataset(name, folder, label, form=form)
    if (n or 0) > dataset.n_rows or (d or 0) > dataset.n_features:
        raise InputError(
            f"data {name!r} has {dataset.n_rows} rows and {dataset.n_features} features; {n} and {d} were asked for."
        )
    X = Standardizer.fit(dataset.X).transform(dataset.X)
    rows = rng.permutation(dataset.n_rows)[: n or dataset.n_rows]
    return np.ascontiguousarray(X[rows][:, : d or dataset.n_features]), dataset.y[rows]
