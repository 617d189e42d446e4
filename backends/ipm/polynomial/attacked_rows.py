"""Attacked samples as rows, whose squares are what they add to the reduced system: nothing is squared, nor subtracted.

Section 4 of `cvxrobust.backends.ipm.polynomial.solve` writes what sample i adds as a sum of squares, linear in T and
dlam. Here these squares' roots are the rows. Those of a sample without b are projected onto the complement of dlam's
column, of length ``omega^1/2``, and its own row becomes ``k^1/2 (b_0 - o q / omega)``. Solutions come with the rows'
values, the forces, from which the blocks of the new X follow by multiplications alone: a force is exact to its own
size, where its T is a small difference of large terms.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.backends.ipm.polynomial.attacked import Linearised, Pulled
from cvxrobust.backends.ipm.polynomial.scaling import Basis
from cvxrobust.backends.ipm.symmetric import Triangle


class AttackedRows:
    """The rows of all attacked samples, those with weak correlations first.

    A covariance that is taken to be diagonal makes most of its rows multiples of the same vectors ``r_j r_k'`` without
    dlam, j < k: these add up over the samples to a single row each.

    Args:
        triangle: Of order m, p entries.
        basis: Of the reduced system.
        at: The attacked samples around the point, prepared.

    Attributes:
        matrix: All rows, shape (k, p).
        ends: Those with b, where pairs of them share a number (`cvxrobust.backends.ipm.loss_sides.Joint`), shape (n,).
    """

    def __init__(self, triangle: Triangle, basis: Basis, at: Linearised) -> None:
        self.triangle, self.at = triangle, at
        self.top, self.end = basis.root[:-1], basis.root[-1]
        # What attacks see of the basis, a row for each of their q coordinates.
        self.seen = at.data.pulled(self.top.T).T
        q = self.seen.shape[0]
        weak = torch.ones(at.eta.shape[0], dtype=torch.bool, device=self.top.device)
        weak[at.spread.whole] = False
        near = torch.nonzero(weak)[:, 0]
        self.axes = torch.triu_indices(q, q, 1, device=self.top.device)
        self.shared, rows = self._off_axes(near)
        kinds = ((near, False), (at.spread.whole, True))
        self.groups = [self._group(samples, whole) for samples, whole in kinds if samples.numel()]
        self.matrix = torch.cat([rows, *(group.rows for group in self.groups)])
        if at.joint is not None:
            self.ends = self._ends(rows.shape[0])
            self.matrix[self.ends] = at.joint.mixed(at.stiffness, self.matrix[self.ends])

    def pulled(self, forces: Tensor, T: Tensor) -> Pulled:
        """What the samples answer to a solution, in the terms of `Linearised.respond`.

        Args:
            forces: Values of the rows, shape (k,).
            T: The solution in the basis, shape (m, m).
        """
        at, entries = self.at, self.triangle.vector(T)
        n, q = at.eta.shape
        if at.joint is not None:
            forces = forces.index_copy(0, self.ends, at.joint.unmixed(at.stiffness, forces[self.ends]))
        off, at_rows = forces[: self.shared.numel()], self.shared.numel()
        curved = T.new_zeros(q, q)
        if off.numel():
            curved[self.axes[0], self.axes[1]] = off / self.shared
            curved = curved + curved.T
        found = Pulled(*(T.new_empty(shape) for shape in ((n,), (n,), (n, q), (n, q), (n, q, q))))
        for group in self.groups:
            size = group.rows.shape[0]
            self._answer(group, forces[at_rows : at_rows + size], entries, curved, found)
            at_rows += size
        return found

    def _ends(self, place: int) -> Tensor:
        """Where the rows with b are, in the order of the samples, shape (n,); those of the groups begin at `place`."""
        found = torch.empty_like(self.at.eta[:, 0], dtype=torch.long)
        for group in self.groups:
            size, each = group.rows.shape[0], group.unit.shape[1] + 1
            found[group.samples] = torch.arange(place + each - 1, place + size, each, device=found.device)
            place += size
        return found

    # -- rows ----------------------------------------------------------------------------------------------------

    def _off_axes(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the rows that samples with diagonal covariances share, and the rows."""
        at, (j, k) = self.at, self.axes
        if not samples.numel():
            return self.top.new_zeros(0), self.top.new_zeros(0, self.triangle.size)
        S, delta = at.spread.diagonal[samples], at.delta[samples]
        crossed = S.T @ ((at.data.r[samples] ** 4)[:, None] * delta)
        weights = torch.sqrt(crossed[j, k] + crossed[k, j])
        return weights, weights[:, None] * self._products(self.seen[j], self.seen[k]) * at.data.activation.a

    def _products(self, u: Tensor, v: Tensor) -> Tensor:
        """Vectors of ``sym(u v')``, whose inner product with that of M is ``u'M v``; shape (..., p)."""
        rows, columns = self.triangle.rows, self.triangle.columns
        return 0.5 * self.triangle.off * (u[..., rows] * v[..., columns] + u[..., columns] * v[..., rows])

    def _group(self, samples: Tensor, whole: bool) -> "_Group":
        at, data, top, seen = self.at, self.at.data, self.top, self.seen
        theta, mean = at.point.moments.theta[samples], at.point.moments.mean[samples]
        attack, s, delta = at.primal.attack[samples], at.primal.s[samples], at.delta[samples]
        y, r = data.y[samples], data.r[samples]
        a, b, q = data.activation.a, samples.numel(), seen.shape[0]
        primal, dual = (x[samples] @ top + data.activation.last * self.end for x in (at.x_primal, at.x_dual))
        root_delta = torch.sqrt(delta)
        if whole:
            factor = torch.linalg.cholesky(at.point.moments.cov[samples])
            left = factor.mT @ seen
            over = factor.mT * root_delta[:, None, :]
            first = self._products(left[:, :, None, :], seen[None, None, :, :]) * root_delta[:, None, :, None]
            first, over = first.reshape(b, q * q, -1), over.reshape(b, q * q)
            along = (factor.mT @ attack[:, :, None])[:, :, 0]
        else:
            factor = torch.sqrt(at.spread.diagonal[samples])
            left, over = factor[:, :, None] * seen, factor * root_delta
            first, along = over[:, :, None] * self._products(seen, seen), factor * attack
        at_mean = torch.sqrt(theta)[:, None] * root_delta
        second = at_mean[:, :, None] * self._products(seen, dual[:, None, :])
        third = torch.rsqrt(s)[:, None, None] * self._products(left, primal[:, None, :])
        own = torch.sqrt(at.point.lam.weight[samples])[:, None]
        yr = (y * r)[:, None, None]
        rows = torch.cat([a * yr * r[:, None, None] * first, a * yr * second, a * yr * third], dim=1)
        rows = torch.cat([rows, torch.zeros_like(rows[:, :1])], dim=1)
        column = torch.cat([over, at_mean * mean, along * torch.rsqrt(s)[:, None], own], dim=1)
        length = torch.linalg.vector_norm(column, dim=1)
        unit = column / length[:, None]
        inside = (unit[:, None, :] @ rows)[:, 0]
        rows -= unit[:, :, None] * inside[:, None, :]
        corner = data.activation.corner * self.triangle.vector(torch.outer(self.end, self.end))
        b_0 = y[:, None] * (a * self._products(dual, primal) + corner)
        share = at.off[samples] / length
        last = torch.sqrt(at.stiffness[samples])[:, None] * (b_0 - share[:, None] * inside)
        rows = torch.cat([rows, last[:, None, :]], dim=1)
        return _Group(
            samples, rows.reshape(b * rows.shape[1], -1), unit, length, inside, share,
            factor,
        )  # fmt: skip

    def _answer(self, group: "_Group", forces: Tensor, entries: Tensor, curved: Tensor, found: Pulled) -> None:
        """Fill in the answer of a group."""
        at, samples = self.at, group.samples
        q = self.seen.shape[0]
        f = forces.reshape(samples.numel(), -1)
        force = torch.sqrt(at.stiffness[samples]) * f[:, -1]
        pushed = group.share * force
        f = f[:, :-1] - group.unit * pushed[:, None]
        own = at.point.lam.weight[samples]
        # Of two formulas for dlam the one whose terms are not much larger than it.
        lam = -(group.inside @ entries + pushed) / group.length
        lam = torch.where(own > 0.5 * group.length**2, f[:, -1] * torch.rsqrt(own), lam)
        theta, s = at.point.moments.theta[samples], at.primal.s[samples]
        delta, D = at.delta[samples], at.primal.D[samples]
        first, second, third = f[:, : -2 * q - 1], f[:, -2 * q - 1 : -q - 1], f[:, -q - 1 : -1]
        if group.factor.dim() == 3:
            block = group.factor @ (first.reshape(-1, q, q) * torch.sqrt(D)[:, None, :])
            pull = (group.factor @ third[:, :, None])[:, :, 0]
        else:
            scale = at.data.y[samples] * at.data.r[samples] ** 2
            block = (scale[:, None] * group.factor**2)[:, :, None] * curved
            torch.diagonal(block, dim1=1, dim2=2).add_(group.factor * torch.sqrt(D) * first)
            pull = group.factor * third
        found.force[samples], found.lam[samples] = force, lam
        found.pull[samples] = pull * torch.rsqrt(s)[:, None]
        found.gbar[samples] = second * torch.rsqrt(theta[:, None] * delta)
        found.block[samples] = block


@dataclass(frozen=True)
class _Group:
    """The rows of some samples: k of each without b, projected, and one with b.

    Args:
        samples: Their numbers, shape (b,).
        rows: Sample by sample, shape (b (k + 1), p).
        unit: dlam's column over its length, shape (b, k).
        length: ``omega^1/2``, shape (b,).
        inside: What the projection has taken, ``unit'rows``, shape (b, p).
        share: ``o / omega^1/2``, shape (b,).
        factor: Roots of the covariances: Cholesky factors, shape (b, q, q), or of diagonals alone, shape (b, q).
    """

    samples: Tensor
    rows: Tensor
    unit: Tensor
    length: Tensor
    inside: Tensor
    share: Tensor
    factor: Tensor
