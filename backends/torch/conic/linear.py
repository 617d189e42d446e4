"""The linear systems of operator splitting: ``(R_x + A' R_y^-1 A) x = a - A' R_y^-1 b``, ``y = R_y^-1 (b + A x)``.

On the host they are factorised: densely if there are few columns, else as the sparse quasi-definite matrix
``[[R_x, A'], [A, -R_y]]``. On a device A is multiplied there, and the reduced matrix is inverted densely or, where that
is too large, left to conjugate gradients.
"""

import warnings
from typing import Any, Protocol

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from cvxrobust.core.arrays import worth_a_look

DENSE_COLUMNS = 400
"""On the host, programmes with no more columns are reduced and inverted densely."""

DEVICE_COLUMNS = 12_000
"""The same on a device: its inverse takes 1.2 GB."""

DENSE_ENTRIES = 20_000_000
"""Matrices with no more entries, zeros included, are multiplied densely on a device."""

FIRST_ACCURACY, LAST_ACCURACY = 1e-4, 1e-13
"""Relative residuals of conjugate gradients, in the first iteration and after thousands."""


class LinearSystem(Protocol):
    """A, and ``[[R_x, A'], [-A, R_y]]`` to solve with."""

    def times(self, x: Tensor) -> Tensor:
        """``A x``."""
        ...

    def transposed_times(self, y: Tensor) -> Tensor:
        """``A' y``."""
        ...

    def factorise(self, r_x: Tensor, r_y: Tensor) -> None:
        """Get ready to solve with other R_x, shape (N,), and R_y, shape (M,)."""
        ...

    def solve(self, a: Tensor, b: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
        """The x and y with ``R_x x + A' y = a`` and ``R_y y - A x = b``."""
        ...


class HostSystem:
    """On the CPU, with SciPy's sparse matrices; factors are float64 whatever the iterates are."""

    def __init__(self, A: sparse.csr_array, dtype: torch.dtype) -> None:
        self._A64 = A
        self._A: Any = A.astype(np.float32 if dtype == torch.float32 else np.float64)
        self._At: Any = self._A.T.tocsr()
        self._inverse: Tensor | None = None
        self._factors: Any = None

    def times(self, x: Tensor) -> Tensor:
        """``A x``."""
        return torch.from_numpy(self._A @ x.numpy())

    def transposed_times(self, y: Tensor) -> Tensor:
        """``A' y``."""
        return torch.from_numpy(self._At @ y.numpy())

    def factorise(self, r_x: Tensor, r_y: Tensor) -> None:
        """Invert the reduced matrix, or factorise the whole one."""
        self._r_y = r_y
        x_weights, y_weights = r_x.double().numpy(), r_y.double().numpy()
        if x_weights.size <= DENSE_COLUMNS:
            reduced = (self._A64.T @ sparse.diags_array(1 / y_weights) @ self._A64).toarray()
            self._inverse = _inverse(torch.from_numpy(reduced + np.diag(x_weights)), r_y.dtype)
            return
        whole = sparse.block_array(
            [[sparse.diags_array(x_weights), self._A64.T], [self._A64, sparse.diags_array(-y_weights)]], format="csc"
        )
        # Quasi-definite: any symmetric order of pivots is stable (Vanderbei 1995, SIAM J. Optim. 5).
        self._factors = splu(whole, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def solve(self, a: Tensor, b: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
        """By the factors; they are exact always."""
        if self._inverse is not None:
            x = torch.mv(self._inverse, a - self.transposed_times(b / self._r_y))
            return x, (b + self.times(x)) / self._r_y
        right = torch.cat((a, -b)).double().numpy()
        found = torch.from_numpy(self._factors.solve(right)).to(a.dtype)
        return found[: a.numel()], found[a.numel() :]


class DeviceSystem:
    """On any device."""

    def __init__(self, A: sparse.csr_array, device: torch.device, dtype: torch.dtype, columns: int = DEVICE_COLUMNS):
        self._dense_columns = columns
        self._A, self._At = (_on_device(matrix, device, dtype) for matrix in (A, sparse.csr_array(A.T)))
        self._squares = _on_device(sparse.csr_array(A.T.multiply(A.T)), device, dtype)
        self._solves, self._last = 0, torch.zeros(A.shape[1], device=device, dtype=dtype)

    def times(self, x: Tensor) -> Tensor:
        """``A x``."""
        return torch.mv(self._A, x)

    def transposed_times(self, y: Tensor) -> Tensor:
        """``A' y``."""
        return torch.mv(self._At, y)

    def factorise(self, r_x: Tensor, r_y: Tensor) -> None:
        """Invert the reduced matrix, or prepare a preconditioner."""
        self._r_x, self._r_y = r_x, r_y
        self._inverse = None
        self._diagonal = r_x + torch.mv(self._squares, 1 / r_y)
        if r_x.numel() <= self._dense_columns:
            A = self._A.to_dense().double()
            reduced = A.T @ (A / r_y.double().unsqueeze(1)) + torch.diag(r_x.double())
            self._inverse = _inverse(reduced, r_y.dtype)

    def solve(self, a: Tensor, b: Tensor, exact: bool = False) -> tuple[Tensor, Tensor]:
        """By the inverse, or by conjugate gradients from the last solution, ever more accurately."""
        right = a - self.transposed_times(b / self._r_y)
        x = self._conjugate_gradients(right, exact) if self._inverse is None else torch.mv(self._inverse, right)
        return x, (b + self.times(x)) / self._r_y

    def _conjugate_gradients(self, right: Tensor, exact: bool) -> Tensor:
        self._solves += not exact
        floor = max(LAST_ACCURACY, 2 * torch.finfo(right.dtype).eps)
        accuracy = floor if exact else max(floor, FIRST_ACCURACY / self._solves**1.5)
        goal = accuracy * torch.linalg.vector_norm(right)
        x = torch.zeros_like(right) if exact else self._last
        residual = right - self._reduced_times(x)
        z = residual / self._diagonal
        direction, square = z, torch.dot(residual, z)
        for count in range(5 * right.numel()):
            going = torch.linalg.vector_norm(residual) > goal
            if worth_a_look(count, going) and not bool(going):
                break
            image = self._reduced_times(direction)
            # Steps that nobody has looked at yet change nothing once the goal is reached.
            step = torch.where(going, square / torch.dot(direction, image), 0.0)
            x, residual = x + step * direction, residual - step * image
            z = residual / self._diagonal
            before, square = square, torch.dot(residual, z)
            direction = torch.where(going, z + (square / before) * direction, direction)
        if not exact:
            self._last = x
        return x

    def _reduced_times(self, x: Tensor) -> Tensor:
        return self._r_x * x + self.transposed_times(self.times(x) / self._r_y)


def _inverse(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Of a positive definite matrix: one product per solve is faster than two triangular solves."""
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix)).to(dtype)


def _on_device(matrix: sparse.csr_array, device: torch.device, dtype: torch.dtype) -> Tensor:
    if matrix.shape[0] * matrix.shape[1] <= DENSE_ENTRIES:
        return torch.as_tensor(matrix.toarray(), device=device, dtype=dtype)
    starts, columns = (
        torch.as_tensor(part.astype(np.int64), device=device) for part in (matrix.indptr, matrix.indices)
    )
    values = torch.as_tensor(matrix.data, device=device, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "support is in beta state"
        return torch.sparse_compressed_tensor(starts, columns, values, matrix.shape, layout=torch.sparse_csr)
