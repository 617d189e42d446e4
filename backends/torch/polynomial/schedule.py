"""When a training smooths less, what it aims at, and when it gives up: by what its certificates say is missing."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.losses import torch_loss
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core import JointProgram, PolynomialProgram
from cvxrobust.core.programs.boxes.program import BoxProgram


@dataclass(frozen=True)
class TrainingTuning:
    """Where descent starts, how it goes on, and when it gives up."""

    first_neurons: int = 12
    """Neurons of either sign at the start, at most."""

    round_evaluations: int = 40
    """Evaluations between two certificates."""

    patience: int = 60
    """Rounds without a better gap after which the search gives up."""

    patience_with_start: int = 15
    """The same for a start that somebody gave; then it begins from nothing. One of 80 starts at a neighbouring beta
    (Breast Cancer, radius 0.1) ended at 9e-4 after 60 rounds, where nothing takes five."""

    longest_stage: tuple[int, int, int] = (2, 5, 60)
    """Rounds after which smoothing changes though descent is unfinished: in balls, in ellipsoids that stand for balls
    around wide data, and in uneven ones, where networks come to ignore what attacks touch and margins have a kink (with
    2 one ended at a gap of 0.1; with 15 two of 18 attacked regressions at 0.1 and 2e-3, which reach 1e-5 with 60 where
    neurons do not merge before descent is finished, while of 96 others as many as before do so within 15 s). Wide data,
    200 x 300, normal inputs times 8, radius 10, beta 1: with 15 a gap of 3e-2 after 24 s of CPU, with 5 one of 4e-5
    after 13 s."""

    slack: float = 4.0
    """Smoothing changes once what is missing is at most this many times what smoothing costs."""

    growing_rounds: int = 2
    """Rounds of one stage that may add neurons."""

    cold: tuple[float, float] = (0.3, 0.03)
    warm: tuple[float, float] = (0.1, 0.01)
    """First smoothing of hinge and attacks: from small random neurons, and from neurons that know something."""

    noticed_share: float = 3e-3
    """Fraction of the gap, relative to the whole network, that merging neurons may leave out of it."""

    least_smoothing: float = 1e-10
    """Smallest smoothing of attacks, in units of the margin."""

    doubt_after: int = 5
    aim_ahead: float = 2.0
    most_ahead: float = 0.5
    yield_every: int = 5
    """Certificates after which a network without neurons, the best so far, is taken for the optimum; and how far
    descent then aims below beta: by this many times what the last multipliers violate, for the hinge no more than the
    best ones do (which is the gap), by half of beta at most, and by half as much after every so many certificates
    without progress.

    What keeps the zero network from being certified are multipliers that price a neuron at a little more than beta,
    ever less so: descent has that tail. With a smaller beta the tail ends below the true one, and the gap closes at
    once. If the zero network is not the optimum of the smaller beta, violations fall all the same, and beta rises with
    that.
    """


TUNING = TrainingTuning()


class Priced(Protocol):
    """A bound whose neurons are priced."""

    @property
    def violations(self) -> NDArray[np.float64]:
        """What each kind of neuron may add at most, in units of what beta weighs."""
        ...


class RoundJudgement(Protocol):
    """What was found of a round's network."""

    @property
    def upper(self) -> float:
        """Its exact objective."""
        ...

    @property
    def bound(self) -> Priced:
        """What its multipliers prove."""
        ...

    @property
    def feasible(self) -> float:
        """What they would prove if no neuron violated them."""
        ...

    @property
    def hinge(self) -> float:
        """By how much smoothing the hinge parts the two, at most."""
        ...

    @property
    def attack(self) -> float:
        """By how much smoothing the attacks does."""
        ...


@dataclass(frozen=True)
class Shares:
    """What makes up the relative gap of one iterate, each part 0 or more.

    Args:
        descent: How far its multipliers are from dual feasibility: unfinished descent, or missing neurons.
        hinge: Due to the smoothing of the hinge.
        attack: Due to the smoothing of attacks.
    """

    descent: float
    hinge: float
    attack: float

    @property
    def unfinished(self) -> bool:
        """Whether descent is what is missing most."""
        return self.descent > TUNING.slack * (self.hinge + self.attack)


