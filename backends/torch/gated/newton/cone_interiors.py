"""Vectors inside the cones of all slots at once: logistic regression of the gates, by Newton's method in batches.

Where the gates of a slot can be separated, under attack with a margin, the minimiser of
``sum_i log(1 + exp(-slope_i(e) / ||x_i||)) + decay / 2 ||e||^2`` separates them once the decay is small enough, and its
direction tends to that of the largest margin (Rosset, Zhu and Hastie 2004, Boosting as a regularized path).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.torch.gated.balls import dual_norm, smooth_ball
from cvxrobust.backends.torch.gated.tensors import GatedTensors
from cvxrobust.core.arrays import worth_a_look
from cvxrobust.core.programs.gated.cones import interior

DECAYS = tuple(10.0**-k for k in range(0, 13, 2))
STEPS = 12
"""Newton steps for each decay."""

HALVINGS = 6
THIN = 1e-9
"""Margins up to this, relative to the lengths of sample and vector, are rounding."""

BATCH = 16_000_000
"""Entries of temporaries."""


def interiors(data: GatedTensors, stopped: Callable[[], bool] = lambda: False) -> tuple[Tensor, Tensor]:
    """Unit vectors in the cones, shape (K, D), and their margins ``min_i slope_i / ||x_i||``, shape (K,).

    Margins of `THIN` or less mean that no vector was found.

    Args:
        data: The programme.
        stopped: Asked between batches of cones; once it says so, the rest counts as not found.
    """
    (n, D), K = data.X.shape, data.turned.shape[1]
    size = 1 if data.widths is not None else max(1, BATCH // max(1, n * D))
    # Slots of either sign often share their gates, and so their cones.
    _, first, owners = np.unique(data.program.gates, axis=1, return_index=True, return_inverse=True)
    vectors, margins = data.X.new_zeros((first.size, D)), data.X.new_full((first.size,), -torch.inf)
    for start in range(0, first.size if K else 0, size):
        if stopped():
            break
        some = slice(start, start + size)
        if data.widths is not None:
            vectors[start], margins[start] = _inside(data, int(first[start]))
            continue
        vectors[some], margins[some] = _interiors(data, torch.as_tensor(first[some], device=data.X.device))
    places = torch.as_tensor(owners.reshape(-1), device=data.X.device)
    return vectors[places], margins[places]


def _inside(data: GatedTensors, slot: int) -> tuple[Tensor, float]:
    """The same of one slot whose samples have boxes of their own, which `cvxrobust.core` finds one by one."""
    found = interior(data.program.X, data.program.gates[:, slot], data.program.attack)
    if found is None:
        return data.X.new_zeros(data.X.shape[1]), -np.inf
    return torch.as_tensor(found.direction).to(data.X), found.margin


def _interiors(data: GatedTensors, slots: Tensor) -> tuple[Tensor, Tensor]:
    lengths = torch.sqrt((data.X**2).sum(1))
    some = lengths > 0.0
    X = data.X[some] / lengths[some, None]
    sides = -data.turned[some][:, slots]
    reach = (data.radius[:, 0][some] / lengths[some])[:, None]
    flat = bool((data.radius[:, 0][~some] > 0.0).any()) and data.program.attackable > 0
    K = sides.shape[1]
    E = sides.T @ X / max(1, X.shape[0])
    best, margin = torch.zeros_like(E), E.new_full((K,), -torch.inf)
    if X.shape[0] == 0 or flat:
        return best, margin
    for decay in DECAYS:
        for step in range(STEPS):
            E, moved = _step(data, X, sides, reach, E, decay)
            slack = _margins(data, X, sides, reach, E)
            better = slack > margin
            best, margin = torch.where(better[:, None], E, best), torch.where(better, slack, margin)
            if worth_a_look(step, moved) and bool(moved < 1e-3):
                break
        if bool((margin > THIN).all()) and decay < 1e-4:
            break
    size = torch.sqrt((best**2).sum(1, keepdim=True))
    return best / torch.where(size > 0.0, size, 1.0), margin


def _width(data: GatedTensors, E: Tensor) -> Tensor:
    unit = smooth_ball(data.program.attack, E).unit
    return (1e-3 * unit * torch.sqrt((E**2).sum(1, keepdim=True))).clamp_min(1e-12)


def _margins(data: GatedTensors, X: Tensor, sides: Tensor, reach: Tensor, E: Tensor) -> Tensor:
    slack = sides * (X @ E.T)
    if data.attacked:
        slack = slack - reach * dual_norm(data.program.attack, E)
    size = torch.sqrt((E**2).sum(1))
    return slack.amin(0) / torch.where(size > 0.0, size, 1.0)


def _values(
    data: GatedTensors, X: Tensor, sides: Tensor, reach: Tensor, E: Tensor, width: Tensor, decay: float
) -> Tensor:
    slack = sides * (X @ E.T)
    if data.attacked:
        ball, d = smooth_ball(data.program.attack, E), data.program.attackable
        slack = slack - reach * ball.smoothed(E[:, :d], width, False).value
    return torch.nn.functional.softplus(-slack).sum(0) + 0.5 * decay * (E**2).sum(1)


def _step(
    data: GatedTensors, X: Tensor, sides: Tensor, reach: Tensor, E: Tensor, decay: float
) -> tuple[Tensor, Tensor]:
    """One damped Newton step for every slot, and the largest decrement."""
    d, D, width = data.program.attackable, X.shape[1], _width(data, E)
    slack = sides * (X @ E.T)
    norms = smooth_ball(data.program.attack, E).smoothed(E[:, :d], width, False) if data.attacked else None
    if norms is not None:
        slack = slack - reach * norms.value
    p = torch.sigmoid(-slack)
    stiff = p * (1.0 - p)
    gradient = -(p * sides).T @ X + decay * E
    eye = torch.eye(D, dtype=X.dtype, device=X.device)
    H = (stiff.T[:, None, :] * X.T) @ X + decay * eye
    if norms is not None:
        gradient[:, :d] += (p * reach).sum(0)[:, None] * norms.gradient
        crossed = -(stiff * sides * reach).T @ X
        q = norms.gradient
        H[:, :, :d] += crossed[:, :, None] * q[:, None, :]
        H[:, :d, :] += q[:, :, None] * crossed[:, None, :]
        own = (stiff * reach**2).sum(0)[:, None, None]
        H[:, :d, :d] += own * q[:, :, None] * q[:, None, :]
        curve = torch.diag_embed(norms.weight) - norms.factor[..., None] * q[:, :, None] * q[:, None, :]
        H[:, :d, :d] += (p * reach).sum(0)[:, None, None] * curve
    trace = torch.diagonal(H, dim1=1, dim2=2).sum(1)[:, None, None]
    factors, info = torch.linalg.cholesky_ex(H + 64.0 * torch.finfo(X.dtype).eps * trace * eye)
    step = -torch.cholesky_solve(gradient[..., None], factors)[..., 0]
    step = torch.where((info == 0)[:, None], step, -gradient / trace[:, :, 0])
    decrement = -(gradient * step).sum(1)
    value = _values(data, X, sides, reach, E, width, decay)
    length = torch.ones_like(value)
    for trial in range(HALVINGS):
        tried = _values(data, X, sides, reach, E + length[:, None] * step, width, decay)
        good = tried <= value - 1e-4 * length * decrement + 1e-12
        if worth_a_look(trial, good) and bool(good.all()):
            break
        length = torch.where(good, length, 0.3 * length)
    return E + length[:, None] * step, decrement.max()
