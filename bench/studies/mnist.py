"""MNIST, 0 to 4 against 5 to 9: adversarial training of a polynomial network to a certified gap, and how robust it is.

    CVXROBUST_DATA=... python -m cvxrobust.bench.studies.mnist [--threads 2] [--radius 0.3] [--tolerance 1e-2]
                                                                    [--out FILE]

60,000 images of 784 pixels in [0, 1], hinge, beta = 0.01, l2 attacks; exact robust accuracies on the 10,000 test
images. Interrupted runs go on where they were with ``--checkpoint FOLDER``.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.known import MNIST, find_file
from cvxrobust.bench.display import console, make_table
from cvxrobust.bench.studies.first_order import seconds_to

RADII = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
GAPS = (1e-1, 3e-2, 1e-2)


@dataclass(frozen=True)
class Images:
    """Images with their digits.

    Args:
        X: Pixels in [0, 1], shape (n, 784).
        digits: Shape (n,).
    """

    X: NDArray[np.float64]
    digits: NDArray[np.int64]

    @property
    def halves(self) -> NDArray[np.float64]:
        """+1 for 0 to 4, -1 for 5 to 9, shape (n,)."""
        return np.where(self.digits < 5, 1.0, -1.0)


def load_mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Images, Images]:
    """Training and test images.

    Args:
        folder: Data folder; None takes the environment variable ``CVXROBUST_DATA``.

    Raises:
        InputError: The file ``mnist.npz`` is missing, or is not the one expected.
    """
    with np.load(find_file(MNIST, "mnist", folder)) as file:
        found = [
            Images(file[f"{part}_images"].reshape(-1, 784) / 255.0, file[f"{part}_labels"].astype(np.int64))
            for part in ("train", "test")
        ]
    return found[0], found[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, certify, evaluate, print."""
    from cvxrobust import AdversarialSDP, Settings, solve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, help="folder of mnist.npz; CVXROBUST_DATA by default")
    parser.add_argument("--samples", type=int, default=60_000, help="training images, from the first")
    parser.add_argument("--radius", type=float, default=0.3, help="l2 attack radius, pixels being in [0, 1]")
    parser.add_argument("--beta", type=float, default=0.01, help="weight of the penalty")
    parser.add_argument("--tolerance", type=float, default=1e-2, help="certified relative gap to reach")
    parser.add_argument("--time-limit", type=float, default=1800.0, help="seconds")
    parser.add_argument("--threads", type=int, default=2, help="threads")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("--dtype", default="float64", choices=("float64", "float32"), help="of the large products")
    parser.add_argument("--checkpoint", type=Path, help="folder of checkpoints")
    parser.add_argument("--out", type=Path, help="where to save the network")
    asked = parser.parse_args(arguments)
    train, test = load_mnist(asked.data_folder)
    options: dict[str, Any] = {} if asked.checkpoint is None else {"checkpoint": str(asked.checkpoint)}
    settings = Settings(
        tolerance=asked.tolerance, time_limit=asked.time_limit, threads=asked.threads, device=asked.device,
        dtype=asked.dtype, options=options,
    )  # fmt: skip
    problem = AdversarialSDP(
        train.X[: asked.samples], train.halves[: asked.samples], radius=asked.radius, beta=asked.beta
    )
    result = solve(
        problem,
        backend="torch",
        settings=settings,
        callback=lambda elapsed, upper, lower: print(f"{elapsed:8.1f} s  [{lower:.6f}, {upper:.6f}]", flush=True),
    )
    print(result)
    print("  ".join(f"{gap:.0e} after {seconds_to(result, gap):.0f} s" for gap in GAPS))
    print(f"{result.iterations} gradients, peak memory {result.peak_memory / 2**30:.2f} GiB")
    accuracies = result.network.robust_accuracy(test.X, test.halves, RADII)
    rows = [[f"{radius:g}", f"{100 * accuracy:.2f}"] for radius, accuracy in zip(RADII, accuracies, strict=True)]
    console().print(make_table("Exact robust accuracy on the test images", ["l2 radius", "%"], rows, left=0))
    if asked.out:
        result.network.save(asked.out)


if __name__ == "__main__":
    main()