class Schedule:
    """The smoothing of one training, and how its certificates have fared.

    Args:
        program: The programme.
        tolerance: The relative gap to reach.
        known: Whether it begins with neurons that know something.
        centre: Of the first smoothing, zeros, one entry per sample of this process.
        unit: Size of what the smoothed kink sees: 1 for margins.

    Attributes:
        program, tolerance, unit: As given.
        smoothing: The present one; its centre is the last multipliers.
        certificates: So far; where there was a checkpoint, `TUNING.doubt_after` to begin with.
        stage: Rounds with the present smoothing.
        patience: How many of these there may be.
        idle, least: Rounds without a better gap, and the gap that counts as the last better one.
        violated: What the last multipliers violate, relative to the beta that was aimed at.
    """

    def __init__(
        self,
        program: PolynomialProgram | BoxProgram | JointProgram,
        tolerance: float,
        known: bool,
        centre: Tensor,
        unit: float = 1.0,
    ) -> None:
        self.program, self.tolerance, self.unit = program, tolerance, unit
        self.smoothing = self._first(*(TUNING.warm if known else TUNING.cold), centre)
        self.certificates = self.stage = self.idle = 0
        self.least, self.violated = math.inf, 0.0
        self.patience = TUNING.patience

    def begin_cold(self, centre: Tensor) -> None:
        """Smooth as at first, from neurons that know nothing."""
        self.smoothing = self._first(*TUNING.cold, centre)
        self.certificates = self.stage = self.idle = 0
        self.patience = TUNING.patience

    def begin_warm(self) -> None:
        """Smooth as where neurons know something, around the present centre."""
        self.smoothing = self._first(*TUNING.warm, self.smoothing.centre)

    def _first(self, hinge: float, attack: float, centre: Tensor) -> PolynomialSmoothing:
        return PolynomialSmoothing(self.unit * hinge, attack, centre)

    def go_on(self, smoothing: PolynomialSmoothing, stage: int) -> None:
        """Go on where a checkpoint left off."""
        self.smoothing, self.stage, self.certificates = smoothing, stage, TUNING.doubt_after

    @property
    def _sharp(self) -> bool:
        """Whether the loss has a kink."""
        loss = torch_loss(self.program.loss)
        return loss.kinked or loss.of_sizes or self.program.kind == "attacked targets"

    @property
    def patient(self) -> bool:
        """Whether a better gap may still come."""
        return self.idle < self.patience

    @property
    def doubtful(self) -> bool:
        """Whether a network without neurons is taken for the optimum if it is the best so far."""
        return self.certificates >= TUNING.doubt_after

    def share_for_nothing(self, gap: float) -> float:
        """Share of beta that descent aims at while the network without neurons is the best so far."""
        if not self.doubtful:
            return 1.0
        violated = min(self.violated, gap) if self._sharp else self.violated
        return 1.0 - min(TUNING.aim_ahead * violated, TUNING.most_ahead * 0.5 ** (self.idle // TUNING.yield_every))

    def shares(self, judgement: RoundJudgement, penalty: float, gap: float, nothing: float = math.inf) -> Shares:
        """What is missing after another round.

        Args:
            judgement: Of the round's network.
            penalty: The share of beta that the round aimed at.
            gap: The best relative gap so far, this one's included.
            nothing: The objective of the network without neurons where that is taken for the optimum, else infinite.
                Nobody wants the round's network then, and smoothing costs no more than multipliers would fall short by
                if they were feasible: not at all by hinges while every margin is below 1. With less smoothing the same
                multipliers would belong to a network as much smaller, which descent would have to find again.
        """
        upper = max(abs(judgement.upper), 1e-300)
        missing = max(float(judgement.bound.violations.max()) / (self.program.beta * penalty) - 1.0, 0.0)
        self.violated = missing
        self.stage += 1
        self.idle, self.least = (0, gap) if gap < 0.99 * self.least else (self.idle + 1, self.least)
        lost = max(nothing - judgement.feasible, 0.0)
        return Shares(missing, min(judgement.hinge, lost) / upper, min(judgement.attack, lost) / upper)

    def sharpen(self, weights: Tensor, shares: Shares, gap: float) -> None:
        """Move the hinge's centre to the current multipliers and shrink what contributes most to the gap."""
        hinge, attack = self.smoothing.hinge, self.smoothing.attack
        if hinge > 0.1 * self.unit:
            hinge = max(0.3 * hinge, 0.1 * self.unit)
        elif shares.hinge > 0.3 * gap:
            hinge = max(0.7 * hinge, 1e-3 * self.unit)
        if shares.attack > 0.3 * shares.hinge and shares.attack > 0.05 * self.tolerance:
            attack = max(0.3 * attack, TUNING.least_smoothing)
        self.smoothing, self.stage = PolynomialSmoothing(hinge, attack, weights), 0
