"""The reduced system in T, factored: ``Lambda + sum_i (what sample i adds)``, in the basis of both scalings.

Section 4 of `cvxrobust.backends.ipm.polynomial.solve`. The dense form takes ``p = (d + 1)(d + 2) / 2`` unknowns; where
nobody is attacked and samples are fewer, the system is factored over the samples instead, without ever forming anything
of size p^2. Where inputs have very different scales both lose too much to rounding: see `rows`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cvxrobust.backends.ipm.polynomial.attacked import Linearised
from cvxrobust.backends.ipm.polynomial.clean import CleanLinearised
from cvxrobust.backends.ipm.polynomial.samples import CACHED
from cvxrobust.backends.ipm.polynomial.scaling import Basis
from cvxrobust.backends.ipm.symmetric import Triangle, add_gram, mirror

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
        add_attacked: Adds what the attacked samples add, to the upper triangle of a matrix.
        clean: The others, if any.
    """

    def __init__(
        self, triangle: Triangle, basis: Basis, add_attacked: Callable[[Tensor], None], clean: CleanLinearised | None
    ) -> None:
        self.triangle = triangle
        H = basis.root.new_zeros(triangle.size, triangle.size)
        if clean is not None:
            _add_clean(H, triangle, basis, clean)
        add_attacked(H)
        mirror(H)
        diagonal = barrier_weights(basis)
        torch.diagonal(H).add_(triangle.entries(diagonal))
        self.factor, self.shift = _cholesky(H)

    def solve(self, right: Tensor) -> Solved:
        """By the factor."""
        columns = self.triangle.vector(right).T
        return Solved(self.triangle.matrix(torch.cholesky_solve(columns.contiguous(), self.factor).T))


class SampleForces:
    """Samples without attack in the reduced system, ``Lambda + A'kA``, and their forces ``k^1/2 A T``.

    Attributes:
        weights: ``k^1/2``, shape (n,).
    """

    def __init__(self, basis: Basis, clean: CleanLinearised) -> None:
        self.lifted, self.corner = clean.data.entries(basis.root)
        activation = clean.data.activation
        self.a, self.c0 = activation.a, activation.corner
        self.sign, self.basis = clean.data.sign, basis
        self.weights = torch.sqrt(clean.aim.curvature)

    def pulled(self, forces: Tensor) -> Tensor:
        """``A'k^1/2 y``, shape (k, m, m)."""
        theta = forces * self.weights
        inside = torch.stack([self.lifted.T @ (row[:, None] * self.lifted) for row in theta])
        return self.a * inside + self.c0 * theta.sum(1)[:, None, None] * torch.outer(self.corner, self.corner)

    def rows(self, triangle: Triangle, chosen: slice = slice(None)) -> Tensor:
        """``k^1/2 A`` of consecutive samples, transposed, shape (p, b)."""
        found = triangle.outer(self.lifted[chosen].T.contiguous()).mul_((self.a * triangle.off)[:, None])
        found.add_((self.c0 * triangle.vector(torch.outer(self.corner, self.corner)))[:, None])
        return found.mul_(self.weights[chosen])

    def outputs(self, forces: Tensor) -> Tensor:
        """What forces, shape (n,), make of the changes of outputs, with the labels' signs."""
        return self.sign * forces / self.weights


class KernelSchur(SampleForces):
    """Factored over samples without attack: ``(Lambda + A'kA)^-1`` by Woodbury's identity.

    With ``R'A(x_i)R = a l_i l_i' + corner e e'`` and ``Lambda^-1 = 1 + D_k D_l`` the matrix ``A Lambda^-1 A'`` is a
    polynomial of the inner products of the l_i, so it takes n^2 m operations, and memory for n^2 numbers.

    Attributes:
        stiff: For which samples forces are more accurate than what follows from T, shape (n,).
    """

    def __init__(self, basis: Basis, clean: CleanLinearised) -> None:
        super().__init__(basis, clean)
        kernel = torch.zeros_like(self.lifted[:, :1] @ self.lifted[:, :1].T)
        for scale in (torch.ones_like(basis.ratio), basis.ratio):
            inner = (self.lifted * scale) @ self.lifted.T
            side = (self.lifted * scale) @ self.corner
            end = float((self.corner * scale) @ self.corner)
            kernel += self.a**2 * inner * inner + self.a * self.c0 * (side[:, None] ** 2 + side[None, :] ** 2)
            kernel += self.c0**2 * end * end
        kernel *= self.weights[:, None] * self.weights[None, :]
        self.stiff = torch.diagonal(kernel) > 1.0
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

    def _forward(self, T: Tensor) -> Tensor:
        inside = ((self.lifted @ T) * self.lifted).sum(2)
        return self.a * inside + self.c0 * ((T @ self.corner) @ self.corner)[:, None]


