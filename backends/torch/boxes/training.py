"""The training of one network against boxes: rounds of descent, each followed by a certificate of `core`'s own.

Networks come near the optimum fast. Multipliers do not: where the relaxed attack on a sample is not the only one, the
last one is an arbitrary one of them, and no average over samples makes up for that. So bounds from below end some
percent short, the mean over the evaluations of a round is one of the candidates, and masters of the cutting-set method,
which mix the attacks of each sample as they need, go on from here (``polish=True``).
"""

import math
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.boxes.objective import BoxObjective, BoxPoint, BoxQuery
from cvxrobust.backends.torch.lbfgs import Descent, Memory, descend
from cvxrobust.backends.torch.polynomial.neurons import compressed, merged, random_neurons, with_priced_neurons
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.backends.torch.polynomial.schedule import TUNING
from cvxrobust.core import AttackBall, Monitor, PolynomialNetwork, Settings, Solution, Termination
from cvxrobust.core.kit import BestSoFar, Deadline, network_of, scaled_neurons
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers, bound_of_boxes, evaluated
from cvxrobust.core.programs.polynomial.certificate import DualBound

Array = NDArray[np.float64]

SMOOTHING = (0.2, 0.03, 5e-3)
"""Of the hinge, one after the other; losses without a kink have the last only."""
ENOUGH = 4.0
"""Smoothing no larger than so many times the tolerance is the last that is needed."""
ROUNDS = 2
"""Of one smoothing. Networks are certified after the last of them, multipliers after each."""
BETTER = 0.9
"""The share of the gap that a smoothing must leave at most for the last to be tried again."""
KEPT, LARGEST = 8, 2**24
"""Evaluations of a round whose multipliers are averaged, and entries of their factors, at most."""


