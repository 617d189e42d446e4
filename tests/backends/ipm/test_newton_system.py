"""The Newton system of polynomial programmes, against its definition by dense matrices."""

from dataclasses import replace

import numpy as np
import pytest
from polynomial_cases import adversarial

torch = pytest.importorskip("torch")
schur = pytest.importorskip("cvxrobust.backends.ipm.polynomial.schur")
rows = pytest.importorskip("cvxrobust.backends.ipm.polynomial.rows")
spread = pytest.importorskip("cvxrobust.backends.ipm.polynomial.covariances")
start = pytest.importorskip("cvxrobust.backends.ipm.polynomial.start")
system = pytest.importorskip("cvxrobust.backends.ipm.polynomial.newton_system")
bounds = pytest.importorskip("cvxrobust.backends.ipm.polynomial.certify")
triangles = pytest.importorskip("cvxrobust.backends.ipm.symmetric")

CPU = torch.device("cpu")
LOSSES = ("hinge", "squared_hinge", "logistic", "squared", "absolute", "huber:0.4")
"""Of targets, attacked samples have pairs of rows."""
every_loss = pytest.mark.parametrize("loss", LOSSES)
sides = pytest.mark.parametrize("loss", ["hinge", "absolute", "huber:0.4"])
"""One row for each attacked sample, pairs that share a number, and with a pair of its own besides."""


def interior(problem, iterations=4):
    """A point on the way, in its own frame, and the system there."""
    program = problem.to_structured()
    judge = bounds.Bounds(program, problem.X, CPU)
    at = start.cold_start(judge, start.Activation(*program.activation))
    triangle = triangles.Triangle(problem.X.shape[1] + 1, CPU)
    for _ in range(iterations):
        at = at.turned()
        newton = system.NewtonSystem(at.data, at.point, triangle)
        step = newton.direction(0.3 * newton.mu, None)
        primal, dual = newton.longest(step, 1.0)
        at = replace(at, point=newton.advanced(step, 0.7 * primal, 0.6 * dual))
    at = at.turned()
    return at, system.NewtonSystem(at.data, at.point, triangle)


def dense(at):
    """M_i and X_i from their definitions, and the linear maps between T and M_i."""
    data, point = at.data.attacked, at.point.attacked
    n, d = data.x.shape
    E = torch.eye(d + 1, dtype=torch.float64).repeat(n, 1, 1)
    E[:, :d, :d] *= data.r[:, None, None]
    E[:, :d, d] = data.x
    J = torch.diag(torch.tensor([1.0] * d + [-1.0], dtype=torch.float64))
    last = torch.zeros(d + 1, d + 1, dtype=torch.float64)
    last[d, d] = 1.0

    def M(T, lam, w):
        inner = data.y[:, None, None] * (E.mT @ data.activation.times(T) @ E)
        return inner + lam[:, None, None] * J - w[:, None, None] * last

    def adjoint(X):
        return data.activation.times((data.y[:, None, None] * (E @ X @ E.mT)).sum(0))

    m = point.moments
    X = torch.zeros(n, d + 1, d + 1, dtype=torch.float64)
    X[:, :d, :d] = m.cov + m.theta[:, None, None] * m.mean[:, :, None] * m.mean[:, None, :]
    X[:, :d, d] = X[:, d, :d] = m.theta[:, None] * m.mean
    X[:, d, d] = m.theta
    return M, adjoint, X, J


def moved(at, newton, step, size):
    """The moment matrices after a step of the duals alone."""
    return dense(replace(at, point=newton.advanced(step, 0.0, size)))[2]


def correlations(at):
    """Frobenius norms of the correlations of every sample's attacks, shape (n,)."""
    cov = at.point.attacked.moments.cov
    scale = torch.rsqrt(torch.diagonal(cov, dim1=1, dim2=2))
    return torch.linalg.matrix_norm(cov * scale[:, :, None] * scale[:, None, :] - torch.eye(cov.shape[1]))


