"""Networks whose neurons are spread evenly over a complement: the answers of all the neurons that are meant."""

import json
import pickle
import tracemalloc

import numpy as np
import pytest
import torch

import cvxrobust
from cvxrobust import InputError, PolynomialNetwork, Standardizer
from cvxrobust.core.attacks.complement import Complement
from cvxrobust.core.attacks.ellipsoid import Ellipsoid

ACTIVATIONS = ((0.09, 0.5, 0.47), (1.0, 0.0, -0.2), (-0.4, 0.3, 0.1))


def orthonormal(rng, d, k):
    return np.linalg.qr(rng.standard_normal((d, k)))[0]


def spread_network(seed, d, k, outputs=1, m=4, **fields):
    rng = np.random.default_rng([seed, d, k, outputs])
    p = rng.standard_normal((m, k))
    p *= rng.uniform(0.0, 1.0, (m, 1)) / np.linalg.norm(p, axis=1, keepdims=True)
    basis = orthonormal(rng, d, k)
    alpha = rng.standard_normal((m, outputs) if outputs > 1 else m)
    fields.setdefault("activation", ACTIVATIONS[seed % 3])
    return PolynomialNetwork(p @ basis.T, alpha, complement=Complement(basis), **fields)


def in_unit_neurons(network):
    """The same network: every neuron leans by as much in every direction of an orthonormal basis, to both sides."""
    V = network.complement.basis
    k = V.shape[1]
    normals = np.linalg.qr(V, mode="complete")[0][:, k:]
    lack = np.sqrt(np.maximum(1.0 - (network.u**2).sum(axis=1), 0.0))
    leaning = [network.u + side * lack[:, None] * normal for normal in normals.T for side in (1.0, -1.0)]
    alpha = np.concatenate([network.alpha / len(leaning)] * len(leaning))
    return network.replace(u=np.vstack(leaning), alpha=alpha, complement=None)


def inputs_of(network, seed=0):
    """Inputs anywhere, in the subspace, in the complement, and none."""
    rng = np.random.default_rng(seed)
    V = network.complement.basis
    X = 2.0 * rng.standard_normal((8, network.n_features))
    X[2:4] = (X[2:4] @ V) @ V.T
    X[4] -= (X[4] @ V) @ V.T
    X[5] = 0.0
    return X


CASES = [(seed, d, k) for seed in range(3) for d, k in ((2, 1), (3, 1), (3, 2), (7, 3), (7, 6))]


