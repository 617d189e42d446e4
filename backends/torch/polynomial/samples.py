"""The samples of one process on its device, read block by block."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.torch.process_group import Team
from cvxrobust.core import PolynomialProgram

BLOCK = 2**17
"""Entries of a block's temporaries on a CPU, about: they stay in its cache."""
SMALL = 2**14
"""Entries of a temporary up to which calls of PyTorch take longer than what they do: NumPy takes a third of the time.
From twice as many on PyTorch is faster."""
SOME = 4096
"""Inputs that are enough to find out how large a network's outputs are."""
INPUTS = 2**20
"""Entries of a block's inputs on a CPU, about."""
DEVICE_BLOCK = 2**26
"""The same on a GPU, where small blocks would leave it waiting."""


class StopPass(Exception):
    """Somebody asked to stop in the middle of a pass over the data."""


@dataclass(frozen=True)
class Block:
    """Some samples.

    Args:
        rows: Their place among this process's samples: a slice, or indices.
        X: Inputs, shape (b, d), float64.
        working: The same in the precision of the large products.
    """

    rows: slice | Tensor
    X: Tensor
    working: Tensor


@dataclass(frozen=True)
class Target:
    """What an adversary works against: one column of labels, and the radii.

    Args:
        sides: Labels as signs of the output, of each worst case, shape (faces * n,).
        radius: The same shape.
        attacked: Whether any sample of anybody is attacked.
        scale: Least and largest of ``sides radius^2``, and its smallest absolute value above 0 (0 without any).
    """

    sides: Tensor
    radius: Tensor
    attacked: bool
    scale: tuple[float, float, float]

    @classmethod
    def of(cls, sides: Tensor, radius: Tensor, attacked: bool) -> "Target":
        """With the range of the scales."""
        scale = sides * radius * radius
        some = scale[scale != 0.0].abs()
        if some.numel() == 0:
            return cls(sides, radius, attacked, (0.0, 0.0, 0.0))
        return cls(sides, radius, attacked, (float(scale.min()), float(scale.max()), float(some.min())))


