"""What the samples of a gated programme see of its slots: sums over those with the same gates, or each slot alone."""

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.samples import EliminatedSamples


class Groups:
    """The slots of a cone or gated programme, whose vectors matter to samples through their groups' sums."""

    def __init__(self, samples: EliminatedSamples, members: Tensor, gates: Tensor) -> None:
        data = samples.data
        self.samples, self.members, self.gates = samples, members, gates
        (_, _, C, D), P = data.shape, gates.shape[0]
        self.shape, self.offset, self.signs = (P, C * D), 0, data.signs[:, None]
        self.alone = torch.equal(members, torch.arange(P, device=members.device))

    @property
    def levels(self) -> Tensor:
        """What each sum counts for in the samples' H, shape (P, n)."""
        return self.gates

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

    def __init__(self, samples: EliminatedSamples, capped: bool) -> None:
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

    @property
    def levels(self) -> Tensor:
        """What each slot's vector counts for in the samples' H, shape (K, n)."""
        return self.samples.data.signed

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
            bent = ((root * self._bent()) @ columns).view(n, K, E)
            found.addcmul_(bent, self.samples.data.signed.T[..., None])
        return found.view(n, K * E)

    def rows(self, vectors: Tensor, R: Tensor, weights: Tensor) -> Tensor:
        """``sqrt(weight) vector'H`` as rows, shape (n, K E)."""
        n, K, E = self.samples.data.shape[0], R.shape[0], R.shape[2]
        columns = R[:, self.offset :].permute(1, 0, 2).reshape(-1, K * E)
        found = ((torch.sqrt(weights) * vectors[:, 0]) @ columns).view(n, K, E)
        return found.mul_(self.samples.data.signed.T[..., None]).view(n, K * E)
