"""Every device gives the same numbers: a GPU where there is one, and the CPU, in blocks of another size.

Blocks are what a device changes besides its arithmetic, so that the CPU has something to say about it, too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from random_problems import ellipsoid_problem

from cvxrobust import AdversarialSDP, Batches, Settings, StandardSDP, StreamedSDP, solve
from cvxrobust.backends.torch.polynomial.certify import certify
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing, Query, SmoothedObjective
from cvxrobust.backends.torch.polynomial.samples import LocalSamples
from cvxrobust.backends.torch.polynomial.solve import solve_polynomials
from cvxrobust.backends.torch.process_group import Team
from cvxrobust.backends.torch.stopping import Stops
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Quality, Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.losses.by_name import TARGET_LOSSES, loss_by_name

elsewhere = pytest.importorskip("fake_device")

CPU = torch.device("cpu")
SAMPLES = "cvxrobust.backends.torch.polynomial.samples"
HAS_CUDA = torch.cuda.is_available()
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not HAS_CUDA, reason="PyTorch sees no GPU; the same test ran on the CPU")
    ),
]
LOSSES = ("hinge", "squared_hinge", "logistic", "squared", "absolute")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks as small as they get, 256 samples."""
    for name in ("BLOCK", "INPUTS", "DEVICE_BLOCK"):
        monkeypatch.setattr(f"{SAMPLES}.{name}", 1)
    monkeypatch.setattr("cvxrobust.core.attacks.quadratic.BLOCK", 1)


