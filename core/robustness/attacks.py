"""AttackSet on any classifier, on raw margins in double precision: a factor on the logits changes none of their steps.

Every attack keeps the best point that it met, and starts from what others found. `fgsm` is the one-step attack of
Goodfellow, Shlens and Szegedy (arXiv:1412.6572), on the margin, `fgsm_of_the_sum` on the wrong classes' scores;
`pgd` is that of Madry et al. (arXiv:1706.06083) with steps that shrink; `apgd` chooses its steps by itself (Croce and
Hein, arXiv:2003.01690, section 3); `search` and `towards_others` need no slopes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.arguments import whole
from cvxrobust.core.attacks.threat import AttackSet
from cvxrobust.core.errors import InputError
from cvxrobust.core.robustness.contest import Index
from cvxrobust.core.robustness.models import Guise, Model
from cvxrobust.core.strangers import shown

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Effort:
    """How hard attackers try.

    Args:
        steps: Steps from each start.
        restarts: Random starts besides the input itself.
        seed: Of everything random.

    Raises:
        InputError: One is no whole number, or too small.
    """

    steps: int = 40
    restarts: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("restarts", 0), ("seed", 0)):
            whole(getattr(self, name), name, least)


@dataclass
class Best:
    """The most damaging point of each row so far.

    Args:
        points: Shape (n, d).
        margins: Shape (n,).
    """

    points: Array
    margins: Array

    @classmethod
    def of(cls, model: Model, X: Array, index: Index) -> "Best":
        """Before any attack."""
        return cls(X.copy(), model.margins(X, index))

    def offer(self, points: Array, margins: Array) -> NDArray[np.bool_]:
        """Keep what is better; which rows that is, shape (n,)."""
        better = margins < self.margins
        self.points[better], self.margins[better] = points[better], margins[better]
        return better


RIVALS = 9
"""Other classes that are attacked towards, one by one: those that are nearest."""

Attack = Callable[[Model, AttackSet, Index, Best, Effort], None]
"""Betters the best points of rows, whose classes are given."""


def fgsm(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
    """One step of the whole radius in the steepest direction."""
    found = model.slopes(attacks.X, index)
    if found is None:
        return
    points = attacks.moved(attacks.radius[:, None] * attacks.steepest(found[1]))
    best.offer(points, model.margins(points, index))


def fgsm_of_the_sum(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
    """One step of the whole radius that raises the sum of the wrong classes' scores; of two classes it is `fgsm`.

    What some published figures rest on (arXiv:2405.14033 among them). The right class may rise with the others, so
    that it says less than `fgsm` about a classifier; give it alone as `attacks` to see those figures.
    """
    weights = np.ones((index.size, len(model.classes)))
    weights[np.arange(index.size), index] = 0.0
    found = model.pull(attacks.X, -weights)
    if found is None:
        return
    points = attacks.moved(attacks.radius[:, None] * attacks.steepest(found))
    best.offer(points, model.margins(points, index))


def pgd(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
    """Steepest steps that shrink from half the radius to nothing, from the input and from random points."""
    for points in _starts(attacks, best, effort):
        x = points
        for k in range(effort.steps):
            found = model.slopes(x, index)
            if found is None:
                return
            best.offer(x, found[0])
            step = (0.5 * (1.0 - k / effort.steps)) * attacks.radius[:, None]
            x = attacks.moved(x + step * attacks.steepest(found[1]) - attacks.X)
        best.offer(x, model.margins(x, index))


def apgd(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
    """Steps with momentum that are halved, back at the best point, wherever they have stopped paying."""
    steps = max(effort.steps, 4)
    for points in _starts(attacks, best, effort):
        found = model.slopes(points, index)
        if found is None:
            return
        own = Best(points.copy(), found[0].copy())
        slopes_there = found[1].copy()
        size = attacks.radius.copy()
        x, before, slope = points, points, found[1]
        gained, since, period = np.zeros(index.size), 0, max(int(0.22 * steps), 2)
        reference, reference_size = own.margins.copy(), size.copy()
        for _ in range(steps):
            straight = attacks.moved(x + size[:, None] * attacks.steepest(slope) - attacks.X)
            step = 0.75 * (straight - x) + 0.25 * (x - before)
            x, before = attacks.moved(x + step - attacks.X), x
            found = model.slopes(x, index)
            assert found is not None
            better = own.offer(x, found[0])
            slope, slopes_there[better] = found[1], found[1][better]
            gained, since = gained + better, since + 1
            if since == period:
                idle = (gained < 0.75 * since) | ((size == reference_size) & (own.margins >= reference))
                reference, reference_size = own.margins.copy(), size.copy()
                size = np.where(idle, 0.5 * size, size)
                x = np.where(idle[:, None], own.points, x)
                before = np.where(idle[:, None], own.points, before)
                slope = np.where(idle[:, None], slopes_there, slope)
                gained, since, period = np.zeros(index.size), 0, max(int(period - 0.03 * steps), 2)
        best.offer(own.points, own.margins)


@dataclass
class _Towards(Guise):
    """A classifier whose margins are those against one other class of each row."""

    rivals: Index

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        return self.view.margins(X, index, self.rivals)

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array] | None:
        return self.view.slopes(X, index, self.rivals)


def targeted(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
    """One step, then `apgd`, towards every other class: the class that is nearest first may not be the one to reach."""
    K, rows = len(model.classes), np.arange(index.size)
    if K == 2 or model.slopes(attacks.X[:1], index[:1]) is None:
        return
    away = np.full((index.size, K), np.inf)
    for shift in range(1, K):
        rival = (index + shift) % K
        away[rows, rival] = model.margins(attacks.X, index, rival)
    for rival in np.argsort(away, axis=1)[:, : min(RIVALS, K - 1)].T:
        view = _Towards(model, rival)
        own = Best.of(view, attacks.X, index)
        fgsm(view, attacks, index, own, effort)
        apgd(view, attacks, index, own, replace(effort, restarts=0))
        best.offer(own.points, model.margins(own.points, index))


def search(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
    """Random points, then changes of a few coordinates of the best one, fewer and fewer; no slopes are asked for.

    Of classifiers that answer labels alone there is nothing to follow: then it is a search at random, and along the
    axes, where trees have their thresholds.
    """
    rng = np.random.default_rng([effort.seed, 7])
    d, rounds = attacks.X.shape[1], 4 * effort.steps
    touchable = np.flatnonzero(attacks.ball.axes(d).power(2).sum(axis=0) > 0.0)
    if touchable.size == 0:
        return
    for k in range(rounds):
        if k % 4 == 0:
            points = attacks.moved(
                2.0 * attacks.radius[:, None] * attacks.steepest(rng.standard_normal(attacks.X.shape))
            )
        elif k % 4 == 1:
            axis = np.zeros_like(attacks.X)
            axis[np.arange(len(axis)), rng.choice(touchable, len(axis))] = rng.choice([-1.0, 1.0], len(axis))
            points = attacks.moved(attacks.radius[:, None] * attacks.steepest(axis) * rng.uniform(size=(len(axis), 1)))
        else:
            share = max(1.0 / touchable.size, 0.5 * (1.0 - k / rounds))
            chosen = rng.uniform(size=attacks.X.shape) < share
            other = attacks.sample(rng)
            points = attacks.moved(np.where(chosen, other, best.points) - attacks.X)
        best.offer(points, model.margins(points, index))


def towards_others(model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
    """As far as the radius reaches towards inputs of other labels: what labels alone give away, and trees, too."""
    predicted = model.predicted(attacks.X)
    rng = np.random.default_rng([effort.seed, 11])
    for _ in range(effort.steps):
        targets = rng.permutation(index.size)
        D = np.where((predicted[targets] != index)[:, None], attacks.X[targets] - attacks.X, 0.0)
        points = attacks.moved(D)
        best.offer(points, model.margins(points, index))


ATTACKS: dict[str, Attack] = {
    "fgsm": fgsm,
    "fgsm of the sum": fgsm_of_the_sum,
    "pgd": pgd,
    "apgd": apgd,
    "targeted": targeted,
    "search": search,
    "towards others": towards_others,
}
"""By name, the cheap ones first."""


def _starts(attacks: AttackSet, best: Best, effort: Effort) -> list[Array]:
    """The best points so far, and random ones."""
    rng = np.random.default_rng([effort.seed, 3])
    return [best.points.copy(), *(attacks.sample(rng) for _ in range(effort.restarts))]


def named_attacks(attacks: Any) -> dict[str, Attack]:
    """Attacks by name; all of ours for None.

    Raises:
        InputError: They are something else.
    """
    if attacks is None:
        return dict(ATTACKS)
    if isinstance(attacks, Mapping) and all(isinstance(name, str) and callable(attacks[name]) for name in attacks):
        return dict(attacks)
    raise InputError(
        f"attacks is {shown(attacks)}; expected attacks by name, for example {{'pgd': "
        "cvxrobust.core.robustness.attacks.pgd}, or None for all of ours."
    )
