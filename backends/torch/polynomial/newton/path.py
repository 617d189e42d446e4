"""The central path, followed until the gap is certified."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from cvxrobust.backends.torch.polynomial.newton.expansion import Expansion, PathObjective
from cvxrobust.backends.torch.polynomial.newton.losses import LOSSES
from cvxrobust.backends.torch.polynomial.newton.system import NewtonSystem, Point, Step
from cvxrobust.backends.torch.polynomial.newton.terms import neurons_of_factor
from cvxrobust.backends.torch.polynomial.newton.units import column_sizes, is_raw, whitening
from cvxrobust.backends.torch.polynomial.samples import StopPass
from cvxrobust.backends.torch.polynomial.schedule import TUNING as TRAINING
from cvxrobust.backends.torch.polynomial.training import Training
from cvxrobust.backends.torch.stopping import Stops
from cvxrobust.core import PolynomialNetwork, PolynomialProgram
from cvxrobust.core.programs.polynomial.certificate import dual_bound, sum_slack
from cvxrobust.core.programs.polynomial.moments import span_moments
from cvxrobust.core.programs.rows import row_blocks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PolynomialPathTuning:
    """How fast the barrier falls, how long a step may be, and when rounding has the last word."""

    centred: float = 0.3
    """Decrement below which a point is close enough to the path."""

    fitted: float = 1.0
    waits: int = 6
    """The same with attacks where they are, for multipliers to stay in the domain of the loss; and how many further
    steps are worth that, at most."""

    shrink: float = 0.1
    gently: float = 0.4
    near: float = 1e-4
    aim: float = 0.6
    """What the barrier's weight is multiplied by; the same from a gap of `near` on, where rounding leaves Newton's
    method little room to recover; and the share of the tolerance that the last weight aims at."""

    boundary: float = 0.95
    """Share of the way to the boundary that a step goes, at most."""

    decrease: float = 0.1
    shorter: float = 0.4
    trials: int = 16

    noise: float = 1e-13
    """Relative error of the objective."""

    stalls: int = 4
    """Steps in a row that lead nowhere, after which rounding has the last word."""

    longest: int = 40
    """Steps for one weight of the barrier."""

    idle: int = 6
    """Weights of the barrier in a row that leave the gap as it is, after which rounding has the last word, too."""

    passes: float = 2.0
    """Times a pass that are kept back for the last certificate, and for that of whoever does not trust it."""

    rounds_left: int = 5
    """Rounds of descent without progress that follow a path that ended early."""


TUNING = PolynomialPathTuning()


def follow_path(program: PolynomialProgram, trainings: Sequence[Training], stops: Stops) -> None:
    """Bring trainings as far as Newton steps do, where inputs are in raw units and not shared by several processes.

    Worst errors of targets, which have two sides, descend.
    """
    if not stops.team.alone or program.loss not in LOSSES or program.kind == "attacked targets":
        return
    size, spread = column_sizes(program)
    if not is_raw(program, size, spread):
        return
    white = whitening(program, size)
    for training in trainings:
        path = _Path(program, training, white, stops)
        with suppress(StopPass, LinAlgError):
            path.run()
        path.leave()


class _Path:
    """One column's path."""

    def __init__(self, program: PolynomialProgram, training: Training, white: Array, stops: Stops) -> None:
        self.program, self.training, self.white, self.stops = program, training, white, stops
        self.loss = program.loss_function
        self.objective = PathObjective(program, training.task, white, self._asked_to_stop)
        d, at_zero = white.shape[0], self.loss.value(np.zeros(program.labels.shape[0]), self.objective.target)
        self.scale = max(float(np.mean(at_zero)), 1e-300)
        self.nu: float = self.scale / (4.0 * (d + 1))
        # The analytic centre: as much of every direction as its penalty allows, so that no units matter.
        each = np.sqrt(self.nu * (d + 1) / (program.beta * d))
        start = np.zeros((d + 1, d + 1))
        start[:d, :d], start[d, d] = each * np.linalg.inv(white), each * np.sqrt(d)
        self.trace = -np.eye(d + 1)
        self.trace[:d, :d] = white.T @ white
        self.point = Point(start, start.copy(), np.zeros_like(start))
        self.stopping, self.judged = True, True

    def run(self) -> None:
        """Follow the path until the gap is certified, or nothing helps any more.

        Raises:
            StopPass: Somebody asked to stop.
            LinAlgError: A linear system has no solution in double precision.
        """
        stalls, steps, waits, idle, least, expansion = 0, 0, 0, 0, np.inf, self._expand(self.point)
        while self.training.ended() is None and stalls < TUNING.stalls and idle < TUNING.idle:
            system = NewtonSystem(self.point, expansion, self.trace, self.program.beta, self.nu, self.objective.packing)
            step, decrement = system.newton()
            centred = decrement < TUNING.centred
            if centred or stalls:
                # What the step predicts is feasible; close to the optimum for this nu where the point is centred. Where
                # attacks stay put the same may be far away, and multipliers would leave the domain of the loss.
                fitted, apart = system.fitted(step, decrement)
                waits += 1
                centred = apart < TUNING.fitted or waits > TUNING.waits
                if centred or stalls:
                    self._judge(fitted, expansion)
                if self.training.ended() is not None:
                    return
            step = system.joined(step)
            length, value = min(1.0, TUNING.boundary * system.reach(step)), self._value(self.point, expansion)
            for _ in range(TUNING.trials):
                if self.training.ended() is not None:
                    return
                point = system.moved(step, length)
                following = self._expand(point)
                lowered = value - TUNING.decrease * length * decrement * self.nu + TUNING.noise * abs(value)
                if self._value(point, following) <= lowered:
                    self.point, expansion, stalls, self.judged = point, following, 0, False
                    break
                length *= TUNING.shorter
            else:
                stalls += 1
            steps += 1
            if centred or stalls > 1 or steps >= TUNING.longest:
                steps, waits, best, gap = 0, 0, self.training.best, self.training.best.gap
                open_ = best.upper - best.lower
                idle, least = (0, open_) if open_ < 0.9 * least else (idle + 1, least)
                factor = TUNING.shrink if gap > TUNING.near else TUNING.gently
                shrunk = max(factor, TUNING.aim * self.training.settings.tolerance / gap)
                self.nu *= min(shrunk, 0.5)
                expansion = self._expand(self.point)

    def leave(self) -> None:
        """Let the training go on from the best network, for a few rounds where steps led no further."""
        self.stopping = False
        if not self.judged:
            with suppress(LinAlgError):
                self._judge()
        self.training.warm = True
        network = self.training.known[0]
        if self.training.ended() is None and network.n_neurons > 0:
            self.training.go_on_from(network, TRAINING.patience - TUNING.rounds_left)

    def _asked_to_stop(self) -> bool:
        return self.stopping and self.stops.reason is not None

    def _expand(self, point: Point) -> Expansion:
        began = time.perf_counter()
        self.training.evaluations += 1
        found = self.objective.expand(point.difference, self.nu)
        self.stops.reserve = max(self.stops.reserve, TUNING.passes * (time.perf_counter() - began))
        return found

    def _value(self, point: Point, expansion: Expansion) -> float:
        return float(expansion.value + self.program.beta * point.penalty() + self.nu * point.barrier())

    def _judge(self, step: Step | None = None, expansion: Expansion | None = None) -> None:
        """Certify the network of the point, and its multipliers after a step, if any, in an expansion about it."""
        program, loss, target, began = self.program, self.loss, self.objective.target, time.perf_counter()
        change, forces = np.zeros(self.objective.packing.size), np.zeros(0)
        if step is not None:
            change, forces = step.difference, step.forces
        shift = None if expansion is None else expansion.shift
        multipliers = self.objective.multipliers(self.point.difference, self.nu, change, forces, shift)
        sums = span_moments(multipliers, program.X, self.objective.sides, program.attack, loss, precise=True)
        bound = dual_bound(
            sums.theta, sums.second_moments, sums.mass, loss=loss, target=target, activation=program.activation,
            beta=program.beta, slack=sum_slack(sums.error, program.activation),
        )  # fmt: skip
        network = self._network()
        quadratic = network.quadratic(network.alpha)
        exact = [
            quadratic.worst_margins(X, target[rows], program.attack.of(rows)) if loss.margin else quadratic.expand(X)[0]
            for rows, X in row_blocks(program.X)
        ]
        upper = float(np.mean(loss.value(np.concatenate(exact), target))) + program.beta * network.penalty
        self.training.take(network, upper, multipliers, bound.value)
        self.judged = True
        self.stops.reserve = TUNING.passes * (time.perf_counter() - began)

    def _network(self) -> PolynomialNetwork:
        (u, alpha), (v, against) = (neurons_of_factor(L, self.white) for L in (self.point.plus, self.point.minus))
        return PolynomialNetwork(
            np.vstack([u, v]), np.concatenate([alpha, -against]), self.program.activation,
            regression=not self.loss.margin,
        )  # fmt: skip
