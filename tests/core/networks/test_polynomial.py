"""Networks: exact worst cases and distances against brute force, labels, files, torch."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch

from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.standardizer import Standardizer

ACTIVATIONS = ((0.09, 0.5, 0.47), (1.0, 0.0, -0.2), (-0.4, 0.3, 0.1))
CLASSES = ("ash", "birch", "cedar")


def random_network(d, outputs=1, seed=0, neurons=5, **fields):
    rng = np.random.default_rng([d, outputs, seed])
    u = rng.standard_normal((neurons, d))
    alpha = rng.standard_normal((neurons, outputs) if outputs > 1 else neurons)
    return PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), alpha, **fields)


def attacks(d, count=4000):
    """Points that cover the unit ball, its surface included, in one to three dimensions."""
    if d == 1:
        return np.linspace(-1.0, 1.0, count)[:, None]
    radii = np.sqrt(np.linspace(0.0, 1.0, 12))
    if d == 2:
        angle = np.linspace(0.0, 2.0 * np.pi, count // 12, endpoint=False)
        surface = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        height = np.linspace(-1.0, 1.0, count // 12)
        angle = np.pi * (1.0 + 5.0**0.5) * np.arange(height.size)
        flat = np.sqrt(1.0 - height**2)
        surface = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)
    return (radii[:, None, None] * surface[None]).reshape(-1, d)


def by_definition(network, x):
    a, b, c = network.activation
    outputs = 0.0
    for u, alpha in zip(network.u, network.alpha, strict=True):
        t = sum(u * x)
        outputs = outputs + alpha * (a * t**2 + b * t + c)
    return outputs


def instances(d):
    """Networks with labels and inputs: one output, three classes, and each activation."""
    rng = np.random.default_rng(d)
    for seed, activation in enumerate(ACTIVATIONS):
        X = rng.standard_normal((6, d))
        yield random_network(d, 1, seed, activation=activation), X, rng.choice([-1.0, 1.0], 6)
        yield random_network(d, 3, seed, activation=activation, classes=CLASSES), X, rng.choice(CLASSES, 6)


# -- outputs and labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_are_those_of_the_definition(outputs, activation):
    network = random_network(4, outputs, activation=activation)
    X = np.random.default_rng(1).standard_normal((10, 4))
    found = network.decision_function(X)
    assert found.shape == ((10,) if outputs == 1 else (10, 3))
    assert found == pytest.approx(np.array([by_definition(network, x) for x in X]), rel=1e-12)
    assert network.penalty == pytest.approx(sum(abs(weight) for weight in network.alpha.ravel()))


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_matrices_represent_the_outputs(outputs):
    network = random_network(3, outputs)
    x = np.array([0.3, -1.0, 2.0])
    a, b, c = network.activation
    A = np.block([[a * np.outer(x, x), 0.5 * b * x[:, None]], [0.5 * b * x[None], np.array([[c]])]])
    values = [float((A * T).sum()) for T in network.matrices()]
    assert values == pytest.approx(np.atleast_1d(network.decision_function(x[None])[0]))


def test_labels_follow_the_sign_and_zero_counts_as_positive():
    network = PolynomialNetwork(np.array([[1.0]]), np.array([1.0]), (1.0, 1.0, 0.0))
    X = np.array([[1.0], [-0.5], [0.0], [-1.0]])  # t (t + 1)
    assert network.predict(X).tolist() == [1.0, -1.0, 1.0, 1.0]
    assert network.replace(classes=("no", "yes")).predict(X).tolist() == ["yes", "no", "yes", "yes"]
    assert network.replace(classes=(3, 7)).predict(X).tolist() == [7, 3, 7, 7]


def test_labels_of_several_outputs_are_the_largest_and_the_first_in_a_tie():
    alpha = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    network = PolynomialNetwork(np.eye(2), alpha, (1.0, 0.0, 0.0))
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert network.predict(X).tolist() == [0, 2]
    assert network.replace(classes=CLASSES).predict(X).tolist() == ["ash", "cedar"]


def test_regression_predicts_the_output_itself():
    network = random_network(2, regression=True)
    X = np.random.default_rng(0).standard_normal((5, 2))
    assert np.array_equal(network.predict(X), network.decision_function(X))
    with pytest.raises(InputError, match=r"replace\(regression=False\)"):
        network.robust_accuracy(X, np.ones(5), [0.0])


def test_margins_are_signed_outputs_or_the_lead_over_the_best_rival():
    X = np.random.default_rng(0).standard_normal((6, 2))
    network = random_network(2)
    y = np.array([1, -1, 1, -1, -1, 1])
    assert network.margins(X, y) == pytest.approx(y * network.decision_function(X))
    named = network.replace(classes=("no", "yes"))
    assert np.array_equal(named.margins(X, np.where(y > 0, "yes", "no")), network.margins(X, y))
    several = random_network(2, 3, classes=CLASSES)
    f = several.decision_function(X)
    expected = [f[i, i % 3] - max(f[i, k] for k in range(3) if k != i % 3) for i in range(6)]
    assert several.margins(X, [CLASSES[i % 3] for i in range(6)]) == pytest.approx(expected)


def test_a_network_without_neurons_is_constant_zero():
    for alpha in (np.empty(0), np.empty((0, 3))):
        network = PolynomialNetwork(np.empty((0, 2)), alpha)
        X = np.ones((3, 2))
        assert not network.decision_function(X).any()
        labels = network.predict(X)
        worst = network.worst_case(X, labels, 1.0)
        assert not worst.margins.any()
        assert not worst.lower.any()
        assert network.robust_accuracy(X, labels, [0.0, 0.5]).tolist() == [1.0, 0.0]  # a margin of 0 resists nothing
        assert not network.to_torch()(torch.ones(3, 2, dtype=torch.float64)).any()


# -- the adversary ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
def test_no_attack_beats_the_worst_case_and_its_point_attains_it(d):
    for network, X, y in instances(d):
        for radius in (1e-3, 0.3, 2.0):
            worst = network.worst_case(X, y, radius)
            assert (np.linalg.norm(worst.points - X, axis=1) <= radius * (1.0 + 1e-12)).all()
            assert network.margins(worst.points, y) == pytest.approx(worst.margins, rel=1e-9, abs=1e-12)
            assert (worst.lower <= worst.margins).all()
            assert worst.lower == pytest.approx(worst.margins, rel=1e-9, abs=1e-11)
            sampled = np.array(
                [
                    network.margins(x + radius * attacks(d), np.full(len(attacks(d)), label)).min()
                    for x, label in zip(X, y, strict=True)
                ]
            )
            assert (worst.lower <= sampled).all()
            spread = network.margins(X, y) - worst.margins
            assert (sampled <= worst.margins + 0.03 * spread + 1e-12).all()


def test_radii_may_differ_and_radius_zero_changes_nothing():
    for network, X, y in instances(3):
        radii = np.array([0.0, 0.1, 0.5, 0.0, 2.0, 1.0])
        together = network.worst_case(X, y, radii)
        for k, radius in enumerate(radii):
            alone = network.worst_case(X[k : k + 1], y[k : k + 1], radius)
            assert together.margins[k] == pytest.approx(alone.margins[0], rel=1e-13)
        still = radii == 0.0
        assert np.array_equal(together.points[still], X[still])
        assert together.margins[still] == pytest.approx(network.margins(X, y)[still], rel=1e-12)


def test_a_larger_radius_never_helps():
    for network, X, y in instances(3):
        margins = np.array([network.worst_case(X, y, radius).margins for radius in np.linspace(0.0, 3.0, 13)])
        assert (np.diff(margins, axis=0) <= 1e-12).all()


@pytest.mark.parametrize("d", [1, 2, 3, 8])
def test_the_distance_is_where_the_worst_margin_crosses_zero(d):
    for network, X, _ in instances(d):
        labels = network.predict(X)
        distance = network.distance_to_boundary(X)
        reachable = np.isfinite(distance)
        assert (distance >= 0.0).all()
        inside = network.worst_case(X, labels, np.where(reachable, distance * (1.0 - 1e-7), 1e3))
        assert (inside.margins > 0.0).all()
        beyond = network.worst_case(X[reachable], labels[reachable], distance[reachable] * (1.0 + 1e-7))
        assert (beyond.margins < 0.0).all()
        assert (network.predict(beyond.points) != labels[reachable]).all()


def test_the_distance_of_a_known_parabola():
    network = PolynomialNetwork(np.array([[1.0, 0.0]]), np.array([1.0]), (1.0, 0.0, 0.0))
    # x^2 never changes its sign, x^2 - 1 does at 1.
    X = np.array([[3.0, 5.0], [0.25, -1.0]])
    assert network.distance_to_boundary(X) == pytest.approx([3.0, 0.25])
    shifted = PolynomialNetwork(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 1.0]), (1.0, 0.0, -0.5))
    assert shifted.distance_to_boundary(np.array([[0.6, 0.8 + 1.0], [0.0, 0.5]])) == pytest.approx(
        [np.hypot(0.6, 1.8) - 1.0, 0.5]
    )


def test_a_boundary_out_of_reach_is_infinitely_far():
    positive = PolynomialNetwork(np.eye(2), np.ones(2), (1.0, 0.5, 0.47))
    assert np.isinf(positive.distance_to_boundary(np.array([[0.0, 0.0], [5.0, -3.0]]))).all()
    assert positive.robust_accuracy(np.zeros((2, 2)), np.array([1.0, -1.0]), [0.0, 1e6]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("outputs", [1, 3])
def test_robust_accuracy_counts_positive_worst_margins_at_every_radius(outputs):
    rng = np.random.default_rng(outputs)
    network = random_network(4, outputs, classes=CLASSES if outputs == 3 else None)
    X = rng.standard_normal((200, 4))
    noise = rng.choice(CLASSES if outputs == 3 else [-1.0, 1.0], 200)
    y = np.where(rng.random(200) < 0.8, network.predict(X), noise)
    radii = np.array([0.0, 1e-3, 0.05, 0.1, 0.3, 0.6, 1.0, 3.0])
    found = network.robust_accuracy(X, y, radii)
    counted = [np.mean(network.worst_case(X, y, radius).margins > 0.0) for radius in radii]
    assert found.tolist() == pytest.approx(counted)
    assert found[0] == np.mean(network.predict(X) == y)
    assert (np.diff(found) <= 0.0).all()
    assert 0.0 < found[-2] < found[0] < 1.0
    # The order of the radii is the caller's, and one number will do.
    assert np.array_equal(network.robust_accuracy(X, y, radii[::-1]), found[::-1])
    assert network.robust_accuracy(X, y, 0.3).tolist() == [found[4]]


@pytest.mark.parametrize("outputs", [1, 2])
def test_lower_bounds_hold_for_the_exact_function_even_where_neurons_cancel(outputs):
    rng = np.random.default_rng(8)
    u = rng.standard_normal((40, 3))
    u[20:] = u[:20] + 1e-9 * rng.standard_normal((20, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    alpha = rng.standard_normal(20)
    alpha = np.concatenate([alpha, -alpha])
    network = PolynomialNetwork(u, alpha if outputs == 1 else np.stack([alpha, np.zeros(40)], axis=1))
    X = rng.standard_normal((40, 3))
    worst = network.worst_case(X, network.predict(X), 0.0)

    def exactly(x):
        parts = Fraction(0)
        a, b, c = (Fraction(value) for value in network.activation)
        for row, weight in zip(u.tolist(), alpha.tolist(), strict=True):
            t = sum((Fraction(p) * Fraction(q) for p, q in zip(row, x, strict=True)), Fraction(0))
            parts += Fraction(weight) * (a * t * t + b * t + c)
        return parts

    index = network.predict(X)
    signs = np.where(index == 1, 1, -1) if outputs == 1 else np.where(index == 0, 1, -1)
    missed = 0
    for x, sign, margin, lower in zip(X.tolist(), signs.tolist(), worst.margins, worst.lower, strict=True):
        true = sign * exactly(x)
        assert Fraction(float(lower)) <= true
        missed += Fraction(float(margin)) > true
    assert missed > 0  # or the allowance for rounding would be idle


# -- torch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_torch_module_computes_the_same_function_and_has_gradients(outputs):
    network = random_network(3, outputs)
    X = np.random.default_rng(0).standard_normal((7, 3))
    module = network.to_torch()
    x = torch.tensor(X, requires_grad=True)
    y = module(x)
    assert y.detach().numpy() == pytest.approx(network.decision_function(X), rel=1e-13)
    y.sum().backward()
    step = 1e-6
    for k in range(3):
        moved = step * np.eye(3)[k]
        difference = network.decision_function(X + moved) - network.decision_function(X - moved)
        slope = difference.reshape(7, -1).sum(axis=1) / (2 * step)
        assert x.grad[:, k].numpy() == pytest.approx(slope, rel=1e-6, abs=1e-8)
    assert all(parameter.grad is not None for parameter in module.parameters())
    with torch.no_grad():
        module.u.mul_(2.0)  # a copy: training the module on leaves the certified network alone
    assert np.linalg.norm(network.u, axis=1) == pytest.approx(np.ones(5))


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network",
    [
        random_network(3),
        random_network(3, regression=True, activation=(1.0, -0.5, 0.25)),
        random_network(2, classes=("benign", "malignant")),
        random_network(2, classes=(0, 1)),
        random_network(2, 3, classes=CLASSES),
        random_network(2, 3, classes=(1.5, 2.5, 4.0)),
        random_network(2, 3, standardizer=Standardizer(np.array([1.0, -2.0]), np.array([0.5, 1e-9]), ("é", "b b"))),
        random_network(2, standardizer=Standardizer(np.zeros(2), np.ones(2)), metadata={"n": 3, "gap": 1e-7, "s": "ü"}),
        random_network(4, neurons=0),
        random_network(4, 3, neurons=0),
    ],
    ids=["plain", "regression", "strings", "ints", "three", "floats", "names", "metadata", "empty", "empty of three"],
)
def test_a_saved_network_comes_back_the_same(network, tmp_path):
    path = tmp_path / "network.npz"
    network.save(path)
    with np.load(path, allow_pickle=False) as stored:
        for name in stored.files:
            assert stored[name].dtype != object
    for where in (path, str(path)):
        again = PolynomialNetwork.load(where)
        for name in ("u", "alpha"):
            assert np.array_equal(getattr(again, name), getattr(network, name))
            assert getattr(again, name).dtype == np.float64
        for name in ("activation", "classes", "regression", "metadata"):
            assert getattr(again, name) == getattr(network, name)
        if network.classes is not None:
            assert [type(label) for label in again.classes] == [type(label) for label in network.classes]
        assert (again.standardizer is None) == (network.standardizer is None)
        if network.standardizer is not None:
            assert np.array_equal(again.standardizer.mean, network.standardizer.mean)
            assert np.array_equal(again.standardizer.scale, network.standardizer.scale)
            assert again.standardizer.names == network.standardizer.names
        X = np.ones((2, network.n_features))
        assert np.array_equal(again.predict(X), network.predict(X))


def test_the_name_of_the_file_is_kept_as_given(tmp_path):
    random_network(2).save(tmp_path / "certified")
    assert [path.name for path in tmp_path.iterdir()] == ["certified"]


def test_labels_of_mixed_types_cannot_be_saved(tmp_path):
    with pytest.raises(InputError, match="mix types"):
        random_network(2, classes=(1, "b")).save(tmp_path / "network.npz")
    assert not list(tmp_path.iterdir())


def rewritten(path, **header):
    """The file with fields of its header changed."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["header"] = np.array(json.dumps(json.loads(str(arrays["header"])) | header))
    np.savez(path, **arrays)


