"""What backends make of the losses that they say they know, against what `core` makes of them."""

from importlib import import_module

import numpy as np
import pytest

from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.losses.by_name import LOSSES

torch = pytest.importorskip("torch")
BACKENDS = ("torch", "ipm")
ADAPTERS = {name: import_module(f"cvxrobust.backends.{name}.losses").LOSSES for name in BACKENDS}
T = np.linspace(-3.0, 3.0, 24)
STEP = 1e-6


def exact_relu(z):
    return z.clamp(min=0.0), (z > 0.0).to(z.dtype), torch.zeros_like(z)


def slope_of_margins(loss, t):
    slope = loss.derivative(t, np.zeros_like(t))
    return -slope if loss.margin else slope


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_knows_the_losses_that_it_has_adapters_for(backend):
    assert get_backend(backend).capabilities.losses == set(ADAPTERS[backend])
    assert set(ADAPTERS[backend]) <= set(LOSSES)


@pytest.mark.parametrize("name", ADAPTERS["torch"])
def test_first_order_methods_see_the_loss_and_its_slopes(name):
    adapter, loss = ADAPTERS["torch"][name], LOSSES[name]
    t = np.abs(T) if adapter.of_sizes else T
    value, slope = adapter.first_order(torch.tensor(t), lambda z: exact_relu(z)[:2])
    assert value.numpy() == pytest.approx(loss.value(t, np.zeros_like(T)), abs=1e-14)
    assert slope.numpy() == pytest.approx(slope_of_margins(loss, t), abs=1e-14)
    again, same, curvature = adapter.second_order(torch.tensor(t), exact_relu)
    assert torch.equal(again, value)
    assert torch.equal(same, slope)
    turned = -1.0 if loss.margin else 1.0
    bent = (slope_of_margins(loss, t + STEP) - slope_of_margins(loss, t - STEP)) / (2.0 * STEP)
    assert curvature.numpy() == pytest.approx(turned * bent, abs=1e-8)


@pytest.mark.parametrize("name", [name for name, adapter in ADAPTERS["ipm"].items() if adapter.derivatives])
def test_interior_points_see_the_derivatives_of_smooth_losses(name):
    loss, target = LOSSES[name], np.full_like(T, 0.5)
    slope, curvature = ADAPTERS["ipm"][name].derivatives(torch.tensor(T), torch.tensor(target))
    assert slope.numpy() == pytest.approx(loss.derivative(T, target), abs=1e-14)
    bent = (loss.derivative(T + STEP, target) - loss.derivative(T - STEP, target)) / (2.0 * STEP)
    assert curvature.numpy() == pytest.approx(bent, abs=1e-8)


@pytest.mark.parametrize("name", ADAPTERS["ipm"])
def test_interior_points_start_with_multipliers_that_the_loss_allows(name):
    loss = LOSSES[name]
    side = ADAPTERS["ipm"][name].side(torch.tensor(T), torch.zeros(T.size, dtype=torch.float64), T.size, 1e-9)
    theta = side.theta.numpy()
    assert theta == pytest.approx(loss.clip(theta), abs=1e-12)
    away = np.abs(T - 1.0) > 0.1  # from the kinks, where a small complementarity still shows
    assert theta[away] == pytest.approx(-loss.derivative(T, np.zeros_like(T))[away] / T.size, abs=1e-6)


def test_the_curvature_of_samples_on_the_far_side_keeps_its_digits():
    far = torch.tensor([-45.0, 45.0], dtype=torch.float64)
    _, curvature = ADAPTERS["ipm"]["logistic"].derivatives(far, far)
    assert curvature.numpy() == pytest.approx(np.exp(-45.0), rel=1e-12)
