"""Samples in boxes: their matrix inequalities with all their multipliers, eliminated one by one.

Of the programme of `cvxrobust.backends.ipm.polynomial.solve` the inequalities are others here, of order m = q + 1,

    M_i = y_i E_i'(C o T)E_i + sum_k lam_ik (e_k e_k' - ee') - w_i ee'  psd,      E_i = [[W_i, x_i], [0, 1]],

in units of the widths W_i, and stationarity in lam_ik is ``(X_i)_mm - (X_i)_kk = alpha_ik``. The direction is that of
Helmberg, Rendl, Vanderbei and Wolkowicz, ``X+ = mu M^-1 - sym(X dM M^-1)``. With ``(A | B) = <A, sym(X B M^-1)>`` and
``A_k = e_k e_k' - ee'``, ``A_w = -ee'`` what lam and w answer to a change of T is a system of order m per sample,

    ((A_k | A_l) + diag(alpha / lam, kappa)) (dlam, dw) = rhs - (A_k | y E'(C o dT)E),

kappa the curvature of the loss; ``(e_i e_i' | e_j e_j') = X_ij (M^-1)_ij``. What samples add to the system in T is
``sum (E X E') (x) (E M^-1 E')`` less the squares of these right-hand sides: in all n m p^2 multiplications.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.backends.ipm.complementarity import Pair, longest, products_after, steps
from cvxrobust.backends.ipm.loss_sides import LossSide, LossTarget
from cvxrobust.backends.ipm.polynomial.attacked import bisect
from cvxrobust.backends.ipm.polynomial.samples import Activation
from cvxrobust.backends.ipm.polynomial.scaling import Basis
from cvxrobust.backends.ipm.symmetric import Triangle, add_gram

BLOCK = 2**22
"""Entries of the largest temporary that holds triangles of several samples."""


@dataclass(frozen=True)
class BoxedPoint:
    """The variables of the samples.

    Args:
        lam: With its multipliers alpha, shape (n, q).
        w: Margins that the loss sees, shape (n,).
        X: Duals of the inequalities, shape (n, m, m).
        loss: Variables of the loss.
    """

    lam: Pair
    w: Tensor
    X: Tensor
    loss: LossSide

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All complementary pairs of numbers."""
        return (self.lam, *self.loss.pairs)


