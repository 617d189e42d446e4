"""Whether attacked programmes lose nothing: many small problems of every shape of attacks, against models of their own.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.lossless --out FILE.jsonl [--cases 200] [--first 0] [--only ...]
    python -m cvxrobust.bench.studies.lossless --show FILE.jsonl

A kind is a family, a formulation of ReLU networks, a norm, and a shape (ball, scale, mask, covariance, directions).
Each case is drawn from its kind and number: 4 to 6 samples of 2 or 3 inputs, labels or targets, a loss, beta and radii,
some of them 0. Four figures must agree to 1e-6, relative to 1 or to the value where that is larger:

- *model*: the formulas of the papers in cvxpy, written here, where attacks are ``D = S e`` for a matrix S that is made
  here as well; it shares no code with the package.
- *upper*, *lower*: what `solve` certifies, by Clarabel on the direct programme.
- *exact*: of the network that comes back, where the formulation promises as much (polynomial, cone): of polynomial ones
  `upper` is that by definition, of ReLU ones the bracket of their own objective.

And no attack that is *tried* may be worse than what the network is said to suffer: 10,000 on every sample, on the
sphere, inside it, at all corners of boxes and cross-polytopes. Attacks just inside the distance of polynomial networks
to their decision boundary must not change a sign.
"""

import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import Row, markdown, measure_or_show, study_parser

Array = NDArray[np.float64]
AGREED = 1e-6
"""By how much figures may differ."""
TRIES = 10_000
DUAL: dict[Any, Any] = {"inf": 1, 2: 2, 1: "inf"}
SHAPES = ("ball", "scale", "mask", "covariance", "directions")
FORMULATIONS = ("cone", "one-sided", "gated")
MARGINS, TARGETS = ("hinge", "squared_hinge", "logistic"), ("squared", "absolute", "huber")


@dataclass(frozen=True)
class Kind:
    """What cases are of.

    Args:
        form: ``"polynomial"``, ``"regression"`` (polynomial, too), or a formulation of ReLU networks.
        norm: Of the ball.
        shape: One of `SHAPES`.
    """

    form: str
    norm: Any
    shape: str

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.form} {self.norm} {self.shape}"

    @property
    def relu(self) -> bool:
        """Whether networks are ReLU networks."""
        return self.form in FORMULATIONS


KINDS = {
    kind.name: kind
    for kind in (
        *(Kind(form, 2, shape) for form in ("polynomial", "regression") for shape in SHAPES),
        *(
            Kind(form, norm, shape)
            for form in FORMULATIONS
            for norm in ("inf", 2, 1)
            for shape in (SHAPES if norm == 2 else SHAPES[:3])
        ),
    )
}


@dataclass(frozen=True)
class LosslessCase:
    """One problem.

    Args:
        kind: Its kind.
        X: Inputs, shape (n, d).
        y: Labels or targets, shape (n,).
        radius: Shape (n,).
        S: What attacks are images of a ball by, shape (d, q).
        given: The same in the words of the package.
        beta: Weight of the penalty.
        loss: Name of the loss.
        patterns: Of ReLU networks, shape (n, P).
    """

    kind: Kind
    X: Array
    y: Array
    radius: Array
    S: Array
    given: dict[str, Any]
    beta: float
    loss: str
    patterns: NDArray[np.bool_]

    def problem(self) -> Any:
        """As the package has it."""
        from cvxrobust import AdversarialReLU, AdversarialSDP

        common: dict[str, Any] = {"radius": self.radius, "beta": self.beta, "loss": self.loss, **self.given}
        if not self.kind.relu:
            return AdversarialSDP(self.X, self.y, **common)
        relu = {"patterns": self.patterns, "norm": self.kind.norm, "formulation": self.kind.form}
        return AdversarialReLU(self.X, self.y, **common, **relu)


def drawn(kind: Kind, number: int) -> LosslessCase:
    """The case of a number."""
    rng = np.random.default_rng([number, zlib.crc32(kind.name.encode())])
    n, d = int(rng.integers(4, 7)), int(rng.integers(2, 4))
    X = rng.standard_normal((n, d))
    score = X[:, 0] ** 2 - X[:, -1] + 0.5 * rng.standard_normal(n)
    radius = 10.0 ** rng.uniform(-1.5, 0.3, n) * (rng.random(n) > 0.2)
    if kind.relu:
        radius *= 0.3  # cones are empty otherwise
    targets = kind.form == "regression"
    losses = TARGETS if targets else MARGINS
    y = score if targets else np.where(score > np.median(score), 1.0, -1.0)
    S, given = _shape(kind.shape, d, rng)
    patterns = np.unique(X @ rng.standard_normal((d, 4)) >= 0.0, axis=1)
    patterns = patterns if patterns.any() else ~patterns  # there are no gates that are open for nobody
    beta = float(10.0 ** rng.uniform(-2.0, -0.7))
    return LosslessCase(kind, X, y, radius, S, given, beta, losses[int(rng.integers(3))], patterns)


