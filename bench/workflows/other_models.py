"""Classifiers of others from files: what may run code as it is loaded is loaded only where somebody vouches for it."""

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.data.csv_files import some
from cvxrobust.bench.data.files import is_file
from cvxrobust.core.errors import InputError
from cvxrobust.core.extras import require

TRUST = "--trust-code"

VOUCH = (
    "{path} may run any code on this machine as it is loaded ({why}); give " + TRUST + " if you trust whoever wrote it"
)


@dataclass(frozen=True)
class OtherModel:
    """A classifier from a file.

    Args:
        model: What `cvxrobust.evaluate_robustness` takes.
        classes: Its labels, in its own order; None for a module, which has none.
        names: Of its inputs, where the file has them.
        width: Number of its inputs, None where the file does not say.
    """

    model: Any
    classes: tuple[Any, ...] | None
    names: tuple[str, ...]
    width: int | None


def is_other(path: Path) -> bool:
    """Whether a file's ending is that of a classifier of others."""
    return path.suffix.lower() in LOADERS


def load_other(path: Path, trusted: bool) -> OtherModel:
    """Read a classifier of others.

    Args:
        path: The file. Its ending says what it is: ``.skops`` of scikit-learn (safe: types that are not known to be
            harmless are refused by name), ``.joblib`` and ``.pkl`` (pickles), ``.pt`` and ``.pth`` (TorchScript),
            ``.pt2`` (a programme of ``torch.export``).
        trusted: Whether somebody vouches for the file.

    Raises:
        InputError: It is missing, holds something else, or may run code and nobody vouches for it.
    """
    if not is_file(path):
        raise InputError(f"there is no file {path}; check the path.")
    model = LOADERS[path.suffix.lower()](path, trusted)
    if "torch.nn.modules.module" in {kind.__module__ for kind in type(model).__mro__}:
        return OtherModel(model, None, (), None)
    if not callable(getattr(model, "predict", None)) or not hasattr(model, "classes_"):
        raise InputError(f"{path} holds a {type(model).__name__}; expected a fitted classifier or a PyTorch module.")
    names = tuple(map(str, getattr(model, "feature_names_in_", ())))
    width = getattr(model, "n_features_in_", None)
    classes = tuple(np.asarray(model.classes_).tolist())
    return OtherModel(model, classes, names, None if width is None else int(width))


def _skops(path: Path, trusted: bool) -> Any:
    require("skops", "skops", f"classifiers from files such as {path}")
    io = importlib.import_module("skops.io")
    try:
        unknown = sorted(map(str, io.get_untrusted_types(file=path)))
        if unknown and not trusted:
            raise InputError(VOUCH.format(path=path, why=f"it asks for {some(unknown)}") + ".")
        return io.load(path, trusted=unknown)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file leads to
        raise _unreadable(path, "a file of skops", error) from error


def _pickled(path: Path, trusted: bool) -> Any:
    if not trusted:
        raise InputError(VOUCH.format(path=path, why="it is a pickle") + ", or save the classifier with skops.")
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # whatever a damaged file leads to, or code in it
        raise _unreadable(path, "a pickle", error) from error


def _scripted(path: Path, trusted: bool) -> Any:
    if not trusted:
        raise InputError(VOUCH.format(path=path, why="TorchScript is a programme") + ".")
    import torch

    try:
        load: Any = torch.jit.load
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and still what many files are
            return load(path, map_location="cpu").eval()
    except Exception as error:  # whatever a damaged file leads to
        raise _unreadable(path, "TorchScript, as torch.jit.save writes it", error) from error


def _exported(path: Path, trusted: bool) -> Any:
    if not trusted:
        raise InputError(VOUCH.format(path=path, why="an exported module is a programme") + ".")
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path).module()
    except Exception as error:  # whatever a damaged file leads to
        raise _unreadable(path, "a programme, as torch.export.save writes it", error) from error


def _unreadable(path: Path, expected: str, error: Exception) -> InputError:
    said = next(iter(str(error).strip().splitlines()), "")
    return InputError(f"{path} cannot be read as {expected} ({type(error).__name__}: {said:.160}); write it anew.")


LOADERS: dict[str, Callable[[Path, bool], Any]] = {
    ".skops": _skops,
    ".joblib": _pickled,
    ".pkl": _pickled,
    ".pickle": _pickled,
    ".pt": _scripted,
    ".pth": _scripted,
    ".pt2": _exported,
}
"""By the ending of a file's name."""


def labels_for(model: OtherModel, asked: Sequence[str], path: Path) -> tuple[str | Any, ...] | None:
    """The data's labels in the order of the model's own; None for those of the data, sorted.

    Args:
        model: The classifier.
        asked: What the caller says they are; nothing for the model's own.
        path: Of the model, for messages.

    Raises:
        InputError: There are more or fewer of them than the model has.
    """
    if not asked:
        return model.classes
    if model.classes is not None and len(asked) != len(model.classes):
        own = f"{len(model.classes)} classes, {some(model.classes)}"
        raise InputError(f"{path} has {own}, but --classes names {len(asked)}; name one label of the data for each.")
    return tuple(asked)
