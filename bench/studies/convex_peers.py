"""`ConvexReLU` against two other packages that train ReLU networks by convex optimisation.

    python -m cvxrobust.bench.studies.convex_peers [--beta 0.01] [--radius 0.01] [--threads 1]

`jaxcld` (jax; the ADMM of CRONOS, Feng, Frangella and Pilanci, arXiv:2411.01088) solves the programme that ours is, the
cone formulation with squared loss, on gates that it is given: both are judged by the same function, "above bound" is
relative to our certified lower bound. It has no stopping rule, so it runs as many iterations as it is told to.

`wadiroscnn` (Pallage and Lesage-Landry, arXiv:2407.16800) minimises the mean absolute error plus radius times the
Euclidean length of all weights and a 1, in the same cones, modelled in CVXPY, on gates of its own. That is no programme
of ours, which is the mean absolute error plus beta times the sum of the neurons' lengths, so that each is given the
other's gates and judged by both objectives: what is comparable is what each reaches of its own, and the seconds.

Neither package certifies anything. Both are installed by whoever runs this: they are no dependencies.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import study_parser, timed
from cvxrobust.bench.studies.reference_instance import breast_cancer
from cvxrobust.bench.studies.scnn_comparison import distinct_gates, objective

Array = NDArray[np.float64]

ITERATIONS = (100, 1000)
"""Of the ADMM of jaxcld."""

ADMM = {"rank": 20, "gamma_ratio": 1.0, "pcg_iters": 5, "check_opt": False}
RHO = 0.1
"""Of the penalty of that ADMM: with 0.01 it was further outside of the cones on the first instance."""

Solved = tuple[float, tuple[Array, Array]]


def ours(X: Array, y: Array, G: Array, loss: str, beta: float, backend: str, tolerance: float) -> tuple[Solved, float]:
    """Our seconds, v and w, shape (d, P), and the certified lower bound."""
    from cvxrobust import ConvexReLU, Settings, solve

    problem = ConvexReLU(X, y, gates=G, loss=loss, formulation="cone", beta=beta)
    result = solve(problem, backend=backend, settings=Settings(tolerance=tolerance, threads=1))
    v, w = np.split(problem.point(result.network)[:, 0].T, 2, axis=1)
    return (result.times.wall, (v, w)), result.certificate.lower


def cronos(X: Array, positive: NDArray[np.bool_], G: Array, beta: float, iterations: int, wide: bool) -> Solved:
    """The v and w of jaxcld for targets 1 and 0, shape (d, P), and its seconds, without those of compiling."""
    jax = import_module("jax")
    jax.config.update("jax_enable_x64", wide)
    jnp = import_module("jax.numpy")
    admm = import_module("jaxcld.optimizers.admm").admm
    kind = import_module("jaxcld.models.cvx_relu_mlp").CVX_ReLU_MLP
    # Its loss is half the sum of squares, ours the mean: hence the factor. Class 0, the only one, is that of target 1.
    their_beta = 0.5 * len(X) * beta

    def run(steps: int) -> Array:
        gates = jnp.array((X @ G >= 0.0) * 1.0)
        labels = jnp.array(np.where(positive, 0, 1))
        model = kind(
            jnp.array(X), labels, 1, G.shape[1], their_beta, RHO, jax.random.PRNGKey(0), gates, 2.0 * gates - 1.0
        )
        found, _ = admm(model, ADMM | {"beta": their_beta, "admm_iters": steps})
        weights: Array = np.asarray(found, dtype=np.float64)[0]
        return weights

    run(2)
    seconds, found = timed(lambda: run(iterations))
    return seconds, (found[0], found[1])


def compare_cronos(beta: float, radius: float) -> None:
    """Print a table for each instance."""
    print(f"jaxcld {version('jaxcld')}, jax {version('jax')}: squared loss, cone form, beta = {beta:g}")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 5)), rng.standard_normal(60)
    cases = [("random", X, y > 0.0, distinct_gates(X, rng.standard_normal((5, 10))))]
    X, y = breast_cancer(200)
    cases.append(("breast cancer", X, y > 0.0, distinct_gates(X, np.random.default_rng(0).standard_normal((30, 20)))))
    for name, X, positive, G in cases:
        y = np.where(positive, 1.0, 0.0)
        exact, lower = ours(X, y, G, "squared", beta, "clarabel", 1e-6)
        rough, _ = ours(X, y, G, "squared", beta, "torch", 1e-3)
        found = [("cvxrobust, clarabel, 1e-6", exact), ("cvxrobust, torch, 1e-3", rough)]
        for wide in (False, True):
            for steps in ITERATIONS if not wide else ITERATIONS[-1:]:
                precision = "float64" if wide else "as shipped"
                found.append((f"jaxcld, {steps} steps, {precision}", cronos(X, positive, G, beta, steps, wide)))
        print(f"{name}: n = {X.shape[0]}, d = {X.shape[1]}, {G.shape[1]} gates")
        print(f"  {'solver':32} {'objective':>12} {'above bound':>12} {'violation':>10} {'seconds':>9}")
        for solver, (seconds, (v, w)) in found:
            value, violation = objective(X, y, G, beta, v, w)
            above = (value - lower) / lower
            print(f"  {solver:32} {value:12.8f} {above:+12.1e} {violation:10.1e} {seconds:9.2f}", flush=True)


def wasserstein(X: Array, y: Array, gates: NDArray[np.bool_], radius: float, v: Array, w: Array) -> float:
    """The objective of wadiroscnn, with a Wasserstein distance of Euclidean lengths."""
    length = float(np.sqrt(1.0 + (v**2).sum() + (w**2).sum()))
    return float(np.abs((gates * (X @ (v - w))).sum(axis=1) - y).mean()) + radius * length


def lengths(X: Array, y: Array, gates: NDArray[np.bool_], beta: float, v: Array, w: Array) -> float:
    """Ours: the mean absolute error, plus beta times the sum of the neurons' lengths."""
    penalty = np.linalg.norm(v, axis=0).sum() + np.linalg.norm(w, axis=0).sum()
    return float(np.abs((gates * (X @ (v - w))).sum(axis=1) - y).mean() + beta * penalty)


