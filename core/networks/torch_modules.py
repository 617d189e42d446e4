"""Networks as torch modules; imported only when somebody asks for one."""

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]


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


def polynomial_module(u: Array, alpha: Array, activation: tuple[float, float, float]) -> PolynomialModule:
    """A module with copies of a network's weights."""
    return PolynomialModule(
        torch.tensor(u, dtype=torch.float64),
        torch.tensor(alpha, dtype=torch.float64),
        activation,
    )


class ReLUModule(torch.nn.Module):
    """``x -> relu(x U') alpha``, in float64; with a bias, the last column of U multiplies a constant 1.

    Args:
        u: Neurons, shape (m, d), or (m, d + 1) with a bias.
        alpha: Output weights, shape (m,) or (m, K).
        bias: Whether the last column of u is a bias.
    """

    def __init__(self, u: torch.Tensor, alpha: torch.Tensor, bias: bool) -> None:
        super().__init__()
        self.u = torch.nn.Parameter(u)
        self.alpha = torch.nn.Parameter(alpha)
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (n,) or (n, K), of inputs of shape (n, d)."""
        t = x @ self.u[:, :-1].T + self.u[:, -1] if self.bias else x @ self.u.T
        return torch.relu(t) @ self.alpha


def relu_module(u: Array, alpha: Array, bias: bool) -> ReLUModule:
    """A module with copies of a network's weights."""
    return ReLUModule(
        torch.tensor(u, dtype=torch.float64),
        torch.tensor(alpha, dtype=torch.float64),
        bias,
    )
