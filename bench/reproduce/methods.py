"""Every method of the study behind one interface: a name, a grid of settings, and how a classifier is made of one.

All grids have the same number of settings, `BUDGET`, so no method may try more than another. They are listed
from the most regularised on: of settings that do equally well the first is chosen. Radii to train at are
hyperparameters like any other; nobody is told the threat.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from cvxrobust.bench.reproduce.tables import Lesson, StudyTable
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import UnknownNameError
from cvxrobust.core.settings import Settings

BUDGET = 12
"""Settings of every method."""

Setting = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingTerms:
    """What all methods are given alike.

    Args:
        tolerance: Relative certified gap to reach, of methods that certify their training.
        time_limit: Seconds for a fit.
        seed: Of everything random.
    """

    tolerance: float = 1e-3
    time_limit: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        Settings(tolerance=self.tolerance, time_limit=self.time_limit, seed=self.seed)  # refuses what is none


Maker = Callable[[Setting, Lesson, TrainingTerms], Any]


@dataclass(frozen=True)
class Method:
    """A way to train.

    Args:
        name: What reports call it.
        ours: Whether it is one of this package's.
        words: What it is.
        make: The classifier of a setting, not yet fitted.
        grid: The settings, all different.
        masked: Whether it trains against attacks that leave immutable columns alone: only for tables that have any.
        certified: Whether `evaluate_robustness` can certify it, in one norm at least.
        second: Whether it was added after a first look at results on training folds.
    """

    name: str
    ours: bool
    words: str
    make: Maker
    grid: tuple[Setting, ...]
    masked: bool = False
    certified: bool = True
    second: bool = False

    def fits(self, table: StudyTable) -> bool:
        """Whether it is for such a table."""
        return bool(table.immutable) or not self.masked

    def settings(self, budget: int) -> tuple[Setting, ...]:
        """As many settings as there may be, spread evenly over the grid."""
        chosen = np.unique(np.linspace(0, len(self.grid) - 1, min(budget, len(self.grid))).round().astype(int))
        return tuple(self.grid[k] for k in chosen)


def _grid(**values: Sequence[Any]) -> tuple[Setting, ...]:
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))


def plain(setting: Setting) -> dict[str, Any]:
    """A setting as it comes back from a file."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in setting.items()}


def _scale(masked: bool, lesson: Lesson) -> list[float] | None:
    return lesson.touchable.astype(np.float64).tolist() if masked else None


