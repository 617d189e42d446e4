"""The smoothed objective of joint programmes in terms of their neurons, with a closed-form gradient.

As for one output (`cvxrobust.backends.torch.polynomial.objective`), a neuron u of class q with output weight s alpha is
``v = sqrt(alpha) u``; ``T_q = sum s p p'`` over its neurons, ``p = [v; ||v||]``. With multipliers theta_ik of the
margins ``f_c - f_k`` under attack, and ``G_q = sum_{c = q} theta_ik A - sum_{k = q} theta_ik A`` at the points where
attacks lead, the gradient in a neuron of class q is ``-2 s (dp)'G_q p + 2 beta penalties_q v``.

An evaluation costs two products of X with all neurons. Every pair of classes has one eigenproblem in the span of its
neurons, and attacks that are separable there. First all margins are put between two bounds that take no root-finding:
what no attack exceeds, and one attack. That tells of most pairs of points and rivals that they have no multiplier,
exactly; the others are solved. The attacks themselves are needed only where multipliers are positive.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import torch
from torch import Tensor

from cvxrobust.backends.torch.joint.samples import JointSamples
from cvxrobust.backends.torch.joint.smallest_margin import LOSSES
from cvxrobust.backends.torch.polynomial.attacks import (
    TINY,
    RandomAttacks,
    Spectrum,
    offset_of,
    smoothed_attacks,
    varying_coordinates,
)
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core import AttackBall, JointProgram
from cvxrobust.core.attacks.view import AttackView

BLOCK = 2**17
"""Entries of a block's temporaries on a CPU, about: they stay in its cache."""
DEVICE_BLOCK = 2**26
"""The same on a GPU."""


@dataclass(frozen=True)
class JointQuery:
    """A network to evaluate.

    Args:
        neurons: v_j in rows, shape (M, d), float64.
        signs: Signs of the output weights, shape (M,).
        owners: The class of each neuron, shape (M,), int64.
        smoothing: The degree of smoothing; its centre has shape (n, K).
    """

    neurons: Tensor
    signs: Tensor
    owners: Tensor
    smoothing: PolynomialSmoothing


@dataclass(frozen=True)
class JointEvaluation:
    """The objective at one set of neurons. What is said of points is in the order of `JointSamples`.

    Args:
        value: The smoothed objective.
        gradient: With respect to the neurons, shape (M, d).
        margins: Smoothed worst margins, inf against the own class, shape (n, K).
        weights: Multipliers p, without the weights of samples, shape (n, K).
        shift: Roots of the attacks' secular equations, shape (n, K).
    """

    value: float
    gradient: Tensor
    margins: Tensor
    weights: Tensor
    shift: Tensor


class SortedNeurons:
    """A query's neurons, class by class.

    Args:
        query: The query.
        K: Number of classes.

    Attributes:
        order: The place in the query of each neuron, shape (M,).
        neurons, signs, owners: In that order.
        lengths: Of the neurons, shape (M,).
        classes: The places of each class.
    """

    def __init__(self, query: JointQuery, K: int) -> None:
        self.query = query
        self.owners, self.order = torch.sort(query.owners, stable=True)
        self.neurons, self.signs = query.neurons[self.order], query.signs[self.order]
        self.lengths = self.neurons.norm(dim=1)
        ends = [0, *torch.bincount(self.owners, minlength=K).cumsum(0).tolist()]
        self.classes = [slice(first, last) for first, last in pairwise(ends)]

    def back(self, rows: Tensor) -> Tensor:
        """Rows in the order of the query."""
        found = torch.empty_like(rows)
        found[self.order] = rows
        return found


