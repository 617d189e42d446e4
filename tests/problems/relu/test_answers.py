"""What ReLU problems make of answers: networks, data of any form, and backends that lie."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakes import Fake
from random_relu import LOSSES, random_recipe
from relu_cases import ROUNDING, SETTINGS, certified, clear_gates, data, optimum

from cvxrobust import (
    AdversarialReLU,
    ConvexReLU,
    Quality,
    ReLUNetwork,
    Settings,
    solve,
)
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import GatedMultipliers
from cvxrobust.problems.relu.pruning import pruned

# -- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formulation", ["cone", "one-sided"])
@pytest.mark.parametrize("loss", LOSSES)
def test_no_more_neurons_are_kept_than_samples_allow(loss, formulation):
    X, y = data(0, n=5, d=3)
    if (loss, formulation) == ("squared", "one-sided"):
        return
    problem = ConvexReLU(X, y, "all", loss=loss, formulation=formulation, beta=0.01)
    program, rng = problem.program, np.random.default_rng(0)
    result = solve(problem, backend="clarabel", settings=SETTINGS)
    assert result.network.n_neurons <= 6
    # A mixture of all feasible neurons is pruned as well.
    one = problem.point(result.network)
    U = one + 1e-3 * sum(
        problem.point(solve(replace(problem, y=rng.permutation(y)), settings=Settings(tolerance=1e-3)).network)
        for _ in range(6)
    )
    active = (np.abs(U).max(axis=(1, 2)) > 0.0).sum()
    assert active > 6
    fewer = pruned(program, U)
    assert (np.abs(fewer).max(axis=(1, 2)) > 0.0).sum() <= 6
    assert gated.objective(program, fewer) <= gated.objective(program, U) * (1 + 1e-9)


def test_negligible_neurons_are_pruned_under_attack_and_others_are_not():
    X, y = data(n=10)
    problem = AdversarialReLU(X, y, 0.1, n_gates=6)
    rng = np.random.default_rng(0)
    U = rng.standard_normal(problem.program.shape)
    U[3] *= 1e-12
    fewer = pruned(problem.program, U)
    assert (fewer[3] == 0.0).all()
    np.testing.assert_array_equal(np.delete(fewer, 3, axis=0), np.delete(U, 3, axis=0))


def test_networks_are_saved_with_their_slots(tmp_path):
    problem, result = certified(0)
    result.network.save(tmp_path / "network.npz")
    again = ReLUNetwork.load(tmp_path / "network.npz")
    assert again.slots == result.network.slots
    assert again.slots is not None
    assert problem.objective(again) == result.certificate.upper


def test_a_warm_start_gives_the_first_bound():
    problem, result = certified(0)
    heard = []
    again = solve(
        problem, backend="clarabel", warm_start=result, settings=SETTINGS, callback=lambda *bounds: heard.append(bounds)
    )
    assert heard[0][1] == pytest.approx(result.certificate.upper, rel=ROUNDING)
    assert again.certificate.upper <= result.certificate.upper
    from_network = solve(problem, backend="clarabel", warm_start=result.network, settings=SETTINGS)
    assert from_network.certificate.upper <= result.certificate.upper


# -- borders ----------------------------------------------------------------------------------------------------------


def forms_of(X, y):
    yield pd.DataFrame(X), pd.Series(y)
    yield X.astype(np.float32), y.astype(np.int8)
    yield np.asfortranarray(X), list(y)
    yield X.tolist(), y.astype(np.float32)
    frozen = X.copy(), y.copy()
    for part in frozen:
        part.setflags(write=False)
    yield frozen


@pytest.mark.parametrize("formulation", ["cone", "one-sided", "gated"])
def test_the_form_of_the_data_does_not_matter_and_nothing_is_modified(formulation):
    X, y = data(n=12)
    X = X.astype(np.float32).astype(np.float64)
    gates = clear_gates(X, keep=4)
    patterns = np.asfortranarray(X @ gates >= 0.0)
    reference = AdversarialReLU(X, y, 0.1, patterns, formulation=formulation).to_conic()
    for inputs, labels in forms_of(X, y):
        before = pd.DataFrame(inputs).copy(), pd.Series(labels).copy(), patterns.copy()
        radius = np.full(12, 0.1)
        problem = AdversarialReLU(inputs, labels, radius, patterns, formulation=formulation)
        program = problem.to_conic()
        for name in ("q", "b"):
            np.testing.assert_array_equal(getattr(program, name), getattr(reference, name))
        assert (program.A != reference.A).nnz == 0
        assert program.cones == reference.cones
        solve(problem, backend="clarabel", settings=Settings(tolerance=1e-3))
        pd.testing.assert_frame_equal(pd.DataFrame(inputs), before[0])
        pd.testing.assert_series_equal(pd.Series(labels), before[1])
        np.testing.assert_array_equal(patterns, before[2])
        assert (radius == 0.1).all()


@pytest.mark.parametrize("number", range(0, 40, 2))
def test_reordering_samples_changes_nothing(number):
    recipe = random_recipe(number)
    if recipe.source == "sampled":
        recipe = replace(recipe, source="patterns")
    order = np.random.default_rng(number).permutation(len(recipe.X))
    radius = recipe.radius if np.ndim(recipe.radius) == 0 else recipe.radius[order]
    first = optimum(recipe.problem())
    second = optimum(replace(recipe, X=recipe.X[order], y=recipe.y[order], radius=radius).problem())
    assert first.upper == pytest.approx(second.upper, rel=2e-6, abs=1e-8)


@pytest.mark.parametrize("formulation", ["cone", "one-sided", "gated"])
@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_a_first_order_solver_is_certified_too(loss, formulation):
    X, y = data(n=14)
    problem = AdversarialReLU(X, y, 0.05, norm=2, gates=clear_gates(X, keep=5), loss=loss, formulation=formulation)
    result = solve(problem, backend="scs", settings=Settings(tolerance=1e-3, time_limit=20))
    assert result.quality is Quality.CERTIFIED
    reference = optimum(problem)
    assert result.certificate.lower <= reference.upper
    assert result.certificate.upper >= reference.lower


def honest(program, settings):
    return get_backend("clarabel").solve(program, settings)


def noise(program, settings):
    rng = np.random.default_rng(0)
    return Solution(Termination.CONVERGED, x=rng.standard_normal(program.q.size), y=rng.standard_normal(program.b.size))


def filled(value):
    return lambda program, _: Solution(
        Termination.CONVERGED, x=np.full(program.q.size, value), y=np.full(program.b.size, value)
    )


def mis_scaled(program, settings):
    found = honest(program, settings)
    return replace(found, x=2.0 * found.x, y=3.0 * found.y)


def stained(program, settings):
    found = honest(program, settings)
    rng = np.random.default_rng(1)
    return replace(found, y=np.where(rng.random(found.y.size) < 0.3, -1e200, found.y))


def every_third(found):
    return replace(found, y=np.where(np.arange(found.y.size) % 3, found.y, 1e200))


LIARS = {
    "noise": noise,
    "nan": filled(np.nan),
    "1e200": filled(1e200),
    "-1e200": filled(-1e200),
    "1e-200": filled(1e-200),
    "mis-scaled": mis_scaled,
    "stained": stained,
    "spotted": lambda *given: every_third(stained(*given)),
    "nothing": lambda *_: Solution(Termination.CONVERGED),
    "crash": lambda *_: 1 / 0,
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("liar", LIARS)
@pytest.mark.parametrize("number", [1, 15, 24, 30, 52, 43])
def test_a_backend_that_lies_never_gets_a_false_certificate(number, liar):
    problem, result = certified(number)
    found = solve(problem, backend=Fake(LIARS[liar]), settings=Settings(max_iterations=5))
    assert found.certificate.lower <= result.certificate.upper * (1 + 1e-9)
    assert found.certificate.upper >= result.certificate.lower * (1 - 1e-9)
    assert problem.objective(found.network) == pytest.approx(found.certificate.upper, rel=ROUNDING)


def structured_answers():
    z = np.zeros
    yield "wrong shapes", {"multipliers": GatedMultipliers(z(3), z((2, 2)), z(5), z(1))}
    yield "no arrays", {"multipliers": GatedMultipliers(None, None, None, None)}
    yield "no multipliers", {"multipliers": "hello"}
    yield "other inputs", {"network": ReLUNetwork(np.ones((2, 9)), np.ones(2))}
    yield "other outputs", {"network": ReLUNetwork(np.ones((2, 3)), np.ones((2, 4)))}
    yield "slots out of range", {"network": ReLUNetwork(np.ones((2, 3)), np.ones(2), slots=(99, -1))}
    yield "no network", {"network": "hello"}
    cancelling = np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])
    yield "neurons that cancel", {"network": ReLUNetwork(cancelling, -np.ones(2), slots=(9, 9))}
    yield "slots of the wrong sign", {"network": ReLUNetwork(cancelling, -np.ones(2), slots=(0, 1))}


@pytest.mark.parametrize(("name", "answer"), list(structured_answers()), ids=[name for name, _ in structured_answers()])
def test_an_answer_to_the_structured_programme_may_be_anything(name, answer):
    problem = ConvexReLU(*data(n=12), n_gates=8)
    true = optimum(problem)
    backend = Fake(lambda *_: Solution(Termination.CONVERGED, **answer), structured=frozenset({"gated"}))
    found = solve(problem, backend=backend)
    assert found.certificate.lower <= true.upper
    assert found.certificate.upper >= true.lower
    assert problem.own_objective(found.network).upper <= found.certificate.upper * (1 + ROUNDING)


def test_a_start_that_leaves_its_cones_does_not_hide_the_trivial_network():
    problem = ConvexReLU(*data(n=12), n_gates=8, formulation="cone")
    rng = np.random.default_rng(0)
    start = ReLUNetwork(rng.standard_normal((4, 3)), rng.standard_normal(4))
    assert problem.objective(start) == np.inf
    dead = Fake(lambda *_: Solution(Termination.ERROR))
    found = solve(problem, backend=dead, warm_start=start)
    assert found.certificate.upper == problem.objective(problem.trivial_network())
    assert problem.objective(found.network) == found.certificate.upper


def test_a_network_without_neurons_is_not_attacked(monkeypatch):
    monkeypatch.setattr("cvxrobust.core.attacks.relu_bounds.attack", None)
    X, y = data(n=12)
    for problem in (AdversarialReLU(X, y, radius=0.1), AdversarialReLU(X, X[:, :2], radius=0.1, loss="squared")):
        own = problem.own_objective(problem.trivial_network())
        assert own.lower == own.upper == problem.objective(problem.trivial_network())
