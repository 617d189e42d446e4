"""`ConvexReLU` against the public package pyscnn (imported as scnn; Mishkin, Sahiner and Pilanci, arXiv:2202.01331).

    python -m cvxrobust.bench.studies.scnn_comparison [--beta 0.01] [--threads 2]

Both solve the same convex programme, the cone formulation with squared loss on the same gates:

    min  mean_i (f_i - y_i)^2 + beta sum_j (||v_j||_2 + ||w_j||_2),   f_i = sum_j d_ij x_i'(v_j - w_j),
    s.t. (2 d_ij - 1) x_i'v_j >= 0,  (2 d_ij - 1) x_i'w_j >= 0.

Its objective and the largest violation of a constraint are evaluated here, for both alike. "above bound" is the
distance from our certified lower bound, relative to it; for our own row that is the certified gap. It can be negative
only for a point outside the cones. Seconds surround the solve alone, after a warm-up, on the same number of threads.

pyscnn appears as shipped (its default tolerances, in float64) and with its targets multiplied by 10, which changes the
programme by a factor only: its solver sets its penalty from absolute violations and its multipliers never decrease, so
that on targets of size 1 it can stop well above the optimum, however tight its tolerances.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import study_parser, timed
from cvxrobust.bench.studies.reference_instance import breast_cancer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Effort:
    """How pyscnn is run.

    Args:
        name: For the table.
        target_scale: Factor on the targets and on beta; the weights are divided by it again.
        tolerance: Largest squared norm of its minimum-norm subgradient, and of its constraint violations.
        iterations: Limit on its inner iterations, all outer iterations together.
    """

    name: str
    target_scale: float = 1.0
    tolerance: float = 1e-6
    iterations: int = 200_000


AS_SHIPPED = Effort("pyscnn, as shipped", iterations=10_000)
SCALED = Effort("pyscnn, targets x 10", target_scale=10.0)


@dataclass(frozen=True)
class Row:
    """What one solver reached; `above` is relative to our certified lower bound."""

    solver: str
    objective: float
    above: float
    violation: float
    seconds: float


def instances() -> Iterator[tuple[str, Array, Array, Array]]:
    """Name, inputs (n, d), targets (n,) and gate vectors (d, P) of each instance."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 5)), rng.standard_normal(60)
    yield "random", X, y, distinct_gates(X, rng.standard_normal((5, 10)))
    X, y = breast_cancer(200)
    yield "breast cancer", X, y, distinct_gates(X, np.random.default_rng(0).standard_normal((30, 20)))
    X, y = breast_cancer()
    yield "breast cancer, all rows", X, y, distinct_gates(X, np.random.default_rng(0).standard_normal((30, 50)))


def distinct_gates(X: Array, G: Array) -> Array:
    """The columns of G whose patterns are neither empty nor repeat an earlier one, in their order."""
    patterns = X @ G >= 0.0
    _, first = np.unique(patterns, axis=1, return_index=True)
    return G[:, np.sort(first[patterns[:, first].any(axis=0)])]


def objective(X: Array, y: Array, G: Array, beta: float, v: Array, w: Array) -> tuple[float, float]:
    """The objective of the module's programme at v and w, shape (d, P), and the largest violation of its cones."""
    gates = X @ G >= 0.0
    residuals = (gates * (X @ (v - w))).sum(axis=1) - y
    penalty = np.linalg.norm(v, axis=0).sum() + np.linalg.norm(w, axis=0).sum()
    turned = np.where(gates, 1.0, -1.0) * (X @ np.stack([v, w]))
    return float(np.mean(residuals**2) + beta * penalty), max(0.0, -float(turned.min()))


