"""How often the host waits for a device: not for every step of root-finding, and no more often where data grow.

A GPU computes while the processor goes on giving it work, until somebody reads a value: `.item()`, `float()`, `bool()`,
a copy, a mask whose length nobody knows. `fake_device` plays the device and counts these reads.
"""

import numpy as np
import pytest
from scipy import sparse

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, Settings, StandardSDP
from cvxrobust.bench.data.teachers import quadratic_teacher
from cvxrobust.core.discovery.registry import get_backend

torch = pytest.importorskip("torch")
elsewhere = pytest.importorskip("fake_device")
samples = pytest.importorskip("cvxrobust.backends.torch.polynomial.samples")
attacks = pytest.importorskip("cvxrobust.backends.torch.polynomial.attacks")
linear = pytest.importorskip("cvxrobust.backends.torch.conic.linear")
exponential = pytest.importorskip("cvxrobust.backends.torch.conic.exponential")
projection = pytest.importorskip("cvxrobust.backends.torch.gated.columns.projection")
newton = pytest.importorskip("cvxrobust.backends.torch.gated.newton.newton_step")
interiors = pytest.importorskip("cvxrobust.backends.torch.gated.newton.cone_interiors")
trust_region = pytest.importorskip("cvxrobust.core.attacks.trust_region")
arrays = pytest.importorskip("cvxrobust.core.arrays")


def pass_over(n, d=8, m=12):
    """One robust gradient near the last one."""
    X, y = quadratic_teacher(n, d)
    rng, settings = np.random.default_rng(0), Settings(device="cuda", threads=1)
    neurons, signs = rng.standard_normal((m, d)) / d**0.5, np.where(np.arange(m) % 2 == 0, 1.0, -1.0)
    with elsewhere.emulated():
        gradient = get_backend("torch").robust_gradient(AdversarialSDP(X, y, radius=0.3).to_structured(), settings)
        gradient(neurons, signs)
        with elsewhere.reads() as seen:
            gradient(neurons + 1e-3, signs)
    return seen


def test_a_robust_gradient_reads_as_often_whatever_there_is_of_data():
    few, many = pass_over(300), pass_over(3000)
    assert few == many
    # The coordinates that vary, two sums, the gradient, and one or two looks whether attacks have settled.
    assert sum(few.values()) <= 6


def test_a_block_more_costs_a_look_at_its_attacks_and_nothing_else(monkeypatch):
    monkeypatch.setattr(samples, "DEVICE_BLOCK", 1)
    one, four = pass_over(256), pass_over(1024)
    more = four - one
    assert {function for _, function in more} == {"smoothed_attacks"}
    assert sum(more.values()) <= 3 * 2


def test_roots_of_exact_worst_cases_are_looked_at_after_1_2_4_8_steps():
    rng = np.random.default_rng(0)
    P, g = np.diag(np.arange(-3.0, 3.0)), rng.standard_normal((500, 6)) * 10.0 ** rng.integers(-6, 6, (500, 1))
    here = trust_region.minimize_in_ball(P, g, np.ones(500))
    with elsewhere.emulated():
        moved = [torch.tensor(part, device="cuda") for part in (P, g, np.ones(500))]
        with elsewhere.reads() as seen:
            there = trust_region.minimize_in_ball(*moved)
        points = there.points.cpu().numpy()
    assert points == pytest.approx(here.points, abs=1e-12)
    # A hundred steps at most: 1, 2, 4, ..., 64 and the one that finds them done.
    assert 1 <= sum(seen.values()) <= 8


def test_conjugate_gradients_on_a_device_are_those_of_the_processor_and_read_less(monkeypatch):
    X, y = quadratic_teacher(80, 6)
    program = AdversarialReLU(X, y, radius=0.05, n_gates=5).to_structured()
    backend, counts, genuine = get_backend("torch"), [], newton.newton_direction

    def counted(*arguments):
        with elsewhere.reads() as seen:
            step, products = genuine(*arguments)
        counts.append((products, sum(number for (_, name), number in seen.items() if name == "newton_direction")))
        return step, products

    monkeypatch.setattr("cvxrobust.backends.torch.gated.newton.path.newton_direction", counted)
    settings = Settings(tolerance=1e-3, threads=1)
    here = backend.solve(program, settings)
    # The processor's count says nothing; elsewhere is what matters.
    counts.clear()
    with elsewhere.emulated():
        there = backend.solve(program, settings.replace(device="cuda"))
    assert there.network.u == pytest.approx(here.network.u, abs=1e-5)
    assert there.iterations == here.iterations
    assert max(products for products, _ in counts) >= 5
    # Whether there is descent at all, and a look after 1, 2, 4, ... products.
    assert all(reads <= 2 + np.log2(products) for products, reads in counts)


def reads_of(call, function):
    """What a call answers with a device, and how often one function of ours read from there."""
    with elsewhere.emulated(), elsewhere.reads() as seen:
        found = call()
    return found, sum(number for (_, name), number in seen.items() if name == function)


