"""The smoothed training objective of polynomial networks in terms of their neurons, with a closed-form gradient.

A neuron u with output weight s alpha, s = +-1, is ``v = sqrt(alpha) u``, and ``T = sum_j s_j p_j p_j'`` with
``p = [v; ||v||]``: the trace constraints of the convex programme hold, the penalty is ``beta sum ||v_j||^2``, and with
enough neurons of either sign every local minimum is global. With weights ``theta_i = -loss'(margin_i) / n`` and
``G = sum_i theta_i y_i A(attacked x_i)`` the gradient is ``-2 s_j (dp_j)'G p_j + 2 beta v_j`` (Danskin). Targets under
attack have two worst cases per sample, which share a loss (`WorstErrors`) and the products with the sample.

One evaluation costs two products of X with a (d, k) matrix, k the dimension of the neurons' span, one small
eigendecomposition and elementwise work, done in blocks of samples. Several networks (the classes of a one-versus-all
problem) share the products and the pass over the data.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.losses import torch_loss
from cvxrobust.backends.torch.polynomial.attacks import (
    RandomAttacks,
    Spectrum,
    offset_of,
    smoothed_attacks,
    varying_coordinates,
)
from cvxrobust.backends.torch.polynomial.samples import Block, LocalSamples, Target
from cvxrobust.backends.torch.polynomial.worst_errors import WorstErrors
from cvxrobust.core import AttackBall, PolynomialProgram, torch_threads
from cvxrobust.core.attacks.view import AttackView

Array = NDArray[np.float64]
BLOCKS_PER_THREAD = 3
"""Blocks that a thread needs to be worth its while."""


@dataclass(frozen=True)
class PolynomialSmoothing:
    """How far the smoothed objective is from the true one.

    The hinge becomes ``max_{0 <= p <= 1} p (1 - t) - mu / 2 (p - centre)^2``. With the last p as the centre this is
    the proximal method of multipliers (Rockafellar 1976, *Augmented Lagrangians and applications of the proximal point
    algorithm in convex programming*, Math. Oper. Res. 1): it converges to the hinge although mu stays put. So does the
    absolute residual ``max_{-1 <= p <= 1} p (target - t)``.

    Args:
        hinge: mu; losses without a kink do not need it, but worst errors do (`WorstErrors`).
        attack: nu of `smoothed_attacks`.
        centre: Shape (n,), n the worst cases of this process's samples.
        penalty: Share of beta that counts.
    """

    hinge: float
    attack: float
    centre: Tensor
    penalty: float = 1.0

    def relu(self, z: Tensor, rows: slice | Tensor, least: float = 0.0) -> tuple[Tensor, Tensor]:
        """Values and slopes p of the hinges' ReLUs at ``z = 1 - t``, smoothed, of some samples.

        With -1 as the least slope, of absolute values at ``z = target - t``.
        """
        centre = self.centre[rows]
        p = (centre + z / self.hinge).clamp(least, 1.0)
        return p * z - 0.5 * self.hinge * (p - centre) ** 2, p


@dataclass(frozen=True)
class Query:
    """One network to evaluate.

    Args:
        task: Column of the labels that it is for.
        neurons: v_j in rows, shape (m, d), float64.
        signs: Signs of the output weights, shape (m,).
        smoothing: The degree of smoothing.
    """

    task: int
    neurons: Tensor
    signs: Tensor
    smoothing: PolynomialSmoothing


@dataclass(frozen=True)
class ObjectiveEvaluation:
    """The objective at one set of neurons.

    Args:
        value: The smoothed objective, over everybody's samples.
        gradient: With respect to the neurons, shape (m, d).
        margins: Smoothed worst-case margins (outputs of targets without attack) of this process's samples, shape (n,),
            n their worst cases.
        weights: ``-loss'(margins)``, without the samples' weights, shape (n,).
        shift: Roots of the attacks' secular equations, shape (n,).
    """

    value: float
    gradient: Tensor
    margins: Tensor
    weights: Tensor
    shift: Tensor


def doubled(part: Tensor, faces: int) -> Tensor:
    """What is said of samples, shape (b,) or (b, k), for each of their worst cases; as it lies in memory."""
    return part if faces == 1 else torch.cat([part.transpose(0, -1)] * faces, dim=-1).transpose(0, -1)


def residuals_of(labels: Tensor, margins: Tensor) -> Tensor:
    """By how much worst outputs, from the margins of both sides, are too small and too large, shape (2, b)."""
    b = labels.shape[0]
    return torch.stack([labels - margins[:b], -labels - margins[b:]])


class Form:
    """A query's network as a quadratic, and the attacks on blocks of samples.

    Attributes:
        vectors: Orthonormal basis Q of the neurons' span that diagonalises ``a T_11``, shape (d, k).
        view: What attacks see of it.
        offset: Of their smoothing.
    """

    def __init__(
        self, query: Query, target: Target, activation: tuple[float, float, float], attack: AttackBall
    ) -> None:
        a, b, c = activation
        neurons, signs = query.neurons, query.signs
        spectrum = Spectrum.of(neurons, signs, a)
        self.query = query
        self.vectors, self.values = spectrum.vectors, spectrum.values
        self.view, self.offset = AttackView.of(spectrum.values, spectrum.vectors, attack), offset_of(attack)
        self.lengths = neurons.norm(dim=1)
        self.linear = 0.5 * b * (((signs * self.lengths) @ neurons) @ self.vectors)
        self.constant = c * (signs * self.lengths * self.lengths).sum()
        self.shadow = neurons @ self.vectors
        self._aim(target)

    def against(self, target: Target) -> "Form":
        """The same in the same basis (an eigendecomposition made again may turn or mirror it), attacked elsewhere."""
        form = copy(self)
        form._aim(target)
        return form

    def _aim(self, target: Target) -> None:
        self.target = target
        self.attacked = target.attacked and self.view.values.numel() > 0
        if self.attacked:
            self.varying = varying_coordinates(self.view.values, target.scale, self.query.smoothing.attack)

    def outputs(self, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, shape (b,), and half gradients in the span, shape (b, k), from ``X Q``."""
        half = (inside * self.values).add_(self.linear)
        return (half * inside).sum(dim=1) + inside @ self.linear + self.constant, half

    def attack(self, rows: slice | Tensor, half: Tensor, guess: Tensor | None) -> RandomAttacks:
        """The smoothed attacks on a block."""
        radius, sides = self.target.radius[rows], self.target.sides[rows]
        found = smoothed_attacks(
            sides * radius * radius,
            self.view.values,
            (sides * radius)[:, None] * self.view.half(half),
            self.query.smoothing.attack,
            self.varying,
            None if guess is None else guess[rows],
            self.offset,
        )
        # A ball of radius 0 holds one point: no smoothing there.
        return replace(found, change=found.change.masked_fill_(radius == 0.0, 0.0))


