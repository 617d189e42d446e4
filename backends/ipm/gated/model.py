"""The slacks of a gated programme as a linear map of its variables, and the derivatives of its objective.

Variables: vectors ``u``, their lengths ``t``; caps ``c >= N(u)``; ``h >= N(H)`` of the samples attacked; ``xi``, the
hinge or the worst residual; ``e``, the harmful ReLUs; further variables of norms. Names of slacks:

    pair      (2 g - 1) x'u - r c       cones;  plus e where one-sided
    ReLU      e                         one-sided
    hinge     xi                        hinge
    loss      xi - 1 + m                hinge and squared hinge;  m = y x'H - r h - sum e
    over      xi - r h + (x'H - y)      losses of targets: squared under attack, others always
    under     xi - r h - (x'H - y)      the same
    outside   out                       Huber
    slot.., sample..                    epigraphs of c and h
    length    (t, u)                    second-order cones

The objective is ``beta sum t`` plus ``sum xi / n`` (hinge, absolute), ``sum xi^2 / n`` (squared hinge, squared loss
where attacked), ``sum ((xi - out)^2 + 2 M out) / n`` (Huber), ``sum log(1 + exp(-m)) / n``, or ``sum (x'H - y)^2 / n``
over what is not attacked. The weight of a sample divides its n.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.epigraph import epigraph
from cvxrobust.backends.ipm.gated.flat_vectors import FlatLayout
from cvxrobust.backends.ipm.gated.scaling import Cones
from cvxrobust.backends.ipm.gated.tensors import GatedTensors

Parts = Mapping[str, Tensor]

CONES = 1.5
"""Weight of the barriers of the gates' cones and ReLUs, times the root of the number of slots; at most 1."""