def _polynomial(masked: bool) -> Maker:
    def make(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
        from cvxrobust.problems.sklearn_estimators.classifiers import PolynomialClassifier

        return PolynomialClassifier(
            **setting, scale=_scale(masked, lesson), standardize=False, tolerance=terms.tolerance,
            time_limit=terms.time_limit,
        )  # fmt: skip

    return make


def _relu(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
    from cvxrobust.problems.sklearn_estimators.classifiers import ReLUClassifier

    return ReLUClassifier(
        **setting, random_state=terms.seed, standardize=False, tolerance=terms.tolerance, time_limit=terms.time_limit
    )


def _linear(masked: bool) -> Maker:
    def make(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
        from cvxrobust.bench.baselines.robust_linear import RobustLinear

        threat = Threat(setting["norm"], scale=_scale(masked, lesson))
        return RobustLinear(threat, setting["radius"], setting["beta"])

    return make


def _tree(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
    from cvxrobust.bench.baselines.robust_tree import RobustTree

    return RobustTree(Threat("inf"), **setting, min_samples_leaf=3, seed=terms.seed)


def _adversarial_network(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
    from cvxrobust.bench.baselines.adversarial_network import AdversarialNetwork

    return AdversarialNetwork(
        Threat(setting["norm"]), setting["radius"], n_neurons=20, beta=setting["beta"], epochs=40, steps=5,
        seed=terms.seed,
    )  # fmt: skip


def _quadratic(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
    from cvxrobust.bench.baselines.kernels import QuadraticSVC

    return QuadraticSVC(**setting)


def _gaussian(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
    from sklearn.svm import SVC

    return SVC(C=setting["C"], gamma=setting["gamma"] / lesson.X.shape[1])


def _forest(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
    from cvxrobust.bench.baselines.forest import Forest

    return Forest(100, **setting, random_state=terms.seed)


def _boosting(setting: Setting, lesson: Lesson, terms: TrainingTerms) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(**setting, subsample=0.7, random_state=terms.seed)


_NORMS = ((2, 0.0), (2, 0.1), (2, 0.3), (2, 0.6), ("inf", 0.05), ("inf", 0.15))
"""Norms and radii of methods that may train against either."""


def _either_norm(betas: Sequence[float]) -> tuple[Setting, ...]:
    return tuple({"norm": norm, "radius": radius, "beta": beta} for beta in betas for norm, radius in _NORMS)


_SDP = _grid(beta=(0.1, 0.02, 0.003), radius=(1.0, 0.6, 0.3, 0.1))
_BOX = _grid(beta=(0.1, 0.02, 0.003), radius=(0.3, 0.2, 0.1, 0.03), norm=("inf",))
_RELU = _grid(beta=(0.1, 0.02, 0.003), radius=(0.3, 0.2, 0.1, 0.03), norm=("inf",), n_gates=(10,))
_RELU_2 = _grid(beta=(0.1, 0.02, 0.003), radius=(1.0, 0.6, 0.3, 0.1), norm=(2,), n_gates=(10,))
_MORE, _MORE_2 = {"norm": ("inf",), "n_gates": (20,)}, {"norm": (2,), "n_gates": (20,)}

METHODS = {
    method.name: method
    for method in (
        Method(
            "standard-sdp", True, "polynomial network, not attacked in training", _polynomial(False),
            _grid(beta=(0.3, 0.1, 0.03, 0.01, 0.003, 0.001), loss=("hinge", "squared_hinge")),
        ),
        Method("adversarial-sdp", True, "polynomial network against l2 attacks", _polynomial(False), _SDP),
        Method(
            "adversarial-sdp-mask", True, "the same, immutable columns out of reach", _polynomial(True), _SDP,
            masked=True,
        ),
        Method(
            "adversarial-sdp-box", True, "polynomial network against linf attacks", _polynomial(False), _BOX,
        ),
        Method(
            "adversarial-sdp-box-mask", True, "the same, immutable columns out of reach", _polynomial(True), _BOX,
            masked=True,
        ),
        Method(
            "convex-relu", True, "one-sided ReLU network, not attacked in training", _relu,
            _grid(beta=(0.3, 0.1, 0.03, 0.01, 0.003, 0.001), n_gates=(10, 30)),
        ),
        Method("adversarial-relu-inf", True, "one-sided ReLU network against linf attacks", _relu, _RELU),
        Method("adversarial-relu-2", True, "one-sided ReLU network against l2 attacks", _relu, _RELU_2),
        Method(
            "robust-linear", False, "linear support vector machine against l2 or linf attacks", _linear(False),
            _either_norm((0.1, 0.003)),
        ),
        Method(
            "robust-linear-mask", False, "the same, immutable columns out of reach", _linear(True),
            _either_norm((0.1, 0.003)), masked=True,
        ),
        Method(
            "robust-tree", False, "decision tree grown against linf attacks (groot-trees)", _tree,
            _grid(max_depth=(2, 4, 6), radius=(0.3, 0.2, 0.1, 0.03)),
        ),
        Method(
            "pgd-network", False, "ReLU network of 20 neurons, trained by gradient descent on attacked rows",
            _adversarial_network, _either_norm((1e-2, 1e-4)),
        ),
        Method(
            "svc-quadratic", False, "support vector machine with quadratic kernel, certified as a network", _quadratic,
            _grid(C=(0.01, 0.1, 1.0, 10.0), gamma=(0.1, 0.3, 1.0)),
        ),
        Method(
            "svc-rbf", False, "support vector machine with Gaussian kernel", _gaussian,
            _grid(C=(0.1, 1.0, 10.0), gamma=(0.1, 0.3, 1.0, 3.0)), certified=False,
        ),
        Method(
            "forest", False, "random forest of 100 trees", _forest,
            _grid(max_depth=(3, 6, None), min_samples_leaf=(5, 1), max_features=("sqrt", 0.6)), certified=False,
        ),
        Method(
            "boosting", False, "gradient-boosted trees", _boosting,
            _grid(learning_rate=(0.05, 0.2), max_depth=(1, 2, 4), n_estimators=(50, 150)), certified=False,
        ),
        Method(
            "adversarial-sdp-wide", True, "polynomial network against l2 attacks, flatter or more curved, larger radii",
            _polynomial(False),
            _grid(beta=(0.2, 0.03), radius=(2.0, 1.0, 0.5), activation=((0.03, 0.5, 0.47), (0.3, 0.5, 0.47))),
            second=True,
        ),
        Method(
            "adversarial-relu-inf-wide", True, "ReLU network against linf attacks, more gates, larger beta, two losses",
            _relu, _grid(loss=("hinge", "squared_hinge"), beta=(0.3, 0.05), radius=(0.4, 0.25, 0.15), **_MORE),
            second=True,
        ),
        Method(
            "adversarial-relu-2-wide", True, "ReLU network against l2 attacks, more gates, larger beta, two losses",
            _relu, _grid(loss=("hinge", "squared_hinge"), beta=(0.3, 0.05), radius=(1.5, 0.8, 0.4), **_MORE_2),
            second=True,
        ),
    )
}  # fmt: skip
"""By name."""


def methods_named(names: Sequence[str] | None) -> tuple[Method, ...]:
    """Methods by name; None for all.

    Raises:
        UnknownNameError: There is none of such a name.
    """
    for name in names or ():
        if name not in METHODS:
            raise UnknownNameError("method", name, METHODS)
    return tuple(METHODS[name] for name in names or METHODS)
