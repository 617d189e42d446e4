"""Networks as torch modules; imported only when somebody asks for one."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from cvxrobust.core.networks import PolynomialNetwork


class PolynomialModule(torch.nn.Module):
    """``x -> s(x U') alpha`` with ``s(t) = a t^2 + b t + c``, in float64.

    Args:
        u: Neurons, shape (m, d).
        alpha: Output weights, shape (m,) or (m, K).
        activation: (a, b, c).
    """

    def __init__(self, u: torch.Tensor, alpha: torch.Tensor, activation: tuple[float, float, float]) -> None:
        super().__init__()
        self.u = torch.nn.Parameter(u)
        self.alpha = torch.nn.Parameter(alpha)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (n,) or (n, K), of inputs of shape (n, d)."""
        a, b, c = self.activation
        t = x @ self.u.T
        return ((a * t + b) * t + c) @ self.alpha


def polynomial_module(network: "PolynomialNetwork") -> PolynomialModule:
    """A module with copies of the network's weights."""
    return PolynomialModule(
        torch.tensor(network.u, dtype=torch.float64),
        torch.tensor(network.alpha, dtype=torch.float64),
        network.activation,
    )
