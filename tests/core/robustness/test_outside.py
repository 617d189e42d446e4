"""Attacks of other packages: with the packages where they are, and always with stand-ins that ask the same of us."""

import sys
import types

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from cvxrobust import InputError, MissingExtraError, ReLUNetwork, UnknownNameError
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.robustness.attacks import ATTACKS, pgd
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.outside import autoattack, foolbox_attack

torch = pytest.importorskip("torch")


class Steepest:
    """A stand-in for an attack of Foolbox: one step of the whole radius along the gradient of the loss."""

    def __init__(self, order=np.inf, too_far=1.0):
        self.order, self.too_far = order, too_far

    def __call__(self, model, inputs, criterion, *, epsilons):
        assert inputs.dtype == torch.float64
        assert model.bounds[0] < model.bounds[1]
        z = inputs.clone().requires_grad_(True)
        logits = model.module(z)
        loss = torch.nn.functional.cross_entropy(logits, criterion.labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, z)
        step = slope.sign() if self.order == np.inf else slope / slope.norm(dim=1, keepdim=True)
        found = (inputs + self.too_far * epsilons[0] * step).clamp(*model.bounds)
        return [found], [found], None


class Hopeless(Steepest):
    """One that finds nothing to start from."""

    def __call__(self, model, inputs, criterion, *, epsilons):
        raise AssertionError


@pytest.fixture
def foolbox(monkeypatch):
    package = types.ModuleType("foolbox")
    package.attacks = types.SimpleNamespace(Steepest=Steepest, Hopeless=Hopeless)
    package.PyTorchModel = lambda module, bounds, device: types.SimpleNamespace(module=module, bounds=bounds)
    package.criteria = types.SimpleNamespace(Misclassification=lambda labels: types.SimpleNamespace(labels=labels))
    monkeypatch.setitem(sys.modules, "foolbox", package)


def case(seed=0, n=50, d=4):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    network = ReLUNetwork(rng.standard_normal((8, d + 1)), 1000.0 * rng.standard_normal((8, 3)), bias=True)
    return X, network.predict(X), network


@pytest.mark.parametrize("scale", [None, [1.0, 0.0, 2.0, 0.5]], ids=["even", "scaled"])
@pytest.mark.parametrize(("norm", "order"), [("inf", np.inf), (2, 2)])
def test_whatever_has_slopes_is_shown_as_raw_margins(foolbox, norm, order, scale):
    X, y, network = case()
    theirs = {"theirs": foolbox_attack("Steepest", {"order": order})}
    linear = LogisticRegression().fit(X, y)
    for model, labels in ((network, y), (linear, linear.predict(X))):
        radius = 0.3 if model is network else 0.1
        found = evaluate_robustness(model, X, labels, Threat(norm, scale=scale), [radius], attacks=theirs)
        ours = evaluate_robustness(
            model, X, labels, Threat(norm, scale=scale), [radius], attacks={"us": ATTACKS["fgsm"]}
        )
        np.testing.assert_allclose(found.attacked, ours.attacked, atol=0.021)  # one step, up to which rival is nearest
        assert found.attacked[0] < 1.0
        assert found.refused == {}


def test_what_goes_too_far_is_brought_back_and_ranges_are_kept(foolbox):
    X, y, network = case(1)
    X = np.clip(X, -1.0, 1.0)
    y = network.predict(X)
    far = {"far": foolbox_attack("Steepest", {"too_far": 50.0})}
    report = evaluate_robustness(network, X, y, Threat("inf", bounds=(-1.0, 1.0)), [0.3], attacks=far)
    assert report.refused == {}
    assert np.abs(report.points).max() <= 1.0
    assert np.abs(report.points - X).max() <= 0.3 * (1.0 + 1e-12)


def test_classifiers_without_slopes_are_left_alone_and_who_gives_up_says_so(foolbox):
    X, y, network = case(2)
    tree = DecisionTreeClassifier(max_depth=2).fit(X, y)
    report = evaluate_robustness(
        tree, X, tree.predict(X), Threat("inf"), [0.01], attacks={"theirs": foolbox_attack("Steepest")}
    )
    assert "theirs" not in report.broken_by
    hopeless = {"hopeless": foolbox_attack("Hopeless"), "pgd": pgd}
    with pytest.warns(UserWarning, match=r"Hopeless gave up at radius 0\.3"):
        report = evaluate_robustness(network, X, y, Threat("inf"), [0.3], attacks=hopeless)
    assert report.attacked[0] < 1.0


