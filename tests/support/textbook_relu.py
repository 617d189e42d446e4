"""The formulas of the papers in cvxpy, with v_j and w_j as they write them, for tests to compare with."""

from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray
from random_relu import Recipe

Array = NDArray[np.float64]
DUAL: dict[Any, Any] = {"inf": 1, 2: 2, 1: "inf"}
LOSSES: dict[str, Any] = {
    "hinge": lambda t: cp.pos(1 - t),
    "squared_hinge": lambda t: cp.square(cp.pos(1 - t)),
    "logistic": lambda t: cp.logistic(-t),
}


def textbook(recipe: Recipe) -> cp.Problem:
    """The convex programme of a recipe (arXiv:2002.10553, 2201.01965, 2202.01331, and the one-sided forms)."""
    y = recipe.y[:, None] if recipe.y.ndim == 1 else recipe.y
    build = _one_sided if recipe.form in ("soft-cone", "separate", "mixed") else _cone_or_gated
    return build(recipe, y.astype(float))


def textbook_value(recipe: Recipe) -> float:
    """Its optimal value."""
    problem = textbook(recipe)
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    problem.solve(solver=cp.CLARABEL, **tight)
    return float(problem.value)


def _radii(recipe: Recipe) -> Array:
    return np.broadcast_to(np.asarray(recipe.radius, dtype=float), len(recipe.X))


def _cone_or_gated(recipe: Recipe, y: Array) -> cp.Problem:
    X, r, q, d, S = recipe.inputs, _radii(recipe), DUAL[recipe.norm], recipe.X.shape[1], recipe.root
    (n, D), C = X.shape, y.shape[1]
    Dv, Dw = (pattern.astype(float) for pattern in recipe.patterns)
    if recipe.form == "gated":
        # Without constraints v_j - w_j is one free vector, for every pattern of either list.
        Dv, Dw = np.hstack([Dv, Dw]), np.zeros((n, 1))
    V = [cp.Variable((D, Dv.shape[1])) for _ in range(C)]
    W = [cp.Variable((D, Dw.shape[1])) for _ in range(C)]
    constraints, worst = [], []
    for c in range(C):
        f = cp.sum(cp.multiply(Dv, X @ V[c]), axis=1) - cp.sum(cp.multiply(Dw, X @ W[c]), axis=1)
        reach = cp.multiply(r, cp.norm(S.T @ (V[c] @ Dv.T - W[c] @ Dw.T)[:d], q, axis=0))
        worst.append(cp.abs(f - y[:, c]) + reach if recipe.loss == "squared" else cp.multiply(y[:, c], f) - reach)
        if recipe.form == "cone":
            for vectors, pattern in ((V[c], Dv), (W[c], Dw)):
                sides = cp.multiply(2 * pattern - 1, X @ vectors)
                constraints += [
                    sides[:, j] >= r * cp.norm(S.T @ vectors[:d, j], q) for j in range(pattern.shape[1])
                ]  # fmt: skip
        else:
            constraints.append(W[c] == 0)
    if recipe.loss == "squared":
        fit = sum(cp.sum_squares(t) for t in worst) / n
    else:
        fit = cp.sum(LOSSES[recipe.loss](worst[0])) / n
    sizes = cp.sum(cp.norm(cp.vstack(V), 2, axis=0)) + cp.sum(cp.norm(cp.vstack(W), 2, axis=0))
    return cp.Problem(cp.Minimize(fit + recipe.beta * sizes), constraints)


def _one_sided(recipe: Recipe, y: Array) -> cp.Problem:
    X, r, d = recipe.inputs, _radii(recipe), recipe.X.shape[1]
    Dv, Dw = recipe.patterns
    V, W = cp.Variable((X.shape[1], Dv.shape[1])), cp.Variable((X.shape[1], Dw.shape[1]))
    margins = []
    for label, (helping, pattern), (harming, other) in (
        (1.0, (V, Dv), (W, Dw)),
        (-1.0, (W, Dw), (V, Dv)),
    ):
        rows = np.flatnonzero(y[:, 0] == label)
        if rows.size:
            margins.append(_margins(recipe, X[rows], r[rows], d, helping, pattern[rows], harming, other[rows]))
    fit = cp.sum(LOSSES[recipe.loss](cp.hstack(margins))) / len(X)
    sizes = cp.sum(cp.norm(V, 2, axis=0)) + cp.sum(cp.norm(W, 2, axis=0))
    return cp.Problem(cp.Minimize(fit + recipe.beta * sizes))


def _margins(
    recipe: Recipe,
    X: Array,
    r: Array,
    d: int,
    helping: cp.Variable,
    pattern: NDArray[np.bool_],
    harming: cp.Variable,
    other: NDArray[np.bool_],
) -> cp.Expression:
    """Lower bounds of the margins of samples that the neurons `helping` help and `harming` harm."""
    q, S = DUAL[recipe.norm], recipe.root
    sizes = cp.norm(S.T @ harming[:d], q, axis=0)
    carried = r[:, None] @ cp.reshape(sizes, (1, other.shape[1]), order="C")
    good, bad = cp.multiply(pattern, X @ helping), X @ harming
    if recipe.form == "separate":
        attacked = cp.norm(S.T @ (helping @ pattern.T)[:d], q, axis=0)
        return cp.sum(good, axis=1) - cp.multiply(r, attacked) - cp.sum(cp.pos(bad + carried), axis=1)
    if recipe.form == "mixed":
        lengths = np.linalg.norm(S.T @ recipe.vectors[:d], {1: 1, 2: 2, "inf": np.inf}[q], axis=0)
        other = other & (np.abs(X @ recipe.vectors) >= r[:, None] * lengths)
    attacked = cp.norm(S.T @ (helping @ pattern.T - harming @ other.T.astype(float))[:d], q, axis=0)
    violated = cp.pos(cp.multiply(1.0 - 2.0 * other, bad) + carried)
    gated = cp.sum(good, axis=1) - cp.sum(cp.multiply(other, bad), axis=1)
    return gated - cp.multiply(r, attacked) - cp.sum(violated, axis=1)