@pytest.mark.parametrize(("seed", "d", "k"), CASES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_all_answers_are_those_of_the_neurons_that_are_meant(seed, d, k, outputs):
    network = spread_network(seed, d, k, outputs)
    meant, X = in_unit_neurons(network), inputs_of(network)
    assert network.decision_function(X) == pytest.approx(meant.decision_function(X), rel=1e-12, abs=1e-12)
    assert network.matrices() == pytest.approx(meant.matrices(), rel=1e-12, abs=1e-12)
    assert network.penalty == pytest.approx(meant.penalty, rel=1e-14)
    y = meant.predict(X)
    y[::3] = -y[::3] if outputs == 1 else (y[::3] + 1) % 3
    for radius in (0.0, 0.4, np.linspace(0.0, 3.0, 8)):
        own, other = network.worst_case(X, y, radius), meant.worst_case(X, y, radius)
        assert own.lower == pytest.approx(other.lower, rel=1e-10, abs=1e-10)
        assert own.margins == pytest.approx(own.lower, rel=1e-10, abs=1e-10)
        assert network.worst_margins(X, y, radius) == pytest.approx(own.lower, rel=1e-14)
        # The points are attacks, and as bad as is said.
        assert (np.linalg.norm(own.points - X, axis=1) <= np.asarray(radius) * (1 + 1e-12)).all()
        assert meant.margins(own.points, y) == pytest.approx(own.margins, rel=1e-9, abs=1e-9)
    assert network.distance_to_boundary(X) == pytest.approx(meant.distance_to_boundary(X), rel=1e-7, abs=1e-9)
    radii = [0.0, 0.1, 0.5, 1.0]
    assert network.robust_accuracy(X, y, radii) == pytest.approx(meant.robust_accuracy(X, y, radii))
    assert network.certified_radius(X) == pytest.approx(network.distance_to_boundary(X))


@pytest.mark.parametrize(("seed", "d", "k"), [case for case in CASES if case[1] < 4])
def test_no_attack_is_worse_than_the_worst_case(seed, d, k):
    network = spread_network(seed, d, k)
    X, y = inputs_of(network), np.tile([1.0, -1.0], 4)
    rng = np.random.default_rng(1)
    attacks = rng.standard_normal((4000, d))
    attacks *= rng.uniform(0.0, 1.0, (4000, 1)) ** 0.2 / np.linalg.norm(attacks, axis=1, keepdims=True)
    for radius in (0.3, 2.0):
        lower = network.worst_margins(X, y, radius)
        for x, label, bound in zip(X, y, lower, strict=True):
            found = label * network.decision_function(x + radius * attacks)
            assert bound <= found.min() + 1e-12
            assert found.min() <= bound + 0.2 * (1.0 + abs(bound))


@pytest.mark.parametrize("shape", ["scale", "mask", "directions"])
def test_ellipsoids_see_them_as_a_whole(shape):
    rng = np.random.default_rng(0)
    given = {
        "scale": {"scale": np.linspace(0.2, 2.0, 6)},
        "mask": {"scale": np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])},
        "directions": {"directions": rng.standard_normal((6, 2))},
    }[shape]
    for seed in range(3):
        network = spread_network(seed, 6, 2, ellipsoid=Ellipsoid.of(6, **given))
        meant, X, y = in_unit_neurons(network), inputs_of(network), np.tile([1.0, -1.0], 4)
        own, other = network.worst_case(X, y, 0.7), meant.worst_case(X, y, 0.7)
        assert own.lower == pytest.approx(other.lower, rel=1e-10, abs=1e-10)
        assert meant.margins(own.points, y) == pytest.approx(own.margins, rel=1e-9, abs=1e-9)
        assert network.distance_to_boundary(X) == pytest.approx(meant.distance_to_boundary(X), rel=1e-7, abs=1e-9)


def test_an_ellipsoid_of_very_many_inputs_is_refused():
    d = 6_000
    network = spread_network(0, d, 2, ellipsoid=Ellipsoid.of(d, scale=np.linspace(0.5, 1.0, d)))
    with pytest.raises(InputError, match=r"spread evenly over directions of 6000 inputs.*ellipsoid=None"):
        network.worst_margins(np.ones((1, d)), [1.0], 0.1)
    assert np.isfinite(network.replace(ellipsoid=None).worst_margins(np.ones((1, d)), [1.0], 0.1)).all()


def test_large_inputs_are_judged_with_all_their_digits():
    # Beyond some size the rounding allowance follows every neuron.
    network = spread_network(0, 9, 3)
    meant, X, y = in_unit_neurons(network), 1e5 * inputs_of(network), np.tile([1.0, -1.0], 4)
    for radius in (0.0, 1.0):
        own, other = network.worst_margins(X, y, radius), meant.worst_margins(X, y, radius)
        assert own == pytest.approx(other, rel=1e-9)
        exact = y * meant.decision_function(X)
        assert radius > 0.0 or (own <= exact + 1e-12 * np.abs(exact)).all()


