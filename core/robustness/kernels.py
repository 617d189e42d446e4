"""Slopes of support vector machines, by hand: of scikit-learn's `SVC` and `NuSVC` of two classes.

The score is ``f(x) = sum_i a_i K(v_i, x) + b`` over support vectors v_i, and so is its gradient, a sum of those of the
kernel. Attacks that find none have to grope for directions, which flatters a machine as smooth as this one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 2**21
"""Values of the kernel that are held at a time."""

KERNELS = ("rbf", "poly", "sigmoid", "linear")


def is_machine(model: Any) -> bool:
    """Whether this is such a machine, with one of scikit-learn's own kernels and a table of support vectors."""
    vectors, coefficients = (getattr(model, name, None) for name in ("support_vectors_", "dual_coef_"))
    if not (isinstance(vectors, np.ndarray) and isinstance(coefficients, np.ndarray)):
        return False
    return getattr(model, "kernel", None) in KERNELS and coefficients.shape == (1, vectors.shape[0])


def scores(model: Any, X: Array) -> tuple[Array, Array]:
    """Scores, above 0 for the second class, shape (n,), and their gradients, shape (n, d).

    Args:
        model: A machine.
        X: Shape (n, d).
    """
    step = max(1, BLOCK // max(1, model.support_vectors_.shape[0]))
    parts = [_of_block(model, X[start : start + step]) for start in range(0, X.shape[0], step)]
    return np.concatenate([values for values, _ in parts]), np.concatenate([slopes for _, slopes in parts])


def _of_block(model: Any, X: Array) -> tuple[Array, Array]:
    V, a, b = model.support_vectors_, model.dual_coef_[0], float(model.intercept_[0])
    products, gamma = X @ V.T, float(model._gamma)
    match model.kernel:
        case "rbf":
            squares = np.einsum("ij,ij->i", X, X)[:, None] - 2.0 * products + np.einsum("ij,ij->i", V, V)
            terms = np.exp(-gamma * np.maximum(squares, 0.0)) * a
            return terms.sum(axis=1) + b, 2.0 * gamma * (terms @ V - terms.sum(axis=1)[:, None] * X)
        case "poly":
            inner, degree = gamma * products + model.coef0, int(model.degree)
            rates = degree * gamma * inner ** max(degree - 1, 0)
            return inner**degree @ a + b, (rates * a) @ V
        case "sigmoid":
            values = np.tanh(gamma * products + model.coef0)
            return values @ a + b, (gamma * (1.0 - values**2) * a) @ V
        case _:
            return products @ a + b, np.broadcast_to(a @ V, X.shape).copy()
