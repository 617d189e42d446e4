"""The nonconvex training objective of a ReLU network: its own gates, its own worst attacks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks import relu_bounds
from cvxrobust.core.attacks.relu_bounds import Contests
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]
STEPS, RESTARTS = 20, 3


@dataclass(frozen=True)
class OwnObjective:
    """Where the training objective of a network lies.

    Args:
        lower: Its value at attacks that were found.
        upper: Its value at certified bounds of the worst cases.
    """

    lower: float
    upper: float

    def __add__(self, other: "OwnObjective") -> "OwnObjective":
        return OwnObjective(self.lower + other.lower, self.upper + other.upper)


def own_objective(program: GatedProgram, network: ReLUNetwork, *, exact: bool, seed: int) -> OwnObjective:
    """``mean_i loss + beta sum_j ||u_j|| ||alpha_j||`` of a network on a programme's data.

    The worst case of losses of targets is taken output by output; with several outputs that is an upper bound of one
    attack on all of them.

    Args:
        program: Whose data, loss, radius and beta count; its gates only sharpen the upper bound.
        network: The network.
        exact: Settle worst cases by mixed-integer programming.
        seed: Of the attacks' random starts.
    """
    alpha = network.alpha.reshape(network.n_neurons, program.shape[1])
    weight = program.beta * float(np.linalg.norm(network.u, axis=1) @ np.linalg.norm(alpha, axis=1))
    loss = program.loss_function
    if not loss.margin:
        f = network.decision_function(program.X[:, : network.n_features]).reshape(program.labels.shape)
        above = _extremes(program, network, 1.0, exact, seed) if program.attack.present else (f, f)
        below = _extremes(program, network, -1.0, exact, seed) if program.attack.present else (-f, -f)
        # The smallest f and the smallest -f, each as (found, certified).
        found, certain = (
            np.maximum(program.labels - low, -program.labels - high) for low, high in zip(above, below, strict=True)
        )
        found = np.maximum(found, np.abs(f - program.labels))
        certain = np.minimum(certain, _from_gates(program, network, np.inf))
        goals = gated.goals(program)
        values = [np.mean(loss.value(np.maximum(part, 0.0), goals).sum(axis=1)) for part in (found, certain)]
    else:
        y = program.labels[:, 0]
        margins = y * network.decision_function(program.X[:, : network.n_features])
        found, certain = margins, margins
        if program.attack.present:
            low, sure = (part[:, 0] for part in _extremes(program, network, program.labels, exact, seed))
            found = np.minimum(low, margins)
            certain = np.maximum(sure, _from_gates(program, network, -np.inf)[:, 0])
        values = [np.mean(loss.value(part, y)) for part in (found, certain)]
    lower, upper = (float(value) + weight for value in values)
    return OwnObjective(min(lower, upper), upper)


def _from_gates(program: GatedProgram, network: ReLUNetwork, nothing: float) -> Array:
    """What the programme proves of the network's worst margins or residuals, shape (n, C); else `nothing`."""
    unknown = np.full(program.labels.shape, nothing)
    placed = None if network.slots is None or not program.rules.signed_slots else gated.apart(program, network)
    return gated.values(*placed) if placed is not None and gated.is_feasible(*placed) else unknown


def _extremes(
    program: GatedProgram, network: ReLUNetwork, signs: float | Array, exact: bool, seed: int
) -> tuple[Array, Array]:
    """The smallest ``sign f`` over each ball: as found by attacks and as certified, both (n, C)."""
    n, C = program.labels.shape
    d = network.n_features
    if network.n_neurons == 0:
        return np.zeros((n, C)), np.zeros((n, C))  # nothing to attack
    V = network.u[:, :d]
    b = network.u[:, d] if network.bias else np.zeros(network.n_neurons)
    alpha = network.alpha.reshape(network.n_neurons, C)
    found, certain = np.empty((n, C)), np.empty((n, C))
    for c in range(C):
        weights = np.broadcast_to(signs, (n, C))[:, c, None] * alpha[:, c]
        contests = Contests(V, b, weights, program.X[:, :d], program.attack)
        if exact:
            from cvxrobust.core.attacks import relu_exact

            worst = relu_exact.worst_cases(contests, n, relu_exact.Clock(None, n))
            found[:, c], certain[:, c] = worst.values, np.minimum(worst.lower, worst.values)
        else:
            rng = np.random.default_rng([seed, c])
            found[:, c] = relu_bounds.attack(contests, STEPS, RESTARTS, rng)[1]
            certain[:, c] = np.minimum(relu_bounds.lower_bounds(contests, STEPS), found[:, c])
    return found, certain
