"""Truncated Newton steps for the smoothed objective: conjugate gradients, with a preconditioner of its structure.

Without attack the second derivative is block diagonal, one D x D block per slot, plus one rank-one term
``w_i a_i a_i'`` per sample, where a_i is the derivative of the sample's value and w_i the curvature of its loss there.
The blocks are factored; the samples with the largest terms are added exactly by the Woodbury identity, the others by
their diagonal blocks. Attacks add terms that couple slots; conjugate gradients make up for what the preconditioner
leaves out (Nocedal and Wright 2006, Numerical Optimization, Sec. 7.1).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.backends.torch.gated.newton.objective import NewtonPoint, at
from cvxrobust.backends.torch.gated.tensors import SmoothingWidths
from cvxrobust.core.arrays import worth_a_look

CHUNK = 8_000_000
"""Entries of temporaries while blocks are built."""


@dataclass(frozen=True)
class NewtonStepTuning:
    """What the preconditioner treats exactly, and how far a step goes."""

    most_entries: int = 30_000_000
    """Entries of the largest matrix that the preconditioner may hold; fewer samples are treated exactly beyond that."""

    most_samples: int = 1_500
    """Samples treated exactly: their matrix is factored."""

    most_work: float = 1e9
    """Products that building this matrix may take; beyond that conjugate gradients are the cheaper way."""

    negligible: float = 1e-6
    """Share of the largest term of a sample, relative to the blocks, below which it is left to the diagonal blocks."""

    armijo: float = 1e-4
    halvings: int = 40

    boundary: float = 0.99
    """Share of the way to the boundary of a cone that a step may take."""


TUNING = NewtonStepTuning()


@dataclass(frozen=True)
class Preconditioner:
    """An approximate inverse of the second derivative.

    Args:
        factors: Cholesky factors of the blocks, shape (K, C, D, D).
        columns: ``factors^-1 a_i`` of the samples treated exactly, shape (C, K D, m).
        inner: Cholesky factors of ``diag(1 / w) + columns' columns``, shape (C, m, m).
    """

    factors: Tensor
    columns: Tensor | None
    inner: Tensor | None

    def __call__(self, G: Tensor) -> Tensor:
        """Times a vector of shape (K, C, D)."""
        K, C, D = G.shape
        half = torch.linalg.solve_triangular(self.factors, G[..., None], upper=False)[..., 0]
        if self.columns is not None and self.inner is not None:
            flat = half.transpose(0, 1).reshape(C, K * D, 1)
            inside = torch.cholesky_solve(self.columns.transpose(1, 2) @ flat, self.inner)
            half = half - (self.columns @ inside).reshape(C, K, D).transpose(0, 1)
        found: Tensor = torch.linalg.solve_triangular(self.factors.mT, half[..., None], upper=True)[..., 0]
        return found


def preconditioner(point: NewtonPoint) -> Preconditioner:
    """The preconditioner at a point."""
    blocks = _blocks(point)
    K, C, D = point.U.shape
    n = point.omega.shape[0]
    size = max(1, K * C * D)
    room = min(TUNING.most_samples, n, TUNING.most_entries // size, int((TUNING.most_work / size) ** 0.5))
    exact = torch.zeros((n, C), dtype=torch.bool, device=blocks.device)
    chosen = None
    strength = point.curvature * (point.data.X**2).sum(1, keepdim=True)
    if room > 0:
        chosen = torch.argsort(strength.amax(1), descending=True, stable=True)[:room]
        kept = strength[chosen].amax(1) > TUNING.negligible * strength.max()
        chosen = chosen[kept]
        exact[chosen] = True
    blocks = blocks + _sample_blocks(point, torch.where(exact, 0.0, point.curvature))
    factors = _factored(blocks)
    if chosen is None or chosen.numel() == 0:
        return Preconditioner(factors, None, None)
    rows = _rows(point, chosen)
    columns = torch.linalg.solve_triangular(factors, rows, upper=False).transpose(0, 1).reshape(C, K * D, -1)
    weights = point.curvature[chosen].T.clamp_min(torch.finfo(blocks.dtype).tiny * 1e10)
    inner = columns.transpose(1, 2) @ columns + torch.diag_embed(1.0 / weights)
    factor, info = torch.linalg.cholesky_ex(inner)
    if bool((info != 0).any()):
        return Preconditioner(_factored(blocks + _sample_blocks(point, point.curvature)), None, None)
    return Preconditioner(factors, columns, factor)


def newton_direction(
    point: NewtonPoint, gradient: Tensor, accuracy: float, most: int, stopped: Callable[[], bool]
) -> tuple[Tensor, int]:
    """A descent direction by preconditioned conjugate gradients, and the products that it took."""
    apply = preconditioner(point)
    step = torch.zeros_like(gradient)
    residual = -gradient
    ahead = apply(residual)
    conjugate = ahead
    size = first = (residual * ahead).sum()
    going = sound = first > 0.0
    if not bool(going):
        return -gradient, 0
    plain = conjugate
    # Numbers stay on the device: once `going` is false nothing changes any more, whenever somebody looks.
    for count in range(1, most + 1):
        curved = point.curve(conjugate)
        bend = (conjugate * curved).sum()
        going = going & (bend > 0.0)
        sound = going if count == 1 else sound
        length = torch.where(going, size / bend, 0.0)
        step = step + length * conjugate
        residual = residual - length * curved
        ahead = apply(residual)
        last, size = size, (residual * ahead).sum()
        going = going & (size > accuracy**2 * first)
        if (worth_a_look(count - 1, going) and not bool(going)) or stopped():
            break
        conjugate = torch.where(going, ahead + (size / last) * conjugate, conjugate)
    # Without curvature along the first direction there is nothing better than that direction.
    return torch.where(sound, step, plain), count


def line_search(point: NewtonPoint, gradient: Tensor, step: Tensor, widths: SmoothingWidths) -> NewtonPoint | None:
    """The next point along a direction (backtracking); None where rounding leaves no descent."""
    slope = float((gradient * step).sum())
    if not slope < 0.0:
        return None
    noise = 4.0 * torch.finfo(step.dtype).eps * abs(point.value)
    length = _within_cones(point, step)
    for _ in range(TUNING.halvings):
        tried = at(point.data, point.U + length * step, widths)
        # Armijo; the derivatives carried along do not enter the value.
        if tried.value <= point.value + TUNING.armijo * length * slope + noise:
            return at(point.data, tried.U, widths, point.moved(step, length))
        length *= 0.5
    return None


def _within_cones(point: NewtonPoint, step: Tensor) -> float:
    """The longest step, up to 1, that the linearised constraints allow."""
    if not point.data.cone or point.mu is None:
        return 1.0
    products = (point.data.X @ step.reshape(-1, step.shape[-1]).T).reshape(point.mu.shape)
    moved = point.steps(products, step)
    if moved is None or moved.numel() == 0:
        return 1.0
    share = float((moved * point.mu).max()) / max(point.widths.barrier, 1e-300)
    return 1.0 if share <= TUNING.boundary else TUNING.boundary / share


def _factored(blocks: Tensor) -> Tensor:
    """Cholesky factors, with as much on the diagonal as rounding makes necessary."""
    eye = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    size = torch.diagonal(blocks, dim1=-2, dim2=-1).amax(-1)[..., None, None]
    share = 8.0 * torch.finfo(blocks.dtype).eps
    for _ in range(12):
        factors, info = torch.linalg.cholesky_ex(blocks + share * size * eye)
        if not bool((info != 0).any()):
            found: Tensor = factors
            return found
        share *= 30.0
    return torch.sqrt(size) * eye


def _blocks(point: NewtonPoint) -> Tensor:
    """The diagonal blocks without the curvature of the losses, shape (K, C, D, D)."""
    data, (K, C, D) = point.data, point.U.shape
    d, beta = data.program.attackable, data.program.beta
    eye = torch.eye(D, dtype=point.U.dtype, device=point.U.device)
    root = point.roots[..., None]
    mine, other = point.U / point.roots, point.carried_lengths
    outer = mine[..., :, None] * other[..., None, :]
    blocks = beta * (eye - 0.5 * (outer + outer.mT)) / root
    diagonal = torch.zeros_like(point.U)
    if point.sums is not None:
        pull = (point.omega * data.radius)[..., None] * point.sums.diagonal
        diagonal[..., :d] += (data.weights.abs().T @ pull.reshape(-1, C * d)).reshape(K, C, d)
    if point.slots is not None:
        diagonal[..., :d] += point.weight_of_slots() * point.slots.diagonal
    blocks = blocks + torch.diag_embed(diagonal)
    if point.bend is not None and bool((point.bend > 0.0).any()):
        blocks = blocks + _grams(data.X, (data.weights**2)[..., None] * point.bend[:, None, :])
    if point.stiff is None:
        return blocks
    blocks = blocks + _grams(data.X, point.stiff)
    if point.slots is not None:
        # (turned x + r q)(turned x + r q)', the first product of the four is there already.
        crossed, own = _reaching(point, point.stiff)
        pushed = crossed * point.slots.gradient[..., None, :]
        blocks[..., :, :d] += pushed
        blocks[..., :d, :] += pushed.mT
        blocks[..., :d, :d] += own * point.slots.gradient[..., :, None] * point.slots.gradient[..., None, :]
    return blocks


def _reaching(point: NewtonPoint, stiff: Tensor) -> tuple[Tensor, Tensor]:
    """``sum_i stiff turned x_i r_i'`` and ``sum_i stiff r_i r_i'``, shapes (K, C, D, 1) and (K, C, 1, 1).

    Of boxes that are cut off r_i has an entry for each coordinate: (K, C, D, d) and (K, C, d, d).
    """
    data = point.data
    weights = stiff * (data.turned * data.reach)[..., None]
    if data.widths is None:
        crossed = torch.einsum("ikc,id->kcd", weights, data.X)[..., None]
        return crossed, torch.einsum("ikc,ik->kc", stiff, data.reach**2)[..., None, None]
    w = data.widths[:, 0]
    return _grams(data.X, weights, w), _grams(w, stiff * (data.reach**2)[..., None])


def _sample_blocks(point: NewtonPoint, curvature: Tensor) -> Tensor:
    """The diagonal blocks of ``sum w_i a_i a_i'``, attacks left out of the a_i; shape (K, C, D, D)."""
    used = curvature.amax(1) > 0.0
    if not bool(used.any()):
        return torch.zeros((), dtype=point.U.dtype, device=point.U.device)
    return _grams(point.data.X[used], curvature[used][:, None, :] * _coefficients(point, used) ** 2)


