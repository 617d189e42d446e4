"""What a solution file says, before anybody checks it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.contracts.result import Termination

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """The vectors of a solution file, in our signs and our order, and the solver's own words.

    Args:
        x: Primal variables.
        y: Dual variables, None where the file has none.
        s: Slacks, where the file gives them in our order.
        termination: What the file says about why the solver stopped.
        message: What kind of file it was, and what it said.
    """

    x: Array | None = None
    y: Array | None = None
    s: Array | None = None
    termination: Termination = Termination.CONVERGED
    message: str = ""


def termination_of(words: str) -> Termination:
    """A solver's own word for how it ended; what is unknown counts as numerical trouble."""
    said = words.lower().replace("_", " ")
    meanings = (
        ("dual infeasible", Termination.UNBOUNDED),
        ("unbounded", Termination.UNBOUNDED),
        ("infeasible", Termination.INFEASIBLE),
        ("optimal", Termination.CONVERGED),
        ("time", Termination.TIME_LIMIT),
        ("iteration", Termination.ITERATION_LIMIT),
        ("interrupt", Termination.INTERRUPTED),
    )
    return next((meaning for word, meaning in meanings if word in said), Termination.NUMERICAL)
