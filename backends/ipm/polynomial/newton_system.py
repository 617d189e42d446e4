"""One Newton system of the polynomial programme: factored once, solved for a predictor and its correctors."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from cvxrobust.backends.ipm.complementarity import products, products_after, steps
from cvxrobust.backends.ipm.polynomial.attacked import Linearised
from cvxrobust.backends.ipm.polynomial.attacked_rows import AttackedRows
from cvxrobust.backends.ipm.polynomial.clean import CleanData, CleanLinearised
from cvxrobust.backends.ipm.polynomial.rows import Forced, RowsSchur
from cvxrobust.backends.ipm.polynomial.samples import Activation, AttackedData, AttackedPoint
from cvxrobust.backends.ipm.polynomial.scaling import Basis, Scaled
from cvxrobust.backends.ipm.polynomial.schur import DenseSchur, Factored, KernelSchur, Solved, add_attacked
from cvxrobust.backends.ipm.polynomial.variables import PolynomialDirection, PolynomialPoint, SamplesAround
from cvxrobust.backends.ipm.symmetric import Triangle
from cvxrobust.core.arrays import worth_a_look

TINY = 1e-300

Factoring = Literal["entries", "samples", "rows"]
"""What the reduced system is factored over."""


@dataclass(frozen=True)
class NewtonTuning:
    """How the reduced system is factored and solved, and how barriers are weighed."""

    refinements: int = 6
    """Steps of iterative refinement, at most."""

    small: int = 600
    """Unknowns in T up to which the system is factored over these, however few the samples."""

    accurate: float = 1e-12
    """Relative residual of the reduced system that is small enough."""

    matrices: float = 0.01
    """Weight of the barriers of Z and Z', per sample; at least 1. Found by trial, as that of the inequalities was."""

    held: float = 0.1
    """Share of the mean complementarity that samples get whose margins rounding has taken from them."""

    inequalities: float = 0.5
    """Weight of the barriers of the samples' inequalities, times the root of their order; at most 1."""


TUNING = NewtonTuning()


@dataclass(frozen=True)
class Weights:
    """Of the barriers, those of the losses' own cones being 1 (section 3 of `cvxrobust.backends.ipm.polynomial.solve`).

    Args:
        matrices: Of Z and Z'.
        inequalities: Of the ``M_i`` and lam_i.
    """

    matrices: float
    inequalities: float


@dataclass(frozen=True)
class Data:
    """All samples in the present frame.

    Args:
        activation: The network's.
        beta: Weight of the penalty.
        attacked: Samples with a positive radius, if any; `AttackedData`, or samples of another kind.
        clean: The others, if any.
    """

    activation: Activation
    beta: float
    attacked: Any
    clean: CleanData | None

    @property
    def weights(self) -> Weights:
        """Of the barriers."""
        n, order = (0, 1) if self.attacked is None else (self.attacked.x.shape[0], self.attacked.dimension)
        n += 0 if self.clean is None else self.clean.z.shape[0]
        return Weights(max(1.0, TUNING.matrices * n), min(1.0, TUNING.inequalities / math.sqrt(order + 1)))


