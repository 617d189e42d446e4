"""Our first-order backend: seconds to certified relative gaps, from the trace of one solve per instance.

    python -m cvxrobust.bench.studies.first_order [--threads 2] [--time-limit 60] [--only NAME ...]

Polynomial: the reference instance (Breast Cancer Wisconsin, n = 455, d = 30) and digits (scikit-learn, even against
odd, the first 1500 images, pixels in [-1, 1], d = 64), both hinge, l2 radius 0.3, beta = 0.01. ReLU: Breast Cancer
Wisconsin with 50 sampled gates, beta = 0.01, in four programmes; each also by Clarabel, in the same run. The rows
"torch + clarabel" are polished: masters of the cutting-set method go on from what torch found, to 1e-8.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cvxrobust.bench.data.bundled import load_digits
from cvxrobust.bench.metrics import seconds_to
from cvxrobust.bench.studies.common import number, print_rows, study_parser
from cvxrobust.bench.studies.reference_instance import breast_cancer

GAPS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
POLISHED = " + "
"""Stands in a backend's name between the first phase and who polishes."""


def breast_cancer_problem(radius: float = 0.3, loss: str = "hinge") -> Any:
    """The reference instance, and others on its data."""
    from cvxrobust import AdversarialSDP

    return AdversarialSDP(*breast_cancer(), radius=radius, beta=0.01, loss=loss)


def digits() -> Any:
    """Even against odd digits."""
    from cvxrobust import AdversarialSDP

    data = load_digits()
    y = np.where(data.target[:1500] % 2 == 0, 1.0, -1.0)
    return AdversarialSDP(data.X[:1500] / 8.0 - 1.0, y, radius=0.3, beta=0.01)


def relu(radius: float = 0.0, **choices: Any) -> Any:
    """A ReLU programme on 50 sampled gates."""
    from cvxrobust import AdversarialReLU, ConvexReLU

    X, y = breast_cancer()
    return AdversarialReLU(X, y, radius, **choices) if radius else ConvexReLU(X, y, **choices)


INSTANCES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "breast-cancer": (breast_cancer_problem, ("torch", "torch + clarabel")),
    "breast-cancer-0.05": (lambda: breast_cancer_problem(0.05), ("torch + clarabel",)),
    "breast-cancer-1": (lambda: breast_cancer_problem(1.0), ("torch + clarabel",)),
    "breast-cancer-squared-hinge": (lambda: breast_cancer_problem(loss="squared_hinge"), ("torch + clarabel",)),
    "breast-cancer-logistic": (lambda: breast_cancer_problem(loss="logistic"), ("torch + clarabel",)),
    "digits": (digits, ("torch", "torch + clarabel")),
    "relu": (relu, ("torch", "clarabel")),
    "relu-attacked": (lambda: relu(0.05, bound="separate"), ("torch", "clarabel")),
    "relu-cone": (lambda: relu(formulation="cone"), ("torch", "clarabel")),
    "relu-squared": (lambda: relu(loss="squared"), ("torch", "clarabel")),
}


def tolerance_of(name: str, backend: str) -> float:
    """The gap that a row asks for: what its backend can be expected to reach."""
    if POLISHED in backend:
        return 1e-8
    return 1e-3 if name.startswith("relu") else 1e-4


def measure(names: Sequence[str], time_limit: float, threads: int) -> Iterator[list[str]]:
    """One row for every instance and backend."""
    from cvxrobust import Settings, solve

    # The first use of PyTorch loads its libraries; nobody's time should hold that.
    solve(relu(n_gates=2), backend="torch", settings=Settings(tolerance=1e-1, threads=threads))
    for name in names:
        build, backends = INSTANCES[name]
        problem = build()
        for backend in backends:
            first, _, second = backend.partition(POLISHED)
            settings = Settings(tolerance=tolerance_of(name, backend), time_limit=time_limit, threads=threads)
            result = solve(problem, backend=first, method="direct", polish=second or False, settings=settings)
            yield [
                name,
                backend,
                *(number(seconds_to(result, gap)) for gap in GAPS),
                f"{result.certificate.relative_gap:.1e}",
                f"{result.certificate.upper:.8f}",
                f"{result.times.wall:.2f}",
            ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve and print when each gap was reached."""
    asked = study_parser(__doc__, threads=2, time_limit=60.0, only=INSTANCES).parse_args(arguments)
    columns = ["instance", "backend", *(f"s to {gap:.0e}" for gap in GAPS), "final gap", "objective", "s in all"]
    title = f"Seconds to certified relative gaps, {asked.threads} threads"
    print_rows(title, columns, measure(asked.only, asked.time_limit, asked.threads), left=2)


if __name__ == "__main__":
    main()
