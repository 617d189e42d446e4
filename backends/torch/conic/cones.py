"""Projections onto the cones of a programme, all cones of one kind and size together."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.conic.exponential import project_exponentials
from cvxrobust.core import PSD, Cone, ConicProgram, Exponential, NonNegative, SecondOrder, Zero, svec_indices

CONES = (Zero, NonNegative, SecondOrder, PSD, Exponential)


@dataclass(frozen=True)
class ConeLayout:
    """The rows of a programme with cones of one kind and size side by side.

    Args:
        rows: ``A[rows]`` is in our order.
        free: How many rows come first whose duals are free, those of the zero cones.
        nonnegative: How many rows follow that are nonnegative; all cones of one row are among them.
        batches: What follows: kind, size of a cone (order of a matrix), number of such cones.
        owners: For each row, in our order, a number that rows share which must be scaled alike.
    """

    rows: NDArray[np.intp]
    free: int
    nonnegative: int
    batches: tuple[tuple[type, int, int], ...]
    owners: NDArray[np.intp]


def layout_of(program: ConicProgram) -> ConeLayout:
    """Sort a programme's rows for projection."""
    groups: dict[tuple[int, int], list[slice]] = {}
    for cone, rows in zip(program.cones, program.blocks, strict=True):
        if cone.dim:
            groups.setdefault(_kind(cone), []).append(rows)
    ordered = sorted(groups.items())
    places = [np.arange(block.start, block.stop) for _, blocks in ordered for block in blocks]
    owners, batches, counts, taken = [np.empty(0, dtype=np.intp)], [], {0: 0, 1: 0}, 0
    for (kind, size), blocks in ordered:
        sizes = [block.stop - block.start for block in blocks]
        if kind < 2:
            counts[kind] = sum(sizes)
            owners.append(taken + np.arange(counts[kind]))
        else:
            batches.append((CONES[kind], size, len(blocks)))
            owners.append(taken + np.repeat(np.arange(len(blocks)), sizes))
        taken = int(owners[-1][-1]) + 1
    return ConeLayout(
        np.concatenate([np.empty(0, dtype=np.intp), *places]).astype(np.intp),
        counts[0],
        counts[1],
        tuple(batches),
        np.concatenate(owners),
    )


def _kind(cone: Cone) -> tuple[int, int]:
    """Place of the kind in `CONES`, and the size where cones of different size cannot go together."""
    if isinstance(cone, Zero):
        return 0, 0
    if isinstance(cone, NonNegative) or cone.dim == 1:
        return 1, 0
    return CONES.index(type(cone)), cone.order if isinstance(cone, PSD) else cone.dim


@dataclass
class DualProjection:
    """Projects onto the dual cone K*, in place.

    Args:
        layout: The order of the rows.
        device: Where the vectors are.
        dtype: Their precision.
    """

    layout: ConeLayout
    device: torch.device
    dtype: torch.dtype
    _steps: list[tuple[slice, Callable[[Tensor], Tensor]]] = field(init=False)

    def __post_init__(self) -> None:
        self._steps, start = [], self.layout.free + self.layout.nonnegative
        for kind, size, count in self.layout.batches:
            stop = start + count * (PSD(size).dim if kind is PSD else size)
            self._steps.append((slice(start, stop), self._batch(kind, size)))
            start = stop

    def _batch(self, kind: type, size: int) -> Callable[[Tensor], Tensor]:
        if kind is SecondOrder:
            return lambda z: project_second_order(z.view(-1, size)).reshape(-1)
        if kind is PSD:
            return SemidefiniteBatch(size, self.device, self.dtype)
        return ExponentialDualBatch()

    def __call__(self, z: Tensor) -> None:
        """Replace `z`, shape (M,), by the nearest point of K*."""
        z[self.layout.free : self.layout.free + self.layout.nonnegative].clamp_(min=0)
        for rows, project in self._steps:
            z[rows] = project(z[rows])


def project_second_order(z: Tensor) -> Tensor:
    """The nearest points of second-order cones to the rows of `z`, shape (count, size)."""
    t, v = z[:, :1], z[:, 1:]
    length = torch.linalg.vector_norm(v, dim=1, keepdim=True)
    height = (0.5 * (t + length)).clamp(min=0)
    # Inside, height exceeds the length; in the polar cone it is 0; a length of 0 is one or the other.
    outside = length > t.abs()
    inside = length <= t
    ratio = torch.where(outside, height / length.clamp(min=torch.finfo(z.dtype).tiny), inside.to(z.dtype))
    return torch.cat((torch.where(outside, height, t.clamp(min=0) * inside), ratio * v), dim=1)


class SemidefiniteBatch:
    """Projects onto matrices of one order, as the svec vectors of `cvxrobust.core.conic.cones`, one after another."""

    def __init__(self, order: int, device: torch.device, dtype: torch.dtype) -> None:
        rows, columns, weights = svec_indices(order)
        position = np.zeros((order, order), dtype=np.int64)
        position[rows, columns] = position[columns, rows] = np.arange(rows.size)
        self.order, self.dim = order, rows.size
        self._unpack = torch.as_tensor(position.reshape(-1), device=device)
        self._pack = torch.as_tensor(rows * order + columns, device=device)
        self._weights = torch.as_tensor(weights.copy(), device=device, dtype=dtype)

    def __call__(self, z: Tensor) -> Tensor:
        """The nearest points, shape (count * dim,) like `z`."""
        packed = z.view(-1, self.dim) / self._weights
        values, vectors = torch.linalg.eigh(packed[:, self._unpack].view(-1, self.order, self.order))
        roots = vectors * values.clamp(min=0).sqrt().unsqueeze(-2)
        full = torch.bmm(roots, roots.mT).view(-1, self.order * self.order)
        return (full[:, self._pack] * self._weights).view(-1)


class ExponentialDualBatch:
    """Projects onto duals of exponential cones; remembers the ratios, from which the next projection starts."""

    def __init__(self) -> None:
        self._ratios: Tensor | None = None

    def __call__(self, z: Tensor) -> Tensor:
        """By Moreau's decomposition: the dual projection of z is z plus the projection of -z."""
        points = z.view(-1, 3)
        primal, self._ratios = project_exponentials(-points, self._ratios)
        return (points + primal).view(-1)
