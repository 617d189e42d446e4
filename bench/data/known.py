"""The data sets known by name: where each may be had, and how to tell that a copy is the right one."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cvxrobust.core.errors import InputError

FOLDER_VARIABLE = "CVXROBUST_DATA"
BREAST_CANCER = "breast-cancer"


@dataclass(frozen=True)
class KnownFile:
    """A file that is recognised by its checksum.

    Args:
        file: Its name in the data folder.
        sha256: Of the whole file, hexadecimal.
        origin: Where the set can be had, and its citation.
        drop_incomplete: Whether rows with empty cells are left out (else they are an error).
    """

    file: str
    sha256: str
    origin: str
    drop_incomplete: bool = False


_JBROWNLEE = "github.com/jbrownlee/Datasets at commit d20fcb6402ae34e653d4513b00f39257bb37ed7f"
_RENATOPP = "github.com/renatopp/arff-datasets at commit c59f172882592bb58982cc54d2d3c8a2b57e9b73"

KNOWN_FILES = {
    "ionosphere": KnownFile(
        "ionosphere.csv",
        "230560cbe867910f930ed5a76d654508f53e6204f09ae7b9aede39f98626d5df",
        f"UCI Ionosphere, doi:10.24432/C5W01B; {_JBROWNLEE}, ionosphere.csv",
    ),
    "pima_diabetes": KnownFile(
        "pima_diabetes.csv",
        "0a1631b2dc4253b20c31723031a60c3d968486707d81230a97db50fedd6951c1",
        f"Pima Indians Diabetes (Smith et al., 1988); {_JBROWNLEE}, pima-indians-diabetes.csv",
    ),
    "heart_statlog": KnownFile(
        "heart_statlog.csv",
        "6299653da86fcb1887fd0cbb435c35eae3f3002dc42d0a75107e19c78bcc5e81",
        f"UCI Statlog (Heart), doi:10.24432/C57303; {_RENATOPP}, classification/heart.statlog.arff",
    ),
    "breast_cancer_wisconsin_original": KnownFile(
        "breast_cancer_wisconsin_original.csv",
        "2af4d30a7e4328d5fd40fc35ec466a624fe78d79d8f67b03324664c37520f2d6",
        f"UCI Breast Cancer Wisconsin (Original), doi:10.24432/C5HP4Z; {_JBROWNLEE}, breast-cancer-wisconsin.data",
        drop_incomplete=True,
    ),
}
"""By canonical name. All files have a header line and end in a column ``label`` of -1 and 1."""

MNIST = KnownFile(
    "mnist.npz",
    "eb4e23d4c5920bbedb30cf1f074c401c6133096a8253d27614e708eff1748133",
    "MNIST (LeCun, Cortes and Burges), github.com/rasbt/mnist-pngs at commit "
    "d26bd33bf1e454dd15bd4fe8b8ba64c76308f91c, as arrays train_images, train_labels, test_images, test_labels",
)

_CIFAR10 = (
    "CIFAR-10 (Krizhevsky, 2009), www.cs.toronto.edu/~kriz/cifar.html, as arrays images (n, 3, 32, 32) and labels"
)
CIFAR10 = tuple(
    KnownFile(f"cifar10_{part}.npz", digest, _CIFAR10)
    for part, digest in (
        ("train_1", "852d1bbb1da7636d7cb62d3cb1f8654f9e4b613944f877f816e86b6e951d03b8"),
        ("train_2", "83d447af5eb51a53ee6f99fea576ebd15406e65b1271cc37dae7f9ef4661967a"),
        ("train_3", "ece9d886145fafbf8eca85f4e44eaf6198545cab5abf90a7a087d870d0e236c1"),
        ("train_4", "14948f98d24cd1f5a0e5bb8fd535452545428ebfcc856e872f0747b2eeb7e205"),
        ("train_5", "dfe8534101d55c28cc48deb9879f5e7e654a74cd0c6d8341b1adeb02b8333142"),
        ("test", "67297b5dfd77fd9258c0326c99487c6d5e1cc67639cd23e8f01a147715919acb"),
    )
)
"""Five files of 10,000 training images, and one of test images."""


def known_names() -> list[str]:
    """Every name that `load_dataset` answers to."""
    return [BREAST_CANCER, *KNOWN_FILES]


def canonical_name(name: str) -> str | None:
    """The known name that `name` spells, hyphens and underscores being alike; None if there is none."""
    spelled = name.lower().replace("_", "-")
    return next((known for known in known_names() if known.replace("_", "-") == spelled), None)


def find_known_file(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """The verified file of a known set.

    Args:
        name: Canonical name.
        folder: Folder to look in; None takes the environment variable ``CVXROBUST_DATA``.

    Raises:
        InputError: There is no folder or no file, or the file is not the one expected.
    """
    return find_file(KNOWN_FILES[name], name, folder)


def find_file(known: KnownFile, name: str, folder: str | os.PathLike[str] | None) -> Path:
    """The verified file of a set.

    Args:
        known: The file expected.
        name: What to call the set in messages.
        folder: Folder to look in; None takes the environment variable ``CVXROBUST_DATA``.

    Raises:
        InputError: There is no folder or no file, or the file is not the one expected.
    """
    wanted = f"{known.file} (sha256 {known.sha256})"
    where = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not where:
        raise InputError(
            f"data set {name!r} does not ship with this package and no data folder is given; put {wanted} "
            f"into a folder and name it with --data-folder or {FOLDER_VARIABLE}. Origin: {known.origin}."
        )
    path = Path(where).expanduser() / known.file
    if not path.is_file():
        raise InputError(
            f"data set {name!r} expects the file {path}, which does not exist; put {wanted} there, or name "
            f"another folder with --data-folder or {FOLDER_VARIABLE}. Origin: {known.origin}."
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != known.sha256:
        raise InputError(
            f"{path} has sha256 {found}, but the data set {name!r} has {known.sha256}; replace the file "
            f"(origin: {known.origin}), or pass its path instead of the name to use it as it is."
        )
    return path
