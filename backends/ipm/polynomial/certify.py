"""What an iterate of the polynomial programme proves: the objective of its network, the bound of its multipliers."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.ipm.loss_sides import Count
from cvxrobust.backends.ipm.polynomial.samples import Moments
from cvxrobust.core import (
    MomentMultipliers,
    PointMultipliers,
    PolynomialNetwork,
    PolynomialProgram,
    coefficients,
    neurons_from_matrix,
)
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.programs.polynomial.certificate import (
    EPS,
    TINY,
    DualBound,
    dual_bound,
    is_spoilt,
    sum_slack,
)
from cvxrobust.core.programs.polynomial.exact_gram import SampleSums
from cvxrobust.core.programs.polynomial.recovery import attacks_from_moments

Array = NDArray[np.float64]


EXACT = 1e-14
"""What counts as noise in Z where every digit of the objective is wanted."""

CUTOFFS = tuple(10.0**-k for k in range(2, 11))
"""What may be called noise in a network that is handed back, if that costs nothing."""


@dataclass(frozen=True)
class PrimalPoint:
    """A network, and the matrices that it came from.

    Args:
        network: The network.
        Z: Of its positive output weights, shape (d + 1, d + 1), in the coordinates of X; None if it was given.
        Zp: Of its negative ones.
    """

    network: PolynomialNetwork
    Z: Tensor | None = None
    Zp: Tensor | None = None


@dataclass(frozen=True)
class DualPoint:
    """The multipliers of an iterate, as they are.

    Args:
        theta: Of each sample, shape (n,).
        moments: Of the rows of attacked samples, in the units of their radii and a frame of their own; None where there
            are none.
        frame: Orthonormal axes of that frame in the coordinates of the ball, shape (q, k): k < q where attacks stay in
            a subspace.
    """

    theta: Tensor
    moments: Moments | None
    frame: Tensor


class Bounds:
    """Judges iterates of one programme.

    Args:
        program: One column of labels.
        X: Its inputs, shape (n, d).
        device: Where tensors are to be.

    Attributes:
        sign: The sign with which the loss of each sample sees outputs, shape (n,).
        attacked, clean: Which samples attacks can move, and the others.
        sided: Whether attacked samples have two rows each, one per side of their targets.
        rows: The sample of each attacked row, shape (k,); pairs of rows where these are sided.
        row_signs: With what sign they see outputs, shape (k,).
    """

    def __init__(self, program: PolynomialProgram, X: Array, device: torch.device) -> None:
        self.program, self.loss = program, program.loss_function
        self.y = program.labels[:, 0]
        self.device = device
        self.X, self.radius = (torch.tensor(part, device=device) for part in (X, program.attack.radius))
        self.sign = torch.tensor(self.y if self.loss.margin else np.ones_like(self.y), device=device)
        self.attack = replace(program.attack.like(self.X), radius=self.radius)
        self.attacked = torch.nonzero(self.radius > 0.0)[:, 0]
        self.clean = torch.nonzero(self.radius == 0.0)[:, 0]
        self.sided = not self.loss.margin and self.attacked.numel() > 0
        self.rows, self.row_signs = self.attacked, self.sign[self.attacked]
        if self.sided:
            self.rows = self.attacked.repeat_interleave(2)
            self.row_signs = torch.ones_like(self.radius[self.rows])
            self.row_signs[1::2] = -1.0
        self.weights = None if program.weights is None else torch.tensor(program.weights, device=device)

    def counts(self, rows: Tensor) -> Count:
        """By what the losses of some samples are divided: the number of all, over their weights."""
        n = self.y.size
        return n if self.weights is None else n / self.weights[rows]

    def weighed(self, values: Tensor) -> Tensor:
        """What is said of all samples, shape (n, ..), times their weights."""
        return values if self.weights is None else self.weights.view(-1, *[1] * (values.dim() - 1)) * values

    def weights_of(self, rows: Tensor) -> Tensor | None:
        """What some samples weigh, shape (b,); None for 1."""
        return None if self.weights is None else self.weights[rows]

    def network(self, Z: Tensor, Zp: Tensor, cutoff: float = EXACT) -> PolynomialNetwork:
        """The network of two matrices in the coordinates of X."""
        (up, positive), (down, negative) = (neurons_from_matrix(part.cpu().numpy(), cutoff) for part in (Z, Zp))
        u, alpha = np.vstack([up, down]), np.concatenate([positive, -negative])
        return PolynomialNetwork(u, alpha, self.program.activation, regression=not self.loss.margin)

    def primal(self, Z: Tensor, Zp: Tensor) -> tuple[PrimalPoint, float]:
        """The network of two matrices, with its objective."""
        network = self.network(Z, Zp)
        return PrimalPoint(network, Z, Zp), self.objective(network)

    def simplest(self, point: PrimalPoint, most: float) -> PolynomialNetwork:
        """The network with the fewest neurons, of those that differ by noise, whose objective is at most `most`."""
        if point.Z is None or point.Zp is None:
            return point.network
        for cutoff in CUTOFFS:
            network = self.network(point.Z, point.Zp, cutoff)
            if self.objective(network) <= most:
                return network
        return point.network

    def objective(self, network: PolynomialNetwork) -> float:
        """The exact objective of a network, as `core` evaluates it."""
        if network.n_neurons == 0:
            values = np.zeros_like(self.y)
        else:
            u, alpha = (torch.tensor(part, device=self.device) for part in (network.u, network.alpha))
            quadratic = Quadratic.of(u, alpha, self.program.activation)
            if self.loss.margin:
                values = quadratic.worst_margins(self.X, self.sign, self.attack).cpu().numpy()
            elif self.sided:
                low, high = (
                    sign
                    * quadratic.worst_margins(self.X, sign * torch.ones_like(self.radius), self.attack).cpu().numpy()
                    for sign in (1.0, -1.0)
                )
                values = np.where(high - self.y >= self.y - low, high, low)
            else:
                values = quadratic.expand(self.X)[0].cpu().numpy()
        return float(np.mean(self.loss.value(values, self.y))) + self.program.beta * network.penalty

    def bound(self, dual: DualPoint) -> DualBound:
        """The lower bound of multipliers, made feasible in the cheapest way: scaled."""
        return self.price(dual)[0]

    def price(self, dual: DualPoint) -> tuple[DualBound, Array]:
        """The lower bound, and ``C o S`` of its multipliers, shape (d + 1, d + 1), which prices neurons."""
        program, d = self.program, self.X.shape[1]
        capped, masses = self._capped(dual)
        S, mass, error = self._second_moments(dual, capped, masses, precise=False)
        if is_spoilt(self.y.size, d, mass, program.activation, program.beta):
            S, mass, error = self._second_moments(dual, capped, masses, precise=True)
        seen = S.cpu().numpy()
        found = dual_bound(
            capped.cpu().numpy(), seen, mass, loss=self.loss, target=self.y, activation=program.activation,
            beta=program.beta, slack=sum_slack(error, program.activation), reach=self._reach(capped, masses),
        )  # fmt: skip
        return found, coefficients(program.activation, d) * seen

    def thetas(self, moments: Moments) -> Tensor:
        """What multipliers of the attacked samples follow from those of their rows, shape (n,)."""
        return (self.row_signs * moments.theta).view(-1, 2).sum(1) if self.sided else moments.theta

    def _capped(self, dual: DualPoint) -> tuple[Tensor, Tensor]:
        """Multipliers in the domain of the conjugate: of samples, shape (n,), and of the attacked rows, shape (k,)."""
        if not self.sided or dual.moments is None:
            capped = self._clipped(dual.theta)
            return capped, capped[self.attacked]
        reach = dual.theta.abs()
        reach[self.attacked] = dual.moments.theta.view(-1, 2).sum(1)
        share = self._clipped(reach) / reach.clamp(min=TINY)
        return dual.theta * share, dual.moments.theta * share[self.rows]

    def _clipped(self, theta: Tensor) -> Tensor:
        return torch.tensor(self.loss.clip(theta.cpu().numpy()), device=self.device)

    def _reach(self, capped: Tensor, masses: Tensor) -> Array | None:
        """What the multipliers of both sides add up to, shape (n,); None where there is one."""
        if not self.sided:
            return None
        reach = capped.abs()
        reach[self.attacked] = masses.view(-1, 2).sum(1)
        found: Array = reach.cpu().numpy()
        return found

    def _second_moments(
        self, dual: DualPoint, capped: Tensor, masses: Tensor, *, precise: bool
    ) -> tuple[Tensor, float, float]:
        """Signed second moments, the size of what was summed, and what precise sums may lack."""
        sums, d = SampleSums(self.X.T, precise), self.X.shape[1]
        if self.clean.numel():
            sums.add(self.X[self.clean], (self.sign * capped)[self.clean])
        if dual.moments is None or not self.attacked.numel():
            return sums.matrix(), sums.mass, sums.error
        # Attacks shortened into their balls: their means make points, their covariances come on top.
        theta = masses
        shrink, share = _fit(dual.moments, theta)
        r = self.radius[self.rows]
        sums.add(
            self.X[self.rows] + (r * shrink)[:, None] * self.attack.pushed(dual.moments.mean @ dual.frame.T),
            self.row_signs * masses,
        )
        scales = self.row_signs * (r * shrink) ** 2 * share
        block = torch.einsum("i,ijk->jk", scales, dual.moments.cov)
        S = sums.matrix()
        S[:d, :d] += self.attack.spread(dual.frame @ (0.5 * (block + block.T)) @ dual.frame.T)
        return S, sums.mass + float(theta @ (r * r)) * self.attack.euclidean_reach**2, sums.error

    def multipliers(self, dual: DualPoint) -> MomentMultipliers | PointMultipliers:
        """For `core`, in the coordinates and units of X."""
        n, (all_capped, capped) = self.X.shape[0], self._capped(dual)
        theta: Array = all_capped.cpu().numpy()
        if dual.moments is None:
            return PointMultipliers(theta, np.arange(n), self.X.cpu().numpy())
        shrink, share = _fit(dual.moments, capped)
        if self.sided:
            return self._points(dual, theta, capped, shrink, share)
        r = self.radius[self.rows] * shrink
        mean, cov = r[:, None] * dual.moments.mean, dual.moments.cov * (share * r * r)[:, None, None]
        frame, whole = dual.frame, dual.frame.shape[1] == self.attack.dimension
        if whole:
            mean, cov = mean @ frame.T, frame @ cov @ frame.T
        k = mean.shape[1]
        side = capped[:, None] * mean
        found = np.zeros((n, k + 1, k + 1))
        found[:, k, k] = theta
        some = self.attacked.cpu().numpy()
        found[some, :k, k] = found[some, k, :k] = side.cpu().numpy()
        found[some, :k, :k] = (cov + side[:, :, None] * mean[:, None, :]).cpu().numpy()
        return MomentMultipliers(found, None if whole else frame.cpu().numpy())

    def _points(self, dual: DualPoint, theta: Array, masses: Tensor, shrink: Tensor, share: Tensor) -> PointMultipliers:
        """Multipliers of both sides on points: samples as they are, and some attacks with the moments of each row."""
        assert dual.moments is not None
        mean = shrink[:, None] * dual.moments.mean
        side, k = masses[:, None] * mean, mean.shape[1]
        moments = mean.new_zeros(mean.shape[0], k + 1, k + 1)
        moments[:, :k, :k] = (shrink**2 * share)[:, None, None] * dual.moments.cov + side[:, :, None] * mean[:, None, :]
        moments[:, :k, k] = moments[:, k, :k] = side
        moments[:, k, k] = masses
        still, X = self.clean.cpu().numpy(), self.X.cpu().numpy()
        weights, owners, moves = [theta[still]], [still], [np.zeros((still.size, self.attack.dimension))]
        rows, signs, radii = (part.cpu().numpy() for part in (self.rows, self.row_signs, self.radius[self.rows]))
        for matrix, owner, sign, r in zip(moments.cpu().numpy(), rows, signs, radii, strict=True):
            z, mass = attacks_from_moments(matrix, EXACT)
            weights.append(sign * mass)
            owners.append(np.full(mass.size, owner))
            moves.append(r * z @ dual.frame.cpu().numpy().T)
        of = np.concatenate(owners)
        return PointMultipliers(np.concatenate(weights), of, X[of] + self.program.attack.pushed(np.vstack(moves)))


def _fit(moments: Moments, capped: Tensor) -> tuple[Tensor, Tensor]:
    """By what to shorten attacks and to scale covariances, so that mass `capped` stays inside the unit balls."""
    share = capped / moments.theta.clamp(min=TINY)
    trace = torch.einsum("ikk->i", moments.cov) / moments.theta.clamp(min=TINY) + (moments.mean * moments.mean).sum(1)
    shrink = torch.where(trace > 1.0, torch.rsqrt(trace) * (1.0 - 8.0 * EPS), torch.ones_like(trace))
    return shrink, share
