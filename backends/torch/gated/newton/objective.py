"""The smoothed objective of a gated programme, its gradient, and its second derivative times vectors, in closed form.

Notation of `cvxrobust.core.programs.gated.evaluation`. Smoothed are the loss, the dual norms, the ReLUs of the
one-sided form and the lengths of the slots; the cone form adds the barrier ``-tau sum log(slope_ik)``. At the minimiser
of the smoothed objective the derivatives of these parts are dual feasible multipliers: ``||B_k|| <= beta``, because B_k
is beta times the derivative of a smoothed length. So each point comes with multipliers, and the better it is the better
they are.

Everything is a handful of products of (n, D), (n, K) and (K, C D) matrices and elementwise work.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.torch.gated.balls import SmoothNorm, cut_off, smooth_ball
from cvxrobust.backends.torch.gated.smoothing import smooth_abs, smooth_relu
from cvxrobust.backends.torch.gated.tensors import Carried, GatedTensors, SmoothingWidths, linear_parts
from cvxrobust.core import GatedMultipliers

FAR = 1e4
"""Factor by which carried multipliers of constraints may differ from those at the point."""


@dataclass(frozen=True)
class NewtonPoint:
    """The smoothed objective at a point U, with all that its derivatives need.

    Args:
        data: The programme.
        widths: The smoothing.
        U: Shape (K, C, D).
        value: The smoothed objective; infinite outside the cones.
        omega: Weights ``|d objective / d value_i|``, shape (n, C).
        curvature: Second derivatives of the mean loss in the values, shape (n, C).
        sigma: By how much outputs help, in [-1, 1]: the labels of margins; shape (n, C).
        bend: Second derivatives that outputs have through the absolute residual, shape (n, C); None for margins.
        sums: Dual norms of ``H_i``, None without attack.
        slots: Dual norms of the slots, None without attack.
        kappa: Slopes of the ReLUs in the margins, shape (n, K, 1); None but for the one-sided form.
        bends: Second derivatives of these ReLUs, of the same shape.
        mu: Derivatives in the arguments of ReLUs or constraints, shape (n, K, C); None in the gated form.
        stiff: Second derivatives there, shape (n, K, C).
        roots: Smoothed lengths of the slots, shape (K, 1, 1).
        carried: Derivatives as carried along.
    """

    data: GatedTensors
    widths: SmoothingWidths
    U: Tensor
    value: float
    omega: Tensor
    curvature: Tensor
    sigma: Tensor
    bend: Tensor | None
    sums: SmoothNorm | None
    slots: SmoothNorm | None
    kappa: Tensor | None
    bends: Tensor | None
    mu: Tensor | None
    stiff: Tensor | None
    roots: Tensor
    carried: Carried

    @property
    def margin(self) -> bool:
        """Whether the values are margins, to be raised, not residuals."""
        return self.bend is None

    def gradient(self) -> Tensor:
        """Of the smoothed objective, shape (K, C, D)."""
        pull = None if self.sums is None else (self.omega * self.data.radius)[..., None] * self.sums.gradient
        found = self._spread(-self.omega * self.sigma, pull, self.mu)
        return found + self.data.program.beta * self.U / self.roots

    def curve(self, V: Tensor) -> Tensor:
        """The second derivative times a vector, shape (K, C, D)."""
        products, outputs, sums = linear_parts(self.data, V)
        steps = self.steps(products, V)
        change = self.sigma * outputs
        if self.sums is not None and sums is not None:
            change = change - self.data.radius * (self.sums.gradient * sums).sum(-1)
        if self.kappa is not None and steps is not None:
            change = change - (self.kappa * steps).sum(1)
        # For residuals the value moves by minus this, and so do its parts: the signs cancel.
        force = self.curvature * change
        on_outputs = force * self.sigma
        if self.bend is not None:
            on_outputs = on_outputs + self.bend * outputs
        on_sums = None
        if self.sums is not None and sums is not None:
            on_sums = self.data.radius[..., None] * (
                self.omega[..., None] * self.sums.curve(sums) - force[..., None] * self.sums.gradient
            )
        on_steps = None
        if self.stiff is not None and steps is not None:
            on_steps = self.stiff * steps
            if self.kappa is not None:
                on_steps = on_steps - self.kappa * force[:, None, :]
        found = self._spread(on_outputs, on_sums, on_steps)
        if self.slots is not None and self.mu is not None:
            d = self.data.program.attackable
            found[..., :d] += self.weight_of_slots() * self.slots.curve(V[..., :d])
        mine, other = self.U / self.roots, self.carried_lengths
        along = (mine * V).sum((1, 2), keepdim=True) * other + (other * V).sum((1, 2), keepdim=True) * mine
        return found + self.data.program.beta * (V - 0.5 * along) / self.roots

    @property
    def carried_lengths(self) -> Tensor:
        """Derivatives of the slots' lengths as carried along, shape (K, C, D)."""
        return self.U / self.roots if self.carried.lengths is None else self.carried.lengths

    def moved(self, V: Tensor, length: float) -> Carried:
        """The derivatives carried on along a Newton step V of which a part is taken."""
        products, outputs, sums = linear_parts(self.data, V)
        steps = self.steps(products, V)
        change = self.sigma * outputs
        if self.sums is not None and sums is not None:
            change = change - self.data.radius * (self.sums.gradient * sums).sum(-1)
        old, n = self.carried, self.omega.shape[0]

        def between(last: Tensor | None, new: Tensor) -> Tensor:
            return new if last is None else last + length * (new - last)

        relu = None
        if self.kappa is not None and steps is not None and self.bends is not None:
            change = change - (self.kappa * steps).sum(1)
            relu = between(old.relu, self.kappa + self.bends * steps).clamp(0.0, 1.0)
        count = n if self.data.heavy is None else n / self.data.heavy
        loss = between(old.loss, count * (self.omega - self.curvature * change)).clamp(0.0, 1.0)
        mine = self.U / self.roots
        along = (mine * V).sum((1, 2), keepdim=True)
        lengths = between(old.lengths, mine + (V - self.carried_lengths * along) / self.roots)
        lengths = lengths / torch.sqrt((lengths**2).sum((1, 2), keepdim=True)).clamp_min(1.0)
        ball, d = smooth_ball(self.data.program.attack, V), self.data.program.attackable
        on_sums = on_slots = None
        if ball.carries and self.sums is not None and sums is not None:
            on_sums = cut_off(ball, self.data.widths).nearest(between(old.sums, self.sums.carried(sums)))
        if ball.carries and self.slots is not None:
            on_slots = ball.nearest(between(old.slots, self.slots.carried(V[..., :d])))
        barrier = None
        if self.data.cone and self.mu is not None and self.stiff is not None:
            barrier = between(old.barrier, self.mu + self.stiff * (0.0 if steps is None else steps))
            barrier = barrier.clamp_min(0.0)
        return Carried(loss, relu, lengths, on_sums, on_slots, barrier)

    def steps(self, products: Tensor, V: Tensor) -> Tensor | None:
        """How far the arguments of ReLUs or constraints move with U, shape (n, K, C)."""
        if self.mu is None:
            return None
        moved = self.data.turned[..., None] * products
        if self.slots is not None:
            d = self.data.program.attackable
            moved = moved + self.data.reaches(self.slots.gradient * V[..., :d])
        return moved

    def weight_of_slots(self) -> Tensor:
        """``sum_i r_i mu_ik``, shape (K, C, 1), or of each coordinate of boxes that are cut off, (K, C, d)."""
        return torch.zeros_like(self.U[..., :1]) if self.mu is None else self.data.pulls(self.mu)

    def multipliers(self) -> GatedMultipliers:
        """Dual information of the programme at this point."""
        (n, C), (K, _, _), d = self.omega.shape, self.U.shape, self.data.program.attackable

        def array(part: Tensor | None, shape: tuple[int, ...]) -> np.ndarray:
            return np.zeros(shape) if part is None else part.detach().cpu().to(torch.float64).numpy()

        return GatedMultipliers(
            array(self.omega if self.margin else self.omega * self.sigma, (n, C)),
            -array(self._attacks(), (n, C, d)),
            array(self.mu, (n, K, C)),
            # The brackets add mu times what stays inside the gate, the ReLU's argument with the other sign.
            -array(None if self.slots is None else self.slots.gradient, (K, C, d)),
            None if self.margin else array(self.omega, (n, C)),
        )

    def _attacks(self) -> Tensor | None:
        """Attacks of radius 1 that raise the dual norms of ``H_i`` most, before they are cut off, shape (n, C, d)."""
        if self.sums is None or self.data.widths is None:
            return None if self.sums is None else self.sums.gradient
        return self.sums.gradient / self.data.widths

    def _spread(self, on_outputs: Tensor, on_sums: Tensor | None, on_steps: Tensor | None) -> Tensor:
        """The transpose of `linear_parts` and `steps`, shape (K, C, D)."""
        (K, C, D), d = self.U.shape, self.data.program.attackable
        weights = self.data.weights[..., None] * on_outputs[:, None, :]
        if on_steps is not None:
            weights = weights + self.data.turned[..., None] * on_steps
        found = (weights.reshape(-1, K * C).T @ self.data.X).reshape(K, C, D)
        if on_sums is not None:
            found[..., :d] += (self.data.weights.T @ on_sums.reshape(-1, C * d)).reshape(K, C, d)
        if on_steps is not None and self.slots is not None:
            found[..., :d] += self.data.pulls(on_steps) * self.slots.gradient
        return found


