"""What the contracts share: fixtures that find the backend under test, and judgements about what it returned."""

import ctypes
import os
import time
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.settings import Settings

Array = NDArray[np.float64]

REQUIRE_VARIABLE = "CVXROBUST_REQUIRE_BACKENDS"
"""Names, separated by commas, of backends that must be able to run: their absence fails instead of skipping."""

BUSY_SECONDS = 0.4
"""Processor time to gather before it is asked which threads spent it; clocks tick in hundredths."""


class UnderTest:
    """The backend that a contract is about. `BackendContract` says what the attributes mean."""

    backend: ClassVar[str | Backend]
    reads: ClassVar[frozenset[type] | None] = None
    keeps_iterates: ClassVar[bool] = True
    finds_certificates: ClassVar[bool] = True
    verbose_prints: ClassVar[bool] = True

    @pytest.fixture
    def solver(self) -> Backend:
        """The backend under test, able to run."""
        found = get_backend(self.backend)
        if (reason := found.unavailable()) is not None:
            required = os.environ.get(REQUIRE_VARIABLE, "").split(",")
            (pytest.fail if {found.name, str(self.backend)} & set(required) else pytest.skip)(reason)
        return found

    @pytest.fixture
    def conic(self, solver: Backend) -> Backend:
        """The backend under test, which reads conic programmes."""
        if not solver.capabilities.cones:
            pytest.skip(f"{solver.name} reads no conic programmes, only {', '.join(solver.capabilities.structured)}")
        return solver

    @staticmethod
    def tolerance(solver: Backend) -> float:
        """What to ask a backend for where accuracy is not the point."""
        return max(1e-6, solver.capabilities.tightest_tolerance)


def given(vector: Array | None) -> Array:
    """The vector, which must be there."""
    assert vector is not None, "x, s or y is missing"
    return vector


def accuracy(tolerance: float) -> float:
    """How accurate costs and duals have to be of a solver that was asked for a tolerance."""
    return max(1e-5, 10 * tolerance)


def assert_value(program: ConicProgram, found: Solution, planted: Solution, tolerance: float) -> None:
    """The cost found is the planted optimum."""
    allowed = accuracy(tolerance)
    assert program.q @ given(found.x) == pytest.approx(program.q @ given(planted.x), rel=allowed, abs=allowed)


def assert_optimal(solver: Backend, program: ConicProgram, planted: Solution, tolerance: float) -> None:
    """It converged, to the planted optimum, with all that it owes and errors that we measure ourselves."""
    found = well_formed(program, solver.solve(program, Settings(tolerance=tolerance)))
    assert found.termination is Termination.CONVERGED, found.message
    assert_value(program, found, planted, tolerance)
    errors = np.array(program.dimacs_errors(found))
    returned = np.ones(6, bool) if solver.capabilities.duals else np.array([1, 1, 0, 0, 0, 0], bool)
    assert np.isfinite(errors[returned]).all(), "x, s or y is missing or not finite"
    assert np.abs(errors[returned]).max() <= 10 * tolerance, f"DIMACS errors {errors}"


def well_formed(program: ConicProgram, found: Solution) -> Solution:
    """The solution, whose vectors fit the programme or are not there at all."""
    sizes = {"x": program.q.size, "s": program.b.size, "y": program.b.size}
    for name, size in sizes.items():
        vector = getattr(found, name)
        if vector is not None:
            assert isinstance(vector, np.ndarray), f"{name} is {vector!r}"
            assert (vector.dtype, vector.shape) == (np.float64, (size,)), f"{name} does not fit the programme"
    return found


def flush() -> None:
    """Empty C's own buffer, which Python knows nothing of."""
    (ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("msvcrt")).fflush(None)


def processor_time(work: Callable[[], object]) -> tuple[float, float, float]:
    """What enough repetitions of some work take.

    Returns:
        Processor seconds of all threads but the busiest, those of the busiest, and seconds on the wall.
    """
    process, started = psutil.Process(), time.perf_counter()
    before = {thread.id: thread.user_time + thread.system_time for thread in process.threads()}
    at_first, busiest = sum(process.cpu_times()[:2]), 0.0
    while busiest < BUSY_SECONDS and time.perf_counter() - started < 20 * BUSY_SECONDS:
        work()
        spent = (thread.user_time + thread.system_time - before.get(thread.id, 0.0) for thread in process.threads())
        busiest = max(busiest, *spent, 0.0)
    # The whole process knows of threads that have ended, too.
    return sum(process.cpu_times()[:2]) - at_first - busiest, busiest, time.perf_counter() - started
