"""The network, what its training is made of, and checkpoints."""

import numpy as np
import pytest
import torch
from torch import nn

from cvxrobust import InputError
from cvxrobust.bench.cifar10.attacks import PixelAttack, margins_of, random_step
from cvxrobust.bench.cifar10.backbones.batches import MARGIN, ImageBank
from cvxrobust.bench.cifar10.backbones.features import Standardised, measure_displacement, write_features
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18
from cvxrobust.bench.cifar10.backbones.sam import at_sharpest, statistics_kept
from cvxrobust.bench.cifar10.backbones.training import (
    BackboneTrainer,
    Precision,
    Recipe,
    frozen,
    load_state,
    train_backbone,
)
from cvxrobust.bench.data.cifar import synthetic_images

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bank():
    return ImageBank(synthetic_images(128, 0), CPU)


def network(width=2, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PreActResNet18(width)


def test_the_network_is_as_large_as_published():
    with torch.device("meta"):
        paper = PreActResNet18(64)
    assert sum(parameter.numel() for parameter in paper.parameters()) == pytest.approx(11.17e6, rel=1e-3)
    assert paper.n_features == 512


def test_logits_are_its_own_layer_of_its_features():
    net, x = network().eval(), torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = net.features(x)
    assert features.shape == (3, 16)
    assert (features >= 0.0).all()
    assert torch.equal(net(x), net.layer(features))


@pytest.mark.parametrize("rho", [0.01, 0.05, 0.2, 1.0])
def test_gradients_are_those_at_the_worst_weights_nearby(rho):
    """By the definition, in double precision: g(w + rho g(w) / ||g(w)||) of a loss whose gradient is known."""
    rng = np.random.default_rng(int(100 * rho))
    A, w = rng.standard_normal((5, 5)), [rng.standard_normal(3), rng.standard_normal(2)]
    parameters = [nn.Parameter(torch.tensor(part)) for part in w]

    def loss():
        return 0.25 * (torch.tensor(A) @ torch.cat(list(parameters))).pow(4).sum()

    def gradient(point):
        return A.T @ (A @ point) ** 3

    loss().backward()
    with at_sharpest(parameters, rho):
        loss().backward()
    point = np.concatenate(w)
    slope = gradient(point)
    expected = gradient(point + rho * slope / np.linalg.norm(slope))
    found = np.concatenate([parameter.grad.numpy() for parameter in parameters])
    assert found == pytest.approx(expected, rel=1e-10)
    assert all(torch.equal(one.detach(), torch.tensor(part)) for one, part in zip(parameters, w, strict=True))


def test_weights_come_back_whatever_happens():
    layer = nn.Linear(2, 1)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    layer(torch.ones(1, 2)).sum().backward()
    with pytest.raises(RuntimeError, match="out of memory"), at_sharpest(layer.parameters(), 0.1):
        raise RuntimeError("out of memory")
    assert all(torch.equal(one, two) for one, two in zip(before, layer.parameters(), strict=True))


def test_second_passes_leave_running_statistics_alone():
    net, x = network().train(), torch.rand(4, 3, 32, 32)
    net(x)
    before = {name: value.clone() for name, value in net.state_dict().items() if "running" in name}
    with statistics_kept(net):
        net(2.0 * x)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    net(2.0 * x)
    assert not all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_images_are_moved_and_mirrored_within_their_margin(bank):
    rows = torch.arange(40)
    plain, moved = bank.plain(rows), bank.augmented(rows, torch.Generator().manual_seed(0))
    assert torch.equal(plain, torch.from_numpy(synthetic_images(128, 0).images[:40]).float() / 255.0)
    wide = nn.functional.pad(plain, (MARGIN,) * 4, mode="reflect")
    for before, after in zip(wide, moved, strict=True):
        windows = [before[:, i : i + 32, j : j + 32] for i in range(2 * MARGIN + 1) for j in range(2 * MARGIN + 1)]
        assert any(torch.equal(after, window) or torch.equal(after, window.flip(2)) for window in windows)
    assert moved.is_contiguous(memory_format=torch.channels_last)


def test_one_random_step_stays_in_the_ball(bank):
    net, x = network(), bank.plain(torch.arange(6))
    found = random_step(lambda images: net(images)[:, 0].sum(), x, 0.1, torch.Generator().manual_seed(0))
    assert ((found - x).abs() <= 0.1 + 1e-6).all()
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert not torch.equal(found, x)


def test_the_attack_finds_the_worst_case_of_what_is_linear():
    generator = torch.Generator().manual_seed(3)
    x, weights = 0.3 + 0.4 * torch.rand(5, 3, 4, 4, generator=generator), torch.randn(3, 48, generator=generator)
    labels = torch.tensor([0, 1, 2, 0, 1])

    def logits(images):
        return images.flatten(1) @ weights.T

    points, margins = PixelAttack(0.05, steps=8, restarts=1)(logits, x, labels)
    differences = weights[labels][:, None] - weights
    reach = 0.05 * differences.abs().sum(dim=2)
    exact = (logits(x).gather(1, labels[:, None]) - logits(x)) - reach
    exact = exact.scatter(1, labels[:, None], float("inf")).amin(dim=1)
    assert torch.allclose(margins, exact, atol=1e-4)
    assert torch.allclose(margins_of(logits(points), labels), margins, atol=1e-6)
    assert ((points - x).abs() <= 0.05 + 1e-6).all()


RECIPES = [
    Recipe("sgd", 2),
    Recipe("sam", 2, rho=0.05),
    Recipe("adversarial", 2, radius=4.0 / 255.0, clip=1.0),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(recipe, bank, tmp_path):
    def trainer():
        return BackboneTrainer(recipe, bank, network(), Precision(CPU))

    def killed(words):
        raise KeyboardInterrupt

    whole = train_backbone(trainer(), tmp_path / "whole.pt", lambda words: None)
    with pytest.raises(KeyboardInterrupt):
        train_backbone(trainer(), tmp_path / "cut.pt", killed)
    assert len(load_state(tmp_path / "cut.pt")["history"]) == 1
    resumed = train_backbone(trainer(), tmp_path / "cut.pt", lambda words: None)
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert all(torch.equal(one, two) for one, two in zip(whole.buffers(), resumed.buffers(), strict=True))


def test_a_checkpoint_of_another_recipe_or_none_is_refused(bank, tmp_path):
    path = tmp_path / "net.pt"
    train_backbone(BackboneTrainer(Recipe("sgd", 1), bank, network(), Precision(CPU)), path, lambda words: None)
    with pytest.raises(InputError, match="was made by"):
        train_backbone(BackboneTrainer(Recipe("sgd", 2), bank, network(), Precision(CPU)), path, lambda words: None)
    path.write_bytes(b"half")
    with pytest.raises(InputError, match="is no checkpoint"):
        load_state(path)


def test_sharpness_costs_twice_as_much():
    assert [recipe.cost for recipe in RECIPES] == [2, 4, 4]


def test_features_are_mapped_and_made_once(bank, tmp_path):
    net, calls = frozen(network(), CPU), []

    def features(x):
        calls.append(len(x))
        return net.features(x)

    found = write_features(features, bank, tmp_path / "features.npy")
    again = write_features(features, bank, tmp_path / "features.npy")
    assert sum(calls) == len(bank)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, again)
    with torch.no_grad():
        assert found[:10] == pytest.approx(net.features(bank.plain(torch.arange(10))).numpy(), abs=1e-6)


def test_half_of_the_displacements_lie_in_the_ellipsoid(bank):
    net = frozen(network(), CPU)
    few = ImageBank(synthetic_images(60, 1), CPU)
    with torch.no_grad():
        units = Standardised.of(net.features(few.plain(torch.arange(60))).numpy())
    found = measure_displacement(net, few, units, PixelAttack(0.05, steps=2))
    lengths = np.einsum("ij,ij->i", found.attacked, np.linalg.solve(found.covariance, found.attacked.T).T)
    assert np.median(lengths) == pytest.approx(1.0)
    assert np.linalg.eigvalsh(found.covariance).min() > 0.0
    assert found.nearest.min() > 0.0
    assert 0.0 < found.to_row()["in_ten_directions"] <= 1.0 + 1e-12
