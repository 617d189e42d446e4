"""How a search goes about it, refused before any work where it is something else."""

import os
from numbers import Integral
from typing import Any

from cvxrobust.core.arguments import flag, place, whole
from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown
from cvxrobust.problems.data.parameters import is_random_state

MOST = 2**31
"""More processes than this, or fewer than minus this, nobody can ask for."""


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
    jobs = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool) and 0 < abs(int(n_jobs)) < MOST
    if n_jobs is not None and not jobs:
        raise InputError(f"n_jobs is {shown(n_jobs)}; expected how many folds at a time, -1 for one per core, or None.")
    if not is_random_state(random_state):
        raise InputError(
            f"random_state is {shown(random_state)}; expected a whole number of 0 or more, below 2^32, a "
            "RandomState, or None."
        )
