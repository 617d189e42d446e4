"""A backbone and a convex head in turn: it learns against attacks through the head, which is solved anew."""

from pathlib import Path

import torch
from torch import Tensor

from cvxrobust.bench.cifar10.attacks import margins_of
from cvxrobust.bench.cifar10.backbones.batches import ImageBank
from cvxrobust.bench.cifar10.backbones.features import Standardised
from cvxrobust.bench.cifar10.backbones.network import PreActResNet18
from cvxrobust.bench.cifar10.backbones.training import (
    BackboneTrainer,
    Loss,
    Precision,
    Recipe,
    Told,
    frozen,
    train_backbone,
)
from cvxrobust.bench.cifar10.heads.convex import Network
from cvxrobust.bench.cifar10.heads.splice import SplicedClassifier


def hinge_of_margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Crammer and Singer's loss of a head of ours, mean over images: what a joint programme minimises, too."""
    return (1.0 - margins_of(logits, labels)).clamp(min=0.0).mean()


def train_through(
    network: PreActResNet18,
    head: tuple[Network, Standardised] | None,
    recipe: Recipe,
    bank: ImageBank,
    precision: Precision,
    path: Path,
    told: Told,
) -> PreActResNet18:
    """Epochs of a backbone whose loss is taken behind a frozen head; resumes from its checkpoint.

    Args:
        network: Where it begins; it is changed.
        head: The head and its units; None for the backbone's own layer, which then learns with it.
        recipe: How it is trained.
        bank: The images.
        precision: Of convolutions.
        path: Of the checkpoint.
        told: Hears of every epoch.
    """
    loss: Loss | None = None
    if head is not None:
        module = SplicedClassifier(network, head[0].to_torch().requires_grad_(False), head[1])
        module.to(bank.device)

        def loss_behind(x: Tensor, labels: Tensor) -> Tensor:
            return hinge_of_margins(module(x), labels)

        loss = loss_behind
    trainer = BackboneTrainer(recipe, bank, network.requires_grad_(True), precision, loss)
    return frozen(train_backbone(trainer, path, told), torch.device(bank.device))
