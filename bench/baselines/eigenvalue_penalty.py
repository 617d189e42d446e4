"""A pass of stochastic steps that penalise negative eigenvalues, the method that our own is compared with.

With ``T = Z - Z'``, sample i has the matrix inequality of the S-procedure

    M_i = [[lam_i I + y_i a T_11, y_i (a T_11 x_i + (b / 2) T_12)], [., -lam_i r^2 + y_i f(x_i) - w_i]]  psd,

and Adam minimises the mean of ``max(0, 1 - w_i)``, the penalty of the network, and ``max(0, -lambda_min)`` of every
matrix that has to be psd, batch by batch (D. Kuelbs, S. Lall, M. Pilanci, arXiv:2405.14033). What is timed is this
formulation's work, one eigenvalue problem of order d + 1 per sample and step; it is written here anew.
"""

from typing import Any

import numpy as np

BATCH = 100
RATE = 0.01
ACTIVATION = (0.09, 0.5, 0.47)


class PenaltyStep:
    """The method on some samples of one class.

    Args:
        X: Inputs, shape (n, d).
        y: Labels -1 and +1, shape (n,).
        radius: Of the l2 attack.
        beta: Weight of the penalty.
        device: A torch device.
    """

    def __init__(
        self, X: np.ndarray[Any, Any], y: np.ndarray[Any, Any], radius: float, beta: float, device: str
    ) -> None:
        import torch

        kind: Any = {"dtype": torch.float32, "device": device}
        self.X, self.y = torch.tensor(X, **kind), torch.tensor(y, **kind)
        self.radius, self.beta = radius, beta
        n, d = X.shape
        self.pair = torch.zeros((2, d + 1, d + 1), **kind, requires_grad=True)
        self.lam, self.w = (torch.zeros(n, **kind, requires_grad=True) for _ in range(2))
        self._adam = torch.optim.Adam([self.pair, self.lam, self.w], lr=RATE)

    def run(self) -> None:
        """One pass over the samples."""
        import torch

        for start in range(0, self.X.shape[0], BATCH):
            rows = slice(start, start + BATCH)
            self._adam.zero_grad()
            cost = self._cost(rows)
            cost.backward()
            with torch.no_grad():
                self._adam.step()

    def matrices(self, rows: slice) -> Any:
        """M_i of some samples, shape (b, d + 1, d + 1)."""
        import torch

        a, b, c = ACTIVATION
        X, y, lam = self.X[rows], self.y[rows], self.lam[rows]
        d, Z = X.shape[1], 0.5 * (self.pair + self.pair.mT)
        T = Z[0] - Z[1]
        inside = X @ T[:d, :d]
        outputs = a * (inside * X).sum(1) + b * (X @ T[:d, d]) + c * T[d, d]
        side = y[:, None] * (a * inside + 0.5 * b * T[:d, d])
        corner = -lam * self.radius**2 + y * outputs - self.w[rows]
        body = lam[:, None, None] * torch.eye(d, device=X.device) + (y * a)[:, None, None] * T[:d, :d]
        upper = torch.cat([body, side[:, :, None]], dim=2)
        return torch.cat([upper, torch.cat([side, corner[:, None]], dim=1)[:, None, :]], dim=1)

    def _cost(self, rows: slice) -> Any:
        import torch

        d = self.X.shape[1]
        Z = 0.5 * (self.pair + self.pair.mT)
        lowest = torch.linalg.eigvalsh(self.matrices(rows))[:, 0]
        own = torch.linalg.eigvalsh(Z)[:, 0]
        trace = torch.diagonal(Z[:, :d, :d], dim1=1, dim2=2).sum(1) - Z[:, d, d]
        penalties = (-lowest).clamp(min=0.0).sum() + (-own).clamp(min=0.0).sum() + trace.abs().sum()
        penalties = penalties + (-self.lam[rows]).clamp(min=0.0).sum()
        return (1.0 - self.w[rows]).clamp(min=0.0).mean() + self.beta * Z[:, d, d].sum() + penalties
