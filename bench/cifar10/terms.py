"""On what terms the study is made: sizes, budgets, and which images serve for what."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.arguments import number, whole
from cvxrobust.core.errors import InputError
from cvxrobust.core.settings import Settings

STAGES = ("backbones", "features", "heads", "evaluation", "collisions", "oracle", "alternating")
"""In the order in which they follow from each other."""

SHARES = (0.54, 0.40)
"""Of the training images: those that train backbones, those that train heads; the rest decides."""

TRIVIAL = 0.2
"""Accuracy without an attack below which a head is hardly better than one that says the same of every image, and is
right about a tenth of them whatever the attack: it is not chosen if there is another, and no gain of it counts."""

FEWEST = 400
"""Training images."""


@dataclass(frozen=True)
class CifarTerms:
    """What must be the same throughout a study.

    Args:
        width: Of the backbone; 64 is the paper's.
        epochs: Of SGD and of sharpness-aware minimisation; half as many of adversarial training go on from SGD, so
            that it has cost as much as the latter.
        subset: Training images in all; None for all that there are.
        rhos: Of sharpness-aware minimisation; the one that is best on the images that decide has heads.
        training_radius: Of attacks in adversarial training, in levels of 255.
        radii: Of attacks on test images, in levels of 255.
        deciding_radius: Of attacks on the images that decide.
        deciding_steps: Of these attacks, and of those that find points and displacements.
        deciding_images: How many of these are attacked.
        displaced_images: How many images the displacement of features is measured on.
        settings: How many settings of each head are tried, the first ones of its list; 0 for all. One is not tried.
        tuning_images: Images on which every setting of a head is tried.
        tuning_seconds: For each of these.
        head_seconds: For a chosen head on all images for heads.
        tolerance: Certified relative gap of the convex heads.
        test_images: That are attacked, the first ones.
        steps: Of iterative attacks on them, from each start.
        restarts: Random starts.
        outside_images: Of these, how many attacks on the cross-entropy have, and AutoAttack, where it is installed.
        collision_images: Test images between which collisions are sought.
        oracle_images: Images whose attacked features become points.
        rounds: Of the cutting-set method, and of alternating.
        threads: Of everything; None leaves the machine's default.
        dtype: Of convolutions in training, "float32" or "bfloat16".
    """

    width: int = 32
    epochs: int = 6
    subset: int | None = None
    rhos: tuple[float, ...] = (0.05, 0.1)
    training_radius: float = 4.0
    radii: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    deciding_radius: float = 2.0
    deciding_steps: int = 10
    deciding_images: int = 500
    displaced_images: int = 1000
    settings: int = 0
    tuning_images: int = 2000
    tuning_seconds: float = 20.0
    head_seconds: float = 300.0
    tolerance: float = 1e-2
    test_images: int = 2000
    steps: int = 20
    restarts: int = 1
    outside_images: int = 200
    collision_images: int = 400
    oracle_images: int = 2000
    rounds: int = 3
    threads: int | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("width", "epochs", "steps", "rounds", "test_images", "deciding_images"):
            whole(getattr(self, name), name, 1)
        for name in ("restarts", "outside_images"):
            whole(getattr(self, name), name, 0)
        for name in ("head_seconds", "tuning_seconds"):
            number(getattr(self, name), name, "seconds above 0", lambda seconds: seconds > 0.0)
        Settings(tolerance=self.tolerance, threads=self.threads)  # refused here, not when heads are trained
        if self.subset is not None and self.subset < FEWEST:
            raise InputError(f"--subset is {self.subset}; expected {FEWEST} training images or more.")
        if not self.rhos or not all(0.0 < one < np.inf for one in (*self.rhos, *self.radii)):
            raise InputError(f"rhos are {list(self.rhos)} and radii {list(self.radii)}; expected numbers above 0.")

    @classmethod
    def tiny(cls, **changes: Any) -> Self:
        """A study of some seconds on synthetic images: everything is tried, nothing is found out."""
        small: dict[str, Any] = {
            "width": 2, "epochs": 2, "subset": 400, "rhos": (0.05,), "radii": (4.0, 16.0), "deciding_radius": 8.0,
            "deciding_steps": 3, "deciding_images": 12, "displaced_images": 16, "settings": 1, "tuning_images": 60,
            "tuning_seconds": 1.0, "head_seconds": 1.0, "tolerance": 0.5, "test_images": 12, "steps": 2,
            "restarts": 0, "outside_images": 4, "collision_images": 10, "oracle_images": 40, "rounds": 1,
            "threads": 1,
        }  # fmt: skip
        return cls(**(small | changes))

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """What `to_json` made."""
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        return cls(**found)


@dataclass(frozen=True, eq=False)
class Split:
    """Which training images serve for what; none serves for two things.

    Args:
        backbone: Train backbones.
        heads: Train heads: features of images that a backbone has learned by heart would flatter them.
        deciding: Decide on radii, weights and settings.
    """

    backbone: NDArray[np.intp]
    heads: NDArray[np.intp]
    deciding: NDArray[np.intp]

    @classmethod
    def of(cls, n: int, subset: int | None, seed: int) -> Self:
        """Drawn from n images.

        Raises:
            InputError: There are fewer than asked for.
        """
        size = n if subset is None else subset
        if not FEWEST <= size <= n:
            raise InputError(f"{size} training images are asked for; there are {n}, and {FEWEST} are the fewest.")
        order = np.random.default_rng([seed, 17]).permutation(n)[:size]
        first = round(SHARES[0] * size)
        second = first + round(SHARES[1] * size)
        return cls(order[:first], order[first:second], order[second:])


def check_classes(labels: NDArray[np.int64], classes: int, what: str) -> None:
    """Refuse images among which a class is missing: the outputs of a head could not be told apart.

    Args:
        labels: Of the images.
        classes: How many there are.
        what: What the images are for.

    Raises:
        InputError: One is missing.
    """
    if (found := np.unique(labels).size) != classes:
        raise InputError(
            f"the {len(labels)} images for {what} show {found} of {classes} classes; expected all: take more."
        )
