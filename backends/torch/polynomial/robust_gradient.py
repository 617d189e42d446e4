"""One robust gradient and its matrix products alone, for whoever wants to know what the solver's work consists of."""

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing, Query
from cvxrobust.backends.torch.polynomial.objective_numpy import objective_of
from cvxrobust.backends.torch.polynomial.samples import LocalSamples
from cvxrobust.backends.torch.process_group import Team
from cvxrobust.core import PolynomialProgram, torch_threads

Array = NDArray[np.float64]
SMOOTHING = (0.1, 1e-3)
"""Of hinge and attacks: what they are for most of a solve."""


class RobustGradient:
    """The gradient of the smoothed robust objective of a programme's first column, as the solver evaluates it.

    Args:
        program: The programme.
        device: A torch device.
        dtype: Precision of the products with X, ``"float64"`` or ``"float32"``.
        threads: Threads of PyTorch; None leaves them alone.
    """

    def __init__(
        self, program: PolynomialProgram, device: str = "cpu", dtype: str = "float64", threads: int | None = None
    ) -> None:
        self._threads = threads
        where = torch.device(device)
        self._samples = LocalSamples(program, where, getattr(torch, dtype), Team(where), lambda: False)
        self._objective = objective_of(program, self._samples)
        self._smoothing = PolynomialSmoothing(*SMOOTHING, self._samples.zeros())

    def __call__(self, neurons: Array, signs: Array) -> tuple[float, Array]:
        """Value and gradient; root-finding starts from what the last call found.

        Args:
            neurons: v_j in rows, shape (m, d).
            signs: Signs of the output weights, shape (m,).
        """
        tensors = (torch.tensor(part, device=self._samples.device) for part in (neurons, signs))
        with torch.inference_mode(), torch_threads(self._threads):
            (found,) = self._objective.evaluate([Query(0, next(tensors), next(tensors), self._smoothing)])
        return found.value, np.asarray(found.gradient.cpu().numpy())

    def products(self, neurons: Array) -> Array:
        """``X'X V'`` for neurons V, shape (m, d), block by block: the products that a gradient needs, and no more."""
        samples = self._samples
        basis = torch.tensor(neurons, device=samples.factory).to(samples.dtype)
        gathered = torch.zeros_like(basis)
        with torch_threads(self._threads):
            for block in samples.blocks(basis.shape[0]):
                gathered.addmm_(basis @ block.working.T, block.working)
        return np.asarray(gathered.cpu().double().numpy())
