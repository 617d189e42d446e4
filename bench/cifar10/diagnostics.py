"""The stages that find out: attacks on test images, collisions, points in pixel space, backbone and head in turn."""

from typing import Any

import numpy as np
import torch

import cvxrobust
from cvxrobust.bench.cifar10.attacks import LEVEL
from cvxrobust.bench.cifar10.backbones.batches import ImageBank
from cvxrobust.bench.cifar10.backbones.features import Standardised, write_features
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18
from cvxrobust.bench.cifar10.backbones.training import Precision, Recipe
from cvxrobust.bench.cifar10.collisions import sought
from cvxrobust.bench.cifar10.evaluation import OUTSIDE, PGD, judge, outside
from cvxrobust.bench.cifar10.heads.alternating import train_through
from cvxrobust.bench.cifar10.heads.convex import Network, Numbers, SolvingTerms
from cvxrobust.bench.cifar10.heads.oracle import PixelOracle, PointSet, cut
from cvxrobust.bench.cifar10.heads.splice import SplicedClassifier
from cvxrobust.bench.cifar10.stages import (
    ADVERSARIAL,
    SGD,
    CifarRun,
    PreparedBackbone,
    chosen_backbones,
    classifiers,
    file_name,
    prepare,
)
from cvxrobust.core.files import whole_file

BETA = 1e-2
"""Of the heads of these stages."""

ALTERNATING_RATE, CLIP = 0.02, 1.0
"""Peak of the rate, and the largest norm of a gradient: a quadratic of features has slopes of any size."""

HEAD, LAYER = "convex head", "own layer"
"""What a backbone learns through."""


def evaluate_classifiers(run: CifarRun) -> None:
    """Stage four: every classifier on the same test images; what became of each image is kept, too."""
    data = run.test.of(slice(0, run.terms.test_images))
    for backbone, head, module in classifiers(run):
        if run.kept("judged", backbone, head):
            continue
        judged = judge(module, data, run.terms)
        row, arrays = judged.to_row(), {"clean": judged.clean, **judged.alive}
        place = run.terms.radii.index(run.terms.deciding_radius) if run.terms.deciding_radius in run.terms.radii else 0
        left = outside(module, data, run.terms, judged.alive[PGD][place])
        if left is not None:
            row[OUTSIDE] = {"images": len(left), "share": float(left.mean()),
                            "before": float(judged.alive[PGD][place][: len(left)].mean())}  # fmt: skip
            arrays[OUTSIDE] = left[None]
        run.store.keep_arrays(arrays, *run.place("judged", f"{file_name(backbone, head)}.npz"))
        run.keep(row, "judged", backbone, head)
        shares = " ".join(f"{100.0 * share:.1f}" for share in row[PGD])
        run.told(f"{backbone}, {head}: clean {100.0 * row['clean']:.1f}, {PGD} {shares}, {row['seconds']:.0f} s")


def seek_collisions(run: CifarRun) -> None:
    """Stage five: which test images of different classes attacks bring together."""
    bank = ImageBank(run.test.of(slice(0, run.terms.collision_images)), run.device)
    for name in chosen_backbones(run):
        if run.kept("collisions", name) is None:
            prepared = prepare(run, name)
            run.keep({"radii": sought(prepared.network, bank, prepared.units, run.terms.radii)}, "collisions", name)
            run.told(f"{name}: collisions sought")


def seek_points(run: CifarRun) -> None:
    """Stage six: the cutting-set method with points from pixel space, on SGD's backbone and on the adversarial one."""
    bank = run.oracle_bank
    for name in (SGD, ADVERSARIAL):
        if run.kept("oracle", name, str(run.terms.rounds)) is not None:
            continue
        prepared = prepare(run, name)
        oracle = PixelOracle(prepared.network, run.terms.deciding_radius / LEVEL, run.terms.deciding_steps)
        points, head = PointSet.of(prepared.data.Z[: len(bank)], prepared.data.labels[: len(bank)]), None
        for number in range(run.terms.rounds + 1):
            head, found = _round(run, prepared, oracle, bank, points, number, head)
            points = points.joined(found)


