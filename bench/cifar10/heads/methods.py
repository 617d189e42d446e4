"""The heads that are compared, each with the settings that it is tried with."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from cvxrobust.bench.cifar10.backbones.network import CLASSES
from cvxrobust.bench.cifar10.heads.convex import (
    HeadData,
    Programme,
    SolvingTerms,
    joint_is_known,
    problem_of,
    solve_head,
)
from cvxrobust.bench.cifar10.heads.gradient import DescentTerms, descend
from cvxrobust.bench.cifar10.heads.splice import HIDDEN, save_plain_head
from cvxrobust.core.errors import UnknownNameError

OWN = "its own layer"
"""The head that a backbone was trained with."""

BETAS = (1e-3, 1e-2)
RADII = {"none": (0.0,), "l2": (0.5, 1.0, 2.0), "ellipsoid": (0.25, 0.5, 1.0)}
"""In standard deviations; of the ellipsoid in multiples of the median displacement under the deciding radius."""


@dataclass(frozen=True)
class Setting:
    """What is chosen on the images that decide.

    Args:
        radius: Of attacks on features.
        beta: Weight of the penalty, or decay.
    """

    radius: float
    beta: float

    def __str__(self) -> str:
        return f"beta {self.beta:g}" + (f", radius {self.radius:g}" if self.radius else "")


@dataclass(frozen=True)
class HeadMethod:
    """One way to a head.

    Args:
        name: What it is called.
        words: What it is.
        settings: What it is tried with.
        programme: The convex programme; None for gradient descent.
        hidden: Neurons of what gradient descent trains.
    """

    name: str
    words: str
    settings: tuple[Setting, ...]
    programme: Programme | None = None
    hidden: int = HIDDEN

    def fit(self, data: HeadData, setting: Setting, terms: SolvingTerms, seed: int, path: Path) -> dict[str, Any]:
        """Train a head and write it to ``path`` with the suffix that tells what it is; the row has its name.

        Args:
            data: The features.
            setting: With what.
            terms: For how long, and where.
            seed: Of gradient descent.
            path: Without a suffix.
        """
        told = {"radius": setting.radius, "beta": setting.beta, "rows": len(data.labels)}
        if self.programme is None:
            device = torch.device(terms.device)
            how = DescentTerms(self.hidden, setting.radius, setting.beta, seed)
            head, seconds = descend(data.Z, data.labels, CLASSES, how, device)
            file = path.with_name(path.name + ".pt")
            save_plain_head(head.cpu(), self.hidden, file)
            return told | {"file": file.name, "cpu_seconds": seconds}
        network, row = solve_head(problem_of(self.programme, data, setting.radius, setting.beta), terms)
        file = path.with_name(path.name + ".npz")
        network.save(file, standardized=True)  # whoever splices it on a backbone standardises
        return told | row | {"file": file.name}


def _grid(shape: str, betas: tuple[float, ...] = BETAS) -> tuple[Setting, ...]:
    return tuple(Setting(radius, beta) for radius, beta in product(RADII[shape], betas))


def _polynomial(joint: bool) -> list[HeadMethod]:
    end, loss = (", joint", "one loss over the classes") if joint else ("", "one class against the others")
    words = {
        "none": ("polynomial", "no attacks"),
        "l2": ("polynomial, l2", "l2 attacks on features"),
        "ellipsoid": ("polynomial, ellipsoid", "attacks on features in the ellipsoid of measured displacements"),
    }
    return [
        HeadMethod(name + end, f"polynomial, {attacks}, {loss}", _grid(shape), Programme("polynomial", shape, joint))
        for shape, (name, attacks) in words.items()
    ]


def _relu(shape: str, name: str, attacks: str) -> HeadMethod:
    return HeadMethod(name, f"ReLU, {attacks}, one class against the others", _grid(shape), Programme("relu", shape))


def known_methods() -> dict[str, HeadMethod]:
    """All of them, by name; those with one loss over the classes where the package has it."""
    decays = tuple(Setting(0.0, decay) for decay in (1e-4, 1e-2))
    found = [
        HeadMethod("linear", "a linear layer, cross-entropy, Adam", decays, hidden=0),
        HeadMethod("two-layer", f"two layers, {HIDDEN} neurons, cross-entropy, Adam", decays),
        HeadMethod(
            "two-layer, feature PGD", "the same against l2 attacks on features (PGD)", _grid("l2", (1e-4,))
        ),
        *_polynomial(joint=False),
        *(_polynomial(joint=True) if joint_is_known() else ()),
        _relu("none", "ReLU", "no attacks"),
        _relu("l2", "ReLU, l2", "l2 attacks on features"),
        _relu("ellipsoid", "ReLU, ellipsoid", "attacks on features in the ellipsoid"),
    ]  # fmt: skip
    return {method.name: method for method in found}


def methods_named(names: tuple[str, ...]) -> tuple[HeadMethod, ...]:
    """Some, or all if none is named.

    Raises:
        UnknownNameError: There is no such method.
    """
    known = known_methods()
    for name in names:
        if name not in known:
            raise UnknownNameError("head", name, list(known))
    return tuple(known[name] for name in names or known)
