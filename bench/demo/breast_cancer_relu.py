"""The main job's networks with ReLU activation: the same split and the same 20 sampled gates for all.

One network is trained without an adversary and two against linf attacks of radius 0.05: within the cones of the gates,
and by the one-sided formulation with regating. Certified gaps are about the programmes on these gates. The robust
accuracy lies between what linear relaxations certify and what attacks leave right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.bench.demo.setting import SEED, save_picture, table_title, train_one
from cvxrobust.bench.display import console, make_table, percent
from cvxrobust.bench.workflows.robustness import AccuracyBracket, bracketed_accuracies
from cvxrobust.bench.workflows.threats import STANDARDISED_UNIT
from cvxrobust.bench.workflows.training import CARRIERS, Training, clean_accuracy
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.pictures.canvas import COLOURS, new_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

RADIUS = 0.05
NORM: Norm = "inf"
N_GATES = 20
REGATE = 1
"""Rounds of regating: the first lowers the objective most, and fits into the time limit."""

TIME_LIMIT = 40.0
"""Seconds per network."""

TEST_RADII = (0.05, 0.1, 0.2)
DRAWN_RADII = tuple(np.linspace(0.0, 0.3, 61).tolist())
PICTURE = "relu_robust_accuracy.png"


@dataclass(frozen=True)
class Network:
    """One network to train.

    Args:
        label: Its name in table and picture.
        file: Of the trained network, without its ending.
        problem: Name of the problem family.
        parameters: Besides those that all have.
    """

    label: str
    file: str
    problem: str
    parameters: Mapping[str, Any]


ATTACKED = {"radius": RADIUS, "norm": NORM}
NETWORKS = (
    Network("no adversary", "relu_standard", "convex-relu", {}),
    Network("cone form", "relu_cone", "adversarial-relu", {**ATTACKED, "formulation": "cone"}),
    Network(
        "one-sided",
        "relu_one_sided",
        "adversarial-relu",
        {**ATTACKED, "formulation": "one-sided", "bound": "separate", "regate": REGATE},
    ),
)


@dataclass(frozen=True)
class ReLUEntry:
    """One trained network of the comparison.

    Args:
        label: Its name in table and picture.
        training: The network, its certificate and its data.
        robust: Bounds on the robust accuracy on the held-out rows at each of `TEST_RADII`.
        drawn: The same at each of `DRAWN_RADII`.
    """

    label: str
    training: Training
    robust: tuple[AccuracyBracket, ...]
    drawn: tuple[AccuracyBracket, ...]


def train_for(network: Network, out: Path, quiet: bool) -> ReLUEntry:
    """Train one network, save it and measure it on the held-out rows."""
    parameters = {"n_gates": N_GATES, "seed": SEED, **network.parameters}
    save = out / f"{network.file}.npz"
    training = train_one(f"ReLU, {network.label}", network.problem, parameters, TIME_LIMIT, save, quiet)
    found, test = training.result.network, training.test
    radii = (*TEST_RADII, *DRAWN_RADII)
    brackets = bracketed_accuracies(found, test, radii, NORM)
    return ReLUEntry(network.label, training, brackets[: len(TEST_RADII)], brackets[len(TEST_RADII) :])


def report(entries: Sequence[ReLUEntry]) -> None:
    """Print the comparison as a table."""
    columns = ["ReLU network", "programme", "certified gap", "own objective", "neurons", "carriers", "clean"]
    columns += [f"r = {radius:g}" for radius in TEST_RADII] + ["time"]
    rows = [_row(entry) for entry in entries]
    console().print(make_table(table_title(entries[0].training), columns, rows))
    print(f"Attacks are linf, of radius r, in {STANDARDISED_UNIT}; adversarial training was for r = {RADIUS:g}.")
    print("Robust accuracies: certified (no attack does worse) .. attacked (an attack that was found does this).")
    print(
        "Programme: objective on the final gates, which the certified gap is about. Own objective: that of the network,"
    )
    print("worst attacks included. Carriers: gates that can carry a neuron through every attack (cone formulation).")
    for entry in entries:
        if not entry.training.result.network.n_neurons:
            print(f"{entry.label}: no neurons, so the output is 0 for every input, a margin that certifies nothing.")


def _row(entry: ReLUEntry) -> list[object]:
    result = entry.training.result
    said = result.report
    low, high = (said.get(f"network_objective_at_{end}", float("nan")) for end in ("least", "most"))
    carriers = f"{said[CARRIERS]} of {said['gates']}" if CARRIERS in said else ""
    return [
        entry.label,
        f"{result.certificate.upper:.8f}",
        f"{result.certificate.relative_gap:.1e}",
        f"{low:.4g}" if low == high else f"{low:.4f} .. {high:.4f}",
        result.network.n_neurons,
        carriers,
        percent(clean_accuracy(result.network, entry.training.test)),
        *(f"{100 * found.certified:.1f} .. {percent(found.attacked)}" for found in entry.robust),
        f"{result.times.wall:.1f} s",
    ]


def to_dict(entries: Sequence[ReLUEntry]) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    return {
        "norm": NORM,
        "training_radius": RADIUS,
        "n_gates": N_GATES,
        "gate_seed": SEED,
        "test_radii": list(TEST_RADII),
        "networks": [
            {
                "label": entry.label,
                "robust_test_accuracy": [found.to_dict() for found in entry.robust],
                "drawn": [found.to_dict() for found in entry.drawn],
                **entry.training.to_dict(),
            }
            for entry in entries
        ],
    }


def draw(entries: Sequence[ReLUEntry], path: Path) -> None:
    """A band from certified to attacked accuracy against attack radius for each network, as a PNG."""
    figure, axes = new_picture()
    for entry, colour in zip(entries, COLOURS, strict=False):
        x, low, high = band(entry.drawn)
        axes.fill_between(x, low, high, color=colour, alpha=0.3, linewidth=0.0)
        axes.plot(x, low, color=colour, linewidth=1.8, label=entry.label)
        axes.plot(x, high, color=colour, linewidth=1.0, linestyle="--")
    axes.axvline(RADIUS, color="0.4", linestyle=":", linewidth=1.4, label=f"training radius {RADIUS:g}")
    labels = (
        f"attack radius r (linf, in {STANDARDISED_UNIT})",
        f"certified (solid) to attacked (dashed) on {entries[0].training.test.n_rows} held-out rows (%)",
    )
    axes.legend(title="network", loc="lower right")
    save_picture(figure, axes, path, "ReLU networks under linf attacks", labels, DRAWN_RADII[-1])


def band(drawn: Sequence[AccuracyBracket]) -> "tuple[Array, Array, Array]":
    """Radii, certified and attacked accuracy in percent as steps that are bounds between the radii, too.

    No attack does better in a smaller ball than in a larger one, so the certified accuracy of the next radius and the
    attacked accuracy of the last one hold in between.
    """
    radii, certified, attacked = (
        np.array([getattr(found, name) for found in drawn]) for name in ("radius", "certified", "attacked")
    )
    return np.repeat(radii, 2)[1:-1], 100.0 * np.repeat(certified[1:], 2), 100.0 * np.repeat(attacked[:-1], 2)
