"""The conformance suite of problem families."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from cvxrobust.core.contracts.parametric import Parametric, Screens
from cvxrobust.core.contracts.problem import Problem, Reports, RobustProblem, offers
from cvxrobust.core.contracts.result import Quality, Result, Solution
from cvxrobust.core.discovery.registry import backends, get_backend
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.plan import conic_backend, reads
from cvxrobust.core.solving.solve import solve
from cvxrobust.core.testing.checks import given

Array = NDArray[np.float64]


class ProblemContract:
    """What `cvxrobust` expects of every problem family, as tests.

    Subclass it in a test module and say how a small problem is made (a few dozen samples at most; every test solves
    it); pytest does the rest::

        from cvxrobust.core.testing import ProblemContract

        class TestMine(ProblemContract):
            def make(self):
                return Mine(X, y, beta=0.1)

    The heart of it: whatever a solver returns, `recover` makes a network whose `objective` is an upper bound, and
    `lower_bound` never exceeds the objective of any network.

    Attributes:
        backends: Specs of the backends to solve with; None for all that are available.
        tolerance: Relative gap that the reference solution is asked for.
        accuracy: Relative accuracy to which bounds from that solution have to meet.
    """

    backends: ClassVar[tuple[str, ...] | None] = None
    tolerance: ClassVar[float] = 1e-7
    accuracy: ClassVar[float] = 1e-5

    def make(self) -> Problem[Any]:
        """A small problem of the family."""
        raise NotImplementedError("say in `make` how a small problem of your family is made")

    @pytest.fixture
    def reference(self) -> "Reference":
        """The problem with an accurate solution of each part, found once for all tests of a class."""
        kept = vars(type(self)).get("_reference")
        if not isinstance(kept, Reference):
            kept = Reference(self.make(), self.tolerance)
            setattr(type(self), "_reference", kept)  # noqa: B010 - each class has its own, none inherits one
        return kept

    @pytest.fixture
    def problem(self) -> Problem[Any]:
        """A small problem of the family."""
        return self.make()

    # What it says about itself

    def test_it_is_a_problem(self, problem: Problem[Any]) -> None:
        """Every method of the protocol is there; the parts are problems of one part each."""
        assert isinstance(problem, Problem)
        assert len(problem.parts) >= 1
        for part in problem.parts:
            assert isinstance(part, Problem)
            assert len(part.parts) == 1

    def test_cones_and_rows_are_known_before_assembly(self, problem: Problem[Any]) -> None:
        """`solve` picks a backend and a method by them."""
        for part in problem.parts:
            program = part.to_conic()
            assert part.conic_rows == program.b.size
            assert {type(cone) for cone in program.cones} <= part.cones

    def test_assembly_repeats_itself(self, problem: Problem[Any]) -> None:
        """Twice the same programme: nothing is consumed, nothing is random."""
        for part in problem.parts:
            first, second = part.to_conic(), part.to_conic()
            assert np.array_equal(first.q, second.q)
            assert np.array_equal(first.b, second.b)
            assert not abs(first.A - second.A).max()
            assert (first.cones, first.offset) == (second.cones, second.offset)

    def test_it_can_be_sent_to_another_process(self, problem: Problem[Any]) -> None:
        """By pickle, and means the same there."""
        twin = pickle.loads(pickle.dumps(problem))
        first, second = problem.parts[0].to_conic(), twin.parts[0].to_conic()
        assert np.array_equal(first.q, second.q)
        assert not abs(first.A - second.A).max()

    def test_a_structured_programme_says_its_kind(self, problem: Problem[Any]) -> None:
        """Or there is none."""
        for part in problem.parts:
            structured = part.to_structured()
            assert structured is None or (isinstance(structured.kind, str) and structured.kind)

    # The programme

    def test_the_conic_form_has_the_value_of_the_readable_reference(self, reference: "Reference") -> None:
        """`to_cvxpy` is for reading; this ties it to what is solved."""
        for part, optimum in zip(reference.parts, reference.optima, strict=True):
            readable = part.to_cvxpy()
            if readable is None:
                pytest.skip("offers no readable reference")
            readable.solve(solver="CLARABEL")  # CVXPY's own choice may be one that has no licence here
            assert readable.value == pytest.approx(optimum, rel=1e-4, abs=1e-6)

    def test_the_recovered_network_attains_the_optimum(self, reference: "Reference") -> None:
        """The programme is about networks: at its optimum there is one with that objective."""
        for part, solution, optimum in reference.solved:
            assert part.objective(part.recover(solution)) == pytest.approx(optimum, rel=self.accuracy, abs=1e-7)

    def test_the_multipliers_prove_the_optimum(self, reference: "Reference") -> None:
        """Strong duality, by our own bound."""
        for part, solution, optimum in reference.solved:
            bound = part.lower_bound(part.multipliers(solution))
            assert bound == pytest.approx(optimum, rel=self.accuracy, abs=1e-7)

    # Bounds that trust nobody

    def test_bounds_hold_whatever_a_solver_returns(self, reference: "Reference") -> None:
        """From accurate to absurd: no network is below the optimum, no multipliers prove more than it."""
        for part, solution, optimum in reference.solved:
            slack = 1e-6 * max(1.0, abs(optimum))
            for noisy in disturbed(solution):
                network = part.recover(noisy)
                upper = part.objective(network)
                assert upper >= optimum - slack, "a network is better than the optimum"
                for multipliers in (
                    part.multipliers(noisy),
                    part.network_multipliers(network),
                    *part.multiplier_candidates(noisy, network),
                ):
                    assert part.lower_bound(multipliers) <= optimum + slack, "multipliers prove more than the optimum"

    def test_the_trivial_network_is_feasible(self, reference: "Reference") -> None:
        """There is an upper bound before any solver has run."""
        for part, optimum in zip(reference.parts, reference.optima, strict=True):
            network = part.trivial_network()
            assert np.isfinite(value := part.objective(network))
            assert value >= optimum - 1e-6 * max(1.0, abs(optimum))
            assert part.lower_bound(part.network_multipliers(network)) <= value

    def test_networks_of_parts_combine_and_separate(self, reference: "Reference") -> None:
        """Objectives add up, and nothing is lost on the way."""
        networks = [part.recover(solution) for part, solution, _ in reference.solved]
        whole = reference.problem.combine(networks)
        values = [part.objective(network) for part, network in zip(reference.parts, networks, strict=True)]
        assert reference.problem.objective(whole) == pytest.approx(sum(values), rel=1e-10)
        again = reference.problem.separate(whole)
        assert [p.objective(n) for p, n in zip(reference.parts, again, strict=True)] == pytest.approx(values, rel=1e-10)

    # Robust problems

    def test_the_objective_is_that_of_the_worst_cases(self, reference: "Reference") -> None:
        """`pessimize` attains what `objective` claims, at points that it names."""
        for part, solution in self._robust(reference):
            network = part.recover(solution)
            attacks = part.pessimize(network)
            assert part.objective_at(network, attacks) == pytest.approx(part.objective(network), rel=1e-9)
            owners = np.arange(attacks.values.size)
            attained = part.losses_at_points(network, owners, attacks.points)
            assert attained == pytest.approx(part.losses_at(attacks.values), rel=1e-5, abs=1e-7)

    def test_a_blend_costs_no_more_than_the_mixture(self, reference: "Reference") -> None:
        """Convexity, which the cutting-set method steps along."""
        for part, solution in self._robust(reference):
            ends = part.trivial_network(), part.recover(solution)
            values = [part.objective(end) for end in ends]
            for weight in (0.1, 0.5, 0.9):
                mixed = part.objective(part.blend(*ends, weight))
                assert mixed <= weight * values[0] + (1 - weight) * values[1] + 1e-9

    def test_masters_lead_to_the_optimum(self, problem: Problem[Any], reference: "Reference") -> None:
        """The cutting-set method, through masters of finitely many points, ends where the whole programme does."""
        if not isinstance(problem.parts[0], RobustProblem):
            pytest.skip("offers no exact worst cases")
        result = solve(problem, method="cutting-set", settings=Settings(tolerance=1e-5))
        assert result.quality is Quality.CERTIFIED, str(result)
        assert result.certificate.upper == pytest.approx(sum(reference.optima), rel=1e-4, abs=1e-6)

    # Paths

    def test_what_a_path_rests_on_holds(self, reference: "Reference") -> None:
        """Of networks: affine in beta, without a loss or a penalty below 0, and no better under larger attacks."""
        for part, solution, _ in self._offering(reference, Parametric):
            network = part.recover(solution)
            one, two, three = (part.at(beta=k * part.beta).objective(network) for k in (1, 2, 3))
            assert part.at(beta=2 * part.beta).beta == 2 * part.beta
            assert three - two == pytest.approx(two - one, rel=1e-6, abs=1e-9)
            assert two - one >= 0.0, "a penalty below 0"
            assert 2.0 * one - two >= -1e-12, "a loss below 0"
            assert part.at().objective(network) == pytest.approx(one, rel=1e-12)
            smaller = part.at(radius=0.5 * np.asarray(part.radius)) if part.nested else part
            assert smaller.objective(network) <= one * (1.0 + 1e-9), "larger attacks do less harm"

    def test_some_samples_bound_all(self, reference: "Reference") -> None:
        """What a path solves over the samples that matter proves something of all."""
        for part, solution, _ in self._offering(reference, Screens):
            network = part.recover(solution)
            matters = part.matters(network, 0.0)
            some, share = part.of_rows(np.flatnonzero(matters)) if matters.any() else (part, 1.0)
            assert share * some.objective(network) == pytest.approx(part.objective(network), rel=1e-9)
            trivial = part.trivial_network()
            assert share * some.objective(trivial) <= part.objective(trivial) * (1.0 + 1e-9)

    @staticmethod
    def _offering(reference: "Reference", ability: type) -> list[tuple[Any, Solution, float]]:
        found = [one for one in reference.solved if offers(one[0], ability)]
        return found or pytest.skip(f"offers no {ability.__name__}")

    # Every solver

    def test_every_backend_certifies_it_or_refuses_it_with_the_reason(
        self, problem: Problem[Any], reference: "Reference"
    ) -> None:
        """All their certified intervals hold the optimum."""
        solved = 0
        for spec in self.backends if self.backends is not None else tuple(backends()):
            backend = get_backend(spec)
            if backend.unavailable() is not None:
                continue
            settings = Settings(tolerance=max(1e-4, backend.capabilities.tightest_tolerance))
            if not reads(backend, problem.parts[0]):
                said = r"cannot read the cones|has no conic programme|does not read attacks"
                with pytest.raises(UnsupportedProgramError, match=said):
                    solve(problem, backend=backend, method="direct", settings=settings)
                continue
            result = solve(problem, backend=backend, method="direct", settings=settings)
            optimum = sum(reference.optima)
            assert result.quality is Quality.CERTIFIED, f"{spec}: {result}"
            assert result.certificate.lower <= optimum + 1e-6 * max(1.0, abs(optimum)), spec
            assert result.certificate.upper >= optimum - 1e-6 * max(1.0, abs(optimum)), spec
            if isinstance(problem, Reports):
                json.dumps(result.report)
            solved += 1
        assert solved, "no available backend reads this problem"

    @staticmethod
    def _robust(reference: "Reference") -> Iterator[tuple[RobustProblem[Any], Solution]]:
        if not isinstance(reference.parts[0], RobustProblem):
            pytest.skip("offers no exact worst cases")
        yield from ((part, solution) for part, solution, _ in reference.solved)


class Reference:
    """A problem, and an accurate solution of each of its parts.

    Args:
        problem: The problem.
        tolerance: Relative gap to ask for.
    """

    def __init__(self, problem: Problem[Any], tolerance: float) -> None:
        self.problem, self.tolerance = problem, tolerance
        self.parts = problem.parts

    @cached_property
    def results(self) -> list[Result[Any]]:
        """One result per part, by the direct method of whatever backend is picked."""
        settings = Settings(tolerance=self.tolerance)
        # Of conic programmes: what reads the structure returns no x, s and y.
        conic = [conic_backend(part) for part in self.parts]
        return [solve(part, b, "direct", settings) for part, b in zip(self.parts, conic, strict=True)]

    @property
    def optima(self) -> list[float]:
        """The optimum of each part's programme, as its raw solution has it."""
        programs = [part.to_conic() for part in self.parts]
        return [
            float(program.q @ given(solution.x)) + program.offset
            for program, (_, solution) in zip(programs, self._pairs, strict=True)
        ]

    @property
    def solved(self) -> Iterator[tuple[Any, Solution, float]]:
        """Parts, raw solutions and optima."""
        return ((part, solution, optimum) for (part, solution), optimum in zip(self._pairs, self.optima, strict=True))

    @property
    def _pairs(self) -> list[tuple[Any, Solution]]:
        solutions = [result.solution for result in self.results]
        assert all(solution is not None for solution in solutions), "nothing solves this problem"
        return [(part, solution) for part, solution in zip(self.parts, solutions, strict=True) if solution is not None]


def disturbed(solution: Solution, seed: int = 0) -> Iterator[Solution]:
    """The solution, then ever further from it, until nothing of it is left."""
    rng = np.random.default_rng(seed)
    x, s, y = given(solution.x), given(solution.s), given(solution.y)

    def noisy(vector: Array, level: float, keep: float = 1.0) -> Array:
        return keep * vector + level * max(float(np.abs(vector).max(initial=0)), 1.0) * rng.standard_normal(vector.size)

    yield solution
    for level in (1e-6, 1e-4, 1e-2, 1e-1, 1.0):
        for _ in range(3):
            yield replace(solution, x=noisy(x, level), s=noisy(s, level), y=noisy(y, level))
    for level in (0.0, 1.0, 1e3, 1e8):
        yield replace(solution, x=noisy(x, level, 0.0), s=noisy(s, level, 0.0), y=noisy(y, level, 0.0))
