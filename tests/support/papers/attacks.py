"""The table of problems/README.md that says which attacks training knows, and how exactly; made anew from the code.

PYTHONPATH=tests/support python -m papers.attacks
"""

import numpy as np

from cvxrobust import AdversarialReLU, AdversarialSDP, Batches, BoxSDP, InputError, StreamedSDP
from cvxrobust.core.attacks.norms import NORMS
from cvxrobust.problems.relu.choices import FORMULATIONS

HEADING = "Which attacks, and how exactly"
RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
LABELS = np.where(X @ [1.0, -1.0, 0.5] + 0.5 * RNG.standard_normal(12) > 0.0, 1.0, -1.0)
TARGETS = X @ [1.0, -1.0, 0.5] + 0.5 * RNG.standard_normal(12)

SHAPES = {
    "ball": {},
    "`scale=`": {"scale": [0.0, 1.0, 2.0]},
    "`covariance=`": {"covariance": np.eye(3) + 0.5},
    "`directions=`": {"directions": [[1.0, 0.0], [1.0, 1.0], [0.0, 0.5]]},
}
"""What attacks may be, in the words of the parameters that say so."""

EXACT, BRACKETED, REFUSED = "exact", "bracketed", "refused"


def made(family, formulation, loss, norm, shape):
    """A small problem of a family; the error that refuses it otherwise."""
    y = LABELS if loss == "hinge" else TARGETS
    given = {"radius": 0.05, "norm": norm, "beta": 0.02, "loss": loss, **SHAPES[shape]}
    if family is StreamedSDP:
        return StreamedSDP(Batches([(X, y)]), **given)
    relu = {"formulation": formulation, "n_gates": 6} if family is AdversarialReLU else {}
    return family(X, y, **given, **relu)


def columns():
    """Families with their formulations, by what heads their column."""
    polynomial = {"`AdversarialSDP`": (AdversarialSDP, None), "`StreamedSDP`": (StreamedSDP, None)}
    return polynomial | {f"`AdversarialReLU`, {name}": (AdversarialReLU, name) for name in FORMULATIONS}


def answer(family, formulation, loss, norm, shape):
    """How exactly training knows attacks: what its problem says, once it is made."""
    try:
        problem = made(family, formulation, loss, norm, shape)
    except InputError:
        return REFUSED
    rules = getattr(problem, "rules", None)
    if isinstance(problem, BoxSDP):
        return BRACKETED
    return EXACT if rules is None or rules.constrains_gates else BRACKETED


def rows(loss="hinge"):
    """The rows of the table, a list of cells each."""
    return [
        [str(norm), shape, *(answer(*column, loss, norm, shape) for column in columns().values())]
        for norm in NORMS
        for shape in SHAPES
    ]


def table(loss="hinge"):
    """The lines of the table."""
    lines = [["norm", "attacks", *columns()], ["---"] * (2 + len(columns())), *rows(loss)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


if __name__ == "__main__":
    print("\n".join(table()))
