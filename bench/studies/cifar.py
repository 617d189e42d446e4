"""CIFAR-10, all ten classes at once, on random features: adversarial training to certified gaps.

    CVXROBUST_DATA=... python -m cvxrobust.bench.studies.cifar [--device cuda] [--samples 50000] [--features 512]

Features are standardised ``relu(patches W)``, summed over the quarters of an image, for random unit filters W on 6 x 6
patches (Coates, Ng and Lee 2011, *An analysis of single-layer networks in unsupervised feature learning*, AISTATS; with
random instead of learned filters). One network per class, one-versus-all, hinge, l2 attacks on the features.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.cifar import load_cifar
from cvxrobust.bench.studies.mnist import images_parser, print_accuracies, trained

PATCH, STRIDE, PARTS = 6, 2, 4
RADII = (0.0, 0.1, 0.3, 0.5)


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
    parser = images_parser(__doc__, 50_000, "l2 attack radius on standardised features")
    parser.add_argument("--features", type=int, default=512, help="random features, a multiple of 4")
    asked = parser.parse_args(arguments)
    train, test = load_cifar(asked.data_folder)
    X = random_features(train.images[: asked.samples], asked.features)
    mean, scale = X.mean(axis=0), X.std(axis=0)
    result = trained((X - mean) / scale, train.labels[: asked.samples], asked, {})
    print("per class:", "  ".join(f"{part.certificate.relative_gap:.1e}" for part in result.parts))
    Z = (random_features(test.images[:2000], asked.features) - mean) / scale
    accuracies = result.network.robust_accuracy(Z, test.labels[:2000], RADII)
    print_accuracies("Exact robust accuracy, 2,000 test images", accuracies, RADII)


if __name__ == "__main__":
    main()
