"""Programmes in the axes of their attacks say what the programmes that were given say."""

from dataclasses import replace

import numpy as np
import pytest
from random_relu import shaped_recipe

from cvxrobust.core import Ellipsoid, Monitor, Solution, Termination
from cvxrobust.core.kit import in_own_axes
from cvxrobust.core.kit.own_axes import OwnAxes
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import gated_bound, network_multipliers

numbers = pytest.mark.parametrize("number", range(36))


def case(number):
    """A programme with a shape, and a point of it."""
    program = shaped_recipe(number).problem().program
    return program, 0.3 * np.random.default_rng(number).standard_normal(program.shape)


@numbers
def test_values_and_bounds_are_the_same_there(number):
    program, U = case(number)
    if program.attack.ellipsoid is None:
        return
    axes = OwnAxes.of(program)
    own, V = axes.program, axes.forth(U)
    assert own.attackable == program.attack.dimension == own.attack.dimension
    np.testing.assert_allclose(axes.back(V), U, atol=1e-14)
    assert own.attack.dual_norm(V) * own.radius.max() == pytest.approx(
        program.attack.dual_norm(U) * program.radius.max(), rel=1e-12, abs=1e-14
    )
    np.testing.assert_allclose(gated.values(own, V), gated.values(program, U), atol=1e-12)
    multipliers = network_multipliers(own, V)
    given = axes.given(Solution(Termination.CONVERGED, multipliers=multipliers)).multipliers
    bounds = gated_bound(own, multipliers), gated_bound(program, given)
    assert bounds[0].value == pytest.approx(bounds[1].value, rel=1e-10)
    np.testing.assert_allclose(bounds[0].violations, bounds[1].violations, atol=1e-12)


@numbers
def test_networks_come_back_as_they_went(number):
    program, U = case(number)
    if program.attack.ellipsoid is None or not program.rules.signed_slots:
        return
    axes, network = OwnAxes.of(program), gated.to_network(program, U)
    there = axes.network(network)
    back = axes.given(Solution(Termination.CONVERGED, network=there)).network
    np.testing.assert_allclose(back.u, network.u, atol=1e-14)
    d = program.X.shape[1] - int(program.bias)
    outputs = there.decision_function(axes.program.X[:, :d]), network.decision_function(program.X[:, :d])
    np.testing.assert_allclose(*outputs, atol=1e-12)


def test_scales_that_are_all_alike_are_a_radius_and_those_of_zero_an_input_that_nobody_touches():
    program, _ = case(0)
    d = program.attackable
    scale = np.where(np.arange(d) == 0, 0.0, 0.5)
    masked = replace(program, attack=replace(program.attack, ellipsoid=Ellipsoid.of(d, scale=scale)))
    own = OwnAxes.of(masked).program
    assert own.attack.shape == "ball"
    assert own.attackable == d - 1
    assert np.array_equal(own.radius, 0.5 * program.radius)
    assert np.array_equal(own.X[:, d - 1], program.X[:, 0])


def test_what_is_reported_and_returned_is_translated_and_balls_are_left_alone():
    program, U = case(2)
    assert program.attack.ellipsoid.directions is not None or program.attack.ellipsoid.scale is not None
    start, heard = gated.to_network(program, U), []

    def solve(own, monitor, near):
        answer = Solution(Termination.CONVERGED, network=near, multipliers=network_multipliers(own, 0.0 * U))
        assert monitor.report(1.0, 0.5, lambda: answer)
        assert not monitor.report(0.5, 1.0)
        monitor.stop()
        return answer

    def hear(upper, lower, iterate):
        heard.append((upper, lower, iterate and iterate().network.u))
        return lower <= upper

    monitor = Monitor(hear=hear)
    found = in_own_axes(program, solve, monitor, start)
    assert monitor.stopped
    np.testing.assert_allclose(found.network.u, start.u, atol=1e-14)
    np.testing.assert_allclose(heard[0][2], start.u, atol=1e-14)
    assert heard[1] == (0.5, 1.0, None)
    ball = replace(program, attack=replace(program.attack, ellipsoid=None))
    asked = []
    in_own_axes(ball, lambda *given: asked.append(given), monitor, start)
    assert asked == [(ball, monitor, start)]
