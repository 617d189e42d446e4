"""The reduced system factored by its rows: nothing is squared, for inputs of very different scales.

Section 4 of `cvxrobust.backends.ipm.polynomial.solve`; the rows of samples are in `schur` and `attacked_rows`.
"""

import torch
from torch import Tensor

from cvxrobust.backends.ipm.polynomial.attacked import Pulled
from cvxrobust.backends.ipm.polynomial.attacked_rows import AttackedRows
from cvxrobust.backends.ipm.polynomial.clean import CleanLinearised
from cvxrobust.backends.ipm.polynomial.scaling import Basis
from cvxrobust.backends.ipm.polynomial.schur import KernelSchur, SampleForces, Solved, barrier_weights
from cvxrobust.backends.ipm.symmetric import Triangle

STIFF = 0.5
"""Share of a sample's row in the system from which on its force is more accurate than what follows from T."""


class RowsSchur:
    """Factored without forming the system: ``B = QR`` for the rows ``B = [Lambda^1/2; rows of samples]``: it is R'R.

    Squares of rows whose sizes differ by more than 1e8 lose the smaller ones. Householder's method keeps every row to
    its own accuracy where the larger rows come first (Cox and Higham 1998, *Stability of Householder QR factorization
    for weighted least squares problems*), and ``Q R^-T b`` has the forces without T. 2 (k + p) p^2 operations, memory
    for 2 (k + p) p numbers, k rows of samples.

    Args:
        triangle: Of order m, p entries.
        basis: Of both scalings.
        clean: The samples without attack, if any: a row each.
        attacked: The others' rows, if any; they come behind those.

    Attributes:
        stiff: For which samples without attack forces are more accurate than what follows from T, shape (n,).
    """

    def __init__(
        self, triangle: Triangle, basis: Basis, clean: CleanLinearised | None, attacked: AttackedRows | None = None
    ) -> None:
        self.triangle, self.shift = triangle, 0.0
        self.clean = None if clean is None else SampleForces(basis, clean)
        self.attacked, self.alone = attacked, 0
        parts = [torch.diag(torch.sqrt(triangle.entries(barrier_weights(basis))))]
        if self.clean is not None:
            self.alone = self.clean.weights.numel()
            parts.append(self.clean.rows(triangle).T)
        if attacked is not None:
            parts.append(attacked.matrix)
        B = torch.cat(parts)
        order = torch.argsort(torch.linalg.vector_norm(B, torch.inf, dim=1), descending=True)
        # Q stays in the form of its reflections, which takes half the time.
        self._reflections, self._tau = torch.geqrf(B[order])
        self.factor = torch.triu(self._reflections[: triangle.size])
        self._place = torch.argsort(order)[triangle.size :]
        self.stiff = torch.zeros(0, dtype=torch.bool, device=B.device)
        if self.alone:
            lengths = torch.linalg.vector_norm(self._forces(torch.eye(triangle.size).to(B))[: self.alone], dim=1)
            self.stiff = lengths**2 > STIFF

    def solve(self, right: Tensor) -> Solved:
        """``R^-1 R^-T b``, with the forces ``Q R^-T b``."""
        half = torch.linalg.solve_triangular(self.factor.T, self.triangle.vector(right).T, upper=False)
        T = torch.linalg.solve_triangular(self.factor, half, upper=True)
        return Solved(self.triangle.matrix(T.T), self._forces(half).T)

    def _forces(self, half: Tensor) -> Tensor:
        """The samples' rows of ``Q half``, shape (k, ...)."""
        whole = torch.cat([half, half.new_zeros(self._reflections.shape[0] - half.shape[0], half.shape[1])])
        return torch.ormqr(self._reflections, self._tau, whole)[self._place]

    def pulled(self, forces: Tensor) -> Tensor:
        """What the samples answer to forces, their rows' transpose times these, shape (k, m, m)."""
        parts = []
        if self.clean is not None:
            parts.append(self.clean.pulled(forces[:, : self.alone]))
        if self.attacked is not None:
            parts.append(self.triangle.matrix(forces[:, self.alone :] @ self.attacked.matrix))
        return sum(parts[1:], parts[0])

    def outputs(self, forces: Tensor) -> Tensor:
        """What forces, shape (k,), make of the changes of outputs of the samples without attack."""
        assert self.clean is not None
        return self.clean.outputs(forces[: self.alone])

    def answer(self, solved: Solved) -> Pulled | None:
        """What the attacked samples answer to the first of the solutions."""
        if self.attacked is None or solved.forces is None:
            return None
        return self.attacked.pulled(solved.forces[0, self.alone :], solved.T[0])


Forced = KernelSchur | RowsSchur
"""What knows the forces of samples."""
