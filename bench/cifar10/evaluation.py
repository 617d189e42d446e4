"""What attacks on pixels leave of a classifier, by the package's own evaluation, attack by attack, image by image."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional

from cvxrobust import Threat, evaluate_robustness
from cvxrobust.bench.cifar10.attacks import LEVEL
from cvxrobust.bench.cifar10.backbones.network import CLASSES
from cvxrobust.bench.cifar10.terms import CifarTerms
from cvxrobust.bench.data.cifar import LabelledImages
from cvxrobust.core.attacks.threat import AttackSet
from cvxrobust.core.robustness.attacks import Attack, Best, Effort, fgsm, fgsm_of_the_sum, pgd
from cvxrobust.core.robustness.models import Model
from cvxrobust.core.robustness.modules import TorchModel

Alive = NDArray[np.bool_]
FGSM, OF_THE_SUM, PGD, OUTSIDE, WORST = "FGSM", "the paper's FGSM", "margin PGD", "AutoAttack", "worst"
FIRST = "margin PGD, the first images"
"""Those that attacks on the cross-entropy have, too."""

SCALES = (1.0, 30.0)
"""Factors on logits that attacks on the cross-entropy see: what they leave should not depend on them, and does."""

BLOCK = 128
ENSEMBLE = ("apgd-ce", "apgd-t")
"""What of AutoAttack is run on processors; on GPUs all of it."""


def scaled_name(scale: float) -> str:
    """What the attack on the cross-entropy is called."""
    return f"cross-entropy PGD, logits x {scale:g}"


def cross_entropy_pgd(scale: float) -> Attack:
    """Projected steps up the cross-entropy of logits times a factor, in the classifier's own precision.

    What many published figures rest on. With large logits the cross-entropy of an image that is classified safely is 0
    to rounding, and so is its slope: the attack stands still. Attacks on the margin know no such factor.
    """

    def attack(model: Model, attacks: AttackSet, index: NDArray[np.intp], best: Best, effort: Effort) -> None:
        assert isinstance(model, TorchModel)
        x = attacks.X
        for k in range(effort.steps):
            step = 0.5 * (1.0 - k / effort.steps) * attacks.radius[:, None]
            x = attacks.moved(x + step * np.sign(_slopes(model, x, index, scale)) - attacks.X)
            best.offer(x, model.margins(x, index))

    return attack


def _slopes(model: TorchModel, X: NDArray[np.float64], index: NDArray[np.intp], scale: float) -> NDArray[np.float64]:
    found = np.empty_like(X)
    for start in range(0, len(X), BLOCK):
        rows = slice(start, start + BLOCK)
        x = torch.tensor(X[rows], dtype=model.precision, device=model.device, requires_grad=True)
        labels = torch.tensor(index[rows], device=model.device)
        loss = functional.cross_entropy(scale * model.logits(x), labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, x)
        found[rows] = slope.double().cpu().numpy()
    return found


@dataclass(frozen=True)
class Judged:
    """What became of images.

    Args:
        clean: Those that are right without an attack, shape (n,).
        alive: By attack, those that are right under it, shape (radii, n).
        seconds: That it took.
    """

    clean: Alive
    alive: Mapping[str, Alive]
    seconds: float

    def to_row(self) -> dict[str, Any]:
        """Shares, in the order of radii."""
        shares = {name: [float(share) for share in alive.mean(axis=1)] for name, alive in self.alive.items()}
        row = {"images": int(self.clean.size), "clean": float(self.clean.mean()), "seconds": self.seconds, **shares}
        if (scaled := self.alive.get(scaled_name(SCALES[0]))) is not None:
            row[FIRST] = [float(share) for share in self.alive[PGD][:, : scaled.shape[1]].mean(axis=1)]
        return row


def judge(module: nn.Module, data: LabelledImages, terms: CifarTerms) -> Judged:
    """Attack a classifier.

    FGSM and the paper's FGSM (the sum of the wrong classes' logits, pixels not clamped) are what they are at each
    radius alone; margin PGD keeps what broke an image at a smaller radius. Attacks on the cross-entropy have the first
    `outside_images`. The worst of all but the unclamped one counts.

    Args:
        module: Pixels to logits, in eval mode.
        data: The images.
        terms: Radii and effort.
    """
    began = time.perf_counter()
    radii = [radius / LEVEL for radius in terms.radii]
    boxed = Threat("inf", bounds=(0.0, 1.0))

    def alive(images: LabelledImages, threat: Threat, attacks: Mapping[str, Attack], radii: list[float]) -> Alive:
        found = evaluate_robustness(
            module, images.images / LEVEL, images.labels, threat, radii, classes=range(CLASSES), steps=terms.steps,
            restarts=terms.restarts, attacks=attacks, audit=0, double=False,
        )  # fmt: skip
        return found.alive

    alone: list[tuple[str, Threat, Attack]] = [
        (FGSM, boxed, fgsm),
        (OF_THE_SUM, Threat("inf"), fgsm_of_the_sum),
    ]
    found = {
        name: np.concatenate([alive(data, threat, {name: attack}, [radius]) for radius in radii])
        for name, threat, attack in alone
    }
    strong = alive(data, boxed, {"fgsm": fgsm, "pgd": pgd}, [0.0, *radii])
    found[PGD] = strong[1:]
    found[WORST] = found[FGSM] & found[PGD]
    first = data.of(slice(0, terms.outside_images))
    for scale in SCALES if len(first) else ():
        left = alive(first, boxed, {"ce": cross_entropy_pgd(scale)}, radii)
        found[scaled_name(scale)] = left
        found[WORST][:, : len(first)] &= left
    return Judged(strong[0], found, time.perf_counter() - began)


def outside(module: nn.Module, data: LabelledImages, terms: CifarTerms, alive: Alive) -> Alive | None:
    """What AutoAttack leaves of the images that other attacks left alone, at the radius that decides; None without it.

    Args:
        module: The classifier.
        data: The images; the first `outside_images` take part.
        terms: How many.
        alive: Those that other attacks left, shape (n,).
    """
    if find_spec("pyautoattack") is None or not terms.outside_images:
        return None
    from cvxrobust.core.robustness.outside import autoattack

    left = alive[: terms.outside_images].copy()
    rows = np.flatnonzero(left)
    if rows.size:
        on_gpu = next(module.parameters()).is_cuda
        attack = autoattack() if on_gpu else autoattack("custom", ENSEMBLE)
        report = evaluate_robustness(
            module, data.images[rows] / LEVEL, data.labels[rows], Threat("inf", bounds=(0.0, 1.0)),
            [terms.deciding_radius / LEVEL], attacks={OUTSIDE: attack}, audit=0, classes=range(CLASSES), double=False,
        )  # fmt: skip
        left[rows] = report.alive[0]
    return left


@dataclass(frozen=True)
class Paired:
    """McNemar's exact test of two classifiers on the same images.

    Args:
        won: Images that only the first has right.
        lost: Images that only the second has right.
    """

    won: int
    lost: int

    @classmethod
    def of(cls, first: Alive, second: Alive) -> "Paired":
        """Of two classifiers' images."""
        return cls(int((first & ~second).sum()), int((second & ~first).sum()))

    @property
    def p(self) -> float:
        """How probable a difference as large as this is between equals, either way."""
        if not self.won + self.lost:
            return 1.0
        return float(binomtest(min(self.won, self.lost), self.won + self.lost, 0.5).pvalue)


def holm(values: list[float]) -> list[float]:
    """Probabilities adjusted for their number (Holm, 1979), in their order."""
    order, found, largest = np.argsort(values), [0.0] * len(values), 0.0
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - place) * values[k]))
        found[int(k)] = largest
    return found
