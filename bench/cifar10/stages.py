"""The stages of one seed, each of which goes on where a killed one was."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from cvxrobust.bench.cifar10.attacks import LEVEL, PixelAttack
from cvxrobust.bench.cifar10.backbones.batches import ImageBank
from cvxrobust.bench.cifar10.backbones.features import Standardised, measure_displacement, write_features
from cvxrobust.bench.cifar10.backbones.network import CLASSES, PreActResNet18
from cvxrobust.bench.cifar10.backbones.training import (
    BackboneTrainer,
    Precision,
    Recipe,
    frozen,
    load_state,
    train_backbone,
)
from cvxrobust.bench.cifar10.heads.convex import HeadData, SolvingTerms
from cvxrobust.bench.cifar10.heads.methods import OWN, HeadMethod, Setting
from cvxrobust.bench.cifar10.heads.splice import SplicedClassifier, load_head
from cvxrobust.bench.cifar10.store import CifarStore
from cvxrobust.bench.cifar10.terms import TRIVIAL, CifarTerms, Split, check_classes
from cvxrobust.bench.data.cifar import LabelledImages
from cvxrobust.bench.studies.common import Row

SGD, ADVERSARIAL = "sgd", "adversarial"
FINE_RATE = 0.05
"""Peak of the rate of adversarial training, which goes on from a trained network."""


@dataclass(frozen=True)
class CifarRun:
    """One seed of a study.

    Args:
        store: Where everything is kept.
        terms: The terms.
        methods: The heads.
        seed: The seed.
        train: All training images.
        test: The test images.
        device: Where PyTorch computes.
        told: Hears what happens.
    """

    store: CifarStore
    terms: CifarTerms
    methods: tuple[HeadMethod, ...]
    seed: int
    train: LabelledImages
    test: LabelledImages
    device: torch.device
    told: Callable[[str], None]

    @cached_property
    def split(self) -> Split:
        """What each training image serves for."""
        return Split.of(len(self.train), self.terms.subset, self.seed)

    @cached_property
    def deciding(self) -> ImageBank:
        """Images that decide, as many as are attacked."""
        return self.bank(self.split.deciding[: self.terms.deciding_images])

    def bank(self, rows: np.ndarray[Any, np.dtype[np.intp]]) -> ImageBank:
        """Some training images, on the device."""
        return ImageBank(self.train.of(rows), self.device)

    @cached_property
    def oracle_bank(self) -> ImageBank:
        """Images whose attacked features become points."""
        rows = self.split.heads[: self.terms.oracle_images]
        check_classes(self.train.labels[rows], CLASSES, "points in pixel space")
        return self.bank(rows)

    def recipes(self) -> tuple[Recipe, ...]:
        """Backbones, each after the one that it starts from.

        Adversarial training goes on from SGD for half as many epochs at twice the cost: with its start it has cost as
        much as sharpness-aware minimisation.
        """
        terms, seed = self.terms, self.seed
        return (
            Recipe(SGD, terms.epochs, seed=seed),
            *(Recipe(sam_name(rho), terms.epochs, rho=rho, seed=seed) for rho in terms.rhos),
            Recipe(
                ADVERSARIAL, max(1, terms.epochs // 2), radius=terms.training_radius / LEVEL, rate=FINE_RATE,
                start=SGD, seed=seed,
            ),
        )  # fmt: skip

    def key(self, *parts: str) -> tuple[str, ...]:
        """Of a row of this seed."""
        return (str(self.seed), *parts)

    def kept(self, *parts: str) -> Row | None:
        """The row, if it is there."""
        return self.store.rows().get(self.key(*parts))

    def keep(self, row: Row, *parts: str) -> Row:
        """Keep a row of this seed."""
        return self.store.keep(self.key(*parts), row)

    def place(self, *parts: str) -> tuple[str, ...]:
        """Of a file of this seed."""
        return (f"seed-{self.seed}", *parts)

    def load_backbone(self, name: str) -> PreActResNet18:
        """A trained backbone, frozen."""
        network = PreActResNet18(self.terms.width)
        network.load_state_dict(load_state(self.store.path(*self.place("backbones", f"{name}.pt")))["network"])
        return frozen(network, self.device)

    def robust_share(self, module: nn.Module) -> tuple[float, float]:
        """Of the images that decide: right, and right under attack."""
        bank, attack = (
            self.deciding,
            PixelAttack(self.terms.deciding_radius / LEVEL, self.terms.deciding_steps, seed=self.seed),
        )
        clean, robust = 0, 0
        for rows in bank.blocks():
            x, labels = bank.plain(rows), bank.labels[rows]
            with torch.no_grad():
                clean += int((module(x).argmax(dim=1) == labels).sum())
            robust += int((attack(module, x, labels)[1] > 0.0).sum())
        return clean / len(bank), robust / len(bank)


def file_name(backbone: str, head: str) -> str:
    """What files of a head on a backbone are called, without a suffix."""
    return f"{backbone}-{head}".replace(", ", "-").replace(" ", "-")


def sam_name(rho: float) -> str:
    """What a backbone of sharpness-aware minimisation is called."""
    return f"sam-{rho:g}"


def train_backbones(run: CifarRun) -> None:
    """Stage one: every backbone, and how it does on the images that decide."""
    bank = run.bank(run.split.backbone)
    precision = Precision(run.device, getattr(torch, run.terms.dtype))
    for recipe in run.recipes():
        if run.kept("backbone", recipe.name):
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = PreActResNet18(run.terms.width)
        if recipe.start is not None:
            start = load_state(run.store.path(*run.place("backbones", f"{recipe.start}.pt")))
            network.load_state_dict(start["network"])
        trainer = BackboneTrainer(recipe, bank, network, precision)
        train_backbone(trainer, run.store.path(*run.place("backbones", f"{recipe.name}.pt")), run.told)
        clean, robust = run.robust_share(frozen(trainer.network, run.device))
        run.keep(
            {"cost": recipe.cost, "epochs": recipe.epochs, "history": trainer.history, "deciding_clean": clean,
             "deciding_robust": robust, "images": len(bank)},
            "backbone", recipe.name,
        )  # fmt: skip


def chosen_backbones(run: CifarRun) -> list[str]:
    """Those that have heads: SGD's, the sharpness-aware one that is best on the images that decide, the adversarial."""
    rows = run.store.rows()
    names = [sam_name(rho) for rho in run.terms.rhos]
    best = max(names, key=lambda name: float(rows[run.key("backbone", name)]["deciding_robust"]))
    return [SGD, best, ADVERSARIAL]


