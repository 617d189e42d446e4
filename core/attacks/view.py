"""What attacks see of a quadratic, in coordinates in which their subproblems are separable."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from cvxrobust.core.attacks.ball import AttackBall

Array = Any
"""A NumPy array or a torch tensor of float64."""


@dataclass(frozen=True)
class AttackView:
    """What attacks ``D = r S A z`` see of a quadratic, z their coordinates here.

    The quadratic's matrix is ``P = Q diag(w) Q'``, and its gradients lie in the span of Q, shape (d, j). With
    ``S'PS = A diag(values) A'`` on the span of S'Q all subproblems are separable; what is orthogonal to it, attacks may
    as well leave alone. Of a ball S is the identity, A is Q, and nothing changes.

    Args:
        values: Eigenvalues, ascending, shape (k,).
        axes: A, orthonormal columns, shape (q, k).
        columns: ``S A``, shape (d, k).
        turn: ``Q'S A``, shape (j, k); None for the identity.
    """

    values: Array
    axes: Array
    columns: Array
    turn: Array | None = None

    @classmethod
    def of(cls, values: Array, vectors: Array, attack: AttackBall) -> "AttackView":
        """What attacks see of a quadratic with eigenvalues w, shape (j,), ascending, and eigenvectors Q, shape (d, j).

        On q < j coordinates the eigenproblem has order q; otherwise a QR finds the span.
        """
        if attack.ellipsoid is None:
            return cls(values, vectors, vectors)
        linalg, pulled = array_namespace(values).linalg, attack.pulled(vectors.T)
        if pulled.shape[0] < pulled.shape[1]:
            basis, R = linalg.qr(pulled.T)
            found, turned = linalg.eigh((R * values) @ R.T)
            axes = basis @ turned
        else:
            found, axes = linalg.eigh((pulled.T * values) @ pulled)
        return cls(found, axes, attack.spanned(axes), pulled @ axes)

    def extended(self, value: float, share: float) -> "AttackView":
        """With one more coordinate, last in either, that has no column of its own, in NumPy.

        Args:
            value: Its eigenvalue.
            share: How far attacks of radius 1 go along it.
        """
        turn = np.eye(self.values.shape[0]) if self.turn is None else self.turn
        (j, k), found = turn.shape, np.zeros((turn.shape[0] + 1, turn.shape[1] + 1))
        found[:j, :k], found[j, k] = turn, share
        return AttackView(np.append(self.values, value), self.axes, self.columns, found)

    def half(self, half: Array) -> Array:
        """Half gradients here, shape (b, k), from those in the coordinates of Q, shape (b, j)."""
        return half if self.turn is None else half @ self.turn

    def moves(self, z: Array) -> Array:
        """What points do along Q, shape (b, j), from their coordinates here, shape (b, k)."""
        return z if self.turn is None else z @ self.turn.T

    def add_variances(self, second: Array, varying: Array, variances: Array) -> None:
        """Add ``E[z m']``, m the moves, of coordinates that vary with these variances, to a matrix, shape (k, j)."""
        if self.turn is None:
            second[varying, varying] += variances
        else:
            second[varying] += variances[:, None] * self.turn[:, varying].T
