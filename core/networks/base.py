"""What every two-layer network shares: labels, margins, and files without pickles."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import changed, flag, instance, no_flag, place
from cvxrobust.core.doors import drawing
from cvxrobust.core.environment import installed_version
from cvxrobust.core.errors import InputError, WriteError
from cvxrobust.core.files import write_whole
from cvxrobust.core.networks.archive import NAMES, checked, pack, plain, unpack
from cvxrobust.core.networks.fields import (
    checked_classes,
    classes_to_store,
    numbers,
    stored_classes,
    stored_flag,
    stored_metadata,
    stored_standardizer,
)
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.networks.words import network_summary
from cvxrobust.core.summary import Summarised, Summary
from cvxrobust.core.validation import as_numbers, check_sizes, checked_rows, label_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
TRAINED_ON, STANDARDISED = "trained_on", "standardised rows"
"""What metadata says of a network whose rows had mean 0 and deviation 1."""


class TwoLayerNetwork(Summarised):
    """Base of the network families, which are frozen dataclasses with at least the fields annotated here.

    With one output the label is the sign of f; with K outputs it is the largest.

    A network with a standardizer takes inputs in the data's own units and standardises them itself; without one it
    takes them as it was trained on. Radii and distances are in the network's units: standard deviations with a
    standardizer, else those of the inputs. `inner` is the network without it, for inputs standardised already.
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

    def _summary(self) -> Summary:
        return network_summary(self, self._kind_words())

    def _kind_words(self) -> str:
        """What a family has besides: the activation, the attacks that it was trained for."""
        return ""

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons."""
        return int(self.u.shape[0])

    @property
    def n_features(self) -> int:
        """Number of inputs."""
        raise NotImplementedError

    @property
    def inner(self) -> Self:
        """The same network without its standardizer: it takes inputs that are standardised already."""
        return self if self.standardizer is None else self.replace(standardizer=None)

    def check_inner(self) -> None:
        """Refuse a network that standardises its inputs, where a problem is to judge it on rows of its own.

        Raises:
            InputError: It does.
        """
        if self.standardizer is not None:
            raise InputError(
                "the network standardises its inputs itself, but a problem judges networks on its own rows; pass "
                "network.inner if those are standardised in the same way."
            )

    def decision_function(self, X: ArrayLike) -> Array:
        """Outputs f, shape (n,), or (n, K) for K outputs, of inputs, shape (n, d)."""
        raise NotImplementedError

    def _check_shapes(self) -> None:
        for name in ("u", "alpha"):
            object.__setattr__(self, name, as_numbers(getattr(self, name), name, "expected numbers"))
        flag(self.regression, "regression")
        if self.standardizer is not None:
            instance(self.standardizer, "standardizer", Standardizer, "a Standardizer, or None")
        instance(self.metadata, "metadata", Mapping, "strings and numbers by name")
        if self.u.ndim != 2 or self.alpha.shape[:1] != self.u.shape[:1] or self.alpha.ndim not in (1, 2):
            raise InputError(
                f"u has shape {self.u.shape} and alpha {self.alpha.shape}; expected (m, d) with (m,) or (m, K)."
            )
        expected = 2 if self.alpha.ndim == 1 else self.alpha.shape[1]
        if self.classes is not None:
            object.__setattr__(self, "classes", checked_classes(self.classes, expected))

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
            X: Inputs, shape (n, d).
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

    def plot_robustness(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radii: ArrayLike | None = None,
        threat: object = None,
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Draw how much of the accuracy on some rows is proved to withstand attacks, and how much attacks leave of it.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radii: Of attacks, in the network's units; None for eleven, up to where the last certificate ends.
            threat: A `cvxrobust.Threat`; None for attacks like those that the network was trained for.
            ax: Axes of matplotlib to draw into; None for a new figure.

        Raises:
            InputError: Data and radii do not fit, the network tells no classes apart, or matplotlib is missing.
        """
        axes: Axes = drawing("robustness", "plot_robustness")(self, X, y, radii, threat, ax)
        return axes

    def save(self, path: str | os.PathLike[str], *, standardized: bool = False) -> None:
        """Write an ``.npz`` file without pickles; `load` reads it back.

        The file is written beside an old one and takes its place once it is on the disk, whole.

        Args:
            path: The file.
            standardized: Save a network that was trained on standardised rows without their standardizer, for whoever
                standardises rows before every prediction.

        Raises:
            InputError: The path is none; the network was trained on standardised rows and has no standardizer, so it
                would misread raw data; or some field cannot be read back, such as weights of NaN or labels of mixed
                types.
            WriteError: The file cannot be written, for want of room or permission; try another path.
        """
        target = place(path, "path")
        flag(standardized, "standardized")
        if self.standardizer is None and not standardized and self.metadata.get(TRAINED_ON) == STANDARDISED:
            raise InputError(
                "the network was trained on standardised rows but has no standardizer, so that it would misread data "
                "as it is; save network.replace(standardizer=...), or say save(..., standardized=True) if every caller "
                "standardises rows first."
            )
        content = self.to_bytes()
        try:
            write_whole(target, content)
        except WriteError as error:
            raise WriteError(
                f"{error}. The network ({len(content):,} bytes) is still in memory: save it to another path.",
                error.errno,
            ) from error

    def to_bytes(self) -> bytes:
        """What `save` writes.

        Raises:
            InputError: As for `save`.
        """
        weights = {"u": self.u, "alpha": self.alpha}
        arrays: dict[str, NDArray[Any]] = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
        if self.classes is not None:
            arrays["classes"] = classes_to_store(self.classes)
        names: tuple[str, ...] = ()
        if self.standardizer is not None:
            arrays |= {"mean": self.standardizer.mean, "scale": self.standardizer.scale}
            names = self.standardizer.names
        arrays |= self._further_arrays()
        header = {
            "format": self._oldest_format(),
            "kind": self.kind,
            "version": installed_version("cvxrobust") or "unknown",
            **{name: getattr(self, name) for name in self.own_fields},
            "regression": self.regression,
            "names": list(names),
            "metadata": dict(self.metadata),
        }
        content = pack(header, arrays)
        try:
            self._stored(json.loads(json.dumps(header, default=plain)), arrays)
        except InputError as error:
            raise InputError(f"the network cannot be saved: {error}") from error
        return content

    def _further_arrays(self) -> dict[str, NDArray[Any]]:
        """What else is saved, by names of its own; where there is any, older versions must not read the file."""
        return {}

    def _oldest_format(self) -> int:
        """The oldest format that has all of this network: versions that know no newer one may read the file."""
        return 1

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a network of this family that `save` wrote, every field checked. `cvxrobust.load` reads any family.

        Raises:
            InputError: The file is not one; the message says what it is.
        """
        return cls.from_stored(path, *unpack(path, {cls.kind: NAMES.get(cls.kind, cls.kind)}))

    @classmethod
    def from_stored(
        cls, path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> Self:
        """The network that a file's header and arrays describe.

        Raises:
            InputError: They describe none.
        """
        network: Self = checked(path, lambda: cls._stored(header, arrays))
        return network

    @classmethod
    def _stored(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        build: Any = cls
        network: Self = build(
            numbers(arrays, "u", 2),
            numbers(arrays, "alpha", 1, 2),
            classes=stored_classes(arrays),
            regression=stored_flag(header, "regression"),
            metadata=stored_metadata(header),
            **cls._own_stored(header, arrays),
        )
        if network.n_features < 1 or network.alpha.shape[1:] == (0,):
            raise InputError(
                f"u has shape {network.u.shape} and alpha {network.alpha.shape}; expected inputs and outputs"
            )
        return network.replace(standardizer=stored_standardizer(header, arrays, network.n_features))

    @classmethod
    def _own_stored(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """The fields named in `own_fields`, and those of `_further_arrays`, checked."""
        return {name: tuple(v) if isinstance(v := header[name], list) else v for name in cls.own_fields}

    def replace(self, **changes: Any) -> Self:
        """The same network with some fields changed."""
        same: Self = changed(self, changes)
        return same

    def _inputs(self, X: ArrayLike) -> Array:
        inputs = checked_rows(X, self.n_features, "this network takes")
        if self.standardizer is not None:
            inputs = self.standardizer.transform(inputs)
        check_sizes(inputs)
        return inputs

    def _in_units_of(self, X: ArrayLike, inputs: Array, attacked: Array) -> Array:
        """Attacked inputs in the units of X, of which `inputs` are what this network made."""
        if self.standardizer is None:
            return attacked
        # Rows that no attack moves stay as they are, to the last bit.
        return as_numbers(X, "X", "expected a table of numbers") + (attacked - inputs) * self.standardizer.scale

    def _radii(self, radius: ArrayLike, n: int, expected: str = "radii") -> Array:
        wanted = f"{expected} of 0 or more"
        given = as_numbers(no_flag(radius, "radius", wanted), "radius", f"expected {wanted}")
        if given.shape not in ((), (1,), (n,)):
            raise InputError(f"radius has shape {given.shape}; expected one number, or one per row of X.")
        radii = np.broadcast_to(given, (n,))
        if not (np.isfinite(radii).all() and (radii >= 0.0).all()):
            wrong = radii[~(np.isfinite(radii) & (radii >= 0.0))][0]
            raise InputError(f"radius holds {wrong:g}; expected {expected} of 0 or more.")
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
