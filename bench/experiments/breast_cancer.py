"""The main job: standard against adversarial training on Breast Cancer Wisconsin (Diagnostic).

A seeded stratified 80/20 split, standardised with the training rows' statistics; the hinge loss with beta =
0.01; one network trained without an adversary and two against l2 attacks of radius 0.3 and 1.0. Each is the
best of its kind up to its certified gap, and every robust accuracy is exact: one distance to the decision
boundary per row.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.bench.data import Dataset
from cvxrobust.bench.display import Progress, console, make_table, percent, to_json
from cvxrobust.bench.known_data import BREAST_CANCER
from cvxrobust.bench.training import STANDARDISED_UNIT, Training, TrainingRequest, train
from cvxrobust.core.errors import InputError
from cvxrobust.core.result import Quality
from cvxrobust.core.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from cvxrobust.core.networks import PolynomialNetwork

BETA = 0.01
LOSS = "hinge"
SEED = 0
TEST_FRACTION = 0.2
TOLERANCE = 1e-6
TIME_LIMIT = 50.0
"""Seconds per network, so that the whole job stays under two minutes; a certificate shows what they were worth."""
TRAINING_RADII = (0.0, 0.3, 1.0)
TEST_RADII = (0.1, 0.3, 0.5, 1.0, 1.5)

PICTURE = "robust_accuracy.png"
NUMBERS = "results.json"
COLOURS = ("tab:blue", "tab:orange", "tab:green")


@dataclass(frozen=True)
class Entry:
    """One trained network of the comparison.

    Args:
        label: Its name in table and picture.
        training: The network, its certificate and its data.
        robust: Exact robust accuracy on the held-out rows at each of `TEST_RADII`.
    """

    label: str
    training: Training
    robust: tuple[float, ...]


def run(out: Path, quiet: bool = False) -> bool:
    """Train, tabulate, draw and save everything into the folder `out`.

    Returns:
        Whether every network is usable, in the sense of its certificate.

    Raises:
        InputError: Nothing can be written to `out`.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be a folder ({error.strerror}); name another with --out.") from error
    entries = [train_one(radius, out, quiet) for radius in TRAINING_RADII]
    (out / NUMBERS).write_text(to_json(to_dict(entries)) + "\n", encoding="utf-8")
    draw(entries, out / PICTURE)
    report(entries)
    print(f"Picture: {out / PICTURE}; numbers: {out / NUMBERS}; networks: {out}/*.npz")
    return all(entry.training.result.quality is not Quality.UNUSABLE for entry in entries)


def train_one(radius: float, out: Path, quiet: bool) -> Entry:
    """Train for one radius (0 is the standard problem), save the network and measure it on the held-out
    rows."""
    parameters: dict[str, Any] = {"beta": BETA, "loss": LOSS}
    label, name = "standard", "standard.npz"
    if radius:
        parameters["radius"] = radius
        label, name = f"adversarial, r = {radius:g}", f"adversarial_{radius:g}.npz"
    request = TrainingRequest(
        data=BREAST_CANCER,
        settings=Settings(tolerance=TOLERANCE, time_limit=TIME_LIMIT, seed=SEED),
        problem="adversarial-sdp" if radius else "standard-sdp",
        parameters=parameters,
        test_fraction=TEST_FRACTION,
        seed=SEED,
        save=out / name,
    )
    with Progress(f"{label:<21}", quiet) as progress:
        training = train(request, progress)
    network, test = training.result.network, training.test
    return Entry(label, training, tuple(map(float, network.robust_accuracy(test.X, test.y, TEST_RADII))))


def report(entries: Sequence[Entry]) -> None:
    """Print the comparison as a table."""
    columns = ["network", "objective", "certified gap", "neurons", "clean"]
    columns += [f"r = {radius:g}" for radius in TEST_RADII] + ["time"]
    rows = []
    for entry in entries:
        result = entry.training.result
        rows.append(
            [
                entry.label,
                f"{result.certificate.upper:.8f}",
                f"{result.certificate.relative_gap:.1e}",
                result.network.n_neurons,
                percent(entry.training.accuracies()["test_clean"]),
                *map(percent, entry.robust),
                f"{result.times.wall:.1f} s",
            ]
        )
    first = entries[0].training
    title = (
        f"Breast Cancer Wisconsin (Diagnostic): {first.train.n_rows} training rows, accuracies on the "
        f"{first.test.n_rows} held-out rows"
    )
    console().print(make_table(title, columns, rows))
    print(f"Robust accuracies are exact, under every l2 attack of radius r, in {STANDARDISED_UNIT}.")
    print("Certified gap: (objective - lower bound) / objective, over all networks of the kind.")


def to_dict(entries: Sequence[Entry]) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    return {
        "experiment": "breast_cancer",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "test_radii": list(TEST_RADII),
        "networks": [
            {"label": entry.label, "robust_test_accuracy": list(entry.robust), **entry.training.to_dict()}
            for entry in entries
        ],
    }


def draw(entries: Sequence[Entry], path: Path) -> None:
    """Exact robust accuracy against attack radius, one step per held-out row, as a PNG."""
    # Figure and canvas by hand: pyplot would choose a window system and keep global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curves = [robustness_radii(entry.training.result.network, entry.training.test) for entry in entries]
    # A few rows withstand far larger attacks than the others and would squeeze the rest of the picture.
    limit = max(float(np.quantile(curve, 0.97, method="lower")) for curve in curves)
    limit = limit if 0.0 < limit < np.inf else 2.0 * TEST_RADII[-1]
    for entry, curve, colour in zip(entries, curves, COLOURS, strict=True):
        _draw_curve(axes, curve, limit, entry, colour)
    test = entries[0].training.test
    axes.set_title("Exact l2-robust test accuracy, Breast Cancer Wisconsin (Diagnostic)")
    axes.set_xlabel(f"attack radius r (l2, in {STANDARDISED_UNIT})")
    axes.set_ylabel(f"robust accuracy on {test.n_rows} held-out rows (%)")
    axes.set_xlim(0.0, limit)
    axes.set_ylim(0.0, 102.0)
    axes.grid(alpha=0.3)
    axes.legend(title="network", loc="upper right")
    figure.savefig(path, dpi=150)


def _draw_curve(axes: "Axes", radii: "NDArray[np.float64]", limit: float, entry: Entry, colour: str) -> None:
    lost = np.sort(radii[(radii > 0.0) & (radii <= limit)])
    x = np.concatenate([[0.0], lost, [limit]])
    # At the k-th smallest radius the k-th of the rows that are right without an attack is lost.
    left = np.count_nonzero(radii) - np.arange(lost.size + 1)
    y = 100.0 * np.concatenate([left, left[-1:]]) / radii.size
    axes.step(x, y, where="post", color=colour, label=entry.label, linewidth=1.8)
    if entry.training.radius:
        name = f"training radius {entry.training.radius:g}"
        axes.axvline(entry.training.radius, color=colour, linestyle=":", linewidth=1.4, label=name)


def robustness_radii(network: "PolynomialNetwork", rows: Dataset) -> "NDArray[np.float64]":
    """Radius at which each row is lost, shape (n,): its distance to the boundary; 0 if wrong already."""
    correct = np.asarray(network.predict(rows.X)) == rows.y
    return np.where(correct, network.distance_to_boundary(rows.X), 0.0)
