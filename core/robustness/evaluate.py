"""`evaluate_robustness`: a bracket of the robust accuracy of any classifier, that nobody has to believe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import number, whole
from cvxrobust.core.attacks.radii import asked_radii
from cvxrobust.core.attacks.threat import AttackSet, Threat, checked_threat
from cvxrobust.core.errors import CvxRobustError, InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.relu_contests import exact_margins
from cvxrobust.core.robustness import trees
from cvxrobust.core.robustness.attacks import Attack, Best, Effort, named_attacks
from cvxrobust.core.robustness.boxes import CoordinateDescent, judges_boxes
from cvxrobust.core.robustness.certificates import Certifier, Held, certifier_of
from cvxrobust.core.robustness.contest import Array, Index
from cvxrobust.core.robustness.models import Model, NetworkModel, as_model, places
from cvxrobust.core.robustness.report import RobustnessReport

CHUNK = 4_000_000
"""Numbers that the inputs of rows that are attacked together may have; attacks keep some dozen arrays of this size."""

DESCENT = "coordinate descent"

AUDIT = 200
"""Certified rows that are attacked all the same: an attack takes a thousand times as long as a distance."""


def evaluate_robustness(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    threat: Threat,
    radii: ArrayLike,
    *,
    classes: Sequence[Any] | None = None,
    steps: int = 40,
    restarts: int = 2,
    seed: int = 0,
    exact_seconds: float = 0.0,
    attacks: Mapping[str, Attack] | None = None,
    audit: int = AUDIT,
    batch: int | None = None,
    double: bool = True,
) -> RobustnessReport:
    """For every radius a bracket ``certified <= true robust accuracy <= attacked``.

    Below it are proofs: exact distances of polynomial networks against l2 attacks and ellipsoids, of linear classifiers
    and of decision trees in every norm; bounds of ReLU networks, of polynomial ones in boxes (the norm inf, within the
    range of the inputs if there is one), and, loosely, in norm 1. Of other classifiers nothing is proved. Above it are
    attacks on the raw margin in double precision. A row counts as turned wrong only if the attacked input passes the
    check here: it lies in the threat's set, and `predict` of the classifier as it is gives it another label. What
    breaks a row at a radius breaks it at every larger one. Of rows with a certificate some are attacked all the same,
    to find it out if it is false.

    Memory is bounded: rows are attacked some megabytes at a time, and modules see them in batches.

    Args:
        model: A network of this package, a PyTorch module (rows to one logit, or to one per class; in eval mode), or a
            fitted classifier with scikit-learn's methods.
        X: Inputs as the model takes them, shape (n, d); modules may take other shapes, as (n, channels, height, width),
            in which scales and ranges may come, too, and attacked inputs come back.
        y: True labels, shape (n,).
        threat: The attacks; networks with a standardizer are attacked in standard deviations. The range of images is
            ``Threat("inf", bounds=(0, 1))``, or whatever their numbers are in.
        radii: Shape (k,), each 0 or more.
        classes: Labels of a PyTorch module, in the order of its outputs (of one logit the label below 0 first); None
            for those in y, sorted.
        steps: Steps of iterative attacks from each start.
        restarts: Random starts besides the input itself.
        seed: Of everything random.
        exact_seconds: For exact worst cases of ReLU networks, and of polynomial ones in boxes, where bounds and attacks
            disagree; 0 for none.
        attacks: By name; None for all of ours (`cvxrobust.core.robustness.attacks.ATTACKS`). Those of other packages:
            `cvxrobust.core.robustness.outside`.
        audit: How many of the rows, drawn at random, are attacked, too, at the largest radius at which they are
            certified.
        batch: Rows that a PyTorch module sees at a time; None for as many as are no burden.
        double: Whether margins and slopes of PyTorch modules are those of a copy in double precision. Without, they are
            those of the module as it is: of convolutions several times as fast, a little coarser, and factors on logits
            can then drown the slopes of small differences. What counts as turned wrong is the same.

    Raises:
        InputError: Data, labels, radii or the threat do not fit each other or the model.
        CvxRobustError: A row was certified and turned wrong, so that one of the two is false.
    """
    effort, threat = Effort(steps, restarts, seed), checked_threat(threat)
    whole(audit, "audit", 0)
    exact_seconds = number(exact_seconds, "exact_seconds", "seconds of 0 or more", lambda seconds: seconds >= 0.0)
    ours = named_attacks(attacks)
    asked = np.unique(asked_radii(radii, least=1))
    view = as_model(model, y, classes, batch, double)
    rows = view.inputs(X)
    if rows.shape[0] == 0:
        raise InputError("X has no rows; expected at least one.")
    index = places(view.classes, y, rows.shape[0])
    centred = view.stated(threat).on(rows)
    certifier = certifier_of(view, centred.ball, centred.ranged, exact_seconds)
    right = view.predicted(rows) == index
    held = right & certifier.held(centred, index, np.array([centred.reaching(radius) for radius in asked]))
    chunks = _chunks(*rows.shape)
    ours = _with_own_attacks(ours, view, centred, exact_seconds / asked.size / len(chunks), alone=attacks is not None)
    campaign = _Campaign(view, asked, ours, effort)
    spared = _spared(held, np.random.default_rng([seed, 13]).permutation(index.size) < audit)
    found = _Broken.joined(
        [campaign.against(centred.of(part), index[part], right[part], spared[:, part]) for part in chunks]
    )
    _check_agreement(asked, held, found, certifier)
    return RobustnessReport(
        asked, held, found.alive, found.broken_by, found.broken_at, view.returned(X, rows, found.points),
        certifier.words, certifier.kind, view.units, found.refused, view.notes,
    )  # fmt: skip


def _spared(held: Held, audited: Held) -> Held:
    """Which rows nobody attacks at each radius, shape (k, n): certified ones, but for audited ones at their last."""
    last = held.copy()
    last[:-1] &= ~held[1:]
    return np.asarray(held & ~(last & audited))


def _check_agreement(radii: Array, held: Held, found: "_Broken", certifier: Certifier) -> None:
    if not (wrong := held & ~found.alive).any():
        return
    k, row = (int(place) for place in np.argwhere(wrong)[0])
    raise CvxRobustError(
        f"row {row} was certified at radius {radii[k]:g} by {certifier.words}, and {found.broken_by[row]} turned it"
        f" wrong at {found.broken_at[row]:g}: one of the two is a fault of this package; please report it."
    )


@dataclass(frozen=True)
class _Campaign:
    """What is tried against a classifier at every radius."""

    model: Model
    radii: Array
    attacks: Mapping[str, Attack]
    effort: Effort

    def against(self, attacks: AttackSet, index: Index, right: Held, spared: Held) -> "_Broken":
        """What comes of it.

        Args:
            attacks: What may be done to the rows.
            index: Their classes, shape (n,).
            right: Which of them are right as they are, shape (n,).
            spared: Which are not attacked at each radius, shape (k, n).
        """
        best = Best.of(self.model, attacks.X, index)
        found = _Broken.of(attacks.X, right, self.radii.size)
        alive = right.copy()
        for k, radius in enumerate(self.radii):
            for name, attack in self.attacks.items() if radius > 0.0 else ():
                rows = np.flatnonzero(alive & ~spared[k])
                if rows.size == 0:
                    break
                own = attacks.of_radius(radius).of(rows)
                # What was found at a smaller radius is where the next attack starts.
                mine = Best(best.points[rows].copy(), best.margins[rows].copy())
                attack(self.model, own, index[rows], mine, self.effort)
                claimed = self.model.predicted(mine.points) != index[rows]
                allowed = own.allow(mine.points)
                if (claimed & ~allowed).any():
                    found.refused[name] = found.refused.get(name, 0) + int((claimed & ~allowed).sum())
                best.points[rows[allowed]], best.margins[rows[allowed]] = mine.points[allowed], mine.margins[allowed]
                turned = rows[claimed & allowed]
                found.points[turned] = best.points[turned]
                found.broken_by[turned], found.broken_at[turned] = name, radius
                alive[turned] = False
            found.alive[k] = alive
        return found


@dataclass(frozen=True)
class _Broken:
    """What attacks did to some rows; its fields are those of the report."""

    alive: Held
    broken_by: NDArray[Any]
    broken_at: Array
    points: Array
    refused: dict[str, int]

    @classmethod
    def of(cls, X: Array, right: Held, k: int) -> "_Broken":
        """Before any attack, at k radii."""
        broken_by, broken_at = np.full(right.size, "", dtype=object), np.where(right, np.inf, 0.0)
        broken_by[~right] = "no attack"
        return cls(np.zeros((k, right.size), dtype=np.bool_), broken_by, broken_at, X.copy(), {})

    @classmethod
    def joined(cls, parts: Sequence["_Broken"]) -> "_Broken":
        """Of rows that follow each other."""
        refused = {name: sum(part.refused.get(name, 0) for part in parts) for part in parts for name in part.refused}
        return cls(
            np.concatenate([part.alive for part in parts], axis=1),
            np.concatenate([part.broken_by for part in parts]),
            np.concatenate([part.broken_at for part in parts]),
            np.concatenate([part.points for part in parts]),
            refused,
        )


def _chunks(n: int, d: int) -> list[Index]:
    size = max(1, CHUNK // max(1, d))
    return [np.arange(start, min(start + size, n), dtype=np.intp) for start in range(0, n, size)]


def _with_own_attacks(
    tried: dict[str, Attack], view: Model, attacks: AttackSet, seconds: float, *, alone: bool
) -> dict[str, Attack]:
    """Exact attacks come first, where others are left with nothing; those that take long come last.

    What is not exact stays away where others shall be alone.
    """
    own = _own_attacks(view, attacks, seconds)
    if alone:
        own.pop(DESCENT, None)
    return tried | own if seconds and own else own | tried


def _own_attacks(view: Model, attacks: AttackSet, seconds: float) -> dict[str, Attack]:
    """What only some classifiers admit: exact worst cases of ours, and the nearest leaves of trees.

    Args:
        view: The classifier.
        attacks: Those on all rows.
        seconds: For exact worst cases of ReLU networks at each radius.
    """
    ball = attacks.ball
    inner: Any = view.inner if isinstance(view, NetworkModel) else view.model
    labels = np.asarray(view.classes, dtype=object)

    def quadratic(model: Model, own: AttackSet, index: Index, best: Best, effort: Effort) -> None:
        judged = inner.replace(norm=own.ball.norm, ellipsoid=own.ball.ellipsoid)
        points = judged.worst_case(own.X, labels[index].tolist(), own.radius).points
        best.offer(points, model.margins(points, index))

    def mixed_integer(model: Model, own: AttackSet, index: Index, best: Best, effort: Effort) -> None:
        X, ball = own.cut_off()
        found = exact_margins(inner, X, labels[index].tolist(), index, ball, seconds)
        points = own.clipped(found.points)
        best.offer(points, model.margins(points, index))

    def leaf(model: Model, own: AttackSet, index: Index, best: Best, effort: Effort) -> None:
        points = trees.distances(inner, own.X, index, own.ball)[1]
        there = own.allow(points)
        best.offer(np.where(there[:, None], points, own.X), np.where(there, model.margins(points, index), np.inf))

    if isinstance(inner, PolynomialNetwork) and judges_boxes(inner, ball):
        return {DESCENT: CoordinateDescent(inner)}
    if isinstance(inner, PolynomialNetwork) and ball.geometry.isotropic and not attacks.ranged:
        return {"exact worst case": quadratic}
    if isinstance(inner, ReLUNetwork) and seconds:
        return {"exact worst case": mixed_integer}
    if trees.is_tree(inner) and (ball.ellipsoid is None or ball.ellipsoid.scale is not None):
        return {"nearest leaf": leaf}
    return {}
