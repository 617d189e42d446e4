"""How the samples couple the slots: one system of linear equations, in the smallest of three orders.

The slots' own blocks B_k are inverted one by one. What the samples see of them are the sums ``delta_j`` over the slots
of a group (those with the same gates; for one-sided programmes each slot alone), with

    N_j = sum_k (B_k^-1)_uu = R_j R_j',          (I + R'QR) y = R^-1 d,  delta = R y,  lambda = Q delta,

where Q is the sum of the samples' forms. The order is that of the sums. Where forms have nothing but one direction
each, ``Q = A' diag(kappa) A``, it can be that of the samples as well: with ``k = diag(kappa)^1/2``,
``lambda = A' k (I + k A R R'A' k)^-1 k A d``. Either matrix is the identity plus something positive, and is formed by
products of rows ``k A R`` alone.

In attacked one-sided programmes each sample sees every slot in its one direction, but H alone in all else: ``Q = A'
diag(kappa) A + S'FS``, S the sums over slots with equal gates. There both are used. An orthogonal matrix takes the
``R'S'`` of each group to triangular form T, so that in the coordinates it turns y into F meets the first D of a group
only, as ``C C' = I + T'FT``, and the matrix is the identity elsewhere. What is left are the rows ``k A R``, turned, and
with C taken out of their first coordinates: an identity plus their products in the order of the samples.

Along their vectors slots are soft: the second-order cone of a length leaves ``B_k = M_k - c w w'``, where M_k is the
block with eta^-2 on its diagonal, and nearly all of that is taken away along w. To invert B_k would lose what the
samples say about this direction. So M_k takes its place above, and the amplitudes ``b_k = c w'u_k`` are unknowns of
their own. With ``v = M_k^-1 w``, P the map from sums to lambda above, and Psi = M_k - eta^-2 on u,

    (diag(1 / nu) + V'PV) b = V'r - V'P d,     1 / nu = eta^2 / 2 + v'Psi v + eta^2 ||Psi v||^2,

where again nothing cancels: ``1 / c - w'v`` is what 1 / nu is.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.groups import Groups
from cvxrobust.backends.ipm.symmetric import add_gram, mirror
from cvxrobust.core.arrays import worth_a_look

EPS = float(torch.finfo(torch.float64).eps)
STIFF = 1e-2
"""Share of the sums below which what samples leave of them is the smaller part."""

ATTEMPTS = 8
"""Larger and larger multiples of the identity are added where rounding has spoilt positive definiteness."""


def cholesky(matrix: Tensor) -> Tensor:
    """The lower factor of symmetric matrices, moved a little where they are not positive definite."""
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(matrix)
    diagonal = torch.diagonal(matrix, dim1=-2, dim2=-1).abs()
    failed = info > 0
    for attempt in range(ATTEMPTS):
        if worth_a_look(attempt, failed) and not bool(failed.any()):
            return factor
        more = 4.0**attempt * 8.0 * EPS * matrix.shape[-1] * diagonal + float(torch.finfo(torch.float64).tiny)
        tried, info = torch.linalg.cholesky_ex(matrix + torch.diag_embed(more))
        factor, failed = torch.where(failed[..., None, None], tried, factor), failed & (info > 0)
    return torch.where(failed[..., None, None], torch.diag_embed(torch.sqrt(diagonal + 1.0)), factor)


def gram(rows: Tensor) -> Tensor:
    """``rows' rows``, at little more than half the cost of a product that does not know that it is symmetric."""
    found = rows.new_empty(rows.shape[1], rows.shape[1])
    add_gram(found, rows, anew=True)
    mirror(found)
    return found