class _Sums:
    """What one query sums over blocks, and what it says of n worst cases."""

    def __init__(self, form: Form, n: int) -> None:
        (d, k), like = form.vectors.shape, form.vectors
        self.form = form
        # Loss, sum of theta, X'[theta mean, theta], and the attacks' own first and second moments.
        self.numbers = like.new_zeros(2)
        self.products = like.new_zeros((d, k + 1))
        self.first = like.new_zeros(form.view.columns.shape[1])
        self.second = like.new_zeros((form.view.columns.shape[1], k))
        self.margins, self.weights, self.shift = (like.new_zeros(n) for _ in range(3))

    def packed(self) -> Tensor:
        parts = (self.numbers, self.products, self.first, self.second)
        return torch.cat([part.flatten() for part in parts])

    def twin(self) -> "_Sums":
        """Sums of its own for another thread, in the same place for what is said of single samples."""
        other = _Sums(self.form, 0)
        other.margins, other.weights, other.shift = self.margins, self.weights, self.shift
        return other

    def absorb(self, other: "_Sums") -> None:
        """Add another thread's sums."""
        for name in ("numbers", "products", "first", "second"):
            getattr(self, name).add_(getattr(other, name))

    def unpack(self, packed: Tensor) -> None:
        start = 0
        for name in ("numbers", "products", "first", "second"):
            part = getattr(self, name)
            setattr(self, name, packed[start : start + part.numel()].view_as(part))
            start += part.numel()