def _shape(shape: str, d: int, rng: np.random.Generator) -> tuple[Array, dict[str, Any]]:
    if shape == "ball":
        return np.eye(d), {}
    if shape in ("scale", "mask"):
        scale = rng.uniform(0.2, 2.0, d) if shape == "scale" else (rng.random(d) > 0.4).astype(float)
        if shape == "mask":
            scale[:2] = rng.permutation([0.0, 1.0])
        return np.diag(scale), {"scale": scale}
    M = rng.standard_normal((d, d if shape == "covariance" else int(rng.integers(1, d + 1))))
    return M, {"covariance": M @ M.T} if shape == "covariance" else {"directions": M}


# -- models of our own ----------------------------------------------------------------------------------------------


def model_value(case: LosslessCase) -> float:
    """The optimum by cvxpy."""
    import cvxpy as cp

    terms, constraints, penalty = (_relu if case.kind.relu else _polynomial)(case)
    phi = {
        "hinge": lambda t: cp.pos(1 - t), "squared_hinge": lambda t: cp.square(cp.pos(1 - t)),
        "logistic": lambda t: cp.logistic(-t), "squared": cp.square, "absolute": cp.abs,
        "huber": lambda t: cp.huber(t, 1.35),  # pyright: ignore[reportArgumentType]
    }[case.loss]  # fmt: skip
    fit: Any = sum(phi(term) for term in terms) / len(terms)
    found: Any = cp.Problem(cp.Minimize(fit + case.beta * penalty), constraints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of digits that are missing: figures are compared anyway
        found.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(found.value)


Model = tuple[list[Any], list[Any], Any]
"""What the loss sees of every sample (margins, or residuals that are 0 or more), constraints, and the penalty."""


def _polynomial(case: LosslessCase) -> Model:
    import cvxpy as cp

    (a, b, c), (d, q) = (0.09, 0.5, 0.47), case.S.shape
    Z, W = (cp.Variable((d + 1, d + 1), PSD=True) for _ in range(2))
    T = Z - W
    constraints: list[Any] = [cp.trace(M) == 2 * M[d, d] for M in (Z, W)]
    terms = []
    for x, y, r in zip(case.X, case.y, case.radius, strict=True):
        lifted = np.append(x, 1.0)
        C = np.full((d + 1, d + 1), a)
        C[:d, d] = C[d, :d] = b / 2
        C[d, d] = c
        f = cp.sum(cp.multiply(C * np.outer(lifted, lifted), T))
        # In units of the radius: e'Qe + 2 g'e + f over the unit ball.
        Q, g = r * r * a * case.S.T @ T[:d, :d] @ case.S, r * case.S.T @ (a * T[:d, :d] @ x + b / 2 * T[:d, d])
        found = []
        for sign in (y,) if case.kind.form == "polynomial" else (1.0, -1.0):
            if r == 0.0:  # a free multiplier has no interior
                found.append(sign * f)
                continue
            least, lam = cp.Variable(), cp.Variable(nonneg=True)
            corner = cp.reshape(sign * f - least - lam, (1, 1), order="C")
            border = cp.reshape(sign * g, (q, 1), order="C")
            constraints.append(cp.bmat([[sign * Q + lam * np.eye(q), border], [border.T, corner]]) >> 0)
            found.append(least)
        if case.kind.form == "polynomial":
            terms.append(found[0])
            continue
        residual = cp.Variable(nonneg=True)
        constraints += [residual >= y - found[0], residual >= -found[1] - y]
        terms.append(residual)
    return terms, constraints, Z[d, d] + W[d, d]


def _relu(case: LosslessCase) -> Model:
    import cvxpy as cp

    q, D, P = DUAL[case.kind.norm], case.patterns.astype(float), case.patterns.shape[1]
    V, W = (cp.Variable((case.X.shape[1], P)) for _ in range(2))
    constraints: list[Any] = []
    terms = []
    for i, (x, y, r) in enumerate(zip(case.X, case.y, case.radius, strict=True)):
        H = (V - W) @ D[i]
        margin = y * (x @ H) - r * cp.norm(case.S.T @ H, q)
        sizes = [[cp.norm(case.S.T @ M[:, j], q) for j in range(P)] for M in (V, W)]
        sides = [[(2 * D[i, j] - 1) * (x @ M[:, j]) for j in range(P)] for M in (V, W)]
        if case.kind.form == "cone":
            constraints += [sides[k][j] >= r * sizes[k][j] for k in (0, 1) for j in range(P)]
        if case.kind.form == "one-sided":
            harmful = 1 if y > 0 else 0
            margin -= sum(cp.pos(r * sizes[harmful][j] - sides[harmful][j]) for j in range(P))
        terms.append(margin)
    return terms, constraints, cp.sum(cp.norm(V, 2, axis=0)) + cp.sum(cp.norm(W, 2, axis=0))


# -- brute force ----------------------------------------------------------------------------------------------------


def unit_attacks(norm: Any, q: int, rng: np.random.Generator) -> Array:
    """Points of the unit ball, shape (m, q): on its sphere, inside it, its corners, and none at all."""
    e = rng.standard_normal((TRIES, q))
    e /= np.linalg.norm(e, {"inf": np.inf, 2: 2, 1: 1}[norm], axis=1, keepdims=True)
    e[::3] *= rng.random((e[::3].shape[0], 1))
    axes, corners = np.vstack([np.eye(q), -np.eye(q)]), np.array(list(product((-1.0, 1.0), repeat=q)))
    return np.vstack([e, {"inf": corners, 2: axes, 1: axes}[norm], np.zeros((1, q))])


def tried(case: LosslessCase, network: Any, rng: np.random.Generator) -> float:
    """The objective of a network, as far as the attacks that were tried know."""
    from cvxrobust.core.losses.by_name import loss_by_name

    loss, moves = loss_by_name(case.loss), unit_attacks(case.kind.norm, case.S.shape[1], rng) @ case.S.T
    worst = []
    for x, y, r in zip(case.X, case.y, case.radius, strict=True):
        f = network.decision_function(x + r * moves)
        seen = y * f if loss.margin else f
        worst.append(loss.value(seen, np.full(seen.size, y)).max())
    return float(np.mean(worst)) + case.beta * float(network.penalty)


def flips(case: LosslessCase, network: Any, rng: np.random.Generator) -> int:
    """How many attacks that are closer than a polynomial network's decision boundary change its sign."""
    distances = np.minimum(network.distance_to_boundary(case.X), 1e3)
    moves, count = unit_attacks(2, case.S.shape[1], rng) @ case.S.T, 0
    for x, distance in zip(case.X, distances, strict=True):
        f = network.decision_function(np.vstack([x, x + (1.0 - 1e-9) * distance * moves]))
        count += int((f[0] * f[1:] < 0.0).sum())
    return count


def measured(case: LosslessCase, number: int) -> Row:
    """What became of a case."""
    from cvxrobust import Settings, solve

    problem, rng = case.problem(), np.random.default_rng(number)
    result = solve(problem, backend="clarabel", method="direct", settings=Settings(tolerance=1e-9, threads=1))
    bounds, network = result.certificate, result.network
    row = {"model": model_value(case), "upper": bounds.upper, "lower": bounds.lower, "low": bounds.upper}
    row |= {"high": bounds.upper, "flips": 0, "tried": tried(case, network, rng), "neurons": int(network.n_neurons)}
    if case.kind.relu:
        row |= {"low": result.report["network_objective_at_least"], "high": result.report["network_objective_at_most"]}
    elif case.kind.form == "polynomial":
        row["flips"] = flips(case, network, rng)
    return row


def wrong(row: Row) -> list[str]:
    """What does not hold, in words."""
    scale = AGREED * max(1.0, abs(row["model"]))
    said = [name for name in ("upper", "lower") if abs(row[name] - row["model"]) > scale]
    exact = row["form"] in ("polynomial", "regression", "cone")
    if exact and max(abs(row[name] - row["model"]) for name in ("low", "high")) > scale:
        said.append("exact")
    if row["form"] == "one-sided" and row["high"] > row["model"] + scale:
        said.append("bracket")
    if row["tried"] > row["high"] + 1e-9 * max(1.0, row["high"]):
        said.append("tried")
    return said + ["distance"] * (row["flips"] > 0)


def measure(only: Iterable[str], first: int, cases: int) -> Iterator[Row]:
    """One row for every case, a number of every kind before the next number."""
    for number in range(first, first + cases):
        for name in only:
            kind = KINDS[name]
            found = measured(drawn(kind, number), number)
            yield {"kind": name, "form": kind.form, "number": number, **found}


def show(rows: Sequence[Row]) -> None:
    """Largest differences by kind, and every case in which something does not hold."""
    table = []
    for name in KINDS:
        mine = [row for row in rows if row["kind"] == name]
        if not mine:
            continue

        def largest(part: str, mine: list[Row] = mine) -> str:
            return f"{max(abs(row[part] - row['model']) / max(1.0, abs(row['model'])) for row in mine):.1e}"

        short = max((row["high"] - row["tried"]) / max(1.0, row["high"]) for row in mine)
        nothing = sum(row["neurons"] == 0 for row in mine)
        bad = sum(bool(wrong(row)) for row in mine)
        table.append(
            [name, *map(str, (len(mine), nothing)), largest("upper"), largest("lower"), f"{short:.1e}", str(bad)]
        )
    columns = ["kind", "cases", "no neuron", "upper", "lower", "tried falls short by", "wrong"]
    print(markdown(columns, table))
    for row in rows:
        if said := wrong(row):
            print(f"{row['kind']}, case {row['number']}: {', '.join(said)}: {row}")
    print(f"\n{len(rows)} cases, {sum(bool(wrong(row)) for row in rows)} wrong")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__, only=KINDS)
    parser.add_argument("--cases", type=int, default=200, help="of every kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    measure_or_show(
        parser, arguments, lambda asked: measure(asked.only, asked.first, asked.cases), lambda rows, asked: show(rows)
    )


if __name__ == "__main__":
    main()
