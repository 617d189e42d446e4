"""The vectorised programmes say what the mathematics says: against cvxpy, against the definition, and term by term."""

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import AdversarialSDP, InputError, Settings, StandardSDP, solve
from cvxrobust.core.conic.cones import smat, svec
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.problems.polynomial.matrix_variables import FullFrame, SpanFrame

ACTIVATION = (0.4, -0.7, 0.2)


def data(seed=0, n=14, d=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.where(X[:, 0] + 0.4 * rng.standard_normal(n) > 0, 1.0, -1.0)


def problems():
    X, y = data()
    for loss in ("hinge", "squared_hinge", "logistic"):
        yield StandardSDP(X, y, loss=loss, activation=ACTIVATION)
        yield AdversarialSDP(X, y, radius=0.3, loss=loss, activation=ACTIVATION)
        yield AdversarialSDP(X, y, radius=np.where(np.arange(y.size) % 3, 0.5, 0.0), loss=loss)
    yield StandardSDP(X, X @ np.array([1.0, -2.0, 0.5]), loss="squared", activation=ACTIVATION)
    yield AdversarialSDP(X, np.array(["a", "b", "c"])[np.arange(y.size) % 3], radius=0.2, beta=0.05)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("problem", list(problems()), ids=lambda p: f"{p.family}-{p.loss}-{p.radius.max():g}")
def test_the_conic_form_has_the_value_of_the_readable_reference(problem):
    program = problem.to_conic()
    solution = get_backend("clarabel").solve(program, Settings(tolerance=1e-7))
    reference = problem.to_cvxpy().solve(solver="CLARABEL", tol_gap_rel=1e-9, tol_feas=1e-9, tol_gap_abs=1e-9)
    assert program.q @ solution.x + program.offset == pytest.approx(reference, rel=2e-6, abs=2e-7)
    assert problem.objective(problem.recover(solution)) == pytest.approx(reference, rel=2e-5)
    assert len(program.b) == problem.conic_rows
    assert {type(cone) for cone in program.cones} == problem.cones


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("activation", [ACTIVATION, (0.09, 0.5, 0.47), (-1.0, 2.0, 0.0)])
def test_every_matrix_inequality_is_assembled_as_the_s_procedure_says(seed, activation):
    X, y = data(seed, n=5, d=4)
    rng = np.random.default_rng(100 + seed)
    radius = rng.uniform(0.1, 2.0, y.size)
    problem = AdversarialSDP(X, y, radius=radius, activation=activation)
    program, (a, b, _), d = problem.to_conic(), activation, 4
    T, Z = (M + M.T for M in rng.standard_normal((2, d + 1, d + 1)))
    lam, xi = rng.standard_normal(5), rng.standard_normal(5)
    x = np.concatenate([svec(T), svec(Z), lam, xi])
    slack = program.b - program.A @ x
    matrices = smat(slack[2 : 2 + 5 * 15].reshape(5, 15))
    for i, (x_i, y_i, r) in enumerate(zip(X, y, radius, strict=True)):
        border = y_i * (a * T[:d, :d] @ x_i + 0.5 * b * T[:d, d])
        f = a * x_i @ T[:d, :d] @ x_i + b * x_i @ T[:d, d] + activation[2] * T[d, d]
        # In the coordinates of the programme, lambda is r^2 times the paper's and D is divided by r.
        expected = np.block([
            [lam[i] * np.eye(d) + r**2 * y_i * a * T[:d, :d], r * border[:, None]],
            [r * border[None, :], np.array([[-lam[i] + y_i * f - (1 - xi[i])]])],
        ])  # fmt: skip
        np.testing.assert_allclose(matrices[i], expected, atol=1e-12)
    np.testing.assert_allclose(slack[2 + 5 * 15 :][:5], lam)


@pytest.mark.parametrize("seed", range(4))
def test_the_programme_forces_margins_down_to_the_exact_worst_case(seed):
    """The S-procedure with the right sign of its off-diagonal is lossless: no slack, no excess."""
    X, y = data(seed, n=8, d=2)
    problem = AdversarialSDP(X, y, radius=0.8, beta=0.02, activation=(0.5, 1.0, -0.3))
    program = problem.to_conic()
    solution = get_backend("clarabel").solve(program, Settings(tolerance=1e-8))
    network = problem.recover(solution)
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, 2 * np.pi, 4000)
    disc = 0.8 * np.sqrt(rng.random(4000))[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rim = 0.8 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    attacks = np.vstack([disc, rim])
    worst = np.array([
        (label * network.decision_function(row + attacks)).min() for row, label in zip(X, y, strict=True)
    ])  # fmt: skip
    sampled = np.maximum(0, 1 - worst).mean() + 0.02 * network.penalty
    assert sampled <= problem.objective(network) * (1 + 1e-12)
    assert sampled == pytest.approx(program.q @ solution.x, rel=1e-4)


def test_outputs_of_a_frame_are_those_of_the_network_its_matrices_stand_for():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((6, 3))
    bases = tuple(np.linalg.qr(rng.standard_normal((4, k)))[0] for k in (3, 2))
    for frame in (FullFrame(3), SpanFrame(bases)):
        variables = rng.standard_normal(frame.size)
        Z, Zp = frame.matrices(variables)
        lifted = np.hstack([points, np.ones((6, 1))])
        a, b, c = ACTIVATION
        C = np.full((4, 4), a)
        C[:3, 3] = C[3, :3] = b / 2
        C[3, 3] = c
        expected = np.einsum("ki,ij,kj->k", lifted, C * (Z - Zp), lifted)
        np.testing.assert_allclose(frame.outputs(points, ACTIVATION) @ variables, expected, atol=1e-12)
        equalities, corner = frame.trace_and_corner
        J = np.diag([1.0, 1.0, 1.0, -1.0])
        np.testing.assert_allclose(equalities @ variables, [np.sum(J * Z), np.sum(J * Zp)], atol=1e-12)
        assert corner @ variables == pytest.approx(Z[3, 3] + Zp[3, 3])


def test_classes_are_trained_one_versus_all():
    rng = np.random.default_rng(1)
    X = np.vstack([rng.standard_normal((8, 2)) + 2.5 * np.array(c) for c in [(0, 1), (1, -1), (-1, -1)]])
    y = np.repeat(["cat", "dog", "eel"], 8)
    problem = AdversarialSDP(X, y, radius=0.2, beta=0.02)
    result = solve(problem)
    assert problem.classes == ("cat", "dog", "eel")
    assert result.quality == "certified"
    assert len(result.parts) == 3
    assert result.certificate.upper == pytest.approx(sum(part.certificate.upper for part in result.parts))
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper)
    assert (result.network.predict(X) == y).mean() > 0.9
    clean, robust = result.network.robust_accuracy(X, y, [0.0, 0.2])
    assert clean == (result.network.predict(X) == y).mean()
    assert robust == (result.network.worst_case(X, y, 0.2).lower > 0).mean()
    joint = problem.recover(get_backend("clarabel").solve(problem.to_conic(), Settings()))
    assert problem.objective(joint) == pytest.approx(result.certificate.upper, rel=1e-4)


