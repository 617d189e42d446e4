"""What a backend owes to conic programmes: optima, duals, verdicts."""

from collections.abc import Sequence

import numpy as np
import pytest

from cvxrobust.core.conic.cones import Cone, NonNegative
from cvxrobust.core.contracts.backend import Backend, Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.invoke import solve_conic
from cvxrobust.core.testing.checks import UnderTest, accuracy, assert_optimal, assert_value, given, well_formed
from cvxrobust.core.testing.hard import KINDS_OF_HARD, hard_program
from cvxrobust.core.testing.planted import (
    KINDS,
    LINEAR,
    MIXED,
    infeasible_program,
    planted_program,
    readable,
    unbounded_program,
)

HARD_ITERATIONS = 400
"""Enough for every interior point, and for first-order methods where units are not the point."""

UNDECIDED = (Termination.NUMERICAL, Termination.ITERATION_LIMIT, Termination.TIME_LIMIT)
"""What an honest solver says of an answer that is none."""


class ConicContract(UnderTest):
    """Planted optima cone by cone, duals, infeasible and unbounded programmes, limits."""

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_finds_planted_optima_of_every_cone_and_refuses_those_it_cannot_read(
        self, conic: Backend, kind: str, seed: int
    ) -> None:
        """One kind of cone at a time; the errors are measured here, not taken from the solver."""
        cones = KINDS[kind]
        program, planted = planted_program(seed, cones)
        if readable(cones, conic.capabilities.cones) != cones:
            with pytest.raises(UnsupportedProgramError, match=kind):
                conic.solve(program, Settings())
            return
        assert_optimal(conic, program, planted, self.tolerance(conic))

    @pytest.mark.parametrize("seed", range(4))
    def test_it_finds_planted_optima_of_mixed_cones(self, conic: Backend, seed: int) -> None:
        """All the cones it reads in one programme, shuffled."""
        program, planted = planted_program(seed, readable(MIXED, conic.capabilities.cones))
        assert_optimal(conic, program, planted, self.tolerance(conic))

    @pytest.mark.parametrize("kind", KINDS)
    def test_duals_have_the_right_sign(self, conic: Backend, kind: str) -> None:
        """``y`` in the dual cone with ``A'y + q = 0`` and ``-b'y`` the optimum: what certificates are made of."""
        cones = readable(KINDS[kind], conic.capabilities.cones)
        if not conic.capabilities.duals or not cones:
            pytest.skip("returns no duals" if cones else f"does not read {kind}")
        program, planted = planted_program(7, cones)
        y, allowed = conic.solve(program, Settings(tolerance=self.tolerance(conic))).y, accuracy(self.tolerance(conic))
        assert y is not None
        assert np.allclose(program.A.T @ y, -program.q, atol=allowed), "A'y + q = 0 does not hold: see the sign of y"
        assert np.allclose(program.project_dual(y), y, atol=allowed), "y lies outside the dual cone"
        assert -program.b @ y == pytest.approx(program.q @ given(planted.x), rel=allowed, abs=allowed)

    def test_it_takes_empty_cones(self, conic: Backend) -> None:
        """Assembling a problem may leave a cone without rows."""
        program, planted = planted_program(0, (NonNegative(0), *LINEAR))
        found = conic.solve(program, Settings(tolerance=self.tolerance(conic)))
        assert_value(program, found, planted, self.tolerance(conic))

    def test_it_refuses_cones_of_others(self, conic: Backend) -> None:
        """A cone that a stranger invented is refused by name, before any work, and not mistaken for its parent."""

        class Strange(NonNegative):
            pass

        program, _ = planted_program(0, (Strange(9),))
        with pytest.raises(UnsupportedProgramError, match="Strange"):
            conic.solve(program, Settings())

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_recognises_infeasible_programs(self, conic: Backend, kind: str) -> None:
        """No feasible point; where y is returned, it proves it."""
        program = infeasible_program(self._readable_kind(conic, kind))
        found = well_formed(program, conic.solve(program, Settings(tolerance=self.tolerance(conic))))
        if not self.finds_certificates:
            assert found.termination is not Termination.CONVERGED
            return
        assert found.termination is Termination.INFEASIBLE
        if found.has_dual and found.y is not None:
            y = found.y / -(program.b @ found.y)
            assert program.b @ found.y < 0, "b'y has the wrong sign for a certificate of infeasibility"
            assert np.allclose(program.A.T @ y, 0, atol=1e-4)
            assert np.allclose(program.project_dual(y), y, atol=1e-4)

    @pytest.mark.parametrize("form", ["given", "equality"])
    @pytest.mark.parametrize("kind", KINDS_OF_HARD)
    def test_it_solves_hard_programs_or_says_that_it_did_not(self, conic: Backend, kind: str, form: str) -> None:
        """Bad units, no interior, no strictness, many optima: what its answer is called in the end must be so."""
        made = hard_program(kind, conic.capabilities.cones, form == "equality")
        settings = Settings(tolerance=self.tolerance(conic), max_iterations=HARD_ITERATIONS)
        found = well_formed(made.program, solve_conic(made.program, conic, settings))
        undecided = found.termination in UNDECIDED or (
            found.termination is Termination.ERROR and not self.keeps_iterates
        )
        assert found.termination is made.verdict or undecided, f"it is {made.verdict}, not {found.message}"
        if made.optimum is not None and found.termination is Termination.ITERATION_LIMIT and self.keeps_iterates:
            assert found.has_primal, "a point that is not good enough is better than none"
        if made.optimum is not None and found.termination is made.verdict:
            assert made.program.q @ given(found.x) == pytest.approx(made.optimum, rel=1e-4, abs=1e-4)

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_recognises_unbounded_programs(self, conic: Backend, kind: str) -> None:
        """The cost falls for ever; where x is returned, it is such a direction."""
        program = unbounded_program(self._readable_kind(conic, kind))
        found = well_formed(program, conic.solve(program, Settings(tolerance=self.tolerance(conic))))
        if not self.finds_certificates:
            assert found.termination is not Termination.CONVERGED
            return
        assert found.termination is Termination.UNBOUNDED
        if found.has_primal and found.x is not None:
            assert program.q @ found.x < 0, "the cost rises along the direction returned"
            slack = -(program.A @ found.x) / -(program.q @ found.x)
            assert np.allclose(program.project(slack), slack, atol=1e-4)

    def test_an_iteration_limit_is_no_success(self, conic: Backend) -> None:
        """And the iterate is kept: it may carry a good network."""
        program, _ = planted_program(0, readable(MIXED, conic.capabilities.cones))
        found = well_formed(program, conic.solve(program, Settings(max_iterations=2)))
        if not self.keeps_iterates:
            assert found.termination in (Termination.ITERATION_LIMIT, Termination.ERROR)
            return
        assert found.termination is Termination.ITERATION_LIMIT
        assert found.iterations <= 2
        assert found.has_primal
        assert found.has_dual or not conic.capabilities.duals

    def test_a_time_limit_is_no_success(self, conic: Backend) -> None:
        """Where the solver has a time limit of its own."""
        if not conic.capabilities.time_limit:
            pytest.skip("has no time limit of its own")
        program, _ = planted_program(0, readable(MIXED, conic.capabilities.cones))
        found = well_formed(program, conic.solve(program, Settings(time_limit=1e-6)))
        assert found.termination is Termination.TIME_LIMIT
        assert found.has_primal or not self.keeps_iterates

    def test_a_deadline_of_the_monitor_is_a_time_limit(self, conic: Backend) -> None:
        """Where it promises to heed a monitor."""
        if not conic.capabilities.monitored:
            pytest.skip("cannot be stopped from outside")
        program, _ = planted_program(0, readable(MIXED, conic.capabilities.cones))
        found = conic.solve(program, Settings(), monitor=Monitor(deadline=0.0))
        assert found.termination is Termination.TIME_LIMIT
        assert found.has_primal

    @staticmethod
    def _readable_kind(conic: Backend, kind: str) -> Sequence[Cone]:
        cones = readable(KINDS[kind], conic.capabilities.cones)
        if not cones:
            pytest.skip(f"does not read {kind}")
        return cones
