"""The training of one network against boxes: rounds of descent, each followed by a certificate of `core`'s own.

As for attacks in balls (`cvxrobust.backends.torch.polynomial.training`), what a certificate says is missing decides
whether the next round descends further, adds neurons, or smooths the loss or the attacks less.
"""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.boxes.objective import BoxObjective, BoxPoint, BoxQuery
from cvxrobust.backends.torch.lbfgs import Descent, Memory, descend
from cvxrobust.backends.torch.polynomial import answers
from cvxrobust.backends.torch.polynomial.answers import Answers
from cvxrobust.backends.torch.polynomial.neurons import compressed, merged, random_neurons, with_priced_neurons
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.backends.torch.polynomial.schedule import TUNING, Schedule, Shares
from cvxrobust.core import AttackBall, Monitor, PolynomialNetwork, Settings, Solution, Termination
from cvxrobust.core.kit import BestSoFar, Deadline, network_of, scaled_neurons
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers, bound_of_boxes, evaluated
from cvxrobust.core.programs.polynomial.certificate import DualBound

Array = NDArray[np.float64]
Index = NDArray[np.intp]

FIRST = 0.3, 0.3
"""Smoothing of the hinge and of attacks, in units of the margin."""
PAIRS = 60
"""In the memory of the descent."""
NEEDED = 0.5
"""The share of the tolerance that smoothing of attacks may take of the gap."""
LONGEST = 6
"""Rounds after which smoothing changes though descent is unfinished."""
SETTLED = 0.03
"""The gap below which neurons are merged."""
PATIENCE = 6
"""Rounds without a better gap after which the search gives up: kinks are left to masters."""
KEPT, LARGEST = 8, 2**24
"""Evaluations of a round whose multipliers are averaged, and entries of their factors, at most."""
COARSE = 0.1
"""The gap above which less of it says that answers have not made up for what descent lacks."""
FAR, FAR_WHILE_COARSE = 4.0, 2.0
"""How much of it says so, in units of what smoothing costs."""
MOST_SWEEPS = 4
"""Of attacks, from one evaluation to the next: twice as many each time that descent is stuck and has not ended, as it
is where attacks lag behind."""
LOOKS = 128
"""Inputs that boxes move up to which every round certifies its network; beyond, those that promise a better gap."""
PROMISE = 0.8
"""What they must leave of the gap, by what their relaxed attacks have reached."""


