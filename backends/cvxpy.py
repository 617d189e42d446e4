"""CVXPY: whatever solver it knows, as ``"cvxpy:NAME"`` (Diamond and Boyd 2016, JMLR 17).

The slow road, for solvers that have no backend of their own, and for checking those that have.
"""

import time
import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core import (
    PSD,
    BackendDescription,
    Capabilities,
    Cone,
    ConicProgram,
    Exponential,
    InputError,
    LicenceError,
    NonNegative,
    SecondOrder,
    Settings,
    Solution,
    Termination,
    UnknownNameError,
    Zero,
    blas_threads,
    check_options,
    hookimpl,
    judged,
    native_tolerance,
    require_cones,
    residuals,
    svec,
    svec_indices,
    unused_settings,
)

Array = NDArray[np.float64]

DEFAULT_VARIANT = "CLARABEL"
CONES: dict[type, frozenset[str]] = {
    Zero: frozenset({"Zero"}),
    NonNegative: frozenset({"NonNeg"}),
    SecondOrder: frozenset({"SOC"}),
    PSD: frozenset({"PSD", "SvecPSD"}),
    Exponential: frozenset({"ExpCone"}),
}
"""What CVXPY calls a cone in a solver's list of supported constraints; any one of the names will do."""

# What is missing here is Termination.ERROR; the limits and inaccurate statuses are read in `_termination`.
TERMINATION = {
    "optimal": Termination.CONVERGED,
    "infeasible": Termination.INFEASIBLE,
    "unbounded": Termination.UNBOUNDED,
}
SHARE_OF_TOLERANCE = 0.01

LARGEST = 10_000
"""Rows of the dense matrices that CVXOPT's sturdier factorisations make: 0.8 GB, and some ten seconds each."""


@dataclass(frozen=True)
class Vocabulary:
    """How a solver behind CVXPY wants our settings to be called; empty where we do not know.

    `complete` where these are all the options there are and the solver would take any other in silence. `kept`: it runs
    through `cvxopt_keeping`, within its time limit. `sturdier`: an option, and its values with which to try again where
    an answer does not hold on the programme as given or, of solvers that are kept, is none, while matrices are small
    enough; of those, the last where CVXPY's preparation for the solver breaks down.
    """

    tolerances: tuple[str, ...] = ()
    iterations: str = ""
    seconds: str = ""
    threads: str = ""
    others: frozenset[str] = frozenset()
    complete: bool = False
    kept: bool = False
    sturdier: tuple[str, tuple[Any, ...]] = ("", ())

    @property
    def names(self) -> set[str]:
        """Every option known by name."""
        return {*self.tolerances, self.iterations, self.seconds, self.threads, *self.others} - {""}


VOCABULARIES = {
    "CLARABEL": Vocabulary(
        ("tol_gap_abs", "tol_gap_rel", "tol_feas"),
        "max_iter",
        "time_limit",
        "max_threads",
        # Where it judges itself by the parts of a sparse matrix, see our own backend.
        sturdier=("chordal_decomposition_enable", (False,)),
    ),
    "SCS": Vocabulary(("eps_abs", "eps_rel"), "max_iters", "time_limit_secs"),
    "CVXOPT": Vocabulary(
        ("abstol", "reltol", "feastol"),
        "max_iters",
        others=frozenset({"kktsolver", "refinement"}),
        complete=True,
        kept=True,
        # The default forms normal equations, which end at half the digits. Before, CVXPY looks for redundant equations
        # with ARPACK, which on some processors finds its start in their null space.
        sturdier=("kktsolver", ("ldl", "robust")),
    ),
    "MOSEK": Vocabulary(("eps",), others=frozenset({"mosek_params", "bfs", "accept_unknown"})),
    "SDPA": Vocabulary(("epsilonStar", "epsilonDash"), "maxIteration", threads="numThreads"),
    "COPT": Vocabulary(("RelGap", "FeasTol", "DualTol"), "BarIterLimit", "TimeLimit", "Threads"),
}