@dataclass(frozen=True)
class BoxedData:
    """Samples in boxes that move some inputs.

    Args:
        x: Centres, shape (n, d).
        widths: Of the inputs that are moved, shape (n, q).
        inputs: Which these are, shape (q,).
        y: Labels, shape (n,).
        activation: The network's.
        weight: Of each sample in the mean loss, and so of its barriers, shape (n,); None for 1.
    """

    x: Tensor
    widths: Tensor
    inputs: Tensor
    y: Tensor
    activation: Activation
    weight: Tensor | None = None

    @property
    def dimension(self) -> int:
        """Coordinates of the boxes, q."""
        return int(self.inputs.numel())

    @property
    def amount(self) -> float:
        """Samples, each as often as it weighs."""
        return self.x.shape[0] if self.weight is None else float(self.weight.sum())

    def barrier(self, mu: float) -> float | Tensor:
        """Complementarity mu of each sample's own pairs, shape (n,)."""
        return mu if self.weight is None else mu * self.weight

    def inequality(self, V: Tensor) -> Tensor:
        """``y E'V E`` of a matrix of order d + 1, shape (n, m, m)."""
        d, inputs, W = self.x.shape[1], self.inputs, self.widths
        q = inputs.numel()
        found = W.new_empty(self.x.shape[0], q + 1, q + 1)
        found[:, :q, :q] = W[:, :, None] * V[:d, :d][inputs][:, inputs] * W[:, None, :]
        half = self.x @ V[:d, :d] + V[:d, d]
        found[:, :q, q] = found[:, q, :q] = W * half[:, inputs]
        found[:, q, q] = ((half + V[:d, d]) * self.x).sum(1) + V[d, d]
        return found * self.y[:, None, None]

    def lifted(self, X: Tensor) -> Tensor:
        """``E X``, shape (n, m, m) to (n, d + 1, m)."""
        found = self.x.new_zeros(X.shape[0], self.x.shape[1] + 1, X.shape[2])
        found[:, :-1] = self.x[:, :, None] * X[:, -1:, :]
        found[:, self.inputs] += self.widths[:, :, None] * X[:, :-1]
        found[:, -1] = X[:, -1]
        return found

    def lowered(self, Y: Tensor) -> Tensor:
        """``Y E'``, shape (n, r, m) to (n, r, d + 1)."""
        found = self.x[:, None, :] * Y[:, :, -1:]
        found[:, :, self.inputs] += self.widths[:, None, :] * Y[:, :, :-1]
        return torch.cat([found, Y[:, :, -1:]], dim=2)

    def of(self, rows: slice) -> "BoxedData":
        """Some samples."""
        weight = None if self.weight is None else self.weight[rows]
        return BoxedData(self.x[rows], self.widths[rows], self.inputs, self.y[rows], self.activation, weight)

    def summed(self, X: Tensor) -> Tensor:
        """``sum_i y_i C o (E_i X_i E_i')``, shape (d + 1, d + 1)."""
        d, W, y = self.x.shape[1], self.widths, self.y
        S = X.new_zeros(d + 1, d + 1)
        inner = torch.einsum("i,ik,ikl,il->kl", y, W, X[:, :-1, :-1], W)
        S[self.inputs[:, None], self.inputs[None, :]] = inner
        side, mass = y[:, None] * W * X[:, :-1, -1], y * X[:, -1, -1]
        cross = X.new_zeros(d, d)
        cross[self.inputs] = side.T @ self.x
        scaled = mass[:, None] * self.x
        S[:d, :d] += cross + cross.T + scaled.T @ self.x
        S[:d, d] = scaled.sum(0)
        S[self.inputs, d] += side.sum(0)
        S[d, :d] = S[:d, d]
        S[d, d] = mass.sum()
        return self.activation.times(0.5 * (S + S.T))


@dataclass(frozen=True)
class BoxedAim:
    """Where a direction aims: X where M stays, the multipliers of lam, and those of the loss."""

    X: Tensor
    lam: Tensor
    loss: LossTarget


@dataclass(frozen=True)
class BoxedResponse:
    """How samples answer a change of T: changes of lam, w and M, and the new X."""

    lam: Tensor
    w: Tensor
    M: Tensor
    X: Tensor


@dataclass(frozen=True)
class BoxedDirection:
    """A step of the samples: what they answer to dT, and the changes of X, of lam and of the loss."""

    response: BoxedResponse
    dX: Tensor
    lam: Pair
    loss: LossSide

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Directions of all complementary pairs of numbers, in the order of the point's."""
        return (self.lam, *self.loss.pairs)


