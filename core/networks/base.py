"""What every two-layer network shares: labels, margins, and files without pickles."""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.validation import as_numbers, check_sizes, checked_rows, label_array

Array = NDArray[np.float64]
FORMAT = 1


class TwoLayerNetwork:
    """Base of the network families, which are frozen dataclasses with at least the fields annotated here.

    With one output the label is the sign of f; with K outputs it is the largest.
    """

    u: Array
    alpha: Array
    classes: tuple[Any, ...] | None
    regression: bool
    standardizer: Standardizer | None
    metadata: Mapping[str, str | int | float]

    kind: ClassVar[str]
    """Name of the family in files."""

    own_fields: ClassVar[tuple[str, ...]]
    """Further fields that files keep: numbers, booleans or tuples of them."""

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons."""
        return int(self.u.shape[0])

    @property
    def n_features(self) -> int:
        """Number of inputs."""
        raise NotImplementedError

    def decision_function(self, X: ArrayLike) -> Array:
        """Outputs f, shape (n,), or (n, K) for K outputs, of standardised inputs, shape (n, d)."""
        raise NotImplementedError

    def _check_shapes(self) -> None:
        if self.u.ndim != 2 or self.alpha.shape[:1] != self.u.shape[:1] or self.alpha.ndim not in (1, 2):
            raise InputError(
                f"u has shape {self.u.shape} and alpha {self.alpha.shape}; expected (m, d) with (m,) or (m, K)."
            )
        expected = 2 if self.alpha.ndim == 1 else self.alpha.shape[1]
        if self.classes is not None and len(self.classes) != expected:
            raise InputError(f"{len(self.classes)} classes given for a network that tells {expected} apart.")

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, shape (n,); outputs for regression. Zero counts as positive."""
        f = self.decision_function(X)
        if self.regression:
            return f
        if self.alpha.ndim == 2:
            picked = np.argmax(f, axis=1)
            return np.asarray(picked if self.classes is None else np.asarray(self.classes)[picked])
        positive = f >= 0.0
        return np.asarray((-1.0, 1.0) if self.classes is None else self.classes)[positive.astype(np.intp)]

    def margins(self, X: ArrayLike, y: ArrayLike) -> Array:
        """``y f(x)``, or the smallest ``f_y - f_k`` over the other classes k; shape (n,).

        Args:
            X: Standardised inputs, shape (n, d).
            y: True labels, shape (n,).
        """
        f = self.decision_function(X)
        index = self._label_index(y, f.shape[0])
        if self.alpha.ndim == 1:
            return np.asarray((2.0 * index - 1.0) * f)
        own = f[np.arange(index.size), index]
        rivals = f.copy()
        rivals[np.arange(index.size), index] = -np.inf
        return np.asarray(own - rivals.max(axis=1))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file without pickles; `load` reads it back."""
        arrays: dict[str, NDArray[Any]] = {"u": self.u, "alpha": self.alpha}
        if self.classes is not None:
            arrays["classes"] = np.asarray(self.classes)
            # NumPy would silently turn the numbers among strings into strings.
            mixed = len({isinstance(label, str) for label in self.classes}) > 1
            if mixed or arrays["classes"].dtype == object:
                raise InputError(f"classes {self.classes!r} mix types; only strings or numbers can be saved.")
        names: tuple[str, ...] = ()
        if self.standardizer is not None:
            arrays |= {"mean": self.standardizer.mean, "scale": self.standardizer.scale}
            names = self.standardizer.names
        header = {
            "format": FORMAT,
            "kind": self.kind,
            **{name: getattr(self, name) for name in self.own_fields},
            "regression": self.regression,
            "names": list(names),
            "metadata": dict(self.metadata),
        }
        arrays["header"] = np.array(json.dumps(header))
        with Path(path).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a network that `save` wrote.

        Raises:
            InputError: The file is not one.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            header = json.loads(str(arrays["header"]))
            if header["kind"] != cls.kind or header["format"] > FORMAT:
                raise InputError(
                    f"{path} holds {header['kind']!r} in format {header['format']}, but this version reads "
                    f"{cls.kind!r} up to format {FORMAT}; upgrade cvxrobust to read newer files."
                )
            standardizer = None
            if "mean" in arrays:
                standardizer = Standardizer(arrays["mean"], arrays["scale"], tuple(header["names"]))
            classes = tuple(arrays["classes"].tolist()) if "classes" in arrays else None
            own = {name: tuple(v) if isinstance(v := header[name], list) else v for name in cls.own_fields}
            build: Any = cls
            network: Self = build(
                arrays["u"],
                arrays["alpha"],
                classes=classes,
                regression=header["regression"],
                standardizer=standardizer,
                metadata=header["metadata"],
                **own,
            )
            return network
        except (ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is not a network saved by cvxrobust ({error}).") from error

    def replace(self, **changes: Any) -> Self:
        """The same network with some fields changed."""
        family: Any = self  # a dataclass, which this base is not
        changed: Self = replace(family, **changes)
        return changed

    def _inputs(self, X: ArrayLike) -> Array:
        inputs = checked_rows(X, self.n_features, "this network takes")
        check_sizes(inputs)
        return inputs

    def _radii(self, radius: ArrayLike, n: int, expected: str = "radii") -> Array:
        given = as_numbers(radius, "radius", f"expected {expected} of 0 or more")
        if given.shape not in ((), (1,), (n,)):
            raise InputError(f"radius has shape {given.shape}; expected one number, or one per row of X.")
        radii = np.broadcast_to(given, (n,))
        if not (np.isfinite(radii).all() and (radii >= 0.0).all()):
            raise InputError(f"radius holds negative or non-finite values; expected {expected} of 0 or more.")
        return radii

    def _labels(self, index: NDArray[np.intp]) -> NDArray[Any]:
        if self.alpha.ndim == 2 and self.classes is None:
            return index
        return np.asarray((-1.0, 1.0) if self.classes is None else self.classes)[index]

    def _label_index(self, y: ArrayLike, n: int) -> NDArray[np.intp]:
        labels = label_array(y)
        if labels.shape != (n,):
            raise InputError(f"y has shape {labels.shape}; expected ({n},), one label per row of X.")
        classes = self.classes
        if classes is None:
            classes = (-1.0, 1.0) if self.alpha.ndim == 1 else tuple(range(self.alpha.shape[1]))
        # In Python's numbers, which compare exactly whatever their types; NumPy's are rounded to a common one.
        places = {label: k for k, label in enumerate(classes)}
        found, inverse = np.unique(labels, return_inverse=True)
        if unknown := [label for label in found.tolist() if label not in places]:
            raise InputError(f"y holds labels {unknown[:5]}, but this network knows {list(classes)}.")
        index = np.array([places[label] for label in found.tolist()], dtype=np.intp)
        return np.asarray(index[inverse.reshape(n)])


N = TypeVar("N", bound=TwoLayerNetwork)
"""The family of networks that a problem trains."""

N_co = TypeVar("N_co", bound=TwoLayerNetwork, covariant=True)

N_contra = TypeVar("N_contra", bound=TwoLayerNetwork, contravariant=True)
