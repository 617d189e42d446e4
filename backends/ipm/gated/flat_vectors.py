"""Named parts of flat vectors: many small tensors are added, scaled and compared in one operation."""

from collections.abc import Mapping

import torch
from torch import Tensor


class FlatLayout:
    """Where the named parts of a flat vector lie.

    Vectors may carry leading batch dimensions, the same for all parts.

    Args:
        shapes: Shape of each part, in order.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes, self.places, self.size = dict(shapes), dict[str, slice](), 0
        for name, shape in self.shapes.items():
            length = int(torch.Size(shape).numel())
            self.places[name] = slice(self.size, self.size + length)
            self.size += length
        self._lengths = [place.stop - place.start for place in self.places.values()]

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The parts of a vector, each in its shape."""
        lead = flat.shape[:-1]
        pieces = torch.split_with_sizes(flat, self._lengths, dim=-1)
        return {
            name: piece if len(shape) == 1 else piece.view(lead + shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The vector of its parts; those that do not belong to it are left out."""
        pieces = []
        for name, shape in self.shapes.items():
            part, count = parts[name], len(shape)
            # Most have one dimension, and a flat one costs nothing.
            if count != 1:
                part = part.flatten(part.ndim - count) if count else part[..., None]
            pieces.append(part)
        return torch.cat(pieces, dim=-1)
