"""Targets under attack by the first-order method: both sides of a sample share a loss, wherever its samples are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoint_cases import keeping

from cvxrobust import AdversarialSDP, Batches, InputError, Settings, StreamedSDP, solve
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing, Query, SmoothedObjective
from cvxrobust.backends.torch.polynomial.objective_numpy import SmallObjective
from cvxrobust.backends.torch.polynomial.samples import LocalSamples
from cvxrobust.backends.torch.polynomial.solve import solve_polynomial
from cvxrobust.backends.torch.polynomial.worst_errors import WorstErrors
from cvxrobust.backends.torch.process_group import Team
from cvxrobust.core.kit import network_of
from cvxrobust.core.losses.by_name import loss_by_name

LOSSES = ("squared", "absolute", "huber:0.4")
every_loss = pytest.mark.parametrize("loss", LOSSES)
ONE = Settings(tolerance=1e-5, threads=1)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def data(n=25, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = X[:, 0] ** 2 - X[:, 1] + 0.3 * rng.standard_normal(n)
    y[0] += 5.0  # an outlier
    return X, y, np.linspace(0.0, 0.6, n)


def problem(loss, n=25, d=4, seed=0, **parameters):
    X, y, radius = data(n, d, seed)
    return AdversarialSDP(X, y, radius, beta=0.03, loss=loss, **parameters)


def objectives(program):
    samples = LocalSamples(program, torch.device("cpu"), torch.float64, Team(), lambda: False)
    return SmallObjective(program, samples), SmoothedObjective(program, samples)


def query(m, d, n, nu=0.2, mu=0.7, seed=0):
    rng = np.random.default_rng(seed)
    neurons, signs = 0.5 * rng.standard_normal((m, d)), np.where(rng.random(m) < 0.5, 1.0, -1.0)
    centre = torch.tensor(0.3 * rng.random(2 * n))
    return Query(0, torch.tensor(neurons), torch.tensor(signs), PolynomialSmoothing(mu, nu, centre))


# -- the loss of both sides -----------------------------------------------------------------------------------------


@every_loss
def test_the_smoothed_worst_error_is_the_largest_over_all_multipliers(loss):
    errors, rng = WorstErrors.of(loss), np.random.default_rng(1)
    residuals = rng.standard_normal((2, 200))
    residuals[1] = np.abs(rng.standard_normal(200)) - residuals[0]
    residuals[1, :20] = -residuals[0, :20]  # samples without an attack
    centre, mu = 0.4 * rng.random((2, 200)), 0.3
    values, p = errors.smoothed(residuals, centre, mu)
    assert (p >= 0.0).all()
    assert (p.sum(axis=0) <= errors.steepest * (1.0 + 1e-12)).all()
    most = 6.0 if np.isinf(errors.steepest) else errors.steepest
    grid = np.linspace(0.0, most, 121)
    pairs = np.array([(first, second) for first in grid for second in grid if first + second <= most + 1e-9])
    tried = pairs @ residuals - errors.bend * pairs.sum(axis=1, keepdims=True) ** 2
    tried -= 0.5 * mu * ((pairs[:, :, None] - centre) ** 2).sum(axis=1)
    best = tried.max(axis=0)
    assert (best <= values + 1e-12).all()
    assert (values - best <= 5e-3).all()
    # Unsmoothed it is the loss of the larger residual.
    exact = loss_by_name(loss).value(residuals.max(axis=0), np.zeros(200))
    assert errors.smoothed(residuals, centre, 1e-9)[0] == pytest.approx(exact, abs=1e-7)
    for one, other in zip(errors.smoothed(*map(torch.tensor, (residuals, centre)), mu), (values, p), strict=True):
        assert one.numpy() == pytest.approx(other, abs=1e-14)


def test_losses_of_margins_have_one_side():
    with pytest.raises(InputError, match="hinge loss is one of margins"):
        WorstErrors.of("hinge")


@every_loss
@pytest.mark.parametrize("m", [3, 7])
def test_numpy_and_pytorch_agree_and_the_gradient_is_the_derivative(loss, m):
    program = problem(loss, scale=[1.0, 0.0, 0.4, 2.0], sample_weight=1.0 + np.arange(25) % 3).to_structured()
    one = query(m, 4, 25)
    found = [objective.evaluate([one] * 2) for objective in objectives(program)]  # the second time from a guess
    for ours, theirs in zip(*found, strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-12)
        for name in ("gradient", "margins", "weights", "shift"):
            first, second = getattr(ours, name), getattr(theirs, name)
            assert first.shape == second.shape
            assert first.numpy() == pytest.approx(second.numpy(), rel=1e-7, abs=1e-9), name
    sides = found[0][0].weights.view(2, -1)
    assert ((sides[0] > 0.0) & (sides[1] > 0.0)).any()  # both count somewhere
    direction, t = torch.tensor(np.random.default_rng(2).standard_normal((m, 4))), 1e-5
    for objective in objectives(program):
        moved = [replace(one, neurons=one.neurons + sign * t * direction) for sign in (1.0, -1.0)]
        ahead, behind = (each.value for each in objective.evaluate(moved))
        slope = float((found[0][0].gradient * direction).sum())
        assert (ahead - behind) / (2.0 * t) == pytest.approx(slope, rel=1e-6)


@every_loss
def test_the_smoothed_objective_tends_to_the_worst_errors(loss):
    part = problem(loss)
    program, one = part.to_structured(), query(5, 4, 25, nu=1e-9, mu=1e-9)
    network = network_of(program, one.neurons.numpy(), one.signs.numpy())
    for objective in objectives(program):
        assert objective.evaluate([one])[0].value == pytest.approx(part.objective(network), rel=1e-6)


# -- solves ---------------------------------------------------------------------------------------------------------

SHAPES = {
    "ball": {},
    "mask": {"scale": [1.0, 0.0, 0.4, 2.0]},
    "directions": {"directions": np.eye(4)[:, :2] + 0.3},
    "weights": {"sample_weight": np.arange(25) % 3},
}


@pytest.mark.parametrize(
    ("loss", "shape"), [("squared", "ball"), ("absolute", "mask"), ("huber:0.4", "directions"), ("absolute", "weights")]
)
def test_the_optimum_is_that_of_interior_points(loss, shape):
    part = problem(loss, **SHAPES[shape])
    ours = solve(part, backend="torch", settings=ONE)
    exact = solve(part, backend="ipm", settings=ONE.replace(tolerance=1e-7)).certificate
    assert (ours.quality, ours.termination) == ("certified", "converged")
    assert ours.certificate.relative_gap <= 1e-5
    assert ours.certificate.lower <= exact.upper
    assert exact.lower <= ours.certificate.upper


def test_in_the_span_of_wide_rows_too():
    part = problem("absolute", n=8, d=40)
    assert part.span is not None
    ours, theirs = (solve(part, backend=backend, settings=ONE).certificate for backend in ("torch", "ipm"))
    assert ours.relative_gap <= 1e-5
    assert max(ours.lower, theirs.lower) <= min(ours.upper, theirs.upper)


@pytest.mark.parametrize("backend", ["torch", "ipm"])
def test_streams_are_attacked_on_both_sides(backend):
    X, y, radius = data()
    source = [(X[start : start + 7], y[start : start + 7]) for start in range(0, 25, 7)]
    part = StreamedSDP(Batches(source), radius, beta=0.03, loss="huber:0.4")
    options = {"batch": 8, "epochs": 1} if backend == "torch" else {}
    result = solve(part, backend=backend, settings=ONE.replace(tolerance=1e-4, options=options))
    whole = solve(problem("huber:0.4"), backend="ipm", settings=ONE).certificate
    assert result.certificate.relative_gap <= 1e-4
    assert result.certificate.lower <= whole.upper
    assert whole.lower <= result.certificate.upper


def test_single_precision_and_blocks_keep_the_sides_of_a_sample_together(monkeypatch):
    monkeypatch.setattr("cvxrobust.backends.torch.polynomial.samples.SMALL", 0)
    monkeypatch.setattr("cvxrobust.backends.torch.polynomial.samples.BLOCK", 1)
    part = problem("squared", n=300)
    found = solve_polynomial(part.to_structured(), Settings(tolerance=1e-4), dtype="float32")
    upper, lower = part.objective(found.network), part.lower_bound(found.multipliers)
    assert upper - lower <= 1.001e-4 * upper


def test_an_interrupted_solve_goes_on_with_both_sides(tmp_path):
    part = problem("absolute", n=40, d=6)
    first = solve(part, backend="torch", settings=keeping(tmp_path, tolerance=1e-7, max_iterations=120))
    assert first.termination == "iteration limit"
    again = solve(part, backend="torch", settings=keeping(tmp_path, tolerance=1e-7, max_iterations=1))
    assert again.certificate.upper <= first.certificate.upper * (1.0 + 1e-12)
    assert again.certificate.lower >= first.certificate.lower * (1.0 - 1e-12)
    on = solve(part, backend="torch", settings=keeping(tmp_path, tolerance=1e-5))
    assert on.certificate.relative_gap <= 1e-5


def test_multipliers_of_strangers_prove_no_more_than_the_optimum():
    part = problem("huber:0.4")
    program = part.to_structured()
    found = solve_polynomial(program, Settings(tolerance=1e-5))
    optimum, pair = part.objective(found.network), found.multipliers
    assert part.lower_bound(pair) == pytest.approx(optimum, rel=1e-5)
    rng = np.random.default_rng(4)
    for size in (0.5, 2.0, 1e6):
        wild = [replace(one, theta=size * rng.standard_normal(25) * one.theta) for one in (pair.down, pair.up)]
        assert part.lower_bound(replace(pair, down=wild[0], up=wild[1])) <= optimum * (1.0 + 1e-12)
    assert part.lower_bound(replace(pair, down=pair.up, up=pair.down)) <= optimum
    assert part.lower_bound(replace(pair, down=replace(pair.down, theta=np.full(25, np.nan)))) <= optimum
