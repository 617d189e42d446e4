"""Every kind of gated programme, and what core makes of an answer to one."""

from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import gated_bound


def bounds(program, solution):
    """What core makes of an answer."""
    upper = gated.objective(program, gated.from_network(program, solution.network))
    return upper, gated_bound(program, solution.multipliers).value


def gap(program, solution):
    upper, lower = bounds(program, solution)
    return (upper - lower) / max(upper, 1e-300)


CASES = [
    (formulation, norm, loss, radius)
    for formulation in ("one-sided", "gated", "cone")
    for loss in ("hinge", "squared_hinge", "logistic", "squared")
    for radius, norm in ((0.0, "inf"), (0.02, "inf"), (0.02, 2), (0.02, 1))
    # The one-sided formulation is about margins.
    if not (formulation == "one-sided" and loss == "squared")
]
