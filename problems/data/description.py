"""What is shown of a problem: data, loss, network and attacks, in words."""

from typing import Any, Protocol

import numpy as np

from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.words import attack_words
from cvxrobust.core.networks.words import quadratic_words
from cvxrobust.core.summary import Cell, Summary, counted
from cvxrobust.problems.data.parameters import Label


class Described(Protocol):
    """What every problem of ours says of itself."""

    @property
    def X(self) -> Any:
        """Inputs, of shape (n, d)."""
        ...

    @property
    def y(self) -> Any:
        """Labels or targets."""
        ...

    @property
    def radius(self) -> Any:
        """Attack radii."""
        ...

    @property
    def beta(self) -> float:
        """Weight of the penalty."""
        ...

    @property
    def loss(self) -> str:
        """Name of the loss."""
        ...

    @property
    def norm(self) -> Any:
        """Norm of the attacks."""
        ...

    @property
    def ellipsoid(self) -> Ellipsoid | None:
        """Their shape."""
        ...

    @property
    def sample_weight(self) -> Any:
        """Weights of the samples."""
        ...


def problem_summary(problem: Described, labels: str, network: str, ranged: bool = False) -> Summary:
    """What is shown of a problem.

    Args:
        problem: The problem.
        labels: What its labels are, in words.
        network: What it trains, in words.
        ranged: Whether inputs have a range.
    """
    name, (n, d) = type(problem).__name__, problem.X.shape
    data = f"{counted(n, 'sample')}, {counted(d, 'input')}, {labels}"
    loss = f"{problem.loss.replace('_', ' ')} loss"
    weighted = ", samples weighted" if problem.sample_weight is not None else ""
    attacks = attack_words(problem.norm, problem.radius, problem.ellipsoid) + (", inputs in a range" if ranged else "")
    facts: tuple[tuple[str, Cell], ...] = (
        ("loss", loss + weighted),
        ("penalty", f"beta {problem.beta:g}"),
        ("attacks", attacks),
        ("network", network),
    )
    return Summary(f"{name}: {data}", (f"{loss}{weighted}, beta {problem.beta:g}, {network}", attacks), facts)


def label_words(y: Any, classes: tuple[Label, ...] | None, margin: bool, together: str) -> str:
    """Labels in words.

    Args:
        y: As a problem keeps them.
        classes: What they are called; None for -1 and +1, or for targets.
        margin: Whether the loss is one of labels.
        together: How more than two classes are trained, e.g. ``"one-versus-all"``.
    """
    if classes is None:
        outputs = 1 if np.ndim(y) == 1 else int(y.shape[1])
        return "labels -1 and +1" if margin else counted(outputs, "target")
    if len(classes) == 2:
        return f"labels {' and '.join(repr(label) for label in classes)}"
    return f"{len(classes)} classes {together}"


def activation_words(activation: tuple[float, float, float]) -> str:
    """A polynomial activation in words."""
    return f"activation {quadratic_words(activation)}"