class LocalSamples:
    """Inputs, labels and radii of one process.

    Args:
        program: Its labels and radii are kept on the device, and its inputs, too, unless they are streamed.
        device: Where the large products are made and tensors live.
        dtype: Precision of the large products.
        team: Who else holds samples.
        stopping: Asked between the blocks of a pass where nobody else waits for this process.

    Attributes:
        factory: Where the large products are made.
        device: Where everything else lives.
        rows: The place of these samples among all.
        labels: Shape (n, K), n the samples of this process.
        sides: Labels as signs of the output: all 1 for regression. Shape (n, K).
        attack: The attacks on these samples.
        radius: Of these, shape (n,).
        weights: What the loss of each counts in the mean, shape (n,); None for all alike.
        total, width: Samples of all processes, and inputs d.
        dtype: Precision of the large products.
        team: Who else holds samples.
        attacked: Whether any radius, of whatever process, is positive.
        faces: Worst cases of a sample: 2, an attack on either side, of targets that are attacked; else 1. What is said
            of each has shape (faces * n,), those of the second side, where attacks raise the output, last.
        streamed: Whether inputs are read anew in every pass; else they are kept: in float64, shape (n, d), and, for
            the large products, in `dtype` at the factory.
    """

    def __init__(
        self,
        program: PolynomialProgram,
        device: torch.device,
        dtype: torch.dtype,
        team: Team,
        stopping: Callable[[], bool],
    ) -> None:
        self.total, self.width = (int(size) for size in program.X.shape)
        # Apple's GPUs have no double precision: they take the large products, the rest stays on the host.
        self.factory, self.device = device, torch.device("cpu") if device.type == "mps" else device
        self.dtype, self.team, self._stopping = dtype, team, stopping
        self.rows = team.share(self.total)
        self.labels = self._tensor(program.labels[self.rows])
        self.sides = self.labels if program.loss_function.margin else torch.ones_like(self.labels)
        self.attack = program.attack.of(self.rows).like(self.labels)
        self.radius: Tensor = self.attack.radius
        self.weights = None if program.weights is None else self._tensor(program.weights[self.rows])
        self.attacked = program.attack.present
        self.faces = 2 if self.attacked and not program.loss_function.margin else 1
        self._targets: dict[int, Target] = {}
        self._source = program.X
        self.streamed = not isinstance(program.X, np.ndarray)
        if isinstance(program.X, np.ndarray):
            with warnings.catch_warnings():
                # Inputs may be read-only, which is fine: nothing here writes to them.
                warnings.simplefilter("ignore", UserWarning)
                self._X = torch.as_tensor(program.X[self.rows], dtype=torch.float64, device=self.device)
            self._working = self._X.to(self.factory, dtype)

    @property
    def size(self) -> int:
        """Number of samples of this process."""
        return int(self.labels.shape[0])

    @property
    def at_home(self) -> bool:
        """Whether these are all samples, in a processor's memory and in double precision."""
        processor = self.factory.type == self.device.type == "cpu"
        return processor and not self.streamed and self.team.alone and self.dtype == torch.float64

    def small(self, width: int) -> bool:
        """Whether NumPy is the quickest way to temporaries of so many columns."""
        return self.at_home and self.total * width <= SMALL

    @property
    def X(self) -> Tensor:
        """All inputs of this process where they are not streamed, shape (n, d)."""
        return self._X

    def some(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        """A few of everybody's inputs, the same for all processes, shape (at most `SOME`, d)."""
        source = self._source
        if isinstance(source, np.ndarray):
            return np.asarray(source[:: max(1, self.total // SOME)])
        return np.asarray(next(iter(source.blocks()))[1][:SOME])

    def weighed(self, values: Tensor, rows: slice | Tensor) -> Tensor:
        """What is said of some samples, shape (b,), or of their worst cases, times their weights."""
        if self.weights is None:
            return values
        own = self.weights[rows]
        return own * values if values.shape == own.shape else torch.cat([own] * self.faces) * values

    def places(self, rows: slice | Tensor) -> slice | Tensor:
        """Where the worst cases of some samples stand."""
        if self.faces == 1:
            return rows
        index = torch.arange(self.size, device=self.device)[rows]
        return torch.cat([index, index + self.size])

    def zeros(self) -> Tensor:
        """One for each worst case of this process's samples."""
        return torch.zeros(self.faces * self.size, dtype=torch.float64, device=self.device)

    def whole(self, part: Tensor) -> Tensor:
        """What is said of everybody's worst cases, from what is said of this process's."""
        sides = part.view(self.faces, self.size)
        return torch.cat([self.team.whole(side, self.rows, self.total) for side in sides])

    def own(self, whole: Tensor) -> Tensor:
        """The reverse."""
        return whole.view(self.faces, self.total)[:, self.rows].flatten()

    def target(self, task: int) -> Target:
        """One column of the labels."""
        if task not in self._targets:
            sides, radius = self.sides[:, task], self.radius
            if self.faces == 2:
                sides, radius = torch.cat([sides, -sides]), torch.cat([radius, radius])
            self._targets[task] = Target.of(sides, radius, self.attacked)
        return self._targets[task]

    def check(self) -> None:
        """Break off a pass where somebody asked to stop and nobody else waits for this process.

        Raises:
            StopPass: Somebody did.
        """
        if self.team.alone and self._stopping():
            raise StopPass

    def finish(self) -> None:
        """Break off no pass any more: the last certificate needs one."""
        self._stopping = lambda: False

    def blocks(self, width: int, most: int | None = None) -> Iterator[Block]:
        """All samples, in order.

        Args:
            width: Columns of the widest temporary.
            most: Samples of a block, at most.

        Raises:
            StopPass: Somebody asked to stop.
        """
        entries = BLOCK if self.device.type == "cpu" else DEVICE_BLOCK
        step = max(256, min(entries // max(width, 1), INPUTS // self.width if self.device.type == "cpu" else entries))
        step = step if most is None else min(step, most)
        for first, X in self._pieces():
            for start in range(0, X.shape[0], step):
                self.check()
                part = X[start : start + step]
                rows = slice(first + start, first + start + part.shape[0])
                yield Block(rows, part, part.to(self.factory, self.dtype) if self.streamed else self._working[rows])

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Block]:
        """All samples once, in random order; streamed ones in the order they come in.

        Raises:
            StopPass: Somebody asked to stop.
        """
        if self.streamed:
            yield from self.blocks(1, size)
            return
        order = torch.randperm(self.size, generator=generator).to(self.device)
        for start in range(0, self.size, size):
            rows = order[start : start + size]
            self.check()
            X = self._X[rows]
            yield Block(rows, X, X.to(self.factory, self.dtype))

    def nothing(self) -> Block:
        """A block without samples, for processes that have none left."""
        empty = torch.empty((0, self.width), dtype=torch.float64, device=self.device)
        return Block(slice(0, 0), empty, empty.to(self.factory, self.dtype))

    def _pieces(self) -> Iterator[tuple[int, Tensor]]:
        source, mine = self._source, self.rows
        if isinstance(source, np.ndarray):
            yield 0, self._X
            return
        for rows, X in source.blocks():
            start, stop = max(rows.start, mine.start), min(rows.stop, mine.stop)
            if start < stop:
                yield start - mine.start, self._tensor(X[start - rows.start : stop - rows.start])

    def _tensor(self, array: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> Tensor:
        return torch.tensor(np.asarray(array, dtype=np.float64), device=self.device)
