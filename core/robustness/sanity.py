"""Is an evaluation to be believed? Checks that attacks pass if they are any good, after Carlini et al.

AttackSet that overstate robustness betray themselves: a larger radius helps them no more than a smaller one, one step
does better than many, noise does as well, or a factor on the logits changes what they find.

Source: Carlini et al. (2019), On evaluating adversarial robustness, arXiv:1902.06705; Athalye, Carlini and Wagner
(2018), Obfuscated gradients give a false sense of security, arXiv:1802.00420.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cvxrobust.core.arguments import number, whole
from cvxrobust.core.attacks.threat import AttackSet, Threat, checked_threat
from cvxrobust.core.robustness.attacks import ATTACKS, Best, Effort, apgd, fgsm, pgd
from cvxrobust.core.robustness.certificates import certifier_of
from cvxrobust.core.robustness.contest import Array, Index
from cvxrobust.core.robustness.models import Guise, Model, as_model, places

SCALES = (30.0, 1000.0)
FLAT = 0.05
"""Share of rows without a slope above which attacks that follow slopes are blind."""

UNBOUNDED = 1e3
"""Lengths of the largest input that an attack without bounds may be long."""


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, whether it is as it should be, and the figures."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class SanityReport:
    """What the checks found.

    Args:
        checks: In the order in which they were made.
    """

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all are as they should be."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        checks = [{"name": check.name, "passed": check.passed, "found": check.found} for check in self.checks]
        return {"passed": self.passed, "checks": checks}

    def __str__(self) -> str:
        return "\n".join(f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.found}" for check in self.checks)


@dataclass
class _Scaled(Guise):
    """A classifier with its logits times a factor."""

    factor: float

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        return self.factor * self.view.margins(X, index, rivals)

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array] | None:
        found = self.view.slopes(X, index, rivals)
        return None if found is None else (self.factor * found[0], self.factor * found[1])


@dataclass
class _Trial:
    """A classifier, its rows and the attacks on them."""

    view: Model
    attacks: AttackSet
    index: Index
    effort: Effort

    def accuracy(self, names: Sequence[str], factor: float = 1.0, more: int = 1, view: Model | None = None) -> float:
        """What some attacks leave, at `factor` times the radius, with `more` times the effort."""
        attacked = self.attacks.of_radius(factor * float(self.attacks.radius[0]))
        effort = Effort(more * self.effort.steps, more * self.effort.restarts, self.effort.seed)
        guide = self.view if view is None else view
        alive = self.view.predicted(attacked.X) == self.index
        best = Best.of(guide, attacked.X, self.index)
        for name in names:
            ATTACKS[name](guide, attacked, self.index, best, effort)
            alive &= (self.view.predicted(best.points) == self.index) | ~attacked.allow(best.points)
        return float(alive.mean())

    def noise(self) -> float:
        """What random points leave, as many as an attack has steps."""
        rng, alive = np.random.default_rng(self.effort.seed), self.view.predicted(self.attacks.X) == self.index
        for _ in range(self.effort.steps):
            alive &= self.view.predicted(self.attacks.sample(rng)) == self.index
        return float(alive.mean())

    def transfer(self) -> float:
        """What attacks on a linear imitation of the classifier leave."""
        from sklearn.linear_model import LogisticRegression

        labels = self.view.predicted(self.attacks.X)
        if np.unique(labels).size < 2:
            return float((labels == self.index).mean())
        imitation = as_model(LogisticRegression(max_iter=1000).fit(self.attacks.X, labels), labels)
        seen = np.unique(labels)
        known = np.flatnonzero(np.isin(self.index, seen))
        alive, own = labels == self.index, self.attacks.of(known)
        place = np.searchsorted(seen, self.index[known]).astype(np.intp)
        best = Best.of(imitation, own.X, place)
        for attack in (fgsm, pgd, apgd):
            attack(imitation, own, place, best, self.effort)
        alive[known] &= self.view.predicted(best.points) == self.index[known]
        return float(alive.mean())


def check_sanity(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    threat: Threat,
    radius: float,
    *,
    classes: Sequence[Any] | None = None,
    steps: int = 40,
    restarts: int = 2,
    seed: int = 0,
    slack: float = 0.01,
) -> SanityReport:
    """Whether what attacks leave of a classifier's accuracy at a radius is to be believed.

    Args:
        model: As for `cvxrobust.evaluate_robustness`.
        X: Inputs, shape (n, d).
        y: True labels, shape (n,).
        threat: The attacks.
        radius: The radius to look at, above 0.
        classes: As there.
        steps: As there.
        restarts: As there.
        seed: As there.
        slack: By what share of the rows what should not change may change.

    Raises:
        InputError: As there.
    """
    radius = number(radius, "radius", "a number above 0", lambda one: one > 0.0)
    slack = number(slack, "slack", "a share of 0 or more", lambda share: share >= 0.0)
    whole(restarts, "restarts", 0)
    effort, threat = Effort(steps, max(restarts, 1), seed), checked_threat(threat)
    view = as_model(model, y, classes)
    rows = view.inputs(X)
    index = places(view.classes, y, rows.shape[0])
    attacks = view.stated(threat).on(rows)
    trial = _Trial(view, attacks.of_radius(radius), index, effort)
    sloped = view.slopes(rows[:1], index[:1]) is not None
    names = ["pgd", "apgd", "targeted"] if sloped else ["search", "towards others"]
    full = trial.accuracy(names)
    slack = max(slack, 1.0 / rows.shape[0] + 1e-12)
    checks = [_monotone(trial, names, full, slack)]
    if sloped:
        one = trial.accuracy(["fgsm"])
        checks.append(Check("many steps are no weaker than one", full <= one + 1e-12, f"{full:.4f} <= {one:.4f}"))
    twice = trial.accuracy(names, more=2)
    checks.append(Check("twice the effort changes nothing", full - twice <= slack, f"{full:.4f} -> {twice:.4f}"))
    noise, transfer = trial.noise(), trial.transfer()
    checks.append(Check("noise is weaker", full <= noise + slack, f"{full:.4f} <= {noise:.4f}"))
    checks.append(Check("transfer is weaker", full <= transfer + slack, f"{full:.4f} <= {transfer:.4f}"))
    scaled = [trial.accuracy(names, view=_Scaled(view, factor)) for factor in SCALES]
    found = ", ".join(f"x{factor:g}: {value:.4f}" for factor, value in zip(SCALES, scaled, strict=True))
    checks.append(Check("the scale of logits changes nothing", set(scaled) == {full}, f"x1: {full:.4f}, {found}"))
    checks += [_slopes(trial, sloped), _unbounded(trial, names, slack)]
    return SanityReport(tuple(checks))


def _monotone(trial: _Trial, names: Sequence[str], full: float, slack: float) -> Check:
    values = [trial.accuracy(names, 0.5), full, trial.accuracy(names, 2.0)]
    falls = all(late <= early + slack for early, late in pairwise(values))
    return Check("larger radii are stronger", falls, " >= ".join(f"{value:.4f}" for value in values))


def _slopes(trial: _Trial, sloped: bool) -> Check:
    name = "slopes lead somewhere"
    if not sloped:
        return Check(name, True, "none are known: attacks search without")
    found = trial.view.slopes(trial.attacks.X, trial.index)
    assert found is not None
    seen = np.asarray(trial.attacks.ball.dual_norm(found[1]))
    share = float((seen <= np.finfo(np.float64).tiny).mean())
    return Check(name, share <= FLAT, f"{100.0 * share:.1f} % of rows have none")


def _unbounded(trial: _Trial, names: Sequence[str], slack: float) -> Check:
    """AttackSet of any length leave nothing but rows that no length turns wrong."""
    name, attacks = "attacks without bounds leave nothing", trial.attacks
    radius = UNBOUNDED * max(1.0, float(np.abs(attacks.X).max(initial=0.0)))
    if not attacks.movable:
        return Check(name, True, "not tried: no input can be moved")
    fixed = attacks.ball.ellipsoid is not None and len(attacks.ball.ellipsoid.immutable) > 0
    if attacks.ranged and (fixed or np.unique(trial.view.predicted(attacks.X)).size < 2):
        return Check(name, True, "not tried: inputs have a range, and who knows what lies in it")
    # In a range every row can be moved to where another one is: that is tried, besides the rest.
    tried = [*names, "fgsm", "search", "towards others"] if attacks.ranged else [*names, "fgsm", "search"]
    left = trial.accuracy(tried, radius / float(attacks.radius[0]))
    certifier = certifier_of(trial.view, attacks.ball, attacks.ranged, 0.0)
    held = certifier.held(attacks, trial.index, np.array([radius]))
    sure = float((held[0] & (trial.view.predicted(attacks.X) == trial.index)).mean())
    if certifier.kind == "none" and fixed:
        return Check(name, True, f"{left:.4f} left, and nobody knows what inputs decide that cannot be moved")
    return Check(name, left <= sure + slack, f"{left:.4f} left, {sure:.4f} proved to be")