def test_files_that_are_no_networks_are_refused(tmp_path):
    path = tmp_path / "network.npz"
    random_network(2).save(path)
    whole = path.read_bytes()
    junk = [b"", b"junk" * 50, b"PK\x03\x04" + bytes(60), whole[:-80], whole[:70] + b"\xff" * 20 + whole[90:]]
    for content in junk:
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not a network saved by cvxrobust"):
            PolynomialNetwork.load(path)
    np.savez(path, u=np.eye(2), alpha=np.ones(2))
    with pytest.raises(InputError, match=r"is not a network saved by cvxrobust.*header"):
        PolynomialNetwork.load(path)
    np.savez(path, header=np.array("not json"))
    with pytest.raises(InputError, match="is not a network saved by cvxrobust"):
        PolynomialNetwork.load(path)
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(InputError, match="is not a network saved by cvxrobust"):
        PolynomialNetwork.load(path)


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "network.npz"
    random_network(2).save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, **(arrays | {"u": np.array([{"a": 1}, None], dtype=object)}))
    with pytest.raises(InputError, match=r"is not a network saved by cvxrobust.*allow_pickle"):
        PolynomialNetwork.load(path)


def test_files_of_a_later_version_or_another_kind_are_refused(tmp_path):
    path = tmp_path / "network.npz"
    random_network(2).save(path)
    rewritten(path, format=99)
    with pytest.raises(InputError, match="in format 99, but this version reads 'polynomial' up to format 5; upgrade"):
        PolynomialNetwork.load(path)
    rewritten(path, format=1, kind="relu")
    with pytest.raises(InputError, match=r"holds a ReLU network, not a polynomial one; read it with cvxrobust\.load"):
        PolynomialNetwork.load(path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        PolynomialNetwork.load(tmp_path / "none.npz")


# -- bad input -------------------------------------------------------------------------------------------------------


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"u has shape \(2, 3\) and alpha \(3,\)"):
        PolynomialNetwork(np.ones((2, 3)), np.ones(3))
    with pytest.raises(InputError, match=r"expected \(m, d\)"):
        PolynomialNetwork(np.ones(3), np.ones(3))
    with pytest.raises(InputError, match=r"expected \(m, d\)"):
        PolynomialNetwork(np.ones((2, 3)), np.ones((2, 1, 1)))
    with pytest.raises(InputError, match="3 classes given for a network that tells 2 apart"):
        random_network(2, classes=CLASSES)
    with pytest.raises(InputError, match="2 classes given for a network that tells 3 apart"):
        random_network(2, 3, classes=(0, 1))