def barrier_weights(basis: Basis) -> Tensor:
    """What Z and Z' add to the reduced system, entry by entry in the basis, shape (m, m)."""
    return 1.0 / (1.0 + basis.ratio[:, None] * basis.ratio[None, :])


def _add_clean(H: Tensor, triangle: Triangle, basis: Basis, clean: CleanLinearised) -> None:
    samples = SampleForces(basis, clean)
    for rows in _blocks(samples.weights.numel(), triangle.size):
        add_gram(H, samples.rows(triangle, rows).T)


def add_attacked(H: Tensor, triangle: Triangle, basis: Basis, attacked: Linearised) -> None:
    """Add what samples in balls or ellipsoids add to the reduced system, in the basis, to the upper triangle of H."""
    p, data, spread = triangle.size, attacked.data, attacked.spread
    a, n = data.activation.a, attacked.eta.shape[0]
    axes = triangle.outer(attacked.data.pulled(basis.root[:-1].T).contiguous())
    r2 = data.r[:, None] ** 2
    weights = r2 * attacked.delta
    at_dual = weights * attacked.point.moments.theta[:, None]
    at_primal = r2 * spread.diagonal / attacked.primal.s[:, None]
    # Two sums of Kronecker products, and two rows per sample, one positive and one negative. Of the sums, what lies
    # along the axes of the frame costs next to nothing.
    K = basis.root.new_zeros(p, p)
    diagonals = axes @ attacked.coupled_on
    columns = _Columns(triangle, basis, attacked, axes, min(n, max(2, BLOCK // p)))
    for rows in _blocks(n, p, pairs=attacked.joint is not None):
        part = columns.fill(rows)
        diagonals.addmm_(part.dual, at_dual[rows]).addmm_(part.primal, at_primal[rows])
        if part.whole.numel():
            samples = rows.start + part.whole
            diagonals.addmm_(part.correlated.T, weights[samples])
            points = torch.index_select(part.primal, 1, part.whole).div_(attacked.primal.s[samples])
            K.addmm_(part.correlated.T, points.T)
        positive = part.positive.T
        if attacked.joint is not None:
            # Squares do not tell signs, but both rows of a sample see the same T.
            positive = attacked.joint.of(rows).mixed(attacked.stiffness[rows], data.y[rows, None] * positive)
        add_gram(H, positive)
        add_gram(H, part.negative.T, -1.0)
    K.addmm_(diagonals, axes.T)
    H.add_(triangle.sandwich(K), alpha=a * a)


@dataclass(frozen=True)
class _Triangles:
    """Triangles of a block of attacked samples, in the basis; one column per sample, shape (p, b).

    Args:
        primal: Of ``z z'``, unscaled.
        dual: Of ``zb zb'``, unscaled.
        positive: Vectors of the squares ``kb b^2``.
        negative: Vectors of the squares that eliminating lam subtracts.
        whole: Which of them have correlations that count, shape (w,).
        correlated: Of r^2 times those, unscaled, shape (w, p).
    """

    primal: Tensor
    dual: Tensor
    positive: Tensor
    negative: Tensor
    whole: Tensor
    correlated: Tensor


class _Columns:
    """Fills the triangles of blocks of attacked samples, a few samples at a time, into memory of its own.

    Args:
        triangle: Of order m, p entries.
        basis: Of the reduced system.
        at: The attacked samples around the point.
        axes: Triangles of ``r_k r_k'``, r_k the row of R of an attack's coordinate k, shape (p, q).
        most: Samples of a block, at most.

    Attributes:
        triangle, basis, at, axes, most: As given.
        top: The rows r_k, shape (q, m).
        memory: Of the four kinds of triangles, shape (4, p, most); every call of `fill` overwrites it.
        a: The activation's.
        corner: Triangle of the activation's constant part, shape (p, 1).
        off: 1 for entries on the diagonal, sqrt(2) for others, shape (p, 1).
        primal, dual: ``R'z`` and ``R'zb`` with the activation's factors, shape (m, n).
        along: Row of lam: diagonals of ``S D^-1``, scaled, shape (q, n).
        mean: The same: ``theta R'D^-1 a``, scaled, shape (m, n).
        pull: The same: ``R'S p / s``, scaled, shape (m, n).
        share: ``o / sqrt(omega)``, shape (n,).
        correlated: Scale of the correlations in the row of lam, shape (n, 1).
    """

    def __init__(self, triangle: Triangle, basis: Basis, at: Linearised, axes: Tensor, most: int) -> None:
        self.triangle, self.basis, self.at, self.axes = triangle, basis, at, axes
        self.most: int = most
        self.memory = basis.root.new_empty(4, triangle.size, most)
        activation, root, r = at.data.activation, basis.root, at.data.r[:, None]
        self.a, top = activation.a, root[:-1]
        self.top = at.data.pulled(top.T).T
        self.corner = activation.corner * triangle.vector(torch.outer(root[-1], root[-1]))[:, None]
        self.off = triangle.off[:, None]
        self.primal, self.dual = ((x @ top + activation.last * root[-1]).T for x in (at.x_primal, at.x_dual))
        # The row of lam, section 4: sym(S D^-1), D^-1 a zb' and (S p / s) z'.
        scale = activation.a * torch.rsqrt(at.lam_weight)[:, None]
        self.along = (scale * r * r * at.axes_delta).T
        self.mean = (scale * r * at.point.moments.theta[:, None] * at.delta * at.point.moments.mean @ self.top).T
        self.pull = (scale * r / at.primal.s[:, None] * at.cov_attack @ self.top).T
        self.share = at.off * torch.rsqrt(at.lam_weight)
        self.correlated = 0.5 * scale * r * r

    def fill(self, rows: slice) -> _Triangles:
        """The triangles of consecutive samples; the next call overwrites them."""
        size, step = rows.stop - rows.start, self._step()
        parts = []
        for start in range(0, size, step):
            stop = min(start + step, size)
            parts.append(self._fill(slice(rows.start + start, rows.start + stop), slice(start, stop)))
        primal, dual, positive, negative = self.memory[:, :, :size]
        whole = self.at.spread.whole[self.at.spread.between(rows)] - rows.start
        return _Triangles(primal, dual, positive, negative, whole, torch.cat(parts))

    def _step(self) -> int:
        few: int = max(1, CACHED // self.triangle.size)
        return few if self.basis.root.device.type == "cpu" else self.most

    def _fill(self, rows: slice, place: slice) -> Tensor:
        """Fill some places; the triangles of correlations that count."""
        triangle, spread, top = self.triangle, self.at.spread, self.top
        out_primal, out_dual, out_positive, out_negative = self.memory[:, :, place]
        (p1, p2), (d1, d2), (m1, m2), (l1, l2) = (
            triangle.factors(part[:, rows].contiguous()) for part in (self.primal, self.dual, self.mean, self.pull)
        )
        torch.mul(p1, p2, out=out_primal)
        torch.mul(d1, d2, out=out_dual)
        turned = m1.mul_(d2).addcmul_(m2, d1).addcmul_(l1, p2).addcmul_(l2, p1).mul_(0.5)
        turned.addmm_(self.axes, self.along[:, rows])
        places = spread.between(rows)
        whole, half = spread.whole[places], spread.off[places] @ top
        correlated = triangle.entries(half.mT @ top).mul_(self.at.data.r[whole, None] ** 2)
        far = top.T @ (self.at.delta[whole, :, None] * half)
        far = triangle.entries(far.add_(far.mT.clone())).mul_(self.correlated[whole])
        turned.index_add_(1, whole - rows.start, far.T)
        bilinear = p1.mul_(d2).addcmul_(p2, d1).mul_(0.5 * self.a * self.off).add_(self.corner)
        torch.mul(turned, self.off, out=out_negative)
        bilinear.addcmul_(out_negative, self.share[rows], value=-1.0)
        torch.mul(bilinear, torch.sqrt(self.at.stiffness[rows]), out=out_positive)
        return correlated


def _blocks(n: int, width: int, *, pairs: bool = False) -> list[slice]:
    step = max(1, BLOCK // width)
    step = max(2, step - step % 2) if pairs else step
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
