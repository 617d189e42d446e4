"""A weight of 2 is a row that comes twice, a weight of 0 one that is not there: for every family, loss and backend."""

from dataclasses import replace

import numpy as np
import pytest

from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    Batches,
    ConvexReLU,
    PolynomialNetwork,
    Settings,
    StandardSDP,
    StreamedSDP,
    solve,
)
from cvxrobust.backends.torch.checkpoint import fingerprint
from cvxrobust.core.errors import InputError
from cvxrobust.problems.relu.gates.slots import Slots

RNG = np.random.default_rng(5)
X = RNG.standard_normal((16, 2))
Y = np.where(X[:, 0] * X[:, 1] + 0.4 * RNG.standard_normal(16) > 0.0, 1.0, -1.0)
TARGETS = X[:, 0] ** 2 + 0.3 * RNG.standard_normal(16)
CLASSES = np.digitize(X[:, 0], [-0.6, 0.4])
RADII = RNG.uniform(0.0, 0.3, 16)
WEIGHTS = RNG.permutation(np.repeat([0.0, 1.0, 2.0, 3.0], 4))
ROWS = np.repeat(np.arange(16), WEIGHTS.astype(int))

LOSSES = ("hinge", "squared_hinge", "logistic")
TARGET_LOSSES = ("squared", "absolute", "huber:0.5")
CASES = {
    **{f"standard {loss}": (StandardSDP, Y, {"loss": loss}) for loss in LOSSES},
    **{f"standard {loss}": (StandardSDP, TARGETS, {"loss": loss}) for loss in TARGET_LOSSES},
    **{f"attacked {loss}": (AdversarialSDP, TARGETS, {"loss": loss, "radius": RADII}) for loss in TARGET_LOSSES},
    **{f"attacked {loss}": (AdversarialSDP, Y, {"loss": loss, "radius": RADII}) for loss in LOSSES},
    "three classes": (AdversarialSDP, CLASSES, {"radius": 0.1}),
    **{f"one-sided {loss}": (ConvexReLU, Y, {"loss": loss, "n_gates": 6}) for loss in LOSSES},
    "one-sided inf": (AdversarialReLU, Y, {"radius": RADII, "n_gates": 6}),
    "one-sided 2": (AdversarialReLU, Y, {"radius": 0.1, "norm": 2, "n_gates": 6, "bound": "mixed", "bias": True}),
    "cone 1": (AdversarialReLU, Y, {"radius": 0.02, "norm": 1, "n_gates": 4, "formulation": "cone", "resample": True}),
    "cone hinge": (ConvexReLU, Y, {"formulation": "cone", "n_gates": 6}),
    "cone squared": (ConvexReLU, TARGETS, {"loss": "squared", "n_gates": 6}),
    "gated squared": (AdversarialReLU, TARGETS, {"loss": "squared", "radius": RADII, "formulation": "gated"}),
    "gated absolute": (AdversarialReLU, TARGETS, {"loss": "absolute", "radius": RADII, "formulation": "gated"}),
    "gated logistic": (ConvexReLU, Y, {"loss": "logistic", "formulation": "gated", "n_gates": 6}),
    "vector-output": (ConvexReLU, CLASSES, {"loss": "squared", "multiclass": "vector-output", "n_gates": 5}),
    "vector-output huber": (ConvexReLU, CLASSES, {"loss": "huber:0.7", "multiclass": "vector-output", "n_gates": 5}),
}
TWO_SIDED = {f"attacked {loss}" for loss in TARGET_LOSSES}
LEFT_OUT = {
    "ipm": {"three classes", "gated logistic", "one-sided logistic", "cone hinge", "attacked huber:0.5"},
    "torch": {"three classes", "standard squared_hinge", "attacked squared_hinge", "attacked logistic", "cone hinge",
              "one-sided squared_hinge", "one-sided logistic", "gated logistic", "one-sided 2", *TWO_SIDED},
}  # fmt: skip
"""Cases that go the way of others, or that are not read; a class at a time goes that of two."""

STRUCTURED = [(case, backend) for backend, others in LEFT_OUT.items() for case in CASES if case not in others]
every_case = pytest.mark.parametrize("case", CASES)


def both(case):
    """The problem with weights, and with rows that come several times."""
    kind, labels, further = CASES[case]
    repeated = {name: value[ROWS] if np.ndim(value) else value for name, value in further.items()}
    return kind(X, labels, beta=0.02, sample_weight=WEIGHTS, **further), kind(
        X[ROWS], labels[ROWS], beta=0.02, **repeated
    )


