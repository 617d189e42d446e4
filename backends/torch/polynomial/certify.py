"""What a network and its smoothed attacks prove: exact margins, and multipliers with their second moments.

One pass over the data serves both bounds of every query.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.torch.losses import torch_loss
from cvxrobust.backends.torch.polynomial.attacks import RandomAttacks
from cvxrobust.backends.torch.polynomial.objective import Array, Form, ObjectiveEvaluation, Query, SmoothedObjective
from cvxrobust.backends.torch.polynomial.samples import Block, Target
from cvxrobust.core import Loss, PolynomialNetwork, PolynomialProgram, loss_by_name
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.kit import network_of
from cvxrobust.core.losses.base import output_signs, weighted
from cvxrobust.core.programs.polynomial.certificate import DualBound, dual_bound
from cvxrobust.core.programs.polynomial.moments import SecondMoments


@dataclass(frozen=True)
class SmoothedMultipliers:
    """The dual point that an evaluation holds, whose attacks are computed again where they are asked for.

    See `cvxrobust.core.programs.polynomial.moments.AttackMultipliers`.

    Args:
        program: What they belong to.
        form: The network that is attacked, and how attacks are smoothed.
        theta: Multiplier of each sample, shape (n,).
    """

    program: PolynomialProgram
    form: Form
    theta: Array

    @property
    def basis(self) -> Array:
        """The axes of the attacks' coordinates, shape (q, k)."""
        return _numpy(self.form.view.axes)

    def attacks(self, rows: slice, X: Array) -> tuple[Array, Array | None]:
        """Means and variances of the attacks' coordinates in a block of samples."""
        program, task, device = self.program, self.form.query.task, self.form.vectors.device
        sides = output_signs(program.loss_function, program.labels[rows, task])
        radius = program.attack.radius[rows]
        tensors = (torch.tensor(part, device=device) for part in (sides, radius, X))
        target = Target.of(next(tensors), next(tensors), bool((radius > 0.0).any()))
        form = self.form.against(target)
        if not form.attacked:
            return np.zeros((X.shape[0], form.view.axes.shape[1])), None
        _, half = form.outputs((form.vectors.T @ next(tensors).T).T)
        mean, variance = _moves(form, form.attack(slice(None), half, None), target.radius)
        return mean.cpu().numpy(), variance.cpu().numpy()


@dataclass(frozen=True)
class Judgement:
    """What one network and its multipliers are worth.

    Args:
        network: The network, without neurons that are as good as zero.
        upper: Its exact objective.
        multipliers: Multipliers.
        bound: What they prove.
        feasible: What they would prove if no neuron violated them, which is all that smoothing spoils of them.
        hinge: By how much smoothing the hinge parts the two, at most.
        attack: By how much smoothing the attacks does.
    """

    network: PolynomialNetwork
    upper: float
    multipliers: SmoothedMultipliers
    bound: DualBound
    feasible: float
    hinge: float
    attack: float


