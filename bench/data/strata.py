"""Rows drawn at random, class by class if there are any: to the row those of scikit-learn's `train_test_split`.

Importing scikit-learn for this took longer than everything else that `cvxrobust solve` does on a small table.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]


def drawn_rows(labels: NDArray[np.str_], n_test: int, seed: int) -> tuple[Rows, Rows]:
    """Rows for training and for the test, shuffled, with the classes in equal proportion.

    Args:
        labels: One per row, shape (n,).
        n_test: Rows of the test; as many as there are classes at least, and as many are left.
        seed: From 0 to 2**32 - 1.
    """
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rng = np.random.RandomState(seed)
    n_of_training = _shares(counts, labels.size - n_test, rng)
    n_of_test = _shares(counts - n_of_training, n_test, rng)
    training, test = [], []
    for i, rows in enumerate(np.split(np.argsort(places, kind="stable"), np.cumsum(counts)[:-1])):
        shuffled, first = rng.permutation(rows.size), int(n_of_training[i])
        training.append(rows[shuffled[:first]])
        test.append(rows[shuffled[first : first + int(n_of_test[i])]])
    return rng.permutation(np.concatenate(training)), rng.permutation(np.concatenate(test))


def shuffled_rows(n: int, n_test: int, seed: int) -> tuple[Rows, Rows]:
    """Rows for training and for the test, shuffled, whatever their labels.

    Args:
        n: Rows.
        n_test: Rows of the test, fewer than n.
        seed: From 0 to 2**32 - 1.
    """
    shuffled = np.random.RandomState(seed).permutation(n)
    return shuffled[n_test:], shuffled[:n_test]


def _shares(counts: Rows, total: int, rng: np.random.RandomState) -> Rows:
    """How many of each class are among so many rows: rounded down, then up where most is missing, ties by lot."""
    exact = counts / counts.sum() * total
    found: Rows = np.floor(exact).astype(np.intp)
    rest = exact - found
    for value in np.unique(rest)[::-1]:
        missing = total - int(found.sum())
        if missing == 0:
            break
        (equal,) = np.nonzero(rest == value)
        found[rng.choice(equal, size=min(equal.size, missing), replace=False)] += 1
    return found
