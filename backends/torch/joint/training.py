"""The training of one network of several outputs: rounds of descent, each followed by a certificate.

Rounds, smoothing and what they aim at are those of one output (`cvxrobust.backends.torch.polynomial.training`); neurons
belong to classes, which share one smoothing and one gap.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.checkpoint import Checkpoint
from cvxrobust.backends.torch.joint.certify import (
    JointJudgement,
    Multipliers,
    judged_jointly,
    network_of_classes,
    neurons_of_classes,
)
from cvxrobust.backends.torch.joint.checkpoint import RestoredJoint, joint_state, restored_jointly
from cvxrobust.backends.torch.joint.objective import JointEvaluation, JointObjective, JointQuery
from cvxrobust.backends.torch.lbfgs import Descent, Memory, descend
from cvxrobust.backends.torch.polynomial.neurons import compressed, merged, random_neurons, with_priced_neurons
from cvxrobust.backends.torch.polynomial.samples import SOME, StopPass
from cvxrobust.backends.torch.polynomial.schedule import TUNING, Schedule
from cvxrobust.core import JointPoints, Monitor, PolynomialNetwork, Settings, Solution, Termination
from cvxrobust.core.kit import BestSoFar, Deadline
from cvxrobust.core.programs.joint.certificate import JointBound, bound_of_joint
from cvxrobust.core.programs.joint.margins import objective_of
from cvxrobust.core.programs.polynomial.certificate import DualBound

Array = NDArray[np.float64]
Index = NDArray[np.intp]
PAIRS = 60
"""Pairs in the memory of a search: so many vectors of all classes' neurons are kept twice."""


class JointSchedule(Schedule):
    """When a joint training smooths less: every loss of the smallest margin has a kink."""

    @property
    def _sharp(self) -> bool:
        return True


