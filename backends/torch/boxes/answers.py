"""Answers to attacks that are held: what multipliers lack while networks and attacks still move.

The value of the training problem is ``max_X min_T L(T, X)`` over the moments X of relaxed attacks, so the least loss
against *any* attacks that are held, ``phi(X) = min_T L(T, X)``, is at most the optimum, and multipliers of that problem
prove it. The multipliers of an evaluation do not: they are scaled by what the worst neuron violates, which falls like
the root of what descent lacks. Held attacks are no kinks, so an evaluation takes no sweeps and descent is quick; what
it leaves unfinished, mixtures of its multipliers make up for (`cvxrobust.backends.torch.polynomial.mixtures`), as all
of them have the same attacks.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.boxes.objective import BoxObjective, BoxPoint, BoxQuery
from cvxrobust.backends.torch.lbfgs import Memory, descend
from cvxrobust.backends.torch.polynomial.mixtures import Mixture, Multipliers, best_mixture
from cvxrobust.backends.torch.polynomial.neurons import compressed, with_priced_neurons
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core import AttackBall
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers
from cvxrobust.core.programs.polynomial.certificate import DualBound, dual_bound

Array = NDArray[np.float64]

ROUNDS, EVALUATIONS = 5, 40
"""Rounds of descent against the same attacks, and evaluations of each."""
EVERY, KEPT = 4, 30
"""Evaluations whose multipliers are mixed, one in so many, and how many are kept."""
DONE = 0.1
"""Of what is missing to the value of the answer: as much may be left."""
PAIRS = 60


class Answers:
    """The network that answers the attacks that are held, from one set of them to the next.

    Args:
        objective: Has the attacks.
        stopped: Whether time is up.
    """

    def __init__(self, objective: BoxObjective, stopped: Callable[[], bool]) -> None:
        self.objective, self.stopped = objective, stopped
        self.neurons: Tensor | None = None
        self.signs = torch.empty(0)

    def to(self, neurons: Tensor, signs: Tensor, smoothing: PolynomialSmoothing, upper: float) -> BoxMultipliers:
        """Multipliers of the answer to the attacks as they are.

        Args:
            neurons: A network to start from, unless the last answer is the better one.
            signs: Of its output weights.
            smoothing: Of the loss; attacks are held.
            upper: The best objective known: how far from it answers are worth improving.
        """
        held = _Held(self.objective, replace(smoothing, attack=0.0, penalty=1.0))
        before = self.neurons
        if before is None or held.value(neurons, signs) < held.value(before, self.signs):
            before, self.signs = neurons.clone(), signs.clone()
        self.neurons, memory = before, Memory(before.numel(), self.objective.device, PAIRS)
        best: Mixture | None = None
        for _ in range(ROUNDS):
            found = descend(
                lambda point: held.evaluate(point, self.signs), self.neurons, memory, EVALUATIONS, self.stopped, 0.0
            )
            self.neurons = found.point
            best = held.mixture()
            missing = found.evaluation.value - best.bound.value
            if self.stopped() or missing <= DONE * (upper - best.bound.value):
                break
            memory = self._grown(best.bound, memory)
        assert best is not None
        return held.multipliers(best.theta)

    def _grown(self, bound: DualBound, memory: Memory) -> Memory:
        """Add the neurons that a bound prices; the memory that goes with them."""
        assert self.neurons is not None
        program = self.objective.program
        neurons, signs = self.neurons.cpu().numpy(), self.signs.cpu().numpy()
        still = AttackBall(2, np.zeros(1), program.X.shape[1])
        more = with_priced_neurons(neurons, signs, bound, program.beta, program.beta * 1.001, still)
        if more[1].size == signs.size:
            return memory
        kept = compressed(*more)
        same = kept[1].size == more[1].size
        self.neurons, self.signs = self.objective.tensor(kept[0]), self.objective.tensor(kept[1])
        if same:
            return memory.extended(self.neurons.numel())
        return Memory(self.neurons.numel(), self.objective.device, PAIRS)


class _Held:
    """The objective against attacks that are held, and the multipliers that were met.

    Args:
        objective: Has the attacks.
        smoothing: Of the loss.
    """

    def __init__(self, objective: BoxObjective, smoothing: PolynomialSmoothing) -> None:
        self.objective, self.smoothing, self.program = objective, smoothing, objective.program
        self.met: list[Multipliers] = []
        self.count = 0
        self.points = self._points()

    def value(self, neurons: Tensor, signs: Tensor) -> float:
        """Of a network."""
        return self.objective.evaluate(BoxQuery(neurons, signs, self.smoothing), held=True).value

    def evaluate(self, neurons: Tensor, signs: Tensor) -> BoxPoint:
        """A network, whose multipliers are met now and then."""
        found = self.objective.evaluate(BoxQuery(neurons, signs, self.smoothing), held=True)
        if self.count % EVERY == 0:
            self._meet((found.weights * self.objective.shares).cpu().numpy())
        self.count += 1
        return found

    def mixture(self) -> Mixture:
        """Of the multipliers met, the best mixture."""
        return best_mixture(self.met, self._proved, self.program.activation, self.program.beta)

    def multipliers(self, theta: Array) -> BoxMultipliers:
        """As the certificate takes them."""
        rows = np.flatnonzero(theta > 0.0)
        factors, noise = self.objective.attacks(rows)
        return BoxMultipliers(theta[rows], factors, rows, noise)

    # -- second moments ---------------------------------------------------------------------------------------------

    def _points(self) -> Tensor:
        """Factors of the moments of held attacks in the units of inputs, the constant last, shape (p, n, d + 1)."""
        objective = self.objective
        rows, X = objective.rows, objective.X
        (_, n, p), d = rows.shape, X.shape[1]
        points = torch.zeros(p, n, d + 1, dtype=torch.float64, device=objective.device)
        points[0, :, :d], points[0, :, d] = X, 1.0
        points[:, :, objective.inputs] += (objective.widths[:, :, None] * rows).permute(2, 1, 0)
        return points

    def _meet(self, theta: Array) -> None:
        objective, loss = self.objective, self.program.loss_function
        signed = objective.tensor(theta) * objective.labels
        used = torch.nonzero(signed)[:, 0]
        points, weights = self.points[:, used], signed[used]
        S = torch.einsum("pni,pnj->ij", points * weights[:, None], points)
        spread = (objective.widths[:, used] ** 2 * objective.noise[:, used]) @ weights
        S[objective.inputs, objective.inputs] += spread
        value = float(loss.bound(loss.clip(theta), self.program.labels[:, 0]))
        self.met = [*self.met[1 - KEPT :], Multipliers(theta, S.cpu().numpy(), value)]

    def _proved(self, theta: Array, moments: Array) -> DualBound:
        program = self.program
        return dual_bound(
            program.loss_function.clip(theta), moments, 0.0, loss=program.loss_function, target=program.labels[:, 0],
            activation=program.activation, beta=program.beta,
        )  # fmt: skip
