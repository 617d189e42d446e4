"""The main job: standard against adversarial training on Breast Cancer Wisconsin (Diagnostic).

A seeded stratified 80/20 split, standardised with the training rows' statistics; the hinge loss with beta =
0.01; one network trained without an adversary and two against l2 attacks of radius 0.3 and 1.0. Each is the
best of its kind up to its certified gap, and every robust accuracy is exact: one distance to the decision
boundary per row. The networks with ReLU activation follow (`breast_cancer_relu`).
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.bench.demo import breast_cancer_relu
from cvxrobust.bench.demo.setting import save_picture, table_title, train_one
from cvxrobust.bench.display import console, make_table, percent, to_json
from cvxrobust.bench.workflows.output_files import make_folder
from cvxrobust.bench.workflows.threats import STANDARDISED_UNIT
from cvxrobust.bench.workflows.training import Training
from cvxrobust.core.contracts.result import Quality
from cvxrobust.core.files import write_whole
from cvxrobust.core.pictures.canvas import COLOURS, new_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from cvxrobust.core.networks.polynomial import PolynomialNetwork

BACKEND = "torch"
"""At radius 1 the cutting-set method reached a gap of 8e-5 in 50 seconds, this backend 7e-7 in 5."""

TIME_LIMIT = 50.0
"""Seconds per network, so that this part stays under two minutes; a certificate shows what they were worth."""
TRAINING_RADII = (0.0, 0.3, 1.0)
TEST_RADII = (0.1, 0.3, 0.5, 1.0, 1.5)

PICTURE = "robust_accuracy.png"
NUMBERS = "results.json"


@dataclass(frozen=True)
class PolynomialEntry:
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
    make_folder(out, "--out")
    entries = [train_for(radius, out, quiet) for radius in TRAINING_RADII]
    numbers = to_dict(entries)
    write(numbers, out / NUMBERS)
    draw(entries, out / PICTURE)
    report(entries)
    relu = [breast_cancer_relu.train_for(network, out, quiet) for network in breast_cancer_relu.NETWORKS]
    write(numbers | {"relu": breast_cancer_relu.to_dict(relu)}, out / NUMBERS)
    breast_cancer_relu.draw(relu, out / breast_cancer_relu.PICTURE)
    breast_cancer_relu.report(relu)
    pictures = f"{out / PICTURE} and {out / breast_cancer_relu.PICTURE}"
    print(f"Pictures: {pictures}; numbers: {out / NUMBERS}; networks: {out}/*.npz")
    trained = [entry.training for entry in entries] + [entry.training for entry in relu]
    return all(training.result.quality is not Quality.UNUSABLE for training in trained)


def write(numbers: Mapping[str, Any], path: Path) -> None:
    """Write numbers as JSON."""
    write_whole(path, to_json(numbers) + "\n")


def train_for(radius: float, out: Path, quiet: bool) -> PolynomialEntry:
    """Train for one radius (0 is the standard problem), save the network and measure it on the held-out
    rows."""
    label, name, problem = "standard", "standard.npz", "standard-sdp"
    if radius:
        label, name, problem = f"adversarial, r = {radius:g}", f"adversarial_{radius:g}.npz", "adversarial-sdp"
    training = train_one(label, problem, {"radius": radius} if radius else {}, TIME_LIMIT, out / name, quiet, BACKEND)
    network, test = training.result.network, training.test
    return PolynomialEntry(label, training, tuple(map(float, network.robust_accuracy(test.X, test.y, TEST_RADII))))


def report(entries: Sequence[PolynomialEntry]) -> None:
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
    console().print(make_table(table_title(entries[0].training), columns, rows))
    print(f"Robust accuracies are exact, under every l2 attack of radius r, in {STANDARDISED_UNIT}.")
    print("Certified gap: (objective - lower bound) / objective, over all networks of the kind.")


def to_dict(entries: Sequence[PolynomialEntry]) -> dict[str, Any]:
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


def draw(entries: Sequence[PolynomialEntry], path: Path) -> None:
    """Exact robust accuracy against attack radius, one step per held-out row, as a PNG."""
    figure, axes = new_picture()
    curves = [robustness_radii(entry.training.result.network, entry.training.test) for entry in entries]
    # A few rows withstand far larger attacks than the others and would squeeze the rest of the picture.
    limit = max(float(np.quantile(curve, 0.97, method="lower")) for curve in curves)
    limit = limit if 0.0 < limit < np.inf else 2.0 * TEST_RADII[-1]
    for entry, curve, colour in zip(entries, curves, COLOURS, strict=False):
        _draw_curve(axes, curve, limit, entry, colour)
    labels = (
        f"attack radius r (l2, in {STANDARDISED_UNIT})",
        f"robust accuracy on {entries[0].training.test.n_rows} held-out rows (%)",
    )
    axes.legend(title="network", loc="upper right")
    save_picture(figure, axes, path, "Exact l2-robust test accuracy", labels, limit)


def _draw_curve(axes: "Axes", radii: "NDArray[np.float64]", limit: float, entry: PolynomialEntry, colour: str) -> None:
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
