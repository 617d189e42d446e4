"""Networks with many inputs: the same method in a subspace of the inputs that grows until the whole problem is
solved.

A network whose neurons lie in the span of an orthonormal basis B, shape (d, k), sees of an input only ``B'x``,
attacked or not, so training it is the same problem with the k-dimensional inputs ``B'x`` and the same radii: an
upper bound of the whole problem's optimum, at the price of one with k inputs. Its multipliers, attacks and all, are
multipliers of the whole problem; what they prove there is scaled by how far the best neuron outside the span would
be worth more than its penalty, ``gamma > beta`` in `cvxrobust.core.programs.polynomial.certificate`, a
sphere-constrained trust-region subproblem. That neuron joins the basis, and with it the outermost eigenvectors of the
pricing matrix outside the
span: column generation (Dantzig and Wolfe 1960, Oper. Res. 8) on neurons. Whenever this has paid, directions that the
best network hardly uses leave again: of 784 inputs of MNIST (500 images) the solution uses 14. It ends at the latest
when the basis is all of R^d, and long before where networks have few neurons, above all near a good start."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.ipm.polynomial.certify import Bounds, DualPoint, PrimalPoint
from cvxrobust.backends.ipm.polynomial.iteration import PolynomialMethod, trivial_dual
from cvxrobust.backends.ipm.polynomial.samples import Moments
from cvxrobust.backends.ipm.symmetric import lift
from cvxrobust.core import PolynomialNetwork, PolynomialProgram, Termination
from cvxrobust.core.kit import BestSoFar

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SubspaceTuning:
    """How the subspace grows and shrinks."""

    first: int = 12
    """Dimension of the first subspace, at least."""

    new: int = 10
    """Directions that join in a round, at most."""

    spare: float = 1e-2
    """The penalty of all that a network holds in directions that leave the basis, relative to the gap."""

    pays: float = 0.5
    """Directions leave only after the gap has become smaller by this since they last did; or they would return for
    ever."""

    held: float = 1e-5
    """A start's directions that hold less of it than this share of the first are left out."""

    share: float = 0.2
    """A subspace's own gap, relative to the whole problem's when it was opened."""

    new_at_least: float = 1e-6
    """A direction with less than this outside the span is in it."""


TUNING = SubspaceTuning()


