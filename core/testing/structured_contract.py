"""What a backend of structured programmes owes: true reports, networks with multipliers, limits kept, good manners."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from cvxrobust.core.contracts.backend import Backend, Monitor
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.examples import CASES
from cvxrobust.core.errors import InputError
from cvxrobust.core.kit.calls import call_backend
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.judging.sanitize import network_of, worth
from cvxrobust.core.solving.structure import Structure
from cvxrobust.core.testing.checks import UnderTest, flush

ROUNDING = 1e-6
"""By how much a claim may differ from what `core` makes of the iterate, relative to the claim."""

Read = tuple[Problem[Any], Any]


class StructuredContract(UnderTest):
    """A small problem of every kind of programme that a backend reads, solved in every way that it may be asked to.

    `problems` are an author's own, where his backend reads programmes of families of his.
    """

    problems: ClassVar[Sequence[Problem[Any]]] = ()

    @pytest.fixture
    def handed(self, solver: Backend) -> list[Read]:
        """One problem of every kind that the backend reads, each with its programme."""
        if not solver.capabilities.structured:
            pytest.skip("reads no structured programmes")
        return self._at_hand(solver)

    def _at_hand(self, solver: Backend) -> list[Read]:
        given = [*(case.problem() for case in CASES), *self.problems]
        read = [(part, Structure(part).read_by(solver)) for problem in given for part in problem.parts[:1]]
        found = {program.kind: (part, program) for part, program in read if program is not None}
        if not found:
            # Skipped, a misspelt kind would pass for a contract that is kept.
            pytest.fail(f"no problem at hand is {' or '.join(solver.capabilities.structured)}: name some in `problems`")
        return list(found.values())

    def test_structured_answers_are_networks_with_multipliers(self, solver: Backend, handed: list[Read]) -> None:
        """Together they prove the gap that was asked for, without help from `core`."""
        for problem, program in handed:
            tolerance = max(1e-5, solver.capabilities.tightest_tolerance)
            found = solver.solve(program, Settings(tolerance=tolerance))
            assert found.termination is Termination.CONVERGED, found.message
            upper, lower = _proved(problem, found)
            assert upper - lower <= 2.0 * tolerance * upper, f"the optimum is in [{lower}, {upper}]"

    def test_reports_are_true(self, solver: Backend, handed: list[Read]) -> None:
        """Every report improves on the last, and its iterate is worth what it says."""
        if not solver.capabilities.monitored:
            pytest.skip("reports nothing")
        for problem, program in handed:
            said: list[tuple[float, float, float, float]] = []
            hear = partial(_heard, problem, said)
            settings = Settings(tolerance=max(1e-5, solver.capabilities.tightest_tolerance))
            call_backend(solver, program, settings, Monitor(hear=hear))
            claims = np.array(said)
            assert claims.size, "nothing was reported: `BestSoFar.report` does it"
            slack = ROUNDING * np.abs(claims[:, 0])
            assert (claims[:, 1] <= claims[:, 0] + slack).all(), "bounds cross"
            assert (np.diff(claims[:, 0]) <= slack[1:]).all(), "an upper bound is worse than the one before"
            assert (np.diff(claims[:, 1]) >= -slack[1:]).all(), "a lower bound is worse than the one before"
            assert (claims[:, 2] <= claims[:, 0] + slack).all(), "a network is worse than was claimed"
            assert (claims[:, 3] >= claims[:, 1] - slack).all(), "multipliers prove less than was claimed"

    def test_limits_of_a_structured_solve_keep_its_network(self, solver: Backend, handed: list[Read]) -> None:
        """One iteration, no time, or somebody who presses Ctrl-C: no success, and the best network so far."""
        tight = Settings(tolerance=solver.capabilities.tightest_tolerance)
        ends = [(tight.replace(max_iterations=1), Monitor(), Termination.ITERATION_LIMIT)]
        if solver.capabilities.monitored:
            stopped = Monitor()
            stopped.stop()
            ends += [(tight, Monitor(deadline=0.0), Termination.TIME_LIMIT), (tight, stopped, Termination.INTERRUPTED)]
        for problem, program in handed:
            for settings, monitor, termination in ends:
                found = call_backend(solver, program, settings, monitor)
                assert found.termination is termination
                assert np.isfinite(worth(problem, network_of(problem, found))), "the network is missing"

    def test_a_network_to_start_from_is_no_loss(self, solver: Backend, handed: list[Read]) -> None:
        """Where it promises to take one: what comes back is no worse, however little time there was."""
        if not solver.capabilities.warm_start:
            pytest.skip("takes no warm start")
        for problem, program in handed:
            tolerance = max(1e-3, solver.capabilities.tightest_tolerance)
            start = solver.solve(program, Settings(tolerance=tolerance))
            found = call_backend(solver, program, Settings(max_iterations=1), None, start)
            before, after = (_proved(problem, solution)[0] for solution in (start, found))
            assert after <= before * (1.0 + ROUNDING)

    def test_weights_of_samples_are_heeded(self, solver: Backend, handed: list[Read]) -> None:
        """Where it promises that: network and multipliers prove the gap of the weighted problem."""
        if not solver.capabilities.weights:
            pytest.skip("heeds no weights: problems with them are refused for it")
        tolerance = max(1e-5, solver.capabilities.tightest_tolerance)
        tried: list[Any] = [problem for problem, _ in handed if hasattr(problem, "sample_weight")]
        for given in tried:
            problem = replace(given, sample_weight=1.0 + np.arange(given.X.shape[0]) % 4)
            upper, lower = _proved(problem, solver.solve(problem.to_structured(), Settings(tolerance=tolerance)))
            assert upper - lower <= 2.0 * tolerance * upper, f"the optimum is in [{lower}, {upper}]"
        assert tried, "no problem at hand has weights: name some in `problems`"

    def test_shapes_of_attacks_are_heeded(self, solver: Backend, handed: list[Read]) -> None:
        """Where it promises to read ellipsoids: network and multipliers prove the gap under scaled attacks."""
        reads = [problem for problem, program in handed if "ellipsoid" in _attacks_read(solver, program)]
        if not reads:
            pytest.skip("reads no ellipsoids: problems with them are refused for it")
        tolerance, tried = max(1e-5, solver.capabilities.tightest_tolerance), 0
        for given in reads:
            attack = getattr(given, "attack", None)
            if not (hasattr(given, "scale") and attack is not None and attack.present):
                continue
            # The first input is one that no attack touches.
            problem: Any = replace(cast(Any, given), scale=np.linspace(0.0, 1.5, attack.attackable))
            if (program := Structure(problem).read_by(solver)) is None:
                continue  # in norms that make no ellipsoids
            upper, lower = _proved(problem, solver.solve(program, Settings(tolerance=tolerance)))
            assert upper - lower <= 2.0 * tolerance * upper, f"the optimum is in [{lower}, {upper}]"
            tried += 1
        assert tried, "no problem at hand is attacked and takes `scale`: name some in `problems`"

    def test_a_structured_solve_refuses_unknown_options(self, solver: Backend, handed: list[Read]) -> None:
        """A misspelt option must not pass for one that was set."""
        for _, program in handed:
            with pytest.raises(InputError, match="no_such_option"):
                solver.solve(program, Settings(options={"no_such_option": 1}))

    def test_a_structured_solve_repeats_itself_in_silence_and_changes_nothing(
        self, solver: Backend, handed: list[Read], capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The same network to the last bit, no output, and the programme as it was."""
        for _, program in handed:
            before = {field.name: np.array(getattr(program, field.name)) for field in _arrays(program)}
            settings = Settings(tolerance=0.1, threads=1 if solver.capabilities.threads else None)
            first, second = (solver.solve(program, settings).network for _ in range(2))
            assert first is not None
            assert second is not None
            assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("u", "alpha"))
            assert all(np.array_equal(getattr(program, name), value) for name, value in before.items())
        flush()
        assert capfd.readouterr() == ("", "")


def _attacks_read(solver: Backend, program: Any) -> frozenset[str]:
    return solver.capabilities.attacks_in(getattr(program, "kind", None))


def _heard(
    problem: Problem[Any],
    said: list[tuple[float, float, float, float]],
    upper: float,
    lower: float,
    iterate: Callable[[], Solution] | None,
) -> None:
    said.append((upper, lower, *((upper, lower) if iterate is None else _proved(problem, iterate()))))


def _proved(problem: Problem[Any], found: Solution) -> tuple[float, float]:
    """What a backend's network and multipliers prove."""
    assert found.multipliers is not None, "there are no multipliers"
    return worth(problem, network_of(problem, found)), problem.lower_bound(found.multipliers)


def _arrays(program: Any) -> list[Any]:
    return [field for field in fields(program) if isinstance(getattr(program, field.name), np.ndarray)]
