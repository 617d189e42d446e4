"""Attacked samples: data, variables and directions, for `cvxrobust.backends.ipm.polynomial.attacked`.

Notation: `cvxrobust.backends.ipm.polynomial.solve`, sections 1 and 2. Everything is in the frame in which what attacks
see of ``T_11`` is diagonal, and attacks are in units of each sample's radius. How these enter, this file alone knows.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cvxrobust.backends.ipm.complementarity import Pair
from cvxrobust.backends.ipm.loss_sides import LossSide, LossTarget
from cvxrobust.backends.ipm.symmetric import lift
from cvxrobust.core import AttackBall

CACHED = 2**17
"""Entries of the matrices of a block of samples that a processor's cache holds, with room for a few temporaries."""


def sample_blocks(n: int, d: int, device: torch.device) -> list[slice]:
    """Slices that cover n samples with matrices of order d; one for all of them where there is no such cache."""
    step = n if device.type != "cpu" else max(1, CACHED // (d * d))
    return [slice(start, min(start + step, n)) for start in range(0, n, max(step, 1))]


@dataclass(frozen=True)
class Activation:
    """``a t^2 + b t + c`` as the matrix C of ``f(x) = <C o [x; 1][x; 1]', T>``."""

    a: float
    b: float
    c: float

    @property
    def corner(self) -> float:
        """``C o T = a K T K + corner T_mm e e'`` with ``K = diag(1, ..., 1, b / (2 a))``."""
        return self.c - 0.25 * self.b * self.b / self.a

    @property
    def last(self) -> float:
        """The last entry of K."""
        return 0.5 * self.b / self.a

    def times(self, T: Tensor) -> Tensor:
        """``C o T``."""
        found = self.a * T
        found[..., :-1, -1] = 0.5 * self.b * T[..., :-1, -1]
        found[..., -1, :-1] = 0.5 * self.b * T[..., -1, :-1]
        found[..., -1, -1] = self.c * T[..., -1, -1]
        return found


@dataclass(frozen=True)
class Moments:
    """Moment matrices ``X_i = [[cov + theta m m', theta m], [., theta]]`` of the attacks.

    Args:
        theta: Mass, shape (n,).
        mean: Mean attack m, shape (n, q).
        cov: theta times the covariance, shape (n, q, q).
    """

    theta: Tensor
    mean: Tensor
    cov: Tensor


@dataclass(frozen=True)
class Hatted:
    """A symmetric matrix of order q + 1 per sample, in the sheared coordinates of its sample, by blocks.

    Args:
        block: Shape (n, q, q).
        side: Shape (n, q).
        corner: Shape (n,).
    """

    block: Tensor
    side: Tensor
    corner: Tensor


@dataclass(frozen=True)
class AttackedPoint:
    """The variables of the attacked samples.

    Args:
        lam: Multipliers of the balls with those of ``lam >= 0``, shape (n,).
        w: Margins that the loss sees, shape (n,).
        moments: Duals of the matrix inequalities.
        loss: Variables of the loss.
    """

    lam: Pair
    w: Tensor
    moments: Moments
    loss: LossSide

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All complementary pairs of numbers."""
        return (self.lam, *self.loss.pairs)


@dataclass(frozen=True)
class AttackedData:
    """Attacked samples in the present frame.

    Args:
        x: Shape (n, d).
        y: Labels, shape (n,).
        attack: The attacks, of n positive radii; q coordinates.
        activation: The network's.
        weight: Of each sample in the mean loss, and so of its barriers, shape (n,); None for 1.
    """

    x: Tensor
    y: Tensor
    attack: AttackBall
    activation: Activation
    weight: Tensor | None = None

    def barrier(self, mu: float) -> float | Tensor:
        """Complementarity mu of each sample's own pairs, shape (n,)."""
        return mu if self.weight is None else mu * self.weight

    @property
    def amount(self) -> float:
        """Samples, each as often as it weighs."""
        return self.x.shape[0] if self.weight is None else float(self.weight.sum())

    @property
    def dimension(self) -> int:
        """Coordinates of attacks, q."""
        return self.attack.dimension

    @property
    def r(self) -> Tensor:
        """Radii, shape (n,)."""
        found: Tensor = self.attack.radius
        return found

    def seen(self, V: Tensor) -> Tensor:
        """What attacks see of a matrix of order d + 1, shape (q, q)."""
        found: Tensor = self.attack.seen(V[:-1, :-1])
        return found

    def pulled(self, rows: Tensor) -> Tensor:
        """What attacks see of vectors, shape (n, d) to (n, q)."""
        found: Tensor = self.attack.pulled(rows)
        return found

    def pushed(self, attacks: Tensor) -> Tensor:
        """What attacks do to inputs, but for the radius, shape (n, q) to (n, d)."""
        found: Tensor = self.attack.pushed(attacks)
        return found

    def spread(self, block: Tensor) -> Tensor:
        """What second moments of attacks are those of inputs, shape (q, q) to (d, d)."""
        found: Tensor = self.attack.spread(block)
        return found

    @property
    def own_axes(self) -> bool:
        """Whether attacks have axes of their own, which turn while inputs stay; those of a ball are the inputs'."""
        return self.attack.own_axes

    def axes(self, T: Tensor) -> Tensor:
        """The frame in which what attacks see of T_11 is diagonal, shape (q, q)."""
        V: Tensor = torch.linalg.eigh(self.seen(T))[1]
        return V

    def primal(self, T: Tensor, lam: Tensor, w: Tensor, *, diagonal: bool = True) -> "Primal":
        """The matrix inequalities' slacks in arrow form; T_11 is diagonal, or else is diagonalised for this call."""
        d = self.x.shape[1]
        a, b, c = self.activation.a, self.activation.b, self.activation.c
        x, T11, T12, seen = self.x, T[:d, :d], T[:d, d], self.seen(T)
        if diagonal:
            t, V = torch.diagonal(seen), None
        else:
            t, V = torch.linalg.eigh(seen)
        # Where it is T_11 itself that is diagonal a product with it is not worth its while.
        curved = a * t * x if diagonal and not self.own_axes else a * (x @ T11)
        half = curved + 0.5 * b * T12
        q = self.y * (((half + 0.5 * b * T12) * x).sum(1) + c * T[d, d])
        half = self.pulled(half)
        if V is not None:
            half = half @ V
        D = lam[:, None] + (self.y * self.r * self.r * a)[:, None] * t
        g = (self.y * self.r)[:, None] * half
        attack = -g / D
        s = q - lam - w + (g * attack).sum(1)
        return Primal(D, attack, s, q)


@dataclass(frozen=True)
class Primal:
    """``M_i``, sheared to ``diag(D, s)``.

    Args:
        D: Shape (n, q).
        attack: The attack that goes with lam, shape (n, q).
        s: Schur complement of D, shape (n,).
        q: Margins without attack, shape (n,).
    """

    D: Tensor
    attack: Tensor
    s: Tensor
    q: Tensor

    @property
    def positive(self) -> Tensor:
        """Whether all are positive definite; one truth value."""
        return (self.D > 0.0).all() & (self.s > 0.0).all()


@dataclass(frozen=True)
class Response:
    """How the attacked samples answer a change of T.

    Args:
        lam: Change of lam, shape (n,).
        w: Change of the margins, shape (n,).
        ghat: Change of the sheared side of M, shape (n, q).
        gbar: The same at the mean attacks of the dual, shape (n, d).
        corner: Change of the sheared corner of M, shape (n,).
        theta: New mass, shape (n,).
        side: New sheared side of X, shape (n, q).
        shared: Change of what both rows of a sample share, of each row, shape (n,); 0 where there is none.
    """

    lam: Tensor
    w: Tensor
    ghat: Tensor
    gbar: Tensor
    corner: Tensor
    theta: Tensor
    side: Tensor
    shared: Tensor | float = 0.0


@dataclass(frozen=True)
class AttackedDirection:
    """A step of the attacked samples.

    Args:
        dT: Change of T that they answer, shape (d + 1, d + 1).
        response: Their answer.
        dX: Change of the sheared moment matrices.
        lam: Of lam and its multiplier.
        loss: Of the loss's variables.
    """

    dT: Tensor
    response: Response
    dX: Hatted
    lam: Pair
    loss: LossSide

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Directions of all complementary pairs of numbers, in the order of the point's."""
        return (self.lam, *self.loss.pairs)


@dataclass(frozen=True)
class Aim:
    """Where a direction aims: the X of every sample where its M stays, and the loss's multipliers."""

    block: Tensor | None
    diagonal: Tensor
    side: Tensor
    corner: Tensor
    lam: Tensor
    loss: LossTarget


def rotated(data: AttackedData, point: AttackedPoint, V: Tensor) -> tuple[AttackedData, AttackedPoint]:
    """Samples and variables in the coordinates ``V'e`` of attacks, and, of balls, ``V'x`` of inputs."""
    moments = point.moments
    n, q = moments.mean.shape
    cov = torch.empty_like(moments.cov)
    for rows in sample_blocks(n, q, data.x.device):
        half = (moments.cov[rows] @ V).mT @ V
        torch.add(half, half.mT, out=cov[rows]).mul_(0.5)
    turned = replace(point, moments=Moments(moments.theta, moments.mean @ V, cov))
    if data.own_axes:
        return replace(data, attack=data.attack.turned(V)), turned
    return replace(data, x=data.x @ V), turned


def in_own_frame(data: AttackedData, T: Tensor) -> tuple[AttackedData, Tensor, Tensor]:
    """Samples and T in the frame in which what attacks see of T_11 is diagonal, and its axes, shape (q, q)."""
    V = data.axes(T)
    if data.own_axes:
        return replace(data, attack=data.attack.turned(V)), T, V
    Q = lift(V)
    return replace(data, x=data.x @ V), Q.T @ T @ Q, V


def add_reach(moments: Tensor, attack: AttackBall, weights: Tensor | None = None) -> None:
    """Add what attacks add to second moments of inputs, shape (d, d), on average and in every direction at once.

    Args:
        moments: Are added to.
        attack: The attacks on each sample.
        weights: What samples weigh in the average, shape (n,); None for 1.
    """
    squares = attack.radius**2
    square = float((squares if weights is None else weights * squares).mean())
    if attack.own_axes:
        S = attack.spanned(torch.eye(attack.dimension, dtype=moments.dtype, device=moments.device))
        moments.addmm_(S, S.T, alpha=square)
    else:
        moments.diagonal().add_(square)
