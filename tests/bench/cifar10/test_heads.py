"""Heads on backbones, convex ones with certificates, points in pixel space, and what no head can help."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cvxrobust import Termination, Threat, evaluate_robustness, solve
from cvxrobust.bench.cifar10 import evaluation
from cvxrobust.bench.cifar10.backbones.batches import ImageBank
from cvxrobust.bench.cifar10.backbones.features import Standardised
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18
from cvxrobust.bench.cifar10.backbones.training import frozen
from cvxrobust.bench.cifar10.collisions import Pairs, lost_at_least, sought
from cvxrobust.bench.cifar10.evaluation import Paired, cross_entropy_pgd, holm
from cvxrobust.bench.cifar10.heads import convex
from cvxrobust.bench.cifar10.heads.alternating import hinge_of_margins
from cvxrobust.bench.cifar10.heads.convex import HeadData, SolvingTerms, problem_of
from cvxrobust.bench.cifar10.heads.gradient import DescentTerms, descend
from cvxrobust.bench.cifar10.heads.methods import known_methods, methods_named
from cvxrobust.bench.cifar10.heads.oracle import PixelOracle, PointSet, cut
from cvxrobust.bench.cifar10.heads.splice import SplicedClassifier, load_head, plain_head, save_plain_head
from cvxrobust.bench.cifar10.terms import CifarTerms
from cvxrobust.bench.data.cifar import LabelledImages, synthetic_images
from cvxrobust.core.errors import UnknownNameError
from cvxrobust.core.robustness import outside as outside_attacks

CPU = torch.device("cpu")
TERMS = SolvingTerms(20.0, 0.05, "cpu", 1)


@pytest.fixture(scope="module")
def backbone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return frozen(PreActResNet18(1), CPU)


@pytest.fixture(scope="module")
def bank():
    return ImageBank(synthetic_images(30, 0), CPU)


@pytest.fixture(scope="module")
def units(backbone, bank):
    with torch.no_grad():
        return Standardised.of(backbone.features(bank.plain(torch.arange(30))).numpy())


def three_classes(n=36, d=3, seed=0):
    """Labels 0, 1, 2 of points around three centres, and a covariance."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    Z = rng.standard_normal((n, d)) + 3.0 * np.eye(3)[labels][:, :d]
    root = rng.standard_normal((d, d))
    return HeadData((Z - Z.mean(axis=0)) / Z.std(axis=0), labels, root @ root.T / d + 0.1 * np.eye(d))


def test_a_spliced_classifier_is_the_head_of_the_features(backbone, bank, units, tmp_path):
    x = bank.plain(torch.arange(5))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = plain_head(8, 10, hidden=4).double()
    save_plain_head(head, 4, tmp_path / "head.pt")
    module = SplicedClassifier(backbone, load_head(tmp_path / "head.pt").double(), units).eval()
    with torch.no_grad():
        found = module(x)
        expected = head(torch.tensor(units(backbone.features(x).numpy())))
    assert found.dtype == torch.float32
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    report = evaluate_robustness(
        module, synthetic_images(30, 0).images[:5] / 255.0, synthetic_images(30, 0).labels[:5],
        Threat("inf", bounds=(0.0, 1.0)), [0.0, 0.02], classes=range(10), steps=2, restarts=0, double=False,
    )  # fmt: skip
    assert report.attacked[0] >= report.attacked[1]


CONVEX = [name for name, method in known_methods().items() if method.programme is not None]


@pytest.mark.parametrize("name", CONVEX)
def test_convex_heads_are_certified_and_read_again(name, tmp_path):
    method, data = known_methods()[name], three_classes()
    row = method.fit(data, method.settings[0], TERMS, 0, tmp_path / "head")
    assert row["lower"] <= row["upper"] <= row["constant"]
    assert row["converged"] == (row["gap"] <= TERMS.tolerance)
    head = load_head(tmp_path / row["file"])
    scores = head(torch.tensor(data.Z))
    assert scores.shape == (36, 3)
    assert float((scores.argmax(dim=1).numpy() == data.labels).mean()) > 0.6


def test_an_interrupted_head_is_no_head(monkeypatch):
    def interrupted(problem, **asked):
        return replace(solve(problem, **asked), termination=Termination.INTERRUPTED)

    monkeypatch.setattr(convex, "solve", interrupted)
    data = three_classes()
    with pytest.raises(KeyboardInterrupt):
        convex.solve_head(PointSet.of(data.Z, data.labels).problem(0.01), TERMS)


