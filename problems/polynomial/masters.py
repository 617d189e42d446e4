"""Masters of the cutting-set method on polynomial networks: finitely many attacks, and neurons in the span of atoms."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.certificate import DualBound, coefficients
from cvxrobust.core.programs.polynomial.recovery import neurons_from_matrix
from cvxrobust.problems.polynomial.matrix_variables import (
    COSTLY,
    Frame,
    FullFrame,
    SpanFrame,
    joined,
    orthonormal,
    principal_axes,
    signature,
)

Array = NDArray[np.float64]
Atoms = tuple[Array, Array]
"""Orthonormal bases of spans of ``[u; 1]``, of neurons with positive and with negative output weights."""


def atoms_of(network: PolynomialNetwork) -> Atoms:
    """The principal axes of Z and of Z': the heaviest first."""
    lifted = _lifted(network.u).T * np.sqrt(np.abs(network.alpha))
    return orthonormal(lifted[:, network.alpha > 0.0]), orthonormal(lifted[:, network.alpha < 0.0])


def atoms_with(atoms: Atoms, neurons: Array, bound: DualBound, limit: float) -> Atoms:
    """The spans with priced neurons, one for each sign, shape (2, d), that violate dual feasibility by more than
    a limit."""
    grown = list(atoms)
    for k, violation in enumerate(bound.violations):
        if violation > limit and np.isfinite(violation):
            grown[k] = joined(atoms[k], np.append(neurons[k], 1.0))
    return grown[0], grown[1]


def blended(first: PolynomialNetwork, second: PolynomialNetwork, weight: float) -> tuple[Array, Array]:
    """Z and Z' of ``weight * first + (1 - weight) * second``."""
    lifted = _lifted(np.vstack([first.u, second.u]))
    alpha = np.concatenate([weight * first.alpha, (1.0 - weight) * second.alpha])
    Z, Zp = ((lifted * np.maximum(sign * alpha, 0.0)[:, None]).T @ lifted for sign in (1.0, -1.0))
    return Z, Zp


def neurons_of(Z: Array, Zp: Array) -> tuple[Array, Array]:
    """Neurons and output weights of a network with these matrices."""
    (up, positive), (down, negative) = neurons_from_matrix(Z), neurons_from_matrix(Zp)
    return np.vstack([up, down]), np.concatenate([positive, -negative])


def _lifted(u: Array) -> Array:
    return np.hstack([u, np.ones((u.shape[0], 1))])


@dataclass(frozen=True, eq=False)
class SpanMaster:
    """Base of masters.

    Args:
        owners: The sample that each attack is on, shape (k,).
        points: The attacks, a row each.
        atoms: None for no restriction of the neurons.
    """

    owners: NDArray[np.intp]
    points: Array
    atoms: Atoms | None

    @property
    def _penalty(self) -> tuple[float, tuple[float, float, float]]:
        """beta and the activation."""
        raise NotImplementedError

    @property
    def _inputs(self) -> int:
        """Inputs of the networks."""
        raise NotImplementedError

    def to_conic(self) -> ConicProgram:
        """The master in standard form."""
        raise NotImplementedError

    def _second_moments(self, solution: Solution) -> Array:
        """``sum_k theta_k sign_k E [x_k; 1][x_k; 1]'`` of a dual solution, shape (d + 1, d + 1)."""
        raise NotImplementedError

    @cached_property
    def frame(self) -> Frame:
        """The matrix variables."""
        return FullFrame(self._inputs) if self.atoms is None else SpanFrame(self.atoms)

    def matrices(self, solution: Solution) -> tuple[Array, Array]:
        """Z and Z' of a primal solution."""
        if solution.x is None:
            raise InputError("the solution holds no primal point.")
        return self.frame.matrices(solution.x[: self.frame.size])

    def turned(self, solution: Solution, *, violation: float | None, drop: bool) -> Atoms:
        """The atoms turned to the principal axes of the solution; see `cvxrobust.core.contracts.masters.Turns`."""
        if self.atoms is None:
            raise InputError("a master without atoms has none to turn.")
        turned, (beta, _) = [], self._penalty
        pairs = zip(self.atoms, self.matrices(solution), self.reduced_costs(solution), strict=True)
        for basis, Z, costs in pairs:
            axes = principal_axes(basis, Z, costs, COSTLY * beta if drop else np.inf)
            if violation is not None:
                values, vectors = np.linalg.eigh(costs)
                # ||[u; 1]||^2 = 2.
                for vector in vectors[:, values < -0.5 * violation * beta].T:
                    axes = joined(axes, vector)
            turned.append(axes)
        return turned[0], turned[1]

    def reduced_costs(self, solution: Solution) -> tuple[Array, Array]:
        """``beta e e' + mu J -+ G`` for Z and Z': psd if the multipliers are feasible, zero along what is used."""
        S = self._second_moments(solution)
        d = S.shape[0] - 1
        beta, activation = self._penalty
        G = coefficients(activation, d) * S
        traces = np.zeros(2) if solution.y is None else solution.y[:2]
        corner = np.zeros((d + 1, d + 1))
        corner[d, d] = beta
        positive, negative = (
            corner + mu * signature(d) - sign * G for mu, sign in zip(traces, (1.0, -1.0), strict=True)
        )
        return positive, negative