def test_unknown_attacks_and_missing_packages_are_said(foolbox, monkeypatch):
    with pytest.raises(UnknownNameError, match="Did you mean 'Steepest'"):
        foolbox_attack("steepest")
    with pytest.raises(InputError, match="cannot be made with"):
        foolbox_attack("Steepest", {"speed": 3})
    monkeypatch.setitem(sys.modules, "foolbox", None)
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(MissingExtraError, match=r'pip install "cvxrobust\[attacks-foolbox\]"'):
        foolbox_attack("LinfPGD")
    with pytest.raises(MissingExtraError, match=r'pip install "cvxrobust\[attacks-images\]"'):
        autoattack()


class Ensemble:
    """A stand-in for AutoAttack: one step along the sign of the gradient, in single precision, in [0, 1]."""

    def __init__(self, model, *, norm, eps, version, seed, device):
        assert (norm, version, device.type) == ("Linf", "standard", "cpu")
        self.model, self.eps = model, eps

    def run_standard_evaluation(self, x, y):
        assert x.dtype == torch.float32
        z = x.clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(self.model(z), y)
        (slope,) = torch.autograd.grad(loss, z)
        return (x + self.eps * slope.sign()).clamp(0.0, 1.0)


def image_case(classes):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 2), torch.nn.Flatten(), torch.nn.Linear(16, classes)).eval()
    X = np.random.default_rng(0).uniform(size=(40, 1, 3, 3))
    with torch.no_grad():
        return module, X, module(torch.tensor(X, dtype=torch.float32)).argmax(dim=1).numpy()


def test_autoattack_is_asked_about_images(monkeypatch):
    package = types.ModuleType("pyautoattack")
    package.AutoAttack = Ensemble
    monkeypatch.setitem(sys.modules, "pyautoattack", package)
    module, X, y = image_case(5)
    pixels = Threat("inf", bounds=(0.0, 1.0))
    report = evaluate_robustness(module, X, y, pixels, [0.1], classes=range(5), attacks={"theirs": autoattack()})
    assert report.attacked[0] < 1.0
    assert set(report.broken_by) == {"", "theirs"}
    with pytest.raises(InputError, match=r"bounds=\(0, 1\)"):
        evaluate_robustness(module, X, y, Threat("inf"), [0.1], classes=range(5), attacks={"theirs": autoattack()})
    module, X, y = image_case(3)
    with pytest.raises(InputError, match="four classes"):
        evaluate_robustness(module, X, y, pixels, [0.1], classes=range(3), attacks={"theirs": autoattack()})


@pytest.mark.parametrize("scale", [None, [1.0, 0.0, 2.0, 0.5]], ids=["even", "scaled"])
@pytest.mark.parametrize(
    ("norm", "names"),
    [
        ("inf", ("LinfPGD", "LInfFMNAttack")), (2, ("L2PGD", "DDNAttack", "L2FMNAttack")),
        (1, ("L1PGD", "L1FMNAttack", "SparseL1DescentAttack")),
    ],
    ids=["inf", "2", "1"],
)  # fmt: skip
def test_the_real_foolbox_is_no_stronger_than_we_are(norm, names, scale):
    pytest.importorskip("foolbox", reason="extra attacks-foolbox; the stand-ins above ask the same of the adapter")
    for seed in (3, 4):
        X, y, network = case(seed)
        threat, radii = Threat(norm, scale=scale), [0.2, 0.5]
        ours = evaluate_robustness(network, X, y, threat, radii)
        theirs = evaluate_robustness(
            network, X, y, threat, radii, attacks={name: foolbox_attack(name) for name in names}
        )
        assert (ours.attacked <= theirs.attacked).all()
        assert not theirs.refused


def test_the_real_autoattack_is_no_stronger_than_we_are():
    pytest.importorskip("pyautoattack", reason="extra attacks-images; the stand-in above asks the same of the adapter")
    module, X, y = image_case(5)
    pixels, theirs = Threat("inf", bounds=(0.0, 1.0)), {"theirs": autoattack("custom", attacks=["apgd-ce", "fab"])}
    found = evaluate_robustness(module, X, y, pixels, [0.1], classes=range(5), attacks=theirs)
    ours = evaluate_robustness(module, X, y, pixels, [0.1], classes=range(5))
    assert ours.attacked <= found.attacked