def test_an_ellipsoid_is_given_to_the_problem():
    data = three_classes()
    ball, shaped = (
        problem_of(methods_named((f"polynomial, {shape}",))[0].programme, data, 1.0, 0.01)
        for shape in ("l2", "ellipsoid")
    )
    assert ball.ellipsoid is None
    assert shaped.ellipsoid.directions @ shaped.ellipsoid.directions.T == pytest.approx(data.covariance)


def test_unknown_heads_are_refused_with_the_names_of_others():
    with pytest.raises(UnknownNameError, match="polynomial, ellipsoid"):
        methods_named(("polynomial, elipsoid",))


def test_attacks_on_features_turn_heads_of_gradient_descent_to_what_is_robust():
    """Of two features one is large and wrong one time in five, the other small and always right."""
    rng, labels = np.random.default_rng(0), np.arange(5000) % 2
    signs = 2.0 * labels - 1.0
    Z = np.stack([1.5 * signs * np.where(rng.uniform(size=5000) < 0.2, -1.0, 1.0), 0.3 * signs], axis=1)
    shares = {}
    for radius in (0.0, 0.6):
        head, _ = descend(Z, labels, 2, DescentTerms(hidden=0, radius=radius), CPU)
        large, small = np.abs(np.diff(head.weight.numpy(), axis=0)[0])
        shares[radius] = small / large
    assert shares[0.0] > 2.0 > 1.0 > shares[0.6]


def test_points_of_an_image_share_its_largest_loss_and_bounds_hold_for_it():
    """The lower bound of the programme over points is below the objective of any head, its own first of all."""
    rng, data = np.random.default_rng(1), three_classes()
    points = PointSet.of(data.Z, data.labels).joined(data.Z + 0.5 * rng.standard_normal(data.Z.shape))
    points = points.joined(data.Z + 0.5 * rng.standard_normal(data.Z.shape))
    assert points.weights.sum(axis=0) == pytest.approx(np.ones(36))
    network, row = convex.solve_head(points.problem(0.01), TERMS)
    other, _ = convex.solve_head(PointSet.of(data.Z, data.labels).problem(0.01), TERMS)
    for one in (network, other):
        assert points.objective(one, 0.01) >= row["lower"]
        parts = [PointSet.of(Z, data.labels).objective(one, 0.01) for Z in points.Z]
        assert points.objective(one, 0.01) >= max(parts) - 1e-12


def test_what_the_oracle_finds_is_within_reach_and_costs_more(backbone, bank, units):
    with torch.no_grad():
        Z = units(backbone.features(bank.plain(torch.arange(30))).numpy())
    points = PointSet.of(Z, bank.labels.numpy())
    done = cut(PixelOracle(backbone, 0.05, steps=3), bank, points, units, 0.01, TERMS)
    assert done.found.shape == Z.shape
    assert done.row["attacked"] >= points.objective(done.network, 0.01)
    assert done.row["attacked"] >= done.row["lower"]
    clean = done.network.predict(Z) == bank.labels.numpy()
    attacked = done.network.predict(done.found) == bank.labels.numpy()
    assert done.row["robust"] == pytest.approx(attacked.mean(), abs=1e-12)
    assert attacked.sum() <= clean.sum()


def test_the_loss_behind_a_head_is_that_of_the_smallest_margin():
    logits, labels = torch.tensor([[3.0, 1.0, 2.5], [0.0, 2.0, 0.0]]), torch.tensor([0, 1])
    assert float(hinge_of_margins(logits, labels)) == pytest.approx(0.5 * (1.0 - 0.5))


@pytest.mark.parametrize(
    ("edges", "lost"),
    [([], 0.0), ([(0, 1)], 1.0), ([(0, 1), (0, 2), (0, 3)], 1.0), ([(0, 1), (1, 2), (2, 0)], 1.5),
     ([(0, 1), (2, 3)], 2.0), ([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)], 2.5)],
    ids=["none", "pair", "star", "triangle", "two pairs", "pentagon"],
)  # fmt: skip
def test_covers_are_the_least_fractional_ones(edges, lost):
    first, second = (np.array([edge[end] for edge in edges], dtype=np.intp) for end in (0, 1))
    assert lost_at_least(6, first, second) == lost


@pytest.mark.parametrize("seed", range(5))
def test_covers_agree_with_linear_programming(seed):
    from scipy.optimize import linprog

    rng = np.random.default_rng(seed)
    pairs = np.array([(i, j) for i in range(9) for j in range(i) if rng.uniform() < 0.25], dtype=np.intp)
    A = np.zeros((len(pairs), 9))
    A[np.arange(len(pairs)), pairs[:, 0]] = A[np.arange(len(pairs)), pairs[:, 1]] = -1.0
    expected = linprog(np.ones(9), A, -np.ones(len(pairs)), bounds=(0.0, 1.0)).fun
    assert lost_at_least(9, pairs[:, 0], pairs[:, 1]) == pytest.approx(expected)


