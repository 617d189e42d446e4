"""The working set of the cutting-set method: what is kept, what goes, and what comes back."""

import numpy as np
import pytest

from cvxrobust import AdversarialSDP, Settings, solve
from cvxrobust.core.contracts.masters import Mirrors, Turns
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.solving.cutting_set.working_points import TUNING, WorkingPoints

GAP = 1e-4
NONE = np.empty(0, dtype=np.intp)


def working(owners, points, samples=3):
    return WorkingPoints(np.array(owners), np.array(points, dtype=float), samples)


class TestPoints:
    def test_a_point_without_a_multiplier_goes(self):
        points = working([0, 1, 2], [[0.0], [1.0], [2.0]])
        points.age(np.array([0.3, 0.0, 0.3]), accurate=True)
        points.drop(NONE)
        assert points.owners.tolist() == [0, 2]

    def test_the_last_point_of_a_sample_that_needs_one_stays(self):
        points = working([0, 0, 1], [[0.0], [1.0], [2.0]])
        points.age(np.array([0.3, 0.0, 0.0]), accurate=True)
        points.drop(np.array([0, 1]))
        assert points.owners.tolist() == [0, 1]

    def test_a_dropped_point_that_comes_back_stays_longer(self):
        points = working([0, 1, 2], [[0.0], [1.0], [2.0]])
        for _ in range(2):
            points.age(np.array([0.3, 0.0, 0.3]), accurate=True)
            points.drop(NONE)
            assert points.owners.tolist() == [0, 2]
            points.add(np.array([1]), np.array([[1.0 + 1e-3]]), GAP, settled=True)
            if points.patience[1] > TUNING.backoff:
                break
            points.age(np.full(3, 0.3) * (points.owners != 1), accurate=True)
            points.drop(NONE)
            assert sorted(points.owners) == [0, 1, 2]
            order = np.argsort(points.owners)
            points.owners, points.points, points.idle = points.owners[order], points.points[order], points.idle[order]
        assert points.patience.tolist() == [1, TUNING.backoff**2, 1]

    def test_another_attack_on_the_same_sample_is_not_one_that_comes_back(self):
        points = working([0, 1], [[0.0], [1.0]])
        points.age(np.array([0.3, 0.0]), accurate=True)
        points.drop(NONE)
        points.add(np.array([1]), np.array([[-1.0]]), GAP, settled=True)
        assert points.patience.tolist() == [1, 1, 1]

    def test_a_point_replaces_what_it_hardly_differs_from(self):
        points = working([0, 0, 1], [[0.0], [1.0], [0.0]])
        points.add(np.array([0]), np.array([[1e-5]]), GAP, settled=False)
        assert points.owners.tolist() == [0, 1, 0]
        assert points.points.ravel().tolist() == [1.0, 0.0, 1e-5]

    def test_losses_are_those_of_each_samples_worst_point(self):
        points = working([0, 0, 2], [[0.0], [1.0], [0.0]])
        assert points.losses(np.array([0.1, 0.4, 0.2])).tolist() == [0.4, 0.0, 0.2]


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    y = np.where(X @ rng.standard_normal(6) + 0.5 * rng.standard_normal(40) > 0, 1.0, -1.0)
    return AdversarialSDP(X, y, radius=0.3, beta=0.01)


@pytest.fixture(scope="module")
def master_and_solution(problem):
    network = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-3)).network
    attacks = problem.pessimize(network)
    rng = np.random.default_rng(1)
    # The span in a basis that has nothing to do with the network.
    atoms = tuple(
        np.linalg.qr(basis @ rng.standard_normal((basis.shape[1],) * 2))[0] for basis in problem.atoms_of(network)
    )
    master = problem.restricted(np.arange(40), attacks.points, atoms)
    solution = get_backend("clarabel").solve(master.to_conic(), Settings(tolerance=1e-8))
    return master, solution


class TestAtoms:
    def test_turned_atoms_span_the_same_and_make_the_solution_diagonal(self, master_and_solution):
        master, solution = master_and_solution
        assert isinstance(master, Turns)
        turned = master.turned(solution, violation=None, drop=False)
        for basis, axes, Z in zip(master.atoms, turned, master.matrices(solution), strict=True):
            assert basis @ basis.T == pytest.approx(axes @ axes.T, abs=1e-10)
            inside = axes.T @ Z @ axes
            assert inside == pytest.approx(np.diag(np.diag(inside)), abs=1e-5 * inside[0, 0])
            assert inside[0, 0] == pytest.approx(np.linalg.eigvalsh(Z)[-1])

    def test_reduced_costs_are_the_duals_of_the_matrices(self, master_and_solution):
        master, solution = master_and_solution
        for basis, Z, costs in zip(
            master.atoms, master.matrices(solution), master.reduced_costs(solution), strict=True
        ):
            inside = basis.T @ costs @ basis
            assert np.linalg.eigvalsh(inside)[0] >= -1e-6
            assert np.sum(inside * (basis.T @ Z @ basis)) == pytest.approx(0.0, abs=1e-6)

    def test_directions_where_the_multipliers_are_infeasible_join(self, problem, master_and_solution):
        master, _ = master_and_solution
        few = problem.restricted(master.owners, master.points, tuple(basis[:, :2] for basis in master.atoms))
        found = get_backend("clarabel").solve(few.to_conic(), Settings(tolerance=1e-8))
        wider = few.turned(found, violation=1e-6, drop=False)
        assert any(axes.shape[1] > 2 for axes in wider)
        for axes in wider:
            assert axes.T @ axes == pytest.approx(np.eye(axes.shape[1]), abs=1e-12)


def test_mirrored_attacks_are_feasible(problem):
    network = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-3)).network
    attacks = problem.pessimize(network)
    assert isinstance(problem, Mirrors)
    others = problem.mirrored(network, attacks)
    lengths = np.linalg.norm(others - problem.X, axis=1)
    assert lengths == pytest.approx(np.linalg.norm(attacks.points - problem.X, axis=1))
    losses = problem.losses_at_points(network, np.arange(40), others)
    assert (losses <= problem.losses_at(attacks.values) + 1e-9).all()


def test_masters_reach_eight_digits(problem):
    """In bases that have nothing to do with the solution they end at 3e-7."""
    result = solve(problem, backend="clarabel", method="cutting-set", settings=Settings(tolerance=1e-8, threads=1))
    assert result.termination is Termination.CONVERGED
    assert result.certificate.relative_gap <= 1e-8