class BoxTraining:
    """One solve: the neurons, the smoothing, and the best bounds.

    Args:
        objective: Evaluates networks.
        settings: Tolerance, ``max_iterations`` (evaluations), seed, and the number of neurons among the options.
        monitor: Hears of better bounds.
        start: A network to start from.

    Attributes:
        clock: When it began, on `time.perf_counter`.
        objective, program, settings: As given, or of the objective.
        best: The best network and multipliers so far.
        neurons: Scaled by the roots of their output weights, shape (m, d), float64; `_place` sets these three.
        signs: Of the output weights, shape (m,).
        memory: Of the descent.
        stages: The smoothings to come, the present one first.
        rounds: With the present one.
        least: The gap when smoothing last changed.
        evaluations: Of the objective so far.
        recent: Multipliers of the last evaluations of a round.
    """

    def __init__(
        self, objective: BoxObjective, settings: Settings, monitor: Monitor, start: PolynomialNetwork | None = None
    ) -> None:
        self.clock = time.perf_counter()
        self.objective, self.program, self.settings = objective, objective.program, settings
        self.neurons: Tensor
        self.signs: Tensor
        self.memory: Memory
        self.best: BestSoFar[PolynomialNetwork, BoxMultipliers] = BestSoFar(
            settings, monitor, deadline=Deadline(monitor)
        )
        last = next((k for k, mu in enumerate(SMOOTHING) if mu <= ENOUGH * settings.tolerance), len(SMOOTHING) - 1)
        self.stages = list(SMOOTHING[: last + 1]) if objective.loss.kinked else [SMOOTHING[-1]]
        self.rounds, self.evaluations, self.least = 0, 0, math.inf
        n = self.program.X.shape[0]
        self.centre = torch.zeros(n, dtype=torch.float64, device=objective.device)
        self.recent: list[tuple[Array, Array]] = []
        self._take(self._empty())
        warm = start is not None and start.n_neurons > 0
        if start is not None and warm:
            self._take(start)
        self._place(*(scaled_neurons(start) if start is not None and warm else self._fresh()))

    def run(self) -> Solution:
        """Rounds of descent, each followed by a certificate."""
        while (ended := self.best.ended(self.evaluations)) is None and self.stages:
            descent = self._descend()
            self._continue(descent, self._bound())
        if ended and self.rounds:
            self._take(self._network())
        message = "" if ended else "bounds from below have stalled; masters go on from here: polish=True"
        return self.best.solution(
            ended or Termination.NUMERICAL, iterations=self.evaluations,
            solve_seconds=time.perf_counter() - self.clock, message=message,
        )  # fmt: skip

    # -- rounds -----------------------------------------------------------------------------------------------------

    def _descend(self) -> "Descent[BoxPoint]":
        self.recent, least = [], math.inf

        def evaluate(point: Tensor) -> BoxPoint:
            nonlocal least
            found = self.objective.evaluate(self._query(point))
            self.evaluations += 1
            if found.value < least:
                least = found.value
                self._remember(found)
            return found

        limit = self.settings.max_iterations
        budget = TUNING.round_evaluations if limit is None else min(TUNING.round_evaluations, limit - self.evaluations)
        flat = 1e-9 * self.program.beta * (1e-3 + float(self.neurons.norm()))
        stopped = self.best.deadline
        found = descend(evaluate, self.neurons, self.memory, budget, lambda: stopped.reason is not None, flat)
        self.neurons = found.point
        return found

    def _remember(self, found: BoxPoint) -> None:
        theta = (found.weights * self.objective.shares).cpu().numpy()
        q, n, p = self.objective.rows.shape
        most = max(1, min(KEPT, LARGEST // max(q * n * p, 1)))
        factors = np.zeros((n, q + 1, p))
        factors[:, :-1] = self.objective.rows.permute(1, 0, 2).cpu().numpy()
        factors[:, -1, 0] = 1.0
        self.recent = [*self.recent[1 - most :], (theta, factors)] if most > 1 else [(theta, factors)]

    def _query(self, neurons: Tensor) -> BoxQuery:
        return BoxQuery(neurons, self.signs, PolynomialSmoothing(self.stages[0], 0.0, self.centre))

    def _bound(self) -> DualBound:
        """What the last multipliers prove, alone and with those before."""
        bound = self._bounded(self.recent[-1:])
        if len(self.recent) > 1:
            averaged = self._bounded(self.recent)
            bound = averaged if averaged.value > bound.value else bound
        return bound

    def _network(self) -> PolynomialNetwork:
        return network_of(self.program, self.neurons.cpu().numpy(), self.signs.cpu().numpy())

    def _bounded(self, recent: list[tuple[Array, Array]]) -> DualBound:
        """What the mean of multipliers proves; it is kept where that is more than was known."""
        live = [np.flatnonzero(theta > 0.0) for theta, _ in recent]
        theta = np.concatenate([theta[rows] for (theta, _), rows in zip(recent, live, strict=True)]) / len(recent)
        factors = np.concatenate([factors[rows] for (_, factors), rows in zip(recent, live, strict=True)])
        multipliers = BoxMultipliers(theta, factors, np.concatenate(live))
        bound = bound_of_boxes(self.program, multipliers)
        if self.best.offer_dual(multipliers, bound.value):
            self.best.report()
        return bound

    def _take(self, network: PolynomialNetwork) -> None:
        """Keep a network if it is better."""
        began = time.perf_counter()
        found = evaluated(self.program, network)
        # The solver's own last certificate is followed by that of whoever does not trust it.
        self.best.deadline.reserve = 2.0 * (time.perf_counter() - began)
        if self.best.offer_primal(network, found.value):
            self.best.report()

    def _continue(self, descent: "Descent[BoxPoint]", bound: DualBound) -> None:
        """Decide what the next round needs: more neurons, less smoothing, or nothing."""
        self.rounds += 1
        if self.rounds == 1 and self._grow(bound):
            return
        if self.rounds < ROUNDS and not descent.stuck:
            return
        self._take(self._network())
        self.centre, self.rounds = descent.evaluation.weights, 0
        if len(self.stages) > 1 or self.best.gap > BETTER * self.least:
            self.stages = self.stages[1:]
        self.least = self.best.gap
        if self.stages:
            self._merge()

    # -- neurons ----------------------------------------------------------------------------------------------------

    def _fresh(self) -> tuple[Array, Array]:
        program = self.program
        count = self.settings.options.get("neurons", min(program.X.shape[1] + 1, TUNING.first_neurons))
        return random_neurons(program.X, program.activation, count, self.settings.seed)

    def _place(self, neurons: Array, signs: Array) -> None:
        self.neurons, self.signs = self.objective.tensor(neurons), self.objective.tensor(signs)
        self.memory = Memory(self.neurons.numel(), self.objective.device)

    def _grow(self, bound: DualBound) -> bool:
        """Add the priced neuron of each sign where it would help and no neuron is near it."""
        threshold = self.program.beta * (1.0 + max(0.1 * self.settings.tolerance, 0.1 * min(self.best.gap, 1.0)))
        before = self.neurons.cpu().numpy(), self.signs.cpu().numpy()
        still = AttackBall(2, np.zeros(1), self.program.X.shape[1])
        neurons, signs = with_priced_neurons(*before, bound, self.program.beta, threshold, still)
        if signs.size == before[1].size:
            return False
        memory, count = self.memory, signs.size
        self._place(*compressed(neurons, signs))
        if self.signs.shape[0] == count:
            self.memory = memory.extended(self.neurons.numel())
        return True

    def _merge(self) -> None:
        """Describe the network by fewer neurons, as far as the gap does not notice."""
        share = TUNING.noticed_share * min(self.best.gap, 1.0)
        neurons, signs = merged(self.neurons.cpu().numpy(), self.signs.cpu().numpy(), share)
        if signs.size < self.signs.shape[0]:
            self._place(neurons, signs)

    def _empty(self) -> PolynomialNetwork:
        return network_of(self.program, np.empty((0, self.program.X.shape[1])), np.empty(0))