class CVXPY:
    """Solves conic programmes through CVXPY.

    Args:
        variant: CVXPY's name of the solver; None for Clarabel.

    Raises:
        UnknownNameError: CVXPY knows no conic solver of that name.
    """

    def __init__(self, variant: str | None = None) -> None:
        self.solver = (variant or DEFAULT_VARIANT).upper()
        self.name = "cvxpy" if variant is None else f"cvxpy:{self.solver}"
        self.vocabulary = VOCABULARIES.get(self.solver, Vocabulary())
        self.capabilities = Capabilities(
            # Asking CVXPY means importing it, which a mere listing should not wait for.
            cones=frozenset(CONES) if variant is None else _readable_cones(self.solver),
            time_limit=bool(self.vocabulary.seconds) or self.vocabulary.kept,
            threads=bool(self.vocabulary.threads),
            tightest_tolerance=1e-7,
            method="whatever the solver's is",
        )

    def unavailable(self) -> str | None:
        """Whether CVXPY or the solver behind it is missing."""
        if find_spec("cvxpy") is None:
            return "cvxpy is not installed: run `pip install cvxpy`"
        if self.solver == DEFAULT_VARIANT:
            return None if find_spec("clarabel") else "clarabel is not installed: run `pip install clarabel`"
        import cvxpy

        installed = cvxpy.installed_solvers()
        if self.solver in installed:
            return None
        return (
            f"CVXPY does not find the solver {self.solver}: install its Python package, "
            f"or choose one that is here ({', '.join(installed)})"
        )

    def harmless_options(self) -> set[str]:
        """Those that we know; of the others, and of what stands inside ``mosek_params``, nobody knows what they are."""
        return self.vocabulary.names - {"mosek_params"}

    def check_settings(self, settings: Settings) -> None:
        """Refuse options that the solver is known not to have.

        Raises:
            UnknownNameError: There is one.
        """
        self._translate(settings)

    def solve(self, program: ConicProgram, settings: Settings) -> Solution:
        """Solve a conic programme. Without a solution to report, CVXPY reports no iterate either.

        Raises:
            UnsupportedProgramError: The programme has a cone that the solver lacks.
            UnknownNameError: An option that the solver is known not to have.
            InputError: The solver refuses an option.
            LicenceError: The solver needs a licence.
        """
        require_cones(program, self.capabilities.cones, self.name)
        applied, ignored = self._translate(settings)
        tolerance = max(settings.tolerance, self.capabilities.tightest_tolerance)
        began = time.perf_counter()
        best = _named(program, self._attempt(program, settings, applied), settings, tolerance)
        name, values = self.vocabulary.sturdier
        large = program.q.size + program.b.size > LARGEST
        for value in () if large or name in settings.options else values:
            left = None if settings.time_limit is None else settings.time_limit - (time.perf_counter() - began)
            none = self.vocabulary.kept and best.termination in (Termination.ERROR, Termination.NUMERICAL)
            if not (none or best.doubt) or best.applied.get(name) == value or (left is not None and left <= 0.0):
                break
            again = self._attempt(program, settings.replace(time_limit=left), applied | {name: value})
            best = _better(program, best, _named(program, again, settings, tolerance))
        return replace(best, ignored=ignored)

    def _attempt(self, program: ConicProgram, settings: Settings, applied: dict[str, Any]) -> Solution:
        """One run of the solver; the options may change on the way."""
        import cvxpy

        x = cvxpy.Variable(program.q.size)
        slack = cvxpy.Constant(program.b) - cvxpy.Constant(program.A) @ x
        constraints = [
            _constraint(cone, slack[rows]) for cone, rows in zip(program.cones, program.blocks, strict=True) if cone.dim
        ]
        problem = cvxpy.Problem(cvxpy.Minimize(program.q @ x), constraints)
        began, options = time.perf_counter(), dict(applied)
        solver = self._solver(settings)
        message = self._run(problem, solver, settings, options)
        elapsed = time.perf_counter() - began
        stats = problem.solver_stats if problem.status is not None else None
        iterations = int(getattr(stats, "num_iters", 0) or getattr(solver, "iterations", 0))
        solving = float(getattr(stats, "solve_time", None) or 0.0)
        point = None if x.value is None else np.asarray(x.value, dtype=np.float64)
        status = getattr(solver, "verdict", "") or problem.status
        unbounded, infeasible = status == "unbounded", status == "infeasible"
        image = None if point is None else program.A @ point
        return Solution(
            _termination(status, settings, elapsed, iterations),
            x=None if infeasible else point,
            s=None if image is None or infeasible else -image if unbounded else program.b - image,
            y=None if unbounded else _multipliers(program, constraints),
            iterations=iterations,
            setup_seconds=max(0.0, elapsed - solving),
            solve_seconds=solving,
            message=message or str(status),
            applied=options,
        )

    def _solver(self, settings: Settings) -> Any:
        """What CVXPY is to run, by name or as an object."""
        if not self.vocabulary.kept:
            return self.solver
        from cvxrobust.backends.cvxopt_keeping import KeepingCVXOPT

        return KeepingCVXOPT(settings.time_limit)

    def _translate(self, settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
        words = self.vocabulary
        if words.complete:
            check_options(settings, words.names, self.name)
        ignored = unused_settings(settings, self.capabilities)
        tolerance = native_tolerance(settings, self.capabilities, SHARE_OF_TOLERANCE)
        applied: dict[str, Any] = dict.fromkeys(words.tolerances, tolerance)
        for name, value in (
            (words.iterations, settings.max_iterations),
            (words.seconds, settings.time_limit),
            (words.threads, settings.threads),
        ):
            if name and value is not None:
                applied[name] = value
        if not words.tolerances:
            ignored["tolerance"] = f"we do not know what {self.solver} calls it: pass it in `options`"
        if settings.max_iterations is not None and not words.iterations:
            ignored["max_iterations"] = f"we do not know what {self.solver} calls it: pass it in `options`"
        return applied | dict(settings.options), ignored

    def _run(self, problem: Any, solver: Any, settings: Settings, options: dict[str, Any]) -> str:
        """Solve, and return what the solver complained of, if it did."""
        import cvxpy

        try:
            with warnings.catch_warnings(), blas_threads(settings.threads):
                # Said by the termination instead.
                warnings.filterwarnings("ignore", message="Solution may be inaccurate")
                problem.solve(solver=solver, verbose=settings.verbose, **options)
        except cvxpy.SolverError as error:
            return str(error).replace("KEEPING_CVXOPT", self.solver)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{self.name} refuses the options {options}: {error}") from error
        except Exception as error:
            # Each commercial solver has an error class of its own, and none may be installed.
            if "licen" in str(error).lower():
                raise LicenceError(f"{self.solver} has no valid licence here: {error}") from error
            name, values = self.vocabulary.sturdier
            if not self.vocabulary.kept or name in options:
                raise
            options[name] = values[-1]
            return self._run(problem, solver, settings, options)
        return ""


def _named(program: ConicProgram, found: Solution, settings: Settings, tolerance: float) -> Solution:
    """The answer by its right name: solvers behind CVXPY shrug where they miss a digit that nobody asked them for.

    So do those that run into a limit of their own for it.
    """
    own_limit = found.termination is Termination.ITERATION_LIMIT and settings.max_iterations is None
    shrugs = found.y is not None and (own_limit or found.termination is Termination.NUMERICAL)
    error = residuals(program, found) if shrugs else None
    if error is not None and error.worst[0] <= tolerance:
        return replace(found, termination=Termination.CONVERGED)
    return judged(program, found, tolerance)


def _better(program: ConicProgram, first: Solution, second: Solution) -> Solution:
    """The better of two answers, with the iterations and seconds of both."""
    errors = [residuals(program, found) for found in (first, second)]
    worst = [np.inf if error is None else error.worst[0] for error in errors]
    chosen = second if second.termination in TERMINATION.values() or worst[1] < worst[0] else first
    return replace(
        chosen,
        iterations=first.iterations + second.iterations,
        setup_seconds=first.setup_seconds + second.setup_seconds,
        solve_seconds=first.solve_seconds + second.solve_seconds,
    )


def _readable_cones(solver: str) -> frozenset[type]:
    if find_spec("cvxpy") is None:
        return frozenset(CONES)
    from cvxpy.reductions.solvers.defines import SOLVER_MAP_CONIC

    if solver not in SOLVER_MAP_CONIC:
        installed = {name for name, interface in SOLVER_MAP_CONIC.items() if interface.is_installed()}
        more = f"CVXPY knows {len(SOLVER_MAP_CONIC) - len(installed)} more that are not installed here."
        raise UnknownNameError("CVXPY solver", solver, installed, more)
    supported = {constraint.__name__ for constraint in SOLVER_MAP_CONIC[solver].SUPPORTED_CONSTRAINTS}
    return frozenset(cone for cone, names in CONES.items() if names & supported)


def _constraint(cone: Cone, slack: Any) -> Any:
    import cvxpy

    if isinstance(cone, Zero):
        return cvxpy.Zero(slack)
    if isinstance(cone, NonNegative):
        return cvxpy.NonNeg(slack)
    if isinstance(cone, SecondOrder):
        return cvxpy.SOC(slack[0], slack[1:])
    if isinstance(cone, PSD):
        return cvxpy.PSD(cvxpy.reshape(_unpacking(cone.order) @ slack, (cone.order, cone.order), order="F"))
    return cvxpy.ExpCone(slack[0], slack[1], slack[2])


def _unpacking(order: int) -> sparse.csc_array:
    """The matrix that takes an svec vector to the whole symmetric matrix, stacked by columns."""
    rows, columns, weights = svec_indices(order)
    entries = np.arange(rows.size)
    off = rows != columns
    return sparse.csc_array(
        (
            np.concatenate([1.0 / weights, 1.0 / weights[off]]),
            (
                np.concatenate([columns * order + rows, (rows * order + columns)[off]]),
                np.concatenate([entries, entries[off]]),
            ),
        ),
        shape=(order * order, rows.size),
    )


def _multipliers(program: ConicProgram, constraints: list[Any]) -> Array | None:
    cones = [cone for cone in program.cones if cone.dim]
    parts = [_multiplier(cone, made) for cone, made in zip(cones, constraints, strict=True)]
    known = [part for part in parts if part is not None]
    return np.concatenate([np.empty(0), *known]) if len(known) == len(parts) else None


def _multiplier(cone: Cone, constraint: Any) -> Array | None:
    """The dual variable of one constraint in our sign: in the dual cone, and A'y + q = 0."""
    value = constraint.dual_value
    if value is None or (isinstance(value, list) and any(part is None for part in value)):
        return None
    if isinstance(cone, Zero):
        # CVXPY adds the multiplier times b - A x to the Lagrangian for equalities; we subtract it.
        return -np.asarray(value, dtype=np.float64).ravel()
    if isinstance(cone, PSD):
        matrix = np.asarray(value, dtype=np.float64).reshape(cone.order, cone.order)
        return svec(0.5 * (matrix + matrix.T))
    flat = value if isinstance(value, list) else [value]
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in flat])


def _termination(status: str | None, settings: Settings, elapsed: float, iterations: int) -> Termination:
    if status in TERMINATION:
        return TERMINATION[status]
    if status is None or not (status == "user_limit" or status.endswith("_inaccurate")):
        return Termination.ERROR
    # CVXPY says only that some limit was met, or that accuracy was: clock and count tell them apart.
    if settings.time_limit is not None and elapsed >= settings.time_limit:
        return Termination.TIME_LIMIT
    limit = settings.max_iterations
    if status == "user_limit" or (limit is not None and (iterations >= limit or not iterations)):
        return Termination.ITERATION_LIMIT
    return Termination.NUMERICAL


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """CVXPY, for the registry."""
    return [BackendDescription("cvxpy", CVXPY, "any solver CVXPY knows, as cvxpy:NAME", variants=True)]
