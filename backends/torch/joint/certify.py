"""What a network and its multipliers are worth in a joint programme, by `core`'s own mathematics."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.joint.objective import (
    JointEvaluation,
    JointObjective,
    JointQuery,
    PairForm,
    SortedNeurons,
)
from cvxrobust.core import JointPoints, JointProgram, PolynomialNetwork
from cvxrobust.core.programs.joint.certificate import JointBound, bound_of_joint
from cvxrobust.core.programs.joint.margins import sample_margins, worst_margins

Array = NDArray[np.float64]
Index = NDArray[np.intp]
NEGLIGIBLE = 1e-7
"""Length, as a fraction of the longest, of neurons left out of a network; output weights are its square."""


@dataclass(frozen=True)
class SmoothedJointMultipliers:
    """Multipliers on the smoothed attacks on a network; see `cvxrobust.core.programs.joint.certificate.JointAttacks`.

    Args:
        theta: Of every row against every rival, shape (n, K).
        program: What they belong to.
        query: The network, and how attacks are smoothed.
    """

    theta: Array
    program: JointProgram
    query: JointQuery

    def against(self, own: int, rival: int) -> "SmoothedPairAttacks":
        """The attacks on points of a class, to be taken for another."""
        program, pair = self.program, (min(own, rival), max(own, rival))
        net = SortedNeurons(self.query, program.n_classes)
        form = PairForm(net, pair, program.activation, program.attack.like(net.lengths))
        neurons = torch.cat([net.neurons[net.classes[k]] for k in pair])
        return SmoothedPairAttacks(program, form, neurons, 1.0 if own < rival else -1.0)


@dataclass(frozen=True)
class SmoothedPairAttacks:
    """The smoothed attacks of one pair of classes.

    Args:
        program: What they belong to.
        form: The pair.
        neurons: Of both classes, shape (m, d).
        side: 1 where points are those of the form's first class, -1 where they are those of its second.
    """

    program: JointProgram
    form: PairForm
    neurons: Tensor
    side: float

    @property
    def basis(self) -> Array:
        """The axes of the attacks' coordinates, shape (q, k)."""
        return np.asarray(self.form.view.axes.cpu().numpy())

    def attacks(self, rows: Index, X: Array) -> tuple[Array, Array]:
        """Means and variances of the attacks' coordinates at some rows."""
        radius, k = self.program.attack.radius[rows], self.form.view.values.numel()
        mean, variance = np.zeros((rows.size, k)), np.zeros((rows.size, k))
        moved = np.flatnonzero(radius > 0.0)
        if moved.size and k:
            r, points = (torch.tensor(part[moved], device=self.neurons.device) for part in (radius, X))
            found = self.form.attack(self.form.half(self.neurons @ points.T), r, self.side, None)
            mean[moved] = (found.against * -r[:, None]).cpu().numpy()
            variance[np.ix_(moved, found.varying.cpu().numpy())] = (found.variance * (r * r)[:, None]).cpu().numpy()
        return mean, variance


Multipliers = SmoothedJointMultipliers | JointPoints


@dataclass(frozen=True)
class JointJudgement:
    """What one network and its multipliers are worth.

    Args:
        network: The network, without neurons that are as good as zero.
        upper: Its exact objective.
        multipliers: Multipliers.
        bound: What they prove.
        feasible: What they would prove if no neuron violated them.
        hinge: By how much smoothing the loss parts the two, at most.
        attack: By how much smoothing the attacks does.
    """

    network: PolynomialNetwork
    upper: float
    multipliers: SmoothedJointMultipliers
    bound: JointBound
    feasible: float
    hinge: float
    attack: float


def network_of_classes(program: JointProgram, neurons: Array, signs: Array, owners: Index) -> PolynomialNetwork:
    """The network of neurons v of the classes, with unit neurons and without those that are as good as zero."""
    lengths = np.linalg.norm(neurons, axis=1)
    kept = np.flatnonzero(lengths > NEGLIGIBLE * lengths.max(initial=0.0))
    alpha = np.zeros((kept.size, program.n_classes))
    alpha[np.arange(kept.size), owners[kept]] = signs[kept] * lengths[kept] ** 2
    return PolynomialNetwork(neurons[kept] / lengths[kept, None], alpha, program.activation)


def neurons_of_classes(network: PolynomialNetwork) -> tuple[Array, Array, Index]:
    """The neurons v, the signs of their output weights, and their classes: one for each output weight but 0."""
    places, owners = np.nonzero(network.alpha)
    alpha = network.alpha[places, owners]
    return np.sqrt(np.abs(alpha))[:, None] * network.u[places], np.where(alpha < 0.0, -1.0, 1.0), owners


def judged_jointly(objective: JointObjective, query: JointQuery, evaluation: JointEvaluation) -> JointJudgement:
    """The judgement of a query's network, by its latest evaluation."""
    program, samples = objective.program, objective.samples
    parts = (query.neurons.cpu().numpy(), query.signs.cpu().numpy(), query.owners.cpu().numpy())
    network = network_of_classes(program, *parts)
    margins, theta = worst_margins(program, network), samples.rows(evaluation.weights * samples.weights[:, None])
    worst = sample_margins(program, margins)
    losses = program.loss_function.value(worst, np.ones_like(worst))
    upper = float(np.mean(losses)) + program.beta * program.penalty(network.alpha)
    multipliers = SmoothedJointMultipliers(theta, program, query)
    used, smoothed = theta > 0.0, samples.rows(evaluation.margins)
    attack = float(theta[used] @ (margins[used] - smoothed[used])) if samples.attacked else 0.0
    bound = bound_of_joint(program, multipliers)
    summed = np.zeros_like(worst)
    np.add.at(summed, program.samples, theta.sum(axis=1))
    feasible = program.loss_function.bound(program.loss_function.clip(summed), np.ones_like(worst))
    hinge = _smoothed_off(objective, evaluation)
    return JointJudgement(network, upper, multipliers, bound, feasible, hinge, max(attack, 0.0))


def _smoothed_off(objective: JointObjective, evaluation: JointEvaluation) -> float:
    """What smoothing the loss takes off its mean, at most."""
    samples, loss = objective.samples, objective.loss
    margins, p = samples.gathered(evaluation.margins, torch.inf), samples.gathered(evaluation.weights, 0.0)
    lost = loss.losses(margins) - loss.worth(margins, p)
    return float((lost * samples.sample_weights).mean())