class BoxedLinearised:
    """The samples around a point, everything but T eliminated.

    Args:
        data: The samples.
        point: Their variables.
        T: Of the network.
        weight: Of the barriers of the inequalities and of lam, beside those of the loss.

    Raises:
        ArithmeticError: An inequality no longer holds strictly.
    """

    def __init__(self, data: BoxedData, point: BoxedPoint, T: Tensor, weight: float) -> None:
        self.data, self.point, self.weight = data, point, weight
        self.M = self._inequality(data.inequality(data.activation.times(T)), point.lam.slack, point.w)
        factor, wrong = torch.linalg.cholesky_ex(self.M)
        if bool(wrong.any()):
            raise ArithmeticError("a matrix inequality no longer holds strictly")
        self.inverse = torch.cholesky_inverse(factor)

    @staticmethod
    def _inequality(M: Tensor, lam: Tensor, w: Tensor) -> Tensor:
        """M with lam and w in it, in place."""
        torch.diagonal(M, dim1=1, dim2=2)[:, :-1] += lam
        M[:, -1, -1] -= lam.sum(1) + w
        return M

    @property
    def count(self) -> float:
        """Complementarity pairs, each as often as its barrier weighs."""
        n, q = self.data.amount, self.data.dimension
        return n * (self.weight * (2 * q + 1) + len(self.point.loss.pairs))

    def complementarity(self) -> float:
        """``sum <X, M>``."""
        return float((self.point.X * self.M).sum())

    def aim(self, mu: float, previous: BoxedDirection | None) -> BoxedAim:
        """The targets for complementarity mu, with Mehrotra's correction by a previous direction."""
        own = self.data.barrier(mu)
        weighted = self.weight * own
        along = weighted[:, None] if isinstance(weighted, Tensor) else weighted
        X = (along[:, :, None] if isinstance(along, Tensor) else along) * self.inverse
        if previous is not None:
            X = X - _sym(previous.dX @ previous.response.M @ self.inverse)
        lam = self.point.lam.aim(along, None if previous is None else previous.lam)
        return BoxedAim(X, lam, self.point.loss.aim(own, None if previous is None else previous.loss))

    def prepare(self, aim: BoxedAim | None, loss: LossTarget) -> None:
        """Fix what the elimination of lam and w needs, for the targets `aim` (None: none, the linear part alone)."""
        H = self.point.X * self.inverse
        corner = H[:, -1:, -1:]
        B = H - H[:, :, -1:] - H[:, -1:, :] + corner
        B[:, -1:, :] = corner - H[:, -1:, :]
        B[:, :, -1:] = corner - H[:, :, -1:]
        B[:, -1, -1] = H[:, -1, -1]
        torch.diagonal(B, dim1=1, dim2=2).add_(torch.hstack([self.point.lam.weight, loss.curvature[:, None]]))
        self.factor, wrong = torch.linalg.cholesky_ex(B)
        if bool(wrong.any()):
            raise ArithmeticError("the multipliers of a box can no longer be told apart")
        if aim is None:
            self.right = torch.zeros_like(B[:, 0])
            return
        diagonal = torch.diagonal(aim.X, dim1=1, dim2=2)
        lam = aim.lam + diagonal[:, :-1] - diagonal[:, -1:]
        self.right = torch.hstack([lam, (loss.target - diagonal[:, -1])[:, None]])

    def respond(self, dT: Tensor | None, aim: BoxedAim | None) -> BoxedResponse:
        """The change of everything with T; without `aim` the homogeneous, linear part."""
        right = self.right if aim is not None else torch.zeros_like(self.right)
        M = torch.zeros_like(self.M)
        if dT is not None:
            M = self.data.inequality(self.data.activation.times(dT))
            right = right - _along(torch.einsum("nij,njk,nki->ni", self.point.X, M, self.inverse))
        found = torch.cholesky_solve(right[:, :, None], self.factor)[:, :, 0]
        lam, w = found[:, :-1], found[:, -1]
        M = self._inequality(M, lam, w)
        X = -_sym(self.point.X @ M @ self.inverse)
        return BoxedResponse(lam, w, M, X if aim is None else X + aim.X)

    def gather(self, found: BoxedResponse, dT: Tensor | None, aim: BoxedAim | None) -> Tensor:
        """``sum_i y_i C o (E_i X_i E_i')`` of the answered X, shape (d + 1, d + 1)."""
        return self.data.summed(found.X)

    def direction(self, dT: Tensor, aim: BoxedAim, pulled: None = None) -> BoxedDirection:
        """The step that answers a change of T."""
        found = self.respond(dT, aim)
        lam = self.point.lam.towards(aim.lam, found.lam)
        return BoxedDirection(found, found.X - self.point.X, lam, self.point.loss.move(aim.loss, found.w))

    def longest(self, direction: BoxedDirection, T: Tensor, most: tuple[float, float]) -> tuple[float, float]:
        """Longest primal and dual steps, up to `most`, from below by bisection."""
        pairs = steps(self.point.pairs, direction.pairs)

        def inside(M: Tensor, dM: Tensor, step: Tensor) -> Tensor:
            good: Tensor = (torch.linalg.cholesky_ex(M + step * dM)[1] == 0).all()
            return good

        M, X = self.M, self.point.X
        primal = bisect(lambda step: inside(M, direction.response.M, step), T.new_tensor(min(most[0], pairs[0])))
        theta = longest(X[:, -1, -1], direction.dX[:, -1, -1])
        dual = bisect(lambda step: inside(X, direction.dX, step), T.new_tensor(min(most[1], pairs[1], theta)))
        return float(primal), float(dual)

    def complementarity_after(self, step: BoxedDirection, primal: float, dual: float) -> float:
        """Sum of all products of the samples after a step."""
        X, M = self.point.X + dual * step.dX, self.M + primal * step.response.M
        return float((X * M).sum()) + products_after(self.point.pairs, step.pairs, primal, dual)

    def advanced(self, step: BoxedDirection, primal: float, dual: float) -> BoxedPoint:
        """The point after a step."""
        w = self.point.w + primal * step.response.w
        X = self.point.X + dual * step.dX
        loss = self.point.loss.step(step.loss, primal, dual, w)
        return BoxedPoint(self.point.lam.step(step.lam, primal, dual), w, _sym(X), loss)

    def add_to(self, H: Tensor, triangle: Triangle, basis: Basis) -> None:
        """Add what samples add to the system in T, in the basis, to the upper triangle of H."""
        a, kappa = self.data.activation.a, self.data.activation.corner
        root = basis.root.clone()
        root[-1] *= self.data.activation.last
        end = triangle.vector(torch.outer(basis.root[-1], basis.root[-1]))
        K, mixed = torch.zeros_like(H), H.new_zeros(triangle.m, triangle.m)
        # C o T = a K T K + kappa T_mm ee', K = diag(1, ..., 1, last): squares of either, and what is mixed.
        for rows in self._blocks(triangle):
            data = self.data.of(rows)
            one, two = root.T @ data.lifted(self.point.X[rows]), root.T @ data.lifted(self.inverse[rows])
            K.addmm_(triangle.entries(data.lowered(one) @ root).T, triangle.entries(data.lowered(two) @ root))
            mixed += one[:, :, -1].T @ two[:, :, -1]
            add_gram(H, self._eliminated(rows, triangle, one, two, end).reshape(-1, triangle.size), -1.0)
        H.add_(triangle.sandwich(K), alpha=a * a)
        v = triangle.vector(_sym(mixed))
        H.add_(torch.outer(v, end) + torch.outer(end, v), alpha=a * kappa)
        corners = float((self.point.X[:, -1, -1] * self.inverse[:, -1, -1]).sum())
        H.add_(torch.outer(end, end), alpha=kappa * kappa * corners)

    def _blocks(self, triangle: Triangle) -> list[slice]:
        n, step = self.M.shape[0], max(1, BLOCK // (triangle.size * self.M.shape[1]))
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    def _eliminated(self, rows: slice, triangle: Triangle, one: Tensor, two: Tensor, end: Tensor) -> Tensor:
        """Rows whose squares eliminating lam and w subtracts, of some samples, shape (b, m, p)."""
        a, kappa = self.data.activation.a, self.data.activation.corner
        (p1, p2), (q1, q2) = (
            (torch.index_select(part, 1, triangle.rows), torch.index_select(part, 1, triangle.columns))
            for part in (one, two)
        )
        sides = p1.mul_(q2).addcmul_(p2, q1).mul_((0.5 * a * triangle.off)[:, None])
        sides.addcmul_(end[:, None], kappa * (self.point.X[rows, -1] * self.inverse[rows, -1])[:, None, :])
        # One column per coordinate, the corner's taken from all others.
        sides = sides.mT.contiguous()
        sides[:, :-1] -= sides[:, -1:]
        sides[:, -1].neg_()
        sides *= self.data.y[rows, None, None]
        reduced: Tensor = torch.linalg.solve_triangular(self.factor[rows], sides, upper=False)
        return reduced


def _along(diagonal: Tensor) -> Tensor:
    """``<A_k, .>`` and ``<A_w, .>`` of diagonals, shape (n, m)."""
    return torch.hstack([diagonal[:, :-1] - diagonal[:, -1:], -diagonal[:, -1:]])


def _sym(matrices: Tensor) -> Tensor:
    return 0.5 * (matrices + matrices.mT)
