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
from cvxrobust.backends.torch.polynomial.objective import (
    Array,
    Form,
    ObjectiveEvaluation,
    Query,
    SmoothedObjective,
    doubled,
    residuals_of,
)
from cvxrobust.backends.torch.polynomial.samples import Block, Target
from cvxrobust.core import Loss, PolynomialNetwork, PolynomialProgram, loss_by_name
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.kit import network_of
from cvxrobust.core.losses.base import TwoSidedLoss, output_signs, weighted
from cvxrobust.core.programs.polynomial.certificate import DualBound, dual_bound
from cvxrobust.core.programs.polynomial.moments import SecondMoments, SidedMultipliers, repaired_sides


@dataclass(frozen=True)
class SmoothedMultipliers:
    """The dual point that an evaluation holds, whose attacks are computed again where they are asked for.

    See `cvxrobust.core.programs.polynomial.moments.AttackMultipliers`.

    Args:
        program: What they belong to.
        form: The network that is attacked, and how attacks are smoothed.
        theta: Multiplier of each sample, shape (n,).
        side: The sign with which attacks see all outputs; None for the labels'.
    """

    program: PolynomialProgram
    form: Form
    theta: Array
    side: float | None = None

    @property
    def basis(self) -> Array:
        """The axes of the attacks' coordinates, shape (q, k)."""
        return _numpy(self.form.view.axes)

    def attacks(self, rows: slice, X: Array) -> tuple[Array, Array | None]:
        """Means and variances of the attacks' coordinates in a block of samples."""
        program, task, device = self.program, self.form.query.task, self.form.vectors.device
        labels, radius = program.labels[rows, task], program.attack.radius[rows]
        sides = output_signs(program.loss_function, labels) if self.side is None else np.full(labels.size, self.side)
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
        neurons: What was judged, scaled by the roots of their output weights, shape (m, d).
        network: The network, without neurons that are as good as zero.
        upper: Its exact objective.
        multipliers: Multipliers.
        bound: What they prove.
        feasible: What they would prove if no neuron violated them, which is all that smoothing spoils of them.
        hinge: By how much smoothing the hinge parts the two, at most.
        attack: By how much smoothing the attacks does.
    """

    neurons: Tensor
    network: PolynomialNetwork
    upper: float
    multipliers: SmoothedMultipliers | SidedMultipliers
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
        self.plain, self.errors = loss_by_name(self.program.loss), objective.errors
        self.query, self.evaluation, self.form = query, evaluation, objective.form(query)
        neurons, signs = query.neurons.cpu().numpy(), query.signs.cpu().numpy()
        self.network = network_of(self.program, neurons, signs)
        self.in_numpy = self.samples.small(self.form.vectors.shape[1])
        like = query.neurons
        u, alpha = (self._native(torch.tensor(part, device=like.device)) for part in _parts(self.network))
        self.quadratic = Quadratic.of(u, alpha, self.program.activation)
        whole = _numpy(self.samples.whole(evaluation.weights)).reshape(self.samples.faces, -1)
        theta = weighted(whole, self.program.weights) / self.samples.total
        # Of every worst case, shape (faces, n).
        self.theta = repaired_sides(theta, loss) if self.samples.faces == 2 else loss.clip(theta[0])[None, :]
        self.mine = torch.tensor(self.theta[:, self.samples.rows], device=like.device)
        self.moments = SecondMoments(self._native(self.form.view.columns))
        self.sums = like.new_zeros(3)  # losses, and what smoothing the hinge and the attacks costs

    def add(self, block: Block) -> None:
        rows, target, samples = block.rows, self.form.target, self.samples
        places, labels = samples.places(rows), samples.labels[rows, self.query.task]
        exact = self._exact(block, places)
        smoothed, slopes = self.evaluation.margins[places], self.evaluation.weights[places]
        weights = None if samples.weights is None else _numpy(samples.weights[rows])
        self.sums[0] += float(weighted(self._losses(exact, labels), weights).sum())
        self.sums[1] += samples.weighed(self._smoothed_off(smoothed, slopes, labels), rows).sum()
        attacks_made: list[tuple[Tensor, ...]] = [()] * samples.faces
        if self.form.attacked:
            self.sums[2] += (samples.weighed(slopes, rows) * (exact - smoothed)).sum()
            _, half = self.form.outputs((self.form.vectors.T @ block.X.T).T)
            attacks = self.form.attack(places, doubled(half, samples.faces), self.evaluation.shift)
            moves = _moves(self.form, attacks, target.radius[places])
            attacks_made = list(zip(*(part.chunk(samples.faces) for part in moves), strict=True))
        sides = target.sides[places].chunk(samples.faces)
        for own, side, made in zip(self.mine, sides, attacks_made, strict=True):
            self.moments.add(self._native(block.X), self._native(own[rows] * side), *map(self._native, made))

    def _exact(self, block: Block, places: slice | Tensor) -> Tensor:
        """Exact margins of a block's worst cases; outputs of targets without attack."""
        samples, target, X = self.samples, self.form.target, self._native(block.X)
        if not (self.loss.margin or samples.faces == 2):
            return torch.as_tensor(self.quadratic.expand(X)[0])
        radius = self._native(samples.radius[block.rows])
        attack = replace(self.program.attack if self.in_numpy else samples.attack, radius=radius)
        sides = target.sides[places].chunk(samples.faces)
        return torch.cat(
            [torch.as_tensor(self.quadratic.worst_margins(X, self._native(side), attack)) for side in sides]
        )

    def _losses(self, exact: Tensor, labels: Tensor) -> Array:
        """Exact losses of some samples."""
        if self.samples.faces == 2:
            exact = labels + residuals_of(labels, exact).amax(dim=0)
        return self.plain.value(_numpy(exact), _numpy(labels))

    def _smoothed_off(self, smoothed: Tensor, slopes: Tensor, labels: Tensor) -> Tensor:
        """What smoothing the loss takes off at most."""
        adapter = torch_loss(self.program.loss)
        if self.errors is None:
            return adapter.smoothed_off(labels - smoothed if adapter.of_sizes else smoothed, slopes)
        losses = torch.as_tensor(self._losses(smoothed, labels), device=smoothed.device)
        lost: Tensor = losses - self.errors.worth(residuals_of(labels, smoothed), slopes.view(2, -1))
        return lost

    def judgement(self) -> Judgement:
        team, program, n = self.samples.team, self.program, self.samples.total
        parts = team.sum(torch.cat([self.sums, torch.as_tensor(self.moments.parts())]))
        self.moments.set_parts(self._native(parts[3:]))
        losses, hinge, attack = (float(number) / n for number in parts[:3])
        column, theta, reach = program.labels[:, self.query.task], self.theta[0], None
        multipliers: SmoothedMultipliers | SidedMultipliers = SmoothedMultipliers(program, self.form, theta)
        if self.samples.faces == 2:
            multipliers = sided(program, self.form, self.theta)
            theta, reach = self.theta[0] - self.theta[1], self.theta.sum(axis=0)
        bound = dual_bound(
            theta, self.moments.matrix(), self.moments.mass,
            loss=self.loss, target=column, activation=program.activation, beta=program.beta, reach=reach,
        )  # fmt: skip
        feasible = self.loss.bound(theta, column)
        if isinstance(self.loss, TwoSidedLoss) and reach is not None:
            feasible = self.loss.bound_apart(theta, reach, column)
        upper = losses + program.beta * self.network.penalty
        return Judgement(self.query.neurons, self.network, upper, multipliers, bound, feasible, hinge, max(attack, 0.0))

    def _native(self, tensor: Tensor) -> Any:
        """A tensor, or the same memory as a NumPy array where that is faster."""
        return tensor.numpy() if self.in_numpy else tensor


def sided(program: PolynomialProgram, form: Form, theta: Array) -> SidedMultipliers:
    """Multipliers of both sides of targets, shape (2, n), on the smoothed attacks of a form."""
    return SidedMultipliers(*(SmoothedMultipliers(program, form, *one) for one in zip(theta, (1.0, -1.0), strict=True)))


def _moves(form: Form, attacks: RandomAttacks, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Means and variances of all coordinates, in the units of X."""
    variance = torch.zeros_like(attacks.against)
    variance[:, attacks.varying] = attacks.variance
    return -radius[:, None] * attacks.against, (radius * radius)[:, None] * variance


def _parts(network: PolynomialNetwork) -> tuple[Array, Array]:
    return network.u, network.alpha


def _numpy(tensor: Tensor) -> Array:
    return np.asarray(tensor.cpu().numpy())