class BoxSchedule(Schedule):
    """When a training against boxes smooths less."""

    def _first(self, hinge: float, attack: float, centre: Tensor) -> PolynomialSmoothing:
        return PolynomialSmoothing(*FIRST, centre)

    def sharpen(self, weights: Tensor, shares: Shares, gap: float) -> None:
        """As for balls, but attacks no sharper than the tolerance needs: descent is the slower for it."""
        enough, before = NEEDED * self.tolerance * 0.5 ** (self.idle // 2), self.smoothing.attack
        super().sharpen(weights, replace(shares, attack=0.0) if shares.attack <= 1.01 * enough else shares, gap)
        if shares.attack > 0.0:
            least = before * min(enough / shares.attack, 1.0)
            self.smoothing = replace(self.smoothing, attack=max(self.smoothing.attack, least))


@dataclass(frozen=True)
class BoxJudgement:
    """What one network and its multipliers are worth.

    Args:
        upper: The network's objective, or what it is at least where nobody has certified it.
        bound: What its multipliers prove.
        feasible: What they would prove if no neuron violated them.
        hinge: By how much smoothing the loss parts the two, at most.
        attack: By how much smoothing the attacks does.
    """

    upper: float
    bound: DualBound
    feasible: float
    hinge: float
    attack: float


@dataclass(frozen=True)
class _Remembered:
    """Multipliers of an evaluation: of the samples that have any."""

    rows: Index
    theta: Array
    factors: Array
    noise: Array


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
        schedule: The present smoothing, and what descent aims at.
        evaluations: Of the objective so far.
        recent: Multipliers of the last evaluations of a round.
        answers: To the attacks of the last evaluation.
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
        centre = torch.zeros(self.program.X.shape[0], dtype=torch.float64, device=objective.device)
        self.schedule = BoxSchedule(self.program, settings.tolerance, False, centre)
        self.schedule.patience = PATIENCE
        self.evaluations = 0
        self.recent: list[_Remembered] = []
        self.answers = Answers(self.program, 0, lambda: self.best.deadline.reason is not None, objective.device)
        self._take(self._empty())
        warm = start is not None and start.n_neurons > 0
        if start is not None and warm:
            self._take(start)
        self._place(*(scaled_neurons(start) if start is not None and warm else self._fresh()))

    def run(self) -> Solution:
        """Rounds of descent, each followed by a certificate."""
        while (ended := self.best.ended(self.evaluations)) is None and self.schedule.patient:
            penalty = self.penalty
            descent = self._descend()
            self._continue(descent, self._judge(descent), penalty)
        if ended is None or self.program.inputs.size > LOOKS:
            self._take(self._network())
        message = "" if ended else f"no better gap in {PATIENCE} rounds; masters go on from here: polish=True"
        return self.best.solution(
            ended or Termination.NUMERICAL, iterations=self.evaluations,
            solve_seconds=time.perf_counter() - self.clock, message=message,
        )  # fmt: skip

    @property
    def penalty(self) -> float:
        """Share of beta that descent aims at."""
        assert self.best.primal is not None
        return 1.0 if self.best.primal.n_neurons else self.schedule.share_for_nothing(self.best.gap)

    # -- rounds -----------------------------------------------------------------------------------------------------

    def _descend(self) -> "Descent[BoxPoint]":
        self.recent, least = [], math.inf
        self.objective.stir()

        def evaluate(point: Tensor) -> BoxPoint:
            nonlocal least
            smoothing = replace(self.schedule.smoothing, penalty=self.penalty)
            found = self.objective.evaluate(BoxQuery(point, self.signs, smoothing))
            self.evaluations += 1
            if found.value < least:
                least = found.value
                self._remember(found)
            return found

        limit = self.settings.max_iterations
        budget = TUNING.round_evaluations if limit is None else min(TUNING.round_evaluations, limit - self.evaluations)
        flat = 1e-13 * self.program.beta * (1e-3 + float(self.neurons.norm()))
        stopped = self.best.deadline
        found = descend(evaluate, self.neurons, self.memory, budget, lambda: stopped.reason is not None, flat)
        self.neurons = found.point
        return found

    def _remember(self, found: BoxPoint) -> None:
        objective = self.objective
        theta = (found.weights * objective.shares).cpu().numpy()
        rows = np.flatnonzero(theta > 0.0)
        factors, noise = objective.attacks(rows)
        new = _Remembered(rows, theta[rows], factors, noise)
        kept = self.recent[1 - KEPT :]
        while kept and sum(one.factors.size for one in kept) + factors.size > LARGEST:
            kept = kept[1:]
        self.recent = [*kept, new]

    def _judge(self, descent: "Descent[BoxPoint]") -> BoxJudgement:
        """Certify the last multipliers, alone and with those before, and the network where that promises anything."""
        program, evaluation, objective = self.program, descent.evaluation, self.objective
        self.schedule.certificates += 1
        bound = self._bounded(self.recent[-1:])
        if len(self.recent) > 1:
            averaged = self._bounded(self.recent)
            bound = averaged if averaged.value > bound.value else bound
        self._answer()
        loss, labels, network = program.loss_function, program.labels[:, 0], self._network()
        theta = (evaluation.weights * objective.shares).cpu().numpy()
        reached = evaluation.reached.cpu().numpy()
        upper = float(np.mean(loss.value(reached, labels))) + program.beta * network.penalty
        attack = self.schedule.smoothing.attack * float(theta.sum())
        gap = (upper - self.best.lower) / max(abs(upper), 1e-300)
        if program.inputs.size <= LOOKS or gap < PROMISE * self.best.gap:
            lower = self._take(network)
            upper = float(np.mean(loss.value(lower, labels))) + program.beta * network.penalty
            # Where margins are beyond what losses see, nobody looked how far.
            attack = max(0.0, float(theta @ (reached - lower)))
        off = objective.loss.smoothed_off(evaluation.seen, evaluation.weights) * objective.shares
        feasible = float(loss.bound(loss.clip(theta), labels))
        return BoxJudgement(upper, bound, feasible, max(0.0, float(off.sum())), attack)

    def _bounded(self, recent: list[_Remembered]) -> DualBound:
        """What the mean of multipliers proves; it is kept where that is more than was known."""
        theta, factors, noise, rows = (
            np.concatenate([getattr(one, name) for one in recent]) for name in ("theta", "factors", "noise", "rows")
        )
        multipliers = BoxMultipliers(theta / len(recent), factors, rows, noise)
        bound = bound_of_boxes(self.program, multipliers)
        if self.best.offer_dual(multipliers, bound.value):
            self._report()
        return bound

    def _answer(self) -> None:
        """Prove what the answer to the present attacks is worth, unless they are too many to hold."""
        (n, d), columns = self.program.X.shape, self.objective.rows.shape[2]
        if columns * n * d > answers.LARGEST:
            return
        held, smoothing = self.objective.held, self.schedule.smoothing
        theta = self.answers.to(held, self.neurons, self.signs, smoothing, self.best.upper)
        rows = np.flatnonzero(theta > 0.0)
        factors, noise = self.objective.attacks(rows)
        multipliers = BoxMultipliers(theta[rows], factors, rows, noise)
        if self.best.offer_dual(multipliers, bound_of_boxes(self.program, multipliers).value):
            self._report()

    def _report(self) -> None:
        self.best.iterations = self.evaluations
        self.best.report()

    def _network(self) -> PolynomialNetwork:
        return network_of(self.program, self.neurons.cpu().numpy(), self.signs.cpu().numpy())

    def _take(self, network: PolynomialNetwork) -> Array:
        """Keep a network if it is better; bounds of its margins, shape (n,)."""
        began = time.perf_counter()
        found = evaluated(self.program, network)
        # The solver's own last certificate is followed by that of whoever does not trust it.
        self.best.deadline.reserve = 2.0 * (time.perf_counter() - began)
        if self.best.offer_primal(network, found.value):
            self._report()
        return found.bounds.lower

    def _continue(self, descent: "Descent[BoxPoint]", judgement: BoxJudgement, penalty: float) -> None:
        """Decide what the next round needs: descent, neurons, or less smoothing."""
        schedule, best = self.schedule, self.best
        shares = schedule.shares(judgement, penalty, best.gap)
        if descent.stuck and shares.unfinished:
            self.objective.sweeps = min(2 * self.objective.sweeps, MOST_SWEEPS)
        # What the round's own multipliers violate, answers may have made up for; the rest is smoothing. While much is
        # missing, and more than smoothing costs, they have not.
        share = FAR_WHILE_COARSE if best.gap > COARSE else FAR
        far = best.gap > share * (shares.hinge + shares.attack)
        descended = shares.descent if far else min(shares.descent, best.gap)
        attack = max(shares.attack, best.gap - descended - shares.hinge)
        shares = Shares(descended, shares.hinge, attack)
        inside = float(descent.evaluation.gradient.norm() * self.neurons.norm()) / best.upper
        lacking = shares.unfinished and shares.descent > 5.0 * inside and schedule.stage <= TUNING.growing_rounds
        if lacking and self._grow(judgement.bound):
            return
        if not shares.unfinished or schedule.stage >= LONGEST or descent.stuck:
            schedule.sharpen(descent.evaluation.weights, shares, best.gap)
        # What is left out early has to be found again: few neurons find their way slowly.
        if schedule.idle == 0 and not shares.unfinished and best.gap < SETTLED:
            self._merge()

    # -- neurons ----------------------------------------------------------------------------------------------------

    def _fresh(self) -> tuple[Array, Array]:
        program = self.program
        count = self.settings.options.get("neurons", min(program.X.shape[1] + 1, TUNING.first_neurons))
        return random_neurons(program.X, program.activation, count, self.settings.seed)

    def _place(self, neurons: Array, signs: Array) -> None:
        self.neurons, self.signs = self.objective.tensor(neurons), self.objective.tensor(signs)
        self.memory = Memory(self.neurons.numel(), self.objective.device, PAIRS)

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