def some_networks(weighted, repeated):
    """A network that is no optimum of either."""
    rng = np.random.default_rng(0)
    if hasattr(weighted, "activation"):
        u = rng.standard_normal((4, 2))
        alpha = rng.uniform(-0.2, 0.2, 4)
        single = PolynomialNetwork(u / np.linalg.norm(u, axis=1)[:, None], alpha, weighted.activation)
        return [problem.combine([single] * len(problem.parts)) for problem in (weighted, repeated)]
    U = 0.2 * rng.standard_normal(weighted.program.shape)
    return [problem.network_at(U) for problem in (weighted, repeated)]


@every_case
def test_networks_and_multipliers_are_worth_the_same(case):
    weighted, repeated = both(case)
    network, again = some_networks(weighted, repeated)
    assert weighted.objective(network) == pytest.approx(repeated.objective(again), rel=1e-12)
    assert weighted.at_once().upper == pytest.approx(repeated.at_once().upper, rel=1e-12)
    assert weighted.at_once().lower == pytest.approx(repeated.at_once().lower, rel=1e-9)
    if hasattr(weighted, "own_objective"):
        own, other = weighted.own_objective(network), repeated.own_objective(again)
        assert own.upper == pytest.approx(other.upper, rel=1e-9)
    for part, twin, one, other in zip(
        weighted.parts, repeated.parts, weighted.separate(network), repeated.separate(again), strict=True
    ):
        bound = part.lower_bound(part.network_multipliers(one))
        assert bound > 0.0
        assert bound == pytest.approx(twin.lower_bound(twin.network_multipliers(other)), rel=1e-9)


@every_case
def test_optima_are_the_same(case):
    found, expected = (solve(one, "clarabel", settings=Settings(tolerance=1e-7)).certificate for one in both(case))
    assert found.relative_gap <= 1e-7
    assert expected.relative_gap <= 1e-5  # inequalities that come twice are hard on a solver
    assert found.lower <= expected.upper
    assert expected.lower <= found.upper


@pytest.mark.parametrize(("case", "backend"), STRUCTURED)
def test_solvers_that_read_the_structure_heed_weights(case, backend):
    weighted, repeated = both(case)
    found = solve(weighted, backend, settings=Settings(tolerance=1e-4))
    assert found.certificate.relative_gap <= 1e-4
    assert repeated.objective(found.network) == pytest.approx(found.certificate.upper, rel=1e-9)


@pytest.mark.parametrize(
    "case", ["standard logistic", "attacked hinge", "attacked huber:0.5", "one-sided inf", "gated squared"]
)
def test_the_readable_reference_has_the_same_optimum(case):
    weighted, repeated = both(case)
    bounds = solve(repeated, "clarabel", settings=Settings(tolerance=1e-7)).certificate
    assert weighted.to_cvxpy().solve(solver="CLARABEL") == pytest.approx(bounds.upper, rel=1e-6)


@pytest.mark.parametrize("case", ["attacked logistic", "attacked absolute"])
def test_masters_heed_weights(case):
    found = solve(both(case)[0], "clarabel", "cutting-set", settings=Settings(tolerance=1e-5))
    assert found.method == "cutting-set"
    assert found.certificate.relative_gap <= 1e-5


@pytest.mark.parametrize("case", ["attacked hinge", "one-sided inf", "cone 1", "vector-output"])
def test_rows_of_weight_zero_are_not_there(case):
    kind, labels, further = CASES[case]
    kept = WEIGHTS > 0.0
    fewer = {name: value[kept] if np.ndim(value) else value for name, value in further.items()}
    without = kind(X, labels, sample_weight=np.where(kept, 2.5, 0.0), **further)
    assert without.sample_weight is None
    assert fingerprint(without.to_structured()) == fingerprint(kind(X[kept], labels[kept], **fewer).to_structured())


