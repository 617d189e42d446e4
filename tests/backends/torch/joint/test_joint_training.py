"""Joint programmes by the first-order method: gradients, the smoothed loss, certified answers, stops, checkpoints."""

import numpy as np
import pytest
import torch
from random_problems import random_joint, some_joint_network

from cvxrobust import InputError, JointSDP, Settings, solve
from cvxrobust.backends.torch.joint.certify import judged_jointly, neurons_of_classes
from cvxrobust.backends.torch.joint.objective import JointObjective, JointQuery
from cvxrobust.backends.torch.joint.samples import JointSamples
from cvxrobust.backends.torch.joint.smallest_margin import LOSSES
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core import get_backend, loss_by_name

elsewhere = pytest.importorskip("fake_device")
DOUBLE = torch.float64


def objective_and_query(number, hinge=0.3, attack=0.05, dtype=DOUBLE):
    problem = random_joint(number)
    program = problem.to_structured()
    samples = JointSamples(program, torch.device("cpu"), dtype)
    neurons, signs, owners = map(torch.tensor, neurons_of_classes(some_joint_network(problem, number)))
    centre = 0.2 * torch.rand((program.X.shape[0], program.n_classes), dtype=DOUBLE, generator=generator(number))
    for k, rows in enumerate(samples.classes):
        centre[rows, k] = 0.0
    smoothing = PolynomialSmoothing(hinge, attack, centre)
    return problem, JointObjective(program, samples, lambda: None), JointQuery(neurons, signs, owners, smoothing)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def at(query, neurons):
    return JointQuery(neurons, query.signs, query.owners, query.smoothing)


@pytest.mark.parametrize("number", range(0, 105, 5))
def test_the_gradient_is_the_derivative(number):
    _, objective, query = objective_and_query(number)
    direction = torch.randn(query.neurons.shape, dtype=DOUBLE, generator=generator(number))
    found, step = objective.evaluate(query), 1e-6
    above, below = (objective.evaluate(at(query, query.neurons + sign * step * direction)).value for sign in (1, -1))
    assert float((found.gradient * direction).sum()) == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("number", range(1, 105, 8))
def test_without_smoothing_it_is_the_objective(number):
    problem, objective, query = objective_and_query(number, hinge=1e-7, attack=1e-9)
    nothing = PolynomialSmoothing(1e-7, 1e-9, torch.zeros_like(query.smoothing.centre))
    sharp = JointQuery(query.neurons, query.signs, query.owners, nothing)
    evaluation = objective.evaluate(sharp)
    assert evaluation.value == pytest.approx(problem.objective(some_joint_network(problem, number)), rel=1e-5, abs=1e-6)
    judged = judged_jointly(objective, sharp, evaluation)
    assert judged.upper == pytest.approx(problem.objective(judged.network), rel=1e-12)
    assert judged.bound.value == pytest.approx(problem.lower_bound(judged.multipliers), rel=1e-9, abs=1e-12)
    assert judged.bound.value <= judged.upper


def test_what_is_passed_over_would_have_had_no_multiplier(monkeypatch):
    """The brackets of margins change nothing but the time."""
    for number in range(1, 60, 6):
        _, objective, query = objective_and_query(number, hinge=0.05, attack=0.01)
        with monkeypatch.context() as patch:
            patch.setattr(JointObjective, "_alive", lambda self, query, sides, products, margins: margins < torch.inf)
            plain = objective.evaluate(query)
        quick = objective.evaluate(query)
        assert quick.value == pytest.approx(plain.value, rel=1e-12)
        assert quick.weights.numpy() == pytest.approx(plain.weights.numpy(), abs=1e-9)
        assert quick.gradient.numpy() == pytest.approx(plain.gradient.numpy(), abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_the_smoothed_loss_is_a_maximum_over_multipliers(name):
    """Its multipliers are its slopes, no others do better, and it is below the loss and near it."""
    loss, rng = LOSSES[name], generator(0)
    margins = 2.0 * torch.randn((50, 4), dtype=DOUBLE, generator=rng)
    margins[:, 1] = torch.inf
    centre = 0.2 * torch.rand((50, 4), dtype=DOUBLE, generator=rng) * torch.isfinite(margins)
    value, p = loss.smoothed(margins, centre, 0.3)
    plain = loss_by_name(name).value(margins.amin(dim=1).numpy(), np.ones(50))
    assert loss.losses(margins).numpy() == pytest.approx(plain)
    assert (loss.worth(margins, p).numpy() <= plain + 1e-12).all()
    sharp, _ = loss.smoothed(margins, centre, 1e-9)
    assert sharp.numpy() == pytest.approx(plain, abs=1e-6)
    for column in (0, 2, 3):
        step = torch.zeros_like(margins)
        step[:, column] = 1e-6
        change = (loss.smoothed(margins + step, centre, 0.3)[0] - loss.smoothed(margins - step, centre, 0.3)[0]) / 2e-6
        assert change.numpy() == pytest.approx(-p[:, column].numpy(), abs=1e-6)
    for _ in range(20):
        other = (p + 0.1 * torch.randn(p.shape, dtype=DOUBLE, generator=rng) * (centre > 0)).clamp(min=0.0)
        other = other / other.sum(dim=1, keepdim=True).clamp(min=1.0)
        worth = loss.worth(margins, other) - 0.15 * ((other - centre) ** 2).sum(dim=1)
        assert (worth <= value + 1e-9).all()


@pytest.mark.parametrize("number", [0, 1, 7, 9, 15, 21, 25, 30])
def test_it_finds_what_a_conic_solver_finds(number):
    problem = random_joint(number)
    found = solve(problem, backend="torch", settings=Settings(tolerance=1e-4))
    reference = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6))
    assert found.quality == "certified"
    assert found.certificate.lower <= reference.certificate.upper * (1 + 1e-9)
    assert reference.certificate.lower <= found.certificate.upper * (1 + 1e-9)