@pytest.fixture(params=["all", "some", "none"])
def counting(request, monkeypatch):
    """Systems that count the correlations of all samples, of half of them, of none; with X as they take it."""

    def prepared(at, triangle):
        sizes = correlations(at)
        limit = {"all": 0.0, "some": float(torch.quantile(sizes, 0.5)), "none": np.inf}[request.param]
        monkeypatch.setattr(spread, "NEAR", limit)
        newton = system.NewtonSystem(at.data, at.point, triangle)
        n = len(sizes)
        assert newton.attacked.spread.whole.numel() == {"all": n, "some": n // 2, "none": 0}[request.param]
        moments = at.point.attacked.moments
        mask = torch.where((sizes > limit)[:, None, None], 1.0, torch.eye(moments.cov.shape[1], dtype=torch.float64))
        attacked = replace(at.point.attacked, moments=replace(moments, cov=mask * moments.cov))
        return newton, dense(replace(at, point=replace(at.point, attacked=attacked)))[2]

    return prepared


@every_loss
def test_a_direction_solves_the_linearised_optimality_conditions(loss, counting):
    at, newton = interior(adversarial(12, 4, loss=loss, activation=(0.3, 0.7, 0.2)))
    newton, taken = counting(at, newton.triangle)
    mu, weights = 0.2 * newton.mu, newton.weights
    step = newton.direction(mu, None)
    M, adjoint, _, J = dense(at)
    point, beta = at.point, at.data.beta
    lam, w = point.attacked.lam, point.attacked.w
    now = M(point.T, lam.slack, w)
    change = M(step.dT, step.attacked.response.lam, step.attacked.response.w)
    new = moved(at, newton, step, 1.0)
    inverse = torch.linalg.inv(now)
    product = taken @ change @ inverse
    # The direction of Helmberg et al.; X is linear in the step of the duals.
    inner = weights.inequalities * mu
    assert weights.inequalities < 1.0
    assert torch.allclose(new, inner * inverse - 0.5 * (product + product.mT), atol=1e-12)
    corner = torch.zeros_like(point.Z)
    corner[-1, -1] = beta
    F = adjoint(new)
    for sign, U, dU, nu, dnu in zip(
        (1.0, -1.0), (point.U, point.Up), (step.dU, step.dUp), point.nu, step.dnu, strict=True
    ):
        assert torch.allclose(corner + (nu + dnu) * J - sign * F, U + dU, atol=1e-11)
    for Z, dZ, U, dU in ((point.Z, step.dZ, point.U, step.dU), (point.Zp, step.dZp, point.Up, step.dUp)):
        assert float((J * (Z + dZ)).sum()) == pytest.approx(0.0, abs=1e-11)
        # Nesterov and Todd: dU = mu Z^-1 - U - G^-1 dZ G^-1 with G U G = Z.
        root = torch.linalg.cholesky(Z)
        inside = torch.linalg.eigh(root.T @ U @ root)
        G = root @ (inside.eigenvectors * inside.eigenvalues**-0.5) @ inside.eigenvectors.T @ root.T
        assert torch.allclose(G @ U @ G, Z, atol=1e-10)
        inverse_G = torch.linalg.inv(G)
        assert torch.allclose(
            dU, weights.matrices * mu * torch.linalg.inv(Z) - U - inverse_G @ dZ @ inverse_G, atol=1e-9
        )
    assert torch.allclose(step.dT, step.dZ - step.dZp, atol=1e-11)
    alpha = lam.multiplier + step.attacked.lam.multiplier
    trace = torch.einsum("iab,ab->i", new, J)
    assert torch.allclose(-trace, alpha, atol=1e-12)
    assert torch.allclose(alpha, inner / lam.slack - lam.multiplier / lam.slack * step.attacked.lam.slack, atol=1e-12)


@every_loss
@pytest.mark.parametrize("at_once", [12, 5])
def test_what_is_factored_is_the_operator_that_refinement_applies(loss, counting, at_once, monkeypatch):
    # Refinement would hide a wrong factor.
    monkeypatch.setattr(schur, "BLOCK", at_once * 15)
    monkeypatch.setattr(schur, "CACHED", at_once // 2 * 15)
    at, newton = interior(adversarial(12, 4, loss=loss, activation=(0.3, 0.7, 0.2)))
    newton, _ = counting(at, newton.triangle)
    T = torch.tensor(np.random.default_rng(0).standard_normal((2, 5, 5)))
    T = T + T.mT
    found = newton.schur.solve(newton.apply(schur.Solved(T)))
    assert torch.allclose(found.T, T, atol=1e-8)


def test_the_second_order_correction_is_that_of_the_dense_matrices(counting):
    at, newton = interior(adversarial(10, 3))
    newton, taken = counting(at, newton.triangle)
    first = newton.direction(0.0, None)
    mu = 0.1 * newton.mu
    second = newton.direction(mu, first)
    M, _, X, _ = dense(at)
    point = at.point
    inverse = torch.linalg.inv(M(point.T, point.attacked.lam.slack, point.attacked.w))
    changes = [M(s.dT, s.attacked.response.lam, s.attacked.response.w) for s in (first, second)]
    # What the linear part leaves out of X counts with the previous direction.
    product = taken @ changes[1] @ inverse + (moved(at, newton, first, 1.0) - taken) @ changes[0] @ inverse
    assert not torch.allclose(taken, X, atol=1e-6) or newton.attacked.spread.whole.numel() == 10
    expected = newton.weights.inequalities * mu * inverse - 0.5 * (product + product.mT)
    assert torch.allclose(moved(at, newton, second, 1.0), expected, atol=1e-12)


def test_the_second_order_correction_of_scaled_matrices_is_mehrotras():
    _, newton = interior(adversarial(10, 3))
    first = newton.direction(0.0, None)
    mu = 0.1 * newton.mu
    second = newton.direction(mu, first)
    for k, scaled in enumerate((newton.one, newton.two)):
        (dz, du), (change, answer) = first.scaled[k], second.scaled[k]
        S, product = torch.diag(scaled.values), dz @ du
        left = 0.5 * (S @ (change + answer) + (change + answer) @ S)
        assert torch.allclose(left, mu * torch.eye(4, dtype=S.dtype) - S @ S - 0.5 * (product + product.T), atol=1e-12)


@sides
def test_complementarity_after_a_step_is_what_it_becomes(loss):
    for problem in (adversarial(10, 3, loss=loss), adversarial(10, 3, radius=0.0, loss=loss)):
        at, newton = interior(problem)
        step = newton.direction(0.3 * newton.mu, None)
        longest = newton.longest(step, 1.0)
        primal, dual = 0.5 * longest[0], 0.3 * longest[1]
        predicted = newton.mu_after(step, primal, dual)
        after = replace(at, point=newton.advanced(step, primal, dual)).turned()
        found = system.NewtonSystem(after.data, after.point, newton.triangle)
        assert found.mu == pytest.approx(predicted, rel=1e-9)


@sides
def test_steps_are_the_longest_that_stay_inside(loss):
    at, newton = interior(adversarial(10, 3, loss=loss))
    step = newton.direction(0.0, None)
    primal, dual = newton.longest(step, 1.0)
    for k, longest in enumerate((primal, dual)):
        assert 0.0 < longest <= 1.0
        inside = newton.advanced(step, *(0.99 * longest if k == j else 0.0 for j in range(2)))
        outside = newton.advanced(step, *(1.15 * longest if k == j else 0.0 for j in range(2)))
        for point, expected in ((inside, True), (outside, False)):
            M, _, X, _ = dense(replace(at, point=point))
            matrices = [point.Z, point.Zp] if k == 0 else [point.U, point.Up]
            matrices += list(M(point.T, point.attacked.lam.slack, point.attacked.w) if k == 0 else X)
            numbers = [part for pair in point.attacked.pairs for part in ((pair.slack, pair.multiplier)[k],)]
            positive = all(float(torch.linalg.eigvalsh(part)[0]) > 0.0 for part in matrices)
            positive = positive and all(bool((part > 0.0).all()) for part in numbers)
            assert positive is expected or longest == 1.0


@every_loss
def test_the_ways_to_factor_agree(loss):
    at, few = interior(adversarial(9, 6, radius=0.0, loss=loss), 6)
    ways = {"entries": schur.DenseSchur, "samples": schur.KernelSchur, "rows": rows.RowsSchur}
    steps = {}
    for name, kind in ways.items():
        newton = system.NewtonSystem(at.data, at.point, few.triangle, factoring=name)
        assert isinstance(newton.schur, kind)
        steps[name] = newton.direction(0.1 * few.mu, None)
    for name in ("samples", "rows"):
        for part in ("dT", "dZ", "dZp", "dU", "dUp"):
            one, two = getattr(steps["entries"], part), getattr(steps[name], part)
            assert torch.allclose(one, two, rtol=1e-7, atol=1e-10), (name, part)


@pytest.mark.parametrize("near", [None, 0.0])
@every_loss
def test_rows_of_attacked_samples_make_the_same_step(loss, near):
    problem = adversarial(12, 4, radius=np.where(np.arange(12) < 3, 0.0, 0.3), loss=loss)
    at, few = interior(problem, 5)
    ways = {name: system.NewtonSystem(at.data, at.point, few.triangle, factoring=name, near=near)
            for name in ("entries", "rows")}  # fmt: skip
    assert isinstance(ways["entries"].schur, schur.DenseSchur)
    assert isinstance(ways["rows"].schur, rows.RowsSchur)
    predictor = ways["entries"].direction(0.0, None)
    steps = {name: way.direction(0.1 * few.mu, predictor) for name, way in ways.items()}
    pairs = [(getattr(steps["entries"], part), getattr(steps["rows"], part)) for part in ("dT", "dZ", "dU", "dUp")]
    one, two = (steps[name].attacked for name in ("entries", "rows"))
    pairs += [(getattr(one.dX, part), getattr(two.dX, part)) for part in ("block", "side", "corner")]
    pairs += [(getattr(one.response, part), getattr(two.response, part)) for part in ("lam", "w", "ghat", "gbar")]
    pairs += [(one.response.corner, two.response.corner), (one.response.theta, two.response.theta)]
    for left, right in pairs:
        assert torch.allclose(left, right, rtol=1e-6, atol=1e-9)


def test_rows_that_are_not_squared_keep_what_scales_would_lose():
    rng = np.random.default_rng(0)
    problem = adversarial(60, 5, radius=0.0)
    program = problem.to_structured()
    scaled = problem.X * 10.0 ** np.array([-3.0, 0.0, 1.5, 3.0, 4.0]) + rng.uniform(0.0, 1.0, 5)
    judge = bounds.Bounds(replace(program, X=scaled), scaled, CPU)
    at = start.cold_start(judge, start.Activation(*program.activation))
    triangle, residuals = triangles.Triangle(6, CPU), []
    for _ in range(14):
        at = at.turned()
        newton, plain = (system.NewtonSystem(at.data, at.point, triangle, factoring=way) for way in ("rows", "entries"))
        residuals.append((newton.residual, plain.residual))
        step = newton.direction(0.2 * newton.mu, None)
        primal, dual = newton.longest(step, 1.0 / 0.9)
        at = replace(at, point=newton.advanced(step, min(1.0, 0.9 * primal), min(1.0, 0.9 * dual)))
    assert max(rows for rows, _ in residuals) < 1e-9
    assert max(entries for _, entries in residuals) > 1e2 * max(rows for rows, _ in residuals)


def test_a_sandwich_is_the_quadratic_form():
    rng = np.random.default_rng(0)
    triangle = triangles.Triangle(4, CPU)
    Y, W, T = (torch.tensor(part + np.swapaxes(part, -1, -2)) for part in rng.standard_normal((3, 5, 4, 4)))
    H = triangle.sandwich(triangle.entries(Y).T @ triangle.entries(W))
    v = triangle.vector(T[0])
    expected = torch.einsum("nab,bc,ncd,da->", Y, T[0], W, T[0])
    assert float(v @ H @ v) == pytest.approx(float(expected), rel=1e-12)
    assert torch.allclose(triangle.matrix(v), T[0])


def test_a_shift_of_the_reduced_system_leaves_small_unknowns_alone():
    H = torch.tensor([[1e12, 1e12, 0.0], [1e12, 1e12, 0.0], [0.0, 0.0, 1e-4]], dtype=torch.float64)
    factor, shift = schur._cholesky(H)
    assert 0.0 < shift < 1e-12
    assert float(factor[2, 2] ** 2) == pytest.approx(1e-4, rel=1e-10)


@sides
def test_the_bound_in_the_loop_is_the_one_that_core_proves(loss):
    problem = adversarial(20, 5, loss=loss)
    at, _ = interior(problem)
    judge = bounds.Bounds(problem.to_structured(), problem.X, CPU)
    moments = at.point.attacked.moments
    # Masses beyond the loss's domain and attacks beyond their balls have to be cut back.
    for mass, reach in ((1.0, 1.0), (30.0, 1.0), (1.0, 4.0), (30.0, 4.0)):
        moved = replace(
            moments, theta=mass * moments.theta, mean=reach * moments.mean, cov=mass * reach**2 * moments.cov
        )
        dual = bounds.DualPoint(judge.thetas(moved), moved, at.frame)
        assert judge.bound(dual).value == pytest.approx(problem.lower_bound(judge.multipliers(dual)), rel=1e-10)
