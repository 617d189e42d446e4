"""PyTorch modules under evaluation: images keep their shape, and a module is afterwards what it was."""

from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest

from cvxrobust import InputError
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.robustness import evaluate
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.sanity import check_sanity

torch = pytest.importorskip("torch")
elsewhere = pytest.importorskip("fake_device")

SHAPE = (2, 4, 4)
PIXELS = Threat("inf", bounds=(0.0, 1.0))


def net(classes=4, seed=0):
    torch.manual_seed(seed)
    layers = [torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(12, classes)).eval()


def images(module, n=30, seed=0):
    X = np.random.default_rng(seed).uniform(size=(n, *SHAPE)).astype(np.float32)
    with torch.no_grad():
        return X, module(torch.tensor(X)).argmax(dim=1).numpy()


def judged(module, X, y, threat=PIXELS, radii=(0.0, 0.03, 0.2), **more):
    return evaluate_robustness(module, X, y, threat, radii, classes=range(4), steps=8, restarts=1, **more)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_images_are_attacked_and_come_back_in_their_own_shape(norm):
    module = net()
    X, y = images(module)
    scale = np.ones(SHAPE)
    scale[1] = 0.0
    radii = (0.0, 0.05, 0.2) if norm == "inf" else (0.0, 0.5, 2.0)
    report = judged(module, X, y, Threat(norm, scale=scale, bounds=(np.zeros(SHAPE), 1.0)), radii)
    assert (report.clean, report.kind) == (1.0, "none")
    assert report.attacked[1] < 1.0
    assert report.points.shape == X.shape
    broken = np.isfinite(report.broken_at)
    with torch.no_grad():
        found = module(torch.tensor(report.points, dtype=torch.float32)).argmax(dim=1).numpy()
    assert (found[broken] != y[broken]).all()
    moved = (report.points - X).reshape(len(X), -1)
    order = np.inf if norm == "inf" else norm
    assert (np.linalg.norm(moved[broken], ord=order, axis=1) <= report.broken_at[broken] * (1.0 + 1e-9)).all()
    assert report.points.min() >= 0.0
    assert report.points.max() <= 1.0
    np.testing.assert_array_equal(report.points[:, 1], X[:, 1])


def test_images_are_attacked_as_the_same_numbers_in_rows_are():
    module = net()
    X, y = images(module)
    flat = torch.nn.Sequential(torch.nn.Unflatten(1, SHAPE), module).eval()
    seen, same = judged(module, X, y), judged(flat, X.reshape(len(X), -1), y)
    np.testing.assert_array_equal(seen.alive, same.alive)
    np.testing.assert_array_equal(seen.points.reshape(len(X), -1), same.points)


def test_batches_and_chunks_bound_what_is_held_at_once(monkeypatch):
    module = net()
    X, y = images(module)
    whole, sizes = judged(module, X, y), []
    module.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    parts = judged(module, X, y, batch=4)
    assert max(sizes) == 4
    np.testing.assert_array_equal(parts.alive, whole.alive)
    monkeypatch.setattr(evaluate, "CHUNK", 7 * 32)
    sizes.clear()
    parts = judged(module, X, y)
    assert max(sizes) == 30  # labels of all rows, asked for once
    assert np.median(sizes) <= 7
    np.testing.assert_allclose(parts.attacked, whole.attacked, atol=0.1)  # other random starts


class Counting(torch.nn.Module):
    """One that counts its calls in a buffer, draws random numbers that matter not, and moves its input in place."""

    def __init__(self):
        super().__init__()
        self.inner = net()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        torch.rand(3)
        return self.inner(x.sub_(0.5).add_(0.5))


def test_a_module_is_afterwards_what_it_was():
    module = Counting().eval()
    X, y = images(module.inner)
    seen = []
    module.inner.register_forward_hook(lambda *given: seen.append(1))
    weight = module.inner[0].weight
    weight.grad = torch.full_like(weight, 7.0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    report = judged(module, X, y)
    assert seen
    assert report.attacked[-1] < 1.0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {name: value.dtype for name, value in module.state_dict().items()} == {
        name: value.dtype for name, value in before.items()
    }
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(weight.grad, torch.full_like(weight, 7.0))
    assert weight.requires_grad
    assert len(module.inner._forward_hooks) == 1
    assert not any(part.training for part in module.modules())


class Stubborn(torch.nn.Module):
    """One that runs in single precision alone, whatever its parameters are."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, x):
        if x.dtype != torch.float32:
            raise TypeError("float32, please")
        return self.inner(x + self.shift)


class Uncopied(Stubborn):
    """One that cannot be copied."""

    def __deepcopy__(self, memo):
        raise RuntimeError("only one of me")


@pytest.mark.parametrize(("kind", "words"), [(Stubborn, "does not run in"), (Uncopied, "cannot be copied to")])
def test_modules_that_do_without_double_precision_are_attacked_in_their_own(kind, words):
    module = net()
    X, y = images(module)
    report = judged(kind(module).eval(), X, y)
    assert f"the module {words} double precision" in str(report)
    np.testing.assert_allclose(report.attacked, judged(module, X, y).attacked, atol=0.05)
    assert report.to_json()["notes"] == list(report.notes)


def test_a_module_is_attacked_as_it_is_where_nobody_asks_for_double_precision():
    module = Stubborn(net()).eval()
    X, y = images(module)
    report = judged(module, X, y, double=False)
    assert report.notes == ("the module is attacked as it is: margins and slopes are in torch.float32",)
    np.testing.assert_array_equal(report.alive, judged(module, X, y).alive)
    assert all(parameter.grad is None for parameter in module.parameters())


class Detached(torch.nn.Module):
    """One without a graph."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).detach()


def test_a_module_without_a_graph_is_attacked_without_slopes():
    module = net()
    X, y = images(module)
    report = judged(Detached(module).eval(), X, y, radii=(0.0, 0.5))
    assert report.attacked[1] < 0.5
    assert set(report.broken_by) <= {"", "search", "towards others"}


class Noisy(torch.nn.Module):
    """One that draws random numbers that matter."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x + 0.1 * torch.randn_like(x))


def test_modules_that_answer_at_random_or_not_at_all_are_refused():
    module = net()
    X, y = images(module)
    with pytest.raises(InputError, match="other outputs each time"):
        judged(Noisy(module).eval(), X, y)
    with pytest.raises(InputError, match=r"does not take inputs of shape \(2, 32\)"):
        judged(module, X.reshape(len(X), -1), y)
    with pytest.raises(InputError, match="batch is 0"):
        judged(module, X, y, batch=0)
    module[1].train()
    with pytest.raises(InputError, match=r"part '1' is in training mode"):
        judged(module, X, y)


def test_the_checks_of_an_evaluation_take_images():
    module = net()
    X, y = images(module)
    report = check_sanity(module, X, y, PIXELS, 0.05, classes=range(4), steps=8, restarts=1)
    assert report.passed, str(report)


class Affine(torch.nn.Module):
    """One that is elsewhere."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x):
        return x @ self.weight


def test_a_module_elsewhere_is_asked_there():
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((20, 3)), rng.standard_normal((3, 4))
    y = (X @ weight).argmax(axis=1)
    here = judged(Affine(torch.tensor(weight)).eval(), X, y, Threat(2))
    with elsewhere.emulated(), mock.patch.object(torch.random, "fork_rng", return_value=nullcontext()):
        there = judged(Affine(torch.tensor(weight, device=elsewhere.ELSEWHERE)).eval(), X, y, Threat(2))
    np.testing.assert_array_equal(there.alive, here.alive)
    np.testing.assert_array_equal(there.points, here.points)