def _round(
    run: CifarRun, prepared: PreparedBackbone, oracle: PixelOracle, bank: ImageBank, points: PointSet, number: int,
    start: Network | None,
) -> tuple[Network, Numbers]:  # fmt: skip
    """The head of a round and the points that it leads to, from the disk where they are there."""
    name = prepared.name
    head, found = (run.store.path(*run.place("oracle", f"{name}-{number}.{end}")) for end in ("npz", "npy"))
    if run.kept("oracle", name, str(number)) is None:
        done = cut(oracle, bank, points, prepared.units, BETA, _solving(run), start)
        done.network.save(head, standardized=True)  # by whoever splices it
        with whole_file(found) as file:
            np.save(file, done.found)
        clean, robust = _deciding(run, prepared.network, done.network, prepared.units)
        row = run.keep({**done.row, "deciding_clean": clean, "deciding_robust": robust}, "oracle", name, str(number))
        bounds = f"[{row['lower']:.3f}, {row['upper']:.3f}], attacked {row['attacked']:.3f}"
        run.told(f"{name}: round {number}, {bounds}, robust {robust:.3f}")
    network: Any = cvxrobust.load(head)
    return network, np.load(found)


def alternate(run: CifarRun) -> None:
    """Stage seven: one adversarial epoch and one convex head after the other, against as many epochs with its own
    layer.

    Both begin with SGD's backbone, and every epoch is one cycle of the rate. After each, a convex head is solved on
    points from pixel space, whatever the backbone learned through, so that what it adds is seen.
    """
    bank, points = run.bank(run.split.backbone), run.oracle_bank
    precision = Precision(run.device, getattr(torch, run.terms.dtype))
    for arm in (HEAD, LAYER):
        network = run.load_backbone(SGD)
        head: tuple[Network, Standardised] | None = None
        for number in range(run.terms.rounds + 1):
            name = f"{arm.replace(' ', '-')}-{number}"
            if number:
                recipe = Recipe(
                    name, 1, radius=run.terms.training_radius / LEVEL, rate=ALTERNATING_RATE, start=SGD,
                    seed=run.seed + number, clip=CLIP,
                )  # fmt: skip
                path = run.store.path(*run.place("alternating", f"{name}.pt"))
                network = train_through(network, head if arm == HEAD else None, recipe, bank, precision, path, run.told)
            if number or arm == HEAD:  # both arms begin alike
                head = _head_of_round(run, network, points, arm, number)
                if head is None:
                    break


def _head_of_round(
    run: CifarRun, network: PreActResNet18, points: ImageBank, arm: str, number: int
) -> tuple[Network, Standardised] | None:
    """The convex head on a backbone; a row says how it and the own layer do. None if the backbone is lost."""
    name = f"{arm.replace(' ', '-')}-{number}"
    features = write_features(network.features, points, run.store.path(*run.place("alternating", f"{name}.npy")))
    if not np.isfinite(features).all():
        if run.kept("alternating", arm, str(number)) is None:
            run.keep({"failure": "the backbone diverged"}, "alternating", arm, str(number))
        run.told(f"{arm}, round {number}: the backbone diverged")
        return None
    units = Standardised.of(features)
    file = run.store.path(*run.place("alternating", f"{name}.npz"))
    if run.kept("alternating", arm, str(number)) is None:
        oracle = PixelOracle(network, run.terms.training_radius / LEVEL, run.terms.deciding_steps)
        clean_points = PointSet.of(units(features), points.labels.cpu().numpy())
        first = cut(oracle, points, clean_points, units, BETA, _solving(run))
        second = cut(oracle, points, clean_points.joined(first.found), units, BETA, _solving(run), first.network)
        solved, row = second.network, second.row
        solved.save(file, standardized=True)  # by whoever splices it
        clean, robust = _deciding(run, network, solved, units)
        own = run.robust_share(network)
        run.keep(
            {**row, "deciding_clean": clean, "deciding_robust": robust, "layer_clean": own[0], "layer_robust": own[1]},
            "alternating", arm, str(number),
        )  # fmt: skip
        run.told(
            f"{arm}, round {number}: head {clean:.3f}, {robust:.3f} under attack; layer {own[0]:.3f}, {own[1]:.3f}"
        )
    return cvxrobust.load(file), units


def _solving(run: CifarRun) -> SolvingTerms:
    return SolvingTerms(run.terms.head_seconds, run.terms.tolerance, run.device.type, run.terms.threads)


def _deciding(run: CifarRun, backbone: PreActResNet18, head: Network, units: Standardised) -> tuple[float, float]:
    module = SplicedClassifier(backbone, head.to_torch(), units).eval().requires_grad_(False)
    return run.robust_share(module)
