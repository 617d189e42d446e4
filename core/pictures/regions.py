"""Decision regions in two inputs, and the balls around rows in which nothing changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.threat import AttackSet, Threat, checked_threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.pictures.balls import certified_at, largest_certified_radii, shadow
from cvxrobust.core.pictures.canvas import COLOURS, axes_or_new, check_axes, plain
from cvxrobust.core.pictures.robustness import own_threat
from cvxrobust.core.robustness.models import Model, NetworkModel, as_model, places
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers, checked_inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

POINTS = 200
"""Of the grid on which regions are drawn, in each direction."""

ALIKE = 3.0
"""Up to this ratio of their spreads both inputs are drawn to the same scale: then discs are discs."""

MARGIN = 0.08
"""Share of the rows' spread that is shown around them."""


def plot_decision_regions(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    radius: ArrayLike | None = None,
    features: tuple[int | str, int | str] = (0, 1),
    ax: "Axes | None" = None,
    *,
    threat: Threat | None = None,
) -> "Axes":
    """Draw what a classifier predicts over two inputs, some rows, and balls around them in which no attack changes it.

    A ball is what attacks can do to the two inputs: a disc, a square, an ellipse, or a segment where one of them is
    immutable. It is drawn solid if it is certified, which is a statement about all inputs, and dashed if not. Where
    there are more than two inputs, regions are those of the section at the medians of all others, so that a ball may
    reach across a border that is not there for its row.

    Args:
        model: A network of ours, a fitted classifier with scikit-learn's methods, or a PyTorch module.
        X: Inputs, shape (n, d), d at least 2; a data frame's columns name the axes.
        y: True labels, shape (n,).
        radius: Of the balls, one number or one per row, in the units of `evaluate_robustness`; None for the largest
            that is certified, row by row.
        features: The two inputs, by number, or by name where columns have names.
        ax: Axes of matplotlib to draw into; None for a new figure.
        threat: The attacks; None for those that a network of ours was trained for, l2 balls otherwise.

    Raises:
        InputError: Data, radii, features or the threat do not fit, or matplotlib is missing.
    """
    check_axes(ax)
    asked = None if threat is None else checked_threat(threat)
    view, names = as_model(model, y), _names(model, X)
    table = checked_inputs(X, np.inf)
    if table.shape[1] < 2:
        raise InputError(f"X has shape {table.shape}; expected two columns at least to draw.")
    rows = view.inputs(table)
    two = _two(features, names, table.shape[1])
    if asked is None:
        asked = own_threat(view.model) if isinstance(view, NetworkModel) else Threat()
    scene = Scene(view, table, view.stated(asked).on(rows), places(view.classes, y, table.shape[0]), two)
    balls = scene.balls(None if radius is None else _radii(radius, table.shape[0]))
    axes = axes_or_new(ax, (6.4, 5.2))
    scene.draw(axes, balls)
    axes.set_xlabel(plain(_name(names, two[0])))
    axes.set_ylabel(plain(_name(names, two[1])))
    if table.shape[1] > 2:
        axes.set_title("other inputs at their medians", fontsize="small")
    return axes


@dataclass(frozen=True)
class Balls:
    """Balls around rows, in the units that are drawn.

    Args:
        corners: Of every row's, shape (n, k, 2).
        certified: Which are, shape (n,).
        words: What these are called.
        largest: Whether they are as large as they may be.
    """

    corners: Array
    certified: NDArray[np.bool_]
    words: str
    largest: bool = False