def at(data: GatedTensors, U: Tensor, widths: SmoothingWidths, carried: Carried | None = None) -> NewtonPoint:
    """The smoothed objective at a point of shape (K, C, D)."""
    old = carried or Carried()
    program, n = data.program, data.X.shape[0]
    products, outputs, H = linear_parts(data, U)
    slots = kappa = bends = mu = stiff = bend = sums = None
    reach: Tensor | float = 0.0
    if H is not None:
        ball, width = smooth_ball(program.attack, U), torch.as_tensor(widths.sums, dtype=U.dtype, device=U.device)
        sums = cut_off(ball, data.widths).smoothed(H, width, True, old.sums)
        reach = data.radius * sums.value
        if program.rules.paired:
            slots = ball.smoothed(U[..., : program.attackable], widths.slots, not data.cone, old.slots)
    arguments = None
    if program.rules.paired:
        arguments = data.turned[..., None] * products
        if slots is not None:
            arguments = arguments + (
                data.reaches(slots.parts)
                if data.widths is not None and slots.parts is not None
                else data.reach[..., None] * slots.value
            )
    if not data.margin:
        smoothed = data.attacked or data.loss.of_sizes
        size, sigma, bend = smooth_abs(outputs - data.labels, widths.values) if smoothed else (
            torch.abs(outputs - data.labels), torch.sign(outputs - data.labels), torch.zeros_like(outputs)
        )  # fmt: skip
        found, sigma = size + reach, -sigma
    else:
        found, sigma = data.labels * outputs - reach, data.labels
        if data.one_sided and arguments is not None:
            excess, kappa, stiff = smooth_relu(arguments, widths.relu, old.relu)
            known = (data.turned != 0.0)[..., None]
            kappa, stiff = kappa * known, stiff * known
            bends = stiff
            found = found - (excess * known).sum(1)
    losses, slope, curvature = data.loss.second_order(found, lambda z: smooth_relu(z, widths.values, old.loss))
    omega = data.weighed(slope) / n
    if not data.attacked and not data.margin and not data.loss.of_sizes:
        sigma = torch.where(sigma == 0.0, 1.0, sigma)
    roots = torch.sqrt((U * U).sum((1, 2), keepdim=True) + widths.lengths**2)
    curvature = data.weighed(curvature) / n
    value = data.weighed(losses).sum() / n + program.beta * roots.sum()
    if kappa is not None and stiff is not None:
        mu, stiff = omega[:, None, :] * kappa, omega[:, None, :] * stiff
    elif data.cone and arguments is not None:
        slack = torch.where((data.turned != 0.0)[..., None], -arguments, 1.0)
        inside = bool((slack > 0.0).all())
        value = value - widths.barrier * torch.log(slack).sum() if inside else value + torch.inf
        known = (data.turned != 0.0)[..., None]
        mu = widths.barrier / slack * known
        barrier = mu if old.barrier is None else old.barrier.clamp(mu / FAR, FAR * mu)
        stiff = barrier / slack
    if bend is not None:
        bend = omega * bend
    number = float(value)
    if carried is None:
        carried = Carried(
            slope, kappa, U / roots, None if sums is None else sums.gradient,
            None if slots is None else slots.gradient, mu if data.cone else None,
        )  # fmt: skip
    return NewtonPoint(
        data, widths, U, number if number == number else float("inf"), omega, curvature, sigma, bend, sums, slots,
        kappa, bends, mu, stiff, roots, carried,
    )  # fmt: skip
