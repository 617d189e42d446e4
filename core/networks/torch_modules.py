"""Networks as torch modules; imported only when somebody asks for one."""

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.core.attacks.complement import Complement
from cvxrobust.core.networks.standardizer import Standardizer

Array = NDArray[np.float64]


class StandardizingModule(torch.nn.Module):
    """``x -> module((x - mean) / scale)``, in float64; mean and scale are no parameters.

    Args:
        module: The network of standardised inputs.
        mean: Shape (d,).
        scale: Shape (d,).
    """

    def __init__(self, module: torch.nn.Module, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.module = module
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (n,) or (n, K), of inputs of shape (n, d) in the data's units."""
        found: torch.Tensor = self.module((x - self.mean) / self.scale)
        return found


def with_standardizer(module: torch.nn.Module, standardizer: Standardizer | None) -> torch.nn.Module:
    """A module that standardises its inputs first, if there is anything to standardise them with."""
    if standardizer is None:
        return module
    mean, scale = (torch.tensor(part, dtype=torch.float64) for part in (standardizer.mean, standardizer.scale))
    return StandardizingModule(module, mean, scale)


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


class SpreadModule(torch.nn.Module):
    """``x -> module(x) + ||x - VV'x||^2 spread``, in float64; V is no parameter.

    Args:
        module: The network of what lies in the subspace, of inputs of shape (n, d).
        basis: V, orthonormal columns, shape (d, k).
        spread: Curvature of each output in the complement, shape () or (K,).
        inputs: 1 for inputs that the complement has, 0 for others, shape (d,).
    """

    def __init__(
        self, module: torch.nn.Module, basis: torch.Tensor, spread: torch.Tensor, inputs: torch.Tensor
    ) -> None:
        super().__init__()
        self.module = module
        self.basis: torch.Tensor
        self.inputs: torch.Tensor
        self.register_buffer("basis", basis)
        self.register_buffer("inputs", inputs)
        self.spread = torch.nn.Parameter(spread)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (n,) or (n, K), of inputs of shape (n, d)."""
        own = x * self.inputs
        rest = own - (own @ self.basis) @ self.basis.T
        square = (rest * rest).sum(dim=1)
        found: torch.Tensor = self.module(x)
        return found + (square[:, None] if found.ndim == 2 else square) * self.spread


def spread_module(module: torch.nn.Module, complement: Complement, spread: Array) -> SpreadModule:
    """A module with copies of where neurons are spread, and of what that makes of the outputs."""
    inputs = np.ones(complement.n_inputs)
    if complement.inputs is not None:
        inputs = np.bincount(complement.inputs, minlength=complement.n_inputs).astype(np.float64)
    parts = (complement.basis, spread, inputs)
    return SpreadModule(module, *(torch.tensor(part, dtype=torch.float64) for part in parts))


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
