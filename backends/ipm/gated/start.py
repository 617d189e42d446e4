"""Where to start: near the central path, with the slots' vectors given and all else on the path in closed form."""

import math

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.facial_reduction import Interior
from cvxrobust.backends.ipm.gated.model import Model

COMPLEMENTARITY = 1.0
"""First duality gap, roughly, as a multiple of the objective at zero."""

KINKED = 10.0
"""The same for hinges beside harmful ReLUs, whose barriers share out the gap among themselves."""

LEAD = 2.0
"""Multipliers of lengths beside the pull on their vectors, where they begin outside ``t = beta``."""

FURTHEST = 2.0
"""Outputs at the start, at most, relative to those that matter."""


def begin(model: Model, interior: Interior, worth: float, given: Tensor | None, share: float) -> tuple[Tensor, Tensor]:
    """Variables strictly inside all constraints, and multipliers.

    Args:
        model: The programme, of the slots that may carry neurons.
        interior: A vector inside the cone of each of its slots.
        worth: The objective at zero.
        given: Vectors to start near, shape (K, C, D); None for none.
        share: How large the first duality gap is beside that of a start from nothing.
    """
    data = model.data
    (n, K, C, _), beta = data.shape, data.program.beta
    kinked = data.one_sided and data.loss.kinked
    mu = share * (KINKED if kinked else COMPLEMENTARITY) * worth / model.cones.degree
    count = data.live.sum(1) * C if data.program.rules.constrains_gates else torch.zeros_like(data.signs)
    size = torch.linalg.vector_norm(interior.u, dim=1)
    # Where the barrier of the cone and the penalty balance.
    size = count * mu / (beta * C**0.5 * torch.where(size > 0.0, size, 1.0))
    u = (size[:, None] * interior.u)[:, None, :].expand(K, C, -1)
    # Outputs far from all that the loss distinguishes would lead its model astray.
    typical = 1.0 if data.margin else _size(model, worth)
    furthest = float(model.outputs(u)[1].abs().max()) if n else 0.0
    if furthest > FURTHEST * typical:
        size, u = size * (FURTHEST * typical / furthest), u * (FURTHEST * typical / furthest)
    v: dict[str, Tensor] = {}
    if model.slot is not None and data.program.rules.constrains_gates:
        v["c"] = (size * interior.c)[data.capped, None].expand(-1, C).clone()
        v["slota"] = (size[:, None] * interior.a)[data.capped, None].expand(-1, C, -1).clone()
    if given is not None:
        u = u + given
        if "c" in v and model.slot is not None:
            c, a = model.slot.least(given[data.capped][..., : data.program.attackable])
            v["c"], v["slota"] = v["c"] + c, v["slota"] if a is None else v["slota"] + a
    width = data.X.new_tensor(mu)
    v["u"] = u
    lengths = torch.sqrt((u**2).sum((1, 2)))
    v["t"] = 0.5 * mu / beta + torch.sqrt((0.5 * mu / beta) ** 2 + lengths**2)
    if model.slot is not None and data.one_sided:
        radius = data.radius if isinstance(data.count, int) else data.radius * (n / data.count[:, 0])
        cost = (data.live @ radius)[data.capped, None] * (0.25 / n)
        v["c"], a = model.slot.above(u[data.capped][..., : data.program.attackable], cost, width)
        if a is not None:
            v["slota"] = a
    _samples(model, v, width, worth)
    x = model.confined(model.variables.join(v))
    s, seen = model.slack(x)
    z = model.cones.centred(s, width[None])
    return x, _balanced(model, z, seen) if kinked and model.cones.weights is not None else z


def _balanced(model: Model, z: Tensor, seen: Tensor | None) -> Tensor:
    """Multipliers whose gradient of the Lagrangian vanishes in u, and is left in t alone.

    Where samples pull a neuron by far more than beta, the pull fits the multipliers ``(beta, 0)`` of a short length
    badly: a step that evened it out would leave the cone at once. With ``(LEAD |pull|, -pull)`` the start is near the
    central path of the same programme with a heavier penalty, whose weight then falls to beta along with all else.
    """
    slope, _ = model.loss_slopes(seen)
    K, place = model.data.shape[1], model.cones.layout.places["length"]
    ball = model.cones.layout.views(z)["length"]
    tail = ball[:, 1:] + model.variables.views(model.adjoint(-z, slope))["u"].reshape(K, -1)
    first = torch.maximum(ball[:, 0], LEAD * torch.linalg.vector_norm(tail, dim=1))
    return torch.cat([z[: place.start], torch.cat([first[:, None], tail], dim=1).flatten(), z[place.stop :]])


def _samples(model: Model, v: dict[str, Tensor], mu: Tensor, worth: float) -> None:
    """The samples' variables."""
    data = model.data
    n = data.count
    H, f = model.outputs(v["u"])
    growth = data.loss.growth
    typical = 0.5 / n if growth is None else min(2.0 * max(_size(model, worth), 1e-150), growth.steepest) / n
    if model.sample is not None:
        some = H[data.rows][..., : data.program.attackable]
        cost = typical[data.rows] if isinstance(typical, Tensor) else typical
        v["h"], a = model.sample.above(some, cost * data.reach[:, None], mu)
        if a is not None:
            v["samplea"] = a
    if data.one_sided:
        q = model.slopes(v["u"], v.get("c"))[:, 0]
        v["e"] = _above(q, 0.5 / n if isinstance(n, int) else 0.5 / n.T, mu) * data.live
    if model.hinged:
        need = 1.0 - model.margins(v, f)
        if model.curved:
            v["xi"] = 0.5 * need.clamp_min(0.0) + torch.sqrt(0.25 * need**2 + 0.5 * mu * n)
        else:
            v["xi"] = _above(-need, 1.0 / n, mu)
    elif growth is not None and model.folded:
        some = (f - data.y)[data.folds].abs()
        worst, delta = some + model.reaches(v, some), mu * model.count
        v["xi"] = 0.5 * worst + torch.sqrt(0.25 * worst**2 + delta)
        if growth.steepest < float("inf"):
            v["xi"] = torch.maximum(v["xi"], worst + delta / growth.steepest)
        if growth.lines:
            most = 0.5 * growth.steepest
            v["out"] = 0.5 * (v["xi"] - most + torch.sqrt((v["xi"] - most) ** 2 + 2.0 * delta))


def _size(model: Model, worth: float) -> float:
    """The size of targets, and so of outputs: the objective at zero is the sum of the outputs' mean losses."""
    growth, data = model.data.loss.growth, model.data
    if growth is not None and growth.steepest < float("inf"):
        return math.sqrt(float((data.y**2).mean()))
    return float((worth / data.shape[2]) ** 0.5)


def _above(q: Tensor, cost: float | Tensor, mu: Tensor) -> Tensor:
    """The e with ``mu / e + mu / (e + q) = cost``, above 0 and -q."""
    p = cost * q
    root = torch.sqrt(4.0 * mu**2 + p**2)
    far = p > 2.0 * mu
    # Two ways to write the same root, each without a difference.
    large = 2.0 * mu * q / torch.where(far, root + p - 2.0 * mu, 1.0)
    return torch.where(far, large, 0.5 * (2.0 * mu - p + root) / cost)
