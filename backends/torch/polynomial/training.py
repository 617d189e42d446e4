"""The training of one polynomial network: rounds of descent, each followed by a certificate.

A `Training` is a generator of requests, networks to evaluate and to judge, so that the classes of a one-versus-all
problem go through the data together.
"""

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.torch.checkpoint import Checkpoint, State
from cvxrobust.backends.torch.lbfgs import Descent, Memory, descending
from cvxrobust.backends.torch.losses import torch_loss
from cvxrobust.backends.torch.polynomial import answers
from cvxrobust.backends.torch.polynomial.answers import Answers, held_attacks
from cvxrobust.backends.torch.polynomial.certify import Judgement, SmoothedMultipliers
from cvxrobust.backends.torch.polynomial.checkpoint import PAIRS, best_state, restored, search_state
from cvxrobust.backends.torch.polynomial.neurons import compressed, merged, random_neurons, with_priced_neurons
from cvxrobust.backends.torch.polynomial.objective import Array, ObjectiveEvaluation, Query
from cvxrobust.backends.torch.polynomial.samples import LocalSamples
from cvxrobust.backends.torch.polynomial.schedule import TUNING, Schedule
from cvxrobust.backends.torch.stopping import Stops
from cvxrobust.core import (
    InputError,
    Monitor,
    PolynomialNetwork,
    PolynomialProgram,
    Settings,
    Solution,
    Termination,
)
from cvxrobust.core.kit import BestSoFar, network_of, scaled_neurons
from cvxrobust.core.programs.polynomial.certificate import DualBound, dual_bound, sum_slack
from cvxrobust.core.programs.polynomial.moments import (
    AttackMultipliers,
    SidedMultipliers,
    SpanMultipliers,
    span_moments,
)

SLOW, LITTLE = 3, 0.8
"""Certificates after which attacks are answered if they leave more than this of the gap."""
COARSE = 0.02
"""The gap below which descent is the quicker way: two problems of hundreds of inputs took twice as long to 1e-6."""

Request = Query | tuple[Query, ObjectiveEvaluation]
"""A network to evaluate, or one to judge by its evaluation."""
Multipliers = AttackMultipliers | SidedMultipliers