def test_conjugate_gradients_of_conic_programmes_are_looked_at_after_1_2_4_8_steps(monkeypatch):
    rng = np.random.default_rng(0)
    A = sparse.csr_array(rng.standard_normal((300, 120)) * 10.0 ** rng.uniform(-1, 1, 120))
    weights, right = [np.full(120, 1e-3), rng.uniform(0.5, 2.0, 300)], [np.ones(120), np.ones(300)]

    def solved():
        system = linear.DeviceSystem(A, torch.device("cuda"), torch.float64, columns=0)
        system.factorise(*(torch.tensor(part, device="cuda") for part in weights))
        x, _ = system.solve(*(torch.tensor(part, device="cuda") for part in right), exact=True)
        return x.cpu().numpy()

    products = []
    genuine = linear.DeviceSystem._reduced_times
    monkeypatch.setattr(linear.DeviceSystem, "_reduced_times", lambda *args: products.append(1) or genuine(*args))
    x, reads = reads_of(solved, "_conjugate_gradients")
    exact = np.linalg.solve(
        np.diag(weights[0]) + A.T @ sparse.diags_array(1 / weights[1]) @ A, right[0] - A.T @ (right[1] / weights[1])
    )
    assert x == pytest.approx(exact, rel=1e-9, abs=1e-12)
    assert len(products) > 30
    assert 1 <= reads <= 2 + np.log2(len(products))


def test_roots_of_exponential_cones_are_looked_at_after_1_2_4_8_steps():
    points = np.random.default_rng(0).standard_normal((400, 3)) * 10.0
    expected, _ = exponential.project_exponentials(torch.tensor(points))
    found, reads = reads_of(
        lambda: exponential.project_exponentials(torch.tensor(points, device="cuda"))[0].cpu(), "_root"
    )
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-12)
    assert 1 <= reads <= 2 + np.log2(exponential.STEPS)


@pytest.fixture(scope="module")
def cones():
    X, y = quadratic_teacher(60, 8)
    return AdversarialReLU(X, y, radius=0.02, n_gates=6, formulation="cone").to_structured()


def test_vectors_inside_cones_are_sought_without_a_look_at_every_halving(cones):
    vectors, margins = interiors.interiors(interiors.GatedTensors.of(cones, "cpu", torch.float64))

    def sought():
        found = interiors.interiors(interiors.GatedTensors.of(cones, torch.device("cuda"), torch.float64))
        return [part.cpu().numpy() for part in found]

    found, reads = reads_of(sought, "_step")
    # Of seven decays with 12 steps each, every step tries lengths: a look after the first, the second and the fourth.
    assert reads <= 7 * 12 * 3
    assert np.array_equal(found[1] > interiors.THIN, margins.numpy() > interiors.THIN)
    thick = found[1] > interiors.THIN
    assert found[1][thick] == pytest.approx(margins.numpy()[thick], rel=1e-3)
    assert found[0][thick] == pytest.approx(vectors.numpy()[thick], abs=1e-3)


def test_projections_onto_cones_are_looked_at_after_1_2_4_8_pivots(cones, monkeypatch):
    points = np.random.default_rng(1).standard_normal((cones.signs.size, cones.X.shape[1]))
    expected, _ = projection.ConeProjections(cones, torch.device("cpu")).project(torch.tensor(points), 0.0)
    pivots, genuine = [], projection._pivot
    monkeypatch.setattr(projection, "_pivot", lambda *args: pivots.append(1) or genuine(*args))
    fits, fit = [], projection.ConeProjections._fit
    monkeypatch.setattr(projection.ConeProjections, "_fit", lambda *args: fits.append(1) or fit(*args))

    def projected():
        there = projection.ConeProjections(cones, torch.device("cuda"))
        return there.project(torch.tensor(points, device="cuda"), 0.0)[0].cpu()

    found, reads = reads_of(projected, "_fit")
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-9)
    assert len(pivots) > 2 * len(fits)
    # How wide the working sets are, and a value a look.
    assert reads <= len(fits) * (1 + 2 + np.log2(len(pivots) / len(fits)))


PROBLEMS = {
    "attacked polynomial": lambda X, y: AdversarialSDP(X, y, radius=0.3, beta=0.01),
    "polynomial": lambda X, y: StandardSDP(X, y, beta=0.01),
    "one-sided": lambda X, y: AdversarialReLU(X, y, radius=0.05, n_gates=6),
    "cone": lambda X, y: ConvexReLU(X, y, n_gates=6, formulation="cone"),
}
MOST = {"attacked polynomial": 130, "polynomial": 70, "one-sided": 55, "cone": 60}
"""Reads of one of the first iterations of ipm, of which step lengths and certificates are the most."""


@pytest.mark.parametrize("name", PROBLEMS)
def test_an_iteration_of_ipm_reads_a_number_of_values_that_data_do_not_raise(name):
    found = []
    for n in (30, 120):
        program = PROBLEMS[name](*quadratic_teacher(n, 5)).to_structured()
        with elsewhere.emulated(), elsewhere.reads() as seen:
            solution = get_backend("ipm").solve(program, Settings(device="cuda", threads=1, max_iterations=8))
        found.append(sum(seen.values()) / solution.iterations)
    assert max(found) <= MOST[name]
    assert found[1] <= 1.5 * found[0]


def test_on_a_processor_every_step_is_worth_a_look():
    assert all(arrays.worth_a_look(step, np.ones(2)) for step in range(10))
    assert all(arrays.worth_a_look(step, torch.ones(2)) for step in range(10))
    with elsewhere.emulated():
        there = torch.ones(2, device="cuda")
        assert [step for step in range(70) if arrays.worth_a_look(step, there)] == [0, 1, 3, 7, 15, 31, 63]
