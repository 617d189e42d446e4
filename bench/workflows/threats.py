"""Attacks in the words of people: features by name, immutable ones, radii, the range of inputs, and in which units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import some
from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.bench.workflows.robustness import AnyNetwork, Range
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.problems.data.features import Features
from cvxrobust.problems.data.ranges import OUTSIDE

if TYPE_CHECKING:
    from cvxrobust.core.networks.standardizer import Standardizer

STANDARDISED_UNIT = "standard deviations of the training features"
DATA_UNIT = "units of the data"
SCALE = "scale"
RADIUS_COLUMN = "radius_column"
"""What says that each row has a radius of its own."""

BY_FEATURE = ("immutable", "feature_radius")
"""What the command line asks for by names of features; together they are the `scale` of a problem."""

REFUSE, CLIP = OUTSIDE

BOUNDS, RULE = "bounds", "outside"
"""The parameters of problems that say it; the rule is followed before there is a problem."""


@dataclass(frozen=True)
class AttackReach:
    """The attacks that a radius stands for.

    Args:
        norm: Of the attacks.
        radius: One of them.
        unit: What radii are in.
        immutable: Features that attacks never touch.
        own: Features that move by another multiple of the unit than most, those that are immutable left out.
        reach: By how much an attack of this radius may move each feature, in the data's units.
    """

    norm: Norm
    radius: float
    unit: str
    immutable: tuple[str, ...]
    own: tuple[str, ...]
    reach: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "norm": self.norm,
            "radius": self.radius,
            "radius_unit": self.unit,
            "immutable": list(self.immutable),
            "reach_in_units_of_the_data": dict(self.reach),
        }

    def __str__(self) -> str:
        parts = [self.unit]
        if self.immutable:
            parts.append(f"attacks never touch {some(self.immutable)}")
        if self.own:
            moves = some([f"{name} by at most {self.reach[name]:g}" for name in self.own])
            parts.append(f"radius {self.radius:g} moves {moves} in {DATA_UNIT}")
        return "; ".join(parts)


def threat_of(network: AnyNetwork, names: Sequence[str], norm: Norm, radius: float = 1.0) -> AttackReach:
    """What attacks of a radius on a network are.

    Args:
        network: The network, which knows the shape of its attacks.
        names: Of its inputs.
        norm: Of the attacks.
        radius: The radius.
    """
    deviations = None if network.standardizer is None else network.standardizer.scale
    return reach_of(names, norm, radius, network.ellipsoid, radius_unit(network), deviations)


def reach_of(
    names: Sequence[str],
    norm: Norm,
    radius: float,
    ellipsoid: Ellipsoid | None,
    unit: str = DATA_UNIT,
    deviations: NDArray[np.float64] | None = None,
) -> AttackReach:
    """What attacks of a radius on inputs are.

    Args:
        names: Of the inputs.
        norm: Of the attacks.
        radius: The radius.
        ellipsoid: Their shape.
        unit: What radii are in.
        deviations: What an input's unit is in the data's units, shape (d,); None for 1.
    """
    d = len(names)
    reach = radius * AttackBall.of_shape(norm, np.ones(1), d, ellipsoid).dual_norm(np.eye(d))
    if deviations is not None:
        reach = reach * deviations
    immutable = () if ellipsoid is None else ellipsoid.immutable
    scale = np.ones(d) if ellipsoid is None or ellipsoid.scale is None else ellipsoid.scale
    reach[list(immutable)] = 0.0  # where all are, attacks are balls of radius 0
    return AttackReach(
        norm,
        radius,
        unit,
        tuple(names[place] for place in immutable),
        tuple(name for name, factor in zip(names, scale, strict=True) if factor not in (0.0, 1.0)),
        dict(zip(names, reach.tolist(), strict=True)),
    )


def radius_unit(network: AnyNetwork) -> str:
    """In which unit the network's radii and distances are."""
    unit = DATA_UNIT if network.standardizer is None else STANDARDISED_UNIT
    ellipsoid = network.ellipsoid
    if ellipsoid is None or (ellipsoid.scale is not None and set(ellipsoid.scale.tolist()) <= {0.0, 1.0}):
        return unit
    if ellipsoid.scale is not None:
        return f"{unit}, but where a feature has a scale of its own"
    return f"multiples of the network's ellipsoid of attacks, which is in {unit}"


def parameter_behind(name: str) -> str:
    """The parameter of a problem that stands behind one that is asked for."""
    return {RADIUS_COLUMN: "radius"}.get(name, SCALE if name in BY_FEATURE else name)