class PairForm:
    """The difference ``f_k - f_j`` of two classes as a quadratic, and what attacks see of it.

    Args:
        net: The network.
        pair: k and j.
        activation: (a, b, c).
        attack: The attacks, in arrays of the kind of the neurons.

    Attributes:
        view: What attacks see, in coordinates in which they are separable.
        seen: What the view's columns are to the neurons of both, those of k first, shape (m, k).
    """

    def __init__(
        self, net: SortedNeurons, pair: tuple[int, int], activation: tuple[float, float, float], attack: AttackBall
    ) -> None:
        a, b, _ = activation
        self.pair, self.places = pair, [net.classes[k] for k in pair]
        neurons = torch.cat([net.neurons[places] for places in self.places])
        signs = torch.cat([sign * net.signs[places] for sign, places in zip((1.0, -1.0), self.places, strict=True)])
        spectrum = Spectrum.of(neurons, signs, a)
        self.view = AttackView.of(spectrum.values, spectrum.vectors, attack)
        linear = 0.5 * b * ((signs * neurons.norm(dim=1)) @ neurons)
        self.seen = neurons @ self.view.columns
        self.linear = (linear @ self.view.columns)[:, None]
        self.slopes = ((a * signs)[:, None] * self.seen).T
        self.offset, self.nu = offset_of(attack), net.query.smoothing.attack

    def inside(self, products: Tensor, rows: slice, chosen: Tensor | None = None) -> Tensor:
        """Products of these neurons, shape (m, b), with some points of a class, of those of all, shape (M, n)."""
        parts = [products[places, rows] for places in self.places]
        return torch.cat([part if chosen is None else part[:, chosen] for part in parts])

    def half(self, inside: Tensor) -> Tensor:
        """Half gradients as attacks see them, shape (k, b), from products of neurons and points, shape (m, b)."""
        found: Tensor = (self.slopes @ inside).add_(self.linear)
        return found

    def brackets(self, inside: Tensor, radius: Tensor, side: float) -> tuple[Tensor, Tensor]:
        """What attacks and their smoothing do to margins at most, and what one attack does, both of shape (b,)."""
        values, half = self.view.values, self.half(inside)
        lowest = float(torch.minimum(side * values[0], side * values[-1]).clamp(max=0.0))
        square = half.mul_(half)
        total = square.sum(dim=0)
        steep = -2.0 * radius * total.sqrt()
        bent = side * (values @ square) / total.clamp(min=TINY)
        area = radius * radius
        smoothed = torch.where(radius > 0.0, 3.0 * self.nu * values.numel(), 0.0)
        return steep + area * lowest - smoothed, steep + area * bent

    def attack(
        self, half: Tensor, radius: Tensor, side: float, guess: Tensor | None, *, solved: bool = False
    ) -> RandomAttacks:
        """The smoothed attacks on points of which `side` says whose they are: 1 for k, -1 for j.

        Args:
            half: Half gradients, shape (k, b); overwritten.
            radius: Above 0, shape (b,).
            side: 1 or -1.
            guess: Shifts of similar attacks, shape (b,).
            solved: Whether these are the very ones.
        """
        scale = side * radius * radius
        low, high = float(scale.min()), float(scale.max())
        varying = varying_coordinates(self.view.values, (low, high, min(abs(low), abs(high))), self.nu)
        turned = half.mul_(side * radius).T
        return smoothed_attacks(scale, self.view.values, turned, self.nu, varying, guess, self.offset, solved=solved)


@dataclass(frozen=True)
class Side:
    """The points of one class in a pair.

    Args:
        form: The pair.
        own: The class.
        rival: The other one.
        sign: 1 where the pair is ``f_own - f_rival``, -1 where it is the reverse.
        rows: The places of the points.
    """

    form: PairForm
    own: int
    rival: int
    sign: float
    rows: slice


