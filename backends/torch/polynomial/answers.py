"""Answers to attacks that are held: what multipliers lack while networks and attacks still move.

The value of the training problem is ``max_X min_T L(T, X)`` over the moments X of attacks, so the least objective
against *any* attacks that are held, ``phi(X) = min_T L(T, X)``, is at most the optimum, and multipliers of that problem
prove it. The multipliers of an evaluation do not: they are scaled by what the worst neuron violates, which falls like
the root of what descent lacks. Held attacks are no kinks, so an evaluation seeks no attacks and descent is quick; what
it leaves unfinished, mixtures of its multipliers make up for (`cvxrobust.backends.torch.polynomial.mixtures`), as all
of them have the same attacks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.lbfgs import Memory, descend
from cvxrobust.backends.torch.losses import torch_loss
from cvxrobust.backends.torch.polynomial.mixtures import Mixture, Multipliers, best_mixture
from cvxrobust.backends.torch.polynomial.neurons import compressed, with_priced_neurons
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core import AttackBall, PolynomialProgram
from cvxrobust.core.programs.boxes.program import BoxProgram
from cvxrobust.core.programs.polynomial.certificate import DualBound, dual_bound
from cvxrobust.core.programs.polynomial.moments import SpanMultipliers

Array = NDArray[np.float64]

ROUNDS, EVALUATIONS = 5, 40
"""Rounds of descent against the same attacks, at most, and evaluations of each."""
EVERY, KEPT = 4, 30
"""Evaluations whose multipliers are mixed, one in so many, and how many are kept."""
DONE = 0.1
"""Of what is missing to the value of the answer: as much may be left."""
WORTH = 1e-3
"""What a priced neuron must violate, relative to beta."""
PAIRS = 60
"""In the memory of the descent."""
LARGEST = 2**24
"""Entries of the points of attacks, up to which these are held: they are another copy of the inputs, or several."""
TINY = 1e-300


@dataclass(frozen=True)
class HeldAttacks:
    """Second moments of attacked inputs: ``sum_p x_p x_p' + Q diag(s) Q'``, the first x_p with a constant of 1.

    Args:
        points: x_p without the constant, shape (p, n, d).
        axes: Q, shape (d, j).
        variance: s, shape (n, j).
    """

    points: Tensor
    axes: Tensor
    variance: Tensor


def held_attacks(program: PolynomialProgram, kept: SpanMultipliers, device: torch.device) -> HeldAttacks:
    """Random attacks around inputs that are in memory."""
    attack, X = program.attack, program.X
    assert isinstance(X, np.ndarray)
    points = (X + attack.pushed(kept.mean @ kept.basis.T))[None]
    axes, variance = attack.pushed(kept.basis.T).T, kept.variance
    some = np.empty(0, dtype=np.intp) if variance is None else np.flatnonzero(variance.max(axis=0, initial=0.0) > 0.0)
    variance = np.empty((X.shape[0], 0)) if variance is None else variance[:, some]
    return HeldAttacks(*(torch.tensor(part, device=device) for part in (points, axes[:, some], variance)))


@dataclass(frozen=True)
class AnswerPoint:
    """A network against held attacks.

    Args:
        value: The objective, its loss smoothed.
        gradient: With respect to the neurons, shape (m, d).
        weights: Multipliers p without the weights of samples, shape (n,).
    """

    value: float
    gradient: Tensor
    weights: Tensor


class Answers:
    """The network that answers the attacks that are held, from one set of them to the next.

    Args:
        program: What is trained.
        task: Column of the labels.
        stopped: Whether time is up.
        device: Where.
    """

    def __init__(
        self, program: PolynomialProgram | BoxProgram, task: int, stopped: Callable[[], bool], device: torch.device
    ) -> None:
        self.program, self.stopped, self.device = program, stopped, device
        self.target = program.labels[:, task]
        self.neurons: Tensor | None = None
        self.signs = torch.empty(0)

    def to(
        self, attacks: HeldAttacks, neurons: Tensor, signs: Tensor, smoothing: PolynomialSmoothing, upper: float
    ) -> Array:
        """Multipliers of the answer to some attacks, shape (n,).

        Args:
            attacks: On each sample.
            neurons: A network to start from, unless the last answer is the better one, shape (m, d).
            signs: Of its output weights, shape (m,).
            smoothing: Of the loss; attacks are held.
            upper: The best objective known: how far from it answers are worth improving.
        """
        held = _Held(self.program, self.target, attacks, replace(smoothing, attack=0.0, penalty=1.0))
        before = self.neurons
        if before is None or held.at(neurons, signs).value < held.at(before, self.signs).value:
            before, self.signs = neurons.clone(), signs.clone()
        self.neurons, memory = before, Memory(before.numel(), self.device, PAIRS)
        best: Mixture | None = None
        for _ in range(ROUNDS):
            evaluate = partial(held.met_at, signs=self.signs)
            found = descend(evaluate, self.neurons, memory, EVALUATIONS, self.stopped, 0.0)
            self.neurons = found.point
            best = held.mixture()
            missing = found.evaluation.value - best.bound.value
            if self.stopped() or missing <= DONE * (upper - best.bound.value):
                break
            memory = self._grown(best.bound, memory)
        assert best is not None
        return best.theta

    def _grown(self, bound: DualBound, memory: Memory) -> Memory:
        """Add the neurons that a bound prices; the memory that goes with them."""
        assert self.neurons is not None
        beta, d = self.program.beta, self.neurons.shape[1]
        neurons, signs = self.neurons.cpu().numpy(), self.signs.cpu().numpy()
        still = AttackBall(2, np.zeros(1), d)
        more = with_priced_neurons(neurons, signs, bound, beta, beta * (1.0 + WORTH), still)
        if more[1].size == signs.size:
            return memory
        kept = compressed(*more)
        self.neurons, self.signs = (torch.tensor(part, dtype=torch.float64, device=self.device) for part in kept)
        if kept[1].size == more[1].size:
            return memory.extended(self.neurons.numel())
        return Memory(self.neurons.numel(), self.device, PAIRS)


class _Held:
    """The objective against attacks that are held, and the multipliers that were met.

    Args:
        program: What is trained.
        target: Labels, shape (n,).
        attacks: On each sample.
        smoothing: Of the loss.
    """

    def __init__(
        self,
        program: PolynomialProgram | BoxProgram,
        target: Array,
        attacks: HeldAttacks,
        smoothing: PolynomialSmoothing,
    ) -> None:
        self.program, self.target, self.attacks, self.smoothing = program, target, attacks, smoothing
        self.loss = torch_loss(program.loss)
        n, device = target.size, attacks.points.device
        shares = np.ones(n) if program.weights is None else program.weights
        self.labels, self.shares = (torch.tensor(part, device=device) for part in (target, shares / n))
        self.met: list[Multipliers] = []
        self.count = 0

    def at(self, v: Tensor, signs: Tensor) -> AnswerPoint:
        """A network, neurons scaled by the roots of their output weights."""
        (a, b, c), attacks = self.program.activation, self.attacks
        lengths = v.norm(dim=1)
        seen = attacks.points @ v.T
        along = v @ attacks.axes
        first, curves = seen[0], a * (signs @ (along * along))
        outputs = (a * (seen * seen).sum(dim=0) + b * first * lengths + c * lengths * lengths) @ signs
        margins = self.labels * (outputs + attacks.variance @ curves)
        losses, p = self.loss.first_order(margins, lambda z: self.smoothing.relu(z, slice(None)))
        theta = p * self.shares
        signed = theta * self.labels
        second = torch.einsum("pnm,pnd->md", seen * signed[:, None], attacks.points)
        second += (along * (signed @ attacks.variance)) @ attacks.axes.T
        linear = signed @ attacks.points[0]
        units = v / lengths.clamp(min=TINY)[:, None]
        slope = b * (lengths[:, None] * linear + (units @ linear)[:, None] * v)
        gradient = signs[:, None] * (2.0 * a * second + slope + 2.0 * c * signed.sum() * v)
        value = float((losses * self.shares).sum() + self.program.beta * (lengths * lengths).sum())
        return AnswerPoint(value, 2.0 * self.program.beta * v - gradient, p)

    def met_at(self, v: Tensor, signs: Tensor) -> AnswerPoint:
        """A network, whose multipliers are met now and then."""
        found = self.at(v, signs)
        if self.count % EVERY == 0:
            self._meet(found.weights * self.shares)
        self.count += 1
        return found

    def mixture(self) -> Mixture:
        """Of the multipliers met, the best mixture."""
        return best_mixture(self.met, self._proved, self.program.activation, self.program.beta)

    def _meet(self, theta: Tensor) -> None:
        attacks, loss = self.attacks, self.program.loss_function
        used = torch.nonzero(theta)[:, 0]
        signed, points = (theta * self.labels)[used], attacks.points[:, used]
        d = points.shape[2]
        S = torch.zeros(d + 1, d + 1, dtype=torch.float64, device=points.device)
        S[:d, :d] = torch.einsum("pni,pnj->ij", points * signed[:, None], points)
        S[:d, :d] += (attacks.axes * (signed @ attacks.variance[used])) @ attacks.axes.T
        S[:d, d] = S[d, :d] = signed @ points[0]
        S[d, d] = signed.sum()
        known = theta.cpu().numpy()
        value = float(loss.bound(loss.clip(known), self.target))
        self.met = [*self.met[1 - KEPT :], Multipliers(known, S.cpu().numpy(), value)]

    def _proved(self, theta: Array, moments: Array) -> DualBound:
        program, loss = self.program, self.program.loss_function
        return dual_bound(
            loss.clip(theta), moments, 0.0, loss=loss, target=self.target, activation=program.activation,
            beta=program.beta,
        )  # fmt: skip
