"""The backends under the contract; `reads` says which cones they are known to read."""

import numpy as np
import pytest
from scipy import sparse

from cvxrobust import InputError, Settings, Termination
from cvxrobust.core import PSD, ConicProgram, Exponential, NonNegative, SecondOrder, Zero, get_backend
from cvxrobust.core.testing import BackendContract, planted_program


class TestMoreau(BackendContract):
    backend = "moreau"
    reads = frozenset({Zero, NonNegative, SecondOrder, PSD, Exponential})


class TestQOCO(BackendContract):
    backend = "qoco"
    reads = frozenset({Zero, NonNegative, SecondOrder})


@pytest.mark.parametrize(
    ("backend", "option", "value"),
    [
        ("moreau", "max_step_fraction", 7.0),
        ("moreau", "tol_feas", "small"),
        ("moreau", "direct_solve_method", "cudss"),
        ("qoco", "abstol", -1.0),
        ("qoco", "abstol", "small"),
    ],
)
def test_values_that_a_solver_refuses_are_the_callers_mistake(backend, option, value):
    program, _ = planted_program(0, (NonNegative(10),))
    with pytest.raises(InputError, match=f"{backend} refuses"):
        get_backend(backend).solve(program, Settings(options={option: value}))


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_a_badly_scaled_optimum_is_not_taken_for_none(scale):
    """QOCO's verdicts are the backend's own."""
    program = ConicProgram(np.array([-1.0]), sparse.csc_array([[scale]]), np.array([scale]), (NonNegative(1),))
    found = get_backend("qoco").solve(program, Settings())
    assert found.termination not in (Termination.INFEASIBLE, Termination.UNBOUNDED)


def test_a_warm_start_serves_any_start_near_the_optimum():
    """Not only the one that the contract tries."""
    backend, saved = get_backend("moreau"), []
    for seed in range(10):
        program, planted = planted_program(seed)
        cold, warm = (backend.solve(program, Settings(), **start) for start in ({}, {"warm_start": planted}))
        assert warm.ignored == {}
        saved.append(cold.iterations - warm.iterations)
    assert min(saved) >= 0
    assert np.mean(saved) > 4
