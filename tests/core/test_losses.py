"""The losses: derivatives, conjugate bounds and conic forms against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from cvxrobust.core.conic.cones import NonNegative, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.losses.base import TwoSidedLoss
from cvxrobust.core.losses.by_name import LOSSES, TARGET_LOSSES, loss_by_name
from cvxrobust.core.losses.weighted import loss_of_rows, weighted_loss
from cvxrobust.core.settings import Settings

by_hand = {
    "hinge": lambda t, target: max(0.0, 1.0 - t),
    "squared_hinge": lambda t, target: max(0.0, 1.0 - t) ** 2,
    "logistic": lambda t, target: np.log(1.0 + np.exp(-t)),
    "squared": lambda t, target: (t - target) ** 2,
    "absolute": lambda t, target: abs(t - target),
    "huber": lambda t, target: (t - target) ** 2 if abs(t - target) <= 1.35 else 2.7 * abs(t - target) - 1.35**2,
}
REPEATS = np.array([1, 3, 2, 1])
WEIGHTS = REPEATS / REPEATS.mean()
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=lambda loss: loss.name)
margin_losses = pytest.mark.parametrize("loss", [loss for loss in LOSSES.values() if loss.margin], ids=lambda k: k.name)
derandomized = settings(derandomize=True, deadline=None, max_examples=60)


def samples(n, size):
    return arrays(np.float64, n, elements=st.floats(-size, size))


@every_loss
@derandomized
@given(t=samples(5, 30.0), target=samples(5, 30.0))
def test_values_are_those_of_the_definition(loss, t, target):
    expected = [by_hand[loss.name](*pair) for pair in zip(t, target, strict=True)]
    assert loss.value(t, target) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@every_loss
@derandomized
@given(t=samples(5, 10.0), target=samples(5, 10.0))
def test_derivatives_are_finite_differences(loss, t, target):
    t = np.where(np.abs(t - 1.0) < 1e-3, 2.0, t)  # away from the hinge's kink,
    t = np.where(np.abs(t - target) < 1e-3, target + 1e-2, t)  # and from that of absolute values
    step = 1e-5
    difference = (loss.value(t + step, target) - loss.value(t - step, target)) / (2.0 * step)
    assert loss.derivative(t, target) == pytest.approx(difference, rel=1e-6, abs=1e-7)


@margin_losses
@derandomized
@given(t=samples(5, 10.0), other=samples(5, 10.0))
def test_margin_losses_are_convex_and_never_increase(loss, t, other):
    slope = loss.derivative(t, t)
    assert (slope <= 0.0).all()
    # The subgradient inequality, at the kink too.
    for start in (t, np.ones(5)):
        tangent = loss.value(start, t) + loss.derivative(start, t) * (other - start)
        assert (loss.value(other, t) >= tangent - 1e-9).all()


@every_loss
@derandomized
@given(t=samples(6, 20.0), target=samples(6, 5.0), theta=samples(6, 3.0))
def test_multipliers_bound_the_mean_loss_from_below(loss, t, target, theta):
    # Fenchel and Young: mean loss(t) >= bound(theta) - theta @ t.
    theta = loss.clip(theta / 3.0)
    bound = loss.bound(theta, target)
    assert np.isfinite(bound)
    mean = float(np.mean(loss.value(t, target)))
    assert mean >= bound - theta @ t - 1e-12 * (1.0 + abs(bound) + np.abs(theta) @ np.abs(t))


@every_loss
@derandomized
@given(t=samples(6, 20.0), target=samples(6, 5.0))
def test_the_bound_is_met_where_the_multipliers_are_minus_the_slopes(loss, t, target):
    theta = -loss.derivative(t, target) / 6.0
    mean = float(np.mean(loss.value(t, target)))
    assert loss.bound(theta, target) - theta @ t == pytest.approx(mean, rel=1e-9, abs=1e-9)


@margin_losses
def test_multipliers_outside_the_domain_prove_nothing(loss):
    target = np.ones(4)
    assert loss.bound(np.array([0.1, -1e-3, 0.1, 0.1]), target) == -np.inf
    if loss.name != "squared_hinge":  # its conjugate is finite on the whole half-line
        assert loss.bound(np.array([0.1, 0.26, 0.1, 0.1]), target) == -np.inf


@every_loss
@derandomized
@given(theta=samples(7, 1e3))
def test_clipping_lands_in_the_domain_and_moves_nothing_that_is_there(loss, theta):
    clipped = loss.clip(theta)
    assert np.isfinite(loss.bound(clipped, np.ones(7)))
    assert np.array_equal(loss.clip(clipped), clipped)


def test_clipping_is_to_the_nearest_multiplier_of_the_domain():
    theta = np.array([-1.0, 0.1, 7.0, 0.25])
    assert loss_by_name("hinge").clip(theta).tolist() == [0.0, 0.1, 0.25, 0.25]
    assert loss_by_name("logistic").clip(theta).tolist() == [0.0, 0.1, 0.25, 0.25]
    assert loss_by_name("squared_hinge").clip(theta).tolist() == [0.0, 0.1, 7.0, 0.25]
    assert loss_by_name("squared").clip(theta).tolist() == theta.tolist()
    assert loss_by_name("absolute").clip(theta).tolist() == [-0.25, 0.1, 0.25, 0.25]
    assert loss_by_name("huber:0.25").clip(theta).tolist() == [-0.125, 0.1, 0.125, 0.125]


@every_loss
@derandomized
@given(theta=samples(5, 1.0), target=samples(5, 3.0), limit=st.floats(1e-3, 50.0))
def test_no_scale_of_a_grid_beats_the_best_scale(loss, theta, target, limit):
    theta = loss.clip(theta)
    best = loss.best_scale(theta, target, limit)
    assert 0.0 <= best <= limit
    found = loss.bound(best * theta, target)
    assert np.isfinite(found)
    for scale in limit * np.linspace(0.0, 1.0, 101):
        assert found >= loss.bound(scale * theta, target) - 1e-9 * (1.0 + abs(found))


@every_loss
def test_multipliers_of_zero_and_no_limit_give_the_bound_zero(loss):
    scale = loss.best_scale(np.zeros(3), np.ones(3), np.inf)
    assert np.isfinite(scale)
    assert loss.bound(scale * np.zeros(3), np.ones(3)) == 0.0


@every_loss
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_the_conic_form_has_the_mean_loss_as_its_value(loss, weights, seed):
    loss = weighted_loss(loss, weights)
    rng = np.random.default_rng(seed)
    n = 4
    t, target = 2.0 * rng.standard_normal(n), rng.standard_normal(n)
    block = loss.block(target)
    # Append t >= shift + lift v (or =) for these t and minimise over the block's own variables v.
    A = sparse.vstack([block.rows, block.lift], format="csc")
    b = np.concatenate([block.rhs, t - block.shift])
    last = Zero(n) if block.equality else NonNegative(n)
    program = ConicProgram(block.cost, A, b, (*block.cones, last), block.offset)
    solution = get_backend("clarabel").solve(program, Settings(tolerance=1e-9))
    value = program.q @ solution.x + program.offset
    assert value == pytest.approx(float(np.mean(loss.value(t, target))), rel=1e-6, abs=1e-7)


@every_loss
@derandomized
@given(t=samples(4, 20.0), target=samples(4, 5.0), theta=samples(4, 3.0), limit=st.floats(1e-3, 50.0))
def test_a_weight_is_a_sample_that_comes_several_times(loss, t, target, theta, limit):
    weighted = weighted_loss(loss, WEIGHTS)

    def again(values):
        return np.repeat(values, REPEATS)

    close = {"rel": 1e-12, "abs": 1e-12}
    assert np.mean(weighted.value(t, target)) == pytest.approx(np.mean(loss.value(again(t), again(target))), **close)
    slopes = again(weighted.derivative(t, target) / WEIGHTS)
    assert slopes == pytest.approx(loss.derivative(again(t), again(target)), **close)
    # The multiplier of a sample is shared by those that it stands for.
    theta, shared = weighted.clip(theta), loss.clip(again(theta / REPEATS))
    assert again(theta / REPEATS) == pytest.approx(shared, **close)
    assert weighted.bound(theta, target) == pytest.approx(loss.bound(shared, again(target)), rel=1e-9, abs=1e-9)
    scale, other = weighted.best_scale(theta, target, limit), loss.best_scale(shared, again(target), limit)
    best = loss.bound(other * shared, again(target))
    assert weighted.bound(scale * theta, target) == pytest.approx(best, rel=1e-9, abs=1e-9)


def test_some_samples_weigh_what_they_weigh_among_all():
    weighted = weighted_loss(loss_by_name("hinge"), WEIGHTS)
    some = loss_of_rows(weighted, np.array([1, 1, 3]))
    assert some.value(np.zeros(3), np.ones(3)).tolist() == WEIGHTS[[1, 1, 3]].tolist()
    assert weighted.value(np.zeros((4, 2)), np.ones((4, 2)))[:, 1].tolist() == WEIGHTS.tolist()
    assert weighted_loss(loss_by_name("hinge"), None) is loss_by_name("hinge")


target_losses = pytest.mark.parametrize("name", [*TARGET_LOSSES, "huber:0.3"])


@target_losses
@derandomized
@given(rho=arrays(np.float64, 6, elements=st.floats(0.0, 20.0)), up=samples(6, 0.2), down=samples(6, 0.2))
def test_multipliers_of_both_sides_bound_the_mean_loss_of_worst_residuals(name, rho, up, down):
    loss, target = loss_by_name(name), np.linspace(-1.0, 2.0, 6)
    reach = loss.clip(np.abs(up) + np.abs(down))
    share = reach / np.maximum(np.abs(up) + np.abs(down), 1e-300)
    theta = share * (np.abs(down) - np.abs(up))
    bound = loss.bound_apart(theta, reach, target)
    assert np.isfinite(bound)
    assert float(np.mean(loss.value(target + rho, target))) >= bound - theta @ target + reach @ rho - 1e-12
    best = loss.best_scale_apart(theta, reach, target, 3.0)
    found = loss.bound_apart(best * theta, best * reach, target)
    for scale in np.linspace(0.0, 3.0, 61):
        assert found >= loss.bound_apart(scale * theta, scale * reach, target) - 1e-12
    assert loss.bound_apart(theta, reach + 1e3, target) < 0.0


@target_losses
@derandomized
@given(target=samples(4, 5.0), up=samples(4, 0.3), down=samples(4, 0.3), limit=st.floats(1e-3, 50.0))
def test_a_weight_is_a_sample_that_comes_several_times_on_both_sides_too(name, target, up, down, limit):
    loss = loss_by_name(name)
    weighted, again = weighted_loss(loss, WEIGHTS), np.repeat(target, REPEATS)
    reach = weighted.clip(np.abs(up) + np.abs(down))
    theta = reach * np.cos(up)
    shared, far = (np.repeat(part / REPEATS, REPEATS) for part in (theta, reach))
    assert isinstance(weighted, TwoSidedLoss)
    assert isinstance(loss_of_rows(weighted, np.arange(2)), TwoSidedLoss)
    expected = loss.bound_apart(shared, far, again)
    assert weighted.bound_apart(theta, reach, target) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    expected = loss.best_scale_apart(shared, far, again, limit)
    assert weighted.best_scale_apart(theta, reach, target, limit) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert not isinstance(weighted_loss(loss_by_name("hinge"), WEIGHTS), TwoSidedLoss)


def test_huber_is_what_cvxpy_calls_so():
    cvxpy = pytest.importorskip("cvxpy")
    t = np.linspace(-4.0, 4.0, 33)
    for name, threshold in (("huber", 1.35), ("huber:0.5", 0.5)):
        loss = loss_by_name(name)
        assert loss.name == name
        assert loss.value(t, np.zeros(33)) == pytest.approx(cvxpy.huber(t, threshold).value)


@pytest.mark.parametrize("name", ["huber:", "huber:0", "huber:-1", "huber:nan", "huber:inf", "huber:a"])
def test_a_threshold_that_is_none_is_refused(name):
    with pytest.raises(InputError, match="expected a number above 0 after the colon"):
        loss_by_name(name)


def test_a_number_follows_only_losses_that_have_one():
    with pytest.raises(UnknownNameError, match="unknown loss 'squared:2'"):
        loss_by_name("squared:2")
    with pytest.raises(UnknownNameError, match="unknown loss 'huber:2'"):
        loss_by_name("huber:2", ("squared",))


def test_logistic_neither_overflows_nor_loses_its_tail():
    logistic = loss_by_name("logistic")
    t = np.array([-1e4, -800.0, 0.0, 800.0, 1e4])
    assert logistic.value(t, t) == pytest.approx([1e4, 800.0, np.log(2.0), 0.0, 0.0])
    assert logistic.derivative(t, t) == pytest.approx([-1.0, -1.0, -0.5, 0.0, 0.0])
    assert np.isfinite(logistic.bound(-logistic.derivative(t, t) / 5.0, t))
    assert logistic.value(np.array([50.0]), t[:1])[0] == pytest.approx(np.exp(-50.0), rel=1e-12)


def test_an_unknown_loss_is_refused_with_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"unknown loss 'hing'; known: .*logistic.* Did you mean 'hinge'\?"):
        loss_by_name("hing")
    with pytest.raises(UnknownNameError, match="unknown loss 'squared'; known: hinge, logistic"):
        loss_by_name("squared", ("hinge", "logistic"))


def test_the_logistic_bound_of_tiny_multipliers_keeps_its_digits():
    mpmath = pytest.importorskip("mpmath")
    theta = np.array([1.3e-11, 4.7e-12])
    with mpmath.workdps(40):
        p = [2 * mpmath.mpf(float(number)) for number in theta]
        exact = sum(-q * mpmath.log(q) - (1 - q) * mpmath.log(1 - q) for q in p) / 2
    assert loss_by_name("logistic").bound(theta, np.ones(2)) == pytest.approx(float(exact), rel=1e-14, abs=0.0)