@dataclass(frozen=True)
class Scene:
    """What is drawn.

    Args:
        view: The classifier.
        X: Rows in their own units, shape (n, d).
        attacks: On the rows as the classifier sees them.
        index: The place of their labels among the classes, shape (n,).
        two: The inputs that are drawn.
    """

    view: Model
    X: Array
    attacks: AttackSet
    index: NDArray[np.intp]
    two: tuple[int, int]

    @property
    def units(self) -> Array:
        """What 1 is, as the classifier sees inputs, in units of X, shape (d,)."""
        standardizer = self.view.model.standardizer if isinstance(self.view, NetworkModel) else None
        return np.ones(self.X.shape[1]) if standardizer is None else np.asarray(standardizer.scale)

    def balls(self, radii: Array | None) -> Balls:
        """Those of given radii, or the largest that are certified."""
        unit = shadow(self.attacks, self.two, self.units)
        largest = radii is None
        if radii is None:
            size = float(np.abs(unit).max())
            most = 2.0 * float(np.ptp(self.X[:, self.two], axis=0).max()) / size if size > 0.0 else 1.0
            radii = largest_certified_radii(self.view, self.attacks, most or 1.0)
            certified, words = radii > 0.0, "largest certified"
        else:
            certified = certified_at(self.view, self.attacks, radii)
            low, high = float(radii.min()), float(radii.max())
            words = f"certified at {low:g}{f' to {high:g}' if high > low else ''}"
        corners = self.X[:, None, self.two] + radii[:, None, None] * unit
        return Balls(self._in_range(corners), certified, words, largest)

    def _in_range(self, corners: Array) -> Array:
        attacks = self.attacks
        if attacks.low is None or attacks.high is None:
            return corners
        standardizer = self.view.model.standardizer if isinstance(self.view, NetworkModel) else None
        mean = np.zeros(self.X.shape[1]) if standardizer is None else standardizer.mean
        low, high = (mean + bound * self.units for bound in (attacks.low, attacks.high))
        return np.clip(corners, low[list(self.two)], high[list(self.two)])

    def draw(self, axes: "Axes", balls: Balls) -> None:
        """Regions below, balls, and rows above them."""
        self._regions(axes, balls)
        self._balls(axes, balls)
        drawn = self.X[:, self.two]
        right = self.view.predicted(self.attacks.X) == self.index
        for k, label in enumerate(self.view.classes):
            name = _label(label)
            for mask, marker, words in ((right, "o", name), (~right, "X", f"{name}, taken for another")):
                chosen = (self.index == k) & mask
                if chosen.any():
                    axes.scatter(
                        drawn[chosen, 0], drawn[chosen, 1], s=26, marker=marker, color=COLOURS[k % len(COLOURS)],
                        edgecolors="black", linewidths=0.6, label=plain(words), zorder=3,
                    )  # fmt: skip
        axes.legend(loc="best", fontsize="small")

    def _regions(self, axes: "Axes", balls: Balls) -> None:
        from matplotlib.colors import ListedColormap

        # The largest balls of rows far from all borders may be many times as wide as the data.
        shown = [self.X[:, self.two]] if balls.largest else [self.X[:, self.two], balls.corners.reshape(-1, 2)]
        drawn = np.concatenate(shown)
        low, high = drawn.min(axis=0), drawn.max(axis=0)
        room = MARGIN * np.where(high > low, high - low, 1.0)
        low, high = low - room, high + room
        alike = bool((high - low).max() <= ALIKE * (high - low).min())
        if alike:
            middle, half = 0.5 * (low + high), 0.5 * (high - low).max()
            low, high = middle - half, middle + half
        x, y = (np.linspace(low[k], high[k], POINTS) for k in (0, 1))
        grid = np.tile(np.median(self.X, axis=0), (POINTS * POINTS, 1))
        grid[:, self.two[0]], grid[:, self.two[1]] = np.tile(x, POINTS), np.repeat(y, POINTS)
        predicted = self.view.predicted(self.view.inputs(grid)).reshape(POINTS, POINTS)
        count = len(self.view.classes)
        colours = ListedColormap([COLOURS[k % len(COLOURS)] for k in range(count)])
        axes.pcolormesh(x, y, predicted, cmap=colours, vmin=-0.5, vmax=count - 0.5, alpha=0.22, shading="nearest",
                        rasterized=True, linewidth=0.0)  # fmt: skip
        axes.set_xlim(float(low[0]), float(high[0]))
        axes.set_ylim(float(low[1]), float(high[1]))
        if alike:
            axes.set_aspect("equal")

    def _balls(self, axes: "Axes", balls: Balls) -> None:
        from matplotlib.collections import PolyCollection

        thin = 0.5 if balls.largest else 0.9  # they overlap
        styles = ((balls.certified, "-", "black", balls.words), (~balls.certified, "--", "tab:red", "not certified"))
        for mask, dash, colour, words in styles:
            if mask.any():
                drawn = PolyCollection(
                    list(balls.corners[mask]), facecolors="none", edgecolors=colour, linestyles=dash, linewidths=thin,
                    label=plain(words), zorder=2,
                )  # fmt: skip
                axes.add_collection(drawn)


def _label(label: object) -> str:
    return f"{label:g}" if isinstance(label, float) else str(label)


def _radii(radius: ArrayLike, n: int) -> Array:
    given = as_numbers(radius, "radius", "expected radii of 0 or more")
    if given.shape not in ((), (1,), (n,)) or not (np.isfinite(given).all() and (given >= 0.0).all()):
        raise InputError(f"radius is {shown(radius)}; expected a number of 0 or more, or one per row, shape ({n},).")
    return np.broadcast_to(given, (n,))


def _names(model: Any, X: Any) -> list[str]:
    """What inputs are called; empty where nobody says."""
    columns: Any = getattr(X, "columns", None)
    if columns is None:
        network = model if isinstance(model, TwoLayerNetwork) else getattr(model, "network_", None)
        columns = getattr(getattr(network, "standardizer", None), "names", ())
    return [str(name) for name in columns]


def _name(names: Sequence[str], place: int) -> str:
    return names[place] if place < len(names) else f"input {place}"


def _two(features: Sequence[int | str], names: Sequence[str], d: int) -> tuple[int, int]:
    known = f", or of {', '.join(names)}" if names else ""
    expected = f"expected two of the numbers 0 to {d - 1}{known}"
    if isinstance(features, str) or not isinstance(features, Sequence | np.ndarray):
        raise InputError(f"features is {shown(features)}; {expected}.")
    found = [names.index(one) if isinstance(one, str) and one in names else one for one in features]
    fine = [isinstance(one, int | np.integer) and -d <= one < d for one in found]
    if len(found) != 2 or not all(fine):
        raise InputError(f"features are {shown(features)}; {expected}.")
    first, second = (int(one) % d for one in found)
    if first == second:
        raise InputError(f"features are {shown(features)}, twice the same; expected two different inputs.")
    return first, second
