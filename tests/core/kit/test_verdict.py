"""What solvers say, checked on the programme as given."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import Fake
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, NonNegative, SecondOrder, Zero, svec
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.conic.residuals import residuals
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.kit.verdict import judged
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.invoke import solve_conic
from cvxrobust.core.testing.planted import MIXED, infeasible_program, planted_program, unbounded_program

CONES = (PSD(3), NonNegative(4), SecondOrder(3), Zero(2))


def test_a_right_answer_keeps_its_name():
    program, planted = planted_program(0, MIXED)
    assert judged(program, planted, 1e-8) is planted
    assert residuals(program, planted).worst[0] < 1e-12


def shifted(name, by):
    program, planted = planted_program(0, CONES)
    return program, replace(planted, **{name: getattr(planted, name) + by})


@pytest.mark.parametrize(
    ("name", "by", "what"),
    [("x", 1e-3, "primal"), ("s", 1e-3, "complementarity"), ("y", 1e-3, "dual"), ("x", 1e200, ""), ("y", 1e300, "")],
)
def test_a_converged_answer_that_is_off_is_called_inaccurate_and_why(name, by, what):
    program, wrong = shifted(name, by)
    found = judged(program, replace(wrong, message="Solved"), 1e-6)
    assert found.termination is Termination.NUMERICAL
    assert what in found.doubt
    assert found.message.startswith("Solved; inaccurate: called converged, but ")
    assert found.x is wrong.x
    assert judged(program, shifted(name, 1e-9)[1], 1e-6).termination is Termination.CONVERGED


def test_slacks_and_multipliers_outside_their_cones_are_noticed():
    program, planted = planted_program(0, CONES)
    outside = -1e-3 * np.concatenate([svec(np.eye(3)), np.zeros(9)])
    moved = replace(program, b=program.b + outside)
    assert "outside" in judged(moved, replace(planted, s=planted.s + outside), 1e-6).doubt
    moved = replace(program, q=program.q - program.A.T @ outside)
    assert "dual outside" in judged(moved, replace(planted, y=planted.y + outside), 1e-6).doubt


def test_a_residual_that_the_objective_hangs_on_counts_more_than_its_size():
    """min 1e6 x, x >= 1, off by 1e-5 with other rows so large that this is nothing beside them."""
    A, b = sparse.csc_array(np.array([[-1.0, 0.0], [0.0, 1.0]])), np.array([-1.0, 1e3])
    program = ConicProgram(np.array([1e6, 0.0]), A, b, (NonNegative(1), Zero(1)))
    point = Solution(Termination.CONVERGED, x=np.array([1.0 - 1e-3, 1e3]), s=np.zeros(2), y=np.array([1e6, 0.0]))
    assert residuals(program, point).primal < 1e-5
    assert "effect" in judged(program, point, 1e-6).doubt or "gap" in judged(program, point, 1e-6).doubt


@pytest.mark.parametrize("x", [None, np.full(8, np.nan)])
def test_without_a_point_nothing_has_converged(x):
    program, planted = planted_program(0, CONES)
    assert "no point" in judged(program, replace(planted, x=x), 1e-6).doubt


def test_without_multipliers_the_primal_side_is_checked():
    program, planted = planted_program(0, CONES)
    assert judged(program, replace(planted, y=None), 1e-6).termination is Termination.CONVERGED
    assert "primal" in judged(program, replace(shifted("x", 1e-3)[1], y=None), 1e-6).doubt


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_certificate_counts_whatever_it_is_called(size):
    program = infeasible_program(CONES)
    certificate = Solution(Termination.NUMERICAL, y=-size * program.b, message="gave up")
    found = judged(program, certificate, 1e-6)
    assert found.termination is Termination.INFEASIBLE
    assert found.message.startswith("gave up; infeasible: its certificate holds")
    program = unbounded_program(CONES)
    found = judged(program, Solution(Termination.NUMERICAL, x=-size * program.q), 1e-6)
    assert found.termination is Termination.UNBOUNDED


def test_a_verdict_without_a_certificate_is_none():
    program, planted = planted_program(0, CONES)
    for said in (Termination.INFEASIBLE, Termination.UNBOUNDED):
        found = judged(program, replace(planted, termination=said), 1e-6)
        assert found.termination is Termination.NUMERICAL
        assert "certificate" in found.doubt


@pytest.mark.parametrize("size", [1e200, 1e307])
def test_numbers_that_overflow_are_judged_too(size):
    program, planted = planted_program(0, CONES)
    steep = replace(program, A=1e10 * program.A)
    huge = replace(planted, x=np.full(8, size), s=None, y=np.full(program.b.size, size))
    for said in (Termination.CONVERGED, Termination.UNBOUNDED, Termination.INFEASIBLE, Termination.NUMERICAL):
        assert judged(steep, replace(huge, termination=said), 1e-6).termination is Termination.NUMERICAL


def test_a_limit_stays_a_limit():
    program, planted = planted_program(0, CONES)
    stopped = replace(planted, termination=Termination.ITERATION_LIMIT)
    assert judged(program, stopped, 1e-6) is stopped


def test_programmes_of_nothing_are_judged():
    program = ConicProgram(np.zeros(0), sparse.csc_array((0, 0)), np.zeros(0), ())
    empty = Solution(Termination.CONVERGED, x=np.zeros(0), s=np.zeros(0), y=np.zeros(0))
    assert judged(program, empty, 1e-6) is empty


def test_every_conic_answer_passes_the_judge():
    program, wrong = shifted("y", 1e-2)
    found = solve_conic(program, Fake(lambda *_: wrong), Settings(tolerance=1e-6))
    assert found.termination is Termination.NUMERICAL