class Training:
    """One solve: the neurons, the smoothing, and the best bounds.

    Args:
        task: Column of the labels.
        program: The programme.
        settings: Tolerance, ``max_iterations`` (evaluations, not counting those before a checkpoint), seed, and the
            number of neurons among the options.
        samples: This process's part of the data.
        monitor: Hears of better bounds.
        stops: Says when to stop.
        start: A network to start from.
        checkpoint: Where to go on from, and to save to.

    Attributes:
        clock: When it began, on `time.perf_counter`.
        task, program, settings, samples, stops, checkpoint: As given.
        loss: The programme's.
        best: The best network and multipliers so far.
        neurons: Scaled by the roots of their output weights, shape (m, d), float64; `_place` sets these three.
        signs: Of the output weights, shape (m,).
        memory: Of the descent, in all entries of the neurons.
        schedule: The present smoothing, and what descent aims at.
        warm: Whether it began with neurons that know something.
        replaceable: Whether these are of a start that somebody gave, and that may have been worse than none.
        evaluations: Of the objective so far.
        budget: Evaluations until the next certificate.
        latest: The best evaluation since the last certificate, with its query; None if there is none.
        walked: Whether stochastic steps have moved the neurons since.
        gaps: At the certificates since attacks were last answered.
        pause: How many there have to be before the next answer: twice as many after one that was of little help.
        answers: To the attacks of the last certificate.
    """

    def __init__(
        self,
        task: int,
        program: PolynomialProgram,
        settings: Settings,
        samples: LocalSamples,
        monitor: Monitor,
        stops: Stops,
        start: PolynomialNetwork | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.clock = time.perf_counter()
        self.task, self.program, self.settings, self.samples = task, program, settings, samples
        self.stops, self.checkpoint = stops, checkpoint
        self.loss = program.loss_function
        self.neurons: Tensor
        self.signs: Tensor
        self.memory: Memory
        self.evaluations, self.budget = 0, 1
        self.latest: tuple[Query, ObjectiveEvaluation] | None = None
        self.walked = False  # by stochastic steps, which nobody has judged
        self.gaps: list[float] = []
        self.pause = SLOW
        self.answers = Answers(program, task, lambda: stops.reason is not None, samples.device)
        centre = samples.zeros()
        n, column = program.X.shape[0], program.labels[:, task]
        nothing = SpanMultipliers(np.zeros(n), np.empty((program.attack.dimension, 0)), np.empty((n, 0)))
        self.best: BestSoFar[PolynomialNetwork, Multipliers] = BestSoFar(settings, monitor, deadline=stops)
        self.best.primal, self.best.dual = self._empty(), nothing
        saved = self._load()
        self.warm = saved is not None or (start is not None and start.n_neurons > 0)
        self.replaceable = self.warm and saved is None
        unit = float(np.abs(column).mean()) if torch_loss(program.loss).of_sizes else 1.0
        self.schedule = Schedule(program, settings.tolerance, self.warm, centre, unit or 1.0)
        if self.replaceable:
            self.schedule.patience = TUNING.patience_with_start
        if saved is not None:
            self._restore(saved)
        else:
            self._place(*(scaled_neurons(start) if start is not None and self.warm else self._fresh()))
        # The network without neurons, and no multipliers: every loss is 0 or more.
        self.take(self._empty(), float(np.mean(self.loss.value(np.zeros(n), column))), nothing, 0.0)

    def run(self) -> Generator[Request, Any, Solution]:
        """Rounds of descent, each followed by a certificate."""
        while (ended := self.ended()) is None and (self.schedule.patient or self._begin_again()):
            descent = yield from self._descend()
            penalty = self.penalty
            judgement = yield self.query(descent.point), descent.evaluation
            self.judged(judgement)
            self._answer(judgement)
            self._continue(descent, judgement, penalty)
            self.save()
        return self.solution(ended)

    def _descend(self) -> Generator[Request, Any, "Descent[ObjectiveEvaluation]"]:
        self.neurons = self.samples.team.same(self.neurons)
        self.latest, self.walked = None, False
        search = descending(
            self.neurons,
            self.memory,
            self._allowance(self.budget),
            lambda: self.stops.reason is not None,
            1e-13 * self.program.beta * (1e-3 + float(self.neurons.norm())),
            4.0 * torch.finfo(self.samples.dtype).eps,
        )
        point = next(search)
        while True:
            query = self.query(point)
            evaluation = yield query
            self.evaluations += 1
            if self.latest is None or evaluation.value < self.latest[1].value:
                self.latest = query, evaluation
            try:
                point = search.send(evaluation)
            except StopIteration as ended:
                found: Descent[ObjectiveEvaluation] = ended.value
                self.neurons, self.budget = found.point, TUNING.round_evaluations
                return found

    def _begin_again(self) -> bool:
        """Begin from nothing, once, where a start has led nowhere; what was found by then still counts."""
        if not self.replaceable:
            return False
        self.warm = self.replaceable = False
        self._place(*self._fresh())
        self.schedule.begin_cold(self.samples.zeros())
        return True

    def take(self, network: PolynomialNetwork, upper: float, multipliers: Multipliers, lower: float) -> None:
        """Keep what is better, and report it."""
        better = self.best.offer_primal(network, upper), self.best.offer_dual(multipliers, lower)
        if any(better):
            self.best.iterations = self.evaluations
            self.best.report()

    @property
    def known(self) -> tuple[PolynomialNetwork, Multipliers]:
        """The best network and multipliers; there have been some from the start."""
        assert self.best.primal is not None
        assert self.best.dual is not None
        return self.best.primal, self.best.dual

    def go_on_from(self, network: PolynomialNetwork, idle: int) -> None:
        """Descend from a network next, with so many rounds of patience used up."""
        self._place(*scaled_neurons(network))
        self.schedule.begin_warm()
        self.warm, self.schedule.idle, self.schedule.least = True, idle, self.best.gap

    def query(self, neurons: Tensor) -> Query:
        """Neurons with the present signs and smoothing."""
        return Query(self.task, neurons, self.signs, replace(self.schedule.smoothing, penalty=self.penalty))

    @property
    def penalty(self) -> float:
        """Share of beta that descent aims at."""
        return self.schedule.share_for_nothing(self.best.gap) if self._empty_is_best else 1.0

    @property
    def _empty_is_best(self) -> bool:
        return self.known[0].n_neurons == 0

    def judged(self, judgement: Judgement) -> None:
        """Take over what a judgement is better at."""
        self.schedule.certificates += 1
        self.take(judgement.network, judgement.upper, judgement.multipliers, judgement.bound.value)

    def _answer(self, judgement: Judgement) -> None:
        """Prove what the answer to the present attacks is worth, where certificates no longer get better."""
        self.gaps.append(self.best.gap)
        slow = len(self.gaps) > self.pause and self.best.gap > max(COARSE, LITTLE * self.gaps[-1 - self.pause])
        if not (slow and self._answerable) or self._empty_is_best or self.ended() is not None:
            return
        self.gaps.clear()
        X, program, made = self.program.X, self.program, judgement.multipliers
        assert isinstance(made, SmoothedMultipliers)
        assert isinstance(X, np.ndarray)
        kept = SpanMultipliers(made.theta, made.basis, *made.attacks(slice(0, X.shape[0]), X))
        held, smoothing = held_attacks(program, kept, self.samples.device), self.schedule.smoothing
        theta = self.answers.to(held, self.neurons, self.signs, smoothing, self.best.upper)
        found = replace(kept, theta=theta)
        sums = span_moments(found, X, self.samples.sides[:, self.task].numpy(), program.attack, self.loss)
        bound = dual_bound(
            sums.theta, sums.second_moments, sums.mass, loss=self.loss, target=program.labels[:, self.task],
            activation=program.activation, beta=program.beta, slack=sum_slack(sums.error, program.activation),
        )  # fmt: skip
        before = self.best.gap
        self.take(self.known[0], self.best.upper, found, bound.value)
        self.pause = SLOW if self.best.gap <= LITTLE * before else 2 * self.pause

    @property
    def _answerable(self) -> bool:
        """Whether attacks have kinks that could be held, and all of them are here, and not too many."""
        samples, X = self.samples, self.program.X
        here = samples.at_home and samples.attacked and samples.faces == 1 and self.loss.margin
        return here and X.shape[0] * X.shape[1] <= answers.LARGEST

    def _continue(self, descent: "Descent[ObjectiveEvaluation]", judgement: Judgement, penalty: float) -> None:
        """Decide what the next round needs, after one with this share of beta: descent, a neuron, or less smoothing."""
        schedule, bound = self.schedule, judgement.bound
        nothing = self.best.upper if self._empty_is_best and schedule.doubtful else math.inf
        shares = schedule.shares(judgement, penalty, self.best.gap, nothing)
        # What the neurons that are there could still gain; the rest takes another neuron.
        inside = float(descent.evaluation.gradient.norm() * self.neurons.norm()) / self.best.upper
        lacking = shares.unfinished and shares.descent > 5.0 * inside and schedule.stage <= TUNING.growing_rounds
        if lacking and self._grow(bound):
            return
        attack = self.samples.attack
        longest = TUNING.longest_stage[attack.own_axes + attack.uneven]
        if not shares.unfinished or schedule.stage >= longest or descent.stuck:
            schedule.sharpen(descent.evaluation.weights, shares, self.best.gap)
        # What has just failed to help may need its neurons, and so may a descent that is long.
        if schedule.idle == 0 and not (attack.uneven and shares.unfinished):
            self._merge()

    def ended(self) -> Termination | None:
        """Why to stop, if so."""
        return self.best.ended(self.evaluations)

    def _allowance(self, wanted: int) -> int:
        limit = self.settings.max_iterations
        return wanted if limit is None else min(wanted, limit - self.evaluations)

    def solution(self, ended: Termination | None, saved: bool = True) -> Solution:
        """The best network and multipliers, saved to the checkpoint unless that may not be reached by everybody."""
        if saved:
            self.save(force=True)
        given_up = "" if ended else f"no better gap in {TUNING.patience} rounds"
        lost = "" if self.checkpoint is None else self.checkpoint.failure
        return self.best.solution(
            ended or Termination.NUMERICAL,
            iterations=self.evaluations,
            solve_seconds=time.perf_counter() - self.clock,
            message="; ".join(filter(None, (given_up, lost))),
        )

    # -- neurons ------------------------------------------------------------------------------------------------

    def _fresh(self) -> tuple[Array, Array]:
        program = self.program
        count = self.settings.options.get("neurons", min(program.X.shape[1] + 1, TUNING.first_neurons))
        return random_neurons(self.samples.some(), program.activation, count, self.settings.seed)

    def _place(self, neurons: Array, signs: Array) -> None:
        device = self.samples.device
        self.neurons = torch.tensor(neurons, dtype=torch.float64, device=device)
        self.signs = torch.tensor(signs, dtype=torch.float64, device=device)
        self.memory = Memory(self.neurons.numel(), device, PAIRS)

    def _grow(self, bound: DualBound) -> bool:
        """Add the priced neuron of each sign where it would help and no neuron is near it."""
        threshold = self.program.beta * (1.0 + max(0.1 * self.settings.tolerance, 0.1 * self.best.gap))
        before = self.neurons.cpu().numpy(), self.signs.cpu().numpy()
        neurons, signs = with_priced_neurons(*before, bound, self.program.beta, threshold, self.program.attack)
        added = signs.size > before[1].size
        if added:
            memory = self.memory
            self._place(*compressed(neurons, signs))
            if self.neurons.shape[0] == neurons.shape[0]:
                self.memory = memory.extended(self.neurons.numel())
        return added

    def _merge(self) -> None:
        """Describe the network by fewer neurons, as far as the gap does not notice."""
        before = self.neurons.cpu().numpy(), self.signs.cpu().numpy()
        found = self.samples.team.told(merged(*before, TUNING.noticed_share * min(self.best.gap, 1.0)))
        if found[1].size < before[1].size:
            self._place(*found)

    def _empty(self) -> PolynomialNetwork:
        return network_of(self.program, np.empty((0, self.program.X.shape[1])), np.empty(0))

    # -- checkpoints --------------------------------------------------------------------------------------------

    def save(self, force: bool = False) -> None:
        """Write a checkpoint if there is one to write and the last one is old enough."""
        if self.checkpoint is None or self.evaluations == 0:
            return
        if not self.samples.team.any(force or self.checkpoint.due()):
            return
        state = self._state()
        if self.samples.team.rank == 0:
            self.checkpoint.save(state, force=True)

    def _state(self) -> Mapping[str, Any]:
        samples, smoothing = self.samples, self.schedule.smoothing
        return {
            **search_state(self.neurons, self.signs, self.memory, smoothing),
            **best_state(*self.known),
            "centre": samples.whole(smoothing.centre),
            "stage": self.schedule.stage,
        }

    def _load(self) -> State | None:
        """What the first process finds: others may not see its files."""
        if self.checkpoint is None:
            return None
        team = self.samples.team
        found: State | InputError | None = None
        if team.rank == 0:
            try:
                found = self.checkpoint.load()
            except InputError as error:
                found = error
        found = team.told(found)
        if isinstance(found, InputError):
            raise found
        return found

    def _restore(self, state: State) -> None:
        place = None if self.checkpoint is None else self.checkpoint.path
        saved = restored(state, self.program, self.task, self.samples, place)
        self._place(saved.neurons, saved.signs)
        self.memory, self.budget = saved.memory, TUNING.round_evaluations
        self.schedule.go_on(saved.smoothing, saved.stage)
        upper, lower = self.samples.team.told((saved.upper(), saved.lower()))
        self.take(saved.network, upper, saved.multipliers or self.known[1], lower)
