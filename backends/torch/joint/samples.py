"""The points of a joint programme on a device, class by class."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.core import JointProgram

Array = NDArray[np.float64]


class JointSamples:
    """Points in the order of their classes, those of a class in that of their samples.

    Args:
        program: Kept as `program`; its points, radii and weights are copied to the device.
        device: Where everything lives.
        dtype: Precision of the products with the points.

    Attributes:
        order: The row of the programme at each place, shape (n,).
        X: Points in `dtype`, shape (n, d).
        radius: Shape (n,), float64.
        sample_weights: Of the samples, 1 on average, shape (m,).
        weights: Of the sample of each point, over m, shape (n,): what a multiplier counts in the mean.
        classes: The places of each class.
        slots: The places of the points of each sample, shape (m, P), P the most that one has; those that it lacks
            repeat its first.
        filled: Which of them are points, shape (m, P).
        attack: The attacks on the programme's rows, in arrays of the device: their shape alone is asked for.
        attacked: Whether any point is attacked.
    """

    def __init__(self, program: JointProgram, device: torch.device, dtype: torch.dtype) -> None:
        self.program, self.device, self.dtype = program, device, dtype
        order = np.lexsort((program.samples, program.labels))
        self.order = torch.as_tensor(order, device=device)
        self.X = torch.as_tensor(program.X[order], dtype=dtype, device=device)
        self.radius = self.tensor(program.attack.radius[order])
        each = np.ones(program.n_samples) if program.weights is None else program.weights
        self.sample_weights = self.tensor(each)
        self.weights = self.tensor(each[program.samples[order]] / program.n_samples)
        ends = np.concatenate([[0], np.cumsum([rows.size for rows in program.rows_of])])
        self.classes = [slice(int(first), int(last)) for first, last in pairwise(ends)]
        self.slots, self.filled = self._slots(program.samples[order], program.n_samples)
        self.attack = program.attack.like(self.radius)
        self.attacked = program.attack.present

    def tensor(self, array: Array) -> Tensor:
        """Numbers in float64 on the device."""
        return torch.tensor(np.asarray(array, dtype=np.float64), device=self.device)

    def _slots(self, samples: NDArray[np.intp], m: int) -> tuple[Tensor, Tensor]:
        counts = np.bincount(samples, minlength=m)
        by_sample = np.argsort(samples, kind="stable")
        first = np.cumsum(counts) - counts
        column = np.arange(int(counts.max()))
        filled = column < counts[:, None]
        slots = by_sample[first[:, None] + np.where(filled, column, 0)]
        return torch.as_tensor(slots, device=self.device), torch.as_tensor(filled, device=self.device)

    def gathered(self, pairs: Tensor, nothing: float) -> Tensor:
        """What is said of points and rivals, shape (n, K), sample by sample, shape (m, P K)."""
        found = pairs[self.slots]
        if self.slots.shape[1] > 1:
            found = found.masked_fill(~self.filled[:, :, None], nothing)
        return found.flatten(1)

    def scattered(self, of_samples: Tensor, K: int) -> Tensor:
        """The reverse."""
        found = of_samples.new_empty((self.X.shape[0], K))
        found[self.slots[self.filled]] = of_samples.view(*self.slots.shape, K)[self.filled]
        return found

    def rows(self, places: Tensor) -> Array:
        """What is said of places, in the order of the programme's rows, as a NumPy array."""
        found = torch.empty_like(places)
        found[self.order] = places
        return np.asarray(found.cpu().numpy())

    def placed(self, rows: Array) -> Tensor:
        """The reverse."""
        return self.tensor(rows)[self.order]
