"""PreAct ResNet-18: pixels in [0, 1] to features, and with a layer of its own to logits."""

import torch
from torch import Tensor, nn
from torch.nn import functional

MEANS, DEVIATIONS = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of the pixels of CIFAR-10's training images, by colour."""

STAGES = 4
CLASSES = 10


class PreActBlock(nn.Module):
    """Two 3 x 3 convolutions, each after its normalisation and rectifier, beside a way around them.

    Args:
        channels: That come in.
        wider: That go out.
        stride: Of the first convolution.
    """

    def __init__(self, channels: int, wider: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(wider)
        self.conv1 = nn.Conv2d(channels, wider, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(wider, wider, 3, padding=1, bias=False)
        same = stride == 1 and channels == wider
        self.around = None if same else nn.Conv2d(channels, wider, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, channels, h, w) to (n, wider, h / stride, w / stride)."""
        active = functional.relu(self.norm1(x))
        beside = x if self.around is None else self.around(active)
        found: Tensor = self.conv2(functional.relu(self.norm2(self.conv1(active)))) + beside
        return found


class PreActResNet18(nn.Module):
    """The PreAct ResNet-18 of He et al. (2016), arXiv:1603.05027, as published code has it for images of 32 x 32.

    At width 64 it has 11.17 million parameters and 512 features: the means over an image of the last maps, rectified.
    Pixels are normalised inside, so that attacks are in pixels. Features are in the precision of the input, also where
    convolutions run in another (`torch.autocast`).

    Args:
        width: Channels of the first stage; each of the next three doubles them.
        classes: Logits.

    Attributes:
        n_features: ``8 width``.
        layer: The backbone's own last layer.
    """

    def __init__(self, width: int = 64, classes: int = CLASSES) -> None:
        super().__init__()
        self.means: Tensor
        self.deviations: Tensor
        self.register_buffer("means", torch.tensor(MEANS).view(1, 3, 1, 1))
        self.register_buffer("deviations", torch.tensor(DEVIATIONS).view(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        blocks: list[PreActBlock] = []
        channels = width
        for stage in range(STAGES):
            wider = width << stage
            blocks += [PreActBlock(channels, wider, 1 if stage == 0 else 2), PreActBlock(wider, wider, 1)]
            channels = wider
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.n_features = channels
        self.layer = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> Tensor:
        """Of pixels in [0, 1], shape (n, 3, 32, 32): shape (n, n_features)."""
        maps = self.blocks(self.stem((x - self.means) / self.deviations))
        return functional.relu(self.norm(maps)).to(x.dtype).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, classes)."""
        found: Tensor = self.layer(self.features(x))
        return found
