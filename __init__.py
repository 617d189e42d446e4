"""Two-layer networks trained to certified global optimality, standard or adversarial, on any solver.

    from cvxrobust import AdversarialSDP, solve
    result = solve(AdversarialSDP(X, y, radius=0.3, beta=0.01))
    result.certificate.lower, result.certificate.upper, result.network.robust_accuracy(X, y, [0.1, 0.3])

See `solve` for the front door, `AdversarialSDP`, `StandardSDP`, `StreamedSDP` (data too large for memory), `JointSDP`
(several classes under one loss), `BoxSDP` (attacks in the norm inf), `AdversarialReLU` and `ConvexReLU` for the
problems, `backends` for the solvers, `evaluate_robustness` for how robust any classifier is, whoever trained it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvxrobust.core.attacks.threat import Threat
    from cvxrobust.core.certificate import Certificate
    from cvxrobust.core.contracts.result import Quality, Result, Termination
    from cvxrobust.core.discovery.registry import backends, plugins
    from cvxrobust.core.errors import (
        BackendUnavailableError,
        CvxRobustError,
        InputError,
        LicenceError,
        PluginError,
        UnknownNameError,
        UnsupportedProgramError,
        WriteError,
    )
    from cvxrobust.core.networks.load import load
    from cvxrobust.core.networks.polynomial import PolynomialNetwork
    from cvxrobust.core.networks.relu import ReLUNetwork
    from cvxrobust.core.networks.standardizer import Standardizer
    from cvxrobust.core.paths.follow import solve_path
    from cvxrobust.core.paths.result import PathPoint, PathResult
    from cvxrobust.core.pictures.regions import plot_decision_regions
    from cvxrobust.core.robustness.evaluate import evaluate_robustness
    from cvxrobust.core.robustness.report import RobustnessReport
    from cvxrobust.core.robustness.sanity import check_sanity
    from cvxrobust.core.settings import Settings
    from cvxrobust.core.solving.solve import solve
    from cvxrobust.problems.data.batches import Batches
    from cvxrobust.problems.model_selection import (
        PolynomialClassifierCV,
        PolynomialRegressorCV,
        ReLUClassifierCV,
        ReLURegressorCV,
    )
    from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP
    from cvxrobust.problems.polynomial.boxes.box_sdp import BoxSDP
    from cvxrobust.problems.polynomial.joint.joint_sdp import JointSDP
    from cvxrobust.problems.polynomial.standard_sdp import StandardSDP
    from cvxrobust.problems.polynomial.streamed_sdp import StreamedSDP
    from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU
    from cvxrobust.problems.relu.convex_relu import ConvexReLU
    from cvxrobust.problems.sklearn_estimators import (
        PolynomialClassifier,
        PolynomialRegressor,
        ReLUClassifier,
        ReLURegressor,
    )

__version__ = "0.1.0"

__all__ = [
    "AdversarialReLU",
    "AdversarialSDP",
    "BackendUnavailableError",
    "Batches",
    "BoxSDP",
    "Certificate",
    "ConvexReLU",
    "CvxRobustError",
    "InputError",
    "JointSDP",
    "LicenceError",
    "PathPoint",
    "PathResult",
    "PluginError",
    "PolynomialClassifier",
    "PolynomialClassifierCV",
    "PolynomialNetwork",
    "PolynomialRegressor",
    "PolynomialRegressorCV",
    "Quality",
    "ReLUClassifier",
    "ReLUClassifierCV",
    "ReLUNetwork",
    "ReLURegressor",
    "ReLURegressorCV",
    "Result",
    "RobustnessReport",
    "Settings",
    "StandardSDP",
    "Standardizer",
    "StreamedSDP",
    "Termination",
    "Threat",
    "UnknownNameError",
    "UnsupportedProgramError",
    "WriteError",
    "__version__",
    "backends",
    "check_sanity",
    "evaluate_robustness",
    "load",
    "plot_decision_regions",
    "plugins",
    "solve",
    "solve_path",
]


_NAMES = {
    "core.attacks.threat": "Threat",
    "core.certificate": "Certificate",
    "core.contracts.result": "Quality Result Termination",
    "core.discovery.registry": "backends plugins",
    "core.errors": "BackendUnavailableError CvxRobustError InputError LicenceError PluginError UnknownNameError "
    "UnsupportedProgramError WriteError",
    "core.networks.load": "load",
    "core.networks.polynomial": "PolynomialNetwork",
    "core.networks.relu": "ReLUNetwork",
    "core.networks.standardizer": "Standardizer",
    "core.paths.follow": "solve_path",
    "core.paths.result": "PathPoint PathResult",
    "core.pictures.regions": "plot_decision_regions",
    "core.robustness.evaluate": "evaluate_robustness",
    "core.robustness.report": "RobustnessReport",
    "core.robustness.sanity": "check_sanity",
    "core.settings": "Settings",
    "core.solving.solve": "solve",
    "problems.data.batches": "Batches",
    "problems.polynomial.adversarial_sdp": "AdversarialSDP",
    "problems.polynomial.boxes.box_sdp": "BoxSDP",
    "problems.polynomial.joint.joint_sdp": "JointSDP",
    "problems.polynomial.standard_sdp": "StandardSDP",
    "problems.polynomial.streamed_sdp": "StreamedSDP",
    "problems.relu.adversarial_relu": "AdversarialReLU",
    "problems.relu.convex_relu": "ConvexReLU",
    "problems.model_selection": "PolynomialClassifierCV PolynomialRegressorCV ReLUClassifierCV ReLURegressorCV",
    "problems.sklearn_estimators": "PolynomialClassifier PolynomialRegressor ReLUClassifier ReLURegressor",
}
"""Where each name of the public face lives, by module; what is imported above for type checkers says the same."""

_PLACES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    # A process that runs one case, or prints a version, need not wait for what it does not use.
    if name in ("core", "problems"):
        return import_module(f"cvxrobust.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"cvxrobust.{_PLACES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
