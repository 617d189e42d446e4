"""The scaling of Nesterov and Todd for products of half-lines and second-order cones.

For s and z inside a second-order cone there is exactly one w with ``w'Jw = 1``, J = diag(1, -1, .., -1), and one eta
such that ``W = eta [w0, w1'; w1, I + w1 w1' / (1 + w0)]`` maps z and the inverse of W maps s to the same vector lambda.
Then

    W^-2 = eta^-2 (2 (Jw)(Jw)' - J),

which turns a step of the slack into one of its multiplier: ``dz = W^-2 (-ds) + what the target asks for``. For
half-lines ``W^-2 = z / s``. The target of complementarity is ``lambda o lambda = mu e`` with the Jordan product
``a o b = (a'b, a0 b1 + b0 a1)``; Mehrotra's second-order term is ``(W^-1 ds) o (W dz)`` of the predictor.

Sources: Nesterov and Todd (1997), Self-scaled barriers and interior-point methods for convex programming, Math. Oper.
Res. 22; Mehrotra (1992), On the implementation of a primal-dual interior point method, SIAM J. Optim. 2; formulas as in
Vandenberghe (2010), The CVXOPT linear and quadratic cone program solvers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.flat_vectors import FlatLayout

TINY = float(torch.finfo(torch.float64).tiny)


@dataclass(frozen=True)
class Cones:
    """The cones of a vector of slacks: half-lines first, then second-order cones.

    Args:
        layout: Parts of the vector; those of second-order cones come last, shape (.., 1 + width).
        balls: Names of the parts that are second-order cones.
        live: 1 for slacks that count, 0 for placeholders, shape (linear,); None if all count.
        weights: What the barriers of half-lines weigh beside those of second-order cones, shape (linear,); None for 1.
    """

    layout: FlatLayout
    balls: tuple[str, ...]
    live: Tensor | None
    weights: Tensor | None = None

    @cached_property
    def linear(self) -> int:
        """Number of half-lines."""
        return min((self.layout.places[name].start for name in self.balls), default=self.layout.size)

    @property
    def degree(self) -> float:
        """The sum of products ``s'z`` where every complementarity is its weight."""
        counting = [part for part in (self.live, self.weights) if part is not None]
        lines = float(torch.stack(counting).prod(0).sum()) if counting else float(self.linear)
        return lines + sum(int(torch.Size(self.layout.shapes[name][:-1]).numel()) for name in self.balls)

    def weighted(self, mu: Tensor | float) -> Tensor | float:
        """The complementarity of the half-lines where that of cones of weight 1 is mu."""
        return mu if self.weights is None else mu * self.weights

    def ball(self, flat: Tensor, name: str) -> Tensor:
        """The part of one family of second-order cones."""
        return flat[..., self.layout.places[name]].reshape(flat.shape[:-1] + self.layout.shapes[name])

    def inner(self, s: Tensor, z: Tensor) -> Tensor:
        """``s'z`` over what counts."""
        product = s * z
        if self.live is not None:
            product = torch.cat([product[..., : self.linear] * self.live, product[..., self.linear :]], dim=-1)
        return product.sum(-1)

    def step(self, v: Tensor, dv: Tensor) -> Tensor:
        """The largest step, at most 1e6, that stays inside; changes may have more leading dimensions than v."""
        m = self.linear
        pulls = [(-dv[..., :m] / v[..., :m]).amax(-1)] if m else []
        for name in self.balls:
            pull = _ball_pull(self.ball(v, name), self.ball(dv, name))
            pulls.append(pull.reshape((*dv.shape[:-1], -1)).amax(-1))
        return 1.0 / torch.stack(pulls).amax(0).clamp_min(1e-6)

    def steps(self, v: Tensor, dv: Tensor, more: Tensor, shares: Sequence[float]) -> Tensor:
        """`step` along ``dv + share more`` for several shares of what is of the shape of v, shape (shares, ...)."""
        m, pulls = self.linear, []
        if m:
            first, further = dv[..., :m] / v[..., :m], more[..., :m] / v[..., :m]
            pulls.append(torch.stack([-torch.add(first, further, alpha=share).amin(-1) for share in shares]))
        for name in self.balls:
            part, own, extra = (self.ball(one, name) for one in (v, dv, more))
            tried = torch.stack([torch.add(own, extra, alpha=share) for share in shares])
            pulls.append(_ball_pull(part, tried).reshape((len(shares), *dv.shape[:-1], -1)).amax(-1))
        return 1.0 / torch.stack(pulls).amax(0).clamp_min(1e-6)

    def inside(self, v: Tensor) -> Tensor:
        """Whether a vector is strictly inside."""
        good = (v[..., : self.linear] > 0.0).all(-1)
        for name in self.balls:
            part = self.ball(v, name)
            good = good & (part[..., 0] > _length(part[..., 1:])).reshape((*v.shape[:-1], -1)).all(-1)
        return good

    def centred(self, s: Tensor, mu: Tensor) -> Tensor:
        """The multipliers whose weighted complementarity with s is mu, shape of s; mu has a last dimension of 1."""
        parts = [self.weighted(mu) / s[..., : self.linear]]
        for name in self.balls:
            part = self.ball(s, name)
            flipped = torch.cat([part[..., :1], -part[..., 1:]], dim=-1)
            scale = mu.reshape(mu.shape[:-1] + (1,) * (part.ndim - mu.ndim + 1)) / _determinant(part)[..., None]
            parts.append((scale * flipped).reshape((*s.shape[:-1], -1)))
        z = torch.cat(parts, dim=-1)
        if self.live is not None:
            z[..., : self.linear] = torch.where(self.live > 0.0, z[..., : self.linear], 1.0)
        return z


