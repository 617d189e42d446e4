"""The dual as a programme of its own."""

import numpy as np
import pytest

from cvxrobust.core.conic.cones import Exponential
from cvxrobust.core.conic.dual import dual_program
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.settings import Settings
from cvxrobust.core.testing.hard import HARD
from cvxrobust.core.testing.planted import planted_program


def test_the_dual_has_the_optimum_negated_and_the_multipliers_for_its_unknowns():
    program, planted = planted_program(3, HARD)
    turned = dual_program(program)
    found = get_backend("clarabel").solve(turned, Settings(tolerance=1e-8))
    assert turned.q @ found.x == pytest.approx(-(program.q @ planted.x), rel=1e-6)
    assert program.A.T @ found.x == pytest.approx(-program.q, abs=1e-6)
    assert found.x == pytest.approx(program.project_dual(found.x), abs=1e-6)


def test_the_dual_of_the_dual_has_the_programmes_optimum_again():
    program, planted = planted_program(3, HARD)
    twice = dual_program(dual_program(program))
    found = get_backend("clarabel").solve(twice, Settings(tolerance=1e-8))
    assert twice.q @ found.x == pytest.approx(program.q @ planted.x, rel=1e-6)


def test_cones_that_are_not_their_own_duals_are_refused_by_name():
    program, _ = planted_program(0, (Exponential(),), columns=2)
    with pytest.raises(UnsupportedProgramError, match="Exponential"):
        dual_program(program)


def test_an_offset_changes_its_sign():
    program, _ = planted_program(0, HARD)
    moved = type(program)(program.q, program.A, program.b, program.cones, 2.0)
    assert dual_program(moved).offset == -2.0
    assert np.array_equal(dual_program(moved).q, program.b)
