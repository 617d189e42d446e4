"""Attacks of other packages behind our own interface: whatever they claim is checked here like the claims of ours.

`foolbox_attack` shows an attack of Foolbox (Rauber et al., arXiv:1707.04131) two logits, the raw margin and 0, in
double precision: so it attacks whatever has margins and slopes, and a factor on the logits means nothing. `autoattack`
is the ensemble of Croce and Hein (arXiv:2003.01690), for modules of four classes or more whose inputs lie in [0, 1].

    attacks = ATTACKS | {"foolbox DDN": foolbox_attack("DDNAttack", {"steps": 100})}
    evaluate_robustness(model, X, y, Threat(2), radii, attacks=attacks)
"""

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.core.attacks.threat import AttackSet
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.extras import require
from cvxrobust.core.robustness.attacks import Attack, Best, Effort
from cvxrobust.core.robustness.contest import Array, Index
from cvxrobust.core.robustness.models import Model
from cvxrobust.core.robustness.modules import TorchModel

if TYPE_CHECKING:
    import torch

WIDE = 10.0
"""How many radii around inputs without a range attackers may look for points to start from."""

FEWEST_CLASSES = 4
"""What the loss of AutoAttack compares are the first, second and third of the other classes."""


def foolbox_attack(name: str, options: Mapping[str, Any] | None = None) -> Attack:
    """An attack of Foolbox, for classifiers with slopes; extra `attacks-foolbox`.

    Args:
        name: Of a class in ``foolbox.attacks`` for the norm of the threat, such as "LinfPGD", "DDNAttack" or
            "L2BrendelBethgeAttack".
        options: What it is made with, such as ``{"steps": 100}``.

    Raises:
        MissingExtraError: Foolbox is not installed.
        UnknownNameError: It has no such attack.
        InputError: The attack is made with something else.
    """
    foolbox = _package("foolbox", "attacks-foolbox")
    kind = getattr(foolbox.attacks, name, None)
    if not isinstance(kind, type):
        known = [one for one in dir(foolbox.attacks) if isinstance(getattr(foolbox.attacks, one), type)]
        raise UnknownNameError("attack of Foolbox", name, known)
    try:
        theirs: Any = kind(**(options or {}))
    except TypeError as error:
        raise InputError(f"Foolbox's {name} cannot be made with {options}: {error}.") from error

    def attack(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
        import torch

        if model.slopes(attacks.X[:1], index[:1]) is None:
            return
        radius = float(attacks.radius.max())
        centre = attacks.X if attacks.ball.ellipsoid is None else np.zeros((index.size, attacks.ball.dimension))

        def points_of(z: Array) -> Array:
            return attacks.clipped(attacks.X + attacks.ball.pushed(z - centre))

        size = max(float(np.median(np.abs(best.margins))), float(np.finfo(np.float64).tiny))
        module = _margin_module(model, index, points_of, lambda G: attacks.ball.pulled(G) / size, size)
        shown = foolbox.PyTorchModel(module, bounds=_range_of(attacks, centre, radius), device="cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(effort.seed)
            z = torch.tensor(centre, dtype=torch.float64)
            labels = foolbox.criteria.Misclassification(torch.zeros(index.size, dtype=torch.int64))
            found = _started(theirs, shown, z, labels, radius)
        if found is None:
            return
        D = attacks.ball.pushed(found.detach().numpy() - centre)
        points = attacks.moved(np.nan_to_num(D))
        best.offer(points, model.margins(points, index))

    return attack


def _started(theirs: Any, shown: Any, z: "torch.Tensor", labels: Any, radius: float) -> "torch.Tensor | None":
    """What an attack finds; None where it gives up because some rows have no point to start from, with a warning."""
    try:
        return theirs(shown, z, labels, epsilons=[radius])[1][0]  # type: ignore[no-any-return]
    except (ValueError, AssertionError) as error:
        said = str(error) or "some rows have no point that it could start from"
        warnings.warn(f"Foolbox's {type(theirs).__name__} gave up at radius {radius:g}: {said}.", stacklevel=2)
        return None


def autoattack(version: str = "standard", attacks: Sequence[str] | None = None) -> Attack:
    """AutoAttack, for PyTorch modules with four classes or more whose inputs lie in [0, 1]; extra `attacks-images`.

    Args:
        version: "standard", "plus" or "rand", or "custom" with a list of attacks.
        attacks: Such as ``["apgd-ce", "fab"]``; None for those of the version.

    Raises:
        MissingExtraError: pyautoattack is not installed.
        InputError, when attacking: The classifier is none of these, or attacks are of another shape.
    """
    package = _package("pyautoattack", "attacks-images")
    chosen = {} if attacks is None else {"attacks": list(attacks)}

    def attack(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
        import torch

        if not isinstance(model, TorchModel) or len(model.classes) < FEWEST_CLASSES:
            raise InputError("AutoAttack attacks PyTorch modules with four classes or more; leave it out here.")
        outside = attacks.low is None or attacks.high is None or attacks.low.min() < 0.0 or attacks.high.max() > 1.0
        if outside or attacks.ball.ellipsoid is not None:
            raise InputError("AutoAttack keeps inputs in [0, 1] and knows no scales; give Threat(norm, bounds=(0, 1)).")
        norm = {"inf": "Linf", 2: "L2", 1: "L1"}[attacks.ball.norm]

        def logits(x: "torch.Tensor") -> "torch.Tensor":
            return model.logits(x.reshape(len(x), -1).to(model.precision)).to(x.dtype)

        theirs = package.AutoAttack(
            logits, norm=norm, eps=float(attacks.radius.max()), version=version, seed=effort.seed,
            device=model.device, **chosen,
        )  # fmt: skip
        theirs.verbose = False
        shape = (index.size, *model.shape)
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            x = torch.tensor(attacks.X.reshape(shape), dtype=torch.float32, device=model.device)
            found = theirs.run_standard_evaluation(x, torch.tensor(index, device=model.device))
        found = found[0] if isinstance(found, tuple) else found
        D = found.detach().cpu().double().numpy().reshape(attacks.X.shape) - attacks.X
        points = attacks.moved(D)
        best.offer(points, model.margins(points, index))

    return attack


def _margin_module(
    model: Model, index: Index, points_of: Callable[[Array], Array], slopes_of: Callable[[Array], Array], size: float
) -> "torch.nn.Module":
    """The margins of rows, and 0, as two logits of a module: who attacks class 0 of it attacks the classifier."""
    import torch

    class Margins(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
            if z.shape[0] != index.size:
                raise InputError("this attack of Foolbox asks about other rows than it was given; leave it out.")
            found = model.slopes(points_of(z.detach().numpy()), index)
            assert found is not None
            ctx.save_for_backward(torch.from_numpy(np.asarray(slopes_of(found[1]))))
            return torch.from_numpy(found[0] / size)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            (slopes,) = ctx.saved_tensors
            return gradients[0][:, None] * slopes

    class Contest(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            apply: Any = Margins.apply
            margins = apply(z)
            return torch.stack([margins, torch.zeros_like(margins)], dim=1)

    return Contest().eval()


def _range_of(attacks: AttackSet, centre: Array, radius: float) -> tuple[float, float]:
    """One range for all coordinates, as Foolbox knows it; what lies in it and outside of ours is clipped."""
    if attacks.low is not None and attacks.high is not None and attacks.ball.ellipsoid is None:
        low, high = float(attacks.low.min()), float(attacks.high.max())
        if np.isfinite([low, high]).all():
            return low, high
    room = WIDE * radius + float(np.ptp(centre))
    return float(centre.min()) - room, float(centre.max()) + room


def _package(name: str, extra: str) -> Any:
    require(name, extra, "attacks of others")
    return importlib.import_module(name)
