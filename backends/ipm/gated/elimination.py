"""The normal equations of a gated programme, solved by eliminating everything but what the samples couple."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.backends.ipm.coupling_orders import Order, work
from cvxrobust.backends.ipm.gated.coupling import ByBoth, BySamples, Coupling, cholesky
from cvxrobust.backends.ipm.gated.epigraph import Form, ball_form
from cvxrobust.backends.ipm.gated.groups import Alone, Groups
from cvxrobust.backends.ipm.gated.model import Model
from cvxrobust.backends.ipm.gated.samples import EliminatedSamples
from cvxrobust.backends.ipm.gated.scaling import Scaling
from cvxrobust.core.arrays import worth_a_look

ACCURACY = 1e-10
"""Residual at which refinement stops, relative to the right-hand side."""

REFINEMENTS = 25
"""Steps of conjugate gradients, at most."""

LOOSE = 10.0
"""How far beyond its aim a residual may be, computed from slacks, before they are refined as well."""

RESTARTS = 4
"""Solutions more, at most, that this may take."""


@dataclass(frozen=True)
class LinearStep:
    """A solution x of the system, what it changes, and what it leaves.

    Args:
        x: Steps of the variables.
        linear: G x, the steps of the slacks.
        seen: Steps of what the smooth loss sees.
        missing: The right-hand side that is left.
    """

    x: Tensor
    linear: Tensor
    seen: Tensor | None
    missing: Tensor


class Elimination:
    """The factored normal equations ``(curvature + G' W^-2 G) x = r``.

    Attributes:
        strained: Whether slacks had to be refined.
    """

    def __init__(
        self, model: Model, scaling: Scaling, curvature: Tensor | None, members: Tensor, order: Order | None = None
    ) -> None:
        """Factor them.

        Args:
            model: The programme.
            scaling: W.
            curvature: Second derivatives of the smooth loss, shape (n, C).
            members: The group of each slot, shape (K,).
            order: The order of elimination, where the programme has it; None for the cheapest.
        """
        self.model, self.scaling, self.curvature, self.strained = model, scaling, curvature, False
        data = model.data
        self.samples = EliminatedSamples(model, scaling, curvature)
        self.length = ball_form(scaling, "length")
        self.form = model.slot.form(scaling) if model.slot is not None else None
        self.caps = data.shape[2] if self.form is not None else 0
        blocks = self._blocks()
        self.factor = cholesky(blocks)
        E = self.factor.shape[1]
        eye = torch.eye(E, dtype=data.X.dtype, device=data.X.device)
        halves = torch.linalg.solve_triangular(self.factor, eye, upper=False)
        if not data.one_sided:
            halves = halves[:, :, self.caps :]
        if data.faces is not None:
            halves = halves @ self._on_faces(halves.shape[2] - data.shape[2] * data.shape[3])
        self.coupling = self._couple(order, self._shared(members), halves.mT @ halves, self._ridges(blocks))

    def _ridges(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """The directions v in which slots are soft, and 1 / nu."""
        data, length, m = self.model.data, self.length, self.caps
        assert length.tau is not None
        w = torch.nn.functional.pad(length.tau, (m, 0))
        if data.faces is not None:
            w = (w[:, None, :] @ self._on_faces(m))[:, 0]
        v = self._uncoupled(w)
        square = 1.0 / length.delta[:, 0]
        rest = (blocks @ v[..., None])[..., 0]
        rest[:, m:] -= v[:, m:] / square[:, None]
        return v, 0.5 * square + ((v * rest).sum(1)).clamp_min(0.0) + square * (rest**2).sum(1)

    def _shared(self, members: Tensor) -> Groups:
        """The slots with equal gates."""
        P = int(members.max()) + 1
        first = torch.zeros(P, dtype=torch.long, device=members.device)
        first[members] = torch.arange(members.shape[0], device=members.device)
        return Groups(self.samples, members, self.model.data.gates[first])

    def _couple(self, order: Order | None, shared: Groups, inverses: Tensor, ridges: tuple[Tensor, Tensor]) -> Coupling:
        """The coupling of the samples in an order, or in the cheapest that there is."""
        data, samples = self.model.data, self.samples
        groups = Alone(samples, self.caps > 0) if data.one_sided else shared
        (n, _, C, _), (P, F) = data.shape, groups.shape
        simple, sums = samples.form is None and samples.rho is None, shared.shape[0] * shared.shape[1]
        costs = work(n * C, P * F, None if simple else sums)
        if not simple and not data.one_sided:
            del costs["both"]
        chosen = order if order in costs else min(costs, key=lambda name: costs[name])
        if chosen == "both":
            return ByBoth(groups, inverses, *ridges, shared)
        return (BySamples if chosen == "samples" else Coupling)(groups, inverses, *ridges)

    def _on_faces(self, caps: int) -> Tensor:
        """The projectors of all coordinates of a block, shape (K, E, E)."""
        data = self.model.data
        _, K, C, D = data.shape
        assert data.faces is not None
        found = data.X.new_zeros((K, caps + C * D, caps + C * D))
        found[:, range(caps), range(caps)] = 1.0
        for c in range(C):
            part = slice(caps + c * D, caps + (c + 1) * D)
            found[:, part, part] = data.faces
        return found

    def _blocks(self) -> Tensor:
        """The M_k on (c, u), shape (K, E, E)."""
        data, form = self.model.data, self.form
        (n, K, C, D), m = data.shape, self.caps
        B = data.X.new_zeros((K, m + C * D, m + C * D))
        tails = B[:, m:, m:]
        torch.diagonal(tails, dim1=1, dim2=2).add_(self.length.delta)
        if self.model.paired:
            relus = self.samples.relus
            psi = self.scaling.of["pair"] if relus is None else relus.psi[:, None, :]
            own = data.packed(psi.reshape(K * C, n)).reshape(K, C, D, D)
            for c in range(C):
                tails[:, c * D : (c + 1) * D, c * D : (c + 1) * D] += own[:, c]
            if form is not None:
                self._add_caps(B, psi, form)
        if data.faces is not None:
            Q = self._on_faces(m)
            scale = torch.diagonal(B, dim1=1, dim2=2).mean(1)[:, None, None]
            B = Q @ B @ Q + scale * (torch.eye(B.shape[1], dtype=B.dtype, device=B.device) - Q)
        return B

    def _add_caps(self, B: Tensor, psi: Tensor, form: Form) -> None:
        """What caps and their epigraphs add to the blocks."""
        data, capped = self.model.data, self.model.data.capped
        (_, K, C, D), m, d = data.shape, self.caps, data.program.attackable
        pull = -(psi * data.radius * data.turned[:, None, :]) @ data.X
        weight, blocks = psi @ data.radius**2, form.block()
        for c in range(C):
            alpha, b = form.alpha[:, c], form.b[:, c]
            own, place = data.X.new_ones(K), slice(m + c * D, m + c * D + d)
            B[:, c, m + c * D : m + (c + 1) * D] += pull[:, c]
            own[capped] = weight[capped, c] + alpha
            B[:, c, c] += own
            B[capped, c, place] -= alpha[:, None] * b
            B[:, place.start : place.start + D, c] = B[:, c, place.start : place.start + D]
            B[capped, place, place] += blocks[:, c]

    def _eliminated(self, rhs: Tensor) -> Tensor:
        """The solution but for rounding."""
        model, data = self.model, self.model.data
        (_, K, C, D), d, m = data.shape, data.program.attackable, self.caps
        r = model.variables.views(rhs)
        start = (self.length.b * r["t"][:, None]).reshape(K, C, D) + r["u"]
        if self.form is not None:
            rv, r["c"] = self.form.reduce(torch.zeros_like(self.form.delta), r["c"], r.get("slota"))
            start[:, :, :d] = start[:, :, :d].index_add(0, data.capped, rv)
        r["u"] = start
        self.samples.reduce(r)
        u = r["u"] if data.faces is None else r["u"] @ data.faces
        block = u.reshape(K, C * D)
        if m:
            block = torch.cat([model.spread(r["c"]), block], dim=1)
        block = self._coupled(block)
        v = {"u": block[:, m:].reshape(K, C, D)}
        if data.faces is not None:
            v["u"] = v["u"] @ data.faces
        if self.form is not None:
            v["c"] = block[data.capped, :m]
            if "slota" in r:
                v["slota"] = self.form.further(v["u"][data.capped][..., :d], v["c"], r["slota"])
        self.samples.restore(v, r)
        v["t"] = r["t"] / self.length.alpha + (self.length.b * v["u"].reshape(K, C * D)).sum(-1)
        return model.variables.join(v)

    def _coupled(self, block: Tensor) -> Tensor:
        """The steps of (c, u) of all slots, shape (K, E), for their right-hand sides."""
        coupling, groups, width = self.coupling, self.coupling.groups, block.shape[1]
        inner = coupling.inner(groups.sums(self._uncoupled(block)))
        pushed = block - groups.spread(coupling.force(inner), width)
        amplitudes = torch.cholesky_solve((coupling.ridge * pushed).sum(1, keepdim=True), coupling.amplitudes)
        force = coupling.force(inner + coupling.columns @ amplitudes)
        return self._uncoupled(block - groups.spread(force, width)) + amplitudes * coupling.ridge

    def _uncoupled(self, block: Tensor) -> Tensor:
        return torch.cholesky_solve(block[..., None], self.factor)[..., 0]

    def direction(self, rhs: Tensor, accuracy: float = ACCURACY, *, watched: bool) -> tuple[Tensor, Tensor]:
        """The solution x and ``G x``, of whose errors multipliers get W^-2 as much.

        Where inputs are large, G x has lost digits that dual feasibility needs. So the sum of what several solutions
        change is kept beside that of the solutions, and it is G x as multipliers see it that residuals are made of.

        Args:
            rhs: The right-hand side.
            accuracy: Residual at which it is good enough, relative.
            watched: Whether to make sure of that.
        """
        found = self.solve(rhs, accuracy)
        goal = LOOSE * accuracy * torch.linalg.vector_norm(rhs)
        for _ in range(RESTARTS if watched else 0):
            if not bool(torch.linalg.vector_norm(found.missing) > goal):
                break
            self.strained = True
            more = self.solve(found.missing, accuracy)
            seen = None if found.seen is None or more.seen is None else found.seen + more.seen
            found = self._solved(rhs, found.x + more.x, found.linear + more.linear, seen)
        return found.x, found.linear

    def times(self, x: Tensor) -> Tensor:
        """The matrix times x."""
        return self._answer(x, *self.model.forward(x))

    def _answer(self, x: Tensor, linear: Tensor, seen: Tensor | None) -> Tensor:
        pull = None if seen is None or self.curvature is None else self.curvature * seen
        return self.model.curvature(x) + self.model.adjoint(self.scaling.squared(linear), pull)

    def _solved(self, rhs: Tensor, x: Tensor, linear: Tensor, seen: Tensor | None) -> LinearStep:
        return LinearStep(x, linear, seen, rhs - self._answer(x, linear, seen))

    def solve(self, rhs: Tensor, accuracy: float = ACCURACY) -> LinearStep:
        """The solution, refined by conjugate gradients with the elimination as preconditioner."""
        x = self._eliminated(rhs)
        first = self._solved(rhs, x, *self.model.forward(x))
        residual = first.missing
        goal = accuracy * torch.linalg.vector_norm(rhs)
        best, least, step, previous = x, torch.linalg.vector_norm(residual), None, None
        going = least > goal
        for count in range(REFINEMENTS):
            if worth_a_look(count, going) and not bool(going):
                break
            z = self._eliminated(residual)
            energy = residual @ z
            step = z if step is None or previous is None else z + (energy / previous) * step
            image = self.times(step)
            length = energy / (step @ image)
            x, residual, previous = x + length * step, residual - length * image, energy
            size = torch.linalg.vector_norm(residual)
            # Never where a length is not finite, and nothing that comes after a step that failed.
            going = going & (size < 2.0 * least)
            better = going & (size < least)
            best, least = torch.where(better, x, best), torch.where(better, size, least)
            going = going & (least > goal)
        return first if previous is None else self._solved(rhs, best, *self.model.forward(best))
