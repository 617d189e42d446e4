"""Cone against one-sided formulation of ReLU training on the same gates: objectives, own objectives, robust accuracy.

Breast Cancer Wisconsin (Diagnostic), all columns standardised, the first 200 rows of a permutation with seed 0 to train
on and the other 369 to test on; hinge, beta = 0.01; the unique patterns of 20 standard normal gates. Run it with

    python -m cvxrobust.bench.studies.relu_table [--threads 2]
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.bench.display import percent
from cvxrobust.bench.studies.common import print_rows, study_parser
from cvxrobust.bench.studies.reference_instance import breast_cancer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cvxrobust.core.attacks.norms import Norm

BETA = 0.01
N_TRAIN = 200
N_GATES = 20
REGATE = 4
ATTACKS: tuple[tuple[float, "Norm"], ...] = ((0.0, "inf"), (0.01, "inf"), (0.05, "inf"), (0.05, 2))
COLUMNS = (
    "attack",
    "formulation",
    "programme",
    "gap",
    "own, at least",
    "own, at most",
    "neurons",
    "clean",
    "certified",
    "attacked",
    "time",
)


@dataclass(frozen=True)
class Halves:
    """Training and test rows, standardised together."""

    X: "NDArray[np.float64]"
    y: "NDArray[np.float64]"
    X_test: "NDArray[np.float64]"
    y_test: "NDArray[np.float64]"


def halves() -> Halves:
    """The rows of the module's description."""
    X, y = breast_cancer(rows=569)
    return Halves(X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:], y[N_TRAIN:])


def problems(data: Halves, radius: float, norm: "Norm") -> dict[str, Any]:
    """The formulations to compare, by name."""
    from cvxrobust import AdversarialReLU, ConvexReLU

    gates = np.random.default_rng(0).standard_normal((data.X.shape[1], N_GATES))
    if radius == 0.0:
        return {
            "cone": ConvexReLU(data.X, data.y, gates=gates, beta=BETA, formulation="cone"),
            "one-sided": ConvexReLU(data.X, data.y, gates=gates, beta=BETA),
            f"one-sided, regated {REGATE}x": ConvexReLU(data.X, data.y, gates=gates, beta=BETA, regate=REGATE),
        }
    found: dict[str, Any] = {
        "cone": AdversarialReLU(data.X, data.y, radius, gates=gates, norm=norm, beta=BETA, formulation="cone")
    }
    for bound in ("soft-cone", "separate", "mixed"):
        for regate in (0, REGATE):
            name = f"one-sided, {bound}" + (f", regated {REGATE}x" if regate else "")
            found[name] = AdversarialReLU(
                data.X, data.y, radius, gates=gates, norm=norm, beta=BETA, bound=bound, regate=regate
            )
    return found


def row(data: Halves, name: str, problem: Any, radius: float, norm: "Norm", threads: int) -> list[str]:
    """Solve one problem and measure its network on the test rows."""
    from cvxrobust import Settings, solve

    result = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6, threads=threads))
    network, bounds = result.network, result.certificate
    uppers = [step.certificate.upper for step in result.history]
    if any(later > earlier for earlier, later in pairwise(uppers)):
        raise AssertionError(f"regating raised the objective: {uppers}")
    certified, attacked = (
        float(judge(data.X_test, data.y_test, [radius], norm)[0])
        for judge in (network.certified_accuracy, network.attacked_accuracy)
    )
    clean = float(np.mean(network.predict(data.X_test) == data.y_test))
    own = result.report["network_objective_at_least"], result.report["network_objective_at_most"]
    return [
        f"{'l' + str(norm)} {radius:g}" if radius else "none",
        name,
        f"{bounds.upper:.6f}",
        f"{bounds.relative_gap:.0e}",
        f"{own[0]:.6f}",
        f"{own[1]:.6f}",
        str(network.n_neurons),
        percent(clean),
        percent(certified),
        percent(attacked),
        f"{result.times.wall:.1f} s",
    ]


def rows(data: Halves, threads: int) -> Iterator[list[str]]:
    """One row for every attack and formulation."""
    for radius, norm in ATTACKS:
        for name, problem in problems(data, radius, norm).items():
            yield row(data, name, problem, radius, norm, threads)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    threads, data = study_parser(__doc__, threads=2).parse_args(arguments).threads, halves()
    title = f"{N_TRAIN} training rows, accuracies on {data.y_test.size} test rows, the same {N_GATES} gates throughout"
    print_rows(title, COLUMNS, rows(data, threads), left=2)


if __name__ == "__main__":
    main()