class Model:
    """Maps between variables and slacks of a programme.

    Args:
        data: The programme's tensors.

    Attributes:
        data: As given; n samples, K slots, C outputs, D inputs.
        attacked, capped: How many samples are attacked, and how many slots have a cap c.
        slot, sample: Epigraphs of the caps and of the attacked samples' h; None if there are none.
        paired: Whether slots are held to their gates, or pay for leaving them: not in the gated formulation.
        hinged: Whether the loss has xi as a hinge.
        folded: Whether it has xi as a worst residual: losses of targets, the squared one where it is attacked.
        growth: What that residual costs; None unless folded.
        curved: Whether the cost of xi is a square, or has one in it.
        smooth: Whether a part of the loss is a smooth function of outputs or margins.
        variables: Places of the variables in x, by name.
        cones: The slacks: their places by name, and what kind of cone they are in.
        plain: 1 for samples without attack, else 0, shape (n, 1).
        offset: g of ``s = G x + g``, flat, in the order of `cones`.
    """

    def __init__(self, data: GatedTensors) -> None:
        self.data, program = data, data.program
        n, _, C, _ = data.shape
        self.attacked, self.capped = data.rows.numel(), data.capped.numel()
        self.slot = epigraph(program.attack, data.X, "slot", self.capped, C) if self.capped else None
        self.sample = epigraph(program.attack, data.X, "sample", self.attacked, C) if self.attacked else None
        self.paired = program.rules.paired
        self.hinged, self.kinked = data.loss.hinged, data.loss.kinked
        self.folded = data.folds.numel() > 0
        self.growth = data.loss.growth if self.folded else None
        self.curved = (self.hinged and not self.kinked) or (self.growth is not None and self.growth.squared)
        self.smooth = not self.hinged and (data.margin or data.folds.numel() < n)
        self.variables = FlatLayout(self._variables())
        self.cones = self._cones()
        # Losses of residuals are smooth where there is no attack.
        self.plain = (data.radius == 0.0).to(data.X.dtype)[:, None]
        self.offset = self._offset()

    def _variables(self) -> dict[str, tuple[int, ...]]:
        n, K, C, D = self.data.shape
        found: dict[str, tuple[int, ...]] = {"u": (K, C, D), "t": (K,)}
        if self.slot is not None:
            found |= {"c": (self.capped, C)} | self.slot.extra
        if self.sample is not None:
            found |= {"h": (self.attacked, C)} | self.sample.extra
        if self.hinged or self.folded:
            found["xi"] = (n, 1) if self.hinged else (self.data.folds.numel(), C)
        if self.growth is not None and self.growth.lines:
            found["out"] = found["xi"]
        return found | ({"e": (K, n)} if self.data.one_sided else {})

    def _cones(self) -> Cones:
        n, K, C, D = self.data.shape
        norms = [norm for norm in (self.slot, self.sample) if norm is not None]
        shapes: dict[str, tuple[int, ...]] = {"pair": (K, C, n)} if self.paired else {}
        if self.data.one_sided:
            shapes["ReLU"] = (K, n)
        if self.hinged:
            shapes |= {"loss": (n, 1)} | ({"hinge": (n, 1)} if self.kinked else {})
        if self.folded:
            folds = self.data.folds.numel(), C
            shapes |= {"over": folds, "under": folds}
            if self.growth is not None and self.growth.lines:
                shapes["outside"] = folds
        for norm in norms:
            shapes |= norm.lines
        balls: dict[str, tuple[int, ...]] = {"length": (K, 1 + C * D)}
        for norm in norms:
            balls |= norm.balls
        layout = FlatLayout(shapes | balls)
        live = None
        if self.paired and not bool((self.data.live > 0.0).all()):
            live = self.data.X.new_ones(layout.size)
            views = layout.views(live)
            views["pair"][:] = self.data.live[:, None, :]
            if "ReLU" in views:
                views["ReLU"][:] = self.data.live
            live = live[: layout.places["length"].start]
        return Cones(layout, tuple(balls), live, self._weights(layout))

    def _weights(self, layout: FlatLayout) -> Tensor | None:
        """Less for the many constraints that share a sample with one hinge.

        Smoother losses need none of that, and attacked programmes, where norms share the samples, too, are no faster.
        """
        weight = min(1.0, CONES / self.data.shape[1] ** 0.5)
        attacked = self.slot is not None or self.sample is not None
        if not self.paired or attacked or not self.kinked or weight == 1.0:
            return None
        found = self.data.X.new_ones(layout.size)
        views = layout.views(found)
        for name in ("pair", "ReLU"):
            if name in views:
                views[name].fill_(weight)
        return found[: layout.places["length"].start]

    def _offset(self) -> Tensor:
        parts = {name: self.data.X.new_zeros(shape) for name, shape in self.cones.layout.shapes.items()}
        if self.paired:
            # A placeholder where there is no constraint.
            parts["pair"] += (1.0 - self.data.live)[:, None, :]
        if self.data.one_sided:
            parts["ReLU"] += 1.0 - self.data.live
        if self.hinged:
            parts["loss"] -= 1.0
        if self.folded:
            targets = self.data.y[self.data.folds]
            parts["over"], parts["under"] = -targets, targets
        return self.cones.layout.join(parts)

    def outputs(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """``H``, shape (n, C, D), and ``x'H``, shape (n, C)."""
        n, K, C, D = self.data.shape
        H = (self.data.signed.T @ u.reshape(K, C * D)).reshape(n, C, D)
        return H, (H * self.data.X[:, None, :]).sum(-1)

    def turned(self, u: Tensor) -> Tensor:
        """``(2 g - 1) x'u``, shape (K, C, n)."""
        n, K, C, D = self.data.shape
        return (u.reshape(K * C, D) @ self.data.X.T).reshape(K, C, n) * self.data.turned[:, None, :]

    def spread(self, c: Tensor) -> Tensor:
        """Values of the capped slots among all, shape (K, ..)."""
        K = self.data.shape[1]
        return c if c.shape[0] == K else c.new_zeros((K, *c.shape[1:])).index_copy(0, self.data.capped, c)

    def slopes(self, u: Tensor, c: Tensor | None) -> Tensor:
        """``(2 g - 1) x'u - r c``, 0 where there is no constraint, shape (K, C, n)."""
        found = self.turned(u)
        if c is not None:
            found = found - self.spread(c)[..., None] * self.data.radius
        return found if self.cones.live is None else found * self.data.live[:, None, :]

    def margins(self, v: Parts, f: Tensor) -> Tensor:
        """``y x'H - r h - sum e``, shape (n, 1)."""
        m = self.data.y * f
        if "h" in v:
            m = m.index_add(0, self.data.rows, -self.data.reach[:, None] * v["h"])
        return m - (v["e"] * self.data.live).sum(0)[:, None] if "e" in v else m

    def reaches(self, v: Parts, like: Tensor) -> Tensor:
        """By how much attacks move the outputs of the samples with a worst residual, ``r h``, of the shape of xi."""
        moved = self.data.reach[:, None] * v["h"] if "h" in v else None
        if moved is not None and moved.shape == like.shape:
            return moved
        return torch.zeros_like(like) if moved is None else torch.zeros_like(like).index_add(0, self.data.places, moved)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The linear part of the slacks, and what the smooth loss sees, shape (n, C)."""
        v, data = self.variables.views(x), self.data
        H, f = self.outputs(v["u"])
        found, seen = {}, None
        if self.paired:
            found["pair"] = self.slopes(v["u"], v.get("c"))
        if data.one_sided:
            found["ReLU"] = v["e"] * data.live
            found["pair"] = found["pair"] + found["ReLU"][:, None, :]
        if data.margin:
            seen = self.margins(v, f)
            if self.hinged:
                found |= {"loss": v["xi"] + seen, "hinge": v["xi"]}
        else:
            seen = f
            if self.folded:
                g, some = v["xi"] - self.reaches(v, v["xi"]), f[data.folds]
                found |= {"over": g + some, "under": g - some}
                if "out" in v:
                    found["outside"] = v["out"]
        if self.slot is not None:
            some = v["u"][data.capped][..., : data.program.attackable]
            found |= self.slot.slack(some, v["c"], v.get("slota"))
        if self.sample is not None:
            found |= self.sample.slack(H[data.rows][..., : data.program.attackable], v["h"], v.get("samplea"))
        found["length"] = torch.cat([v["t"][:, None], v["u"].flatten(1)], dim=1)
        return self.cones.layout.join(found), seen if self.smooth else None

    def adjoint(self, z: Tensor, pull: Tensor | None = None) -> Tensor:
        """The adjoint of `forward`, for multipliers of the slacks and of what the smooth loss sees."""
        v, data, found = self.cones.layout.views(z), self.data, {}
        (n, K, C, D), d = data.shape, data.program.attackable
        gm = data.X.new_zeros((n, C)) if pull is None else pull
        if self.hinged:
            gm = gm + v["loss"]
            found["xi"] = v["loss"] + v["hinge"] if "hinge" in v else v["loss"]
        gf = data.y * gm if data.margin else gm
        if self.folded:
            both, difference = v["over"] + v["under"], v["over"] - v["under"]
            gf, found["xi"] = gf.index_add(0, data.folds, difference), both
            if "outside" in v:
                found["out"] = v["outside"]
        H = gf[..., None] * data.X[:, None, :]
        if self.sample is not None:
            gv, gh, ga = self.sample.adjoint(v)
            H[:, :, :d] = H[:, :, :d].index_add(0, data.rows, gv)
            found["h"] = gh - data.reach[:, None] * (gm[data.rows] if data.margin else found["xi"][data.places])
            if ga is not None:
                found["samplea"] = ga
        u = (data.signed @ H.reshape(n, C * D)).reshape(K, C, D) + v["length"][:, 1:].reshape(K, C, D)
        found["t"] = v["length"][:, 0]
        if self.paired:
            pair = v["pair"] if self.cones.live is None else v["pair"] * data.live[:, None, :]
            u = u + ((pair * data.turned[:, None, :]).reshape(K * C, n) @ data.X).reshape(K, C, D)
            if data.one_sided:
                found["e"] = pair[:, 0] + data.live * (v["ReLU"] - gm.T)
            if self.slot is not None:
                gv, gc, ga = self.slot.adjoint(v)
                found["c"] = gc - (pair @ data.radius)[data.capped]
                u[:, :, :d] = u[:, :, :d].index_add(0, data.capped, gv)
                if ga is not None:
                    found["slota"] = ga
        found["u"] = u if data.faces is None else u @ data.faces
        return self.variables.join(found)

    def slack(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The slacks themselves, and what the smooth loss sees."""
        linear, seen = self.forward(x)
        return linear + self.offset, seen

    def confined(self, x: Tensor) -> Tensor:
        """A point whose vectors rounding has not led out of their subspaces."""
        if self.data.faces is not None:
            place = self.variables.places["u"]
            u = self.variables.views(x)["u"] @ self.data.faces
            x = torch.cat([x[: place.start], u.flatten(), x[place.stop :]])
        return x

    def loss_slopes(self, seen: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """First and second derivative of the smooth loss in what it sees, each of shape (n, C)."""
        derivatives, n = self.data.loss.derivatives, self.data.count
        if seen is None or derivatives is None:
            return None, None
        slope, curvature = derivatives(seen, self.data.y)
        if self.data.margin:
            return slope / n, curvature / n
        return self.plain / n * slope, self.plain / n * curvature

    @property
    def count(self) -> int | Tensor:
        """By what the cost of each xi is divided, as `GatedTensors.count`."""
        count = self.data.count
        return count[self.data.folds] if self.folded and isinstance(count, Tensor) else count

    def cost(self, x: Tensor) -> Tensor:
        """The gradient of the objective's part that is linear or quadratic in t and xi."""
        v, found = self.variables.views(x), {}
        for name, part in v.items():
            found[name] = torch.zeros_like(part)
        found["t"] += self.data.program.beta
        if "xi" in v:
            n = self.count
            found["xi"] = 2.0 / n * self._squared(v) if self.curved else found["xi"] + 1.0 / n
            if "out" in v and self.growth is not None:
                found["out"] += self.growth.steepest / n - found["xi"]
        return self.variables.join(found)

    def curvature(self, x: Tensor) -> Tensor:
        """The second derivative of that part times x."""
        found = torch.zeros_like(x)
        if self.curved:
            v = self.variables.views(x)
            found[self.variables.places["xi"]] = (2.0 / self.count * self._squared(v)).flatten()
            if "out" in v:
                found[self.variables.places["out"]] = -found[self.variables.places["xi"]]
        return found

    @staticmethod
    def _squared(v: Parts) -> Tensor:
        """What of xi costs its square."""
        return v["xi"] - v["out"] if "out" in v else v["xi"]
