"""Processes that share one solve: each holds some samples, all hold the network, sums go over everybody.

Under `torch.distributed` (for example started by ``torchrun``), whoever has called ``init_process_group`` before
`solve` takes part; every process calls `solve` with the same problem and gets the same answer. Without it there is one
process, and every method here does nothing.
"""

from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


class Team:
    """The processes of the default group, or this process alone.

    Args:
        device: Where the tensors live that they add up.

    Attributes:
        size: Number of processes.
        rank: Which of them this is.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        together = distributed.is_available() and distributed.is_initialized()
        self.size = distributed.get_world_size() if together else 1
        self.rank = distributed.get_rank() if together else 0

    @property
    def alone(self) -> bool:
        """Whether there is nobody else."""
        return self.size == 1

    def share(self, n: int) -> slice:
        """The rows of this process, of n."""
        base, more = divmod(n, self.size)
        start = self.rank * base + min(self.rank, more)
        return slice(start, start + base + (self.rank < more))

    def sum(self, numbers: Tensor) -> Tensor:
        """The sum of everybody's numbers, in place."""
        if not self.alone:
            distributed.all_reduce(numbers)
        return numbers

    def whole(self, part: Tensor, rows: slice, n: int) -> Tensor:
        """A vector over all samples from everybody's part of it, shape (n,)."""
        if self.alone:
            return part
        found = torch.zeros(n, dtype=part.dtype, device=part.device)
        found[rows] = part
        return self.sum(found)

    def same(self, tensor: Tensor) -> Tensor:
        """The first process's tensor, in place: rounding on unlike processors must not drive them apart."""
        if not self.alone:
            distributed.broadcast(tensor, src=0)
        return tensor

    def told(self, value: T) -> T:
        """The first process's value, whatever it is."""
        if self.alone:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self._device)
        return box[0]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set anywhere: clocks differ, decisions must not."""
        if self.alone:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self._device)) > 0.0)