class JointObjective:
    """Evaluates networks on one device.

    Args:
        program: What to train.
        samples: Its points there.
        check: Called between the pairs of classes; what it raises breaks an evaluation off.
    """

    def __init__(self, program: JointProgram, samples: JointSamples, check: Callable[[], None]) -> None:
        self.program, self.samples, self.check = program, samples, check
        self.loss = LOSSES[program.loss]
        self.penalties = samples.tensor(program.penalties)
        self._guess: Tensor | None = None

    def evaluate(self, query: JointQuery) -> JointEvaluation:
        """Value and gradient."""
        net, samples, program = SortedNeurons(query, self.program.n_classes), self.samples, self.program
        products = (net.neurons.to(samples.dtype) @ samples.X.T).to(torch.float64)
        sides = list(self._sides(net)) if samples.attacked else []
        margins = self._clean_margins(net, products)
        shift = torch.zeros_like(margins)
        if sides:
            self._attack(query, sides, products, margins, shift)
            self._guess = shift
        losses, p = self._losses(query, margins)
        gradient = self._gradient(net, sides, products, p * samples.weights[:, None], shift)
        betas = program.beta * query.smoothing.penalty * self.penalties[net.owners]
        value = float((losses * samples.sample_weights).mean()) + float(betas @ (net.lengths * net.lengths))
        gradient += 2.0 * betas[:, None] * net.neurons
        return JointEvaluation(value, net.back(gradient), margins, p, shift)

    def _sides(self, net: SortedNeurons) -> Iterator[Side]:
        """Both sides of all pairs of classes, of which there are points, and of whose network attacks see anything."""
        for pair in combinations(range(self.program.n_classes), 2):
            self.check()
            form = PairForm(net, pair, self.program.activation, self.samples.attack)
            for own, rival, sign in ((*pair, 1.0), (*pair[::-1], -1.0)):
                rows = self.samples.classes[own]
                if rows.stop > rows.start and form.view.values.numel():
                    yield Side(form, own, rival, sign, rows)

    def _clean_margins(self, net: SortedNeurons, products: Tensor) -> Tensor:
        """``f_c - f_k`` at all points, inf at their own class, shape (n, K)."""
        (a, b, c), K = self.program.activation, self.program.n_classes
        outputs = products.new_zeros((K, products.shape[1]))
        for k, places in enumerate(net.classes):
            t, lengths, signs = products[places], net.lengths[places], net.signs[places]
            outputs[k] = signs @ (a * t * t) + (b * signs * lengths) @ t + c * (signs @ (lengths * lengths))
        margins = outputs.new_empty((products.shape[1], K))
        for k, rows in enumerate(self.samples.classes):
            margins[rows] = (outputs[k, rows] - outputs[:, rows]).T
            margins[rows, k] = torch.inf
        return margins

    def _blocks(self, side: Side) -> Iterator[slice]:
        entries = BLOCK if self.samples.device.type == "cpu" else DEVICE_BLOCK
        step = max(256, entries // side.form.view.values.numel())
        for first in range(side.rows.start, side.rows.stop, step):
            yield slice(first, min(first + step, side.rows.stop))

    def _attack(self, query: JointQuery, sides: list[Side], products: Tensor, margins: Tensor, shift: Tensor) -> None:
        """Let attacks lower margins, where they can matter; the others become inf, as if there were no such rival."""
        alive = self._alive(query, sides, products, margins)
        guess = self._guess
        for side in sides:
            self.check()
            for block in self._blocks(side):
                chosen = torch.nonzero(alive[block, side.rival] & (self.samples.radius[block] > 0.0)).flatten()
                if not chosen.shape[0]:
                    continue
                places = chosen + block.start
                half = side.form.half(side.form.inside(products, block, chosen))
                start = None if guess is None else guess[places, side.rival]
                found = side.form.attack(half, self.samples.radius[places], side.sign, start)
                margins[places, side.rival] += found.change
                shift[places, side.rival] = found.shift
        margins.masked_fill_(~alive, torch.inf)

    def _alive(self, query: JointQuery, sides: list[Side], products: Tensor, margins: Tensor) -> Tensor:
        """Which margins may have a multiplier, shape (n, K), bool.

        Those of which the multiplier is 0 by what is known of all: with the least that margins can be, those that one
        attack leaves already have the others' threshold above theirs.
        """
        samples, mu, centre = self.samples, query.smoothing.hinge, query.smoothing.centre
        if not self.loss.vanishes:
            return torch.isfinite(margins)
        least, most = margins.clone(), margins.clone()
        for side in sides:
            self.check()
            for block in self._blocks(side):
                inside = side.form.inside(products, block)
                low, high = side.form.brackets(inside, samples.radius[block], side.sign)
                least[block, side.rival] += low
                most[block, side.rival] += high
        hidden = samples.gathered(centre + (self.loss.start - most) / mu, -torch.inf)
        tau = self.loss.threshold(hidden.sort(dim=1, descending=True).values, mu)
        of_points = samples.scattered(tau[:, None].expand(-1, hidden.shape[1]), margins.shape[1])
        return centre + (self.loss.start - least) / mu > of_points

    def _losses(self, query: JointQuery, margins: Tensor) -> tuple[Tensor, Tensor]:
        """Smoothed losses, shape (m,), and multipliers, shape (n, K)."""
        samples, smoothing = self.samples, query.smoothing
        seen, centre = samples.gathered(margins, torch.inf), samples.gathered(smoothing.centre, 0.0)
        losses, p = self.loss.smoothed(seen, centre, smoothing.hinge)
        return losses, samples.scattered(p, self.program.n_classes)

    def _gradient(
        self, net: SortedNeurons, sides: list[Side], products: Tensor, theta: Tensor, shift: Tensor
    ) -> Tensor:
        """Of the mean loss, shape (M, d), in the order of the classes."""
        (a, b, c), M = self.program.activation, net.neurons.shape[0]
        counts = -theta.T.contiguous()
        for k, rows in enumerate(self.samples.classes):
            counts[k, rows] = theta[rows].sum(dim=1)
        factors = torch.cat([products * counts[net.owners], counts])
        curved, firsts = torch.zeros_like(net.neurons), net.neurons.new_zeros((counts.shape[0], net.neurons.shape[1]))
        for side in sides:
            self.check()
            self._add_moves(side, products, theta, shift, factors, curved, firsts)
        sums = (factors.to(self.samples.dtype) @ self.samples.X).to(torch.float64)
        first, mass = (sums[M:] + firsts)[net.owners], counts.sum(dim=1)[net.owners]
        upper = a * (sums[:M] + curved) + 0.5 * b * net.lengths[:, None] * first
        lower = 0.5 * b * (net.neurons * first).sum(dim=1) / net.lengths.clamp(min=1e-150) + c * mass
        found: Tensor = -2.0 * net.signs[:, None] * (upper + lower[:, None] * net.neurons)
        return found

    def _add_moves(
        self, side: Side, products: Tensor, theta: Tensor, shift: Tensor, factors: Tensor, curved: Tensor,
        firsts: Tensor,
    ) -> None:  # fmt: skip
        """What attacks add: moments of their moves with the points, and with one another."""
        form, rows, rival = side.form, side.rows, side.rival
        chosen = torch.nonzero((theta[rows, rival] > 0.0) & (self.samples.radius[rows] > 0.0)).flatten()
        if not chosen.shape[0]:
            return
        places = chosen + rows.start
        t, radius = theta[places, rival], self.samples.radius[places]
        inside = form.inside(products, rows, chosen)
        found = form.attack(form.half(inside), radius, side.sign, shift[places, rival], solved=True)
        mean = found.against.mul_(-radius[:, None])
        moved = form.seen @ mean.T
        second = ((inside + moved) * t) @ mean
        second[:, found.varying] += form.seen[:, found.varying] * ((t * radius * radius) @ found.variance)
        second = second @ form.view.columns.T
        moved.mul_(t)
        start = 0
        # Neurons of k see what the margin of k gains, those of j the reverse; the side says whose points these are.
        for sign, own in zip((side.sign, -side.sign), form.places, strict=True):
            end = start + own.stop - own.start
            factors[own].index_add_(1, places, moved[start:end], alpha=sign)
            curved[own] += sign * second[start:end]
            start = end
        first = form.view.columns @ (t @ mean)
        firsts[side.own] += first
        firsts[rival] -= first
