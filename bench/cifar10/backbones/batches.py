"""Images where they are used: as bytes on the device, in batches of floating point, moved and mirrored at random."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cvxrobust.bench.data.cifar import LabelledImages

MARGIN = 4
"""Pixels by which images are moved at most."""

BLOCK = 250
"""Images that are only looked at, at a time."""


class ImageBank:
    """Images and their classes on a device, with a reflected margin.

    Args:
        data: The images.
        device: Where they are kept.

    Attributes:
        labels: Shape (n,), int64, on the device.
    """

    def __init__(self, data: LabelledImages, device: torch.device) -> None:
        sides = ((0, 0), (0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN))
        self._wide = torch.from_numpy(np.pad(data.images, sides, mode="reflect")).to(device)
        self._size = data.images.shape[-1]
        self.labels = torch.from_numpy(data.labels).to(device)
        self.device = device

    def __len__(self) -> int:
        return len(self.labels)

    def plain(self, rows: Tensor) -> Tensor:
        """Pixels in [0, 1] of some images, shape (b, 3, size, size), channels last in memory."""
        centre = torch.full_like(rows, MARGIN)
        return self._cut(rows, centre, centre, torch.zeros_like(rows, dtype=torch.bool))

    def augmented(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The same, each moved by up to `MARGIN` pixels, and mirrored or not."""
        shape, device = (len(rows),), self.device
        down, right = (torch.randint(0, 2 * MARGIN + 1, shape, generator=generator, device=device) for _ in range(2))
        mirrored = torch.rand(shape, generator=generator, device=device) < 0.5
        return self._cut(rows, down, right, mirrored)

    def blocks(self, block: int = BLOCK) -> Iterator[Tensor]:
        """All rows, in order, some at a time."""
        yield from torch.split(torch.arange(len(self), device=self.device), block)

    def _cut(self, rows: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
        along = torch.arange(self._size, device=self.device)
        across = torch.where(mirrored[:, None], self._size - 1 - along, along) + right[:, None]
        lines = along + down[:, None]
        found = self._wide[rows[:, None, None], :, lines[:, :, None], across[:, None, :]]
        return found.permute(0, 3, 1, 2).float() / 255.0