def _coefficients(point: NewtonPoint, rows: Tensor) -> Tensor:
    """How much of x_i the derivative of value i has in slot k, shape (m, K, C)."""
    found = point.data.weights[rows][..., None] * point.sigma[rows][:, None, :]
    if point.kappa is not None:
        found = found - point.data.turned[rows][..., None] * point.kappa[rows]
    return found


def _rows(point: NewtonPoint, rows: Tensor) -> Tensor:
    """The derivatives a_i of some values, shape (K, C, D, m)."""
    data, d = point.data, point.data.program.attackable
    found = torch.einsum("ikc,id->kcdi", _coefficients(point, rows), data.X[rows])
    if point.sums is not None:
        pull = data.radius[rows][..., None] * point.sums.gradient[rows]
        found[:, :, :d] -= torch.einsum("ik,icd->kcdi", data.weights[rows], pull)
    if point.kappa is not None and point.slots is not None:
        reach = data.reach[rows][..., None] * point.kappa[rows]
        pushed = torch.einsum("ikc,kcd->kcdi", reach, point.slots.gradient)
        found[:, :, :d] -= pushed if data.widths is None else pushed * data.widths[rows, 0].T
    return found


def _grams(X: Tensor, weights: Tensor, other: Tensor | None = None) -> Tensor:
    """``X' diag(weights_kc) X``, or with another matrix last, for every slot and output, shape (K, C, D, D)."""
    other = X if other is None else other
    n, K, C = weights.shape
    D, d = X.shape[1], other.shape[1]
    flat = weights.reshape(n, K * C)
    size = max(1, CHUNK // max(1, n * D))
    parts = [((flat[:, start : start + size].T[:, None, :] * X.T) @ other) for start in range(0, K * C, size)]
    return torch.cat(parts).reshape(K, C, D, d) if parts else torch.zeros((K, C, D, d), dtype=X.dtype, device=X.device)
