"""Stochastic steps on batches of samples, for data so large that a pass is worth many steps.

Adam (Kingma and Ba 2015, *Adam: a method for stochastic optimization*, ICLR) on the neurons with the exact gradient
of the smoothed objective over each batch. It only prepares the full passes: what it finds is evaluated and certified on
all samples like anything else.
"""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from cvxrobust.backends.torch.polynomial.objective import SmoothedObjective
from cvxrobust.backends.torch.polynomial.samples import StopPass
from cvxrobust.backends.torch.polynomial.training import Training
from cvxrobust.backends.torch.stopping import Stops
from cvxrobust.core import Settings

LARGE = 20_000
"""Samples from which on stochastic steps pay."""
BATCH = 512
EPOCHS = 2
STEP = 0.02
"""First step of every coordinate; it falls linearly to 0."""
DECAYS = (0.9, 0.99)
PASSES = 3.0
"""Passes that end a solve: an evaluation, a judgement, and the certificate of whoever does not trust it."""


class Adam:
    """Adam's running moments for one network.

    Args:
        neurons: Where it starts.
    """

    def __init__(self, neurons: Tensor) -> None:
        self.first, self.second = torch.zeros_like(neurons), torch.zeros_like(neurons)
        self.count = 0

    def step(self, neurons: Tensor, gradient: Tensor, length: float) -> Tensor:
        """The next neurons."""
        self.count += 1
        slow, slower = DECAYS
        self.first.mul_(slow).add_(gradient, alpha=1.0 - slow)
        self.second.mul_(slower).addcmul_(gradient, gradient, value=1.0 - slower)
        mean = self.first / (1.0 - slow**self.count)
        size = torch.sqrt(self.second / (1.0 - slower**self.count))
        return neurons - length * mean / size.clamp(min=1e-12)


def warm_up(objective: SmoothedObjective, trainings: Sequence[Training], settings: Settings, stops: Stops) -> None:
    """Move the neurons of trainings that start from nothing by some epochs of stochastic steps."""
    samples = objective.samples
    worth = samples.streamed or samples.total >= LARGE
    batch = settings.options.get("batch", BATCH if worth else 0)
    epochs = settings.options.get("epochs", EPOCHS)
    fresh = [training for training in trainings if not training.warm]
    if batch == 0 or epochs == 0 or not fresh:
        return
    for training in fresh:
        training.schedule.begin_warm()
    walks = [Adam(training.neurons) for training in fresh]
    # Every process takes a share of each batch, and as many batches.
    mine = -(-batch // samples.team.size)
    total, count, seen, began = epochs * -(-samples.total // batch), 0, 0, time.perf_counter()
    generator = torch.Generator().manual_seed(settings.seed)
    try:
        for _ in range(epochs):
            blocks = samples.batches(mine, generator)
            while True:
                block = next(blocks, None) or samples.nothing()
                together = int(samples.team.sum(torch.tensor(float(block.X.shape[0]), device=samples.device)))
                if together == 0:
                    break
                length = STEP * max(0.0, 1.0 - count / total)
                for training, adam in zip(fresh, walks, strict=True):
                    gradient = objective.evaluate_block(training.query(training.neurons), block, together)
                    training.neurons, training.walked = adam.step(training.neurons, gradient, length), True
                count, seen = count + 1, seen + together
                # What has been found is worth nothing before it is evaluated, judged, and certified.
                stops.reserve = PASSES * samples.total / seen * (time.perf_counter() - began)
            stops.agree()
            if stops.reason is not None:
                return
    except StopPass:
        return
