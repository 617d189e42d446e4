"""The values of hyperparameters that are tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import no_flag
from cvxrobust.core.attacks.norms import NormGeometry
from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers

Array = NDArray[np.float64]

BETAS = (1e-1, 3e-2, 1e-2)
"""Tried by default; more brought next to nothing (`bench/studies/reports/hyperparameters.md`)."""

LOWEST, HIGHEST = 1e-3, 1e-1
"""Between these lie the betas of which only the number is given."""

MOST_BETAS = 1_000
"""Of which only the number is given."""

FACTORS = (0.0, 1.0, 2.0)
"""Radii to train at, in radii of the threat; from the same report."""


@dataclass(frozen=True)
class Candidates:
    """What is tried: each beta with each radius and each number of gates.

    Args:
        betas: Weights of the penalty, descending, so that paths go from simple networks to others.
        radii: Training radii, ascending.
        gates: Numbers of gates, ascending; none where networks have none.
    """

    betas: tuple[float, ...]
    radii: tuple[float, ...]
    gates: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many there are of each; one number of gates where networks have none."""
        return len(self.betas), len(self.radii), max(1, len(self.gates))

    def point(self, b: int, r: int, g: int) -> dict[str, float | int]:
        """The hyperparameters at a place of the grid, by name."""
        found: dict[str, float | int] = {"beta": self.betas[b], "radius": self.radii[r]}
        return found | ({"n_gates": self.gates[g]} if self.gates else {})


def checked_betas(betas: ArrayLike | int) -> tuple[float, ...]:
    """Different weights of the penalty, descending; a whole number stands for as many on a logarithmic scale.

    Raises:
        InputError: There is none, or one that is not above 0.
    """
    if isinstance(betas, Integral) and not isinstance(betas, bool):
        count = int(betas)
        if not 1 <= count <= MOST_BETAS:
            raise InputError(
                f"betas is {shown(betas)}; expected how many to try, from 1 to {MOST_BETAS}, or the values themselves."
            )
        found = np.geomspace(HIGHEST, LOWEST, count) if count > 1 else np.array([1e-2])
    else:
        found = _several(betas, "betas")
    if not (found > 0.0).all():
        raise InputError(f"betas are {found.tolist()}; expected finite numbers above 0.")
    return tuple(sorted(set(found.tolist()), reverse=True))


def checked_radii(
    radii: ArrayLike | None, factors: ArrayLike | None, threat_radius: float, usual: Sequence[float]
) -> tuple[float, ...]:
    """Different radii to train at, ascending.

    Args:
        radii: The radii themselves; None to go by factors.
        factors: The same in radii of the threat; None for the usual ones.
        threat_radius: Of the attacks that the network is judged by.
        usual: Factors where nothing is given.

    Raises:
        InputError: Both are given, or there is none, or one below 0.
    """
    if radii is not None and factors is not None:
        raise InputError("radii and radius_factors are given; give the radii themselves or the factors, not both.")
    if radii is not None:
        found = _several(radii, "radii")
    else:
        found = _several(usual if factors is None else factors, "radius_factors") * threat_radius
    if not (found >= 0.0).all():
        raise InputError(f"the radii to train at are {found.tolist()}; expected finite numbers of 0 or more.")
    return tuple(sorted(set(found.tolist())))


def factors_in_l2(geometry: NormGeometry, dimension: int) -> tuple[float, ...]:
    """Radii to train at against l2 attacks, in radii of a threat in another norm.

    Those of 0 and of l2 balls inside the ball of the threat, around it and between.

    Args:
        geometry: Of the norm of the threat.
        dimension: Inputs that attacks can move.
    """
    size = max(1, dimension)
    outer = geometry.euclidean_reach(size)
    return (0.0, outer * size**-0.5, outer * size**-0.25, outer)


def checked_gates(gates: ArrayLike) -> tuple[int, ...]:
    """Different numbers of gates, ascending.

    Raises:
        InputError: There is none, or one that is no whole number above 0.
    """
    found = _several(gates, "gates")
    if not ((found >= 1.0) & (found == np.floor(found))).all():
        raise InputError(f"gates are {found.tolist()}; expected whole numbers above 0.")
    return tuple(sorted({int(one) for one in found}))


def checked_threat_radius(radius: object, usual: float) -> float:
    """The radius of the threat.

    Args:
        radius: What is asked for; None for the usual one.
        usual: 0, or 1 where rows have radii of their own, which it multiplies.

    Raises:
        InputError: It is no finite number of 0 or more.
    """
    if radius is None:
        return usual
    found = as_numbers(radius, "threat_radius", "expected one finite number of 0 or more")
    if found.shape != () or not (np.isfinite(found) and found >= 0.0):
        raise InputError(f"threat_radius is {shown(radius)}; expected one finite number of 0 or more.")
    return float(found)


def _several(given: ArrayLike | Sequence[float], name: str) -> Array:
    found = np.atleast_1d(as_numbers(no_flag(given, name, "finite numbers"), name, "expected finite numbers"))
    if found.ndim != 1 or found.size == 0 or not np.isfinite(found).all():
        raise InputError(f"{name} have shape {found.shape}: {shown(given)}; expected finite numbers, at least one.")
    return found
