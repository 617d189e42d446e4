"""The programme on directions inside the cones: an interior method of its own for a few hundred variables.

With unit vectors a_j in the cone of slot k(j), every ``u_k = sum_{k(j) = k} c_j a_j``, ``c >= 0``, is in the cone of
its slot, and what remains is

    min over c >= 0 of   mean_i loss(value_i(u)) + beta sum_k ||u_k||.

The loss, the dual norms under attack and the lengths are smoothed as in `newton.objective`, ``c >= 0`` has a
logarithmic barrier, and Newton's equations, one matrix of the size of c, are solved directly. Derivatives are carried
along, which makes their curvature that of primal-dual methods. Centred multipliers price better than those of an exact
optimum (Gondzio, Gonzalez-Brevis and Munari 2013, *New developments in the primal-dual column generation technique*,
Eur. J. Oper. Res. 224).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.torch.gated.balls import SMOOTH_BALLS, SmoothNorm, smooth_ball
from cvxrobust.backends.torch.gated.smoothing import smooth_relu
from cvxrobust.backends.torch.losses import torch_loss
from cvxrobust.core import GatedProgram

ARMIJO = 1e-4
HALVINGS = 30
BOUNDARY = 0.99
"""Share of the way to ``c = 0`` that a step may take."""
FAR = 1e4
"""Factor by which carried multipliers of ``c >= 0`` may differ from those at the point."""
RIDGE = 1e-14
"""Share of the diagonal that is added to it at first."""


@dataclass(frozen=True)
class MasterSmoothing:
    """How much is smoothed.

    Args:
        loss: Of the hinge, in its units.
        sums: Of the dual norms of ``H_i``.
        lengths: Of the lengths of the slots.
        barrier: Weight of the logarithms.
    """

    loss: float
    sums: float
    lengths: float
    barrier: float


@dataclass(frozen=True)
class Place:
    """The smoothed objective at some coefficients.

    Args:
        value: Its value.
        U: Vectors of the slots in use, shape (v, D).
        roots: Their smoothed lengths, shape (v, 1).
        theta: Minus the derivatives of the losses in the outputs (of margins: in these), shape (n,).
        omega: Their derivatives in the worst values, of either sign; shape (n,).
        curvature: Second derivatives of the losses in these, shape (n,).
        sums: Dual norms of ``H_i``; None without attack.
        residuals: Absolute residuals; None for margins, and where nothing is smoothed: without attack and kink.
    """

    value: float
    U: Tensor
    roots: Tensor
    theta: Tensor
    omega: Tensor
    curvature: Tensor
    sums: SmoothNorm | None
    residuals: SmoothNorm | None


class Master:
    """A programme with one output, restricted to directions that come and go.

    Args:
        program: A cone programme.
        device: Where tensors live.
        dtype: Precision of the (n, m) matrices; everything else is float64.

    Attributes:
        program, dtype: As given; n samples, K slots, D inputs, m directions, v slots in use.
        d: Inputs that can be attacked.
        X, radius, labels: Shapes (n, D), (n,), (n,).
        gates: Gates times signs of the slots, shape (n, K).
        noise: Relative differences of values that mean nothing.
        margin: Whether the loss is of a margin; else it is the squared one.
        attacked: Whether there is any attack.
        weights: What the loss of each sample counts in the mean, shape (n,); None for all alike.
        directions: Unit vectors, shape (m, D). `clear` sets this and all that follows.
        slots: The slot of each direction, shape (m,).
        features: What each adds to the outputs (to margins: times labels) per unit, shape (n, m), in `dtype`.
        c: Their coefficients, positive, shape (m,).
        pulls: Multipliers of ``c >= 0``, shape (m,).
        used: The slots in use, ascending, shape (v,). `_group` sets this and the next two.
        group: Place of each direction's slot in `used`, shape (m,).
        members: Which directions are whose: 0 and 1, shape (v, m).
        carried_loss, carried_residuals, carried_sums, carried_lengths: Derivatives of the smoothed pieces that second
            derivatives are made with, from the last step; None where it left none.
    """

    def __init__(self, program: GatedProgram, device: torch.device, dtype: torch.dtype) -> None:
        def tensor(array: object) -> Tensor:
            return torch.tensor(np.asarray(array, dtype=np.float64), device=device)

        self.program, self.dtype, self.d = program, dtype, program.attackable
        self.X, self.radius = tensor(program.X), tensor(program.attack.radius)
        self.labels, self.gates = tensor(program.labels[:, 0]), tensor(program.gates * program.signs)
        self.ball = smooth_ball(program.attack, self.X)
        self.noise = 4.0 * torch.finfo(dtype).eps
        self.loss, self.margin = torch_loss(program.loss), program.loss_function.margin
        self.attacked = program.attack.present
        self.weights = None if program.weights is None else tensor(program.weights)
        self.clear()

    def clear(self) -> None:
        """Begin anew, without directions."""
        self.directions: Tensor = self.X.new_zeros((0, self.X.shape[1]))
        self.slots: Tensor = torch.zeros(0, dtype=torch.long, device=self.X.device)
        self.features: Tensor = self.X.new_zeros((self.X.shape[0], 0)).to(self.dtype)
        self.c: Tensor = self.X.new_zeros(0)
        self.pulls: Tensor = self.X.new_zeros(0)
        self.carried_loss: Tensor | None = None
        self.carried_residuals: Tensor | None = None
        self.carried_sums: Tensor | None = None
        self._group()

    def weighed(self, values: Tensor) -> Tensor:
        """What is said of all samples, shape (n,), times their weights."""
        return values if self.weights is None else self.weights * values

    @property
    def count(self) -> int:
        """How many directions there are."""
        return self.c.numel()

    def add(self, directions: Tensor, slots: Tensor, size: float, pull: float) -> None:
        """New directions, shape (m, D), of some slots, shape (m,), all with the coefficient `size`.

        Args:
            directions: Unit vectors.
            slots: Which slots they belong to.
            size: Their coefficients.
            pull: Their multipliers of ``c >= 0``.
        """
        features = (self.X @ directions.T) * self.gates[:, slots]
        if self.margin:
            features *= self.labels[:, None]
        self.directions, self.slots = torch.cat([self.directions, directions]), torch.cat([self.slots, slots])
        self.features = torch.cat([self.features, features.to(self.dtype)], 1)
        self.c = torch.cat([self.c, self.c.new_full((slots.numel(),), size)])
        self.pulls = torch.cat([self.pulls, self.c.new_full((slots.numel(),), pull)])
        self._group()

    def keep(self, kept: Tensor) -> None:
        """Keep some directions, shape (m,), and forget the others."""
        self.directions, self.slots = self.directions[kept], self.slots[kept]
        self.features, self.c, self.pulls = self.features[:, kept], self.c[kept], self.pulls[kept]
        self._group()

    def merge(self, most: int, left: int) -> None:
        """Where a slot has more than `most` directions, put all but its last few into one: their sum."""
        same = self.group[:, None] == self.group
        later = torch.triu(same, 1).sum(1)
        old = (later >= left) & (same.sum(1) > most)
        if not bool(old.any()):
            return
        shares = self.members[:, old] * self.c[old]
        some = shares.any(1)
        sums = shares[some] @ self.directions[old]
        sizes = sums.norm(dim=1)
        features = (self.features[:, old] @ shares[some].T.to(self.dtype)) / sizes.to(self.dtype)
        self.directions = torch.cat([sums / sizes[:, None], self.directions[~old]])
        self.slots = torch.cat([self.used[some], self.slots[~old]])
        self.features = torch.cat([features, self.features[:, ~old]], 1)
        pulls = (shares[some] @ self.pulls[old]) / shares[some].sum(1)
        self.c, self.pulls = torch.cat([sizes, self.c[~old]]), torch.cat([pulls, self.pulls[~old]])
        self._group()

    def _group(self) -> None:
        self.used, self.group = torch.unique(self.slots, return_inverse=True)
        self.members = torch.nn.functional.one_hot(self.group, max(1, self.used.numel())).to(torch.float64).T
        self.members = self.members[: self.used.numel()]
        self.carried_lengths: Tensor | None = None

    def points(self, c: Tensor) -> Tensor:
        """The vectors of the slots in use, shape (v, D)."""
        found: Tensor = self.members @ (c[:, None] * self.directions)
        return found

    def at(self, c: Tensor, smoothing: MasterSmoothing) -> Place:
        """The smoothed objective at coefficients of shape (m,)."""
        program, n = self.program, self.X.shape[0]
        U, sums, residuals = self.points(c), None, None
        values = (self.features @ c.to(self.dtype)).to(torch.float64)
        if self.attacked:
            H = self.gates[:, self.used] @ U[:, : self.d]
            width = torch.as_tensor(smoothing.sums, dtype=H.dtype, device=H.device)
            sums = self.ball.smoothed(H, width, True, self.carried_sums)
        if self.margin:
            worst = values if sums is None else values - self.radius * sums.value
        else:
            worst = values - self.labels
            if sums is not None or self.loss.of_sizes:
                width = torch.as_tensor(smoothing.loss, dtype=worst.dtype, device=worst.device)
                residuals = SMOOTH_BALLS[2].smoothed(worst[:, None], width, True, self.carried_residuals)
                worst = residuals.value if sums is None else residuals.value + self.radius * sums.value
        losses, omega, curvature = self.loss.second_order(
            worst, lambda z: smooth_relu(z, smoothing.loss, self.carried_loss)
        )
        theta = omega
        if not self.margin:
            theta = -omega if residuals is None else -omega * residuals.gradient[:, 0]
        roots = torch.sqrt((U * U).sum(1, keepdim=True) + smoothing.lengths**2)
        value = self.weighed(losses).sum() / n + program.beta * roots.sum() - smoothing.barrier * torch.log(c).sum()
        return Place(float(value), U, roots, theta, omega, curvature, sums, residuals)

    def minimise(
        self, smoothing: MasterSmoothing, most: int, tolerance: float, stopped: Callable[[], bool] = lambda: False
    ) -> tuple[Place, int]:
        """Newton steps until one promises less than the tolerance; where they lead, and how many there were."""
        here, steps = self.at(self.c, smoothing), 0
        while steps < most and not stopped():
            steps += 1
            following, promise = self._step(here, smoothing)
            if following is None:
                break
            here = following
            if promise <= tolerance:
                break
        return here, steps

    def _step(self, here: Place, smoothing: MasterSmoothing) -> tuple[Place | None, float]:
        """One Newton step; None where rounding leaves no descent. With it what its slope promised."""
        n, tau, c = self.X.shape[0], smoothing.barrier, self.c
        J = self._jacobian(here)
        unit = here.U / here.roots
        gradient = (J.T @ self.weighed(here.omega).to(self.dtype)).to(torch.float64) / n - tau / c
        gradient += self.program.beta * (self.directions * unit[self.group]).sum(1)
        pulls = torch.minimum(torch.maximum(self.pulls, tau / c / FAR), FAR * tau / c)
        H = self._curvature(here, J, unit)
        H.diagonal().add_(pulls / c)
        step = -_solved(H, gradient)
        slope = float(gradient @ step)
        length = min(1.0, BOUNDARY * float(torch.where(step < 0.0, -c / step, torch.inf).min()))
        for _ in range(HALVINGS):
            tried = self.at(c + length * step, smoothing)
            if tried.value <= here.value + ARMIJO * length * slope + self.noise * abs(here.value):
                break
            length *= 0.5
        else:
            return None, -slope
        change = tau / c - pulls - pulls / c * step
        share = min(1.0, BOUNDARY * float(torch.where(change < 0.0, -pulls / change, torch.inf).min()))
        self.pulls = pulls + share * change
        self._carry(here, J, unit, step, length)
        self.c = c + length * step
        return self.at(self.c, smoothing), -slope

    def _jacobian(self, here: Place) -> Tensor:
        """Derivatives in c of the worst values, of residuals or of minus the margins; shape (n, m)."""
        if here.sums is None:
            if here.residuals is not None:
                return here.residuals.gradient.to(self.dtype) * self.features
            return -self.features if self.margin else self.features
        along = here.sums.gradient @ self.directions[:, : self.d].T
        reach = (self.radius[:, None] * self.gates[:, self.slots] * along).to(self.dtype)
        if here.residuals is None:
            return reach - self.features
        return reach + here.residuals.gradient.to(self.dtype) * self.features

    def _curvature(self, here: Place, J: Tensor, unit: Tensor) -> Tensor:
        """Second derivatives in c but for the barrier, shape (m, m)."""
        n, A = self.X.shape[0], self.directions
        H = ((J * (self.weighed(here.curvature) / n).to(self.dtype)[:, None]).T @ J).to(torch.float64)
        carried = unit if self.carried_lengths is None else self.carried_lengths
        mine, other = (A * unit[self.group]).sum(1), (A * carried[self.group]).sum(1)
        bend = A @ A.T - 0.5 * (mine[:, None] * other + other[:, None] * mine)
        same = self.group[:, None] == self.group
        H += self.program.beta * torch.where(same, bend / here.roots[self.group], 0.0)
        if here.sums is not None:
            H += self._attacked_curvature(here.sums, self.weighed(here.omega) * self.radius / n)
        if here.residuals is not None:
            bent = (self.weighed(here.omega) / n * here.residuals.diagonal[:, 0]).to(self.dtype)
            H += ((self.features * bent[:, None]).T @ self.features).to(torch.float64)
        return H

    def _attacked_curvature(self, sums: SmoothNorm, pull: Tensor) -> Tensor:
        """What the dual norms add to it."""
        A, gates = self.directions[:, : self.d], self.gates[:, self.used]
        if self.ball.even:
            among = (gates * (pull * sums.weight[:, 0])[:, None]).T @ gates
            H = among[self.group[:, None], self.group] * (A @ A.T)
        else:
            H = A.new_zeros((self.count, self.count))
            for j in range(self.d):
                among = (gates * (pull * sums.weight[:, j])[:, None]).T @ gates
                H += among[self.group[:, None], self.group] * (A[:, j, None] * A[:, j])
        if self.ball.separable:
            return H
        open_ = self.gates[:, self.slots]
        mine, other = open_ * (sums.gradient @ A.T), open_ * (sums.other @ A.T)
        crossed = (mine * (pull * sums.factor[:, 0])[:, None]).T @ other
        return H - 0.5 * (crossed + crossed.T)

    def _carry(self, here: Place, J: Tensor, unit: Tensor, step: Tensor, length: float) -> None:
        """Move the carried derivatives as far as the step is taken."""
        V = self.points(step)
        if self.loss.kinked:
            old = here.theta if self.carried_loss is None else self.carried_loss
            new = here.theta + here.curvature * (J @ step.to(self.dtype)).to(torch.float64)
            self.carried_loss = (old + length * (new - old)).clamp(0.0, 1.0)
        if here.sums is not None and self.ball.carries:
            sums = here.sums.gradient if self.carried_sums is None else self.carried_sums
            moved = here.sums.carried(self.gates[:, self.used] @ V[:, : self.d])
            self.carried_sums = self.ball.nearest(sums + length * (moved - sums))
        if here.residuals is not None:
            moved = here.residuals.carried((self.features @ step.to(self.dtype)).to(torch.float64)[:, None])
            residuals = here.residuals.gradient if self.carried_residuals is None else self.carried_residuals
            self.carried_residuals = (residuals + length * (moved - residuals)).clamp(-1.0, 1.0)
        last = unit if self.carried_lengths is None else self.carried_lengths
        new = unit + (V - last * (unit * V).sum(1, keepdim=True)) / here.roots
        last = last + length * (new - last)
        self.carried_lengths = last / last.norm(dim=1, keepdim=True).clamp_min(1.0)


def _solved(H: Tensor, gradient: Tensor) -> Tensor:
    """``H^-1 gradient``, with as much on the diagonal as rounding makes necessary."""
    scale = H.diagonal().clamp_min(torch.finfo(H.dtype).tiny).sqrt()
    scaled = H / scale[:, None] / scale
    eye = torch.eye(H.shape[0], dtype=H.dtype, device=H.device)
    ridge = RIDGE
    while True:
        factor, info = torch.linalg.cholesky_ex(scaled + ridge * eye)
        if int(info) == 0 or ridge > 1.0:
            break
        ridge *= 100.0
    found: Tensor = torch.cholesky_solve((gradient / scale)[:, None], factor)[:, 0] / scale
    return found
