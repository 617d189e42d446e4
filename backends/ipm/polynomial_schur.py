"""The reduced system in T, factored: ``Lambda + sum_i (what sample i adds)``, in the basis of both scalings.

Section 4 of `cvxrobust.backends.ipm.polynomial`. The dense form takes ``p = (d + 1)(d + 2) / 2`` unknowns; where nobody
is attacked and samples are fewer, the system is factored over the samples instead, without ever forming anything of
size p^2.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cvxrobust.backends.ipm.polynomial_attacked import Linearised
from cvxrobust.backends.ipm.polynomial_clean import CleanLinearised
from cvxrobust.backends.ipm.polynomial_samples import CACHED
from cvxrobust.backends.ipm.polynomial_scaling import Basis
from cvxrobust.backends.ipm.triangles import Triangle, add_gram, mirror

BLOCK = 2**22
"""Entries of the largest temporary that holds triangles of several samples."""


@dataclass(frozen=True)
class Solved:
    """Solutions of the reduced system.

    Args:
        T: Symmetric matrices in the basis, shape (k, m, m).
        forces: Where the system was factored over samples, ``curvature_i^1/2 <A(x_i), T>``, more accurate than T has
            it; shape (k, n).
    """

    T: Tensor
    forces: Tensor | None = None

    def plus(self, other: "Solved") -> "Solved":
        """The sum."""
        forces = None if self.forces is None or other.forces is None else self.forces + other.forces
        return Solved(self.T + other.T, forces)

    def where(self, chosen: Tensor, other: "Solved") -> "Solved":
        """These solutions where chosen, else the other ones."""
        forces = None
        if self.forces is not None and other.forces is not None:
            forces = torch.where(chosen[:, None], self.forces, other.forces)
        return Solved(torch.where(chosen[:, None, None], self.T, other.T), forces)


class Factored(Protocol):
    """Solves with the reduced system."""

    shift: float
    """By how much, relative to its diagonal, the matrix had to be shifted for a factor to exist."""

    def solve(self, right: Tensor) -> Solved:
        """From symmetric matrices, shape (k, m, m)."""
        ...


class DenseSchur:
    """Formed and factored over the entries of T.

    Args:
        triangle: Of order m.
        basis: Of both scalings.
        attacked: The attacked samples, if any.
        clean: The others, if any.
    """

    def __init__(
        self, triangle: Triangle, basis: Basis, attacked: Linearised | None, clean: CleanLinearised | None
    ) -> None:
        self.triangle = triangle
        H = basis.root.new_zeros(triangle.size, triangle.size)
        if clean is not None:
            _add_clean(H, triangle, basis, clean)
        if attacked is not None:
            _add_attacked(H, triangle, basis, attacked)
        H = mirror(H)
        diagonal = _lambda(basis)
        torch.diagonal(H).add_(triangle.entries(diagonal))
        self.factor, self.shift = _cholesky(H)

    def solve(self, right: Tensor) -> Solved:
        """By the factor."""
        columns = self.triangle.vector(right).T
        return Solved(self.triangle.matrix(torch.cholesky_solve(columns.contiguous(), self.factor).T))


class KernelSchur:
    """Factored over samples without attack: ``(Lambda + A'kA)^-1`` by Woodbury's identity.

    With ``R'A(x_i)R = a l_i l_i' + corner e e'`` and ``Lambda^-1 = 1 + D_k D_l`` the matrix ``A Lambda^-1 A'`` is a
    polynomial of the inner products of the l_i, so it takes n^2 m operations, and memory for n^2 numbers.
    """

    def __init__(self, basis: Basis, clean: CleanLinearised) -> None:
        self.lifted, self.corner = clean.data.entries(basis.root)
        activation = clean.data.activation
        self.a, self.c0 = activation.a, activation.corner
        self.sign, self.basis = clean.data.sign, basis
        self.weights = torch.sqrt(clean.aim.curvature)
        kernel = torch.zeros_like(self.lifted[:, :1] @ self.lifted[:, :1].T)
        for scale in (torch.ones_like(basis.ratio), basis.ratio):
            inner = (self.lifted * scale) @ self.lifted.T
            side = (self.lifted * scale) @ self.corner
            end = float((self.corner * scale) @ self.corner)
            kernel += self.a**2 * inner * inner + self.a * self.c0 * (side[:, None] ** 2 + side[None, :] ** 2)
            kernel += self.c0**2 * end * end
        kernel *= self.weights[:, None] * self.weights[None, :]
        self.stiff = torch.diagonal(kernel) > 1.0
        """Where forces are more accurate than what follows from T, shape (n,)."""
        torch.diagonal(kernel).add_(1.0)
        self.factor, self.shift = _cholesky(kernel)

    def solve(self, right: Tensor) -> Solved:
        """``Lambda^-1 (b - A'k^1/2 y)`` with ``(I + ...) y = k^1/2 A Lambda^-1 b``.

        Along samples with a large curvature the two terms nearly cancel. But ``y = k^1/2 A T``: what the multipliers
        need is known without that cancellation.
        """
        plain = (1.0 + self.basis.ratio[:, None] * self.basis.ratio[None, :]) * right
        values = self.weights[:, None] * self._forward(plain).T
        forces = torch.cholesky_solve(values, self.factor).T
        back = self.pulled(forces)
        return Solved(plain - (1.0 + self.basis.ratio[:, None] * self.basis.ratio[None, :]) * back, forces)

    def pulled(self, forces: Tensor) -> Tensor:
        """``A'k^1/2 y``, shape (k, m, m)."""
        theta = forces * self.weights
        inside = torch.stack([self.lifted.T @ (row[:, None] * self.lifted) for row in theta])
        return self.a * inside + self.c0 * theta.sum(1)[:, None, None] * torch.outer(self.corner, self.corner)

    def _forward(self, T: Tensor) -> Tensor:
        inside = ((self.lifted @ T) * self.lifted).sum(2)
        return self.a * inside + self.c0 * ((T @ self.corner) @ self.corner)[:, None]


def _lambda(basis: Basis) -> Tensor:
    return 1.0 / (1.0 + basis.ratio[:, None] * basis.ratio[None, :])


def _add_clean(H: Tensor, triangle: Triangle, basis: Basis, clean: CleanLinearised) -> None:
    lifted, end = clean.data.entries(basis.root)
    activation = clean.data.activation
    corner = activation.corner * triangle.vector(torch.outer(end, end))
    weights = torch.sqrt(clean.aim.curvature)
    for rows in _blocks(lifted.shape[0], triangle.size):
        part = lifted[rows]
        vectors = triangle.outer(part, part).mul_(activation.a * triangle.off).add_(corner).mul_(weights[rows, None])
        add_gram(H, vectors)


def _add_attacked(H: Tensor, triangle: Triangle, basis: Basis, attacked: Linearised) -> None:
    p = triangle.size
    a, d, n = attacked.data.activation.a, attacked.eta.shape[1], attacked.eta.shape[0]
    K = basis.root.new_zeros(p, p)
    diagonals = basis.root.new_zeros(d, p)
    weights = attacked.data.r[:, None] ** 2 * attacked.delta
    rows_of = _Rows(triangle, basis, attacked, min(n, max(1, BLOCK // p)))
    for rows in _blocks(n, p):
        # Two sums of Kronecker products, and two rows per sample, one positive and one negative.
        part = rows_of.fill(rows)
        K.addmm_(part.spread.T, part.points)
        diagonals.addmm_(weights[rows].T, part.whole)
        add_gram(H, part.positive)
        add_gram(H, part.negative, -1.0)
    axes = basis.root[:d]
    K.addmm_(diagonals.T, triangle.outer(axes, axes))
    H.add_(triangle.sandwich(K), alpha=a * a)


@dataclass(frozen=True)
class _Triangles:
    """Triangles of a block of attacked samples, in the basis, each of shape (b, p).

    Args:
        spread: Of ``r^2 S``, unscaled.
        points: Of ``z z' / s``, unscaled.
        whole: Of ``r^2 S + theta zb zb'``, unscaled.
        positive: Vectors of the squares ``kb b^2``.
        negative: Vectors of the squares that eliminating lam subtracts.
    """

    spread: Tensor
    points: Tensor
    whole: Tensor
    positive: Tensor
    negative: Tensor


class _Rows:
    """Fills the triangles of blocks of attacked samples, a few samples at a time, into memory of its own."""

    def __init__(self, triangle: Triangle, basis: Basis, at: Linearised, most: int) -> None:
        self.triangle, self.basis, self.at = triangle, basis, at
        self.most: int = most
        memory = basis.root.new_empty(5, most, triangle.size)
        self.memory = _Triangles(*memory)
        activation, root = at.data.activation, basis.root
        self.a = activation.a
        self.corner = activation.corner * triangle.entries(torch.outer(root[-1], root[-1]))
        top = root[:-1]
        self.primal, self.dual = (x @ top + activation.last * root[-1] for x in (at.x_primal, at.x_dual))
        self.mean = (at.delta * at.point.moments.mean) @ top
        self.pull = (at.cov_attack / at.primal.s[:, None]) @ top

    def fill(self, rows: slice) -> _Triangles:
        """The triangles of consecutive samples; the next call overwrites them."""
        size, step = rows.stop - rows.start, self._step()
        for start in range(0, size, step):
            stop = min(start + step, size)
            self._fill(slice(rows.start + start, rows.start + stop), slice(start, stop))
        found = self.memory
        parts = (found.spread, found.points, found.whole, found.positive, found.negative)
        return _Triangles(*(part[:size] for part in parts))

    def _step(self) -> int:
        if self.basis.root.device.type != "cpu":
            return self.most
        few: int = CACHED // self.triangle.size
        return max(1, few)

    def _fill(self, rows: slice, place: slice) -> None:
        at, triangle, out = self.at, self.triangle, self.memory
        top, r = self.basis.root[:-1], at.data.r[rows, None]
        theta, s = at.point.moments.theta[rows, None], at.primal.s[rows, None]
        primal, dual = self.primal[rows], self.dual[rows]
        half = at.point.moments.cov[rows] @ top
        spread = triangle.entries(half.mT @ top).mul_(r**2)
        out.spread[place] = spread
        out.points[place] = triangle.outer(primal, primal).div_(s)
        out.whole[place] = triangle.outer(dual, dual).mul_(theta).add_(spread)
        bilinear = triangle.outer(primal, dual).mul_(self.a).add_(self.corner).mul_(triangle.off)
        torch.mul(bilinear, torch.sqrt(at.parallel[rows, None]), out=out.positive[place])
        # The row of lam, section 4: sym(S D^-1), D^-1 a zb', (S p / s) z', and the bilinear one.
        turned = top.T @ (at.delta[rows, :, None] * half)
        turned = triangle.entries(turned.add_(turned.mT.clone())).mul_(0.5 * r**2)
        turned.add_(triangle.outer(self.mean[rows], dual).mul_(theta * r))
        turned.add_(triangle.outer(self.pull[rows], primal).mul_(r))
        turned.mul_(self.a * triangle.off).add_((at.parallel[rows] * at.off[rows])[:, None] * bilinear)
        torch.mul(turned, torch.rsqrt(at.lam_weight[rows, None]), out=out.negative[place])


def _blocks(n: int, width: int) -> list[slice]:
    step = max(1, BLOCK // width)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _cholesky(H: Tensor) -> tuple[Tensor, float]:
    """The factor, and by how much (relative to its diagonal) the matrix had to be shifted for it to exist."""
    factor, wrong = torch.linalg.cholesky_ex(H)
    shift = 0.0
    while int(wrong) and shift < 1.0:
        shift = max(1e-14, 10.0 * shift)
        # Relative to each entry: what is small to the whole matrix wipes out unknowns of a small scale.
        moved = H + torch.diag(shift * torch.diagonal(H).abs())
        factor, wrong = torch.linalg.cholesky_ex(moved)
    return factor, shift
