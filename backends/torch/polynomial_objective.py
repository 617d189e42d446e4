"""The smoothed training objective of a polynomial network in terms of its neurons, with a closed-form gradient.

A neuron u with output weight s alpha, s = +-1, is ``v = sqrt(alpha) u``, and ``T = sum_j s_j p_j p_j'`` with
``p = [v; ||v||]``: the trace constraints of the convex programme hold, the penalty is ``beta sum ||v_j||^2``, and with
enough neurons of either sign every local minimum is global. With weights ``theta_i = -loss'(margin_i) / n`` and
``G = sum_i theta_i y_i A(attacked x_i)`` the gradient is ``-2 s_j (dp_j)'G p_j + 2 beta v_j`` (Danskin). One evaluation
costs two products of X with a (d, m) matrix, one small eigendecomposition and elementwise work.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.backends.torch.polynomial_attacks import (
    RandomAttacks,
    Spectrum,
    Tensor,
    smoothed_attacks,
    split_into_points,
)
from cvxrobust.core.certificate import PointMultipliers
from cvxrobust.core.structured import PolynomialProgram

Array = NDArray[np.float64]
ENTRIES = 2**26
"""Numbers that the points of the multipliers may take, about; attacks vary in fewer directions where there are more."""


@dataclass(frozen=True)
class Smoothing:
    """How far the smoothed objective is from the true one.

    The hinge becomes ``max_{0 <= p <= 1} p (1 - t) - mu / 2 (p - centre)^2``. With the last p as the centre this is
    the proximal method of multipliers (Rockafellar 1976, *Augmented Lagrangians and applications of the proximal point
    algorithm in convex programming*, Math. Oper. Res. 1): it converges to the hinge although mu stays put.

    Args:
        hinge: mu; the other losses do not need it.
        attack: nu of `smoothed_attacks`.
        centre: Shape (n,).
    """

    hinge: float
    attack: float
    centre: Tensor


@dataclass(frozen=True)
class Evaluation:
    """The objective at one set of neurons.

    Args:
        value: The smoothed objective.
        gradient: With respect to the neurons, shape (m, d).
        margins: Smoothed worst-case margins (outputs for the squared loss), shape (n,).
        weights: ``-loss'(margins)``, shape (n,).
        vectors: The basis Q of the span that the attacks refer to, shape (d, k).
        attacks: The random attacks in units of the radius; None where no sample is attacked.
    """

    value: float
    gradient: Tensor
    margins: Tensor
    weights: Tensor
    vectors: Tensor
    attacks: RandomAttacks | None


class SmoothedObjective:
    """Evaluates one programme (a single column of labels) on one device.

    Args:
        program: What to train.
        device: Where tensors live.
        dtype: Precision of the two large products; everything else is float64.
    """

    def __init__(self, program: PolynomialProgram, device: torch.device, dtype: torch.dtype) -> None:
        self.program = program
        self.X = torch.tensor(program.X, dtype=torch.float64, device=device)
        self.X_working = self.X.to(dtype)
        self.labels = torch.tensor(program.labels[:, 0], dtype=torch.float64, device=device)
        self.radius = torch.tensor(program.radius, dtype=torch.float64, device=device)
        self.regression = program.loss == "squared"
        # Regression has targets where the rest has labels: its outputs count as they are.
        self.sides = torch.ones_like(self.labels) if self.regression else self.labels
        self.attacked = bool((program.radius > 0.0).any())
        self._guess: Tensor | None = None

    def evaluate(self, neurons: Tensor, signs: Tensor, smoothing: Smoothing) -> Evaluation:
        """Value and gradient.

        Args:
            neurons: v_j in rows, shape (m, d), float64.
            signs: Signs of the output weights, shape (m,).
            smoothing: The degree of smoothing.
        """
        a, b, c = self.program.activation
        n, beta = self.X.shape[0], self.program.beta
        spectrum = Spectrum.of(neurons, signs)
        Q, lengths = spectrum.vectors, neurons.norm(dim=1)
        squares = lengths * lengths
        inside = self._product(self.X_working, Q)
        linear = 0.5 * b * (((signs * lengths) @ neurons) @ Q)
        half = (a * spectrum.values) * inside + linear
        margins = self.sides * (((half + linear) * inside).sum(dim=1) + c * (signs * squares).sum())
        attacks = self._attack(a * spectrum.values, half, smoothing.attack)
        if attacks is not None:
            margins = margins + attacks.change
        losses, weights = self._loss(margins, smoothing)
        value = float(losses.mean()) + beta * float(squares.sum())

        theta = weights * self.sides / n
        shadow = neurons @ Q
        mean = inside if attacks is None else inside + self.radius[:, None] * attacks.mean
        response = theta[:, None] * (mean @ shadow.T)
        product = self._product(self.X_working.T, response)
        first = theta @ self.X
        if attacks is not None:
            scaled = (self.radius[:, None] * attacks.mean).T
            second = ((theta * self.radius**2) @ attacks.variance)[:, None] * shadow.T
            product = product + Q @ (scaled @ response + second)
            first = first + Q @ (scaled @ theta)
        # Column j of G p_j is [upper; lower] and of (dp_j)'G p_j is upper + lower v_j / ||v_j||.
        upper = a * product.T + 0.5 * b * lengths[:, None] * first
        lower = 0.5 * b * (neurons @ first) / lengths.clamp(min=1e-150) + c * theta.sum()
        gradient = -2.0 * signs[:, None] * (upper + lower[:, None] * neurons) + 2.0 * beta * neurons
        return Evaluation(value, gradient, margins, weights, Q, attacks)

    def multipliers(self, evaluation: Evaluation) -> PointMultipliers:
        """The dual point that an evaluation holds: its weights, on points with the moments of its random attacks."""
        theta = evaluation.weights / self.X.shape[0]
        rows = torch.nonzero(theta).flatten()
        attacks = evaluation.attacks
        if attacks is None:
            points = self.X[rows]
            return PointMultipliers(_array(theta[rows]), _array(rows).astype(np.intp), _array(points))
        chance, owners, points = split_into_points(
            attacks.mean[rows], attacks.variance[rows], max(3, ENTRIES // (2 * max(self.X.numel(), 1)))
        )
        owners = rows[owners]
        moves = (self.radius[owners][:, None] * points) @ evaluation.vectors.T
        weights = theta[owners] * chance
        return PointMultipliers(_array(weights), _array(owners).astype(np.intp), _array(self.X[owners] + moves))

    def _attack(self, values: Tensor, half: Tensor, nu: float) -> RandomAttacks | None:
        if not self.attacked:
            return None
        curvature = (self.sides * self.radius**2)[:, None] * values
        scaled = (self.sides * self.radius)[:, None] * half
        found = smoothed_attacks(curvature, scaled, nu, self._guess)
        self._guess = found.shift
        # A ball of radius 0 holds one point: no smoothing there.
        clean = self.radius == 0.0
        return replace(found, change=torch.where(clean, torch.zeros_like(found.change), found.change))

    def _loss(self, t: Tensor, smoothing: Smoothing) -> tuple[Tensor, Tensor]:
        """Losses and their negative derivatives."""
        match self.program.loss:
            case "hinge":
                mu, centre = smoothing.hinge, smoothing.centre
                p = (centre + (1.0 - t) / mu).clamp(0.0, 1.0)
                return p * (1.0 - t) - 0.5 * mu * (p - centre) ** 2, p
            case "squared_hinge":
                violation = (1.0 - t).clamp(min=0.0)
                return violation * violation, 2.0 * violation
            case "logistic":
                return torch.nn.functional.softplus(-t), torch.sigmoid(-t)
            case _:
                residual = t - self.labels
                return residual * residual, -2.0 * residual

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        return (left @ right.to(left.dtype)).to(torch.float64)


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.cpu().numpy())
