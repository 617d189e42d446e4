"""How the samples couple the slots: one system of linear equations, in the smaller of two orders.

The slots' own blocks B_k are inverted one by one. What the samples see of them are the sums ``delta_j`` over the slots
of a group (those with the same gates; for one-sided programmes each slot alone), with

    N_j = sum_k (B_k^-1)_uu = R_j R_j',          (I + R'QR) y = R^-1 d,  delta = R y,  lambda = Q delta,

where Q is the sum of the samples' forms. Where these have nothing but one direction each, ``Q = A' diag(kappa) A``, the
order can be that of the samples as well: ``lambda = A' k (I + k A R R'A' k)^-1 k A d`` with ``k = diag(kappa)^1/2``.
Either matrix is the identity plus something positive, and is formed by products of rows ``k A R`` alone.

Along their vectors slots are soft: the second-order cone of a length leaves ``B_k = M_k - c w w'``, where M_k is the
block with eta^-2 on its diagonal, and nearly all of that is taken away along w. To invert B_k would lose what the
samples say about this direction. So M_k takes its place above, and the amplitudes ``b_k = c w'u_k`` are unknowns of
their own. With ``v = M_k^-1 w``, P the map from sums to lambda above, and Psi = M_k - eta^-2 on u,

    (diag(1 / nu) + V'PV) b = V'r - V'P d,     1 / nu = eta^2 / 2 + v'Psi v + eta^2 ||Psi v||^2,

where again nothing cancels: ``1 / c - w'v`` is what 1 / nu is.
"""

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated_samples import Samples
from cvxrobust.backends.ipm.triangles import add_gram, mirror

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
    for attempt in range(ATTEMPTS):
        if not bool((info > 0).any()):
            return factor
        more = 4.0**attempt * 8.0 * EPS * matrix.shape[-1] * diagonal
        more = torch.where((info > 0)[..., None], more + float(torch.finfo(torch.float64).tiny), 0.0)
        factor, info = torch.linalg.cholesky_ex(matrix + torch.diag_embed(more))
    return torch.where((info > 0)[..., None, None], torch.diag_embed(torch.sqrt(diagonal + 1.0)), factor)


def gram(rows: Tensor) -> Tensor:
    """``rows' rows``, at little more than half the cost of a product that does not know that it is symmetric."""
    found = rows.new_zeros(rows.shape[1], rows.shape[1])
    add_gram(found, rows)
    return mirror(found)


class Groups:
    """The slots of a cone or gated programme, whose vectors matter to samples through their groups' sums."""

    def __init__(self, samples: Samples, members: Tensor, gates: Tensor) -> None:
        data = samples.data
        self.samples, self.members, self.gates = samples, members, gates
        (_, _, C, D), P = data.shape, gates.shape[0]
        self.shape, self.offset, self.signs = (P, C * D), 0, data.signs[:, None]
        self.alone = torch.equal(members, torch.arange(P, device=members.device))

    def sums(self, v: Tensor) -> Tensor:
        """``sum_k s_k u_k`` over each group, shape (P, CD), of vectors of shape (K, E)."""
        u = v[:, v.shape[1] - self.shape[1] :] * self.signs
        if self.alone:
            return u
        return u.new_zeros(self.shape).index_add(0, self.members, u)

    def spread(self, force: Tensor, width: int) -> Tensor:
        """The adjoint: what a force on the sums does to each slot, shape (K, width)."""
        back = (force if self.alone else force[self.members]) * self.signs
        return torch.nn.functional.pad(back, (width - self.shape[1], 0))

    def outputs(self, sums: Tensor) -> Tensor:
        """H, shape (n, C, D)."""
        n, _, C, D = self.samples.data.shape
        return (self.gates.T @ sums).reshape(n, C, D)

    def gather(self, H: Tensor) -> Tensor:
        """The adjoint of `outputs`."""
        return self.gates @ H.flatten(1)

    def measure(self, sums: Tensor) -> Tensor:
        """What the samples' first directions see, shape (n, C)."""
        return (self.samples.a * self.outputs(sums)).sum(-1)

    def push(self, theta: Tensor) -> Tensor:
        """The adjoint of `measure`."""
        return self.gather(self.samples.a * theta[..., None])

    def rows(self, vectors: Tensor, R: Tensor, weights: Tensor) -> Tensor:
        """``sqrt(weight) vector'H`` as rows on the y of ``sums = R y``: shape (n C, P F)."""
        n, _, C, D = self.samples.data.shape
        P, _, width = R.shape
        columns = R.permute(1, 0, 2).reshape(C, D, P * width)
        scaled = (torch.sqrt(weights)[..., None] * vectors).transpose(0, 1)
        found = (scaled @ columns).transpose(0, 1).view(n, C, P, width)
        return found.mul_(self.gates.T[:, None, :, None]).reshape(n * C, P * width)

    def seen(self, v: Tensor) -> Tensor:
        """What the first directions see of a vector of each slot, shape (n C, K)."""
        n, K, C, D = self.samples.data.shape
        u = v[:, v.shape[1] - C * D :].reshape(K, C, D)
        found = self.samples.a.new_empty((n, C, K))
        for c in range(C):
            found[:, c] = (self.samples.a[:, c] @ u[:, c].T) * self.samples.data.signed.T
        return found.reshape(n * C, K)

    def first_rows(self, R: Tensor) -> Tensor:
        """`rows` of the samples' first directions."""
        return self.rows(self.samples.a, R, self.samples.kappa)


