"""Attacked samples: their linear matrix inequalities, eliminated one by one without cancellation.

Notation and derivation: `cvxrobust.backends.ipm.polynomial.solve`, sections 2 to 4.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.backends.ipm.complementarity import longest, products_after, steps
from cvxrobust.backends.ipm.loss_sides import LossTarget
from cvxrobust.backends.ipm.polynomial.covariances import Spread
from cvxrobust.backends.ipm.polynomial.samples import (
    Aim,
    AttackedData,
    AttackedDirection,
    AttackedPoint,
    Hatted,
    Moments,
    Response,
    sample_blocks,
)
from cvxrobust.core.arrays import worth_a_look


@dataclass(frozen=True)
class Pulled:
    """What the samples answer to a solution whose forces are known better than what follows from its T.

    Args:
        force: ``kb b``, shape (n,).
        lam: dlam, shape (n,).
        pull: ``S gh / s``, shape (n, d).
        gbar: gb, shape (n, d).
        block: ``S dD``, shape (n, d, d).
    """

    force: Tensor
    lam: Tensor
    pull: Tensor
    gbar: Tensor
    block: Tensor


class Linearised:
    """The attacked samples around a point, everything but T eliminated.

    Args:
        data: The samples.
        point: Their variables.
        T: In the frame, with a diagonal block T_11.
        weight: Of the barriers of the inequalities and of lam, beside those of the loss.
        near: Correlations up to which covariances are taken to be diagonal (`Spread`).

    Attributes:
        data, point, T, weight: As given; n attacked samples, d inputs, q coordinates of attacks.
        blocks: Slices of samples whose (q, q) matrices are worked on at once.
        primal: The M_i in arrow form: attacks p, diagonals D, corners s.
        delta: ``1 / D``, shape (n, q).
        eta: ``h = a - p``, how far the mean of the moments is from the attack, shape (n, q).
        x_primal, x_dual: ``x + r p`` and ``x + r a``, shape (n, d): z and zb without their last entry.
        spread: The covariances S, most of them diagonal.
        axes_delta: Diagonals of ``S D^-1``, shape (n, q).
        off_delta: The rest of it for the w samples whose correlations count, shape (w, q, q).
        cov_attack: ``S p``, shape (n, q).
        off: ``a'p - 1``, the o of section 4, shape (n,).
        theta_over_s: ``theta / s``, shape (n,).
        coupled_on, coupled_off: Sums over samples of ``r^4 S D^-1``, shapes (q, q) and (q, q, q).
        curvature: kappa, what the loss leaves, shape (n,). `prepare` sets this and all that follows.
        joint: What the loss lets pairs of rows share, on top of that; None for nothing.
        parallel: kb, ``1 / (1 / theta_over_s + 1 / curvature)``, shape (n,).
        lam_weight: omega, what dlam^2 weighs, shape (n,).
        stiffness: k, what is left of kb when lam is eliminated, too, shape (n,).
        theta_0, w_0, lam_0: What the targets alone ask of theta, w and lam, shape (n,); w_0 with targets only.
    """

    def __init__(self, data: AttackedData, point: AttackedPoint, T: Tensor, weight: float, near: float | None) -> None:
        self.data, self.point, self.T, self.weight = data, point, T, weight
        n, q = point.moments.mean.shape
        self.blocks = sample_blocks(n, q, data.x.device)
        self.primal = data.primal(T, point.lam.slack, point.w)
        theta, mean, cov = point.moments.theta, point.moments.mean, point.moments.cov
        attack, s = self.primal.attack, self.primal.s
        self.delta = 1.0 / self.primal.D
        self.eta = mean - attack
        self.x_primal = data.x + data.r[:, None] * data.pushed(attack)
        self.x_dual = data.x + data.r[:, None] * data.pushed(mean)
        self.spread = spread = Spread(cov, near)
        self.axes_delta = spread.diagonal * self.delta
        self.off_delta = spread.off * self.delta[spread.whole, None, :]
        self.cov_attack = spread.times(attack)
        self.off = (mean * attack).sum(1) - 1.0
        self.theta_over_s = theta / s
        # Column k of sum_i r^4 S_i dT delta_i is on[:, k] * dT[:, k] + off[k] @ dT[:, k].
        weights = (data.r**4)[:, None] * self.delta
        self.coupled_on = spread.diagonal.T @ weights
        self.coupled_off = (weights[spread.whole].T @ spread.off.reshape(-1, q * q)).reshape(q, q, q)

    def aim(self, mu: float, previous: AttackedDirection | None) -> Aim:
        """The targets for complementarity mu, with Mehrotra's correction by a previous direction."""
        own = self.data.barrier(mu)
        weighted = self.weight * own
        along = weighted[:, None] if isinstance(weighted, Tensor) else weighted
        diagonal, corner = along * self.delta, weighted / self.primal.s
        side = torch.zeros_like(diagonal)
        lam = self.point.lam.aim(weighted, None if previous is None else previous.lam)
        loss = self.point.loss.aim(own, None if previous is None else previous.loss)
        if previous is None:
            return Aim(None, diagonal, side, corner, lam, loss)
        correction = self._correction(previous.dX, previous.response, previous.dT)
        return Aim(correction.block, diagonal, side + correction.side, corner + correction.corner, lam, loss)

    def prepare(self, aim: Aim | None, loss: LossTarget) -> None:
        """Fix what the elimination of lam and w needs, for the targets `aim` (None: none, the linear part alone)."""
        point, primal = self.point, self.primal
        theta, curvature, self.joint = point.moments.theta, loss.curvature, loss.joint
        parallel = 1.0 / (1.0 / self.theta_over_s + 1.0 / curvature)
        self.curvature, self.parallel = curvature, parallel
        mean, attack, delta = point.moments.mean, primal.attack, self.delta
        self.lam_weight = (
            self.axes_delta.sum(1)
            + theta * (mean * mean * delta).sum(1)
            + (attack * self.cov_attack).sum(1) / primal.s
            + point.lam.weight
        )
        self.stiffness = 1.0 / (1.0 / parallel + self.off**2 / self.lam_weight)
        if aim is None:
            self.theta_0 = torch.zeros_like(theta)
            self.lam_0 = torch.zeros_like(theta)
            return
        total = self.theta_over_s + curvature
        self.theta_0 = (aim.loss.target * self.theta_over_s + curvature * aim.corner) / total
        self.w_0 = (aim.loss.target - aim.corner) / total
        block = aim.diagonal.sum(1)
        if aim.block is not None:
            block = block + torch.einsum("ikk->i", aim.block)
        self.lam_0 = (
            self.theta_0 * (1.0 - (attack * attack).sum(1))
            - block
            - 2.0 * (attack * aim.side).sum(1)
            + (attack * self.eta).sum(1) * (aim.corner - self.theta_0)
            - aim.lam
        )

    def respond(self, dT: Tensor | None, aim: Aim | None) -> Response:
        """The change of everything with T; without `aim` the homogeneous, linear part."""
        data, primal, point = self.data, self.primal, self.point
        theta, q = point.moments.theta, self.eta.shape[1]
        yr = (data.y * data.r)[:, None]
        if dT is None:
            ghat, gbar = torch.zeros_like(self.eta), torch.zeros_like(self.eta)
            b = theta.new_zeros(theta.shape)
            c = b
        else:
            vt = data.activation.times(dT)
            inner, border, seen = vt[:-1, :-1], vt[:-1, -1], data.seen(vt)
            at_primal = self.x_primal @ inner + border
            ghat, gbar = yr * data.pulled(at_primal), yr * data.pulled(self.x_dual @ inner + border)
            b = data.y * ((at_primal * self.x_dual).sum(1) + self.x_primal @ border + vt[-1, -1])
            c = self.axes_delta @ torch.diagonal(seen)
            c.index_add_(0, self.spread.whole, self.off_delta.reshape(-1, q * q) @ seen.reshape(-1))
            c = data.y * data.r**2 * c + theta * (point.moments.mean * self.delta * gbar).sum(1)
            c = c + (self.cov_attack * ghat).sum(1) / primal.s
        zero = self.lam_0 if aim is not None else torch.zeros_like(c)
        # force = parallel (b + off dlam), where dlam already answers it.
        force, shared = self._shared(self.stiffness * (b - self.off * (zero + c) / self.lam_weight), aim)
        dlam = -(zero + c + self.off * force) / self.lam_weight
        ghat = ghat + dlam[:, None] * primal.attack
        gbar = gbar + dlam[:, None] * point.moments.mean
        b = force / self.parallel
        theta_new = -force if aim is None else self.theta_0 - force
        corner = theta_new.new_zeros(theta_new.shape) if aim is None else aim.corner
        pull = self.spread.times(ghat) / primal.s[:, None]
        side = -0.5 * (pull + self.eta * (corner - theta_new)[:, None] + theta[:, None] * self.delta * gbar)
        if aim is not None:
            side = side + aim.side
        share = self.theta_over_s / (self.theta_over_s + self.curvature)
        dw = share * b if aim is None else self.w_0 + share * b
        # b = tau + eta'ghat with tau the change of the corner but for w; both count what is shared.
        change = b - (self.eta * ghat).sum(1) - dw
        return Response(dlam, dw - shared, ghat, gbar, change, theta_new, side, shared)

    def _shared(self, alone: Tensor, aim: Aim | None) -> tuple[Tensor, Tensor | float]:
        """Forces, and the change of what pairs of rows share, of forces without the latter."""
        if self.joint is None:
            return alone, 0.0
        change, force = self.joint.shared(self.stiffness, alone, None if aim is None else self.theta_0)
        return force, change.repeat_interleave(2)

    def answer(self, dT: Tensor, aim: Aim, pulled: Pulled) -> Response:
        """As `respond` with an aim, for a change of T whose forces are known."""
        data, primal, theta = self.data, self.primal, self.point.moments.theta
        vt = data.activation.times(dT)
        ghat = (data.y * data.r)[:, None] * data.pulled(self.x_primal @ vt[:-1, :-1] + vt[:-1, -1])
        ghat = ghat + pulled.lam[:, None] * primal.attack
        b = pulled.force / self.parallel
        dw = self.theta_over_s / (self.theta_over_s + self.curvature) * b
        change = b - (self.eta * ghat).sum(1) - dw
        by_mean = theta[:, None] * self.delta * pulled.gbar
        side = -0.5 * (pulled.pull + self.eta * pulled.force[:, None] + by_mean)
        still = self.respond(None, aim)
        shared = 0.0 if self.joint is None else self.respond(dT, None).shared
        return Response(
            still.lam + pulled.lam, still.w + dw - shared, still.ghat + ghat, still.gbar + pulled.gbar,
            still.corner + change, still.theta - pulled.force, still.side + side, still.shared + shared,
        )  # fmt: skip

    def gather(self, found: Response, dT: Tensor | None, aim: Aim | None) -> Tensor:
        """``sum_i y_i C o (E_i X_i E_i')`` of the answered X, shape (d + 1, d + 1)."""
        data, theta, q, d = self.data, self.point.moments.theta, self.eta.shape[1], self.data.x.shape[1]
        y, r = data.y, data.r
        S = found.side.new_zeros(d + 1, d + 1)
        moved = y * r * r * found.lam
        block = -(moved[self.spread.whole] @ self.off_delta.reshape(-1, q * q)).reshape(q, q)
        block = block - torch.diag(moved @ self.axes_delta)
        if dT is not None:
            vt = data.seen(data.activation.times(dT))
            block = block - self.coupled_on * vt - torch.einsum("kjl,lk->jk", self.coupled_off, vt)
        block = block - (self.eta * (theta * y * r * r)[:, None]).T @ (self.delta * found.gbar)
        if aim is not None:
            block = block + torch.diag((y * r * r) @ aim.diagonal)
            if aim.block is not None:
                block = block + ((y * r * r) @ aim.block.reshape(-1, q * q)).reshape(q, q)
        S[:d, :d] = data.spread(0.5 * (block + block.T))
        weighted = data.pushed((y * r)[:, None] * found.side)
        cross = weighted.T @ self.x_primal
        mass = y * found.theta
        scaled = mass[:, None] * self.x_primal
        S[:d, :d] += cross + cross.T + scaled.T @ self.x_primal
        S[:d, d] = weighted.sum(0) + scaled.sum(0)
        S[d, :d] = S[:d, d]
        S[d, d] = mass.sum()
        return data.activation.times(S)

    def direction(self, dT: Tensor, aim: Aim, pulled: Pulled | None = None) -> AttackedDirection:
        """The step that answers a change of T; `pulled` has what is known of that better than it follows from T."""
        found = self.respond(dT, aim) if pulled is None else self.answer(dT, aim, pulled)
        lam = self.point.lam.towards(aim.lam, found.lam)
        loss = self.point.loss.move(aim.loss, found.w)
        return AttackedDirection(dT, found, self._moments_direction(found, dT, aim, pulled), lam, loss)

    def _moments_direction(self, found: Response, dT: Tensor, aim: Aim, pulled: Pulled | None) -> Hatted:
        """The change of the sheared X, ``dX = aim - X - sym(X dM M^-1)``."""
        moments = self.point.moments
        vt = self.data.seen(self.data.activation.times(dT))
        scale = self.data.y * self.data.r**2
        side = moments.theta[:, None] * self.eta
        block = torch.empty_like(moments.cov)
        for rows in self.blocks:
            cov, delta = moments.cov[rows], self.delta[rows, None, :]
            if pulled is None:
                product = self._spread_change(rows, scale, vt, found.lam)
            else:
                still = (found.lam - pulled.lam)[rows, None, None]
                product = self.spread.matrices(rows).mul_(still).add_(pulled.block[rows])
            product.add_(side[rows, :, None] * found.gbar[rows, None, :]).mul_(-0.5 * delta)
            part = torch.add(product, product.mT, out=block[rows])
            part.sub_(cov).sub_(side[rows, :, None] * self.eta[rows, None, :])
            if aim.block is not None:
                part.add_(aim.block[rows])
        torch.diagonal(block, dim1=1, dim2=2).add_(aim.diagonal)
        return Hatted(block, found.side - side, found.theta - moments.theta)

    def _spread_change(self, rows: slice, scale: Tensor, vt: Tensor, dlam: Tensor) -> Tensor:
        """``S (scale vt + dlam I)`` of consecutive samples, shape (b, d, d)."""
        spread = self.spread
        diagonal = spread.diagonal[rows]
        product = (scale[rows, None] * diagonal)[:, :, None] * vt
        torch.diagonal(product, dim1=1, dim2=2).add_(dlam[rows, None] * diagonal)
        places = spread.between(rows)
        samples, off = spread.whole[places], spread.off[places]
        far = (off @ vt).mul_(scale[samples, None, None]).add_(dlam[samples, None, None] * off)
        return product.index_add_(0, samples - rows.start, far)

    def _correction(self, dX: Hatted, found: Response, dT: Tensor) -> Hatted:
        """``-sym((dX + E) dM M^-1)``, E what the system leaves out of X."""
        vt = self.data.seen(self.data.activation.times(dT))
        scale = self.data.y * self.data.r**2
        over_s = 1.0 / self.primal.s
        down = dX.side * found.corner[:, None]
        block = torch.empty_like(dX.block)
        for rows in self.blocks:
            both = self.spread.left_out(self.point.moments.cov, rows).add_(dX.block[rows])
            down[rows] += torch.bmm(both, found.ghat[rows, :, None])[:, :, 0]
            product = (both @ vt).mul_(scale[rows, None, None]).add_(found.lam[rows, None, None] * both)
            product.add_(dX.side[rows, :, None] * found.ghat[rows, None, :]).mul_(-0.5 * self.delta[rows, None, :])
            torch.add(product, product.mT, out=block[rows])
        across = scale[:, None] * (dX.side @ vt) + found.lam[:, None] * dX.side + dX.corner[:, None] * found.ghat
        side = -0.5 * (down * over_s[:, None] + across * self.delta)
        corner = -((dX.side * found.ghat).sum(1) + dX.corner * found.corner) * over_s
        return Hatted(block, side, corner)

    # -- steps ---------------------------------------------------------------------------------------------------

    @property
    def count(self) -> float:
        """Complementarity pairs, each as often as its barrier weighs."""
        n, (rows, q) = self.data.amount, self.eta.shape
        # Of what two rows share there is one for both.
        return n * (self.weight * (q + 2) + sum(pair.slack.numel() / rows for pair in self.point.loss.pairs))

    def complementarity(self) -> float:
        """Sum of ``<X_i, M_i>``."""
        moments = self.point.moments
        trace = self.spread.diagonal + moments.theta[:, None] * self.eta**2
        return float((trace * self.primal.D).sum()) + float(moments.theta @ self.primal.s)

    def complementarity_after(self, step: AttackedDirection, primal: float, dual: float) -> float:
        """Sum of all products of the attacked samples after a step, ``<X + dual dX, M + primal dM>`` among them."""
        dX, found, dT = step.dX, step.response, step.dT
        moments, q = self.point.moments, self.eta.shape[1]
        side = moments.theta[:, None] * self.eta
        moved, corner = side + dual * dX.side, moments.theta + dual * dX.corner
        trace = self.spread.diagonal + side * self.eta
        trace = trace + dual * torch.einsum("ikk->ik", dX.block)
        total = float((trace * self.primal.D).sum()) + float(corner @ self.primal.s)
        weights = self.data.y * self.data.r**2
        summed = (weights @ moments.cov.reshape(-1, q * q) + dual * (weights @ dX.block.reshape(-1, q * q))).reshape(
            q, q
        )
        summed = summed + (weights[:, None] * side).T @ self.eta
        seen = self.data.seen(self.data.activation.times(dT))
        change = float((summed * seen).sum()) + float(found.lam @ trace.sum(1))
        change += 2.0 * float((moved * found.ghat).sum()) + float(corner @ found.corner)
        return total + primal * change + products_after(self.point.pairs, step.pairs, primal, dual)

    def advanced(self, step: AttackedDirection, primal: float, dual: float) -> AttackedPoint:
        """The point after a step."""
        dX = step.dX
        point, moments = self.point, self.point.moments
        w = point.w + primal * step.response.w
        theta = moments.theta + dual * dX.corner
        side = moments.theta[:, None] * self.eta
        moved = side + dual * dX.side
        eta = moved / theta[:, None]
        cov = torch.empty_like(moments.cov)
        for rows in self.blocks:
            self._covariance(dX, theta.new_tensor(dual), side[rows], moved[rows], eta[rows], rows, cov[rows])
        new = Moments(theta, self.primal.attack + eta, cov)
        return AttackedPoint(
            point.lam.step(step.lam, primal, dual), w, new, point.loss.step(step.loss, primal, dual, w)
        )

    def longest(self, direction: AttackedDirection, T: Tensor, most: tuple[float, float]) -> tuple[float, float]:
        """Longest primal and dual steps, up to `most`, from below by bisection."""
        point, dX, dT = self.point, direction.dX, direction.dT
        pairs = steps(point.pairs, direction.pairs)

        def primal_inside(step: Tensor) -> Tensor:
            lam, w = point.lam.slack + step * direction.lam.slack, point.w + step * direction.response.w
            return self.data.primal(T + step * dT, lam, w, diagonal=False).positive

        dual = min(most[1], pairs[1], longest(point.moments.theta, dX.corner))
        primal = bisect(primal_inside, T.new_tensor(min(most[0], pairs[0])))
        return float(primal), float(self._longest_dual(dX, T.new_tensor(dual)))

    def _longest_dual(self, dX: Hatted, most: Tensor) -> Tensor:
        """The longest step up to `most`, from below, that keeps every X_i psd; later blocks start at earlier bounds."""
        moments = self.point.moments
        side = moments.theta[:, None] * self.eta
        buffer = torch.empty_like(moments.cov[self.blocks[0]])
        for rows in self.blocks:

            def inside(step: Tensor, rows: slice = rows) -> Tensor:
                theta = moments.theta + step * dX.corner
                moved = side[rows] + step * dX.side[rows]
                eta = moved / theta[rows, None]
                cov = buffer[: moved.shape[0]]
                self._covariance(dX, step, side[rows], moved, eta, rows, cov)
                good: Tensor = ((theta[rows] > 0.0) & (torch.linalg.cholesky_ex(cov)[1] == 0)).all()
                return good

            most = bisect(inside, most)
        return most

    def _covariance(
        self, dX: Hatted, step: Tensor, side: Tensor, moved: Tensor, eta: Tensor, rows: slice, out: Tensor
    ) -> None:
        """theta times the covariance after a step, of some samples: the Schur complement of the moved X."""
        torch.addcmul(self.point.moments.cov[rows], dX.block[rows], step, out=out)
        out.add_(side[:, :, None] * self.eta[rows, None, :]).sub_(moved[:, :, None] * eta[:, None, :])


def bisect(inside: Callable[[Tensor], Tensor], most: Tensor) -> Tensor:
    """The longest step up to `most` that stays inside a convex set, to within a tenth from below; single numbers."""
    low, high, step = torch.zeros_like(most), most, most
    done = torch.zeros_like(most, dtype=torch.bool)
    for trial in range(41):
        good = inside(step)
        # Trials beyond the last that was needed, before anybody looked, change nothing.
        low, high = torch.where(good & ~done, step, low), torch.where(good | done, high, step)
        done = done | (high - low <= 0.1 * low) | (high < 1e-12)
        if worth_a_look(trial, done) and bool(done):
            break
        step = 0.5 * (low + high)
    return low
