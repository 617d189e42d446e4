"""A head on a backbone: one ordinary PyTorch module, pixels in, logits out."""

from pathlib import Path

import torch
from torch import Tensor, nn

from cvxrobust.bench.cifar10.backbones.features import Standardised
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18
from cvxrobust.bench.cifar10.backbones.training import load_state, save_state
from cvxrobust.core.networks.load import load

HIDDEN = 256
"""Neurons of heads that gradient descent trains."""


class SplicedClassifier(nn.Module):
    """``x -> head((features(x) - mean) / deviations)``: pixels in [0, 1] to logits.

    Heads of ours compute in double precision, whatever the backbone does; logits are in the precision of the pixels.

    Args:
        backbone: Frozen or not.
        head: Of standardised features.
        units: Which these are.
    """

    def __init__(self, backbone: PreActResNet18, head: nn.Module, units: Standardised) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.mean: Tensor
        self.deviations: Tensor
        device = backbone.means.device
        first = next(head.parameters())
        for name, numbers in (("mean", units.mean), ("deviations", units.deviations)):
            self.register_buffer(name, torch.tensor(numbers, dtype=first.dtype, device=device))
        self.head.to(device)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, K)."""
        h = self.backbone.features(x).to(self.mean.dtype)
        logits: Tensor = self.head((h - self.mean) / self.deviations)
        return logits.to(x.dtype)


def plain_head(d: int, classes: int, hidden: int = HIDDEN) -> nn.Module:
    """A linear layer, or two with rectifiers between them.

    Args:
        d: Features.
        classes: Logits.
        hidden: Neurons; 0 for a linear layer.
    """
    if not hidden:
        return nn.Linear(d, classes)
    return nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def save_plain_head(head: nn.Module, hidden: int, path: Path) -> None:
    """Write a head that gradient descent made; see `load_head`."""
    save_state({"hidden": hidden, "weights": head.state_dict()}, path)


def load_head(path: Path) -> nn.Module:
    """A head, frozen: a network of ours (.npz), or what gradient descent made (.pt).

    Raises:
        InputError: There is none, or it cannot be read.
    """
    if path.suffix == ".npz":
        head = load(path).to_torch()
    else:
        state = load_state(path)
        weights = state["weights"]
        shapes = [tensor.shape for tensor in weights.values()]
        head = plain_head(shapes[0][1], shapes[-1][0], state["hidden"])
        head.load_state_dict(weights)
    return head.eval().requires_grad_(False)
