"""The smoothed objective of training against boxes in terms of its neurons, with relaxed attacks that stay warm.

As for attacks in balls (`cvxrobust.backends.torch.polynomial.objective`), a neuron u with output weight s alpha is
``v = sqrt(alpha) u``, and by Danskin the gradient needs only where attacks lead. Here these are moment matrices
``X_i = [V_i; r'][V_i; r']'`` of low rank, which a few sweeps over the coordinates follow from one evaluation to the
next (`cvxrobust.core.attacks.boxes.factors` says how): all samples share the curvature, ``P = a sum_j s_j v_j v_j'``,
so a coordinate costs as many products as there are neurons. Rows of V lie in a coordinate's order, shape (q, n, p).

What a coordinate is worth has a kink where it pulls at nothing, as the norm 1 of slopes has where one of them is 0, and
optimal networks have many such: without more, multipliers jump from one evaluation to the next, however near the
optimum is. So each coordinate has a noise of its own besides, of variance s_k, for which a barrier pays,

    w_i = min  <C_i, V V' + diag(s)> + 2 h_i'V r - nu sum_k log s_k    over  |v_k|^2 + s_k <= 1,

whose minimiser in a coordinate has a formula as well, and is smooth. The moments are those of an attack, so what they
prove is as good as any, and they fall short of the relaxation by no more than ``nu q``, about.

Samples whose margin even a crude bound puts where their loss has no slope are left alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.losses import torch_loss
from cvxrobust.backends.torch.polynomial.answers import HeldAttacks
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core.programs.boxes.program import BoxProgram

TINY = 1e-300
COLUMNS = 3
"""Of factors; with two there are stationary points that are none of the relaxation."""
SWEEPS = 1
"""From one evaluation to the next, at first."""
FIRST = 10
"""Before the first."""
ASTRAY = 0.1
"""By how much columns are, at first: empty ones would stay so."""
BLOCK, DEVICE_BLOCK = 2**17, 2**24
"""Entries of a coordinate's products, on a CPU, whose cache they stay in, and on a GPU."""
FEWER = 0.7
"""Samples are left alone where that leaves no more than this share of them."""


@dataclass(frozen=True)
class BoxQuery:
    """A network to evaluate.

    Args:
        neurons: v_j in rows, shape (m, d), float64.
        signs: Signs of the output weights, shape (m,).
        smoothing: The degree of smoothing, that of attacks as ``nu q``; its centre has shape (n,).
    """

    neurons: Tensor
    signs: Tensor
    smoothing: PolynomialSmoothing


@dataclass(frozen=True)
class BoxPoint:
    """The objective at one set of neurons.

    Args:
        value: The smoothed objective.
        gradient: With respect to the neurons, shape (m, d).
        reached: Margins at the relaxed attacks, without what the barrier adds, shape (n,).
        seen: With it, which is what the loss sees, shape (n,).
        weights: Multipliers p without the weights of samples, shape (n,).
    """

    value: float
    gradient: Tensor
    reached: Tensor
    seen: Tensor
    weights: Tensor


