"""Adversarial training of a two-layer network by gradient descent, as everybody does it (Madry et al.)."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.validation import as_numbers, label_array

Array = NDArray[np.float64]


class AdversarialNetwork(ClassifierMixin, BaseEstimator):
    """A ReLU network of two layers, trained on what projected gradient descent makes of its inputs.

    The network is the kind that `AdversarialReLU` trains, biases included, so that the same certificates judge it.
    Training follows Madry et al. (2018), arXiv:1706.06083: a few steepest steps on the loss of each batch from a random
    point of the ball, then a step of Adam on the loss there.

    Args:
        threat: The attacks; their `bounds` are not heeded.
        radius: Of the attacks; 0 for training without.
        n_neurons: Of the hidden layer.
        beta: Weight decay of Adam's decoupled kind.
        learning_rate: Of Adam, falling to 0 along half a cosine.
        epochs: Passes over the rows.
        batch: Rows of a batch.
        steps: Attack steps for each batch.
        seed: Of the weights, the order of rows and the random points.

    Attributes:
        classes_: The labels, sorted.
        network_: The trained `ReLUNetwork`.
    """

    def __init__(
        self,
        threat: Threat | None = None,
        radius: float = 0.0,
        n_neurons: int = 50,
        beta: float = 1e-4,
        learning_rate: float = 1e-2,
        epochs: int = 100,
        batch: int = 64,
        steps: int = 7,
        seed: int = 0,
    ) -> None:
        self.threat = threat
        self.radius = radius
        self.n_neurons = n_neurons
        self.beta = beta
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch = batch
        self.steps = steps
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train.

        Args:
            X: Inputs, shape (n, d).
            y: Labels, shape (n,).

        Raises:
            InputError: There is one class.
        """
        import torch

        inputs = as_numbers(X, "X")
        self.classes_, index = np.unique(label_array(y), return_inverse=True)
        if self.classes_.size < 2:
            raise InputError("y holds one class; a classifier needs at least two.")
        n, d = inputs.shape
        outputs = 1 if self.classes_.size == 2 else int(self.classes_.size)
        rows, labels = torch.tensor(inputs), torch.tensor(index)
        generator = torch.Generator().manual_seed(self.seed)
        rng = np.random.default_rng(self.seed)
        attacks = (self.threat or Threat()).on(inputs)
        hidden = (
            torch.randn((self.n_neurons, d + 1), generator=generator, dtype=torch.float64) / d**0.5
        ).requires_grad_()
        output = torch.randn((self.n_neurons, outputs), generator=generator, dtype=torch.float64) / self.n_neurons**0.5
        output.requires_grad_()
        optimizer = torch.optim.AdamW([hidden, output], lr=self.learning_rate, weight_decay=self.beta)
        batches = -(-n // self.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs * batches)

        def loss(x: Any, chosen: Any) -> Any:
            scores = torch.relu(x @ hidden[:, :-1].T + hidden[:, -1]) @ output
            if outputs == 1:
                return torch.nn.functional.softplus((1.0 - 2.0 * labels[chosen]) * scores[:, 0])
            return torch.nn.functional.cross_entropy(scores, labels[chosen], reduction="none")

        for _ in range(self.epochs):
            order = rng.permutation(n)
            for start in range(0, n, self.batch):
                chosen = order[start : start + self.batch]
                own = attacks.of_radius(self.radius).of(chosen)
                x = own.sample(rng) if self.radius > 0.0 else own.X
                for _ in range(self.steps if self.radius > 0.0 else 0):
                    at = torch.tensor(x, requires_grad=True)
                    (slope,) = torch.autograd.grad(loss(at, chosen).sum(), at)
                    step = (2.5 * self.radius / self.steps) * own.steepest(-slope.numpy())
                    x = own.moved(x + step - own.X)
                optimizer.zero_grad()
                loss(torch.tensor(x) if self.radius > 0.0 else rows[chosen], chosen).mean().backward()
                optimizer.step()
                schedule.step()
        weights = output.detach().numpy()
        self.network_ = ReLUNetwork(
            hidden.detach().numpy().copy(),
            (weights[:, 0] if outputs == 1 else weights).copy(),
            bias=True,
            classes=tuple(self.classes_.tolist()),
        )
        self.n_features_in_ = d
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Outputs, shape (n,), or (n, K) for K > 2 classes."""
        return self.network_.decision_function(X)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, shape (n,)."""
        return self.network_.predict(X)