def test_a_standardizer_comes_before_the_complement():
    network, rng = spread_network(1, 5, 2, 3), np.random.default_rng(0)
    standardizer = Standardizer(rng.standard_normal(5), rng.uniform(0.5, 2.0, 5))
    X = inputs_of(network)
    raw = standardizer.mean + standardizer.scale * X
    whole, y = network.replace(standardizer=standardizer), network.predict(X)
    assert whole.decision_function(raw) == pytest.approx(network.decision_function(X), rel=1e-12, abs=1e-12)
    assert whole.distance_to_boundary(raw) == pytest.approx(network.distance_to_boundary(X), rel=1e-9, abs=1e-12)
    moved = whole.worst_case(raw, y, 0.5)
    assert whole.margins(moved.points, y) == pytest.approx(moved.margins, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_torch_module_says_the_same(outputs):
    network = spread_network(0, 5, 2, outputs)
    X = inputs_of(network)
    for one in (network, network.replace(standardizer=Standardizer(np.ones(5), np.full(5, 2.0)))):
        found = one.to_torch()(torch.tensor(X))
        assert found.detach().numpy() == pytest.approx(one.decision_function(X), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("outputs", [1, 3])
def test_files_and_pickles_hold_the_complement(tmp_path, outputs):
    network = spread_network(2, 6, 2, outputs, metadata={"note": "wide"})
    X, y, path = inputs_of(network), np.ones(8), tmp_path / "network.npz"
    network.save(path)
    # Whoever knows format 2 alone would leave out what the neurons lack.
    with np.load(path) as stored:
        assert json.loads(str(stored["header"]))["format"] == 3
    for again in (cvxrobust.load(path), pickle.loads(pickle.dumps(network))):
        assert np.array_equal(again.decision_function(X), network.decision_function(X))
        assert np.array_equal(again.worst_margins(X, y, 0.3), network.worst_margins(X, y, 0.3))
    with_shape = network.replace(ellipsoid=Ellipsoid.of(6, scale=np.arange(6.0)))
    with_shape.save(path)
    assert np.array_equal(cvxrobust.load(path).worst_margins(X, y, 0.3), with_shape.worst_margins(X, y, 0.3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"subspace": np.eye(5)[:, :2]}, r"subspace has shape \(5, 2\); expected 6 rows"),
        ({"subspace": np.eye(6)}, r"shape \(6, 6\); expected fewer columns than rows"),
        ({"subspace": np.ones((6, 2))}, "columns of the basis are not orthonormal"),
        ({"subspace": np.eye(6)[:, :2]}, "outside the subspace"),
        ({"u": 4.0}, "longer than 1|no longer than 1"),
    ],
)
def test_a_stored_complement_that_is_none_is_refused(tmp_path, change, said):
    path = tmp_path / "network.npz"
    spread_network(2, 6, 2).save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if "u" in change:
        change = {"u": change["u"] * arrays["u"]}
    np.savez(path, **(arrays | change))
    with pytest.raises(InputError, match=said):
        cvxrobust.load(path)


def test_a_complement_of_other_inputs_is_refused():
    network = spread_network(0, 5, 2)
    with pytest.raises(InputError, match="the complement has 4 inputs; expected 5"):
        network.replace(complement=Complement(np.eye(4)[:, :1]))


def test_no_matrix_of_the_order_of_the_inputs_is_ever_held(tmp_path):
    d, k, n = 200_000, 4, 3
    rng = np.random.default_rng(0)
    V = np.zeros((d, k))
    V[np.arange(k), np.arange(k)] = 1.0
    p = np.array([[0.5, 0.0, 0.1, 0.0], [0.0, 0.6, 0.0, -0.2]])
    network = PolynomialNetwork(p @ V.T, np.array([2.0, -1.0]), complement=Complement(V))
    X, y = rng.standard_normal((n, d)), np.array([1.0, -1.0, 1.0])
    tracemalloc.start()
    try:
        margins, points = network.worst_margins(X, y, 0.5), network.worst_case(X, y, 0.5).points
        distance = network.distance_to_boundary(X)
        network.robust_accuracy(X, y, [0.1])
        network.save(tmp_path / "network.npz")
        again = cvxrobust.load(tmp_path / "network.npz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 * 8 * d
    assert np.array_equal(again.worst_margins(X, y, 0.5), margins)
    assert y * network.decision_function(points) == pytest.approx(margins, rel=1e-7)
    # The axes that nobody looks at are alike: what they hold is a length.
    a, b, c = network.activation
    spread = a * float(network.alpha @ (1.0 - (p**2).sum(axis=1))) / (d - k)
    t = X[:, :k] @ p.T
    expected = (a * t**2 + b * t + c) @ network.alpha + spread * (X[:, k:] ** 2).sum(axis=1)
    assert network.decision_function(X) == pytest.approx(expected, rel=1e-12)
    assert (distance > 0.0).all()