def test_inputs_and_labels_that_do_not_fit_are_refused():
    network, X, y = random_network(3), np.ones((4, 3)), np.ones(4)
    for wrong in (np.ones((4, 2)), np.ones(3), np.ones((2, 4, 3))):
        with pytest.raises(InputError, match=r"X has shape .*; this network takes \(n, 3\)"):
            network.decision_function(wrong)
    with pytest.raises(InputError, match="X holds NaN or inf, first at row 1, column 2"):
        network.predict([[0.0, 0.0, 0.0], [1.0, 2.0, np.nan]])
    with pytest.raises(InputError, match=r"y has shape \(3,\); expected \(4,\)"):
        network.margins(X, np.ones(3))
    with pytest.raises(InputError, match=r"y holds labels \[0.0, 2.0\], but this network knows \[-1.0, 1.0\]"):
        network.worst_case(X, [1.0, 0.0, 2.0, -1.0], 0.1)
    with pytest.raises(InputError, match=r"y holds labels \['oak'\], but this network knows \['ash'"):
        random_network(3, 3, classes=CLASSES).margins(X, ["ash", "oak", "birch", "ash"])
    with pytest.raises(InputError, match=r"y holds labels \['a'\], but this network knows \[-1.0, 1.0\]"):
        network.robust_accuracy(X, ["a"] * 4, [0.1])
    with pytest.raises(InputError, match=r"y holds labels \[5\], but this network knows \[0, 1, 2\]"):
        random_network(3, 3).margins(X, [0, 1, 2, 5])
    for radius in (-0.1, np.nan, np.inf, [0.1, 0.1, -1.0, 0.1]):
        with pytest.raises(InputError, match="expected radii of 0 or more"):
            network.worst_case(X, y, radius)
    for radii in ([0.1, -0.2], [np.nan], -1.0):
        with pytest.raises(InputError, match="expected finite values of 0 or more"):
            network.robust_accuracy(X, y, radii)


def test_radii_of_the_wrong_shape_are_refused():
    with pytest.raises(InputError, match=r"radius has shape \(3,\); expected one number, or one per row of X"):
        random_network(3).worst_case(np.ones((4, 3)), np.ones(4), [0.1, 0.2, 0.3])
