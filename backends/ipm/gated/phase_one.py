"""Which cones have an interior, and a point in it: phase one, for all cones at once.

For each cone, with samples scaled to length 1,

    maximise s  subject to  (2 g_i - 1) x_i'u - r_i c >= s,  N(u) <= c,  ||u|| <= 1,  s <= 1,

by the same predictor-corrector method as the programme itself, each cone with steps and a barrier of its own. The
optimum is positive exactly where there is an interior. Otherwise it is 0, and the multipliers of the constraints on the
samples prove it: ``sum_i lambda_i ((2 g_i - 1) x_i + r_i q) = 0`` with weights that sum to 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.coupling import cholesky
from cvxrobust.backends.ipm.gated.epigraph import Form, epigraph
from cvxrobust.backends.ipm.gated.flat_vectors import FlatLayout
from cvxrobust.backends.ipm.gated.scaling import Cones, Scaling
from cvxrobust.backends.ipm.gated.tensors import Packed
from cvxrobust.core.attacks.ball import AttackBall

THIN = 1e-10
"""Slack, relative to the lengths of sample and vector, up to which a cone counts as one without interior."""

STEPS = 40
SETTLED = 1.0
"""A point inside is good enough when the best slack is at most this multiple larger."""


@dataclass(frozen=True)
class PhaseOneProblem:
    """Cones to be looked at.

    Args:
        X: Samples, of length 1 or 0, shape (n, D).
        packed: Their products.
        reach: Radii, scaled as the samples are, shape (n,).
        attack: What can be done to a sample, but for how far.
        turned: ``2 g - 1``, shape (B, n).
        live: 1 for constraints that count, shape (B, n).
        faces: Projectors onto the subspaces that are left, shape (B, D, D); None for no restriction.
    """

    X: Tensor
    packed: Packed
    reach: Tensor
    attack: AttackBall
    turned: Tensor
    live: Tensor
    faces: Tensor | None

    def part(self, some: Tensor) -> "PhaseOneProblem":
        """Some of the cones."""
        faces = None if self.faces is None else self.faces[some]
        return PhaseOneProblem(self.X, self.packed, self.reach, self.attack, self.turned[some], self.live[some], faces)


@dataclass(frozen=True)
class PhaseOneResult:
    """What is known of each cone.

    Args:
        u: The vector with the largest slack, shape (B, D).
        c: Its cap, shape (B,).
        a: Further variables of the norm, shape (B, d) or (B, 0).
        slack: Its slack, shape (B,).
        slacks: Slacks of all constraints, shape (B, n).
        weights: Multipliers of the samples, shape (B, n).
        z: All multipliers, one after the other, shape (B, ..).
    """

    u: Tensor
    c: Tensor
    a: Tensor
    slack: Tensor
    slacks: Tensor
    weights: Tensor
    z: Tensor


class _Cones:
    """The phase-one problems of some cones."""

    def __init__(self, question: PhaseOneProblem) -> None:
        self.q, (n, D), d = question, question.X.shape, question.attack.attackable
        self.capped = bool((question.reach > 0.0).any()) and d > 0
        self.norm = epigraph(question.attack, question.X, "slot") if self.capped else None
        variables: dict[str, tuple[int, ...]] = {"u": (D,), "s": ()}
        lines: dict[str, tuple[int, ...]] = {"pair": (n,), "limit": ()}
        balls: dict[str, tuple[int, ...]] = {"unit": (1 + D,)}
        if self.norm is not None:
            variables |= {"c": ()} | self.norm.extra
            lines |= self.norm.lines
            balls |= self.norm.balls
        self.variables = FlatLayout(variables)
        layout = FlatLayout(lines | balls)
        B = question.turned.shape[0]
        width = min(layout.places[name].start for name in balls)
        live = question.X.new_ones((B, width))
        live[:, layout.places["pair"]] = question.live
        self.cones = Cones(layout, tuple(balls), live)
        self.degree = live.sum(1) + len(balls)

    def forward(self, x: Tensor) -> Tensor:
        """The linear part of the slacks."""
        v, q = self.variables.views(x), self.q
        pair = q.turned * (v["u"] @ q.X.T) - v["s"][:, None]
        found = {"limit": -v["s"]}
        if self.norm is not None:
            pair = pair - v["c"][:, None] * q.reach
            found |= self.norm.slack(v["u"][:, : q.attack.attackable], v["c"], v.get("slota"))
        found["pair"] = pair * q.live
        found["unit"] = torch.nn.functional.pad(v["u"], (1, 0))
        return self.cones.layout.join(found)

    def adjoint(self, z: Tensor) -> Tensor:
        """The adjoint of `forward`."""
        v, q = self.cones.layout.views(z), self.q
        pair = v["pair"] * q.live
        u = (pair * q.turned) @ q.X + v["unit"][:, 1:]
        found = {"s": -pair.sum(1) - v["limit"]}
        if self.norm is not None:
            gv, gc, ga = self.norm.adjoint(v)
            u[:, : q.attack.attackable] += gv
            found["c"] = gc - pair @ q.reach
            if ga is not None:
                found["slota"] = ga
        found["u"] = u if q.faces is None else (u[:, None, :] @ q.faces)[:, 0]
        return self.variables.join(found)

    def slack(self, x: Tensor) -> Tensor:
        """The slacks."""
        offset = torch.zeros_like(self.cones.layout.views(self.forward(x))["pair"]) + 1.0 - self.q.live
        zero = {name: x.new_zeros((x.shape[0], *shape)) for name, shape in self.cones.layout.shapes.items()}
        zero["pair"], zero["limit"] = offset, zero["limit"] + 1.0
        zero["unit"][:, 0] += 1.0
        return self.forward(x) + self.cones.layout.join(zero)

    def start(self) -> Tensor:
        """A point inside all constraints."""
        B, (_, D), d = self.q.turned.shape[0], self.q.X.shape, self.q.attack.attackable
        one = self.q.X.new_ones(B)
        parts = {"u": self.q.X.new_zeros((B, D)), "s": -one}
        if self.norm is not None:
            cap = 1.0 / (1.0 + self.q.reach.max())
            parts |= {"c": cap * one, "s": -2.0 * one, "slota": (0.5 * cap / d) * self.q.X.new_ones((B, d))}
        return self.variables.join(parts)

    def matrix(self, scaling: Scaling, form: Form | None) -> Tensor:
        """The normal equations on (c, u, s), shape (B, D + 2, D + 2), without c where nothing is attacked."""
        q, lam, unit = self.q, scaling.of["pair"], scaling.balls["unit"]
        (_, D), B, m = q.X.shape, lam.shape[0], int(self.norm is not None)
        M = lam.new_zeros((B, m + D + 1, m + D + 1))
        scale = (1.0 / unit.eta**2)[:, None, None]
        own = q.packed(lam) + scale * 2.0 * unit.w1[:, :, None] * unit.w1[:, None, :]
        own += scale * torch.eye(D, dtype=lam.dtype, device=lam.device)
        M[:, m:-1, m:-1] = own
        M[:, -1, m:-1] = -(lam * q.turned) @ q.X
        M[:, -1, -1] = lam.sum(1) + scaling.of["limit"]
        if form is not None:
            d = q.attack.attackable
            M[:, 0, 0] = lam @ q.reach**2 + form.alpha
            M[:, -1, 0] = lam @ q.reach
            M[:, m:-1, 0] = -(lam * q.reach * q.turned) @ q.X
            M[:, m : m + d, 0] -= form.alpha[:, None] * form.b
            M[:, m : m + d, m : m + d] += form.block()
        M = M.tril() + M.tril(-1).mT
        if q.faces is not None:
            P = torch.zeros_like(M)
            P[:, m:-1, m:-1] = q.faces
            P[:, range(m), range(m)] = P[:, -1, -1] = 1.0
            size = torch.diagonal(M, dim1=1, dim2=2).mean(1)[:, None, None]
            M = P @ M @ P + size * (torch.eye(M.shape[1], dtype=M.dtype, device=M.device) - P)
        return M

    def solver(self, scaling: Scaling) -> Callable[[Tensor], Tensor]:
        """Solves the normal equations."""
        q, m = self.q, int(self.norm is not None)
        form = None if self.norm is None else self.norm.form(scaling)
        factor = cholesky(self.matrix(scaling, form))

        def solve(rhs: Tensor) -> Tensor:
            r = self.variables.views(rhs)
            u, head = r["u"].clone(), []
            if form is not None:
                rv, rc = form.reduce(torch.zeros_like(form.delta), r["c"], r.get("slota"))
                u[:, : q.attack.attackable] += rv
                head = [rc[:, None]]
            block = torch.cat([*head, u, r["s"][:, None]], dim=1)
            block = torch.cholesky_solve(block[..., None], factor)[..., 0]
            v = {"u": block[:, m:-1], "s": block[:, -1]}
            if q.faces is not None:
                v["u"] = (v["u"][:, None, :] @ q.faces)[:, 0]
            if form is not None:
                v["c"] = block[:, 0]
                if "slota" in r:
                    v["slota"] = form.further(v["u"][:, : q.attack.attackable], v["c"], r["slota"])
            return self.variables.join(v)

        return solve

    def answer(self, x: Tensor, s: Tensor, z: Tensor) -> PhaseOneResult:
        """What a point says."""
        v, w, slacks, q = self.variables.views(x), self.cones.layout.views(z), self.cones.layout.views(s), self.q
        weights = w["pair"] * q.live
        a, c = x.new_zeros((x.shape[0], 0)), torch.zeros_like(v["s"])
        if self.norm is not None:
            c, a = v["c"], v.get("slota", a)
        found = slacks["pair"] + torch.where(q.live > 0.0, v["s"][:, None], torch.inf)
        return PhaseOneResult(v["u"], c, a, v["s"], found, weights, z)


def corrected(question: PhaseOneProblem, z: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Multipliers of constraints that add up to -B, for cones where those of phase one add up to nothing.

    The change of z that is least in the local norm at z, to which as much of z is added as makes it feasible.

    Args:
        question: The cones; B matters on their subspaces only.
        z: Multipliers of phase one, shape (m, ..).
        B: Shape (m, D).

    Returns:
        Multipliers of the samples, shape (m, n), and the vectors ``sum_i r_i mu_i q``, shape (m, d).
    """
    problem = _Cones(question)
    one = z.new_ones((z.shape[0], 1))
    # At the inverse of z, W^-2 is the square of z.
    scaling = Scaling(problem.cones, problem.cones.centred(z, one), z)
    zero = {name: z.new_zeros((z.shape[0], *shape)) for name, shape in problem.variables.shapes.items()}
    lost = B if question.faces is None else (B[:, None] @ question.faces)[:, 0]
    target = problem.variables.join(zero | {"u": -lost})
    solve = problem.solver(scaling)
    w = solve(target)
    w = w + solve(target - problem.adjoint(scaling.squared(problem.forward(w))))
    change = scaling.squared(problem.forward(w)).nan_to_num(0.0, 0.0, 0.0)
    whole = change + 1.01 / problem.cones.step(z, change)[:, None] * z
    parts = problem.cones.layout.views(whole)
    pull = B[:, : question.attack.attackable] * 0.0 if problem.norm is None else problem.norm.adjoint(parts)[0]
    return (parts["pair"] * question.live).clamp_min(0.0), pull


