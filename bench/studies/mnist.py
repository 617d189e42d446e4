"""MNIST, 0 to 4 against 5 to 9: adversarial training of a polynomial network to a certified gap, and how robust it is.

    CVXROBUST_DATA=... python -m cvxrobust.bench.studies.mnist [--threads 2] [--radius 0.3] [--tolerance 1e-2]
                                                                    [--out FILE]

60,000 images of 784 pixels in [0, 1], hinge, beta = 0.01, l2 attacks; exact robust accuracies on the 10,000 test
images. Interrupted runs go on where they were with ``--checkpoint FOLDER``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.images import load_mnist, low_high
from cvxrobust.bench.metrics import seconds_to
from cvxrobust.bench.studies.common import number, print_bounds, print_table, study_parser

if TYPE_CHECKING:
    from cvxrobust.core.contracts.result import Result

RADII = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
GAPS = (1e-1, 3e-2, 1e-2)


def images_parser(about: str | None, samples: int, radius_help: str) -> argparse.ArgumentParser:
    """The options of a study that trains on images.

    Args:
        about: The docstring of its module.
        samples: How many training images there are.
        radius_help: What the radius is measured in.
    """
    parser = study_parser(
        about, data_folder=Path, beta=0.01, tolerance=1e-2, time_limit=1800.0, threads=2, device="cpu", dtype="float64"
    )
    parser.add_argument("--samples", type=int, default=samples, help="training images, from the first")
    parser.add_argument("--radius", type=float, default=0.3, help=radius_help)
    return parser


def trained(
    X: NDArray[np.float64], y: NDArray[Any], asked: argparse.Namespace, options: dict[str, Any]
) -> "Result[Any]":
    """Train as asked, on all rows, and say when each gap was certified."""
    from cvxrobust import AdversarialSDP, Settings, solve

    settings = Settings(
        tolerance=asked.tolerance, time_limit=asked.time_limit, threads=asked.threads, device=asked.device,
        dtype=asked.dtype, options=options,
    )  # fmt: skip
    problem = AdversarialSDP(X, y, radius=asked.radius, beta=asked.beta)
    result = solve(problem, backend="torch", settings=settings, callback=print_bounds)
    print(result)
    print("  ".join(f"{gap:.0e} after {number(seconds_to(result, gap), '.0f')} s" for gap in GAPS))
    print(f"{result.iterations} gradients, peak memory {result.peak_memory / 2**30:.2f} GiB")
    return result


def print_accuracies(title: str, accuracies: NDArray[np.float64], radii: Sequence[float]) -> None:
    """Print exact robust accuracies by radius."""
    rows = [[f"{radius:g}", f"{100 * accuracy:.2f}"] for radius, accuracy in zip(radii, accuracies, strict=True)]
    print_table(title, ["l2 radius", "%"], rows, left=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, certify, evaluate, print."""
    parser = images_parser(__doc__, 60_000, "l2 attack radius, pixels being in [0, 1]")
    parser.add_argument("--checkpoint", type=Path, help="folder of checkpoints")
    parser.add_argument("--out", type=Path, help="where to save the network")
    asked = parser.parse_args(arguments)
    (X, y), (X_test, y_test) = (halves(part, asked.data_folder) for part in ("train", "test"))
    options = {} if asked.checkpoint is None else {"checkpoint": str(asked.checkpoint)}
    network = trained(X[: asked.samples], y[: asked.samples], asked, options).network
    accuracies = network.robust_accuracy(X_test, y_test, RADII)
    print_accuracies("Exact robust accuracy on the test images", accuracies, RADII)
    if asked.out:
        network.save(asked.out)


def halves(part: str, folder: Path | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels in [0, 1], shape (n, 784), and 0 to 4 against 5 to 9, shape (n,)."""
    images, digits = load_mnist(part, folder)
    return images.reshape(-1, 784) / 255.0, low_high(digits)


if __name__ == "__main__":
    main()
