"""How a search goes about it, refused before any work where it is something else."""

import os
from numbers import Integral
from typing import Any

import numpy as np

from cvxrobust.core.arguments import flag, place, whole
from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown

MOST = 2**32
"""Seeds are below."""


def check_search(
    refit: bool, warm: bool, verbose: int, folder: str | os.PathLike[str] | None, n_jobs: int | None, random_state: Any
) -> None:
    """Refuse what is no way to search.

    Args:
        refit: Whether a network is trained with what was chosen.
        warm: Whether points help each other.
        verbose: Whether folds are told of.
        folder: Where points are kept; None for nowhere.
        n_jobs: Folds at a time; below 0 counted from the number of cores; None for one.
        random_state: A seed, a `numpy.random.RandomState`, or None for another one every time.

    Raises:
        InputError: One of these is none.
    """
    flag(refit, "refit")
    flag(warm, "warm")
    if not isinstance(verbose, bool):
        whole(verbose, "verbose", 0, otherwise=", True or False")
    if folder is not None:
        place(folder, "folder", "a folder")
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral) or n_jobs == 0):
        raise InputError(f"n_jobs is {shown(n_jobs)}; expected how many folds at a time, -1 for one per core, or None.")
    seed = isinstance(random_state, Integral) and not isinstance(random_state, bool) and 0 <= int(random_state) < MOST
    if not (random_state is None or seed or isinstance(random_state, np.random.RandomState)):
        raise InputError(
            f"random_state is {shown(random_state)}; expected a whole number of 0 or more, below 2^32, a "
            "RandomState, or None."
        )
