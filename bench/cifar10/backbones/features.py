"""Features on the disk: one file of numbers per backbone and set of images, and how far pixel attacks move them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.bench.cifar10.attacks import PixelAttack
from cvxrobust.bench.cifar10.backbones.batches import ImageBank
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18
from cvxrobust.core.files import whole_file

Numbers = NDArray[np.float64]
SHRINKAGE = 0.05
"""Of the covariance of displacements, towards a ball: some hundred of them do not span all directions."""


def write_features(features: Callable[[Tensor], Tensor], bank: ImageBank, path: Path) -> NDArray[np.float32]:
    """Features of all images of a bank, shape (n, d), memory-mapped; a file that is there is not made again.

    Args:
        features: Of pixels.
        bank: The images.
        path: The .npy file, which takes its name when it is whole.
    """
    if not path.is_file():
        with whole_file(path) as file, torch.no_grad():
            for number, rows in enumerate(bank.blocks()):
                found = features(bank.plain(rows)).float().cpu().numpy()
                if number == 0:
                    header = {"descr": "<f4", "fortran_order": False, "shape": (len(bank), found.shape[1])}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(found, dtype="<f4").tobytes())
    mapped: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return mapped


@dataclass(frozen=True, eq=False)
class Standardised:
    """Features in standard deviations of those that heads are trained on.

    Args:
        mean: Shape (d,).
        deviations: Shape (d,), above 0.
    """

    mean: Numbers
    deviations: Numbers

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> "Standardised":
        """As some features are; those that never change are left as they are."""
        numbers = np.asarray(features, dtype=np.float64)
        deviations = numbers.std(axis=0)
        return cls(numbers.mean(axis=0), np.where(deviations > 1e-6 * deviations.max(), deviations, 1.0))

    def __call__(self, features: NDArray[np.float32]) -> Numbers:
        """Shape (n, d)."""
        return np.asarray((np.asarray(features, dtype=np.float64) - self.mean) / self.deviations)


@dataclass(frozen=True, eq=False)
class Displacement:
    """How far attacks on pixels move standardised features.

    Args:
        attacked: By attacks on the margin of the backbone's own layer, shape (m, d).
        noise: By noise of the same size, shape (m, d).
        nearest: Distance of each image's features to the nearest of another class among them, shape (m,).
    """

    attacked: Numbers
    noise: Numbers
    nearest: Numbers

    @property
    def covariance(self) -> Numbers:
        """Second moments, shrunk, scaled so that half of the displacements have length 1 or less in their metric."""
        moments = self.attacked.T @ self.attacked / len(self.attacked)
        d = len(moments)
        shrunk = (1.0 - SHRINKAGE) * moments + SHRINKAGE * np.trace(moments) / d * np.eye(d)
        lengths = np.einsum("ij,ij->i", self.attacked, np.linalg.solve(shrunk, self.attacked.T).T)
        return np.asarray(shrunk * max(float(np.median(lengths)), 1e-12))

    def to_row(self) -> dict[str, float | list[float]]:
        """What there is to say about it."""
        values = np.linalg.svd(self.attacked, compute_uv=False) ** 2
        return {
            "attacked": _tenths(np.linalg.norm(self.attacked, axis=1)),
            "noise": _tenths(np.linalg.norm(self.noise, axis=1)),
            "nearest": _tenths(self.nearest),
            "in_ten_directions": float(values[:10].sum() / max(values.sum(), 1e-300)),
            "effective_rank": float(values.sum() ** 2 / max((values**2).sum(), 1e-300)),
        }


def _tenths(values: Numbers) -> list[float]:
    return [float(value) for value in np.quantile(values, [0.1, 0.5, 0.9])]


def measure_displacement(
    network: PreActResNet18, bank: ImageBank, standardised: Standardised, attack: PixelAttack
) -> Displacement:
    """Attack all images of a bank, and look at where their features go.

    Args:
        network: Frozen.
        bank: The images.
        standardised: Units of features.
        attack: The attack.
    """
    generator = torch.Generator(bank.device).manual_seed(attack.seed)
    before: list[NDArray[np.float32]] = []
    attacked: list[NDArray[np.float32]] = []
    noisy: list[NDArray[np.float32]] = []
    for rows in bank.blocks():
        x = bank.plain(rows)
        signs = torch.empty_like(x).uniform_(-1.0, 1.0, generator=generator).sign()
        points, _ = attack(network, x, bank.labels[rows])
        with torch.no_grad():
            parts = (x, points, (x + attack.radius * signs).clamp(0.0, 1.0))
            for kept, images in zip((before, attacked, noisy), parts, strict=True):
                kept.append(network.features(images).float().cpu().numpy())
    Z, A, N = (standardised(np.concatenate(kept)) for kept in (before, attacked, noisy))
    return Displacement(A - Z, N - Z, nearest_of_another_class(Z, bank.labels.cpu().numpy()))


def nearest_of_another_class(Z: Numbers, labels: NDArray[np.int64]) -> Numbers:
    """Distance of each row to the nearest row of another class, shape (n,); inf where there is none."""
    distances = torch.cdist(torch.from_numpy(Z), torch.from_numpy(Z)).numpy()
    distances[labels[:, None] == labels] = np.inf
    return np.asarray(distances.min(axis=1))