class Alone(Groups):
    """The slots of a one-sided programme: samples see each with a real weight, and its cap c as well."""

    def __init__(self, samples: Samples, capped: bool) -> None:
        data = samples.data
        K, D = data.shape[1], data.shape[3]
        super().__init__(samples, torch.arange(K, device=data.X.device), data.gates)
        relus = samples.relus
        assert relus is not None
        self.shape, self.offset = (K, int(capped) + D), int(capped)
        self.signs = torch.ones_like(self.signs)
        # y s g for the helpful; for the harmful -g + phi (2 g - 1), which is written without a difference.
        harmful = torch.where(data.gates > 0.0, -relus.rest, -relus.phi)
        self.weights = torch.where(data.live > 0.0, harmful, data.signed * data.y[:, 0])
        self.cap = -relus.phi * data.radius if capped else None

    def outputs(self, sums: Tensor) -> Tensor:
        """H, shape (n, 1, D)."""
        return (self.samples.data.signed.T @ sums[:, self.offset :])[:, None, :]

    def gather(self, H: Tensor) -> Tensor:
        """The adjoint of `outputs`."""
        return torch.nn.functional.pad(self.samples.data.signed @ H[:, 0], (self.offset, 0))

    def measure(self, sums: Tensor) -> Tensor:
        """What the samples' first directions see, shape (n, 1)."""
        data = self.samples.data
        found = (self.weights * (sums[:, self.offset :] @ data.X.T)).sum(0)
        if self.cap is not None:
            found = found + sums[:, 0] @ self.cap
        if self.samples.form is not None:
            found = found + (self._bent() * self.outputs(sums)[:, 0]).sum(-1)
        return found[:, None]

    def push(self, theta: Tensor) -> Tensor:
        """The adjoint of `measure`."""
        found = (self.weights * theta[:, 0]) @ self.samples.data.X
        if self.samples.form is not None:
            found = found + self.samples.data.signed @ (self._bent() * theta)
        return found if self.cap is None else torch.cat([self.cap @ theta, found], dim=1)

    def seen(self, v: Tensor) -> Tensor:
        """What the first directions see of a vector of each slot, shape (n, K)."""
        data, u = self.samples.data, v[:, self.offset :]
        found = (data.X @ u.T) * self.weights.T
        if self.cap is not None:
            found = found + self.cap.T * v[:, 0]
        if self.samples.form is not None:
            found = found + (self._bent() @ u.T) * data.signed.T
        return found

    def _bent(self) -> Tensor:
        """The part of the samples' directions that attacks add, shape (n, D)."""
        data = self.samples.data
        return self.samples.a[:, 0] - data.y * data.X

    def first_rows(self, R: Tensor) -> Tensor:
        """Rows of the samples' first directions, shape (n, K E)."""
        n, K, E = self.samples.data.shape[0], R.shape[0], R.shape[2]
        root = torch.sqrt(self.samples.kappa)
        columns = R[:, self.offset :].permute(1, 0, 2).reshape(-1, K * E)
        found = ((root * self.samples.data.X) @ columns).view(n, K, E)
        found *= self.weights.T[..., None]
        if self.cap is not None:
            found += (root * self.cap.T)[..., None] * R[:, 0]
        if self.samples.form is not None:
            found += ((root * self._bent()) @ columns).view(n, K, E) * self.samples.data.signed.T[..., None]
        return found.view(n, K * E)

    def rows(self, vectors: Tensor, R: Tensor, weights: Tensor) -> Tensor:
        """``sqrt(weight) vector'H`` as rows, shape (n, K E)."""
        n, K, E = self.samples.data.shape[0], R.shape[0], R.shape[2]
        columns = R[:, self.offset :].permute(1, 0, 2).reshape(-1, K * E)
        found = ((torch.sqrt(weights) * vectors[:, 0]) @ columns).view(n, K, E)
        return found.mul_(self.samples.data.signed.T[..., None]).view(n, K * E)


