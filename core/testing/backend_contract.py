"""The conformance suite of backends."""

import pytest

from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.contracts.problem import RobustProblem
from cvxrobust.core.contracts.result import Quality
from cvxrobust.core.discovery.examples import CASES, Case
from cvxrobust.core.discovery.registry import backends, get_backend
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.plan import reads
from cvxrobust.core.solving.solve import solve
from cvxrobust.core.solving.structure import Structure
from cvxrobust.core.testing.conic_contract import ConicContract
from cvxrobust.core.testing.settings_contract import MannersContract
from cvxrobust.core.testing.structured_contract import StructuredContract


class BackendContract(ConicContract, StructuredContract, MannersContract):
    """What `cvxrobust` expects of every backend, as tests.

    Subclass it in a test module and name the backend; pytest does the rest::

        from cvxrobust.core.testing import BackendContract

        class TestMine(BackendContract):
            backend = "mine"

    A backend that cannot run here (`unavailable` says why) is skipped, unless the environment variable
    ``CVXROBUST_REQUIRE_BACKENDS`` names it. Cones and problem families that it does not read must be refused by
    name: those tests are not skipped.

    Attributes:
        backend: A registered name, with a variant where there are variants, or a backend object.
        reads: The cones that it is known to read, so that losing one by accident is noticed; None takes its word.
        keeps_iterates: Whether a solve that a limit ends returns its iterate. Only for wrappers of solvers that keep
            it to themselves is this False; it makes their answers worthless at every limit.
        finds_certificates: Whether infeasible and unbounded programmes are recognised. Where this is False, for
            wrappers of solvers that cannot, they must still not pass for solved.
        verbose_prints: Whether ``Settings(verbose=True)`` makes it print.
        problems: Problems of the author's own families whose structured programmes it reads.
    """

    def test_it_says_who_it_is(self, solver: Backend) -> None:
        """Name, capabilities and availability are what users and listings rely on."""
        assert isinstance(solver, Backend)
        abilities = solver.capabilities
        assert solver.name
        assert solver.name == solver.name.strip()
        assert abilities.cones or abilities.structured, "it reads nothing"
        assert all(isinstance(cone, type) for cone in abilities.cones)
        assert self.reads is None or abilities.cones == self.reads
        assert all(isinstance(kind, str) and kind for kind in abilities.structured), "kinds of programmes are names"
        assert abilities.devices, "it runs on no device"
        assert set(abilities.dtypes) & {"float64", "float32"}
        assert 0 < abilities.tightest_tolerance < 1
        assert abilities.method, "listings show the method: 'interior-point', 'first-order' or what describes it"

    def test_a_registered_name_leads_to_it(self, solver: Backend) -> None:
        """Where the contract names a plugin's backend, the registry hands out that very backend."""
        if not isinstance(self.backend, str):
            pytest.skip("the contract was given an object, not a name")
        assert solver is get_backend(self.backend)
        assert solver.name.partition(":")[0] == self.backend.partition(":")[0]
        assert self.backend.partition(":")[0] in backends()

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_every_family_is_certified_or_refused_with_the_reason(self, solver: Backend, case: Case) -> None:
        """The certificate is the proof: no reference solver is needed to know that the optimum was found."""
        problem = case.problem()
        settings = Settings(tolerance=max(1e-5, solver.capabilities.tightest_tolerance))
        if not reads(solver, problem):
            known = Structure(problem.parts[0]).of_its_kind(solver)
            missing = sorted(cone.__name__ for cone in problem.cones - solver.capabilities.cones)
            missing = missing if known is None else [f"does not know the loss {known.loss!r}"]
            with pytest.raises(UnsupportedProgramError, match=", ".join(missing)):
                solve(problem, backend=solver, method="direct", settings=settings)
            return
        result = solve(problem, backend=solver, method="direct", settings=settings)
        assert result.quality is Quality.CERTIFIED, str(result)
        assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)

    @pytest.mark.parametrize("case", [case for case in CASES if case.family == "adversarial-sdp"], ids=str)
    def test_masters_of_the_cutting_set_method_are_solved(self, conic: Backend, case: Case) -> None:
        """Many small programmes, one after the other, each a little different from the last."""
        problem = case.problem()
        assert isinstance(problem, RobustProblem)
        if not conic.capabilities.duals or not problem.cones <= conic.capabilities.cones:
            pytest.skip("the method needs duals, and every cone of the problem")
        settings = Settings(tolerance=max(1e-4, conic.capabilities.tightest_tolerance))
        result = solve(problem, backend=conic, method="cutting-set", settings=settings)
        assert result.quality is Quality.CERTIFIED, str(result)
