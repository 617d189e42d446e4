"""What is left of each sample when its own variables are eliminated, as a quadratic form in the slots' vectors.

With the notation of `elimination`: for each sample and output

    kappa (a'H + sum_k phi_k q_k)^2 + rho (x'H)^2 + sum_j delta_j H_j^2 - gamma (tau'H)^2,

where ``q_k = (2 g - 1) x'u_k - r c_k`` and the sum is over the ReLUs of a one-sided programme.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.model import Model
from cvxrobust.backends.ipm.gated.scaling import Scaling
from cvxrobust.backends.ipm.growth import Growth

Parts = Mapping[str, Tensor]


@dataclass(frozen=True)
class ReLUs:
    """The harmful ReLUs of a one-sided programme after e is eliminated.

    Args:
        inverse: ``1 / (lambda_e + lambda_f)``, 0 where there is none, shape (K, n).
        phi: ``lambda_f / (lambda_e + lambda_f)``.
        psi: ``lambda_e lambda_f / (lambda_e + lambda_f)``, the weight of ``q^2``.
        rest: ``lambda_e / (lambda_e + lambda_f)``.
        slope: ``lambda_f``.
    """

    inverse: Tensor
    phi: Tensor
    psi: Tensor
    rest: Tensor
    slope: Tensor

    @classmethod
    def of(cls, model: Model, scaling: Scaling) -> "ReLUs":
        """The elimination at a scaling."""
        own, slope = scaling.of["ReLU"], scaling.of["pair"][:, 0]
        inverse = model.data.live / torch.where(model.data.live > 0.0, own + slope, 1.0)
        return cls(inverse, slope * inverse, own * slope * inverse, own * inverse, slope)


class EliminatedSamples:
    """The forms of all samples at a scaling; also moves right-hand sides there and steps back.

    Args:
        model: The programme.
        scaling: Of the slacks and multipliers.
        curvature: Second derivatives of the smooth loss in what it sees, shape (n, C); None if there is none.

    Attributes:
        model, data: The programme and its tensors.
        relus: The eliminated harmful ReLUs; None unless one-sided.
        form: The eliminated epigraphs of the samples under attack; None if there is none.
        side: What ``x'H`` is multiplied by in a: y, or 1, or the skew of folded residuals; shape (n, C).
        rho: Weight of ``(x'H)^2`` alone, shape (n, C); None but for folded residuals under attack: without, that is one
            with the other square.
        own, slope: Softness of xi itself, and weight of its slack beside the margin, shape (n, C).
        kappa: Weight of the square that is left, shape (n, C).
        a: Its vector in H, shape (n, C, D).
        inner, along: kappa and a as they are before squares of the same direction are one.
    """

    def __init__(self, model: Model, scaling: Scaling, curvature: Tensor | None) -> None:
        data = model.data
        self.model, self.data, (n, _, C, _) = model, data, data.shape
        self.relus = ReLUs.of(model, scaling) if data.one_sided else None
        self.form = model.sample.form(scaling) if model.sample is not None else None
        self.side = data.y if data.margin else torch.ones_like(data.y)
        self.rho: Tensor | None = None
        # 1 / kappa is a sum of positive terms: nothing cancels.
        softness = data.X.new_zeros((n, C)) if curvature is None else 1.0 / curvature
        self.own, self.slope = softness, softness
        if model.hinged:
            self.slope = scaling.of["loss"]
            half = torch.zeros_like(self.slope)
            self.own = 1.0 / scaling.of["hinge"] if "hinge" in scaling.of else half + 0.5 * model.count
            softness = 1.0 / self.slope + self.own
        if model.growth is not None:
            softness = self._folded(scaling, softness, model.growth)
        if self.relus is not None:
            softness = softness + self.relus.inverse.sum(0)[:, None]
        if self.form is not None:
            softness = softness.index_add(0, data.rows, data.reach[:, None] ** 2 / self.form.alpha)
        self.kappa = 1.0 / softness
        self.a = self.side[..., None] * data.X[:, None, :]
        if self.form is not None:
            d = data.program.attackable
            self.a[:, :, :d] = self.a[:, :, :d].index_add(0, data.rows, -data.reach[:, None, None] * self.form.b)
        self.inner, self.along = self.kappa, self.a
        if self.form is None and self.rho is not None:
            self.kappa, self.rho = self.inner * self.side**2 + self.rho, None
            self.a = data.X[:, None, :].expand_as(self.along)

    def _folded(self, scaling: Scaling, softness: Tensor, growth: Growth) -> Tensor:
        """Worst residuals: a skewed part and one in ``x'H`` alone."""
        rows = self.data.folds
        self.soft = 0.5 * self.model.count if growth.squared else float("inf")
        if growth.lines:
            # xi and out share a square, and out has a slack: parallel.
            self.outside = scaling.of["outside"]
            self.soft = self.soft + 1.0 / self.outside
        over, under = scaling.of["over"], scaling.of["under"]
        both = over + under
        self.slope = both
        self.side = self.side.index_copy(0, rows, (over - under) / both)
        self.rho = torch.zeros_like(softness).index_copy(0, rows, 4.0 * over * under / both)
        return softness.index_copy(0, rows, 1.0 / both + self.soft)

    def reduce(self, r: dict[str, Tensor]) -> None:
        """Move the right-hand sides of the samples' variables to those of u and c; keeps what `restore` needs."""
        data, model, d = self.data, self.model, self.data.program.attackable
        shift = torch.zeros_like(self.kappa)
        rv = None
        if self.form is not None:
            rv, r["h"] = self.form.reduce(torch.zeros_like(self.form.delta), r["h"], r.get("samplea"))
            shift = shift.index_add(0, data.rows, -data.reach[:, None] * r["h"] / self.form.alpha)
        if model.hinged:
            shift = shift + r["xi"] * self.own
        elif model.growth is not None:
            if "out" in r:
                r["xi"] = r["xi"] + r["out"] / (1.0 + 0.5 * model.count * self.outside)
            if model.growth.squared:
                shift = shift.index_add(0, data.folds, self.soft * r["xi"])
        if self.relus is not None:
            shift = shift - (r["e"] * self.relus.inverse).sum(0)[:, None]
        pull = -self.inner * shift
        if model.growth is not None and not model.growth.squared:
            # Slacks that are all that holds xi take all of its force.
            pull = pull.index_add(0, data.folds, -r["xi"])
        r["rest"] = pull
        H = self.along * pull[..., None]
        if rv is not None and self.form is not None:
            H[:, :, :d] = H[:, :, :d].index_add(0, data.rows, rv + self.form.b * r["h"][..., None])
        r["u"] = r["u"] + self.gather(H)
        if self.relus is not None:
            q = self.relus.phi * (pull.T - r["e"])
            r["u"] = r["u"] + ((q * data.turned) @ data.X)[:, None, :]
            if "c" in r:
                r["c"] = r["c"] - (q @ data.radius)[data.capped, None]

    def restore(self, v: dict[str, Tensor], r: Parts) -> None:
        """The steps of the samples' variables, given those of u and c."""
        data, model, d = self.data, self.model, self.data.program.attackable
        H, f = model.outputs(v["u"])
        total = (self.along * H).sum(-1)
        if self.relus is not None:
            q = model.slopes(v["u"], v.get("c"))[:, 0]
            total = total + (self.relus.phi * q).sum(0)[:, None]
        theta = self.inner * total - r["rest"]
        if self.relus is not None:
            v["e"] = self.relus.inverse * (r["e"] + theta.T - self.relus.slope * q)
        if self.form is not None:
            some = H[data.rows][..., :d]
            pushed = r["h"] + data.reach[:, None] * theta[data.rows]
            v["h"] = (self.form.b * some).sum(-1) + pushed / self.form.alpha
            if "samplea" in r:
                v["samplea"] = self.form.further(some, v["h"], r["samplea"])
        if model.hinged:
            own = 1.0 / self.own
            v["xi"] = (r["xi"] - self.slope * model.margins(v, f)) / (own + self.slope)
        elif model.growth is not None:
            some = theta[data.folds]
            own = self.soft * (r["xi"] - some)
            if model.growth.steepest < float("inf"):
                # Where the slacks hold xi more firmly than its cost does, what they leave is known better.
                held = some / self.slope + model.reaches(v, like=own) - (self.side * f)[data.folds]
                own = torch.where(self.slope * self.soft > 1.0, held, own)
            v["xi"] = own
            if "out" in r:
                square = 2.0 / model.count
                v["out"] = (r["out"] + square * own) / (square + self.outside)

    def gather(self, H: Tensor) -> Tensor:
        """The adjoint of u -> H, shape (K, C, D)."""
        n, K, C, D = self.data.shape
        return (self.data.signed @ H.reshape(n, C * D)).reshape(K, C, D)

    def bend(self, H: Tensor) -> Tensor:
        """The form without its first part, times H, shape (n, C, D)."""
        found, data, d = torch.zeros_like(H), self.data, self.data.program.attackable
        if self.rho is not None:
            found = (self.rho * (H * data.X[:, None, :]).sum(-1))[..., None] * data.X[:, None, :]
        if self.form is not None:
            some = H[data.rows][..., :d]
            bent = self.form.delta * some
            if self.form.gamma is not None and self.form.tau is not None:
                bent = bent - (self.form.gamma * (self.form.tau * some).sum(-1))[..., None] * self.form.tau
            found[:, :, :d] = found[:, :, :d].index_add(0, data.rows, bent)
        return found
