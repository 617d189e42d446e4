"""The smoothed objective of small problems on a processor, in NumPy.

An evaluation takes some hundred operations. On a few thousand numbers these cost little but the calls, and a call of
NumPy costs a fraction of one of PyTorch's. The formulas are those of `attacks` and `objective`,
in one block; arrays lie the other way round, samples along the rows, so that sums over coordinates add whole vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dgeqrf, dorgqr, dsyevd

from cvxrobust.backends.torch.polynomial.attacks import FADED, NEWTON_STEPS, SETTLED, START, TINY, offset_of
from cvxrobust.backends.torch.polynomial.objective import ObjectiveEvaluation, Query, SmoothedObjective
from cvxrobust.backends.torch.polynomial.samples import LocalSamples
from cvxrobust.core import PolynomialProgram, loss_by_name
from cvxrobust.core.attacks.view import AttackView
from cvxrobust.core.losses.base import weighted

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Side:
    """What an adversary works against: one column of labels.

    Args:
        labels: Shape (n,).
        sides: Labels as signs of the output, of each worst case, shape (faces * n,), like all that follow.
        radius: Of the attacks.
        scale: ``sides radius^2``.
        turn: ``sides radius``.
        attacked: Whether any sample is attacked.
        range: Least and largest scale, and its smallest absolute value above 0.
        still: Which are not attacked, bool; None where all are.
    """

    labels: Array
    sides: Array
    radius: Array
    scale: Array
    turn: Array
    attacked: bool
    range: tuple[float, float, float]
    still: NDArray[np.bool_] | None


def objective_of(program: PolynomialProgram, samples: LocalSamples) -> SmoothedObjective:
    """What evaluates the networks of a programme fastest."""
    return SmallObjective(program, samples) if samples.at_home else SmoothedObjective(program, samples)


class SmallObjective(SmoothedObjective):
    """Evaluates networks on `LocalSamples` that are at home: in NumPy where they are few for the neurons at hand.

    Args:
        program: What to train.
        samples: Its data.
    """

    def __init__(self, program: PolynomialProgram, samples: LocalSamples) -> None:
        super().__init__(program, samples)
        self._X = samples.X.numpy()
        self._columns: dict[int, _Side] = {}
        self._exact = loss_by_name(program.loss)
        self._weights = None if samples.weights is None else samples.weights.numpy()
        self._of_cases = None if self._weights is None else np.tile(self._weights, samples.faces)

    def evaluate(self, queries: Sequence[Query]) -> list[ObjectiveEvaluation]:
        """Values and gradients.

        Raises:
            StopPass: Somebody asked to stop.
        """
        if not all(self.samples.small(min(query.neurons.shape)) for query in queries):
            return super().evaluate(queries)
        found = []
        with np.errstate(all="ignore"):
            for query in queries:
                self.samples.check()
                evaluation = self._evaluated(query)
                self._guesses[query.task] = evaluation.shift
                found.append(evaluation)
        return found

    def _evaluated(self, query: Query) -> ObjectiveEvaluation:
        (a, b, c), side = self.program.activation, self._side(query.task)
        beta = self.program.beta * query.smoothing.penalty
        neurons, signs = query.neurons.numpy(), query.signs.numpy()
        squares = np.einsum("ij,ij->i", neurons, neurons)
        lengths = np.sqrt(squares)
        values, vectors = _spectrum(neurons, a * signs)
        linear = (0.5 * b) * (((signs * lengths) @ neurons) @ vectors)[:, None]
        k, n, faces = values.size, self._X.shape[0], self.samples.faces
        inside = vectors.T @ self._X.T
        if faces == 2:
            inside = np.concatenate([inside, inside], axis=1)
        half = inside * values[:, None]
        half += linear
        margins = np.einsum("ij,ij->j", half + linear, inside)
        margins += c * float(signs @ squares)
        margins *= side.sides
        attacks, view = None, AttackView.of(values, vectors, self.program.attack)
        if side.attacked and view.values.size:
            half = view.half(half.T).T
            half *= side.turn
            guess, nu = self._guesses.get(query.task), query.smoothing.attack
            offset = offset_of(self.program.attack)
            attacks = _Attacks(side, view.values, half, nu, None if guess is None else guess.numpy(), offset)
            margins += attacks.change if side.still is None else np.where(side.still, 0.0, attacks.change)
            attacks.against *= side.radius
            inside -= view.moves(attacks.against.T).T
        losses, weights = self._losses(query, side.labels, margins)
        theta = weighted(weights, self._of_cases) * side.sides
        theta /= n
        response = np.empty((k + 1, theta.size))
        np.multiply(inside, theta, out=response[:k])
        response[k] = theta
        products = (response if faces == 1 else response[:, :n] + response[:, n:]) @ self._X
        if attacks is not None:
            second = response @ attacks.against.T
            variances = attacks.variance @ (theta * side.radius * side.radius)
            view.add_variances(second[:k].T, attacks.varying, -variances)
            products -= second @ view.columns.T
        first = products[k]
        # Column j of G p_j is [upper; lower] and of (dp_j)'G p_j is upper + lower v_j / ||v_j||.
        upper = (neurons @ vectors) @ products[:k]
        upper *= a
        upper += (0.5 * b * lengths)[:, None] * first
        lower = (0.5 * b) * (neurons @ first) / np.maximum(lengths, 1e-150) + c * float(theta.sum())
        upper += lower[:, None] * neurons
        upper *= (-2.0 * signs)[:, None]
        upper += (2.0 * beta) * neurons
        value = float(weighted(losses, self._weights).sum()) / n + beta * float(squares.sum())
        shift = np.zeros(theta.size) if attacks is None else attacks.shift
        gradient, *rest = (torch.from_numpy(part) for part in (upper, margins, weights, shift))
        return ObjectiveEvaluation(value, gradient, *rest)

    def _side(self, task: int) -> _Side:
        if task not in self._columns:
            target, labels = self.samples.target(task), self.samples.labels[:, task]
            sides, radius = target.sides.numpy(), target.radius.numpy()
            still = radius == 0.0
            self._columns[task] = _Side(
                labels.numpy(), sides, radius, sides * radius * radius, sides * radius, target.attacked, target.scale,
                still if still.any() else None,
            )  # fmt: skip
        return self._columns[task]

    def _losses(self, query: Query, labels: Array, t: Array) -> tuple[Array, Array]:
        """Losses of samples and their negative derivatives in the margins of their worst cases."""
        if self.errors is not None:
            residuals, centre = np.stack([labels, -labels]) - t.reshape(2, -1), query.smoothing.centre.numpy()
            losses, slopes = self.errors.smoothed(residuals, centre.reshape(2, -1), query.smoothing.hinge)
            return losses, slopes.ravel()
        if not (self.loss.kinked or self.loss.of_sizes):
            return self._exact.value(t, labels), -self._exact.derivative(t, labels)
        mu, centre = query.smoothing.hinge, query.smoothing.centre.numpy()

        def relu(z: Array, least: float = 0.0) -> tuple[Array, Array]:
            p = np.minimum(np.maximum(centre + z / mu, least), 1.0)
            return p * z - 0.5 * mu * (p - centre) ** 2, p

        return relu(labels - t, -1.0) if self.loss.of_sizes else self.loss.first_order(t, relu)


class _Attacks:
    """The smoothed attacks of `attacks.smoothed_attacks`, all arrays transposed."""

    def __init__(self, side: _Side, values: Array, half: Array, nu: float, guess: Array | None, offset: float) -> None:
        scale, lowest = side.scale, np.minimum(side.scale * values[0], side.scale * values[-1])
        gaps = values[:, None] * scale
        gaps -= lowest
        self.varying = _varying(values, side.range, nu)
        near = gaps[self.varying]
        near /= -nu
        if offset:
            near += offset
        floor = np.maximum(lowest, 0.0)
        first: Array = (np.abs(half) - gaps).max(axis=0) if guess is None else guess
        shift = np.maximum(np.maximum(first, floor), START * nu)
        shifted, square = np.empty_like(gaps), np.empty_like(gaps)
        for step in range(NEWTON_STEPS):
            np.add(gaps, shift, out=shifted)
            np.divide(half, shifted, out=square)
            np.multiply(square, square, out=square)
            spread = np.add.reduce(np.exp(near - shift / nu), axis=0)
            length = np.add.reduce(square, axis=0)
            length += spread
            np.divide(square, shifted, out=square)
            slope = 2.0 * np.add.reduce(square, axis=0)
            slope += spread / nu
            newton = shift + np.log(np.maximum(length, TINY)) * length / slope
            newton = np.where(slope > 0.0, newton, floor)
            following = np.maximum(np.maximum(newton, 0.1 * shift), floor)
            unsettled = np.abs(following - shift) > SETTLED * (following + 0.01 * nu)
            shift = following
            if step > 0 and not np.logical_or.reduce(unsettled):
                break
        np.add(gaps, shift, out=shifted)
        self.variance = np.exp(near - shift / nu)
        self.against: Array = np.divide(half, shifted, out=shifted)
        self.change: Array = lowest - shift - np.einsum("ij,ij->j", half, self.against)
        self.change -= nu * np.add.reduce(self.variance, axis=0)
        self.shift: Array = shift


def _spectrum(neurons: Array, weights: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of ``sum_j weights_j v_j v_j'`` on the span of the neurons.

    LAPACK at once: for a handful of neurons NumPy's and SciPy's own checks take several times as long.
    """
    if neurons.shape[0] >= neurons.shape[1]:
        values, vectors, failed = dsyevd((neurons.T * weights) @ neurons)
    else:
        packed, tau, _, _ = dgeqrf(neurons.T)
        basis, _, _ = dorgqr(packed, tau)
        R = basis.T @ neurons.T
        values, vectors, failed = dsyevd((R * weights) @ R.T)
        vectors = basis @ vectors
    if failed:
        raise np.linalg.LinAlgError("the eigenvalues of the network's quadratic form were not found")
    return values, vectors


def _varying(values: Array, scale: tuple[float, float, float], nu: float) -> NDArray[np.intp]:
    """`attacks.varying_coordinates` of at least one eigenvalue."""
    least, most, smallest = scale
    reach = FADED * nu / smallest if smallest > 0.0 else np.inf
    near = np.zeros(values.size, dtype=bool)
    if most > 0.0:
        near |= values - values[0] <= reach
    if least < 0.0:
        near |= values[-1] - values <= reach
    return np.flatnonzero(near)
