"""The iteration of training against boxes: where it starts, how its iterates are linearised and judged."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.ipm.boxes.samples import BoxedData, BoxedLinearised, BoxedPoint
from cvxrobust.backends.ipm.complementarity import Pair
from cvxrobust.backends.ipm.losses import interior_loss
from cvxrobust.backends.ipm.polynomial.clean import CleanData
from cvxrobust.backends.ipm.polynomial.iteration import NewtonMethod
from cvxrobust.backends.ipm.polynomial.newton_system import Data, NewtonSystem
from cvxrobust.backends.ipm.polynomial.samples import Activation
from cvxrobust.backends.ipm.polynomial.start import TUNING as STARTS
from cvxrobust.backends.ipm.polynomial.start import PolynomialIterate, matrices_to_start_from
from cvxrobust.backends.ipm.polynomial.variables import PolynomialPoint, SamplesAround
from cvxrobust.core import PolynomialNetwork, Termination, neurons_from_matrix
from cvxrobust.core.kit import BestSoFar
from cvxrobust.core.programs.boxes.certificate import (
    BoxMultipliers,
    bound_of_boxes,
    evaluated,
    network_multipliers,
)
from cvxrobust.core.programs.boxes.program import BoxProgram

Array = NDArray[np.float64]

EXACT = 1e-14
"""What counts as noise in Z where every digit of the objective is wanted."""

CORNER = 0.5
"""What the first inequalities leave at the end, beside the sum of their multipliers."""

TINY = 1e-100


@dataclass(frozen=True)
class Parts:
    """The samples of a programme, apart.

    Args:
        program: One column of labels.
        device: Where tensors are to be.
    """

    program: BoxProgram
    device: torch.device

    def tensor(self, array: Array) -> Tensor:
        """The same on the device."""
        return torch.tensor(np.ascontiguousarray(array), device=self.device)

    @property
    def attacked(self) -> NDArray[np.intp]:
        """Samples whose boxes have any width."""
        return np.flatnonzero((self.program.boxes.widths > 0.0).any(axis=1))

    @property
    def clean(self) -> NDArray[np.intp]:
        """The others."""
        return np.flatnonzero((self.program.boxes.widths == 0.0).all(axis=1))

    def weights_of(self, rows: NDArray[np.intp]) -> Tensor | None:
        """What samples weigh; None for 1."""
        return None if self.program.weights is None else self.tensor(self.program.weights[rows])

    def counts(self, rows: NDArray[np.intp]) -> int | Tensor:
        """By what the losses of samples are divided: the number of all, over their weights."""
        n, weights = int(self.program.X.shape[0]), self.weights_of(rows)
        return n if weights is None else torch.reciprocal(weights) * n

    def labels(self, rows: NDArray[np.intp]) -> Tensor:
        """Of some samples."""
        return self.tensor(self.program.labels[rows, 0])


class BoxSystem(NewtonSystem):
    """The Newton system where attacked samples are in boxes."""

    def _linearised(self, near: float | None) -> SamplesAround | None:
        data, point = self.data.attacked, self.point.attacked
        if data is None or point is None:
            return None
        return BoxedLinearised(data, point, self.point.T, self.weights.inequalities)

    def _add(self, H: Tensor) -> None:
        if isinstance(self.attacked, BoxedLinearised):
            self.attacked.add_to(H, self.triangle, self.basis)


class BoxMethod(NewtonMethod[PolynomialNetwork, BoxMultipliers]):
    """One run of the interior-point method against boxes.

    An iterate's upper bound is that of its own margins w, which its inequalities prove, so that no bound has to be
    sought anew; what is handed back `core` judges by itself.

    Args:
        program: One column of labels.
        progress: Takes every certificate; says when to stop.
        device: A torch device.
    """

    def __init__(
        self, program: BoxProgram, progress: BestSoFar[PolynomialNetwork, BoxMultipliers], device: torch.device
    ) -> None:
        super().__init__(progress, program.X.shape[1] + 1, device)
        self.program, self.parts = program, Parts(program, device)

    def run(self, start: PolynomialNetwork | None = None) -> Termination:
        """Iterate until the gap is closed, a limit is reached or rounding prevents more."""
        d = self.program.X.shape[1]
        none = PolynomialNetwork(np.empty((0, d)), np.empty(0), self.program.activation)
        for network in [none] if start is None else [none, start]:
            self.progress.offer_primal(network, evaluated(self.program, network).value)
        trivial = network_multipliers(self.program, none)
        self.progress.offer_dual(trivial, bound_of_boxes(self.program, trivial).value)
        return self.progress.run(self._rounds(self._start()))

    def _start(self) -> PolynomialIterate:
        """A centred point with T = 0, as for l2 attacks."""
        program, parts, (n, d) = self.program, self.parts, self.program.X.shape
        activation, loss = Activation(*program.activation), interior_loss(program.loss)
        nothing = np.zeros(n)
        zero = max(float(np.mean(program.loss_function.value(nothing, program.labels[:, 0]))), TINY)
        mu = STARTS.first * zero / n
        X, widths = parts.tensor(program.X), parts.tensor(program.boxes.widths)
        heavy = X.new_ones(n) if program.weights is None else parts.tensor(program.weights)
        moments = X.T @ (heavy[:, None] * X) / n
        moments.diagonal().add_(heavy @ (widths * widths) / n)
        Z, dual = matrices_to_start_from(moments, activation, STARTS.large, zero / program.beta)
        rows, others = parts.attacked, parts.clean
        attacked = clean = point = clean_point = None
        if rows.size:
            inputs = torch.tensor(program.inputs, device=self.parts.device)
            attacked = BoxedData(
                X[rows], widths[rows][:, inputs], inputs, parts.labels(rows), activation, parts.weights_of(rows)
            )
        if others.size:
            lifted = torch.hstack([X[others], X.new_ones(others.size, 1)])
            clean = CleanData(lifted, parts.labels(others), activation, parts.weights_of(others))
            w = X.new_zeros(others.size)
            clean_point = loss.side(w, parts.labels(others), parts.counts(others), clean.barrier(mu))
        data = Data(activation, program.beta, attacked, clean)
        if attacked is not None:
            point = self._attacked_start(attacked, mu, data.weights.inequalities)
        U = data.weights.matrices * mu * dual
        whole = PolynomialPoint(Z, Z.clone(), U, U.clone(), (0.0, 0.0), point, clean_point)
        return PolynomialIterate(data, whole, torch.eye(d, dtype=torch.float64, device=self.parts.device))

    def _attacked_start(self, data: BoxedData, mu: float, share: float) -> BoxedPoint:
        """``M_i = diag(lam, end)`` with multipliers that add up to 1, and X_i its inverse times the complementarity."""
        n, q = data.widths.shape
        own = data.barrier(mu)
        inner = torch.as_tensor(share * own, dtype=torch.float64, device=self.parts.device).expand(n)[:, None]
        lam, end = data.x.new_full((n, q), 1.0 / q), CORNER / q
        w = data.x.new_full((n,), -1.0 - end)
        X = torch.diag_embed(torch.hstack([inner / lam, inner / end]))
        rows = self.parts.attacked
        loss = interior_loss(self.program.loss).side(w, data.y, self.parts.counts(rows), own)
        return BoxedPoint(Pair.centred(lam, inner), w, X, loss)

    def _system(self, at: PolynomialIterate) -> NewtonSystem:
        return BoxSystem(at.data, at.point, self.triangle, near=self._near)

    def _offer(self, at: PolynomialIterate) -> None:
        """Judge the iterate by its margins and by its multipliers."""
        point, program = at.point, self.program
        (up, positive), (down, negative) = (neurons_from_matrix(Z.cpu().numpy(), EXACT) for Z in (point.Z, point.Zp))
        network = PolynomialNetwork(np.vstack([up, down]), np.concatenate([positive, -negative]), program.activation)
        n, order = program.X.shape[0], program.inputs.size + 1
        w, theta, factors = np.empty(n), np.empty(n), np.zeros((n, order, order))
        factors[:, -1, 0] = 1.0
        if point.attacked is not None:
            rows, X = self.parts.attacked, point.attacked.X
            factor, wrong = torch.linalg.cholesky_ex(X)
            w[rows], theta[rows] = point.attacked.w.cpu().numpy(), X[:, -1, -1].cpu().numpy()
            factors[rows] = torch.where((wrong == 0)[:, None, None], factor, torch.zeros_like(factor)).cpu().numpy()
        if point.clean is not None:
            rows = self.parts.clean
            w[rows] = program.labels[rows, 0] * network.decision_function(program.X[rows])
            theta[rows] = point.clean.theta.cpu().numpy()
        value = float(np.mean(program.loss_function.value(w, program.labels[:, 0]))) + program.beta * network.penalty
        self.progress.offer_primal(network, value)
        multipliers = BoxMultipliers(theta, factors)
        self.progress.offer_dual(multipliers, bound_of_boxes(program, multipliers).value)
