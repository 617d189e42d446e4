"""A thousand random and degenerate problems, half polynomial and half gated, through the interior-point backend.

    python tests/support/ipm_thousand.py [--count 1000] [--tolerance 1e-7] [--clarabel 10]

Not a test that pytest collects, because it takes minutes: it prints how many converged, how the others ended, and every
bound that is false (there must be none: a lower bound above an objective, or a converged solve whose certified gap is
larger than asked, or bounds that contradict Clarabel's, which solves every tenth problem, too). Warnings are errors,
and so is anything that a solve raises.
"""

import argparse
import collections
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from random_problems import random_case
from random_relu import any_gates, random_recipe

from cvxrobust import Settings, solve
from cvxrobust.core import Termination, get_backend
from cvxrobust.core.solving.judging.sanitize import network_of


def problems(count: int) -> Iterator[tuple[str, Any, bool]]:
    """Name, single problem, and whether its data is scaled like data."""
    for number in range(count // 2):
        case = random_case(number)
        yield str(case), case.problem, case.well_scaled
    for number in range(count - count // 2):
        recipe = (random_recipe, any_gates)[number % 2](number)
        for part in recipe.problem().parts:
            yield str(recipe), part, True


def contradiction(problem: Any, lower: float, upper: float) -> str:
    """Where certified bounds and those of Clarabel's answer exclude each other; empty where they do not."""
    theirs = solve(problem, backend="clarabel", method="direct", settings=Settings(tolerance=1e-7)).certificate
    slack = 1e-9 * (1.0 + abs(upper))
    agree = lower <= theirs.upper + slack and upper >= theirs.lower - slack
    return "" if agree else f"[{lower!r}, {upper!r}], Clarabel [{theirs.lower!r}, {theirs.upper!r}]"


def main() -> None:
    """Solve and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="problems; classes of one problem count once")
    parser.add_argument("--tolerance", type=float, default=1e-7)
    parser.add_argument("--clarabel", type=int, default=10, help="every how many problems Clarabel is asked, too")
    asked = parser.parse_args()
    warnings.simplefilter("error")
    backend, settings = get_backend("ipm"), Settings(tolerance=asked.tolerance, threads=1)
    ended: collections.Counter[str] = collections.Counter()
    iterations, false, compared, open_gaps = [], 0, 0, []
    began = time.perf_counter()
    for number, (name, problem, well_scaled) in enumerate(problems(asked.count)):
        solution = backend.solve(problem.to_structured(), settings)
        upper = problem.objective(network_of(problem, solution))
        lower = problem.lower_bound(solution.multipliers)
        gap = (upper - lower) / max(upper, 1e-300)
        converged = solution.termination is Termination.CONVERGED
        ended[f"{solution.termination}, {'scaled like data' if well_scaled else 'of size 1e4 or 1e-4'}"] += 1
        iterations.append(solution.iterations)
        if number % asked.clarabel == 0:
            theirs = contradiction(problem, lower, upper)
            compared, false = compared + 1, false + bool(theirs)
            print(f"FALSE: {name}: {theirs}" if theirs else "", end="\n" if theirs else "")
        if not np.isfinite(upper) or gap < -1e-12 or (converged and gap > 1.01 * asked.tolerance):
            false += 1
            print(f"FALSE: {name}: {solution.termination}, [{lower!r}, {upper!r}]")
        elif not converged:
            open_gaps.append(gap)
            print(f"{name}: {solution.termination} at a gap of {gap:.1e}: {solution.message}")
    seconds = time.perf_counter() - began
    print(*(f"{number} {how}" for how, number in sorted(ended.items())), sep="\n")
    print(f"{compared} problems were solved by Clarabel, too")
    print(f"{false} false; {sum(gap > 1e-7 for gap in open_gaps)} of {len(iterations)} above 1e-7")
    print(f"{np.mean(iterations):.1f} iterations on average, at most {max(iterations)}; {seconds:.0f} s in all")


if __name__ == "__main__":
    main()