class SubspaceMethod:
    """Column generation around `PolynomialMethod`.

    Args:
        program: One column of labels.
        X: The inputs, shape (n, d).
        progress: Takes every certificate; says when to stop.
        device: A torch device.

    Attributes:
        iterations: Of the interior-point method, over all subspaces.
        dimension: Of the last subspace.
        message: What went wrong, if anything did.
    """

    def __init__(
        self,
        program: PolynomialProgram,
        X: Array,
        progress: BestSoFar[PrimalPoint, DualPoint],
        device: torch.device,
    ) -> None:
        self.program, self.X, self.progress, self.device = program, X, progress, device
        self.bounds = Bounds(program, X, device)
        self.iterations, self.rounds, self.dimension, self.message = 0, 0, 0, ""

    def run(self, start: PolynomialNetwork | None = None) -> Termination:
        """Solve in growing subspaces."""
        progress = self.progress
        primal, dual = trivial_dual(self.bounds)
        progress.offer_primal(primal, self.bounds.objective(primal.network))
        pricing = self._priced(dual)
        basis = np.empty((self.X.shape[1], 0))
        if start is not None:
            progress.offer_primal(PrimalPoint(start), self.bounds.objective(start))
            axes, held = _axes(start)
            basis = axes[:, held > TUNING.held * held.max(initial=0.0)]
        basis = _joined(basis, self._candidates(basis, pricing, max(TUNING.first - basis.shape[1], TUNING.new)))
        left_at = np.inf
        while True:
            ended = progress.ended(self.iterations)
            if ended is not None:
                return ended
            began = time.perf_counter()
            termination, pricing = self._solve_in(basis)
            self.rounds, self.dimension = self.rounds + 1, basis.shape[1]
            progress.deadline.reserve = 0.1 * (time.perf_counter() - began)
            ended = progress.ended(self.iterations)
            if ended is not None:
                return ended
            smaller = basis
            if (gap := progress.upper - progress.lower) <= TUNING.pays * left_at:
                left_at, smaller = gap, self._needed(basis, TUNING.spare * gap)
            larger = _joined(smaller, self._candidates(smaller, pricing, TUNING.new))
            if larger.shape[1] == smaller.shape[1]:
                return termination if termination is not Termination.CONVERGED else Termination.NUMERICAL
            basis = larger

    def _needed(self, basis: Array, spare: float) -> Array:
        """A basis of all but a little of the best network, if it is smaller."""
        assert self.progress.primal is not None
        axes, held = _axes(self.progress.primal.network)
        if not held.any():
            return basis
        rest = float(held.sum()) - np.cumsum(held)
        count = int(np.argmax(self.program.beta * rest <= spare)) + 1
        return np.ascontiguousarray(axes[:, :count]) if count < basis.shape[1] else basis

    def _solve_in(self, basis: Array) -> tuple[Termination, Array]:
        """Solve in one subspace; what its multipliers say about all neurons."""
        outer = self.progress
        gap = outer.certificate.relative_gap
        tolerance = outer.settings.tolerance
        if basis.shape[1] < self.X.shape[1]:
            tolerance = min(0.1, max(0.5 * tolerance, TUNING.share * gap))
        left = None if outer.settings.max_iterations is None else outer.settings.max_iterations - self.iterations
        settings = outer.settings.replace(tolerance=tolerance, max_iterations=left)
        inside: BestSoFar[PrimalPoint, DualPoint] = BestSoFar(
            settings, outer.monitor.sharing(outer.monitor.deadline, None), outer.most
        )
        attack, coordinates = self.program.attack.within(basis)
        program = replace(self.program, attack=attack)
        method = PolynomialMethod(program, np.ascontiguousarray(self.X @ basis), inside, self.device)
        termination = method.run()
        self.iterations, self.message = self.iterations + method.iterations, method.message
        axes, frame = (torch.tensor(part, device=self.device) for part in (basis, coordinates))
        if inside.primal is not None:
            self._offer_primal(inside.primal, axes)
        assert inside.dual is not None
        dual = inside.dual
        moments = dual.moments
        if moments is None and self.bounds.attacked.numel():
            moments = _without_attacks(dual.theta[self.bounds.rows], attack.dimension)
        pricing = self._priced(DualPoint(dual.theta, moments, frame @ dual.frame))
        outer.report()
        return termination, pricing

    def _offer_primal(self, point: PrimalPoint, axes: Tensor) -> None:
        network = point.network
        lifted = PolynomialNetwork(
            np.ascontiguousarray(_unit(network.u @ axes.cpu().numpy().T)),
            network.alpha,
            network.activation,
            regression=network.regression,
        )
        Q = lift(axes)
        Z, Zp = (None if part is None else Q @ part @ Q.T for part in (point.Z, point.Zp))
        self.progress.offer_primal(PrimalPoint(lifted, Z, Zp), self.bounds.objective(lifted))

    def _priced(self, dual: DualPoint) -> Array:
        bound, pricing = self.bounds.price(dual)
        self.progress.offer_dual(dual, bound.value)
        self._best = bound.neurons
        return pricing

    def _candidates(self, basis: Array, pricing: Array, count: int) -> Array:
        """Directions worth adding, best first, shape (d, count): the priced neurons, then outer eigenvectors."""
        d = self.X.shape[1]
        outside = pricing[:d, :d] - basis @ (basis.T @ pricing[:d, :d])
        outside = outside - (outside @ basis) @ basis.T
        values, vectors = np.linalg.eigh(0.5 * (outside + outside.T))
        outer = vectors[:, np.argsort(-np.abs(values))[: max(count - 2, 0)]]
        return np.hstack([self._best.T, outer])


def _axes(network: PolynomialNetwork) -> tuple[Array, Array]:
    """Orthonormal directions, shape (d, d), and how much of a network's weights each holds, most first."""
    held, axes = np.linalg.eigh((network.u.T * np.abs(network.alpha)) @ network.u)
    return axes[:, ::-1], held[::-1].clip(0.0)


def _joined(basis: Array, more: Array) -> Array:
    """The basis with the columns of `more` that are not in its span."""
    for column in more.T:
        length = float(np.linalg.norm(column))
        if basis.shape[1] == basis.shape[0] or length == 0.0:
            continue
        rest = column / length
        # Twice is enough (Giraud, Langou, Rozloznik and van den Eshof 2005, Numer. Math. 101).
        for _ in range(2):
            rest = rest - basis @ (basis.T @ rest)
        size = float(np.linalg.norm(rest))
        if size > TUNING.new_at_least:
            basis = np.hstack([basis, (rest / size)[:, None]])
    return basis


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True)) if rows.size else rows


def _without_attacks(theta: Tensor, k: int) -> Moments:
    zeros = theta.new_zeros(theta.numel(), k)
    return Moments(theta, zeros, zeros[:, :, None] * zeros[:, None, :])