def check_by_feature(parameters: Mapping[str, Any]) -> None:
    """Refuse what contradicts itself, before any data is read.

    Args:
        parameters: Of a problem; with the name of the column of radii, where there is one.

    Raises:
        InputError: It does.
    """
    immutable, own = parameters.get("immutable", ()), parameters.get("feature_radius", {})
    if SCALE in parameters and (immutable or own):
        raise InputError(
            "scale is given by --parameter, but so are --immutable or --feature-radius; give one of these."
        )
    if both := [name for name in own if name in immutable]:
        raise InputError(f"--immutable and --feature-radius both name {some(both)}; leave these out of one of them.")
    if own and RADIUS_COLUMN in parameters:
        raise InputError(
            "--feature-radius is about attacks of one radius, but --radius-column gives rows radii of their own; leave "
            "one of them out."
        )
    if own and not float(parameters.get("radius", 0.0)) > 0.0:
        raise InputError(
            "--feature-radius is about attacks, but --radius is 0; give the radius of the other features, and name "
            "those that attacks cannot touch with --immutable."
        )


def scale_of(
    parameters: Mapping[str, Any], features: Features, standardizer: "Standardizer | None"
) -> NDArray[np.float64] | None:
    """The scale of a problem's attacks from what is asked of features by name, shape (d,); None if nothing is.

    An attack of the radius asked for moves features that nobody names as it does without a scale, those with a radius
    of their own by that, in the data's units, and those that are immutable not at all.

    Raises:
        InputError: There is no feature of a name.
    """
    immutable, own = parameters.get("immutable", ()), parameters.get("feature_radius", {})
    if not immutable and not own:
        return None
    scale = np.ones(features.count)
    unit = np.ones(features.count) if standardizer is None else standardizer.scale
    for name, radius in own.items():
        scale[features.place(name)] = radius / (parameters["radius"] * unit[features.place(name)])
    scale[features.places(list(immutable))] = 0.0
    return scale


def asked_of(network: AnyNetwork, names: Sequence[str], parameters: Mapping[str, Any]) -> AnyNetwork:
    """The network, its answers about attacks of the shape that is asked for; of its own where none is.

    Args:
        network: The network.
        names: Of its inputs.
        parameters: What is asked of features by name, and the largest radius.

    Raises:
        InputError: What is asked contradicts itself, or there is no feature of a name.
    """
    check_by_feature(parameters)
    scale = scale_of(parameters, Features(network.n_features, tuple(names)), network.standardizer)
    return network if scale is None else network.replace(ellipsoid=Ellipsoid.of(network.n_features, scale=scale))


def range_of(parameters: Mapping[str, Any]) -> tuple[Range | None, str]:
    """The range that is asked for, None for none, and what becomes of rows outside of it.

    Raises:
        InputError: It is empty, or there is no range that rows could lie outside of.
        UnknownNameError: Nothing of that name can become of rows.
    """
    bounds, rule = parameters.get(BOUNDS), parameters.get(RULE, REFUSE)
    if rule not in OUTSIDE:
        raise UnknownNameError(RULE, rule, OUTSIDE)
    if bounds is None:
        if RULE in parameters:
            raise InputError(f"--outside {rule} is about rows outside of a range, and there is none; add --bounds.")
        return None, rule
    low, high = (float(end) for end in bounds)
    if not low < high:
        raise InputError(f"--bounds {low:g} {high:g} leave nothing between; give the least value before the largest.")
    return (low, high), rule


def in_range(rows: Dataset, bounds: Range | None, rule: str) -> Dataset:
    """The rows, or where they may be the nearest in a range.

    Raises:
        InputError: Some lie outside, and that is to be refused.
    """
    if bounds is None:
        return rows
    low, high = bounds
    away = ((low > rows.X) | (high < rows.X)).any(axis=1)
    if not away.any():
        return rows
    if rule == REFUSE:
        columns = np.flatnonzero(((low > rows.X) | (high < rows.X)).any(axis=0))
        raise InputError(
            f"{int(away.sum())} of {rows.n_rows} rows of {rows.name} lie outside of --bounds {low:g} {high:g}, first "
            f"in column {rows.feature_names[columns[0]]!r}; give the range that inputs really have, or --outside clip."
        )
    return replace(rows, X=np.clip(rows.X, low, high))


def as_trained(
    bounds: Range | None, d: int, standardizer: "Standardizer | None"
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The range in the units of a problem, shapes (d,); None where there is none."""
    if bounds is None:
        return None
    low, high = (np.full(d, end) for end in bounds)
    if standardizer is None:
        return low, high
    # As rows are, so that those at the ends of the range stay there.
    return (low - standardizer.mean) / standardizer.scale, (high - standardizer.mean) / standardizer.scale
