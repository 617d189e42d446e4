"""From iterates to what `cvxrobust.core` judges: points of the programme and multipliers."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.ipm.gated.facial_reduction import Interior, repair
from cvxrobust.backends.ipm.gated.model import Model
from cvxrobust.backends.ipm.gated.tensors import GatedTensors
from cvxrobust.core import GatedMultipliers, GatedProgram
from cvxrobust.core.kit import GatedBest
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import brackets, network_multipliers, tightened

Array = NDArray[np.float64]

DROPS = tuple(10.0**-k for k in range(2, 11))
"""Slots shorter than these shares of the longest are left out of the last answer, if that costs next to nothing."""


SPENT = 0.9
"""Share of the tolerance that the gap may take up after that."""


@dataclass
class Answers:
    """Takes iterates of the slots that were kept, and offers what they say about the whole programme.

    Args:
        whole: The programme.
        interior: What phase one found out.
        progress: Hears of it.
    """

    whole: GatedTensors
    interior: Interior
    progress: GatedBest

    @property
    def program(self) -> GatedProgram:
        """The programme."""
        return self.whole.program

    def point(self, u: Tensor) -> Array:
        """Vectors of the slots that were kept, as a point of the whole programme."""
        U = np.zeros(self.program.shape)
        U[self.interior.kept] = u.cpu().numpy()
        return U

    def cleaned(self, tolerance: float) -> None:
        """Leave slots out of the best point that add nothing but length."""
        U, progress = self.progress.primal, self.progress
        if U is None or not U.any():
            return
        allowed = progress.upper
        if progress.certificate.relative_gap <= tolerance:
            # What is left of the tolerance may be spent.
            allowed = max(allowed, progress.lower + SPENT * tolerance * progress.upper)
        sizes = np.sqrt((U**2).sum(axis=(1, 2)))
        for share in DROPS:
            some = np.where((sizes > share * sizes.max())[:, None, None], U, 0.0)
            value = gated.objective(self.program, some)
            if value <= allowed:
                progress.primal, progress.upper = some, value
                return

    def offer(self, model: Model, x: Tensor, z: Tensor, seen: Tensor | None) -> None:
        """An iterate."""
        self.progress.offer_point(self.point(model.variables.views(x)["u"]))
        self.progress.offer_multipliers(self.multipliers(model, z, seen))

    def multipliers(self, model: Model, z: Tensor, seen: Tensor | None) -> GatedMultipliers:
        """What the multipliers of an iterate say, shaped as core wants it."""
        data, v = model.data, model.cones.layout.views(z)
        (n, K, C, _), d = self.whole.shape, self.program.attackable
        theta = data.X.new_zeros((n, C))
        slope, _ = model.loss_slopes(seen)
        if slope is not None:
            theta = -slope
        if model.hinged:
            theta = v["loss"]
        omega = None if data.margin else theta.abs()
        if model.folded and omega is not None:
            theta = theta.index_copy(0, data.folds, v["over"] - v["under"])
            omega = omega.index_copy(0, data.folds, v["over"] + v["under"])
        attacks = data.X.new_zeros((n, C, d))
        if model.sample is not None:
            weight = (theta if omega is None else omega)[data.rows] * data.reach[:, None]
            gv, gh, _ = model.sample.adjoint(v)
            attacks[data.rows] = gv / torch.maximum(weight, gh).clamp_min(1e-300)[..., None]
        mu, pull = data.X.new_zeros((K, C, n)), data.X.new_zeros((K, C, d))
        if model.paired:
            at = torch.as_tensor(self.interior.kept, device=data.X.device)
            mu[at] = v["pair"] * data.live[:, None, :]
            if model.slot is not None:
                pull[at[data.capped]] = model.slot.adjoint(v)[0]
        parts = (theta, attacks) if omega is None else (theta, attacks, omega)
        arrays = [part.cpu().numpy().copy() for part in parts]
        none = np.zeros((n, *self.program.shape[:2])), np.zeros((*self.program.shape[:2], d))
        found = self._with(GatedMultipliers(arrays[0], arrays[1], *none, *arrays[2:]), mu, pull)
        if self.interior.reductions:
            B = torch.as_tensor(brackets(self.program, found)[0], device=mu.device)
            found = self._with(found, *repair(self.whole, self.interior, B, mu, pull))
        return found

    def _with(self, found: GatedMultipliers, mu: Tensor, pull: Tensor) -> GatedMultipliers:
        """Multipliers with other mu, and directions from ``sum_i r_i mu_i q``."""
        mass = (mu @ self.whole.radius)[..., None]
        directions = pull / torch.where(mass > 0.0, mass, 1.0)
        return replace(found, mu=mu.permute(2, 0, 1).cpu().numpy().copy(), directions=directions.cpu().numpy().copy())

    def offer_zero(self) -> None:
        """The zero network and its multipliers, with what is known of slots that cannot carry neurons."""
        zero = np.zeros(self.program.shape)
        self.progress.offer_point(zero)
        found = network_multipliers(self.program, zero)
        self.progress.offer_multipliers(found)
        if self.interior.reductions:
            B = torch.as_tensor(brackets(self.program, found)[0], device=self.whole.X.device)
            mu, pull = B.new_zeros((*B.shape[:2], self.whole.shape[0])), 0.0 * B[..., : self.program.attackable]
            self.progress.offer_multipliers(self._with(found, *repair(self.whole, self.interior, B, mu, pull)))

    def tighten(self) -> None:
        """Repair the best multipliers by least squares, as a last resort."""
        progress = self.progress
        if progress.dual is None or not self.program.rules.paired:
            return
        self.progress.offer_multipliers(
            tightened(self.program, progress.dual, 0.0, lambda: progress.monitor.should_stop)
        )
