"""Training a backbone: SGD, sharpness-aware, or adversarial in one step; a checkpoint after every epoch."""

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvxrobust.bench.cifar10.attacks import cross_entropy, random_step
from cvxrobust.bench.cifar10.backbones.batches import ImageBank
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18
from cvxrobust.bench.cifar10.backbones.sam import at_sharpest, statistics_kept
from cvxrobust.core.errors import InputError
from cvxrobust.core.files import write_whole

BATCH, MOMENTUM, DECAY = 128, 0.9, 5e-4
RISE, FIRST, LAST = 0.3, 10.0, 100.0
"""The rate rises for this share of the steps, from a tenth of its peak, and ends at a hundredth of where it began."""

Told = Callable[[str], None]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a backbone is trained.

    Args:
        name: What it is called.
        epochs: Passes over the images.
        rho: Of sharpness-aware minimisation; 0 for none. Doubles the cost of a step.
        radius: Of attacks in the norm inf, in pixels of [0, 1]; 0 for none. Doubles the cost of a step.
        rate: Peak of the learning rate.
        start: The backbone that it goes on from; None to begin at random.
        seed: Of the weights, the order of images and how they are moved.
        clip: The largest norm of a gradient of all weights; 0 for any.
    """

    name: str
    epochs: int
    rho: float = 0.0
    radius: float = 0.0
    rate: float = 0.1
    start: str | None = None
    seed: int = 0
    clip: float = 0.0

    @property
    def cost(self) -> int:
        """Passes of SGD that all its epochs take, but for those of its start."""
        return self.epochs * (1 + (self.rho > 0.0) + (self.radius > 0.0))


@dataclass(frozen=True)
class Precision:
    """In what convolutions are computed.

    Args:
        device: Where.
        dtype: float32 or bfloat16; weights are in float32 in any case.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32

    def cast(self) -> AbstractContextManager[Any]:
        """A block in which layers choose this precision where they may."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


class BackboneTrainer:
    """A backbone on its way.

    Args:
        recipe: How it is trained.
        bank: The images.
        network: Where it begins; it is changed.
        precision: Of the convolutions.
        loss: Of logits and labels; None for the cross-entropy of the network's own layer.

    Attributes:
        history: A row per epoch: loss, accuracy on moved images as they came, seconds of the processor and the wall.
    """

    def __init__(
        self, recipe: Recipe, bank: ImageBank, network: PreActResNet18, precision: Precision, loss: Loss | None = None
    ) -> None:
        if len(bank) < BATCH:
            raise InputError(f"there are {len(bank)} images to train {recipe.name} on; expected {BATCH} or more.")
        self.recipe, self.bank, self.precision = recipe, bank, precision
        self.network = on_device(network, bank.device)
        self._loss = loss or (lambda x, labels: cross_entropy(self.network(x), labels))
        self._generator = torch.Generator(bank.device).manual_seed(recipe.seed)
        self._optimizer = _optimizer(self.network, recipe.rate)
        self.steps = len(bank) // BATCH
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, recipe.rate, total_steps=max(2, recipe.epochs * self.steps + 1), pct_start=RISE,
            cycle_momentum=False, div_factor=FIRST, final_div_factor=LAST,
        )  # fmt: skip
        self.history: list[dict[str, float]] = []

    def to_state(self) -> dict[str, Any]:
        """All that going on takes."""
        return {
            "recipe": asdict(self.recipe),
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "generator": self._generator.get_state(),
            "history": self.history,
        }

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Be where another was.

        Raises:
            InputError: It had another recipe.
        """
        if state["recipe"] != asdict(self.recipe):
            raise InputError(
                f"the checkpoint of {self.recipe.name} was made by {state['recipe']}, not {asdict(self.recipe)}; "
                "remove it, or name another folder."
            )
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._generator.set_state(state["generator"].cpu())
        self.history = list(state["history"])

    def train_epoch(self) -> dict[str, float]:
        """One pass over the images; what came of it."""
        began, used = time.perf_counter(), time.process_time()
        self.network.train()
        order = torch.randperm(len(self.bank), generator=self._generator, device=self.bank.device)
        total = torch.zeros((), device=self.bank.device)
        for rows in torch.split(order[: self.steps * BATCH], BATCH):
            total += self._step(self.bank.augmented(rows, self._generator), self.bank.labels[rows])
            self._schedule.step()
        self.network.eval()
        row = {
            "loss": float(total) / self.steps,
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - used,
        }
        self.history.append(row)
        return row

    def _step(self, x: Tensor, labels: Tensor) -> Tensor:
        def loss(images: Tensor) -> Tensor:
            with self.precision.cast():
                return self._loss(images, labels)

        if self.recipe.radius:
            with statistics_kept(self.network):
                x = random_step(loss, x, self.recipe.radius, self._generator)
        self._optimizer.zero_grad()
        found = loss(x)
        found.backward()  # type: ignore[no-untyped-call]
        if self.recipe.rho:
            with at_sharpest(self.network.parameters(), self.recipe.rho), statistics_kept(self.network):
                loss(x).backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self._optimizer.step()
        return found.detach()


def train_backbone(trainer: BackboneTrainer, path: Path, told: Told) -> PreActResNet18:
    """Train to the end from wherever a killed run was; after every epoch the file is whole and holds it.

    Args:
        trainer: Of the backbone.
        path: The checkpoint, which afterwards is the trained backbone.
        told: Hears of every epoch.
    """
    recipe = trainer.recipe
    if path.is_file():
        trainer.go_on_from(load_state(path))
    while len(trainer.history) < recipe.epochs:
        row = trainer.train_epoch()
        save_state(trainer.to_state(), path)
        done = f"epoch {len(trainer.history)} of {recipe.epochs}"
        told(f"{recipe.name}: {done}, loss {row['loss']:.4f}, {row['seconds']:.0f} s")
    trainer.network.eval()
    return trainer.network


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """A checkpoint; it can hold nothing but numbers and words.

    Raises:
        InputError: It cannot be read.
    """
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of being read
        raise InputError(f"{path} is no checkpoint ({type(error).__name__}: {error}); remove it.") from error
    return found


def frozen(network: PreActResNet18, device: torch.device) -> PreActResNet18:
    """The network, in eval mode and on a device, its weights without gradients."""
    return on_device(network, device).eval().requires_grad_(False)


def on_device(network: PreActResNet18, device: torch.device) -> PreActResNet18:
    """The network on a device, channels last in memory, which convolutions prefer."""
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _optimizer(network: nn.Module, rate: float) -> torch.optim.SGD:
    """Matrices and filters decay; offsets and scales of normalisations do not."""
    parameters = list(network.parameters())
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": DECAY},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, rate, momentum=MOMENTUM, nesterov=True)


def fastest(device: torch.device, width: int, images: int = 64) -> torch.dtype:
    """What trains a backbone faster here, float32 or bfloat16: on GPUs the latter, on processors by trying.

    Args:
        device: Where.
        width: Of the backbone.
        images: To try with.
    """
    if device.type == "cuda":
        return torch.bfloat16
    network = on_device(PreActResNet18(width), device)
    x, labels = torch.rand(images, 3, 32, 32, device=device), torch.zeros(images, dtype=torch.int64, device=device)
    seconds: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.bfloat16) * 2:  # the first time warms up
        began = time.process_time()
        with Precision(device, dtype).cast():
            loss = cross_entropy(network(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        seconds[dtype] = time.process_time() - began
    return min(seconds, key=seconds.__getitem__)
