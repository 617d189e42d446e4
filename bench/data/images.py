"""Images with what they show: scikit-learn's digits and MNIST, as their files hold them."""

import os

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.bundled import load_digits
from cvxrobust.bench.data.known import MNIST, find_file

Bytes = NDArray[np.uint8]
Classes = NDArray[np.int64]


def digits() -> tuple[Bytes, Classes]:
    """1,500 images of scikit-learn's digits, values 0 to 16, shape (1500, 64), and the digits."""
    bundled = load_digits()
    order = np.random.default_rng(0).permutation(len(bundled.X))[:1500]
    return bundled.X[order].astype(np.uint8), bundled.target[order]


def load_mnist(part: str = "train", folder: str | os.PathLike[str] | None = None) -> tuple[Bytes, Classes]:
    """Images of MNIST, values 0 to 255, shape (n, 28, 28), and the digits, shape (n,).

    Args:
        part: ``"train"`` or ``"test"``.
        folder: Data folder; None takes the environment variable ``CVXROBUST_DATA``.

    Raises:
        InputError: The file ``mnist.npz`` is missing, or is not the one expected.
    """
    with np.load(find_file(MNIST, "mnist", folder)) as file:
        return file[f"{part}_images"].reshape(-1, 28, 28), file[f"{part}_labels"].astype(np.int64)


def small_images(images: Bytes) -> NDArray[np.uint16]:
    """Sums of 4 x 4 pixels, of 32 x 32 with an empty margin: shape (n, 28, 28) becomes (n, 64), without rounding."""
    wide = np.pad(images.astype(np.uint16), ((0, 0), (2, 2), (2, 2)))
    return np.asarray(wide.reshape(-1, 8, 4, 8, 4).sum((2, 4)), dtype=np.uint16).reshape(-1, 64)


def scaled_small(images: NDArray[np.uint16]) -> NDArray[np.float64]:
    """`small_images` with pixels in [-1, 1]."""
    return images / (0.5 * 16.0 * 255.0) - 1.0


def three_or_eight(images: Bytes, target: Classes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Threes (+1) and eights (-1) at 14 x 14 pixels from 0 to 1: shape (n, 28, 28) becomes (m, 196)."""
    kept = (target == 3) | (target == 8)
    small = images[kept].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196) / 255.0
    return small, np.where(target[kept] == 3, 1.0, -1.0)


def even_odd(target: Classes) -> NDArray[np.float64]:
    """+1 for even digits, -1 for odd ones."""
    return np.where(target % 2 == 0, 1.0, -1.0)


def low_high(target: Classes) -> NDArray[np.float64]:
    """+1 for 0 to 4, -1 for 5 to 9."""
    return np.where(target < 5, 1.0, -1.0)