@dataclass(frozen=True, eq=False)
class PreparedBackbone:
    """A backbone, ready for heads.

    Args:
        name: Of the backbone.
        network: Frozen.
        units: Of features.
        data: Features of images for heads.
    """

    name: str
    network: PreActResNet18
    units: Standardised
    data: HeadData


def prepare(run: CifarRun, name: str) -> PreparedBackbone:
    """Stage two, for one backbone: features on the disk, and how far pixel attacks move them."""
    network = run.load_backbone(name)
    bank = run.bank(run.split.heads)
    features = write_features(network.features, bank, run.store.path(*run.place("features", f"{name}.npy")))
    units = Standardised.of(features)
    place = run.place("features", f"{name}-displacement.npz")
    if run.kept("displacement", name) is None:
        attack = PixelAttack(run.terms.deciding_radius / LEVEL, run.terms.deciding_steps, seed=run.seed)
        found = measure_displacement(network, run.bank(run.split.heads[: run.terms.displaced_images]), units, attack)
        run.store.keep_arrays({"covariance": found.covariance}, *place)
        run.keep(found.to_row(), "displacement", name)
        run.told(f"{name}: features of {len(features)} images, {features.shape[1]} each")
    data = HeadData(units(features), bank.labels.cpu().numpy(), run.store.arrays(*place)["covariance"])
    check_classes(data.first(run.terms.tuning_images).labels, CLASSES, "trying settings of heads")
    return PreparedBackbone(name, network, units, data)


def train_heads(run: CifarRun, prepared: PreparedBackbone) -> None:
    """Stage three, for one backbone: try settings on few images, decide by attacks on others, train on all."""
    for method in run.methods:
        if run.kept("head", prepared.name, method.name):
            continue
        settings = method.settings[: run.terms.settings or None]
        tried = [_tried(run, prepared, method, one) for one in settings] if len(settings) > 1 else []
        shares = [
            (row["deciding_clean"] >= TRIVIAL, row["deciding_robust"], row["deciding_clean"]) for row in tried
        ] or [(False, 0.0, 0.0)]
        setting = settings[shares.index(max(shares))]
        row = _fit(run, prepared, method, setting, run.terms.head_seconds, None)
        row["tried"] = [{name: one[name] for name in ("radius", "beta", "deciding_robust")} for one in tried]
        run.keep(row, "head", prepared.name, method.name)
        gap = f", certified gap {row['gap']:.1e}" if "gap" in row else ""
        run.told(f"{prepared.name}: {method.name}, {setting}{gap}, {row['cpu_seconds']:.0f} s")


def _tried(run: CifarRun, prepared: PreparedBackbone, method: HeadMethod, setting: Setting) -> Row:
    key = ("tried", prepared.name, method.name, str(setting))
    if (row := run.kept(*key)) is not None:
        return row
    return run.keep(_fit(run, prepared, method, setting, run.terms.tuning_seconds, run.terms.tuning_images), *key)


def _fit(
    run: CifarRun, prepared: PreparedBackbone, method: HeadMethod, setting: Setting, seconds: float, images: int | None
) -> Row:
    data = prepared.data if images is None else prepared.data.first(images)
    solving = SolvingTerms(seconds, run.terms.tolerance, run.device.type, run.terms.threads)
    folder = "heads" if images is None else "tried"
    place = run.place(folder, file_name(prepared.name, method.name))
    try:
        row = method.fit(data, setting, solving, run.seed, run.store.path(*place))
        clean, robust = run.robust_share(spliced(run, prepared, folder, row))
    except Exception as error:  # a failure is a row: hours of other heads do not depend on this one
        failure = f"{type(error).__name__}: {error}"[:300]
        run.told(f"{prepared.name}: {method.name}, {setting} failed: {failure}")
        return {"radius": setting.radius, "beta": setting.beta, "failure": failure, "cpu_seconds": 0.0,
                "deciding_clean": 0.0, "deciding_robust": -1.0}  # fmt: skip
    return row | {"deciding_clean": clean, "deciding_robust": robust}


def spliced(run: CifarRun, prepared: PreparedBackbone, folder: str, row: Row) -> nn.Module:
    """A head of a row on its backbone, frozen."""
    head = load_head(run.store.path(*run.place(folder, row["file"])))
    return SplicedClassifier(prepared.network, head, prepared.units).eval().requires_grad_(False)


def classifiers(run: CifarRun) -> Iterator[tuple[str, str, nn.Module]]:
    """Every backbone with its own layer, then those with heads: names of both, and the module."""
    for recipe in run.recipes():
        yield recipe.name, OWN, run.load_backbone(recipe.name)
    rows = run.store.rows()
    for name in chosen_backbones(run):
        prepared = prepare(run, name)
        for method in run.methods:
            row = rows.get(run.key("head", name, method.name))
            if row is not None and "failure" not in row:
                yield name, method.name, spliced(run, prepared, "heads", row)