def test_reordering_samples_changes_nothing():
    X, y = data(3, n=20)
    order = np.random.default_rng(0).permutation(20)
    first = solve(AdversarialSDP(X, y, radius=0.3)).certificate
    second = solve(AdversarialSDP(X[order], y[order], radius=0.3)).certificate
    assert first.upper == pytest.approx(second.upper, rel=2e-6)


def test_a_solution_without_a_primal_point_is_refused():
    from cvxrobust.core.contracts.result import Solution, Termination

    with pytest.raises(InputError, match="no finite primal point"):
        StandardSDP(*data()).recover(Solution(Termination.ERROR))


def test_neurons_that_are_no_unit_vectors_are_refused_because_the_penalty_would_not_be_theirs():
    # With a = 1, b = c = 0 the function stays the same and its penalty falls to a hundredth.
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), np.where(rng.random(20) < 0.5, 1.0, -1.0)
    problem = AdversarialSDP(X, y, radius=0.1, activation=(1.0, 0.0, 0.0))
    honest = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6))
    network = honest.network.replace(u=10.0 * honest.network.u, alpha=honest.network.alpha / 100.0)
    with pytest.raises(InputError, match="length 10 to 10"):
        solve(problem, backend="clarabel", warm_start=network)

    def lie(program, settings):
        return Solution(Termination.CONVERGED, network=network)

    found = solve(problem, backend=Fake(lie), method="direct")
    assert found.certificate.upper >= honest.certificate.lower


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic", "squared"])
def test_sizes_are_known_without_any_rows(loss, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 3)), np.tile([1.0, -1.0], 25)
    rows, columns = StandardSDP(X, y, loss=loss).to_conic().A.shape
    built, kind = [], type(loss_by_name(loss))
    original = kind.block

    def block(self, target):
        built.append(target.size)
        return original(self, target)

    monkeypatch.setattr(kind, "block", block)
    problem = StandardSDP(X, y, loss=loss)
    assert problem.conic_rows == problem.conic_size.rows == rows
    assert problem.conic_size.columns == columns
    assert max(built) < 3
