"""The iteration of the polynomial programme (`cvxrobust.backends.ipm.polynomial.solve`): predict, correct, certify."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.backends.ipm.polynomial.certify import Bounds, DualPoint, PrimalPoint
from cvxrobust.backends.ipm.polynomial.newton_system import TUNING as NEWTON
from cvxrobust.backends.ipm.polynomial.newton_system import Factoring, NewtonSystem
from cvxrobust.backends.ipm.polynomial.samples import Activation, Moments
from cvxrobust.backends.ipm.polynomial.start import PolynomialIterate, cold_start, warm_start
from cvxrobust.backends.ipm.polynomial.variables import PolynomialDirection
from cvxrobust.backends.ipm.symmetric import Triangle
from cvxrobust.core import PolynomialNetwork, PolynomialProgram, Termination
from cvxrobust.core.kit import BestSoFar

Array = NDArray[np.float64]

P = TypeVar("P")
D = TypeVar("D")

LinAlgError: type[Exception] = vars(torch.linalg)["LinAlgError"]
"""What decompositions raise that do not converge; PyTorch's stubs do not know it."""


@dataclass(frozen=True)
class PolynomialTuning:
    """How far steps go, and when rounding has won."""

    damping: float = 0.9
    """Share of the way to the boundary; closer steps lose centrality and take more iterations."""

    more: int = 2
    """Further correctors of an iteration, at most: each costs a fraction of the factorisation that it shares."""

    far: float = 0.8
    """Steps beyond this need none."""

    gain: float = 1.05
    """What a further corrector has to gain in the product of both steps."""

    most_dense: int = 8_000
    """Unknowns in T up to which it is worth factoring over them where factoring over samples got stuck."""

    most_rows: int = 2**25
    """Numbers, of which a few times as many are held, up to which the system's rows are factored as they are."""

    poor: float = 1e-8
    """Relative residual of the reduced system that asks for this."""

    slow: float = 0.1
    """After a step below this, the next system counts the correlations of all samples."""

    short: float = 1e-7
    """A step below this is none."""

    stalled: int = 6
    """Iterations without a tenth of progress in the gap, or any step to speak of, after which rounding has won."""


TUNING = PolynomialTuning()


class NewtonMethod(Generic[P, D]):
    """Iterations of the interior-point method, whatever its samples are like.

    Who inherits says how iterates are judged (`_offer`), where they are linearised (`_system`), and whether another way
    of factoring may help once rounding has won (`_factor_otherwise`).

    Args:
        progress: Takes every certificate; says when to stop.
        order: Of Z.
        device: A torch device.

    Attributes:
        iterations: Done so far.
        message: What went wrong, if anything did.
    """

    def __init__(self, progress: BestSoFar[P, D], order: int, device: torch.device) -> None:
        self.progress, self.triangle = progress, Triangle(order, device)
        self.iterations, self.message = 0, ""
        self._gap, self._since = math.inf, 0
        self._near: float | None = None

    def _offer(self, at: PolynomialIterate) -> None:
        """Certify the iterate."""
        raise NotImplementedError

    def _system(self, at: PolynomialIterate) -> NewtonSystem:
        """The Newton system there."""
        raise NotImplementedError

    def _factor_otherwise(self) -> bool:
        """After rounding has won: in a way that is more accurate, if there is one."""
        return False

    def _placed(self, at: PolynomialIterate) -> PolynomialIterate:
        """The iterate in the frame that its system is made in."""
        return at

    def _rounds(self, at: PolynomialIterate) -> Iterator[int]:
        """Iterations from here on, until rounding prevents more."""
        while True:
            self._offer(at)
            yield self.iterations
            try:
                self._check_progress()
                moved = self._moved(self._placed(at))
            except (ArithmeticError, LinAlgError) as error:
                self.message = str(error)
                if not self._factor_otherwise():
                    return
                continue
            if moved is None:
                continue  # somebody stopped it in the middle of an iteration
            at = moved
            self.iterations += 1

    # -- one iteration -------------------------------------------------------------------------------------------

    def _moved(self, at: PolynomialIterate) -> PolynomialIterate | None:
        system = self._system(at)
        together = at.point.nonlinear
        predictor = system.direction(0.0, None)
        primal, dual = system.longest(predictor, 1.0)
        if together:
            primal = dual = min(primal, dual)
        if self.progress.monitor.should_stop:
            return None
        # Mehrotra (1992): how far the predictor gets says how much centring the corrector needs.
        ratio = max(system.mu_after(predictor, primal, dual) / system.mu, 1e-6)
        sigma = min(1.0, ratio ** (3 if min(primal, dual) > 0.1 else 1))
        step = system.direction(sigma * system.mu, predictor)
        primal, dual = self._lengths(system, step)
        for _ in range(TUNING.more):
            if min(primal, dual) > TUNING.far:
                break
            # The corrector's own second-order terms are closer to the truth than the predictor's.
            again = system.direction(sigma * system.mu, step)
            longer = self._lengths(system, again)
            if longer[0] * longer[1] < TUNING.gain * primal * dual:
                break
            step, (primal, dual) = again, longer
        if together:
            primal = dual = min(primal, dual)
        self._near = None if min(primal, dual) > TUNING.slow else 0.0
        if not math.isfinite(primal + dual):
            raise ArithmeticError("a direction is not finite")
        if max(primal, dual) < TUNING.short:
            raise ArithmeticError("no step is left")
        return PolynomialIterate(at.data, system.advanced(step, primal, dual), at.frame)

    @staticmethod
    def _lengths(system: NewtonSystem, step: PolynomialDirection) -> tuple[float, float]:
        primal, dual = (min(1.0, TUNING.damping * length) for length in system.longest(step, 1.0 / TUNING.damping))
        return primal, dual

    def _check_progress(self) -> None:
        """Raise ArithmeticError where the gap no longer falls."""
        gap = self.progress.certificate.absolute_gap
        if not gap > 0.9 * self._gap or self.iterations < 20:
            self._gap, self._since = gap, self.iterations
        patience = TUNING.stalled * (5 if self.progress.certificate.relative_gap > 1e-3 else 1)
        if self.iterations - self._since >= patience:
            raise ArithmeticError("rounding prevents further progress")