class Coupling:
    """The factored system in the order of the slots' sums; other orders are its subclasses.

    Attributes:
        columns: `inner` of every slot's v.
        amplitudes: The factor of the system of amplitudes.
    """

    columns: Tensor
    amplitudes: Tensor

    def __init__(self, groups: Groups, inverses: Tensor, ridge: Tensor, softness: Tensor) -> None:
        """Factor it.

        Args:
            groups: What samples see of the slots.
            inverses: ``M_k^-1`` of the sums' coordinates, shape (K, F, F).
            ridge: The vectors v, shape (K, E).
            softness: ``1 / nu``, shape (K,).
        """
        self.groups, self.ridge, self.samples = groups, ridge, groups.samples
        P, F = groups.shape
        N = inverses if groups.alone else inverses.new_zeros((P, F, F)).index_add(0, groups.members, inverses)
        self.R = cholesky(N)
        between = self._factor()
        self.amplitudes = cholesky(torch.diag(softness) + between)

    def _factor(self) -> Tensor:
        """Factor the system; the columns, and ``V'PV``."""
        rows = self.groups.first_rows(self.R)
        loose = rows.new_empty(rows.shape[1], rows.shape[1])
        add_gram(loose, rows, anew=True)
        add_curved(loose, self.groups, self.R)
        if self.samples.rho is not None:
            data = self.samples.data
            inputs = data.X[:, None, :].expand(-1, data.shape[2], -1)
            add_gram(loose, self.groups.rows(inputs, self.R, self.samples.rho))
        mirror(loose)
        self.factor = one_more(loose)
        start = self._apart()
        y = torch.cholesky_solve(start, self.factor)
        self.columns = torch.cat([y, start - y])
        return _symmetric(start.T @ (loose @ y))

    def _apart(self) -> Tensor:
        """``R^-1`` times each slot's v in the sum of its group, shape (P F, K)."""
        groups, (P, F) = self.groups, self.groups.shape
        tails = self.ridge[:, self.ridge.shape[1] - F :] * groups.signs
        tails = torch.linalg.solve_triangular(self.R[groups.members], tails[..., None], upper=False)[..., 0]
        K = int(tails.shape[0])
        found: Tensor = tails.new_zeros((P, F, K))
        found[groups.members, :, torch.arange(K, device=tails.device)] = tails
        return found.reshape(P * F, K)

    def inner(self, sums: Tensor) -> Tensor:
        """The solution of the factored system for ``sums`` of uncoupled vectors, a column; linear in them."""
        q = torch.linalg.solve_triangular(self.R, sums[..., None], upper=False).reshape(-1, 1)
        y = torch.cholesky_solve(q, self.factor)
        return torch.cat([y, q - y])

    def force(self, inner: Tensor) -> Tensor:
        """``lambda = Q delta`` for ``delta = (I + N Q)^-1 sums``, shape (P, F)."""
        groups, samples = self.groups, self.samples
        y, rest = inner.reshape(2, self.R.shape[0], -1, 1)

        def by_rest() -> Tensor:
            # N lambda = sums - delta, where delta is what is small.
            force: Tensor = torch.linalg.solve_triangular(self.R.mT, rest, upper=True)[..., 0]
            return force

        def by_forms() -> Tensor:
            delta = (self.R @ y)[..., 0]
            force = groups.push(samples.kappa * groups.measure(delta))
            if samples.form is not None or samples.rho is not None:
                force = force + groups.gather(samples.bend(groups.outputs(delta)))
            return force

        return choose(stiff(y, rest), by_rest, by_forms)


class BySamples(Coupling):
    """The same in the order of the samples, where each sees nothing but one direction."""

    def _factor(self) -> Tensor:
        self.factor = one_more(gram(self.groups.first_rows(self.R).T))
        seen = torch.sqrt(self.samples.kappa).reshape(-1, 1) * self.groups.seen(self.ridge)
        half = torch.linalg.solve_triangular(self.factor, seen, upper=False)
        self.columns = torch.linalg.solve_triangular(self.factor.mT, half, upper=True)
        return gram(half)

    def inner(self, sums: Tensor) -> Tensor:
        """Multipliers of the samples' directions, each divided by the root of its weight."""
        seen = torch.sqrt(self.samples.kappa) * self.groups.measure(sums)
        return torch.cholesky_solve(seen.reshape(-1, 1), self.factor)

    def force(self, inner: Tensor) -> Tensor:
        """What these multipliers do to the sums."""
        return self.groups.push(torch.sqrt(self.samples.kappa) * inner.reshape(self.samples.kappa.shape))