def _length(v: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(v, dim=-1)
    return found


def _determinant(v: Tensor) -> Tensor:
    tail: Tensor = _length(v[..., 1:])
    return (v[..., 0] - tail) * (v[..., 0] + tail)


def _ball_pull(v: Tensor, dv: Tensor) -> Tensor:
    """The inverse of the step at which ``v + step dv`` leaves its cone; 0 or less if it never does."""
    root = torch.sqrt(_determinant(v).clamp_min(TINY))
    unit, move = v / root[..., None], dv / root[..., None]
    first = unit[..., 0] * move[..., 0] - (unit[..., 1:] * move[..., 1:]).sum(-1)
    share = (first + move[..., 0]) / (unit[..., 0] + 1.0)
    return _length(move[..., 1:] - share[..., None] * unit[..., 1:]) - first


@dataclass
class BallScaling:
    """The scaling of one family of second-order cones.

    Args:
        w0: Shape (..).
        w1: Shape (.., width).
        eta: Shape (..).
        point: The scaled point lambda, shape (.., 1 + width).
        determinant: ``lambda'J lambda``, shape (..).
    """

    w0: Tensor
    w1: Tensor
    eta: Tensor
    point: Tensor
    determinant: Tensor

    @classmethod
    def at(cls, s: Tensor, z: Tensor) -> "BallScaling":
        """The scaling of a pair of points inside."""
        ds, dz = _determinant(s).clamp_min(TINY), _determinant(z).clamp_min(TINY)
        a, b = s / torch.sqrt(ds)[..., None], z / torch.sqrt(dz)[..., None]
        gamma = torch.sqrt(0.5 * (1.0 + (a * b).sum(-1)))
        w1 = (a[..., 1:] - b[..., 1:]) / (2.0 * gamma)[..., None]
        # From w'Jw = 1: exact even where rounding has blurred the mean.
        w0, eta = torch.sqrt(1.0 + (w1**2).sum(-1)), (ds / dz) ** 0.25
        found = cls(w0, w1, eta, s, torch.sqrt(ds * dz))
        found.point = found.times(z)
        return found

    def times(self, v: Tensor, inverse: bool = False) -> Tensor:
        """``W v``, or the inverse of W times v."""
        w1 = -self.w1 if inverse else self.w1
        eta = 1.0 / self.eta if inverse else self.eta
        dot = (w1 * v[..., 1:]).sum(-1)
        first = self.w0 * v[..., 0] + dot
        rest = v[..., 1:] + (v[..., 0] + dot / (1.0 + self.w0))[..., None] * w1
        return eta[..., None] * torch.cat([first[..., None], rest], dim=-1)

    def squared(self, v: Tensor) -> Tensor:
        """``W^-2 v``."""
        dot = 2.0 * (self.w0 * v[..., 0] - (self.w1 * v[..., 1:]).sum(-1))
        first, rest = dot * self.w0 - v[..., 0], v[..., 1:] - dot[..., None] * self.w1
        return torch.cat([first[..., None], rest], dim=-1) / (self.eta**2)[..., None]

    def divided(self, r: Tensor) -> Tensor:
        """The v with ``lambda o v = r``."""
        p = self.point
        first = (p[..., 0] * r[..., 0] - (p[..., 1:] * r[..., 1:]).sum(-1)) / self.determinant
        return torch.cat([first[..., None], (r[..., 1:] - first[..., None] * p[..., 1:]) / p[..., :1]], dim=-1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    first = (a * b).sum(-1, keepdim=True)
    return torch.cat([first, a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:]], dim=-1)


class Scaling:
    """The scaling of a whole vector of slacks s and its multipliers z."""

    def __init__(self, cones: Cones, s: Tensor, z: Tensor) -> None:
        m = cones.linear
        self.cones, self.s, self.z = cones, s, z
        self.weights = z[..., :m] / s[..., :m]
        if cones.live is not None:
            self.weights = self.weights * cones.live
        self.balls = {name: BallScaling.at(cones.ball(s, name), cones.ball(z, name)) for name in cones.balls}
        # Weights by name, for whoever eliminates.
        names = [name for name in cones.layout.shapes if name not in cones.balls]
        self.of = FlatLayout({name: cones.layout.shapes[name] for name in names}).views(self.weights)

    def squared(self, v: Tensor) -> Tensor:
        """``W^-2 v``."""
        parts = [self.weights * v[..., : self.cones.linear]]
        for name, ball in self.balls.items():
            parts.append(ball.squared(self.cones.ball(v, name)).reshape((*v.shape[:-1], -1)))
        return torch.cat(parts, dim=-1)

    def target(self, mu: Tensor, ds: Tensor | None = None, dz: Tensor | None = None) -> Tensor:
        """What `dz` is for ``ds = 0``, to bring complementarity to mu; with a predictor, to second order.

        Args:
            mu: Target, with a last dimension of 1.
            ds: Predictor's step of the slacks.
            dz: Predictor's step of the multipliers.
        """
        m, s, z = self.cones.linear, self.s, self.z
        wanted = self.cones.weighted(mu)
        if ds is not None and dz is not None:
            wanted = wanted - ds[..., :m] * dz[..., :m]
        lines = wanted / s[..., :m] - z[..., :m]
        parts = [lines if self.cones.live is None else lines * self.cones.live]
        for name, ball in self.balls.items():
            r = torch.zeros_like(ball.point)
            if ds is not None and dz is not None:
                inward, outward = ball.times(self.cones.ball(ds, name), True), ball.times(self.cones.ball(dz, name))
                r = -_product(inward, outward)
            r[..., 0] += mu.reshape(mu.shape[:-1] + (1,) * (r.ndim - mu.ndim))
            # What cancels lambda o lambda is z itself.
            part = ball.times(ball.divided(r), inverse=True) - self.cones.ball(z, name)
            parts.append(part.reshape((*s.shape[:-1], -1)))
        return torch.cat(parts, dim=-1)

    def centring(self, s: Tensor, z: Tensor, low: float, high: float) -> Tensor:
        """What `dz` is for ``ds = 0``, to bring products that a step would leave outside a range back.

        Products are eigenvalues of ``(W^-1 s) o (W z)`` in second-order cones.

        Args:
            s: The slacks that the step would lead to, perhaps outside.
            z: The multipliers.
            low: The smallest product that is welcome, where the weight is 1.
            high: The largest.
        """
        m = self.cones.linear
        least, most = (torch.as_tensor(self.cones.weighted(end)).to(s) for end in (low, high))
        products = s[..., :m] * z[..., :m]
        wanted = (products.clamp(least, most) - products).clamp_min(-most) / self.s[..., :m]
        if self.cones.live is not None:
            wanted = wanted * self.cones.live
        parts = [wanted]
        for name, ball in self.balls.items():
            product = _product(ball.times(self.cones.ball(s, name), True), ball.times(self.cones.ball(z, name)))
            parts.append(ball.times(ball.divided(_towards(product, low, high)), True).reshape((*s.shape[:-1], -1)))
        return torch.cat(parts, dim=-1)


def _towards(product: Tensor, low: float, high: float) -> Tensor:
    """The change of a vector that brings its eigenvalues into a range, or down by no more than its end."""
    tail = _length(product[..., 1:])
    changes = []
    for value in (product[..., 0] + tail, product[..., 0] - tail):
        changes.append((value.clamp(low, high) - value).clamp_min(-high))
    unit = product[..., 1:] / torch.where(tail > 0.0, tail, 1.0)[..., None]
    first, rest = 0.5 * (changes[0] + changes[1]), 0.5 * (changes[0] - changes[1])
    return torch.cat([first[..., None], rest[..., None] * unit], dim=-1)