def test_gates_given_for_all_rows_are_those_of_the_rows_that_count():
    patterns = np.random.default_rng(0).random((16, 5)) > 0.5
    weighted = ConvexReLU(X, Y, patterns, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(weighted.gate_set.patterns, patterns[WEIGHTS > 0.0])
    pair = ConvexReLU(X, Y, (patterns, ~patterns), sample_weight=WEIGHTS)
    assert pair.program.gates.shape == (12, 10)
    slots = Slots(np.hstack([patterns, patterns]), np.repeat([1.0, -1.0], 5))
    given = ConvexReLU(X, Y, slots=slots, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(given.program.gates, slots.gates[WEIGHTS > 0.0])
    with pytest.raises(InputError, match=r"patterns is an array of shape \(15, 5\); expected \(16, K\)"):
        ConvexReLU(X, Y, patterns[1:], sample_weight=WEIGHTS)


@pytest.mark.parametrize(
    "further", [{}, {"resample": True, "formulation": "cone", "radius": 0.05}, {"patterns": "all"}]
)
def test_rows_that_come_again_change_no_gates(further):
    rng = np.random.default_rng(2)
    few, labels = rng.standard_normal((60, 1)), np.where(rng.random(60) > 0.5, 1.0, -1.0)
    few = np.hstack([few, 1.0 + 0.1 * rng.standard_normal((60, 1))])[: 8 if "patterns" in further else 60]
    again = np.repeat(np.arange(len(few)), rng.integers(1, 30, len(few)))
    kind = AdversarialReLU if "radius" in further else ConvexReLU
    once, often = kind(few, labels[: len(few)], **further), kind(few[again], labels[again], **further)
    assert once.n_gates == often.n_gates
    np.testing.assert_array_equal(once.gate_set.vectors, often.gate_set.vectors)


def test_a_problem_made_from_another_keeps_its_weights():
    weighted = AdversarialReLU(X, Y, 0.1, n_gates=4, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(replace(weighted, beta=0.5).sample_weight, weighted.sample_weight)
    result = solve(replace(weighted, regate=2), "clarabel", settings=Settings(tolerance=1e-4))
    np.testing.assert_array_equal(result.problem.sample_weight, weighted.sample_weight)
    assert len(result.network.metadata["weights_fingerprint"]) == 32


@pytest.mark.parametrize("backend", ["ipm", "torch"])
def test_streamed_rows_have_weights_and_those_of_weight_zero_are_passed_over(backend):
    batches = Batches([(X[rows], Y[rows]) for rows in np.split(np.arange(16), [1, 5, 9])])
    weights = np.where(np.arange(16) < 5, 0.0, WEIGHTS)
    streamed = StreamedSDP(batches, RADII, 0.02, sample_weight=weights)
    memory = AdversarialSDP(X, Y, RADII, 0.02, sample_weight=weights)
    np.testing.assert_array_equal(np.vstack([block for _, block in streamed.X.blocks()]), memory.X)
    found = solve(streamed, backend, settings=Settings(tolerance=1e-3))
    assert found.certificate.relative_gap <= 1e-3
    assert found.certificate.upper == pytest.approx(memory.objective(found.network), rel=1e-12)


@pytest.mark.parametrize("options", [{"batch": 5, "epochs": 3}, {"dtype": "float32"}], ids=str)
def test_other_ways_of_first_order_heed_weights(options):
    dtype = options.pop("dtype", "float64")
    settings = Settings(tolerance=1e-4, options=options, dtype=dtype)
    assert solve(both("attacked hinge")[0], "torch", settings=settings).certificate.relative_gap <= 1e-4


def test_one_sample_may_outweigh_all_others():
    rng = np.random.default_rng(3)
    data, labels = rng.standard_normal((40, 3)), np.where(rng.random(40) > 0.5, 1.0, -1.0)
    heavy = AdversarialSDP(data, labels, 0.3, 0.02, sample_weight=np.where(np.arange(40) == 3, 1e4, 1.0))
    found = solve(heavy, "ipm", settings=Settings(tolerance=1e-4))
    assert found.certificate.relative_gap <= 1e-4
    assert found.iterations <= 35  # 54 with barriers that do not weigh what their samples do


def test_inputs_in_raw_units_have_weights_too():
    raw = StandardSDP(X * [1e3, 1e-2] + [0.0, 5.0], Y, sample_weight=WEIGHTS)
    assert solve(raw, "torch", settings=Settings(tolerance=1e-5)).certificate.relative_gap <= 1e-5


@pytest.mark.parametrize("kind", [StandardSDP, ConvexReLU])
def test_balanced_classes_are_sample_weights(kind):
    labels = np.where(np.arange(16) < 4, "rare", "usual")
    weights = np.where(np.arange(16) < 4, 2.0, 2 / 3)
    balanced = kind(X, labels, class_weight="balanced")
    assert balanced.sample_weight == pytest.approx(weights, rel=1e-15)
    assert kind(X, labels, class_weight={"rare": 3.0}).sample_weight == pytest.approx(weights, rel=1e-15)
    with pytest.raises(InputError, match="fits real targets, which have no classes; pass sample_weight"):
        kind(X, TARGETS, loss="squared", class_weight="balanced")


@pytest.mark.parametrize("make", [
    lambda **k: StandardSDP(X, Y, **k), lambda **k: AdversarialSDP(X, Y, 0.1, **k), lambda **k: ConvexReLU(X, Y, **k),
    lambda **k: AdversarialReLU(X, Y, 0.1, **k), lambda **k: StreamedSDP(Batches([(X, Y)]), **k),
], ids=["standard", "adversarial", "relu", "adversarial-relu", "streamed"])  # fmt: skip
@pytest.mark.parametrize("given", [{"sample_weight": -WEIGHTS}, {"sample_weight": WEIGHTS[1:]}, {"class_weight": "b"}])
def test_unusable_weights_are_refused_by_every_family(make, given):
    with pytest.raises(InputError, match=r"sample_weight holds -|sample_weight has shape|unknown class_weight"):
        make(**given)
