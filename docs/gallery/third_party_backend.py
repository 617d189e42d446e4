# %% [markdown]
# # A backend of your own, on one page
#
# You have a solver, or an idea for one, and want to know what it is worth on certified training. Here a small
# operator-splitting method is written, made a backend, held to the contract that all backends are held to, and
# compared, without touching the package and without inheriting anything.

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import splu

from cvxrobust import AdversarialSDP, Settings, StandardSDP, Termination, UnsupportedProgramError, solve
from cvxrobust.core import (
    PSD,
    Capabilities,
    ConicProgram,
    NonNegative,
    SecondOrder,
    Solution,
    Zero,
    blas_threads,
    check_options,
    native_tolerance,
    require_cones,
    unused_settings,
)
from cvxrobust.core.testing import BackendContract

# %% [markdown]
# ## The solver
#
# A training problem arrives as a conic programme, ``min q'x  s.t.  A x + s = b, s in K``. The alternating direction
# method of multipliers solves a linear system and projects onto K, in turns; the programme can project by itself, so
# that is all there is to it. `u` gathers what the projections took away; ``penalty * u`` are the dual variables.


# %%
class Iteration:
    """x, the slacks s and the scaled duals u, from zero."""

    def __init__(self, program: ConicProgram) -> None:
        self.program, self.penalty = program, 1.0
        self.x, self.s, self.u = np.zeros(program.q.size), np.zeros(program.b.size), np.zeros(program.b.size)
        normal = program.A.T @ program.A + 1e-8 * sparse.eye_array(program.q.size)
        self.normal = splu(sparse.csc_array(normal))

    def step(self) -> None:
        A, b, q = self.program.A, self.program.b, self.program.q
        self.x = self.normal.solve(A.T @ (b - self.s - self.u) - q / self.penalty + 1e-8 * self.x)
        reached = 1.6 * (A @ self.x) - 0.6 * (b - self.s)
        self.s = self.program.project(b - reached - self.u)
        self.u = self.u + reached + self.s - b


# %% [markdown]
# Every 25 steps it asks how good the point is; the programme has the usual six errors ready. Where the primal
# residual lags behind the dual one, or the other way round, the penalty is changed. Not converging is an answer, not
# an exception: the iterate comes back all the same.


# %%
def rebalance(run: Iteration, primal: float, dual: float) -> None:
    factor = float(np.clip(np.sqrt((primal + 1e-12) / (dual + 1e-12)), 0.1, 10.0))
    if not 0.5 < factor < 2.0:
        run.penalty, run.u = run.penalty * factor, run.u / factor


def iterate(program: ConicProgram, tolerance: float, limit: int) -> Solution:
    run = Iteration(program)
    for count in range(1, limit + 1):
        run.step()
        if count % 25 == 0 or count == limit:
            found = Solution(Termination.CONVERGED, run.x, run.s, run.penalty * run.u, iterations=count)
            primal, _, dual, _, gap, _ = program.dimacs_errors(found)
            if max(primal, dual, abs(gap)) <= tolerance:
                return found
            if count % 200 == 0:
                rebalance(run, primal, dual)
    return replace(found, termination=Termination.ITERATION_LIMIT)


# %% [markdown]
# ## The backend
#
# A backend is any object with a name, capabilities, `unavailable` and `solve`. Capabilities are data: the cones that
# it reads, and the tightest tolerance that is worth asking for. Exponential cones are left out here, so problems with
# the logistic loss will be refused by name, before any work. What was set and what was not is reported in `applied`
# and `ignored`.


# %%
class Splitting:
    name = "splitting"
    cones = frozenset({Zero, NonNegative, SecondOrder, PSD})
    capabilities = Capabilities(cones=cones, tightest_tolerance=1e-5, method="first-order")

    def unavailable(self) -> str | None:
        return None

    def solve(self, program: ConicProgram, settings: Settings) -> Solution:
        require_cones(program, self.cones, self.name)
        check_options(settings, {"max_iterations"}, self.name)
        limit = settings.max_iterations or settings.options.get("max_iterations", 10_000)
        tolerance = native_tolerance(settings, self.capabilities, 0.05)
        with blas_threads(settings.threads):
            found = iterate(program, tolerance, limit)
        applied = {"max_iterations": limit, "tolerance": tolerance}
        return replace(found, applied=applied, ignored=unused_settings(settings, self.capabilities))


# %% [markdown]
# `solve` takes the object as it is. (In a package of your own, an entry point makes it known by its name to everybody
# who installs it, the command line included.)

# %%
rng = np.random.default_rng(0)
X = rng.standard_normal((30, 4))
y = np.where(X @ [1.0, -1.0, 0.5, 0.0] + 0.3 * rng.standard_normal(30) > 0.0, 1.0, -1.0)
problem = AdversarialSDP(X, y, radius=0.2, beta=0.05)
print(solve(problem, Splitting(), "direct", Settings(tolerance=1e-5)))
print(solve(problem, "clarabel", "direct", Settings(tolerance=1e-5)))

# %% [markdown]
# The two brackets hold the same optimum. Nobody asked the solver for its opinion: the package made a network of its
# `x` and a lower bound of its `y`. What if it stops much too early?

# %%
hurried = solve(problem, Splitting(), "direct", Settings(tolerance=1e-5, max_iterations=50))
print(hurried)
try:
    solve(StandardSDP(X, y, loss="logistic"), Splitting())
except UnsupportedProgramError as error:
    print("refused:", error)

# %% [markdown]
# Fifty iterations give a wide bracket, which still holds the optimum. Wrong is not possible, only useless.
#
# ## The contract
#
# `BackendContract` is a class of tests: planted optima of every cone, signs of duals, infeasible and unbounded
# programmes, limits, settings, threads, manners, every family of problems. Name the backend, and say what it does not
# promise.


# %%
class TestSplitting(BackendContract):
    backend = Splitting()
    finds_certificates = False  # it cannot tell that a programme is infeasible; it must not call it solved, though
    verbose_prints = False


with tempfile.TemporaryDirectory() as folder:
    module = Path(folder) / "test_contract.py"
    module.write_text("from __main__ import TestSplitting  # noqa", encoding="utf-8")
    outcome = pytest.main(["-q", "--color=no", "-p", "no:cacheprovider", "--rootdir", folder, str(module)])

# %% [markdown]
# What is skipped is what the capabilities do not promise: warm starts, limits of time, exponential cones, structured
# programmes.
#
# ## What it is worth
#
# This method is here to be read. On the problem above it takes hundreds of cheap steps where an interior-point method
# takes a dozen dear ones; [choosing a backend](choosing_a_backend.md) shows how to compare. Your solver may be the
# better one: it is judged by the same certificates.

# %%
assert outcome == 0
assert hurried.quality != "certified"
reference = solve(problem, "clarabel", "direct").certificate
assert hurried.certificate.lower <= reference.upper
assert hurried.certificate.upper >= reference.lower
