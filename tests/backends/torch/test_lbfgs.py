"""L-BFGS on tensors: its minimum, and its memory against the textbook's recursion."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
lbfgs = pytest.importorskip("cvxrobust.backends.torch.lbfgs")

CPU = torch.device("cpu")


class Bowl:
    def __init__(self, scales, point):
        self.value = float(0.5 * (scales * point * point).sum())
        self.gradient = scales * point


def test_lbfgs_finds_the_minimum_of_an_ill_conditioned_bowl():
    scales = torch.logspace(0, 3, 40, dtype=torch.float64)
    memory = lbfgs.Memory(40, CPU)
    start = torch.ones(40, dtype=torch.float64)
    found = lbfgs.descend(lambda x: Bowl(scales, x), start, memory, 400, lambda: False, 1e-8)
    assert float(found.evaluation.gradient.norm()) <= 1e-8
    assert found.evaluations < 300


def test_lbfgs_memory_is_the_textbook_recursion_and_survives_new_coordinates():
    rng = np.random.default_rng(5)
    memory, pairs = lbfgs.Memory(6, CPU), []
    for _ in range(35):  # more than the ring holds, and one pair that curves the wrong way
        memory.add(torch.ones(6, dtype=torch.float64), -torch.ones(6, dtype=torch.float64))
        step = torch.tensor(rng.standard_normal(6))
        change = step * torch.arange(1.0, 7.0, dtype=torch.float64)
        memory.add(step, change)
        pairs.append((step, change))
    gradient = torch.tensor(rng.standard_normal(6))
    q, stack = gradient.clone(), []
    for step, change in reversed(pairs[-30:]):
        share = float(step @ q) / float(step @ change)
        q = q - share * change
        stack.append((share, step, change))
    q = q * float(pairs[-1][0] @ pairs[-1][1]) / float(pairs[-1][1] @ pairs[-1][1])
    for share, step, change in reversed(stack):
        q = q + (share - float(change @ q) / float(step @ change)) * step
    assert memory.direction(gradient).numpy() == pytest.approx(-q.numpy(), rel=1e-6)
    wider = memory.extended(8).direction(torch.cat([gradient, torch.zeros(2, dtype=torch.float64)]))
    assert wider[:6].numpy() == pytest.approx(-q.numpy(), rel=1e-6)
    assert (wider[6:] == 0.0).all()


@pytest.mark.parametrize("native", [False, True], ids=["tensors", "arrays"])
def test_differences_of_known_products_are_products_with_differences(native):
    """What a descent does: a direction at every point, and both gradients at hand when a pair joins."""
    rng = np.random.default_rng(6)
    quick, plain = lbfgs.Memory(50, CPU, most=8), lbfgs.Memory(50, CPU, most=8)
    scales, point = np.logspace(0.0, 4.0, 50), rng.standard_normal(50)

    def vector(array):
        return array if native else torch.from_numpy(array)

    gradient = vector(scales * point)
    for _ in range(20):
        found = quick.direction(gradient)
        assert np.asarray(found) == pytest.approx(np.asarray(plain.direction(gradient)), rel=1e-6)
        step = vector(np.asarray(found) * rng.uniform(0.1, 1.5))
        before, gradient = gradient, vector(np.asarray(gradient) + scales * np.asarray(step))
        quick.add(step, gradient - before, gradient)
        plain.add(step, gradient - before)
    # A pair of the wrong curvature changes nothing, whatever was known.
    quick.direction(gradient)
    quick.add(step, before - gradient, gradient)
    assert np.asarray(quick.direction(gradient)) == pytest.approx(np.asarray(plain.direction(gradient)), rel=1e-6)


def test_pairs_that_are_taken_over_count():
    """They did not: what directions read had stayed at zero."""
    rng = np.random.default_rng(7)
    old, new = lbfgs.Memory(12, CPU, most=5), lbfgs.Memory(8, CPU, most=5)
    plain = lbfgs.Memory(8, CPU, most=5)
    for _ in range(7):
        step = rng.standard_normal(12)
        change = step * np.arange(1.0, 13.0)
        old.add(torch.from_numpy(step), torch.from_numpy(change))
        plain.add(torch.from_numpy(step[:8].copy()), torch.from_numpy(change[:8].copy()))
    new.adopt(old.pairs[:, :8], old.order)
    gradient = torch.from_numpy(rng.standard_normal(8))
    assert new.direction(gradient).numpy() == pytest.approx(plain.direction(gradient).numpy(), rel=1e-9)