class ByBoth(Coupling):
    """The same where the slots are alone and the samples' further directions see sums of them only."""

    def __init__(self, groups: Groups, inverses: Tensor, ridge: Tensor, softness: Tensor, shared: Groups) -> None:
        """Factor it; `shared` are the slots with equal gates."""
        self.shared, members = shared, shared.members
        # The place of each slot among those of its group.
        order = torch.argsort(members, stable=True)
        first = torch.searchsorted(members[order].contiguous(), torch.arange(shared.shape[0], device=members.device))
        self.place = torch.empty_like(members)
        self.place[order] = torch.arange(members.shape[0], device=members.device) - first[members[order]]
        self.most = int(self.place.max()) + 1
        super().__init__(groups, inverses, ridge, softness)

    def _together(self, parts: Tensor) -> Tensor:
        """Parts of slots, shape (K, F, m), as parts of groups, shape (P, most F, m)."""
        found = parts.new_zeros((self.shared.shape[0], self.most, *parts.shape[1:]))
        found[self.shared.members, self.place] = parts
        return found.flatten(1, 2)

    def _turned(self, parts: Tensor) -> tuple[Tensor, Tensor]:
        """What F meets and what it does not, shapes (P D, m) and (rest, m), of parts of slots."""
        D = self.shared.shape[1]
        found = self.turn.mT @ self._together(parts)
        return found[:, :D].flatten(0, 1), found[:, D:].flatten(0, 1)

    def _factor(self) -> Tensor:
        groups, shared, (K, F), D = self.groups, self.shared, self.groups.shape, self.shared.shape[1]
        tops = self._together(self.R[:, groups.offset :].mT * self.samples.data.signs[:, None, None])
        self.turn, T = torch.linalg.qr(tops, mode="complete")
        T = T[:, :D].mT.contiguous()
        self.loose = tops.new_zeros((shared.shape[0] * D,) * 2)
        add_curved(self.loose, shared, T)
        mirror(self.loose)
        self.stiffness = one_more(self.loose)
        rows = groups.first_rows(self.R).view(-1, K, F).permute(1, 2, 0)
        self.top, rest = self._turned(rows)
        self.seen = torch.cat([torch.linalg.solve_triangular(self.stiffness, self.top, upper=False), rest])
        self.factor = one_more(gram(self.seen))
        start = self._apart().view(K, F, -1)
        self.columns, top, seen = self._solved(start)
        half = torch.linalg.solve_triangular(self.factor, seen, upper=False)
        return gram(half) + _symmetric(top.T @ (self.loose @ torch.cholesky_solve(top, self.stiffness)))

    def _solved(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`inner` for columns of parts, shape (K, F, m); what F meets of these, and what the samples see of them."""
        top, rest = self._turned(q)
        seen = self.seen.T @ torch.cat([torch.linalg.solve_triangular(self.stiffness, top, upper=False), rest])
        t = torch.cholesky_solve(seen, self.factor)
        pulled = top - self.top @ t
        y = torch.cholesky_solve(pulled, self.stiffness)
        return torch.cat([t, y, pulled - y]), top, seen

    def inner(self, sums: Tensor) -> Tensor:
        """Multipliers of the samples' directions, and what F meets: before and after its own force."""
        return self._solved(torch.linalg.solve_triangular(self.R, sums[..., None], upper=False))[0]

    def force(self, inner: Tensor) -> Tensor:
        """What all of these do to the slots, shape (K, F)."""
        (P, D), F, n = self.shared.shape, self.groups.shape[1], self.seen.shape[1]
        t, y, rest = inner[:n], inner[n : n + P * D], inner[n + P * D :]
        rest = choose(stiff(y, rest), lambda: rest, lambda: self.loose @ y)
        turned = torch.cat(
            [(self.top @ t + rest).view(P, D, 1), (self.seen[P * D :] @ t).view(P, self.most * F - D, 1)], dim=1
        )
        found = (self.turn @ turned).view(P, self.most, F, 1)[self.shared.members, self.place]
        force: Tensor = torch.linalg.solve_triangular(self.R.mT, found, upper=True)[..., 0]
        return force


def one_more(matrix: Tensor) -> Tensor:
    """The lower factor of the identity plus a matrix, which afterwards is what it was."""
    diagonal = matrix.diagonal()
    kept = diagonal.clone()
    diagonal.add_(1.0)
    factor = cholesky(matrix)
    diagonal.copy_(kept)
    return factor


def stiff(y: Tensor, rest: Tensor) -> Tensor:
    """Whether what the samples leave is the smaller part by far; one truth value."""
    flag: Tensor = torch.linalg.vector_norm(y) < STIFF * torch.linalg.vector_norm(rest)
    return flag


def choose(flag: Tensor, one: Callable[[], Tensor], other: Callable[[], Tensor]) -> Tensor:
    """`one` where the flag is set, else `other`: a device computes both rather than to be waited for."""
    if flag.device.type == "cpu":
        return one() if bool(flag) else other()
    return torch.where(flag, one(), other())


def _symmetric(matrix: Tensor) -> Tensor:
    return 0.5 * (matrix + matrix.T)


STRIP = 8
"""Groups whose rows of the system are added at a time, from their diagonal on."""


def add_curved(matrix: Tensor, groups: Groups, R: Tensor) -> None:
    """Add the diagonal parts of the samples' forms, and what bends them, to the upper triangle of a matrix of the sums.

    Args:
        matrix: Shape (P F, P F); changed.
        groups: What samples see.
        R: Factors of the sums' N, shape (P, F, F).
    """
    samples, data = groups.samples, groups.samples.data
    form = samples.form
    if form is None:
        return
    n, _, C, D = data.shape
    d = data.program.attackable
    if form.gamma is not None and form.tau is not None:
        tau, gamma = data.X.new_zeros((n, C, D)), torch.zeros_like(samples.kappa)
        tau[data.rows, :, :d], gamma[data.rows] = form.tau, form.gamma
        add_gram(matrix, groups.rows(tau, R, gamma), -1.0)
    P, E = groups.shape[0], R.shape[2]
    seen = groups.levels[:, data.rows]
    for c in range(C):
        some = R[:, groups.offset + c * D : groups.offset + c * D + d]
        turned = some.permute(1, 0, 2)
        for start in range(0, P, STRIP):
            strip = slice(start, start + STRIP)
            # T[j, d, j'] = sum_i g_ij delta_id g_ij', between R_j' on the left and R_j' on the right.
            T = (seen[strip, None, :] * form.delta[:, c].T) @ seen[start:].T
            right = (T[..., None] * turned[:, start:]).flatten(2)
            matrix[start * E : (start + STRIP) * E, start * E :] += (some[strip].mT @ right).flatten(0, 1)