def problem_of(loss="hinge", n=700, d=12, classes=2, seed=5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    score = (
        X[:, :4] @ rng.standard_normal((4, classes)) + X[:, :1] * X[:, 1:2] + 0.3 * rng.standard_normal((n, classes))
    )
    if loss in TARGET_LOSSES:
        return StandardSDP(X, score[:, 0], loss=loss)
    y = np.where(score[:, 0] > 0.0, 1.0, -1.0) if classes == 2 else score.argmax(axis=1)
    return AdversarialSDP(X, y, radius=np.linspace(0.0, 0.5, n), loss=loss)


def streamed(problem):
    cuts = range(0, len(problem.X), 300)
    batches = Batches([(problem.X[i : i + 300], problem.y[i : i + 300]) for i in cuts])
    return StreamedSDP(batches, problem.radius, loss=problem.loss)


@dataclass
class Seen:
    """What one pass over the data says about some networks."""

    evaluations: list[Any]
    judgements: list[Any]
    lower: list[float]
    devices: set[str]


def look(problem, device, dtype=torch.float64, tasks=1):
    """Two networks, many neurons and few, for each column of labels."""
    program, rng = problem.to_structured(), np.random.default_rng(6)
    (n, d), where = program.X.shape, torch.device(device)
    samples = LocalSamples(program, where, dtype, Team(where), lambda: False)
    objective, queries = SmoothedObjective(program, samples), []
    for task in range(tasks):
        for m in (5, d + 3):
            neurons, signs = 0.2 * rng.standard_normal((m, d)), np.where(rng.random(m) < 0.5, 1.0, -1.0)
            tensors = (torch.tensor(part, device=where) for part in (neurons, signs, rng.random(n)))
            queries.append(Query(task, next(tensors), next(tensors), PolynomialSmoothing(0.5, 0.05, next(tensors))))
    objective.evaluate(queries)
    # Again, now that roots of the last pass are where the search for them begins.
    evaluations = objective.evaluate(queries)
    judgements = certify(objective, list(zip(queries, evaluations, strict=True)), loss_by_name(program.loss))
    parts = [problem.parts[query.task] for query in queries]
    lower = [part.lower_bound(found.multipliers) for part, found in zip(parts, judgements, strict=True)]
    tensors = [part for found in evaluations for part in vars(found).values() if isinstance(part, torch.Tensor)]
    tensors += [found.multipliers.form.vectors for found in judgements]
    assert {part.dtype for part in tensors} == {torch.float64}
    return Seen(evaluations, judgements, lower, {part.device.type for part in tensors})


def assert_alike(one, other, tolerance):
    close = {"rel": tolerance, "abs": tolerance}
    for first, second in zip(one.evaluations, other.evaluations, strict=True):
        assert first.value == pytest.approx(second.value, **close)
        for name in ("gradient", "margins", "weights", "shift"):
            ours, theirs = (getattr(found, name).cpu().numpy() for found in (first, second))
            assert ours == pytest.approx(theirs, **close), name
    for first, second in zip(one.judgements, other.judgements, strict=True):
        assert first.upper == pytest.approx(second.upper, **close)
        assert first.bound.value == pytest.approx(second.bound.value, **close)
        assert first.bound.violations == pytest.approx(second.bound.violations, **close)
        assert (first.hinge, first.attack) == pytest.approx((second.hinge, second.attack), **close)
        assert first.network.alpha == pytest.approx(second.network.alpha, **close)
        assert first.multipliers.theta == pytest.approx(second.multipliers.theta, **close)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_pass_is_the_same_everywhere_and_in_blocks_of_any_size(request, device, loss):
    problem = problem_of(loss)
    usual = look(problem, CPU)
    request.getfixturevalue("small_blocks")
    found = look(problem, device)
    assert found.devices == {device}
    assert_alike(found, usual, 1e-8)
    assert_alike(look(streamed(problem), device), usual, 1e-8)
    # What the pass proves is what core makes of it.
    for judgement, lower in zip(found.judgements, found.lower, strict=True):
        assert judgement.upper == pytest.approx(problem.objective(judgement.network), rel=1e-9)
        assert judgement.bound.value == pytest.approx(lower, rel=1e-8)


@pytest.mark.parametrize("device", DEVICES)
def test_columns_together_are_the_columns_alone_on_every_device(device):
    problem = problem_of(classes=3)
    together = look(problem, device, tasks=3)
    objective = SmoothedObjective(
        problem.to_structured(),
        LocalSamples(problem.to_structured(), CPU, torch.float64, Team(), lambda: False),
    )
    for found, judgement in zip(together.evaluations, together.judgements, strict=True):
        query = judgement.multipliers.form.query
        moved = (part.cpu() for part in (query.neurons, query.signs, query.smoothing.centre))
        alone = Query(query.task, next(moved), next(moved), PolynomialSmoothing(0.5, 0.05, next(moved)))
        (single,) = objective.evaluate([alone])
        assert found.value == pytest.approx(single.value, rel=1e-10)
        assert found.gradient.cpu().numpy() == pytest.approx(single.gradient.numpy(), abs=1e-10)


@pytest.mark.parametrize("device", DEVICES)
def test_exact_margins_are_the_same_everywhere_and_in_blocks_of_any_size(request, device):
    rng = np.random.default_rng(7)
    for m in (3, 14):
        u = rng.standard_normal((m, 9))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        arrays = u, rng.standard_normal(m)
        data = rng.standard_normal((700, 9)), rng.choice([-1.0, 1.0], 700), rng.choice([0.0, 1e-3, 0.5, 3.0], 700)
        usual = Quadratic.of(*arrays, (0.09, 0.5, 0.47)).worst_margins(*data[:2], AttackBall(2, data[2], 9))
        request.getfixturevalue("small_blocks")
        u, alpha, *samples = (torch.tensor(part, device=device) for part in (*arrays, *data))
        found = Quadratic.of(u, alpha, (0.09, 0.5, 0.47)).worst_margins(*samples[:2], AttackBall(2, samples[2], 9))
        assert found.device.type == device
        assert found.cpu().numpy() == pytest.approx(usual, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("loss", LOSSES)
def test_single_precision_products_are_near_and_what_is_judged_is_in_double_precision(device, loss):
    problem = problem_of(loss)
    double, single = look(problem, CPU), look(problem, device, torch.float32)
    for first, second in zip(single.evaluations, double.evaluations, strict=True):
        assert first.value == pytest.approx(second.value, rel=1e-5)
        assert first.value != second.value
    for judgement, lower in zip(single.judgements, single.lower, strict=True):
        # The network is the same, and its objective does not know of single precision.
        assert judgement.upper == pytest.approx(problem.objective(judgement.network), rel=1e-9)
        assert judgement.bound.value == pytest.approx(lower, rel=1e-8)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("kind", "classes"), [("memory", 2), ("streamed", 2), ("memory", 3)])
@pytest.mark.usefixtures("small_blocks")
def test_solves_agree_within_their_certificates(device, dtype, kind, classes):
    problem = problem_of(n=300, d=5, classes=classes)
    reference = reference_of(classes)
    asked = streamed(problem) if kind == "streamed" else problem
    settings = Settings(tolerance=1e-2, device=device, dtype=dtype, threads=1, options={"batch": 64})
    result = solve(asked, "torch", settings=settings)
    assert result.applied["device"] == device
    assert result.applied["dtype"] == dtype
    assert result.quality is Quality.CERTIFIED
    assert result.network.u.dtype == np.float64
    assert result.certificate.lower <= reference.upper
    assert reference.lower <= result.certificate.upper
    assert result.certificate.upper == pytest.approx(problem.objective(result.network), rel=1e-12)


REFERENCES: dict[int, Certificate] = {}


def reference_of(classes):
    """The optimum on the CPU, found once."""
    if classes not in REFERENCES:
        settings = Settings(tolerance=1e-3, device="cpu", threads=1)
        REFERENCES[classes] = solve(problem_of(n=300, d=5, classes=classes), "torch", settings=settings).certificate
    return REFERENCES[classes]


@pytest.mark.parametrize("device", DEVICES)
def test_columns_share_their_passes_where_the_device_asks_for_it(device):
    problem = problem_of(n=200, d=5, classes=3)
    program, settings = problem.to_structured(), Settings(tolerance=1e-9, max_iterations=20)
    found = solve_polynomials(program, settings, [Monitor()] * 3, [None] * 3, device)
    for part, solution in zip(problem.parts, found, strict=True):
        bounds = Certificate(part.objective(solution.network), part.lower_bound(solution.multipliers))
        assert 0.0 <= bounds.lower <= bounds.upper < 1.0


@pytest.mark.parametrize("device", DEVICES)
def test_a_checkpoint_moves_between_devices(tmp_path, device):
    problem = problem_of(n=200, d=5)
    options = {"checkpoint": str(tmp_path), "batch": 0}
    settings = Settings(tolerance=1e-9, max_iterations=100, threads=1, options=options)
    for first, second in ((device, "cpu"), ("cpu", device)):
        before = solve(problem, "torch", settings=settings.replace(device=first))
        after = solve(problem, "torch", settings=settings.replace(device=second, max_iterations=1))
        assert after.certificate.upper <= before.certificate.upper * (1.0 + 1e-10)
        assert after.certificate.lower >= before.certificate.lower * (1.0 - 1e-10)


def test_a_checkpoint_survives_another_basis_of_the_same_span(tmp_path, monkeypatch):
    """Another library's eigenvectors may point the other way."""
    problem = problem_of(n=200, d=5)
    settings = Settings(tolerance=1e-9, threads=1, options={"checkpoint": str(tmp_path), "batch": 0})
    before = solve(problem, "torch", settings=settings.replace(max_iterations=100))
    honest = torch.linalg.eigh

    def mirrored(matrix):
        values, vectors = honest(matrix)
        return values, -vectors

    monkeypatch.setattr(torch.linalg, "eigh", mirrored)
    # What a solve has found in one basis is judged in the same.
    bound = problem.lower_bound(before.solution.multipliers)
    assert bound == pytest.approx(before.certificate.lower, rel=1e-12)
    after = solve(problem, "torch", settings=settings.replace(max_iterations=1))
    assert after.certificate.lower >= before.certificate.lower * (1.0 - 1e-10)


def test_stops_of_all_devices_are_the_same():
    for device in [CPU, *([torch.device("cuda")] if HAS_CUDA else [])]:
        stops = Stops(Monitor(deadline=0.0), Team(device), device)
        stops.agree()
        assert str(stops.reason) == "time limit"


@pytest.mark.parametrize(("kind", "number"), [("scale", 0), ("directions", 3)])
def test_attacks_in_ellipsoids_leave_no_tensor_behind(kind, number):
    problem, settings = ellipsoid_problem(kind, number), Settings(tolerance=1e-3, threads=1)
    here = get_backend("torch").solve(problem.to_structured(), settings)
    with elsewhere.emulated():
        there = get_backend("torch").solve(problem.to_structured(), settings.replace(device="cuda"))
        lower = problem.lower_bound(there.multipliers)
    assert there.termination is here.termination is Termination.CONVERGED
    upper = problem.objective(there.network)
    assert upper == pytest.approx(problem.objective(here.network), rel=2e-3)
    assert 0.0 <= upper - lower <= 2e-3 * upper