def compare_wadiro(beta: float, radius: float) -> None:
    """Print a table: each solver's answer by both objectives, on rows trained on and on others."""
    kind = import_module("wadiroscnn.models").wadiro_scnn
    versions = f"wadiroscnn {version('wadiroscnn')}, cvxpy {version('cvxpy')}"
    print(f"{versions}: absolute loss, beta = {beta:g}, radius = {radius:g}")
    for n, d, count in ((60, 5, 10), (200, 10, 20), (455, 30, 40)):
        rng = np.random.default_rng(n)
        X = rng.standard_normal((2 * n, d))
        y = np.maximum(X @ rng.standard_normal((d, 3)), 0.0).sum(axis=1) / d + 0.1 * rng.standard_normal(2 * n)
        theirs = kind()

        def train(peer: Any = theirs, X: Array = X, y: Array = y, n: int = n, count: int = count) -> Any:
            return peer.train(X[:n], y[:n, None], radius, False, count, wasserstein="l2")

        seconds, value = timed(train)
        G = np.asarray(theirs.sampled_u)
        gates = X @ G > 0.0
        (own, (v, w)), lower = ours(X[:n], y[:n], G, "absolute", beta, "auto", 1e-4)
        print(
            f"n = {n}, d = {d}, {G.shape[1]} gates; their solver says {value:.6f}; our optimum is at least {lower:.6f}"
        )
        print(f"  {'solver':12} {'their objective':>16} {'our objective':>14} {'error, other rows':>18} {'seconds':>8}")
        for name, (taken, (a, b)) in (
            ("wadiroscnn", (seconds, (np.asarray(theirs.v_opt).T, np.asarray(theirs.w_opt).T))),
            ("cvxrobust", (own, (v, w))),
        ):
            first = wasserstein(X[:n], y[:n], gates[:n], radius, a, b)
            second = lengths(X[:n], y[:n], gates[:n], beta, a, b)
            other = float(
                np.abs(np.maximum(X[n:] @ a, 0.0).sum(axis=1) - np.maximum(X[n:] @ b, 0.0).sum(axis=1) - y[n:]).mean()
            )
            print(f"  {name:12} {first:16.6f} {second:14.6f} {other:18.4f} {taken:8.2f}", flush=True)


PACKAGES = {"jaxcld": compare_cronos, "wadiroscnn": compare_wadiro}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what can be compared with whichever of the packages is installed."""
    from threadpoolctl import threadpool_limits

    given = study_parser(__doc__, beta=0.01, radius=0.01, threads=1, only=PACKAGES).parse_args(arguments)
    for name in given.only:
        if find_spec(name) is None:
            print(f"{name} is not installed: `pip install {name}`")
            continue
        with threadpool_limits(limits=given.threads):
            PACKAGES[name](given.beta, given.radius)


if __name__ == "__main__":
    main()