class BoxObjective:
    """Evaluates networks on one device, and keeps the relaxed attacks on the last.

    Args:
        program: What to train, of one column of labels.
        device: Where.

    Attributes:
        program, device: As given.
        rows: The attacks, shape (q, n, p); r is the first unit vector.
        sweeps: From one evaluation to the next.
    """

    def __init__(self, program: BoxProgram, device: torch.device) -> None:
        self.program, self.device, self.loss = program, device, torch_loss(program.loss)
        self.X, self.labels = self.tensor(program.X), self.tensor(program.labels[:, 0])
        n, q = program.X.shape[0], program.inputs.size
        self.inputs = torch.as_tensor(program.inputs, device=device)
        self.widths = self.tensor(program.boxes.widths[:, program.inputs].T)
        self.shares = self.tensor(np.ones(n) if program.weights is None else program.weights) / n
        self.rows = torch.zeros(q, n, min(COLUMNS, q + 1), dtype=torch.float64, device=device)
        self.noise = torch.zeros(q, n, dtype=torch.float64, device=device)
        self.fresh, self.generator, self.sweeps = True, torch.Generator().manual_seed(0), SWEEPS

    def tensor(self, array: object) -> Tensor:
        """An array on the device, in double precision."""
        return torch.tensor(array, dtype=torch.float64, device=self.device)

    def evaluate(self, query: BoxQuery) -> BoxPoint:
        """The objective and its gradient, after some more sweeps."""
        v, signs, (a, b, c) = query.neurons, query.signs, self.program.activation
        lengths = v.norm(dim=1)
        products = self.X @ v.T
        values = self.labels * ((products * products * a + products * lengths * b + lengths * lengths * c) @ signs)
        slopes = (products * a + 0.5 * b * lengths) * signs
        own = v[:, self.inputs]
        half = self.widths * (slopes @ own).T * self.labels
        reached, barrier = self._relaxed(values, half, own, a * signs, query)
        losses, p = self.loss.first_order(reached + barrier, lambda z: query.smoothing.relu(z, slice(None)))
        theta = p * self.shares
        gradient = self._gradient(query, lengths, theta)
        penalty = self.program.beta * query.smoothing.penalty
        value = float((losses * self.shares).sum() + penalty * (lengths * lengths).sum())
        return BoxPoint(value, 2.0 * penalty * v - gradient, reached, reached + barrier, p)

    def attacks(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Factors, shape (k, q + 1, p), and noise, shape (k, q), of the present attacks on some samples."""
        chosen, (q, _, p) = torch.as_tensor(rows, device=self.device), self.rows.shape
        factors = np.zeros((rows.size, q + 1, p))
        factors[:, :-1] = self.rows[:, chosen].permute(1, 0, 2).cpu().numpy()
        factors[:, -1, 0] = 1.0
        return factors, self.noise[:, chosen].T.cpu().numpy().copy()

    @property
    def held(self) -> HeldAttacks:
        """The present attacks as they are."""
        moved = (self.widths[:, :, None] * self.rows).permute(2, 1, 0)
        points = torch.zeros(moved.shape[0], *self.X.shape, dtype=torch.float64, device=self.device)
        points[0] = self.X
        points[:, :, self.inputs] += moved
        axes = torch.eye(self.X.shape[1], dtype=torch.float64, device=self.device)[:, self.inputs]
        return HeldAttacks(points, axes, (self.widths * self.widths * self.noise).T.contiguous())

    # -- relaxed attacks --------------------------------------------------------------------------------------------

    def _relaxed(
        self, values: Tensor, half: Tensor, own: Tensor, curves: Tensor, query: BoxQuery
    ) -> tuple[Tensor, Tensor]:
        """Margins at the relaxed attacks, moved on, and what the barrier adds to them, both of shape (n,)."""
        n, sweeps, nu = values.shape[0], self.sweeps, query.smoothing.attack / max(self.rows.shape[0], 1)
        if self.fresh:
            self._begin(half)
            sweeps = FIRST
        chosen = self._live(values, half, own, curves, query)
        # Of those that are left alone, something below what is true, where losses have no slope.
        reached, barrier = values - 2.0 * half.abs().sum(dim=0), torch.zeros_like(values)
        entries = BLOCK if self.device.type == "cpu" else DEVICE_BLOCK
        block = max(16, entries // max(self.rows.shape[2] * own.shape[0], 1))
        for start in range(0, n if chosen is None else chosen.shape[0], block):
            some = slice(start, min(start + block, n)) if chosen is None else chosen[start : start + block]
            bent = _Bent(own, curves, self.labels[some], self.widths[:, some], nu)
            rows, noise = self.rows[:, some].contiguous(), self.noise[:, some].contiguous()
            change, barrier[some] = bent.swept(rows, noise, half[:, some].contiguous(), sweeps)
            reached[some] = values[some] + change
            self.rows[:, some], self.noise[:, some] = rows, noise
        return reached, barrier

    def _begin(self, half: Tensor) -> None:
        """The linearised worst case, a little astray."""
        rows = ASTRAY * torch.randn(*self.rows.shape, dtype=torch.float64, generator=self.generator).to(self.device)
        rows[:, :, 0] = torch.where(half > 0.0, -1.0, 1.0)
        self.rows, self.fresh = rows / rows.norm(dim=2, keepdim=True), False

    def stir(self) -> None:
        """Give columns but the first some of the noise: with much of it they fade, and what is empty stays so."""
        if self.fresh or self.rows.shape[2] < 2:
            return
        q, n, p = self.rows.shape
        new = torch.randn(q, n, p - 1, dtype=torch.float64, generator=self.generator).to(self.device)
        self.rows[:, :, 1:] += ASTRAY * self.noise.sqrt()[:, :, None] * new
        length = (self.rows * self.rows).sum(dim=2) + self.noise
        self.rows /= length.clamp(min=1.0).sqrt()[:, :, None]

    def _live(self, values: Tensor, half: Tensor, own: Tensor, curves: Tensor, query: BoxQuery) -> Tensor | None:
        """The samples that need sweeps; None for all."""
        if not self.program.loss_function.attains_infimum:
            return None  # every margin has a slope
        reach = (self.widths * self.widths).sum(dim=0)
        bent = curves * (own * own).sum(dim=1)
        lowest, other = bent.clamp(max=0.0).sum(), (-bent).clamp(max=0.0).sum()
        bend = torch.where(self.labels > 0.0, lowest, other) * reach
        safe = values - 2.0 * half.abs().sum(dim=0) + bend > 1.0
        safe &= query.smoothing.centre <= 0.0
        chosen = torch.nonzero(~safe)[:, 0]
        return chosen if chosen.shape[0] <= FEWER * values.shape[0] else None

    def _gradient(self, query: BoxQuery, lengths: Tensor, theta: Tensor) -> Tensor:
        """``sum_i theta_i labels_i`` times the slope of relaxed outputs in the neurons, shape (m, d)."""
        v, signs, (a, b, c) = query.neurons, query.signs, self.program.activation
        used = torch.nonzero(theta > 0.0)[:, 0]
        w = (theta * self.labels)[used]
        moved = self.widths[:, used, None] * self.rows[:, used]
        mean = self.X[used]
        mean[:, self.inputs] += moved[:, :, 0].T
        first = w @ mean
        second = (mean @ v.T * w[:, None]).T @ mean
        for k in range(1, moved.shape[2]):
            spread = moved[:, :, k].T
            second[:, self.inputs] += (spread @ v[:, self.inputs].T * w[:, None]).T @ spread
        second[:, self.inputs] += v[:, self.inputs] * ((self.widths[:, used] ** 2 * self.noise[:, used]) @ w)
        units = v / lengths.clamp(min=TINY)[:, None]
        linear = lengths[:, None] * first + (units @ first)[:, None] * v
        return signs[:, None] * (2.0 * a * second + b * linear + 2.0 * c * w.sum() * v)


@dataclass(frozen=True)
class _Bent:
    """The curvature that boxes see: ``labels_i W_i P W_i`` with ``P = own' diag(curves) own``.

    Args:
        own: Shape (m, q).
        curves: Shape (m,).
        labels: Shape (b,).
        widths: Shape (q, b).
        nu: What the barrier of noise weighs.
    """

    own: Tensor
    curves: Tensor
    labels: Tensor
    widths: Tensor
    nu: float

    def swept(self, rows: Tensor, noise: Tensor, half: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
        """What attacks change of margins after some sweeps, and what the barrier adds, both of shape (b,).

        Args:
            rows: Shape (q, b, p), changed in place.
            noise: Shape (q, b), changed in place.
            half: Half gradients in units of the widths, shape (q, b).
            sweeps: How many.
        """
        q, n, p = rows.shape
        weighted = (self.curves[:, None] * self.own).T.contiguous()
        U = self.own.T.contiguous()
        curves = (U * weighted).sum(dim=1)[:, None] * self.labels * self.widths * self.widths
        signed = self.labels * self.widths
        seen = self.own @ (self.widths[:, :, None] * rows).view(q, n * p)
        for _ in range(sweeps):
            for k in range(q):
                old = rows[k]
                pull = torch.mv(seen.T, weighted[k]).view(n, p) * signed[k, :, None]
                pull -= curves[k, :, None] * old
                pull[:, 0] += half[k]
                length, curve = pull.norm(dim=1), curves[k]
                t, noise[k] = _least(length, curve, self.nu)
                new = torch.where((length > TINY)[:, None], (-t / length.clamp(min=TINY))[:, None] * pull, old)
                seen.addr_(U[k], ((new - old) * self.widths[k, :, None]).view(n * p))
                rows[k] = new
        bent = self.labels * (self.curves @ (seen * seen)).view(n, p).sum(dim=1) + (curves * noise).sum(dim=0)
        barrier = -self.nu * noise.log().sum(dim=0)
        return bent + 2.0 * (half * rows[:, :, 0]).sum(dim=0), barrier


def _least(length: Tensor, curve: Tensor, nu: float) -> tuple[Tensor, Tensor]:
    """The t and s with the least ``curve (t^2 + s) - 2 length t - nu log s`` over ``t^2 + s <= 1``."""
    outer = nu + (nu * nu + 4.0 * length * length).sqrt()
    t, s = 2.0 * length / outer, 2.0 * nu / outer
    steep = curve.clamp(min=TINY)
    inner_t, inner_s = length / steep, nu / steep
    inside = (curve > 0.0) & (inner_t * inner_t + inner_s <= 1.0)
    return torch.where(inside, inner_t, t), torch.where(inside, inner_s, s)