def test_pairs_are_of_different_classes_and_each_once():
    data = three_classes()
    pairs = Pairs.nearest(data.Z, data.labels, 2)
    assert (data.labels[pairs.first] != data.labels[pairs.second]).all()
    assert len({(int(a), int(b)) for a, b in zip(pairs.first, pairs.second, strict=True)}) == len(pairs.first)
    assert (pairs.first < pairs.second).all()
    assert pairs.apart == pytest.approx(np.linalg.norm(data.Z[pairs.first] - data.Z[pairs.second], axis=1))


def test_without_images_or_others_of_their_class_nothing_meets(backbone, units):
    nothing = Pairs.nearest(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    assert len(nothing.first) == 0
    lonely = ImageBank(synthetic_images(2, 0), CPU)
    with torch.no_grad():
        lonely.labels = torch.tensor([3, 5])
        backbone.layer.bias.copy_(torch.tensor([0.0, 0, 0, 1e6, 0, 0, 0, 0, 0, 0]))
    (row,) = sought(backbone, lonely, units, (8.0,))
    with torch.no_grad():
        backbone.layer.bias.zero_()
    assert row["images"] == 1
    assert row["meeting_0.5"] == {"images": 0.0, "lost": 0.0}


def test_images_come_nearer_with_larger_radii(backbone, bank, units):
    lying = ImageBank(synthetic_images(12, 0), CPU)
    with torch.no_grad():
        lying.labels = backbone(lying.plain(torch.arange(12))).argmax(dim=1)
    if len(torch.unique(lying.labels)) < 2:
        lying.labels[::2] = 0
    small, large = sought(backbone, lying, units, (2.0, 16.0))
    assert small["pairs"] == large["pairs"]
    if small["pairs"]:
        assert all(one >= two for one, two in zip(small["left"], large["left"], strict=True))
        assert small["meeting_0.5"]["lost"] <= large["meeting_0.5"]["lost"] <= 1.0


def test_paired_tests_are_exact():
    first, second = np.array([1, 1, 1, 1, 1, 0, 1], dtype=bool), np.array([0, 0, 0, 0, 0, 1, 1], dtype=bool)
    found = Paired.of(first, second)
    assert (found.won, found.lost) == (5, 1)
    assert found.p == pytest.approx(2.0 * (1 + 6) / 64)
    assert Paired.of(first, first).p == 1.0


def test_chances_are_adjusted_for_their_number():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_attacks_of_others_see_what_ours_left_of_the_first_images(backbone, monkeypatch):
    """A stand-in for AutoAttack: it turns whatever it is given."""
    seen = []

    def everything(model, attacks, index, best, effort):
        seen.append(len(index))
        best.offer(attacks.moved(attacks.radius[:, None] * np.ones_like(attacks.X)), np.full(len(index), -np.inf))

    monkeypatch.setattr(evaluation, "find_spec", lambda name: name)
    monkeypatch.setattr(outside_attacks, "autoattack", lambda *chosen: everything)
    data = synthetic_images(12, 0)
    with torch.no_grad():
        answers = backbone(torch.tensor(data.images / 255.0, dtype=torch.float32)).argmax(dim=1).numpy()
    data = LabelledImages(data.images, answers)
    alive = np.array([True, False, True] * 4)
    left = evaluation.outside(backbone, data, CifarTerms.tiny(outside_images=6), alive)
    assert seen == [4]
    assert left.shape == (6,)
    assert (left <= alive[:6]).all()
    assert evaluation.outside(backbone, data, CifarTerms.tiny(outside_images=0), alive) is None


def test_factors_on_logits_drown_the_slopes_of_cross_entropy():
    """What is reported beside margin PGD: in single precision the attack stands still where margins are large."""
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]])

    class Large(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2, bias=False)
            self.layer.weight = torch.nn.Parameter(100.0 * weights)

        def forward(self, x):
            return torch.nn.functional.pad(self.layer(x), (0, 1), value=-1e4)

    X, y = np.array([[0.9, 0.5]] * 3), np.zeros(3, dtype=int)
    left = {}
    for scale in (0.01, 30.0):
        report = evaluate_robustness(
            Large().eval(), X, y, Threat("inf"), [0.5], classes=range(3), attacks={"ce": cross_entropy_pgd(scale)},
            steps=10, restarts=0, audit=0, double=False,
        )  # fmt: skip
        left[scale] = report.attacked[0]
    assert left == {0.01: 0.0, 30.0: 1.0}
