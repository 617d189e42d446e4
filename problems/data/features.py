"""Features as people call them, by name or number, and attacks on them in the units that a network computes in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers

Array = NDArray[np.float64]
SHOWN = 12
"""Names that a message lists."""


@dataclass(frozen=True)
class Features:
    """The inputs of a network.

    Args:
        count: How many there are, d.
        names: What they are called, in their order; empty where they have numbers alone, from 0.
    """

    count: int
    names: tuple[str, ...] = ()

    def place(self, feature: object) -> int:
        """The number of a feature that is called by its name or its number.

        Raises:
            InputError: There is none; the message has the nearest name.
        """
        if isinstance(feature, str):
            if feature in self.names:
                return self.names.index(feature)
            raise InputError(f"there is no feature {shown(feature)}; {self._those_there_are(feature)}")
        if isinstance(feature, Integral) and not isinstance(feature, bool | np.bool_):
            if 0 <= int(feature) < self.count:
                return int(feature)
            raise InputError(f"there is no feature number {feature}; {self._those_there_are()}")
        expected = f"expected a name or a number from 0 to {self.count - 1}"
        raise InputError(f"a feature is called {shown(feature)}; {expected}.")

    def places(self, features: object) -> list[int]:
        """The numbers of features: names, numbers, or one truth value for each feature there is.

        Raises:
            InputError: One of them is no feature.
        """
        if isinstance(features, str) or not isinstance(features, Iterable) or getattr(features, "shape", None) == ():
            features = [features]
        called = features.tolist() if isinstance(features, np.ndarray) else list(features)
        if called and all(isinstance(one, bool | np.bool_) for one in called):
            if len(called) != self.count:
                raise InputError(f"a mask has {len(called)} entries; expected one for each of {self.count} features.")
            return [number for number, chosen in enumerate(called) if chosen]
        return [self.place(one) for one in called]

    def numbers(self, given: ArrayLike | Mapping[Any, float], others: float, what: str) -> Array:
        """One number for each feature, shape (d,), from as many, or from those of some by what they are called.

        Args:
            given: The numbers.
            others: That of features which a mapping does not name.
            what: What messages call them.

        Raises:
            InputError: One of them is no feature, comes twice, or has no number.
        """
        if not isinstance(given, Mapping):
            return as_numbers(given, what, "expected a number for each feature")
        found = np.full(self.count, others)
        places = [self.place(one) for one in given]
        if len(set(places)) < len(places):
            raise InputError(f"{what} has two numbers for one feature, once by its name and once by its number.")
        values = as_numbers(list(given.values()), what, "expected a number for each feature that it names")
        if values.shape != (len(places),):
            raise InputError(f"{what} is {shown(dict(given))}; expected a number for each feature that it names.")
        found[places] = values
        return found

    def _those_there_are(self, wanted: str = "") -> str:
        if not self.names:
            return f"they have no names, but numbers from 0 to {self.count - 1}."
        near = get_close_matches(wanted, self.names, n=1)
        guess = f"did you mean {near[0]!r}? There are" if near else "there are"
        more = f" and {self.count - SHOWN} more" if self.count > SHOWN else ""
        return f"{guess} {', '.join(self.names[:SHOWN])}{more}."


@dataclass(frozen=True)
class ShapeArrays:
    """The shape of attacks as problems take it; nothing for balls.

    Args:
        scale: Shape (d,).
        covariance: Shape (d, d).
        directions: Shape (d, q). At most one of the three.
        bounds: The range that attacked inputs stay in, shapes (d,); None for no range.
    """

    scale: Array | None = None
    covariance: Array | None = None
    directions: Array | None = None
    bounds: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class AskedShape:
    """The shape of attacks that an estimator is asked for.

    Args:
        scale: By how much an attack of radius 1 may move each feature alone, by feature or shape (d,); None for 1.
        covariance: See `Ellipsoid.of`.
        directions: The same.
        immutable: Features that attacks cannot touch, as `Features.places` takes them.
    """

    scale: ArrayLike | Mapping[Any, float] | None = None
    covariance: ArrayLike | None = None
    directions: ArrayLike | None = None
    immutable: object = None

    def arrays(self, features: Features, unit: Array | None) -> ShapeArrays:
        """The shape as problems take it.

        Args:
            features: Those of the data.
            unit: How much of the data's units one unit of a problem's inputs is, shape (d,), where the shape is in the
                data's units; None where it is in those of the problem's inputs.

        Raises:
            InputError: The shape is none, several are given, or a feature does not exist.
        """
        scale, d = self.scale, features.count
        scale = None if scale is None else features.numbers(scale, 1.0, "scale").copy()
        # Checked as it is given, so that messages have the caller's numbers.
        Ellipsoid.of(d, scale, self.covariance, self.directions)
        if self.immutable is not None and (self.covariance is not None or self.directions is not None):
            name, besides = ("covariance", " (and their columns)") if self.directions is None else ("directions", "")
            raise InputError(
                f"immutable and {name} are given; leave immutable out and set the rows of these features in {name}"
                f"{besides} to 0."
            )
        size = np.ones(d) if unit is None else unit
        if self.covariance is not None:
            return ShapeArrays(covariance=as_numbers(self.covariance, "covariance") / np.outer(size, size))
        if self.directions is not None:
            return ShapeArrays(directions=as_numbers(self.directions, "directions") / size[:, None])
        if scale is None and self.immutable is None and unit is None:
            return ShapeArrays()
        found = np.ones(d) if scale is None else scale
        if self.immutable is not None:
            found[features.places(self.immutable)] = 0.0
        return ShapeArrays(scale=found / size)