class NewtonSystem:
    """The optimality conditions around a point, linearised, everything but T eliminated, and factored.

    Args:
        data: In a frame in which the point's T_11 is diagonal.
        point: The point.
        triangle: Of order m.
        factoring: How, in any case: over the entries of T, over the samples, or, the slowest and most accurate way,
            over the rows whose squares make up the system; over samples without attack only. None: by size.
        near: Correlations up to which covariances are taken to be diagonal (`Spread`).

    Attributes:
        one, two: Z and U, Z' and U' with their scaling points.
        basis: R, which makes both scaling points diagonal; "in the basis" is ``R'(.)R``, shape (m, m).
        attacked: The attacked samples around the point, if any.
        signature, trace: Diagonal of J, shape (m,), and J in the basis.
        pairs_count, mu: Complementarity pairs, each as often as its barrier weighs, and the mean of their products.
        schur: The reduced system, factored. `_factor` sets this and all that follows.
        inverse, weighted: ``1 / (1 + D_k D_l)``, what Z and Z' add to it inverted, and ``D trace D``; shape (m, m).
        borders: Solutions for ``inverse o trace`` and ``inverse o weighted``: the columns of nu and nu'.
        residual: What the last solution left, relative, at most.

    Raises:
        ArithmeticError: The point has left the interior by rounding.
    """

    def __init__(
        self,
        data: Data,
        point: PolynomialPoint,
        triangle: Triangle,
        *,
        factoring: Factoring | None = None,
        near: float | None = None,
    ) -> None:
        self.data, self.point, self.triangle, self.weights = data, point, triangle, data.weights
        one, two = Scaled.of(point.Z, point.U), Scaled.of(point.Zp, point.Up)
        if one is None or two is None:
            raise ArithmeticError("a matrix is no longer positive definite")
        self.one, self.two, self.basis = one, two, Basis.of(one, two)
        self.attacked = self._linearised(near)
        m = triangle.m
        signature = torch.ones(m, dtype=torch.float64, device=point.Z.device)
        signature[-1] = -1.0
        self.signature = signature
        self.trace = self.basis.inside(torch.diag(signature))
        self.pairs_count = 2 * m * self.weights.matrices + self._count()
        self.mu = self._complementarity() / self.pairs_count
        self._factor(factoring)

    def _linearised(self, near: float | None) -> SamplesAround | None:
        """The attacked samples around the point, if there are any."""
        data, point = self.data.attacked, self.point.attacked
        if data is None or point is None:
            return None
        held = self._held(data, point)
        self.point = replace(self.point, attacked=held)
        return Linearised(data, held, self.point.T, self.weights.inequalities, near)

    def _held(self, data: AttackedData, point: AttackedPoint) -> AttackedPoint:
        """The attacked samples with margins as much lower as rounding asks for: s, computed anew, may be negative."""
        primal = data.primal(self.point.T, point.lam.slack, point.w)
        if bool(primal.positive):
            return point
        if not bool((primal.D > 0.0).all()):
            raise ArithmeticError("a matrix inequality no longer holds strictly")
        mu = float((self.one.values.square().sum() + self.two.values.square().sum()) / (2 * self.triangle.m))
        least = TUNING.held * self.weights.inequalities * mu / self.weights.matrices / point.moments.theta
        return replace(point, w=point.w - torch.clamp(least - primal.s, min=0.0))

    def _count(self) -> float:
        found = 0.0
        if self.attacked is not None:
            found += self.attacked.count
        if self.point.clean is not None and self.data.clean is not None:
            found += self.data.clean.amount * len(self.point.clean.pairs)
        return found

    def _complementarity(self) -> float:
        total = float(self.one.values.square().sum() + self.two.values.square().sum())
        if self.attacked is not None:
            total += self.attacked.complementarity() + products(self.attacked.point.pairs)
        if self.point.clean is not None:
            total += products(self.point.clean.pairs)
        return total

    def _factor(self, factoring: Factoring | None) -> None:
        # Curvatures do not depend on where a direction aims.
        clean = self._clean(self.mu, None)
        if self.attacked is not None:
            own = self.attacked.data.barrier(self.mu)
            self.attacked.prepare(None, self.attacked.point.loss.aim(own, None))
        size = self.triangle.size
        self.schur: Factored
        if factoring == "rows":
            around = self.attacked
            rows = AttackedRows(self.triangle, self.basis, around) if isinstance(around, Linearised) else None
            self.schur = RowsSchur(self.triangle, self.basis, clean, rows)
        elif self.attacked is not None or clean is None:
            self.schur = DenseSchur(self.triangle, self.basis, self._add, clean)
        elif factoring == "samples" or (factoring is None and size > TUNING.small and clean.data.z.shape[0] < size):
            self.schur = KernelSchur(self.basis, clean)
        else:
            self.schur = DenseSchur(self.triangle, self.basis, self._add, clean)
        self._curving = clean
        D = self.basis.ratio
        self.weighted = D[:, None] * self.trace * D[None, :]
        self.inverse = 1.0 / (1.0 + D[:, None] * D[None, :])
        self.borders = self._solve(torch.stack([self.inverse * self.trace, self.inverse * self.weighted]))

    def _add(self, H: Tensor) -> None:
        """Add what attacked samples add to the reduced system, in the basis, to the upper triangle of H."""
        if isinstance(self.attacked, Linearised):
            add_attacked(H, self.triangle, self.basis, self.attacked)

    def _clean(self, mu: float, previous: PolynomialDirection | None) -> CleanLinearised | None:
        if self.data.clean is None or self.point.clean is None:
            return None
        last = None if previous is None else previous.clean_loss
        aim = self.point.clean.aim(self.data.clean.barrier(mu), last)
        return CleanLinearised(self.data.clean, self.point.clean, aim)

    # -- the reduced system --------------------------------------------------------------------------------------

    def apply(self, solved: Solved) -> Tensor:
        """The reduced operator on symmetric matrices in the basis, from the samples themselves; shape (k, m, m)."""
        found = self.inverse * solved.T
        if solved.forces is not None and isinstance(self.schur, Forced):
            return found + self.schur.pulled(solved.forces)
        return found + torch.stack([self._curved(T) for T in solved.T])

    def _curved(self, T: Tensor) -> Tensor:
        dT = self.basis.root @ T @ self.basis.root.T
        found = torch.zeros_like(dT)
        if self.attacked is not None:
            found -= self.attacked.gather(self.attacked.respond(dT, None), dT, None)
        if self._curving is not None:
            found += self._curving.curve(dT)
        return self.basis.inside(found)

    def _solve(self, right: Tensor) -> Solved:
        """Solve for several right-hand sides, shape (k, m, m), with iterative refinement.

        Residuals are measured in the coordinates of U: there they are what is missing in dual feasibility.
        """
        back = self.basis.first.T @ self.one.inverse
        scale = torch.clamp(torch.linalg.matrix_norm(back.T @ right @ back), min=TINY)
        kept = found = self.schur.solve(right)
        best, done = torch.full_like(scale, torch.inf), torch.zeros_like(scale[0], dtype=torch.bool)
        for step in range(TUNING.refinements + 1):
            residual = right - self.apply(found)
            error = torch.linalg.matrix_norm(back.T @ residual @ back) / scale
            better = (error < best) & ~done
            kept, best = found.where(better, kept), torch.where(better, error, best)
            done = done | (error <= TUNING.accurate).all() | ~better.any()
            if worth_a_look(step, done) and bool(done):
                break
            found = found.plus(self.schur.solve(residual))
        self.residual = float(best.max())
        return kept

    # -- directions ----------------------------------------------------------------------------------------------

    def direction(self, mu: float, previous: PolynomialDirection | None) -> PolynomialDirection:
        """The direction that aims at complementarity mu, with the correction of a previous direction."""
        point, basis = self.point, self.basis
        clean, aim = self._clean(mu, previous), self._aim(mu, previous)
        gathered = torch.zeros_like(point.Z)
        if self.attacked is not None and aim is not None:
            self.attacked.prepare(aim, aim.loss)
            gathered += self.attacked.gather(self.attacked.respond(None, aim), None, aim)
        if clean is not None:
            gathered += clean.gather()
        aims = [
            scaled.target(self.weights.matrices * mu, None if previous is None else previous.scaled[k])
            for k, scaled in self._both()
        ]
        inside, penalty = basis.inside(gathered), self.data.beta * torch.outer(basis.root[-1], basis.root[-1])
        # The constraints' multipliers are iterates, too: without them the right-hand sides would be larger by 1 / mu.
        g1 = inside - penalty - point.nu[0] * self.trace + basis.first.T @ aims[0] @ basis.first
        g2 = -inside - penalty - point.nu[1] * self.trace + basis.second.T @ aims[1] @ basis.second
        solved, first, second, dnu = self._bordered(g1, g2)
        dZ = basis.root @ first @ basis.root.T
        dZp = basis.root @ second @ basis.root.T
        scaled_one = basis.first @ first @ basis.first.T
        scaled_two = basis.second @ second @ basis.second.T
        dU_one = aims[0] - torch.diag(self.one.values) - scaled_one
        dU_two = aims[1] - torch.diag(self.two.values) - scaled_two
        dU = self.one.inverse.T @ dU_one @ self.one.inverse
        dUp = self.two.inverse.T @ dU_two @ self.two.inverse
        # Not dZ - dZ': where both are large, what rounding leaves of the difference would spoil the multipliers.
        dT = basis.root @ solved.T[0] @ basis.root.T
        attacked = clean_loss = None
        if self.attacked is not None and aim is not None:
            pulled = self.schur.answer(solved) if isinstance(self.schur, RowsSchur) else None
            attacked = self.attacked.direction(dT, aim, pulled)
        if clean is not None:
            dw = clean.data.values(dT)
            if solved.forces is not None and isinstance(self.schur, Forced):
                dw = torch.where(self.schur.stiff, self.schur.outputs(solved.forces[0]), dw)
            clean_loss = clean.move(dw)
        scaled = ((scaled_one, dU_one), (scaled_two, dU_two))
        return PolynomialDirection(dT, dZ, dZp, dU, dUp, dnu, scaled, attacked, clean_loss)

    def _both(self) -> tuple[tuple[int, Scaled], tuple[int, Scaled]]:
        return (0, self.one), (1, self.two)

    def _aim(self, mu: float, previous: PolynomialDirection | None) -> Any:
        if self.attacked is None:
            return None
        return self.attacked.aim(mu, None if previous is None else previous.attacked)

    def _bordered(self, g1: Tensor, g2: Tensor) -> tuple[Solved, Tensor, Tensor, tuple[float, float]]:
        """dT, dZ and dZ' in the basis, the last two with ``tr dZ_11 = dZ_mm``, but for what Z violates that by."""
        D, j = self.basis.ratio, self.trace
        across = D[:, None] * D[None, :]
        right = g1 - across * g2
        free_solved = self._solve((self.inverse * right)[None])
        T, borders = free_solved.T[0], self.borders.T
        free = self._apart(g1, g2, self._pull(right, free_solved, 0), T)
        none = torch.zeros_like(j)
        by_one = self._apart(j, none, self._pull(j, self.borders, 0), borders[0])
        by_two = self._apart(none, -j, self._pull(self.weighted, self.borders, 1), borders[1])
        defects = [(self.signature * torch.diagonal(part)).sum() for part in (self.point.Z, self.point.Zp)]
        rows = [
            torch.stack([(j * by_one[row]).sum(), -(j * by_two[row]).sum(), (j * free[row]).sum() + defects[row]])
            for row in range(2)
        ]
        # Two equations: read at once and solved here.
        small = torch.stack(rows).cpu()
        nu, nup = torch.linalg.solve(small[:, :2], small[:, 2]).tolist()
        weights = torch.tensor([-nu, nup], dtype=torch.float64, device=T.device)
        forces = free_solved.forces
        if forces is not None and self.borders.forces is not None:
            forces = forces + (weights @ self.borders.forces)[None]
        solved = Solved(free_solved.T + torch.einsum("k,kij->ij", weights, borders)[None], forces)
        first = free[0] - nu * by_one[0] + nup * by_two[0]
        return solved, first, free[1] - nu * by_one[1] + nup * by_two[1], (nu, nup)

    def _pull(self, right: Tensor, solved: Solved, k: int) -> Tensor:
        """What the samples answer to a solution: ``right - Lambda T``, or by their forces."""
        if solved.forces is not None and isinstance(self.schur, Forced):
            return self.schur.pulled(solved.forces[k : k + 1])[0]
        return self.inverse * (right - solved.T[k])

    def _apart(self, g1: Tensor, g2: Tensor, pull: Tensor, T: Tensor) -> tuple[Tensor, Tensor]:
        """``g_1 - pull`` and ``D (g_2 + pull) D``, whose difference is T: the smaller of the two by its formula."""
        across = self.basis.ratio[:, None] * self.basis.ratio[None, :]
        first, second = g1 - pull, across * (g2 + pull)
        small = across < 1.0
        return torch.where(small, T + second, first), torch.where(small, second, first - T)

    # -- steps ---------------------------------------------------------------------------------------------------

    def longest(self, direction: PolynomialDirection, most: float) -> tuple[float, float]:
        """The longest primal and dual steps, up to `most`."""
        primal = min([most] + [scaled.longest(direction.scaled[k][0]) for k, scaled in self._both()])
        dual = min([most] + [scaled.longest(direction.scaled[k][1]) for k, scaled in self._both()])
        if self.point.clean is not None and direction.clean_loss is not None:
            found = steps(self.point.clean.pairs, direction.clean_loss.pairs)
            primal, dual = min(primal, found[0]), min(dual, found[1])
        if self.attacked is not None and direction.attacked is not None:
            primal, dual = self.attacked.longest(direction.attacked, self.point.T, (primal, dual))
        return primal, dual

    def mu_after(self, direction: PolynomialDirection, primal: float, dual: float) -> float:
        """Weighted mean complementarity after a step."""
        total = 0.0
        for k, scaled in self._both():
            change, answer = direction.scaled[k]
            values = torch.diag(scaled.values)
            total += float(((values + primal * change) * (values + dual * answer)).sum())
        if self.point.clean is not None and direction.clean_loss is not None:
            total += products_after(self.point.clean.pairs, direction.clean_loss.pairs, primal, dual)
        if self.attacked is not None and direction.attacked is not None:
            total += self.attacked.complementarity_after(direction.attacked, primal, dual)
        return total / self.pairs_count

    def advanced(self, direction: PolynomialDirection, primal: float, dual: float) -> PolynomialPoint:
        """The point after a step."""
        point = self.point
        Z, Zp = point.Z + primal * direction.dZ, point.Zp + primal * direction.dZp
        U, Up = point.U + dual * direction.dU, point.Up + dual * direction.dUp
        attacked, clean = point.attacked, point.clean
        if self.attacked is not None and direction.attacked is not None:
            attacked = self.attacked.advanced(direction.attacked, primal, dual)
        if clean is not None and direction.clean_loss is not None and self.data.clean is not None:
            w = self.data.clean.values(Z - Zp)
            clean = clean.step(direction.clean_loss, primal, dual, w)
        nu = point.nu[0] + dual * direction.dnu[0], point.nu[1] + dual * direction.dnu[1]
        return PolynomialPoint(_symmetric(Z), _symmetric(Zp), _symmetric(U), _symmetric(Up), nu, attacked, clean)


def _symmetric(matrix: Tensor) -> Tensor:
    return 0.5 * (matrix + matrix.T)