class Coupling:
    """The factored system."""

    def __init__(
        self, groups: Groups, inverses: Tensor, ridge: Tensor, softness: Tensor, by_samples: bool | None = None
    ) -> None:
        """Factor it.

        Args:
            groups: What samples see of the slots.
            inverses: ``M_k^-1`` of the sums' coordinates, shape (K, F, F).
            ridge: The vectors v, shape (K, E).
            softness: ``1 / nu``, shape (K,).
            by_samples: The order; None for the smaller one.
        """
        self.groups, self.ridge, samples = groups, ridge, groups.samples
        (n, _, C, _), (P, F) = samples.data.shape, groups.shape
        N = inverses if groups.alone else inverses.new_zeros((P, F, F)).index_add(0, groups.members, inverses)
        self.R = cholesky(N)
        simple = samples.form is None and samples.rho is None
        self.by_samples = simple and (n * C < P * F if by_samples is None else by_samples)
        rows = groups.first_rows(self.R)
        matrix = gram(rows.T) if self.by_samples else self._curved(gram(rows), samples)
        if self.by_samples:
            matrix.diagonal().add_(1.0)
            self.factor = cholesky(matrix)
            seen = torch.sqrt(samples.kappa).reshape(-1, 1) * groups.seen(ridge)
            half = torch.linalg.solve_triangular(self.factor, seen, upper=False)
            between, self.columns = gram(half), torch.linalg.solve_triangular(self.factor.mT, half, upper=True)
        else:
            loose = matrix.clone()
            matrix.diagonal().add_(1.0)
            self.factor = cholesky(matrix)
            start = self._apart()
            self.columns = torch.cholesky_solve(start, self.factor)
            between = start.T @ (loose @ self.columns)
            self.columns = torch.cat([self.columns, start - self.columns])
            between = 0.5 * (between + between.T)
        self.amplitudes = cholesky(torch.diag(softness) + between)

    def _apart(self) -> Tensor:
        """``R^-1`` times each slot's v in the sum of its group, shape (P F, K)."""
        groups, (P, F) = self.groups, self.groups.shape
        tails = self.ridge[:, self.ridge.shape[1] - F :] * groups.signs
        tails = torch.linalg.solve_triangular(self.R[groups.members], tails[..., None], upper=False)[..., 0]
        K = int(tails.shape[0])
        found: Tensor = tails.new_zeros((P, F, K))
        found[groups.members, :, torch.arange(K, device=tails.device)] = tails
        return found.reshape(P * F, K)

    def _curved(self, matrix: Tensor, samples: Samples) -> Tensor:
        """All of ``R'QR``: second directions, and the diagonal parts of the samples' forms."""
        groups, data, form = self.groups, samples.data, samples.form
        if samples.rho is not None:
            inputs = data.X[:, None, :].expand(-1, data.shape[2], -1)
            matrix += gram(groups.rows(inputs, self.R, samples.rho))
        if form is None:
            return matrix
        n, _, C, D = data.shape
        d = data.program.attackable
        if form.gamma is not None and form.tau is not None:
            tau, gamma = data.X.new_zeros((n, C, D)), torch.zeros_like(samples.kappa)
            tau[data.rows, :, :d], gamma[data.rows] = form.tau, form.gamma
            matrix -= gram(groups.rows(tau, self.R, gamma))
        P, E = groups.shape[0], self.R.shape[2]
        seen = (data.signed if isinstance(groups, Alone) else groups.gates)[:, data.rows]
        for c in range(C):
            R = self.R[:, groups.offset + c * D : groups.offset + c * D + d]
            # T[j, d, j'] = sum_i g_ij delta_id g_ij', between R_j' on the left and R_j' on the right.
            T = (seen[:, None, :] * form.delta[:, c].T) @ seen.T
            right = (T[..., None] * R.permute(1, 0, 2)).reshape(P, d, P * E)
            matrix += (R.mT @ right).reshape(P * E, P * E)
        return matrix

    def inner(self, sums: Tensor) -> Tensor:
        """The solution of the factored system for ``sums`` of uncoupled vectors: a column of its order."""
        if self.by_samples:
            seen = torch.sqrt(self.groups.samples.kappa) * self.groups.measure(sums)
            return torch.cholesky_solve(seen.reshape(-1, 1), self.factor)
        q = torch.linalg.solve_triangular(self.R, sums[..., None], upper=False).reshape(-1, 1)
        y = torch.cholesky_solve(q, self.factor)
        return torch.cat([y, q - y])

    def force(self, inner: Tensor) -> Tensor:
        """``lambda = Q delta`` for ``delta = (I + N Q)^-1 sums``, shape (P, F)."""
        groups, samples = self.groups, self.groups.samples
        if self.by_samples:
            return groups.push(torch.sqrt(samples.kappa) * inner.reshape(samples.kappa.shape))
        y, rest = inner.reshape(2, self.R.shape[0], -1, 1)
        if float(torch.linalg.vector_norm(y)) < STIFF * float(torch.linalg.vector_norm(rest)):
            # N lambda = sums - delta, where delta is what is small.
            force: Tensor = torch.linalg.solve_triangular(self.R.mT, rest, upper=True)[..., 0]
            return force
        delta = (self.R @ y)[..., 0]
        force = groups.push(samples.kappa * groups.measure(delta))
        if samples.form is not None or samples.rho is not None:
            force = force + groups.gather(samples.bend(groups.outputs(delta)))
        return force
