"""Two-layer networks trained to certified global optimality, standard or adversarial, on any solver.

    from cvxrobust import AdversarialSDP, solve
    result = solve(AdversarialSDP(X, y, radius=0.3, beta=0.01))
    result.certificate.lower, result.certificate.upper, result.network.robust_accuracy(X, y, [0.1, 0.3])

See `solve` for the front door, `AdversarialSDP`, `StandardSDP`, `StreamedSDP` (data too large for memory),
`AdversarialReLU` and `ConvexReLU` for the problems, `backends` for the solvers, `evaluate_robustness` for how robust
any classifier is, whoever trained it.
"""

from typing import TYPE_CHECKING, Any

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
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.report import RobustnessReport
from cvxrobust.core.robustness.sanity import check_sanity
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve
from cvxrobust.problems.data.batches import Batches
from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP
from cvxrobust.problems.polynomial.standard_sdp import StandardSDP
from cvxrobust.problems.polynomial.streamed_sdp import StreamedSDP
from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU
from cvxrobust.problems.relu.convex_relu import ConvexReLU

if TYPE_CHECKING:
    from cvxrobust.problems.model_selection import PolynomialClassifierCV, ReLUClassifierCV
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
    "Certificate",
    "ConvexReLU",
    "CvxRobustError",
    "InputError",
    "LicenceError",
    "PathPoint",
    "PathResult",
    "PluginError",
    "PolynomialClassifier",
    "PolynomialClassifierCV",
    "PolynomialNetwork",
    "PolynomialRegressor",
    "Quality",
    "ReLUClassifier",
    "ReLUClassifierCV",
    "ReLUNetwork",
    "ReLURegressor",
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
    "plugins",
    "solve",
    "solve_path",
]


def __getattr__(name: str) -> Any:
    # scikit-learn takes half a second to import; whoever does not want the estimators need not wait for it.
    if name in ("PolynomialClassifier", "PolynomialRegressor", "ReLUClassifier", "ReLURegressor"):
        from cvxrobust.problems import sklearn_estimators as estimator

        return getattr(estimator, name)
    if name in ("PolynomialClassifierCV", "ReLUClassifierCV"):
        from cvxrobust.problems import model_selection

        return getattr(model_selection, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
