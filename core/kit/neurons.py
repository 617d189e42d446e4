"""Polynomial networks as factorised methods have them: neurons ``w = sqrt(|alpha|) u`` of fixed signs.

A neuron adds ``sign [w; ||w||][w; ||w||]'`` to the matrix T of the network, and ``||w||^2`` to its penalty.
"""

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.boxes.program import BoxProgram
from cvxrobust.core.programs.polynomial.evaluation import evaluated
from cvxrobust.core.programs.polynomial.program import PolynomialProgram

Array = NDArray[np.float64]
NEGLIGIBLE = 1e-7
"""Length, as a fraction of the longest, of neurons left out of a network; output weights are its square."""


def scaled_neurons(network: PolynomialNetwork) -> tuple[Array, Array]:
    """The neurons w of a network of one output, shape (m, d), and the signs of their output weights, shape (m,)."""
    return np.sqrt(np.abs(network.alpha))[:, None] * network.u, np.where(network.alpha < 0.0, -1.0, 1.0)


def network_of(program: PolynomialProgram | BoxProgram, neurons: Array, signs: Array) -> PolynomialNetwork:
    """The network of neurons w, with unit neurons and without those that are as good as zero."""
    lengths = np.linalg.norm(neurons, axis=1)
    kept = lengths > NEGLIGIBLE * lengths.max(initial=0.0)
    u, alpha = neurons[kept] / lengths[kept, None], signs[kept] * lengths[kept] ** 2
    return PolynomialNetwork(u, alpha, program.activation, regression=not program.loss_function.margin)


def factorised_objective(program: PolynomialProgram, neurons: Array, signs: Array) -> tuple[float, Array]:
    """The objective of a programme of one column of labels, and its derivative in the neurons w, shape (m, d).

    Args:
        program: The programme; a loss with kinks has only subgradients.
        neurons: Shape (m, d).
        signs: Shape (m,).
    """
    found = evaluated(program, network_of(program, neurons, signs))
    lengths = np.linalg.norm(neurons, axis=1, keepdims=True)
    pull = 2.0 * signs[:, None] * (np.hstack([neurons, lengths]) @ found.slope)
    along = neurons / np.maximum(lengths, np.finfo(np.float64).tiny)
    return found.value, pull[:, :-1] + pull[:, -1:] * along + 2.0 * program.beta * neurons