def certify(
    objective: SmoothedObjective, queries: Sequence[tuple[Query, ObjectiveEvaluation]], loss: Loss
) -> list[Judgement]:
    """Judge the networks of some queries by their latest evaluations.

    Raises:
        StopPass: Somebody asked to stop.
    """
    cases = [_Case(objective, query, evaluation, loss) for query, evaluation in queries]
    samples = objective.samples
    for block in samples.blocks(max(samples.width // 4, max(case.form.vectors.shape[1] for case in cases), 1)):
        for case in cases:
            case.add(block)
    return [case.judgement() for case in cases]


class _Case:
    """One network under judgement."""

    def __init__(self, objective: SmoothedObjective, query: Query, evaluation: ObjectiveEvaluation, loss: Loss) -> None:
        self.program, self.samples, self.loss = objective.program, objective.samples, loss
        self.plain = loss_by_name(self.program.loss)
        self.query, self.evaluation, self.form = query, evaluation, objective.form(query)
        neurons, signs = query.neurons.cpu().numpy(), query.signs.cpu().numpy()
        self.network = network_of(self.program, neurons, signs)
        self.in_numpy = self.samples.small(self.form.vectors.shape[1])
        like = query.neurons
        u, alpha = (self._native(torch.tensor(part, device=like.device)) for part in _parts(self.network))
        self.quadratic = Quadratic.of(u, alpha, self.program.activation)
        whole = weighted(_numpy(self._whole(evaluation.weights)), self.program.weights)
        theta = self.loss.clip(whole / self.samples.total)
        self.theta = theta
        self.mine = torch.tensor(theta[self.samples.rows], device=like.device)
        self.moments = SecondMoments(self._native(self.form.view.columns))
        self.sums = like.new_zeros(3)  # losses, and what smoothing the hinge and the attacks costs

    def add(self, block: Block) -> None:
        rows, target, program = block.rows, self.form.target, self.program
        labels = self.samples.labels[rows, self.query.task]
        X = self._native(block.X)
        if self.loss.margin:
            sides, radius = (self._native(part[rows]) for part in (target.sides, target.radius))
            attack = program.attack if self.in_numpy else self.samples.attack
            exact = torch.as_tensor(self.quadratic.worst_margins(X, sides, replace(attack, radius=radius)))
        else:
            exact = torch.as_tensor(self.quadratic.expand(X)[0])
        weights = None if self.samples.weights is None else _numpy(self.samples.weights[rows])
        self.sums[0] += float(weighted(self.plain.value(_numpy(exact), _numpy(labels)), weights).sum())
        smoothed, slopes = self.evaluation.margins[rows], self.evaluation.weights[rows]
        adapter = torch_loss(program.loss)
        lost = adapter.smoothed_off(labels - smoothed if adapter.of_sizes else smoothed, slopes)
        self.sums[1] += self.samples.weighed(lost, rows).sum()
        mean = variance = None
        if self.form.attacked:
            self.sums[2] += (self.samples.weighed(slopes, rows) * (exact - smoothed)).sum()
            _, half = self.form.outputs((self.form.vectors.T @ block.X.T).T)
            attacks = self.form.attack(rows, half, self.evaluation.shift)
            mean, variance = _moves(self.form, attacks, target.radius[rows])
        attacks_made = (None if part is None else self._native(part) for part in (mean, variance))
        self.moments.add(X, self._native(self.mine[rows] * target.sides[rows]), *attacks_made)

    def judgement(self) -> Judgement:
        team, program, n = self.samples.team, self.program, self.samples.total
        parts = team.sum(torch.cat([self.sums, torch.as_tensor(self.moments.parts())]))
        self.moments.set_parts(self._native(parts[3:]))
        losses, hinge, attack = (float(number) / n for number in parts[:3])
        column = program.labels[:, self.query.task]
        bound = dual_bound(
            self.theta, self.moments.matrix(), self.moments.mass,
            loss=self.loss, target=column, activation=program.activation, beta=program.beta,
        )  # fmt: skip
        multipliers = SmoothedMultipliers(program, self.form, self.theta)
        upper, feasible = losses + program.beta * self.network.penalty, self.loss.bound(self.theta, column)
        return Judgement(self.network, upper, multipliers, bound, feasible, hinge, max(attack, 0.0))

    def _native(self, tensor: Tensor) -> Any:
        """A tensor, or the same memory as a NumPy array where that is faster."""
        return tensor.numpy() if self.in_numpy else tensor

    def _whole(self, part: Tensor) -> Tensor:
        return self.samples.team.whole(part, self.samples.rows, self.samples.total)


def _moves(form: Form, attacks: RandomAttacks, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Means and variances of all coordinates, in the units of X."""
    variance = torch.zeros_like(attacks.against)
    variance[:, attacks.varying] = attacks.variance
    return -radius[:, None] * attacks.against, (radius * radius)[:, None] * variance


def _parts(network: PolynomialNetwork) -> tuple[Array, Array]:
    return network.u, network.alpha


def _numpy(tensor: Tensor) -> Array:
    return np.asarray(tensor.cpu().numpy())