def settle(question: PhaseOneProblem, stopped: Callable[[], bool] = lambda: False) -> PhaseOneResult:
    """Look at all cones.

    Args:
        question: The cones.
        stopped: Asked at every step; once it says so, what has been found is returned.
    """
    problem = _Cones(question)
    x = problem.start()
    s = problem.slack(x)
    z = problem.cones.centred(s, x.new_full((x.shape[0], 1), 1.0) / problem.degree[:, None])
    open_ = torch.arange(x.shape[0], device=x.device)
    X, S, Z = x.clone(), s.clone(), z.clone()
    for _ in range(STEPS):
        x, z = _step(problem, x, s, z)
        s = problem.slack(x)
        X[open_], S[open_], Z[open_] = x, s, z
        value, gap = problem.variables.views(x)["s"], problem.cones.inner(s, z)
        done = ((value > THIN) & (gap <= SETTLED * value)) | (gap <= 0.01 * THIN)
        keep = torch.nonzero(~done)[:, 0]
        if stopped() or keep.numel() == 0:
            break
        if keep.numel() < done.numel():
            open_, x, s, z = open_[keep], x[keep], s[keep], z[keep]
            problem = _Cones(problem.q.part(keep))
    return _Cones(question).answer(X, S, Z)


def _step(problem: _Cones, x: Tensor, s: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """One predictor and corrector."""
    cones = problem.cones
    scaling = Scaling(cones, s, z)
    solve = problem.solver(scaling)
    residual = -problem.adjoint(z)
    residual[:, problem.variables.places["s"]] -= 1.0
    mu = (cones.inner(s, z) / problem.degree)[:, None]

    def direction(target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dx = solve(problem.adjoint(target) - residual)
        ds = problem.forward(dx)
        return dx, ds, target - scaling.squared(ds)

    _, ds, dz = direction(scaling.target(torch.zeros_like(mu)))
    length = torch.minimum(cones.step(s, ds), cones.step(z, dz)).clamp_max(1.0)
    dx, ds, dz = direction(scaling.target((1.0 - length[:, None]) ** 3 * mu, ds, dz))
    dx = torch.nan_to_num(dx, 0.0, 0.0, 0.0)
    lengths = [(0.99 * cones.step(v, dv)).nan_to_num(0.0).clamp_max(1.0)[:, None] for v, dv in ((s, ds), (z, dz))]
    ahead, behind = x + lengths[0] * dx, z + lengths[1] * torch.nan_to_num(dz, 0.0, 0.0, 0.0)
    good = cones.inside(problem.slack(ahead))[:, None] & cones.inside(behind)[:, None]
    return torch.where(good, ahead, x), torch.where(good, behind, z)