class PolynomialMethod(NewtonMethod[PrimalPoint, DualPoint]):
    """One run of the method for l2 attacks and their ellipsoids.

    Args:
        program: One column of labels.
        X: The inputs, shape (n, d).
        progress: Takes every certificate; says when to stop.
        device: A torch device.
    """

    def __init__(
        self,
        program: PolynomialProgram,
        X: Array,
        progress: BestSoFar[PrimalPoint, DualPoint],
        device: torch.device,
    ) -> None:
        super().__init__(progress, X.shape[1] + 1, device)
        self.program = program
        self.bounds = Bounds(program, X, device)
        self.activation = Activation(*program.activation)
        self._factoring: Factoring | None = None

    def run(self, start: PolynomialNetwork | None = None) -> Termination:
        """Iterate until the gap is closed, a limit is reached or rounding prevents more."""
        primal, dual = trivial_dual(self.bounds)
        self.progress.offer_primal(primal, self.bounds.objective(primal.network))
        self.progress.offer_dual(dual, self.bounds.bound(dual).value)
        at = cold_start(self.bounds, self.activation)
        if start is not None and self.progress.offer_primal(PrimalPoint(start), self.bounds.objective(start)):
            # A network that is no better than none says nothing about where to go.
            at = warm_start(self.bounds, self.activation, start, at)
        return self.progress.run(self._rounds(at))

    def _placed(self, at: PolynomialIterate) -> PolynomialIterate:
        return at.turned()

    def _system(self, at: PolynomialIterate) -> NewtonSystem:
        """Factored anew with more accuracy where that is needed."""
        system = NewtonSystem(at.data, at.point, self.triangle, factoring=self._factoring, near=self._near)
        if system.residual > TUNING.poor and self._factoring != "rows" and self._rows_fit():
            self._factoring = "rows"
            return self._system(at)
        return system

    def _factor_otherwise(self) -> bool:
        """After rounding has won: in a way that is more accurate, if there is one."""
        few = NEWTON.small < self.triangle.size <= TUNING.most_dense
        if self._factoring == "rows":
            return False
        if self._rows_fit():
            self._factoring = "rows"
        elif self._factoring is None and few and not self.bounds.attacked.numel():
            self._factoring = "entries"
        else:
            return False
        self._gap = math.inf
        return True

    def _rows_fit(self) -> bool:
        size, m = self.triangle.size, self.triangle.m
        rows: int = self.bounds.clean.numel() + self.bounds.rows.numel() * m * m
        return (rows + size) * size <= TUNING.most_rows

    def _offer(self, at: PolynomialIterate) -> None:
        """Certify the iterate."""
        point, Q = at.point, at.lifted()
        self.progress.offer_primal(*self.bounds.primal(Q @ point.Z @ Q.T, Q @ point.Zp @ Q.T))
        theta = self.bounds.radius.new_zeros(self.bounds.radius.shape)
        moments = None
        if point.attacked is not None:
            moments = point.attacked.moments
            theta[self.bounds.attacked] = self.bounds.thetas(moments)
        if point.clean is not None:
            theta[self.bounds.clean] = point.clean.theta
        dual = DualPoint(theta, moments, at.frame)
        self.progress.offer_dual(dual, self.bounds.bound(dual).value)


def trivial_dual(bounds: Bounds) -> tuple[PrimalPoint, DualPoint]:
    """The network without neurons, and its multipliers: where the penalty is large, that is the answer."""
    d = bounds.X.shape[1]
    network = PolynomialNetwork(
        np.empty((0, d)), np.empty(0), bounds.program.activation, regression=not bounds.loss.margin
    )
    slope = -bounds.loss.derivative(np.zeros_like(bounds.y), bounds.y) / bounds.y.size
    theta = torch.tensor(slope, device=bounds.X.device)
    moments = None
    if bounds.attacked.numel():
        # No attack at all: a moment matrix of order 0 in a frame without axes.
        none, masses = theta.new_zeros(bounds.rows.numel(), 0), theta[bounds.rows]
        if bounds.sided:
            masses = torch.clamp(bounds.row_signs * masses, min=0.0)
        moments = Moments(masses, none, none[:, :, None] * none[:, None, :])
    return PrimalPoint(network), DualPoint(theta, moments, theta.new_zeros(bounds.attack.dimension, 0))
