"""Parameters checked before any work starts, labels made signs; data is checked in `cvxrobust.core.validation`."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import no_flag
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import GEOMETRIES, check_norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.fields import activation_coefficients
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers, frozen
from cvxrobust.core.weights import ClassWeight

Array = NDArray[np.float64]

SEEDS = 2**32
"""Seeds are below."""
Label = str | int | float | bool


def isotropic_attack_fields(threat: Threat, d: int) -> dict[str, Any]:
    """What a polynomial problem of d inputs keeps of its threat: all of it, in its final form, and its ellipsoid.

    Raises:
        InputError: The norm is another than 2, several shapes are given, or one is none.
        UnknownNameError: There is no such norm.
    """
    if not GEOMETRIES[check_norm(threat.norm)].isotropic:
        raise InputError(
            f"norm is {threat.norm!r}, but the worst case of a polynomial network is exact for l2 attacks and their "
            'ellipsoids only; give norm=2, norm="inf" to AdversarialSDP (for classes: bounds of worst cases in boxes), '
            "or train a ReLU network (AdversarialReLU)."
        )
    return attack_fields(threat, d)


def attack_fields(threat: Threat, d: int) -> dict[str, Any]:
    """The same of a problem that has worst cases in every norm.

    Raises:
        InputError: Several shapes are given, one is none, or directions or a covariance that is no diagonal come
            with another norm than 2.
        UnknownNameError: There is no such norm.
    """
    norm = check_norm(threat.norm)
    ellipsoid = Ellipsoid.of(d, threat.scale, threat.covariance, threat.directions)
    AttackBall(norm, np.zeros(0), d, ellipsoid)  # refuses what does not belong together
    given = {name: getattr(threat, name) for name in ("scale", "covariance", "directions")}
    kept = {name: None if value is None else frozen(as_numbers(value, name).copy()) for name, value in given.items()}
    return {"norm": norm, "ellipsoid": ellipsoid, **kept}


def class_signs(labels: NDArray[Any], classes: tuple[Label, ...]) -> list[Array]:
    """Labels -1 and +1 for one problem per class against all others; of two classes the second alone is one.

    Args:
        labels: Labels of any kind, shape (n,).
        classes: The different ones, sorted.
    """
    return [np.where(labels == label, 1.0, -1.0) for label in (classes[1:] if len(classes) == 2 else classes)]


def read_radius(radius: ArrayLike, name: str = "radius") -> Array:
    """Radii as numbers of whichever shape.

    Raises:
        InputError: They are none.
    """
    expected = "a number, or one per row of X"
    try:
        return as_numbers(no_flag(radius, name, expected), name)
    except InputError as error:
        raise InputError(f"{name} is {shown(radius)}; expected {expected}.") from error


def is_random_state(value: object) -> bool:
    """Whether randomness can come of it as scikit-learn has it: a seed, a `numpy.random.RandomState`, or None."""
    whole = isinstance(value, Integral) and not isinstance(value, bool) and 0 <= int(value) < SEEDS
    return value is None or whole or isinstance(value, np.random.RandomState)


def checked_radius(radius: ArrayLike, n: int, name: str = "radius") -> Array:
    """Radii as shape (n,).

    Args:
        radius: What was passed.
        n: Number of rows.
        name: What messages call it.

    Raises:
        InputError: Not a number or one per row, or negative or not finite.
    """
    given = read_radius(radius, name)
    if given.shape not in ((), (1,), (n,)):
        raise InputError(f"{name} has shape {given.shape}; expected one number, or one per row of X, shape ({n},).")
    radii = np.array(np.broadcast_to(given, (n,)))
    if not (np.isfinite(radii).all() and (radii >= 0.0).all()):
        raise InputError(f"{name} is {shown(radius)}; expected a finite attack radius of 0 or more, in the units of X.")
    return frozen(radii)


def checked_beta(beta: object) -> float:
    """beta as a float.

    Raises:
        InputError: Not a number above 0.
    """
    no_flag(beta, "beta", "a number above 0")
    try:
        weight = float(as_numbers(beta, "beta")[()])
    except (TypeError, ValueError) as error:
        raise InputError(f"beta is {shown(beta)}; expected a number above 0.") from error
    if not (np.isfinite(weight) and weight > 0.0):
        raise InputError(f"beta is {shown(beta)}; expected a penalty weight above 0.")
    return weight


def checked_class_weight(class_weight: ClassWeight, classes: bool, loss: str) -> ClassWeight:
    """Class weights, where there are classes.

    Raises:
        InputError: They are given, but labels are targets.
    """
    if class_weight is not None and not classes:
        raise InputError(
            f"class_weight is {shown(class_weight)}, but the {loss} loss fits real targets, which have no classes; "
            "pass sample_weight."
        )
    return class_weight


def checked_activation(activation: object) -> tuple[float, float, float]:
    """(a, b, c) as floats.

    Raises:
        InputError: Not three finite numbers, or a = 0.
    """
    a, b, c = activation_coefficients(activation)
    if a == 0.0:
        raise InputError(
            "activation has a = 0, which makes the network linear and the lifting to matrices inexact; pass a != 0."
        )
    return a, b, c
