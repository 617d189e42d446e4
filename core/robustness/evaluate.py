"""`evaluate_robustness`: a bracket of the robust accuracy of any classifier, that nobody has to believe."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.threat import AttackSet, Threat
from cvxrobust.core.errors import CvxRobustError, InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.robustness import trees
from cvxrobust.core.robustness.attacks import ATTACKS, Attack, Best, Effort
from cvxrobust.core.robustness.certificates import certifier_of
from cvxrobust.core.robustness.models import Index, Model, NetworkModel, as_model, places
from cvxrobust.core.robustness.report import RobustnessReport
from cvxrobust.core.validation import as_numbers

Array = NDArray[np.float64]


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
) -> RobustnessReport:
    """For every radius a bracket ``certified <= true robust accuracy <= attacked``.

    Below it are proofs: exact distances of polynomial networks against l2 attacks and ellipsoids, of linear classifiers
    and of decision trees in every norm; bounds of ReLU networks, and of polynomial ones in other norms. Of other
    classifiers nothing is proved. Above it are attacks on the raw margin in double precision. A row counts as turned
    wrong only if the attacked input passes the check here: it lies in the threat's set, and `predict` of the classifier
    as it is gives it another label. What breaks a row at a radius breaks it at every larger one.

    Args:
        model: A network of this package, a PyTorch module (rows to one logit, or to one per class; in eval mode), or a
            fitted classifier with scikit-learn's methods.
        X: Inputs, shape (n, d), as the model takes them.
        y: True labels, shape (n,).
        threat: The attacks; networks with a standardizer are attacked in standard deviations.
        radii: Shape (k,), each 0 or more.
        classes: Labels of a PyTorch module, in the order of its outputs (of one logit the label below 0 first); None
            for those in y, sorted.
        steps: Steps of iterative attacks from each start.
        restarts: Random starts besides the input itself.
        seed: Of everything random.
        exact_seconds: For exact worst cases of ReLU networks where bounds and attacks disagree; 0 for none.
        attacks: By name; None for all of ours (`cvxrobust.core.robustness.attacks.ATTACKS`).

    Raises:
        InputError: Data, labels, radii or the threat do not fit each other or the model.
        CvxRobustError: A row was certified and turned wrong, so that one of the two is false.
    """
    if steps < 1 or restarts < 0 or not exact_seconds >= 0.0:
        raise InputError(
            f"steps is {steps}, restarts {restarts} and exact_seconds {exact_seconds}; expected at least 1, 0 and 0."
        )
    asked = np.unique(as_numbers(radii, "radii", "expected finite values of 0 or more"))
    if not (asked.size and np.isfinite(asked).all() and (asked >= 0.0).all()):
        raise InputError(f"radii are {asked.tolist()}; expected finite values of 0 or more, at least one.")
    view = as_model(model, y, classes)
    rows = view.inputs(X)
    if rows.shape[0] == 0:
        raise InputError("X has no rows; expected at least one.")
    index = places(view.classes, y, rows.shape[0])
    centred = in_units(view, threat).on(rows)
    certifier = certifier_of(view, centred.ball, centred.ranged, exact_seconds)
    held = certifier.held(centred, index, np.array([centred.reaching(radius) for radius in asked]))
    tried = dict(ATTACKS if attacks is None else attacks)
    tried |= _own_attacks(view, centred, exact_seconds / asked.size)
    found = _attacked(view, centred, index, asked, tried, Effort(steps, restarts, seed))
    right = view.predicted(rows) == index
    if (wrong := held & right & ~found["alive"]).any():
        radius, row = (int(place) for place in np.argwhere(wrong)[0])
        raise CvxRobustError(
            f"row {row} was certified at radius {asked[radius]:g} by {certifier.words}, and {found['broken_by'][row]} "
            f"turned it wrong at {found['broken_at'][row]:g}: one of the two is a fault of this package; please report "
            "it."
        )
    back = _in_units_of(view, X, rows, found["points"])
    return RobustnessReport(
        asked,
        held & right,
        found["alive"],
        found["broken_by"],
        found["broken_at"],
        back,
        certifier.words,
        certifier.kind,
        view.units,
        found["refused"],
    )


def _attacked(
    model: Model, attacks: AttackSet, index: Index, radii: Array, tried: Mapping[str, Attack], effort: Effort
) -> dict[str, Any]:
    n = index.size
    alive = model.predicted(attacks.X) == index
    broken_by, broken_at = np.full(n, "", dtype=object), np.where(alive, np.inf, 0.0)
    broken_by[~alive] = "no attack"
    points, survivors = attacks.X.copy(), np.zeros((radii.size, n), dtype=np.bool_)
    refused: dict[str, int] = {}
    best = Best.of(model, attacks.X, index)
    for k, radius in enumerate(radii):
        for name, attack in tried.items() if radius > 0.0 else ():
            rows = np.flatnonzero(alive)
            if rows.size == 0:
                break
            own = attacks.of_radius(radius).of(rows)
            # What was found at a smaller radius is where the next attack starts.
            mine = Best(best.points[rows].copy(), best.margins[rows].copy())
            attack(model, own, index[rows], mine, effort)
            claimed = model.predicted(mine.points) != index[rows]
            allowed = own.allow(mine.points)
            if (claimed & ~allowed).any():
                refused[name] = refused.get(name, 0) + int((claimed & ~allowed).sum())
            best.points[rows[allowed]], best.margins[rows[allowed]] = mine.points[allowed], mine.margins[allowed]
            turned = rows[claimed & allowed]
            points[turned], broken_by[turned], broken_at[turned] = best.points[turned], name, radius
            alive[turned] = False
        survivors[k] = alive
    return {"alive": survivors, "broken_by": broken_by, "broken_at": broken_at, "points": points, "refused": refused}


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
        judged = inner.replace(ellipsoid=own.ball.ellipsoid)
        points = judged.worst_case(own.X, labels[index].tolist(), own.radius).points
        best.offer(points, model.margins(points, index))

    def mixed_integer(model: Model, own: AttackSet, index: Index, best: Best, effort: Effort) -> None:
        judged = inner.replace(norm=own.ball.norm, ellipsoid=own.ball.ellipsoid)
        found = judged.exact_worst_case(own.X, labels[index].tolist(), own.radius, time_limit=seconds)
        points = own.clipped(found.points)
        best.offer(points, model.margins(points, index))

    def leaf(model: Model, own: AttackSet, index: Index, best: Best, effort: Effort) -> None:
        points = trees.distances(inner, own.X, index, own.ball)[1]
        there = own.allow(points)
        best.offer(np.where(there[:, None], points, own.X), np.where(there, model.margins(points, index), np.inf))

    if isinstance(inner, PolynomialNetwork) and ball.geometry.isotropic and not attacks.ranged:
        return {"exact worst case": quadratic}
    if isinstance(inner, ReLUNetwork) and seconds:
        return {"exact worst case": mixed_integer}
    if trees.is_tree(inner) and (ball.ellipsoid is None or ball.ellipsoid.scale is not None):
        return {"nearest leaf": leaf}
    return {}


def in_units(view: Model, threat: Threat) -> Threat:
    """The threat with its range in the units that attacks are in."""
    network = view.model if isinstance(view, NetworkModel) else None
    if threat.bounds is None or network is None or network.standardizer is None:
        return threat
    assert isinstance(network, PolynomialNetwork | ReLUNetwork)
    d = network.n_features
    low, high = (np.broadcast_to(as_numbers(value, "bounds"), (d,)) for value in threat.bounds)
    mean, scale = network.standardizer.mean, network.standardizer.scale
    return Threat(
        threat.norm, threat.scale, threat.covariance, threat.directions, ((low - mean) / scale, (high - mean) / scale)
    )


def _in_units_of(view: Model, X: ArrayLike, rows: Array, points: Array) -> Array:
    """Attacked inputs in the units of X; rows that no attack moved stay as they are."""
    if not isinstance(view, NetworkModel) or view.model.standardizer is None:
        return points
    return as_numbers(X, "X") + (points - rows) * view.model.standardizer.scale
