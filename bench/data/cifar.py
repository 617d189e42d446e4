"""CIFAR-10 in any of its forms: six files of arrays, the published Python batches, their archive, or a download.

Whatever the form, what is used are the published images in the published order: their bytes are checked.
"""

import hashlib
import io
import os
import pickle
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.known import CIFAR10, FOLDER_VARIABLE, find_file
from cvxrobust.core.errors import InputError
from cvxrobust.core.files import whole_file

ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
ORIGIN = "https://www.cs.toronto.edu/~kriz/" + ARCHIVE
BATCHES = "cifar-10-batches-py"
"""The folder in the archive."""

SYNTHETIC = "synthetic"
"""What is given for a folder to have images drawn at random, for trials."""

PARTS = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
IMAGES_SHA256 = (
    "a50e8b48728e1667d682a807155c375279d5ae321fb12242c02e3104a6bc8b21",
    "0b825e5592c3b72ea18d6ec2ff5f5b19d33e41a75f5039054a9bb87be3cf69a0",
    "c6ee1dd4601a69ec085d8ebf53ee6441775491a6839a0a9ae8fa198e88a3a429",
    "1f6b6c799cff375a9f8fae2fac909d51ee09f38a6a60eebb9e8fec6f47ddc48f",
    "58e3bbf713e28357476a351d3a05d056372f94c681d04ca9d62a076fdf2a643b",
    "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56",
)
LABELS_SHA256 = (
    "d829dbdf32167c9d7b3687cee66d92d80d46c441308b5aca0d11e8b69e27dac9",
    "5d18f7371ed35ea9ade77952fe958b0660a45cd6c8b8a8970030f21612cfd7e3",
    "32cf77b0ee2e790b1c4384d2d82e42dc1571b87e67f6da8f444b2725b2973f65",
    "d2815e3f8f656272864920fc0edde56b04ec9cf81bf397c0dd3069f4aea51aeb",
    "2ddf3ab27d5d04409c94ce7b56849c243129c10de1058ae0bfe14c77e934800c",
    "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
)
"""Of the bytes of each part's images, shape (10000, 3, 32, 32), and of its labels."""

HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
"""All that a pickle of the published batches calls; anything else is refused, so that no file runs code."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with their classes.

    Args:
        images: Bytes, shape (n, 3, height, width).
        labels: 0 to 9, shape (n,), int64.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, rows: NDArray[np.intp] | slice) -> "LabelledImages":
        """Some of them."""
        return LabelledImages(self.images[rows], self.labels[rows])


def load_cifar(
    folder: str | os.PathLike[str] | None = None, download: bool = False
) -> tuple[LabelledImages, LabelledImages]:
    """The 50,000 training images of CIFAR-10 and the 10,000 test images.

    Args:
        folder: Where they are: ``cifar10_train_1.npz`` to ``_5.npz`` and ``cifar10_test.npz``, the batches as they
            come out of the archive (in the folder itself or in ``cifar-10-batches-py``), or the archive. None takes
            the environment variable ``CVXROBUST_DATA``.
        download: Fetch the archive into the folder if it has none of these.

    Raises:
        InputError: Nothing is there, or it is not what it ought to be.
    """
    where = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not where:
        find_file(CIFAR10[0], "cifar-10", folder)  # says what is missing
    root = Path(str(where)).expanduser()
    read = _reader(root)
    if read is None and download:
        fetch_archive(root)
        read = _reader(root)
    if read is None:
        read = _arrays_of(folder)
    found = [read(number) for number in range(len(PARTS))]
    train = LabelledImages(
        np.concatenate([part.images for part in found[:-1]]), np.concatenate([part.labels for part in found[:-1]])
    )
    return train, found[-1]


def synthetic_images(n: int, seed: int) -> LabelledImages:
    """Images that a small network learns in no time: a patch of a colour at a place for each class, and noise.

    Args:
        n: How many.
        seed: Of the noise and the classes; the patches are always the same.
    """
    rng = np.random.default_rng([seed, 10])
    labels = rng.integers(0, 10, n)
    pixels = rng.uniform(0.3, 0.7, (n, 3, 32, 32))
    for number, label in enumerate(labels):
        row, column = divmod(int(label), 4)
        pixels[number, label % 3, 10 * row : 10 * row + 8, 8 * column : 8 * column + 8] += 0.3
    return LabelledImages((255.0 * pixels.clip(0.0, 1.0)).astype(np.uint8), labels.astype(np.int64))


def fetch_archive(folder: Path, origin: str = ORIGIN, sha256: str = ARCHIVE_SHA256) -> Path:
    """Fetch the archive; it takes its name only if it is the right one.

    Raises:
        InputError: It cannot be had, or is another.
    """
    path = folder / ARCHIVE
    digest = hashlib.sha256()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(origin) as source, whole_file(path) as file:
            while block := source.read(1 << 20):
                digest.update(block)
                file.write(block)
            if digest.hexdigest() != sha256:
                raise InputError(f"{origin} has sha256 {digest.hexdigest()}, expected {sha256}; nothing was kept.")
    except OSError as error:
        raise InputError(
            f"{origin} cannot be fetched into {folder} ({error}); put {ARCHIVE} there, or the batches in it."
        ) from error
    return path


_Read = Callable[[int], LabelledImages]


def _reader(root: Path) -> _Read | None:
    """What reads a part of what is in a folder."""
    if (root / CIFAR10[0].file).is_file():
        return _arrays_of(root)
    for folder in (root, root / BATCHES):
        if (folder / PARTS[0]).is_file():
            return lambda number: _batch(number, _bytes_of(folder / PARTS[number]), str(folder / PARTS[number]))
    if (archive := root / ARCHIVE).is_file():
        return lambda number: _batch(number, _member(archive, PARTS[number]), f"{archive}, {PARTS[number]}")
    return None


def _arrays_of(root: str | os.PathLike[str] | None) -> _Read:
    def read(number: int) -> LabelledImages:
        with np.load(find_file(CIFAR10[number], "cifar-10", root)) as file:
            return LabelledImages(file["images"], file["labels"].astype(np.int64))

    return read


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); take it out of {ARCHIVE} again.") from error


def _member(archive: Path, name: str) -> bytes:
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile(f"{BATCHES}/{name}")
            return b"" if member is None else member.read()
    except (OSError, KeyError, tarfile.TarError) as error:
        raise InputError(f"{archive} has no {BATCHES}/{name} ({error}); fetch it again from {ORIGIN}.") from error


class _HarmlessUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it wants {module}.{name}")
        return super().find_class(module, name)


def _batch(number: int, content: bytes, name: str) -> LabelledImages:
    """A published batch: a pickled dictionary, images as rows of 3072 bytes.

    Raises:
        InputError: It is none, or not the published one.
    """
    try:
        batch = _HarmlessUnpickler(io.BytesIO(content), encoding="bytes").load()
        images = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(batch[b"labels"], dtype=np.uint8)
    except Exception as error:  # whatever a damaged pickle makes of being read
        raise InputError(
            f"{name} is no batch of CIFAR-10 ({type(error).__name__}: {error}); fetch {ORIGIN} again."
        ) from error
    found = tuple(hashlib.sha256(part.tobytes()).hexdigest() for part in (images, labels))
    if found != (IMAGES_SHA256[number], LABELS_SHA256[number]):
        raise InputError(
            f"{name} holds other images or labels than {PARTS[number]} as published; fetch {ORIGIN} again."
        )
    return LabelledImages(images, labels.astype(np.int64))
