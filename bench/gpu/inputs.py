"""What a run brings along, because the machine with the GPU may have no network: small inputs, small packages.

    python -m cvxrobust.bench.gpu.inputs --out FOLDER [--data-folder FOLDER]

Writes ``digits.npz`` (1,500 images of scikit-learn's digits), ``mnist.npz`` (the training images as bytes) and
``mnist8x8.npz`` (5,000 of them brought to 8 x 8 pixels) where MNIST is at hand, and ``site/``: the pure Python packages
that `cvxrobust.core` needs and PyTorch does not bring, so that the machine needs them no more; ``tests/``: those that
run tests, for a machine without them. Nothing of this is committed.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.images import digits, even_odd, load_mnist, low_high, scaled_small, small_images

Array = NDArray[np.float64]
PACKAGES = ("array-api-compat", "pluggy", "threadpoolctl")
"""Pure Python all three, so that they run wherever PyTorch does."""
TEST_PACKAGES = ("pytest", "iniconfig", "packaging", "pygments")
"""Where a machine has its own, those are taken, because plugins go with them."""
STAND_IN = "digits, enlarged"
"""What stands for MNIST where it is not at hand."""


def _brought_digits(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`digits`, from the folder where it has them: then the machine needs no scikit-learn."""
    path = folder / "digits.npz"
    if not path.exists():
        return digits()
    with np.load(path) as file:
        return file["X"], file["target"]


def load_digits_problem(folder: Path, rows: int) -> tuple[Array, Array]:
    """Digits in [-1, 1], shape (rows, 64), even against odd."""
    X, target = _brought_digits(folder)
    return X[:rows] / 8.0 - 1.0, even_odd(target[:rows])


def load_small_mnist(folder: Path, rows: int) -> tuple[Array, Array] | None:
    """MNIST as 8 x 8 pixels in [-1, 1], even against odd; None where it was not brought along."""
    path = folder / "mnist8x8.npz"
    if not path.exists():
        return None
    with np.load(path) as file:
        return scaled_small(file["X"][:rows]), even_odd(file["target"][:rows])


def load_images(folder: Path, rows: int) -> tuple[str, Array, Array]:
    """Name, images of 784 pixels in [0, 1] and 0 to 4 against 5 to 9: of MNIST, or of digits made as large."""
    path = folder / "mnist.npz"
    if path.exists():
        with np.load(path) as file:
            X, target, name = file["images"][:rows].reshape(-1, 784) / 255.0, file["target"][:rows], "MNIST"
    else:
        few, target = _brought_digits(folder)
        larger = np.kron(few.reshape(-1, 8, 8), np.ones((1, 3, 3)))
        whole = np.pad(larger, ((0, 0), (2, 2), (2, 2))).reshape(-1, 784) / 16.0
        rng, chosen = np.random.default_rng(0), np.arange(rows) % len(whole)
        X, target = np.clip(whole[chosen] + 0.1 * rng.standard_normal((rows, 784)), 0.0, 1.0), target[chosen]
        name = STAND_IN
    return name, X, low_high(target)


def write(out: Path, data_folder: str | None) -> list[str]:
    """Write everything; what there is to say about it."""
    from cvxrobust.core.errors import InputError

    out.mkdir(parents=True, exist_ok=True)
    X, target = digits()
    np.savez_compressed(out / "digits.npz", X=X, target=target)
    said = []
    try:
        images, labels = load_mnist("train", data_folder)
        np.savez_compressed(out / "mnist.npz", images=images, target=labels)
        np.savez_compressed(out / "mnist8x8.npz", X=small_images(images[:5000]), target=labels[:5000])
    except InputError as error:
        said.append(f"without MNIST: {error} Part mnist takes {STAND_IN}, part interior_point digits alone.")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--upgrade"]
    for folder, names in (("site", PACKAGES), ("tests", TEST_PACKAGES)):
        wanted = [f"{name}=={version(name)}" for name in names]
        subprocess.run([*command, "--target", str(out / folder), *wanted], check=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    packages = ", ".join(f"{name}=={version(name)}" for name in dict.fromkeys((*PACKAGES, *TEST_PACKAGES)))
    return [*said, f"{out}: {size / 2**20:.1f} MiB, with {packages}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--data-folder", help="folder of mnist.npz; CVXROBUST_DATA by default")
    asked = parser.parse_args(arguments)
    print("\n".join(write(asked.out, asked.data_folder or None)))


if __name__ == "__main__":
    main()