def clouds(n=30, d=3, K=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    return rng.standard_normal((n, d)) + 1.5 * rng.standard_normal((K, d))[y], y


def test_a_start_is_where_it_starts():
    problem = JointSDP(*clouds(), radius=0.2, beta=0.02)
    first = solve(problem, backend="torch", settings=Settings(tolerance=1e-3))
    again = solve(problem, backend="torch", warm_start=first, settings=Settings(tolerance=1e-3))
    assert again.certificate.upper <= first.certificate.upper
    near = solve(problem.at(beta=0.021), backend="torch", warm_start=first, settings=Settings(tolerance=1e-3))
    assert near.quality == "certified"


def test_a_limit_of_evaluations_ends_it_and_bounds_hold():
    problem = JointSDP(*clouds(), radius=0.2, beta=0.02)
    result = solve(problem, backend="torch", settings=Settings(tolerance=1e-9, max_iterations=60))
    assert result.termination == "iteration limit"
    assert result.iterations <= 60
    assert problem.objective(result.network) == result.certificate.upper
    assert 0.0 <= result.certificate.lower <= result.certificate.upper


def test_points_of_a_sample_share_one_loss():
    X, y = clouds(40)
    points, groups = np.vstack([X, X + 0.2, X - 0.2]), np.tile(np.arange(40), 3)
    problem = JointSDP(points, np.tile(y, 3), beta=0.02, groups=groups)
    found = solve(problem, backend="torch", settings=Settings(tolerance=1e-4))
    reference = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6))
    assert found.quality == "certified"
    assert found.certificate.lower <= reference.certificate.upper
    assert reference.certificate.lower <= found.certificate.upper


def test_single_precision_is_for_products_only():
    problem = JointSDP(*clouds(), radius=0.2, beta=0.02)
    result = solve(problem, backend="torch", settings=Settings(tolerance=1e-3, dtype="float32"))
    assert result.quality == "certified"


def test_a_checkpoint_is_gone_on_from(tmp_path):
    problem = JointSDP(*clouds(), radius=0.2, beta=0.02)
    options = {"checkpoint": str(tmp_path)}
    first = solve(problem, backend="torch", settings=Settings(tolerance=1e-9, max_iterations=120, options=options))
    again = solve(problem, backend="torch", settings=Settings(tolerance=1e-9, max_iterations=41, options=options))
    assert again.certificate.upper <= first.certificate.upper
    assert again.certificate.lower >= first.certificate.lower - 1e-12
    assert again.certificate.relative_gap < 0.1
    (file,) = tmp_path.glob("*.npz")
    with np.load(file) as saved:
        state = dict(saved) | {"owners": np.full(saved["owners"].shape, 7)}
    np.savez(file, **state)
    with pytest.raises(InputError, match="its 'owners' is missing or is not what was saved; delete it"):
        get_backend("torch").solve(problem.to_structured(), Settings(options=options))


@pytest.mark.parametrize(
    ("options", "message"), [({"neurons": 0}, "option neurons is 0"), ({"checkpoint": ""}, "option checkpoint is ''")]
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        get_backend("torch").solve(random_joint(1).to_structured(), Settings(options=options))


def test_options_for_stochastic_steps_are_ignored_and_said_so():
    found = get_backend("torch").solve(random_joint(1).to_structured(), Settings(tolerance=0.5, options={"batch": 4}))
    assert found.ignored["batch"] == "joint programmes have no stochastic steps"


@pytest.mark.parametrize("number", [1, 9])
def test_a_device_gives_the_same_answer(number):
    """One played by the processor: nothing mixes tensors that lie apart."""
    settings = Settings(tolerance=1e-2, max_iterations=60, device="cuda", threads=1)
    problem = random_joint(number)
    here = get_backend("torch").solve(problem.to_structured(), settings.replace(device="cpu"))
    with elsewhere.emulated():
        there = get_backend("torch").solve(problem.to_structured(), settings)
        lower = problem.lower_bound(there.multipliers)
    assert there.iterations == here.iterations
    assert problem.objective(there.network) == pytest.approx(problem.objective(here.network), rel=1e-6)
    assert lower == pytest.approx(problem.lower_bound(here.multipliers), rel=1e-6)
