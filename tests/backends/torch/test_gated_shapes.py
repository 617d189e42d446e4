"""Gated programmes under attacks with a shape by the first-order methods: the optimum that conic solvers find."""

import numpy as np
import pytest
from random_relu import NORMS, shaped_recipe
from relu_cases import clear_gates

from cvxrobust import AdversarialReLU, Settings, solve
from cvxrobust.core import AttackBall, get_backend
from cvxrobust.core.attacks.ellipsoid import Ellipsoid

torch = pytest.importorskip("torch")
balls = pytest.importorskip("cvxrobust.backends.torch.gated.balls")
gated_torch = pytest.importorskip("cvxrobust.backends.torch.gated.solve")

EXACT = Settings(tolerance=1e-7, threads=1)
SCALE = np.array([1.5, 0.0, 0.4, 1.0])


def agree(problem, ours, tolerance):
    assert (ours.quality, ours.termination) == ("certified", "converged")
    assert ours.certificate.relative_gap <= tolerance
    assert not ours.complaints
    exact = solve(problem, backend="clarabel", settings=EXACT).certificate
    assert ours.certificate.lower <= exact.upper * (1.0 + 1e-9)
    assert exact.lower <= ours.certificate.upper * (1.0 + 1e-9)


@pytest.mark.parametrize("number", range(36))
def test_the_optimum_is_that_of_conic_solvers(number):
    problem = shaped_recipe(number).problem()
    agree(problem, solve(problem, backend="torch", settings=Settings(tolerance=1e-4, threads=1)), 1e-4)


def shaped(norm, loss="hinge", n=80, **given):
    """A problem that is large enough for either method at scale, if that takes small ones."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, 4))
    y = np.where(np.abs(X[:, 0]) - 0.7 + 0.4 * X[:, 1] > 0.0, 1.0, -1.0)
    if loss == "squared":
        y = y + 0.3 * rng.standard_normal(n)
    given = {"radius": 0.03, "beta": 0.01, "loss": loss, "gates": clear_gates(X), "scale": SCALE} | given
    return AdversarialReLU(X, y, norm=norm, **given)


@pytest.mark.parametrize("loss", ["hinge", "squared"])
@pytest.mark.parametrize("norm", NORMS)
def test_directions_in_cones_are_found_under_them_too(norm, loss, monkeypatch):
    monkeypatch.setattr(gated_torch, "LARGE_CONES", 0)
    monkeypatch.setattr(gated_torch, "begin", lambda *_: pytest.fail("went over to the path"))
    problem = shaped(norm, loss, formulation="cone")
    agree(problem, solve(problem, backend="torch", settings=Settings(tolerance=1e-4, threads=1)), 1e-4)


@pytest.mark.parametrize(("form", "loss"), [("one-sided", "hinge"), ("gated", "squared")])
@pytest.mark.parametrize("norm", NORMS)
def test_the_method_of_multipliers_knows_them_too(norm, form, loss, monkeypatch):
    monkeypatch.setattr(gated_torch, "LARGE", 0)
    monkeypatch.setattr(gated_torch, "LARGE_GATED", 0)
    monkeypatch.setattr(gated_torch, "begin", lambda *_: pytest.fail("went over to the path"))
    S = np.random.default_rng(0).standard_normal((4, 2))
    shape = {"directions": S, "scale": None} if norm == 2 else {}
    problem = shaped(norm, loss, formulation=form, **shape)
    agree(problem, solve(problem, backend="torch", settings=Settings(tolerance=1e-3, threads=1)), 1e-3)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_units_of_a_shape_are_those_of_its_radius(norm, unit):
    settings, given = Settings(tolerance=1e-4, threads=1), {"n": 30, "formulation": "cone"}
    problems = shaped(norm, **given), shaped(norm, radius=0.03 / unit, scale=unit * SCALE, **given)
    found = [solve(problem, backend="torch", settings=settings).certificate for problem in problems]
    assert max(each.relative_gap for each in found) <= 1e-4
    assert found[0].lower <= found[1].upper
    assert found[1].lower <= found[0].upper


@pytest.mark.parametrize("norm", NORMS)
def test_a_ball_of_scale_one_takes_the_same_steps(norm):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3))
    y = np.where(X[:, 0] > 0.3 * X[:, 1] ** 2, 1.0, -1.0)
    ball, ones = (
        AdversarialReLU(X, y, 0.1, norm=norm, n_gates=8, bias=True, scale=scale).program for scale in (None, np.ones(3))
    )
    found = [get_backend("torch").solve(program, Settings(tolerance=1e-4, threads=1)) for program in (ball, ones)]
    assert found[0].iterations == found[1].iterations
    # Rows that lie otherwise in memory are summed in another order.
    assert found[0].network.u == pytest.approx(found[1].network.u, rel=1e-6, abs=1e-9)
    assert found[0].multipliers.theta == pytest.approx(found[1].multipliers.theta, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_single_precision_does_for_them(norm):
    problem = shaped(norm)
    result = solve(problem, backend="torch", settings=Settings(tolerance=5e-3, dtype="float32", threads=1))
    assert result.certificate.relative_gap <= 5e-3


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_scaled_norms_have_the_derivatives_that_differences_have(norm, centred):
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.2, 3.0, 5)
    attack = AttackBall(norm, np.ones(1), 5, Ellipsoid(scale=scale))
    G, V = torch.tensor(rng.standard_normal((7, 6))), torch.tensor(rng.standard_normal((7, 5)))
    ball, width, step = balls.smooth_ball(attack, G), torch.tensor(0.1, dtype=torch.float64), 1e-5
    exact = balls.dual_norm(attack, G)
    assert exact.numpy() == pytest.approx(attack.dual_norm(G.numpy()))
    there, here, back = (ball.smoothed(G[:, :5] + t * V, width, centred) for t in (step, 0.0, -step))
    slope, bent = (there.value - back.value) / (2.0 * step), (there.gradient - back.gradient) / (2.0 * step)
    assert torch.allclose((here.gradient * V).sum(-1), slope, atol=1e-8)
    # Weights of the box are those that a carried gradient will have, no less than the derivative's.
    assert norm == "inf" or torch.allclose(here.curve(V), bent, atol=1e-7)
    assert (attack.size(here.gradient.numpy()) <= 1.0 + 1e-12).all()
    assert ((here.value - exact).abs() <= 0.1 * ball.terms(5) * np.log(20.0)).all()
    value, p = ball.support(G[:, :5], torch.zeros_like(V), 1e-9)
    assert torch.allclose(value, exact)
    assert (attack.size(p.numpy()) <= 1.0 + 1e-12).all()
