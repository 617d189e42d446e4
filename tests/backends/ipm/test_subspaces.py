"""Polynomial programmes of many inputs: column generation in subspaces that grow and shrink."""

import numpy as np
import pytest
from polynomial_cases import adversarial, certified, cloud, solved

from cvxrobust import AdversarialSDP, Settings
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.errors import InputError
from cvxrobust.core.kit import BestSoFar
from cvxrobust.core.programs.polynomial.certificate import MomentMultipliers

torch = pytest.importorskip("torch")
method = pytest.importorskip("cvxrobust.backends.ipm.polynomial.iteration")
start = pytest.importorskip("cvxrobust.backends.ipm.polynomial.start")
bounds = pytest.importorskip("cvxrobust.backends.ipm.polynomial.certify")
subspace = pytest.importorskip("cvxrobust.backends.ipm.polynomial.subspace")

CPU = torch.device("cpu")


@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_a_growing_subspace_finds_the_same_optimum(radius):
    problem = adversarial(50, 20, radius=radius, beta=0.05)
    whole = certified(problem, solved(problem))
    solution = solved(problem, options={"subspace": True})
    upper, lower = certified(problem, solution)
    assert solution.termination is Termination.CONVERGED
    assert 0.0 <= upper - lower <= 1e-8 * upper
    assert upper == pytest.approx(whole[0], rel=2e-8)


def test_it_ends_before_the_subspace_is_everything_where_networks_are_small():
    X, y = cloud(60, 6)
    wide = np.hstack([X, 0.01 * np.random.default_rng(1).standard_normal((60, 60))])
    problem = AdversarialSDP(wide, y, radius=0.2, beta=0.05)
    solution = solved(problem, options={"subspace": True}, tolerance=1e-6)
    upper, lower = certified(problem, solution)
    assert upper - lower <= 1e-6 * upper
    assert solution.multipliers.basis.shape[1] < 66


@pytest.fixture(scope="module")
def bases():
    """The bases of the subspaces that are solved in, in order."""
    found = []
    solve_in = subspace.SubspaceMethod._solve_in

    def noted(self, basis):
        found.append(basis)
        return solve_in(self, basis)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subspace.SubspaceMethod, "_solve_in", noted)
        yield found


@pytest.fixture(scope="module")
def cold(bases):
    """A problem, its solution, and the bases of the subspaces on the way there."""
    problem, first = wide_and_simple(), len(bases)
    solution = solved(problem, options={"subspace": True}, tolerance=1e-4)
    return problem, solution, bases[first:]


def wide_and_simple(n=60, d=60):
    """A problem of many inputs, two of which matter."""
    X = np.random.default_rng(1).standard_normal((n, d))
    return AdversarialSDP(X, np.where(X[:, 0] + 0.5 * X[:, 1] ** 2 > 0.4, 1.0, -1.0), radius=0.8, beta=0.1)


def test_directions_that_no_neuron_uses_leave_again(cold):
    problem, solution, bases = cold
    upper, lower = certified(problem, solution)
    assert upper - lower <= 1e-4 * upper
    sizes = [basis.shape[1] for basis in bases]
    assert min(np.diff(sizes)) < 0
    assert max(sizes) < 60
    for basis in bases:
        assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-10)


def test_a_start_gives_the_subspace_its_directions(cold, bases):
    problem, without, _ = cold
    start = solved(problem, options={"subspace": True}, tolerance=1e-2)
    first = len(bases)
    solution = solved(problem, warm_start=start, options={"subspace": True}, tolerance=1e-4)
    upper, lower = certified(problem, solution)
    assert upper - lower <= 1e-4 * upper
    assert solution.iterations < without.iterations
    outside = start.network.u - (start.network.u @ bases[first]) @ bases[first].T
    weights = np.abs(start.network.alpha)
    assert weights @ (outside**2).sum(axis=1) <= 1e-3 * weights.sum()


def search_in(problem):
    """Column generation on a problem, before its first round."""
    heard = BestSoFar(Settings(), Monitor(), 100)
    return subspace.SubspaceMethod(problem.to_structured(), problem.X, heard, CPU)


def test_the_zero_network_does_not_empty_the_subspace():
    search = search_in(adversarial(30, 12))
    zero = method.trivial_dual(search.bounds)[0]
    search.progress.offer_primal(zero, search.bounds.objective(zero.network))
    basis = np.eye(12)[:, :5]
    assert search._needed(basis, 1e-3) is basis


def test_the_neurons_that_pricing_finds_join_the_subspace_first():
    search = search_in(adversarial(30, 12))
    dual = method.trivial_dual(search.bounds)[1]
    pricing = search._priced(dual)
    basis = np.eye(12)[:, :3]
    found = subspace._joined(basis, search._candidates(basis, pricing, 2))
    assert found.shape[1] == 5
    neurons = search.bounds.bound(dual).neurons
    assert np.allclose(found @ (found.T @ neurons.T), neurons.T, atol=1e-12)
    assert np.allclose(found.T @ found, np.eye(5), atol=1e-12)


def test_moments_in_a_basis_prove_what_the_same_moments_prove_without():
    rng = np.random.default_rng(3)
    problem = adversarial(20, 6)
    basis = np.linalg.qr(rng.standard_normal((6, 2)))[0]
    factors = 0.05 * rng.standard_normal((20, 3, 4))
    inside = factors @ np.swapaxes(factors, 1, 2)
    lift = np.zeros((7, 3))
    lift[:6, :2], lift[6, 2] = basis, 1.0
    for scale in (1.0, 3.0):
        plain = problem.lower_bound(MomentMultipliers(lift @ inside @ lift.T))
        assert problem.lower_bound(MomentMultipliers(inside, basis)) == pytest.approx(plain, rel=1e-9)
        # A basis that is no basis stretches attacks; they are shortened into their balls, so the bound still holds.
        assert problem.lower_bound(MomentMultipliers(inside, scale * basis)) <= certified(problem, solved(problem))[0]
    with pytest.raises(InputError, match="basis"):
        problem.lower_bound(MomentMultipliers(inside, np.nan * basis))