def solve_with_pyscnn(X: Array, y: Array, G: Array, beta: float, effort: Effort = SCALED) -> tuple[Array, Array, float]:
    """pyscnn's v and w, shape (d, P) in the order of G, and its seconds.

    Its patterns are ``x'g > 0``, which differ from ours only where ``x'g`` is exactly 0.
    """
    from scnn.metrics import Metrics  # pyright: ignore[reportMissingImports]
    from scnn.models import ConvexReLU  # pyright: ignore[reportMissingImports]
    from scnn.optimize import optimize_model  # pyright: ignore[reportMissingImports]
    from scnn.regularizers import NeuronGL1  # pyright: ignore[reportMissingImports]
    from scnn.solvers import AL  # pyright: ignore[reportMissingImports]

    scale = effort.target_scale
    model = ConvexReLU(G)
    solver = AL(model, effort.iterations, effort.iterations, effort.tolerance, effort.tolerance)
    # Its loss is half of ours, hence beta / 2. Metrics are off because collecting them costs time in every iteration.
    train = partial(
        optimize_model,
        model,
        solver,
        Metrics(objective=False, grad_norm=False, time=False),
        X,
        scale * y,
        regularizer=NeuronGL1(0.5 * beta * scale),
        return_convex=True,
        unitize_data=False,
        device="cpu",
        dtype="float64",
    )
    seconds, (trained, _) = timed(train)
    # It sorts the gates by pattern, and leaves out those that repeat one.
    order = [int(np.flatnonzero((gate[:, None] == G).all(axis=0))[0]) for gate in trained.G.T]
    v, w = np.zeros_like(G), np.zeros_like(G)
    v[:, order], w[:, order] = (weights[0].T / scale for weights in trained.parameters)
    return v, w, seconds


def solve_with_ours(
    X: Array, y: Array, G: Array, beta: float, threads: int, backend: str = "clarabel", tolerance: float = 1e-6
) -> tuple[Array, Array, float, float]:
    """Our v and w, shape (d, P), our seconds and our certified lower bound."""
    from cvxrobust import ConvexReLU, Settings, solve

    problem = ConvexReLU(X, y, gates=G, loss="squared", formulation="cone", beta=beta)
    result = solve(problem, backend=backend, settings=Settings(tolerance=tolerance, threads=threads))
    point = problem.point(result.network)[:, 0].T
    v, w = np.split(point, 2, axis=1)
    return v, w, result.times.wall, result.certificate.lower


def compare(X: Array, y: Array, G: Array, beta: float, threads: int) -> list[Row]:
    """One row per solver, ours first."""
    from threadpoolctl import threadpool_limits

    v, w, seconds, lower = solve_with_ours(X, y, G, beta, threads)
    rough_v, rough_w, short, _ = solve_with_ours(X, y, G, beta, threads, "torch", 1e-3)
    found = [("cvxrobust, clarabel", v, w, seconds), ("cvxrobust, torch, 1e-3", rough_v, rough_w, short)]
    # On the CPU pyscnn computes with NumPy, so that the threads of BLAS are the ones to limit.
    with threadpool_limits(limits=threads):
        found += [(effort.name, *solve_with_pyscnn(X, y, G, beta, effort)) for effort in (AS_SHIPPED, SCALED)]
    rows = []
    for name, v, w, seconds in found:
        value, violation = objective(X, y, G, beta, v, w)
        rows.append(Row(name, value, (value - lower) / lower, violation, seconds))
    return rows


def warm_up() -> None:
    """Pay for imports and first calls on a tiny instance."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    G = distinct_gates(X, rng.standard_normal((3, 4)))
    solve_with_ours(X, y, G, 0.1, 1)
    solve_with_ours(X, y, G, 0.1, 1, "torch", 1e-2)
    solve_with_pyscnn(X, y, G, 0.1, Effort("warm-up", tolerance=1e-2, iterations=100))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table per instance."""
    given = study_parser(__doc__, beta=0.01, threads=2).parse_args(arguments)
    if find_spec("scnn") is None:
        raise SystemExit("pyscnn is not installed; it is a development dependency of this script: `pip install pyscnn`")
    warm_up()
    for name, X, y, G in instances():
        print(f"{name}: n = {X.shape[0]}, d = {X.shape[1]}, {G.shape[1]} gates, beta = {given.beta:g}")
        print(f"  {'solver':22} {'objective':>12} {'above bound':>12} {'violation':>10} {'seconds':>9}")
        for row in compare(X, y, G, given.beta, given.threads):
            print(
                f"  {row.solver:22} {row.objective:12.8f} {row.above:+12.1e} {row.violation:10.1e} {row.seconds:9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
