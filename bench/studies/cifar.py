"""CIFAR-10, all ten classes at once, on random features: adversarial training to certified gaps.

    CVXROBUST_DATA=... python -m cvxrobust.bench.studies.cifar [--device cuda] [--samples 50000] [--features 512]

Features are standardised ``relu(patches W)``, summed over the quarters of an image, for random unit filters W on 6 x 6
patches (Coates, Ng and Lee 2011, *An analysis of single-layer networks in unsupervised feature learning*, AISTATS; with
random instead of learned filters). One network per class, one-versus-all, hinge, l2 attacks on the features.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.known import CIFAR10, find_file
from cvxrobust.bench.display import console, make_table
from cvxrobust.bench.studies.first_order import seconds_to

PATCH, STRIDE, PARTS = 6, 2, 4
GAPS = (1e-1, 3e-2, 1e-2)
RADII = (0.0, 0.1, 0.3, 0.5)


def load_cifar(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Training images, shape (50000, 3, 32, 32), their labels, test images and theirs.

    Args:
        folder: Data folder; None takes the environment variable ``CVXROBUST_DATA``.

    Raises:
        InputError: A file is missing, or is not the one expected.
    """
    images, labels = [], []
    for known in CIFAR10:
        with np.load(find_file(known, "cifar-10", folder)) as file:
            images.append(file["images"])
            labels.append(file["labels"].astype(np.int64))
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]


def random_features(images: NDArray[np.uint8], count: int, seed: int = 0) -> NDArray[np.float64]:
    """Features of images, shape (n, count), count a multiple of 4; not standardised.

    Args:
        images: Shape (n, 3, 32, 32).
        count: Number of features.
        seed: Of the filters.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    filters = torch.randn((count // PARTS, 3, PATCH, PATCH), generator=generator)
    filters -= filters.mean(dim=(1, 2, 3), keepdim=True)  # blind to brightness
    filters /= filters.flatten(1).norm(dim=1)[:, None, None, None]
    parts = []
    for start in range(0, images.shape[0], 1000):
        pixels = torch.tensor(images[start : start + 1000]).float() / 255.0
        found = torch.nn.functional.conv2d(pixels, filters, stride=STRIDE).clamp(min=0.0)
        parts.append(torch.nn.functional.adaptive_avg_pool2d(found, 2).flatten(1).double())
    return np.asarray(torch.cat(parts).numpy())


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, certify, evaluate, print."""
    from cvxrobust import AdversarialSDP, Settings, solve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, help="folder of the files; CVXROBUST_DATA by default")
    parser.add_argument("--samples", type=int, default=50_000, help="training images, from the first")
    parser.add_argument("--features", type=int, default=512, help="random features, a multiple of 4")
    parser.add_argument("--radius", type=float, default=0.3, help="l2 attack radius on standardised features")
    parser.add_argument("--beta", type=float, default=0.01, help="weight of the penalty")
    parser.add_argument("--tolerance", type=float, default=1e-2, help="certified relative gap to reach, per class")
    parser.add_argument("--time-limit", type=float, default=1800.0, help="seconds")
    parser.add_argument("--threads", type=int, default=2, help="threads")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--dtype", default="float64", choices=("float64", "float32"), help="of the large products")
    asked = parser.parse_args(arguments)
    images, labels, test_images, test_labels = load_cifar(asked.data_folder)
    X = random_features(images[: asked.samples], asked.features)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    problem = AdversarialSDP((X - mean) / scale, labels[: asked.samples], radius=asked.radius, beta=asked.beta)
    settings = Settings(
        tolerance=asked.tolerance, time_limit=asked.time_limit, threads=asked.threads, device=asked.device,
        dtype=asked.dtype,
    )  # fmt: skip

    def progress(elapsed: float, upper: float, lower: float) -> Any:
        print(f"{elapsed:8.1f} s  [{lower:.6f}, {upper:.6f}]", flush=True)

    result = solve(problem, backend="torch", settings=settings, callback=progress)
    print(result)
    print("  ".join(f"{gap:.0e} in all after {seconds_to(result, gap):.0f} s" for gap in GAPS))
    print("per class:", "  ".join(f"{part.certificate.relative_gap:.1e}" for part in result.parts))
    print(f"{result.iterations} gradients, peak memory {result.peak_memory / 2**30:.2f} GiB")
    test = (random_features(test_images, asked.features) - mean) / scale
    accuracies = result.network.robust_accuracy(test[:2000], test_labels[:2000], RADII)
    rows = [[f"{radius:g}", f"{100 * accuracy:.2f}"] for radius, accuracy in zip(RADII, accuracies, strict=True)]
    console().print(make_table("Exact robust accuracy, 2,000 test images", ["l2 radius", "%"], rows, left=0))


if __name__ == "__main__":
    main()