class SmoothedObjective:
    """Evaluates networks for the columns of one programme on one device.

    Args:
        program: What to train.
        samples: This process's part of its data.
    """

    def __init__(self, program: PolynomialProgram, samples: LocalSamples) -> None:
        self.program, self.samples = program, samples
        self.loss, self.margin = torch_loss(program.loss), program.loss_function.margin
        self.errors = WorstErrors.of(program.loss) if samples.faces == 2 else None
        self._guesses: dict[int, Tensor] = {}
        self._pool: ThreadPoolExecutor | None = None

    def form(self, query: Query) -> Form:
        """A query's network as a quadratic."""
        return Form(query, self.samples.target(query.task), self.program.activation, self.samples.attack)

    def evaluate(self, queries: Sequence[Query]) -> list[ObjectiveEvaluation]:
        """Values and gradients over everybody's samples.

        Raises:
            StopPass: Somebody asked to stop.
        """
        samples = self.samples
        sums = [_Sums(self.form(query), samples.faces * samples.size) for query in queries]
        vectors = torch.cat([one.form.vectors for one in sums], dim=1).to(samples.factory, samples.dtype)
        self._pass(sums, vectors)
        packed = samples.team.sum(torch.cat([one.packed() for one in sums]))
        start, found = 0, []
        for one in sums:
            size = one.packed().numel()
            one.unpack(packed[start : start + size])
            start += size
            found.append(self._evaluation(one, samples.total))
            self._guesses[one.form.query.task] = one.shift
        return found

    def _pass(self, sums: list[_Sums], vectors: Tensor) -> None:
        """Add all blocks: each thread its own, because a processor's caches do not like to share one."""
        samples = self.samples
        blocks = samples.blocks(max(one.form.vectors.shape[1] for one in sums))
        threads = 1 if samples.streamed or samples.factory.type != "cpu" else torch.get_num_threads()
        if threads > 1:
            listed = list(blocks)
            if len(listed) >= BLOCKS_PER_THREAD * threads:
                everyone = [sums, *([one.twin() for one in sums] for _ in range(threads - 1))]
                shares = [listed[k::threads] for k in range(threads)]
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(threads - 1, initializer=torch.set_num_threads, initargs=(1,))
                running = [
                    self._pool.submit(self._add_share, own, share, vectors)
                    for own, share in zip(everyone[1:], shares[1:], strict=True)
                ]
                with torch_threads(1):
                    self._add_share(sums, shares[0], vectors)
                for own, one_running in zip(everyone[1:], running, strict=True):
                    one_running.result()
                    for one, other in zip(sums, own, strict=True):
                        one.absorb(other)
                return
            blocks = iter(listed)
        for block in blocks:
            self._add(sums, block, vectors, samples.total)

    def _add_share(self, sums: list[_Sums], share: Sequence[Block], vectors: Tensor) -> None:
        with torch.inference_mode():
            for block in share:
                self.samples.check()
                self._add(sums, block, vectors, self.samples.total)

    def evaluate_block(self, query: Query, block: Block, count: int) -> Tensor:
        """The gradient over one block, ``count`` samples with those that other processes add, shape (m, d)."""
        one = _Sums(self.form(query), 0)
        self._add([one], block, one.form.vectors.to(self.samples.factory, self.samples.dtype), count, kept=False)
        one.unpack(self.samples.team.sum(one.packed()))
        return self._evaluation(one, count).gradient

    def _add(self, sums: list[_Sums], block: Block, vectors: Tensor, count: int, kept: bool = True) -> None:
        """Add a block to the sums of all queries, and keep what it says of single samples."""
        samples, rows = self.samples, block.rows
        places, faces = samples.places(rows), samples.faces
        # With samples along the rows of transposes, products run up to four times as fast on CPUs.
        inside = (vectors.T @ block.working.T).to(samples.device).to(torch.float64).T
        parts, start = [], 0
        for one in sums:
            form = one.form
            k = form.vectors.shape[1]
            mean = inside[:, start : start + k]
            start += k
            outputs, half = form.outputs(mean)
            if faces == 2:
                mean, outputs, half = doubled(mean, 2), doubled(outputs, 2), doubled(half, 2)
            sides, radius = form.target.sides[places], form.target.radius[places]
            margins = sides * outputs
            attacks = None
            if form.attacked:
                guess = self._guesses.get(form.query.task) if kept else None
                attacks = form.attack(places, half, guess)
                margins = margins + attacks.change
                if kept:
                    one.shift[places] = attacks.shift
                against = form.view.moves(attacks.against)
                mean = torch.addcmul(mean, radius[:, None], against, value=-1.0, out=torch.empty_like(mean))
            losses, weights = self._loss(form.query, rows, places, margins)
            theta = samples.weighed(weights, rows) * sides / count
            response = torch.empty((k + 1, mean.shape[0]), dtype=torch.float64, device=mean.device).T
            torch.mul(theta[:, None], mean, out=response[:, :k])
            response[:, k] = theta
            one.numbers[0] += samples.weighed(losses, rows).sum()
            one.numbers[1] += theta.sum()
            if kept:
                one.margins[places], one.weights[places] = margins, weights
            if attacks is not None:
                moved = theta * radius
                one.first -= moved @ attacks.against
                one.second -= attacks.against.T.mul_(radius) @ response[:, :k]
                form.view.add_variances(one.second, attacks.varying, (moved * radius) @ attacks.variance)
            parts.append(response if faces == 1 else response[: block.X.shape[0]] + response[block.X.shape[0] :])
        responses = parts[0].T if len(parts) == 1 else torch.cat([part.T for part in parts])
        products, start = (
            (responses.to(samples.dtype).to(samples.factory) @ block.working).to(samples.device).to(torch.float64).T,
            0,
        )
        for one in sums:
            one.products += products[:, start : start + one.products.shape[1]]
            start += one.products.shape[1]

    def _evaluation(self, one: _Sums, count: int) -> ObjectiveEvaluation:
        a, b, c = self.program.activation
        form, beta = one.form, self.program.beta * one.form.query.smoothing.penalty
        neurons, signs = form.query.neurons, form.query.signs
        product = (one.products[:, :-1] + form.view.columns @ one.second) @ form.shadow.T
        first = one.products[:, -1] + form.view.columns @ one.first
        # Column j of G p_j is [upper; lower] and of (dp_j)'G p_j is upper + lower v_j / ||v_j||.
        upper = a * product.T + 0.5 * b * form.lengths[:, None] * first
        lower = 0.5 * b * (neurons @ first) / form.lengths.clamp(min=1e-150) + c * one.numbers[1]
        gradient = -2.0 * signs[:, None] * (upper + lower[:, None] * neurons) + 2.0 * beta * neurons
        value = float(one.numbers[0]) / count + beta * float((form.lengths * form.lengths).sum())
        return ObjectiveEvaluation(value, gradient, one.margins, one.weights, one.shift)

    def _loss(self, query: Query, rows: slice | Tensor, places: slice | Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of some samples and their negative derivatives in what is said of their worst cases."""
        if self.margin:
            return self.loss.first_order(t, lambda z: query.smoothing.relu(z, rows))
        labels = self.samples.labels[rows, query.task]
        if self.errors is not None:
            smoothing = query.smoothing
            losses, slopes = self.errors.smoothed(
                residuals_of(labels, t), smoothing.centre[places].view(2, -1), smoothing.hinge
            )
            return losses, slopes.flatten()
        residual = t - labels
        if self.loss.of_sizes:
            return query.smoothing.relu(-residual, rows, -1.0)
        losses, slopes = self.loss.first_order(residual, lambda z: query.smoothing.relu(z, rows))
        return losses, -slopes