class JointTraining:
    """One solve: the neurons, the smoothing, and the best bounds.

    Args:
        objective: Evaluates networks.
        settings: Tolerance, ``max_iterations`` (evaluations), seed, and the number of neurons among the options.
        monitor: Hears of better bounds.
        deadline: Says when to stop.
        start: A network to start from.
        checkpoint: Where to go on from, and to save to.

    Attributes:
        clock: When it began, on `time.perf_counter`.
        objective, program, samples, settings, deadline, checkpoint: As given, or of the objective.
        best: The best network and multipliers so far.
        neurons: Scaled by the roots of their output weights, shape (M, d), float64; `_place` sets these four.
        signs, owners: Of the output weights, and the classes that these are of, shape (M,).
        memory: Of the descent, in all entries of the neurons.
        schedule: The present smoothing, and what descent aims at.
        warm, replaceable: Whether neurons know something, and whether that is of a start that may be worse than none.
        evaluations, budget: Of the objective so far, and until the next certificate.
        latest: The best evaluation since the last certificate, with its query; None if there is none.
    """

    def __init__(
        self,
        objective: JointObjective,
        settings: Settings,
        monitor: Monitor,
        deadline: Deadline,
        start: PolynomialNetwork | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.clock = time.perf_counter()
        self.objective, self.program, self.samples = objective, objective.program, objective.samples
        self.settings, self.deadline, self.checkpoint = settings, deadline, checkpoint
        self.neurons: Tensor
        self.signs: Tensor
        self.owners: Tensor
        self.memory: Memory
        self.evaluations, self.budget = 0, 1
        self.latest: tuple[JointQuery, JointEvaluation] | None = None
        self.best: BestSoFar[PolynomialNetwork, Multipliers] = BestSoFar(settings, monitor, deadline=deadline)
        empty, none = self._empty(), np.empty(0, dtype=np.intp)
        nothing = JointPoints(np.empty(0), none, none, np.empty((0, self.program.X.shape[1])))
        self.best.primal, self.best.dual = empty, nothing
        state = None if checkpoint is None else checkpoint.load()
        self.warm = state is not None or (start is not None and start.n_neurons > 0)
        self.replaceable = self.warm and state is None
        self.schedule = JointSchedule(self.program, settings.tolerance, self.warm, self._zeros())
        if self.replaceable:
            self.schedule.patience = TUNING.patience_with_start
        if state is not None and checkpoint is not None:
            self._restore(restored_jointly(state, self.samples, PAIRS, checkpoint.path))
        else:
            self._place(*(neurons_of_classes(start) if start is not None and self.warm else self._fresh()))
        # The network without neurons, and no multipliers: every loss is 0 or more.
        self.take(empty, objective_of(self.program, empty), nothing, 0.0)

    def run(self) -> Solution:
        """Rounds of descent, each followed by a certificate."""
        ended: Termination | None = None
        try:
            while (ended := self.ended()) is None and (self.schedule.patient or self._begin_again()):
                descent, penalty = self._descend(), self.penalty
                judgement = self._judge(self.query(descent.point), descent.evaluation)
                self._continue(descent, judgement, penalty)
                self.save()
        except StopPass:
            self._conclude()
            ended = self.ended()
        return self.solution(ended)

    def solution(self, ended: Termination | None, said: str = "") -> Solution:
        """The best network and multipliers, saved to the checkpoint."""
        self.save(force=True)
        given_up = "" if ended or said else f"no better gap in {TUNING.patience} rounds"
        lost = "" if self.checkpoint is None else self.checkpoint.failure
        return self.best.solution(
            ended or Termination.NUMERICAL,
            iterations=self.evaluations,
            solve_seconds=time.perf_counter() - self.clock,
            message="; ".join(filter(None, (said, given_up, lost))),
        )

    def _descend(self) -> "Descent[JointEvaluation]":
        self.latest = None

        def evaluate(point: Tensor) -> JointEvaluation:
            query = self.query(point)
            found = self.objective.evaluate(query)
            self.evaluations += 1
            if self.latest is None or found.value < self.latest[1].value:
                self.latest = query, found
            return found

        flat = 1e-13 * self.program.beta * (1e-3 + float(self.neurons.norm()))
        noise = 4.0 * torch.finfo(self.samples.dtype).eps
        budget, stopped = self._allowance(self.budget), self._stopped()
        found = descend(evaluate, self.neurons, self.memory, budget, stopped, flat, noise)
        self.neurons, self.budget = found.point, TUNING.round_evaluations
        return found

    def _stopped(self) -> Callable[[], bool]:
        return lambda: self.deadline.reason is not None

    def _begin_again(self) -> bool:
        """Begin from nothing, once, where a start has led nowhere; what was found by then still counts."""
        if not self.replaceable:
            return False
        self.warm = self.replaceable = False
        self._place(*self._fresh())
        self.schedule.begin_cold(self._zeros())
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

    def query(self, neurons: Tensor) -> JointQuery:
        """Neurons with the present signs, classes and smoothing."""
        return JointQuery(neurons, self.signs, self.owners, replace(self.schedule.smoothing, penalty=self.penalty))

    @property
    def penalty(self) -> float:
        """Share of beta that descent aims at."""
        return 1.0 if self.known[0].n_neurons > 0 else self.schedule.share_for_nothing(self.best.gap)

    def _judge(self, query: JointQuery, evaluation: JointEvaluation) -> JointJudgement:
        """Judge a network, and take over what it is better at."""
        began = time.perf_counter()
        judgement = judged_jointly(self.objective, query, evaluation)
        # The solver's own last certificate is followed by that of whoever does not trust it.
        self.deadline.reserve = 2.0 * (time.perf_counter() - began)
        self.schedule.certificates += 1
        self.take(judgement.network, judgement.upper, judgement.multipliers, judgement.bound.value)
        return judgement

    def _conclude(self) -> None:
        """Judge what was got to, after an evaluation was broken off."""
        if self.latest is not None:
            self._judge(*self.latest)
            self.neurons = self.latest[0].neurons

    def _continue(self, descent: "Descent[JointEvaluation]", judgement: JointJudgement, penalty: float) -> None:
        """Decide what the next round needs, after one with this share of beta: descent, neurons, or less smoothing."""
        schedule, bound = self.schedule, judgement.bound
        shares = schedule.shares(judgement, penalty, self.best.gap)
        # What the neurons that are there could still gain; the rest takes other neurons.
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

    # -- neurons ------------------------------------------------------------------------------------------------

    def _fresh(self) -> tuple[Array, Array, Index]:
        program, seed = self.program, self.settings.seed
        count = self.settings.options.get("neurons", min(program.X.shape[1] + 1, TUNING.first_neurons))
        some = np.asarray(program.X[:: max(1, program.X.shape[0] // SOME)])
        found = [random_neurons(some, program.activation, count, seed + k) for k in range(program.n_classes)]
        return _together(found)

    def _place(self, neurons: Array, signs: Array, owners: Index) -> None:
        device = self.samples.device
        self.neurons, self.signs = self.samples.tensor(neurons), self.samples.tensor(signs)
        self.owners = torch.as_tensor(np.ascontiguousarray(owners), device=device)
        self.memory = Memory(self.neurons.numel(), device, PAIRS)

    def _classes(self) -> list[tuple[Array, Array]]:
        """The neurons and signs of each class."""
        neurons, signs, owners = (part.cpu().numpy() for part in (self.neurons, self.signs, self.owners))
        return [(neurons[owners == k], signs[owners == k]) for k in range(self.program.n_classes)]

    def _grow(self, bound: JointBound) -> bool:
        """Add the priced neurons of each class and sign where they would help and no neuron is near them."""
        beta, d = self.program.beta, self.program.X.shape[1]
        threshold = beta * (1.0 + max(0.1 * self.settings.tolerance, 0.1 * self.best.gap))
        before, added = self._classes(), []
        for (neurons, signs), units, violations in zip(before, bound.neurons, bound.violations, strict=True):
            own = DualBound(bound.value, units, violations)
            found = with_priced_neurons(neurons, signs, own, beta, threshold, self.program.attack)
            added.append((found[0][signs.size :], found[1][signs.size :]))
        if not any(signs.size for _, signs in added):
            return False
        joined = [tuple(map(np.concatenate, zip(*pair, strict=True))) for pair in zip(before, added, strict=True)]
        if any(np.count_nonzero(signs == sign) > d + 1 for _, signs in joined for sign in (1.0, -1.0)):
            self._place(*_together([compressed(neurons, signs) for neurons, signs in joined]))
            return True
        (neurons, signs, owners), memory = _together(added), self.memory
        v, kinds, classes = (part.cpu().numpy() for part in (self.neurons, self.signs, self.owners))
        self._place(
            np.concatenate([v, neurons]), np.concatenate([kinds, signs]), np.concatenate([classes, owners])
        )  # fmt: skip
        self.memory = memory.extended(self.neurons.numel())
        return True

    def _merge(self) -> None:
        """Describe the network by fewer neurons, as far as the gap does not notice."""
        share = TUNING.noticed_share * min(self.best.gap, 1.0)
        found = [merged(*own, share) if own[1].size else own for own in self._classes()]
        if sum(signs.size for _, signs in found) < self.signs.shape[0]:
            self._place(*_together(found))

    def _empty(self) -> PolynomialNetwork:
        d = self.program.X.shape[1]
        return network_of_classes(self.program, np.empty((0, d)), np.empty(0), np.empty(0, dtype=np.intp))

    def _zeros(self) -> Tensor:
        shape = (self.program.X.shape[0], self.program.n_classes)
        return torch.zeros(shape, dtype=torch.float64, device=self.samples.device)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def save(self, force: bool = False) -> None:
        """Write a checkpoint if there is one to write and the last one is old enough."""
        if self.checkpoint is None or self.evaluations == 0 or not (force or self.checkpoint.due()):
            return
        query = self.query(self.neurons)
        state = joint_state(query, self.memory, self.samples, self.known, self.schedule.stage)
        self.checkpoint.save(state, force=True)

    def _restore(self, saved: RestoredJoint) -> None:
        self._place(saved.neurons, saved.signs, saved.owners)
        self.memory, self.budget = saved.memory, TUNING.round_evaluations
        self.schedule.go_on(saved.smoothing, saved.stage)
        multipliers, lower = saved.multipliers, -np.inf
        if multipliers is not None:
            lower = bound_of_joint(self.program, multipliers).value
        self.take(saved.network, objective_of(self.program, saved.network), multipliers or self.known[1], lower)


def _together(classes: list[tuple[Array, Array]]) -> tuple[Array, Array, Index]:
    """Neurons and signs of each class as those of all, with the classes that they are of."""
    neurons, signs = (np.concatenate(parts) for parts in zip(*classes, strict=True))
    return neurons, signs, np.repeat(np.arange(len(classes)), [signs.size for _, signs in classes])
