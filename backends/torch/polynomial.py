"""First-order training of polynomial networks to certified global optimality, in PyTorch.

Neurons of fixed sign descend on a smoothed objective (`polynomial_objective`) by L-BFGS whose memory outlives the
smoothing's changes. Every few dozen evaluations the exact objective and a dual bound say how far the optimum can be and
what keeps it there: the hinge's smoothing (then its centre moves to the current multipliers), the attacks' smoothing
(then it shrinks), or unfinished descent (then it goes on). A neuron that pricing finds and nobody is near joins the
network, so that the limit is the global optimum, whatever the width at the start.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from cvxrobust.backends.torch.polynomial_attacks import exact_margins
from cvxrobust.backends.torch.polynomial_lbfgs import Memory, descend
from cvxrobust.backends.torch.polynomial_neurons import compressed, network_of, random_neurons, with_priced_neurons
from cvxrobust.backends.torch.polynomial_objective import Array, Evaluation, SmoothedObjective, Smoothing
from cvxrobust.core.backend import Monitor
from cvxrobust.core.certificate import Certificate, DualBound, PointMultipliers, dual_bound, repair_points
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.losses import loss_by_name
from cvxrobust.core.networks import PolynomialNetwork
from cvxrobust.core.result import Solution, Termination
from cvxrobust.core.settings import DTYPES, Settings, check_options
from cvxrobust.core.structured import PolynomialProgram

NEURONS = 12
"""Neurons of either sign at the start, at most."""
ROUND = 40
"""Evaluations between two certificates."""
PATIENCE = 60
"""Rounds without a better gap after which the search gives up."""
LONGEST_STAGE = 2
"""Rounds after which the smoothing changes even though descent is unfinished."""
GROWING = 6
"""Rounds of one stage that may add neurons."""
FLOOR = 1e-10
"""Smallest smoothing of attacks, in units of the margin."""


def solve_polynomial(
    program: PolynomialProgram,
    settings: Settings,
    monitor: Monitor | None = None,
    start: PolynomialNetwork | None = None,
    device: str = "cpu",
    dtype: str = "float64",
) -> Solution:
    """Train one network until its certified relative gap is at most the tolerance.

    Args:
        program: One column of labels.
        settings: Tolerance, ``max_iterations`` (evaluations of the objective), time limit, seed, threads; the one
            native option is ``neurons``, their number of either sign at the start.
        monitor: Stops the search, and hears of better bounds.
        start: A network to start from.
        device: A torch device.
        dtype: Precision of the products with X: ``"float64"`` or ``"float32"``. Root-finding, neurons and certificates
            are float64 always.

    Returns:
        The best network and the best multipliers seen, not necessarily of the same iterate.

    Raises:
        InputError: Several columns of labels, or an attack on a regression.
        UnknownNameError: An unknown option, loss or dtype.
    """
    monitor = monitor or Monitor()
    if settings.time_limit is not None:
        limit = time.perf_counter() + settings.time_limit
        # The caller's stop button stays connected.
        monitor = monitor.sharing(min(limit, monitor.deadline or math.inf), monitor.report)
    _check(program, settings, start)
    with _threads(settings.threads):
        return _Training(program, settings, monitor, start, device, dtype).run()


def _check(program: PolynomialProgram, settings: Settings, start: PolynomialNetwork | None) -> None:
    check_options(settings, {"neurons"}, "torch")
    loss = loss_by_name(program.loss)
    if program.labels.ndim != 2 or program.labels.shape[1] != 1:
        raise InputError(
            f"labels have shape {program.labels.shape}; expected one column, (n, 1): solve column by column."
        )
    if not loss.margin and (program.radius > 0.0).any():
        raise InputError("the squared loss has no adversary; expected radius 0 for every sample.")
    neurons = settings.options.get("neurons", 1)
    if isinstance(neurons, bool) or not isinstance(neurons, int) or neurons < 1:
        raise InputError(f"option neurons is {neurons!r}; expected a whole number of 1 or more.")
    if start is not None and (start.n_features != program.X.shape[1] or start.alpha.ndim != 1):
        raise InputError(
            f"start has {start.n_features} inputs and alpha of shape {start.alpha.shape}; "
            f"expected {program.X.shape[1]} and one output."
        )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


@dataclass(frozen=True)
class _Shares:
    """What makes up the relative gap of one iterate, each part 0 or more.

    Args:
        descent: How far its multipliers are from dual feasibility: unfinished descent, or missing neurons.
        hinge: Due to the smoothing of the hinge.
        attack: Due to the smoothing of attacks.
    """

    descent: float
    hinge: float
    attack: float


@dataclass
class _Best:
    """The best network and multipliers so far, with their certified bounds; they only ever get better."""

    network: PolynomialNetwork
    multipliers: PointMultipliers
    upper: float = math.inf
    lower: float = -math.inf
    monitor: Monitor = field(default_factory=Monitor)

    def take(self, network: PolynomialNetwork, upper: float, multipliers: PointMultipliers, lower: float) -> None:
        better = False
        if upper < self.upper:
            self.network, self.upper, better = network, upper, True
        if lower > self.lower:
            self.multipliers, self.lower, better = multipliers, lower, True
        if better and self.monitor.report is not None:
            self.monitor.report(self.upper, self.lower)

    @property
    def gap(self) -> float:
        return Certificate(self.upper, self.lower).relative_gap


class _Training:
    """One solve: the neurons, the smoothing, and the best bounds."""

    def __init__(
        self,
        program: PolynomialProgram,
        settings: Settings,
        monitor: Monitor,
        start: PolynomialNetwork | None,
        device: str,
        dtype: str,
    ) -> None:
        self.clock = time.perf_counter()
        self.program, self.settings, self.monitor = program, settings, monitor
        self.loss = loss_by_name(program.loss)
        self.target = program.labels[:, 0]
        self.device = torch.device(device)
        self.objective = SmoothedObjective(program, self.device, _dtype(dtype))
        self.applied = {"device": device, "dtype": dtype, "tolerance": settings.tolerance}
        self.neurons: torch.Tensor
        self.signs: torch.Tensor
        self.memory: Memory
        warm = start is not None and start.n_neurons > 0
        u, alpha = (start.u, start.alpha) if start is not None and warm else self._fresh()
        self._place(np.sqrt(np.abs(alpha))[:, None] * u, np.where(alpha < 0.0, -1.0, 1.0))
        centre = torch.zeros_like(self.objective.labels)
        self.smoothing = Smoothing(0.1, 0.01, centre) if warm else Smoothing(1.0, 0.1, centre)
        n, d = program.X.shape
        self.best = _Best(
            self._network(np.empty((0, d)), np.empty(0)),
            PointMultipliers(np.zeros(n), np.arange(n), program.X),
            monitor=monitor,
        )
        self.evaluations = 0

    def run(self) -> Solution:
        """Rounds of descent, each followed by a certificate."""
        self._take_trivial()
        stage, idle, least = 0, 0, math.inf
        budget = 1
        while (ended := self._ended()) is None and idle < PATIENCE:
            descent = descend(
                lambda v: self.objective.evaluate(v, self.signs, self.smoothing),
                self.neurons,
                self.memory,
                self._allowance(budget),
                lambda: self.monitor.should_stop,
                1e-13 * self.program.beta * (1e-3 + float(self.neurons.norm())),
                4.0 * torch.finfo(self.objective.X_working.dtype).eps,
            )
            budget = ROUND
            self.neurons = descent.point
            self.evaluations += descent.evaluations
            shares, bound = self._certify(descent.evaluation)
            stage += 1
            gap = self.best.gap
            idle, least = (0, gap) if gap < 0.99 * least else (idle + 1, least)
            unfinished = shares.descent > 0.5 * (shares.hinge + shares.attack)
            # What the neurons that are there could still gain; the rest takes another neuron.
            inside = float(descent.evaluation.gradient.norm() * self.neurons.norm()) / self.best.upper
            missing = unfinished and shares.descent > 5.0 * inside and stage <= GROWING
            if missing and self._grow(bound):
                continue
            if not unfinished or stage >= LONGEST_STAGE or descent.stuck:
                self._sharpen(descent.evaluation, shares)
                stage = 0
        return Solution(
            ended or Termination.NUMERICAL,
            network=self.best.network,
            multipliers=self.best.multipliers,
            iterations=self.evaluations,
            solve_seconds=time.perf_counter() - self.clock,
            message="" if ended else f"no better gap in {PATIENCE} rounds",
            applied=self.applied,
        )

    def _ended(self) -> Termination | None:
        if self.best.gap <= self.settings.tolerance:
            return Termination.CONVERGED
        if self.monitor.stopped:
            return Termination.INTERRUPTED
        if self.monitor.expired:
            return Termination.TIME_LIMIT
        return Termination.ITERATION_LIMIT if self._allowance(1) < 1 else None

    def _allowance(self, wanted: int) -> int:
        limit = self.settings.max_iterations
        return wanted if limit is None else min(wanted, limit - self.evaluations)

    # -- neurons ------------------------------------------------------------------------------------------------

    def _fresh(self) -> tuple[Array, Array]:
        count = self.settings.options.get("neurons", min(self.program.X.shape[1] + 1, NEURONS))
        return random_neurons(self.program.X, self.program.activation, count, self.settings.seed)

    def _place(self, neurons: Array, signs: Array) -> None:
        self.neurons = torch.tensor(neurons, dtype=torch.float64, device=self.device)
        self.signs = torch.tensor(signs, dtype=torch.float64, device=self.device)
        self.memory = Memory(self.neurons.numel(), self.device)

    def _grow(self, bound: DualBound) -> bool:
        """Add the priced neuron of each sign where it would help and no neuron is near it."""
        threshold = self.program.beta * (1.0 + max(0.1 * self.settings.tolerance, 0.1 * self.best.gap))
        before = self.neurons.cpu().numpy(), self.signs.cpu().numpy()
        neurons, signs = with_priced_neurons(*before, bound, threshold)
        added = signs.size > before[1].size
        if added:
            memory = self.memory
            self._place(*compressed(neurons, signs))
            if self.neurons.shape[0] == neurons.shape[0]:
                self.memory = memory.extended(self.neurons.numel())
        return added

    def _network(self, neurons: Array, signs: Array) -> PolynomialNetwork:
        return network_of(neurons, signs, self.program.activation, regression=not self.loss.margin)

    # -- smoothing ----------------------------------------------------------------------------------------------

    def _sharpen(self, evaluation: Evaluation, shares: _Shares) -> None:
        """Move the hinge's centre to the current multipliers and shrink what contributes most to the gap."""
        hinge, attack = self.smoothing.hinge, self.smoothing.attack
        if hinge > 0.1:
            hinge = max(0.3 * hinge, 0.1)
        elif shares.hinge > 0.3 * self.best.gap:
            hinge = max(0.7 * hinge, 1e-3)
        if shares.attack > 0.3 * shares.hinge and shares.attack > 0.05 * self.settings.tolerance:
            attack = max(0.3 * attack, FLOOR)
        self.smoothing = Smoothing(hinge, attack, evaluation.weights)

    # -- certificates -------------------------------------------------------------------------------------------

    def _take_trivial(self) -> None:
        """Bounds before any descent: the network without neurons, and the multipliers at its outputs."""
        zero = np.zeros(self.program.X.shape[0])
        theta = -self.loss.derivative(zero, self.target) / zero.size
        multipliers = PointMultipliers(theta, np.arange(zero.size), self.program.X)
        upper = float(np.mean(self.loss.value(zero, self.target)))
        self.best.take(self.best.network, upper, multipliers, self._dual(multipliers).value)

    def _certify(self, evaluation: Evaluation) -> tuple[_Shares, DualBound]:
        network = self._network(self.neurons.cpu().numpy(), self.signs.cpu().numpy())
        margins = self._exact(network)
        upper = float(np.mean(self.loss.value(margins, self.target))) + self.program.beta * network.penalty
        multipliers = self.objective.multipliers(evaluation)
        bound = self._dual(multipliers)
        self.best.take(network, upper, multipliers, bound.value)

        smoothed, weights = evaluation.margins.cpu().numpy(), evaluation.weights.cpu().numpy()
        scale = 1.0 / max(abs(upper), 1e-300)
        hinge = 0.0
        if self.program.loss == "hinge":
            hinge = float(np.mean(np.maximum(1.0 - smoothed, 0.0) - weights * (1.0 - smoothed)))
        attack = float(np.mean(weights * (margins - smoothed))) if evaluation.attacks is not None else 0.0
        descent = float(bound.violations.max()) / self.program.beta - 1.0
        return _Shares(max(descent, 0.0), hinge * scale, max(attack, 0.0) * scale), bound

    def _exact(self, network: PolynomialNetwork) -> Array:
        """Exact worst-case margins (outputs for the squared loss), shape (n,)."""
        objective = self.objective
        neurons = torch.tensor(np.sqrt(np.abs(network.alpha))[:, None] * network.u, device=self.device)
        signs = torch.tensor(np.sign(network.alpha), device=self.device)
        found, _ = exact_margins(neurons, signs, network.activation, objective.X, objective.sides, objective.radius)
        return np.asarray(found.cpu().numpy())

    def _dual(self, multipliers: PointMultipliers) -> DualBound:
        """The lower bound of `cvxrobust.core.certificate`, from repaired multipliers."""
        program = self.program
        theta, weights, points = repair_points(multipliers, program.X, program.radius, self.loss)
        sides = np.ones_like(self.target) if self.objective.regression else self.target
        lifted = np.hstack([points, np.ones((points.shape[0], 1))])
        S = (lifted * (weights * sides[multipliers.owners])[:, None]).T @ lifted
        mass = float(np.abs(weights) @ np.einsum("ij,ij->i", lifted, lifted))
        return dual_bound(
            theta, S, mass, loss=self.loss, target=self.target, activation=program.activation, beta=program.beta
        )


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise UnknownNameError("dtype", name, DTYPES)
    return torch.float32 if name == "float32" else torch.float64
