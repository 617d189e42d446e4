"""The vocabulary and the judge: programmes, cones, networks, certificates, the registry and `solve`.

Whoever writes a backend, a problem family or a metric imports from here (and from `cvxrobust.core.testing`): what the
rooms are called is nobody else's business.
"""

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.trust_region import minimize_on_sphere
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero, smat, svec, svec_indices
from cvxrobust.core.conic.program import ConicProgram, require_cones, row_order, upper_triangle_order
from cvxrobust.core.conic.residuals import residuals
from cvxrobust.core.contracts.backend import (
    Backend,
    Capabilities,
    ChecksSettings,
    Diagnoses,
    Finding,
    Monitor,
    RequiresAvailable,
    ShowsOptions,
    SolvesInTeam,
    SolvesTogether,
)
from cvxrobust.core.contracts.estimate import ConicSize, Estimate, Estimates
from cvxrobust.core.contracts.masters import Mirrors, Turns
from cvxrobust.core.contracts.parametric import Parametric
from cvxrobust.core.contracts.problem import (
    Attacks,
    ChangesCoordinates,
    Problem,
    RefinableProblem,
    Reports,
    RobustProblem,
)
from cvxrobust.core.contracts.result import Quality, Result, Round, Solution, Termination, Times, TracePoint
from cvxrobust.core.contracts.structured import require_attack, require_loss, require_multiclass, require_weights
from cvxrobust.core.contracts.weight import Weighed
from cvxrobust.core.discovery.hookspecs import BackendDescription, MetricDescription, ProblemDescription, hookimpl
from cvxrobust.core.discovery.measurement import measure
from cvxrobust.core.discovery.registry import backends, get_backend, plugins, problems, register
from cvxrobust.core.errors import (
    BackendUnavailableError,
    CvxRobustError,
    InputError,
    LicenceError,
    MissingExtraError,
    PluginError,
    TooLargeError,
    UnknownNameError,
    UnsupportedProgramError,
    WriteError,
)
from cvxrobust.core.files import whole_file
from cvxrobust.core.kit.interrupt import sigint_stops
from cvxrobust.core.kit.threads import blas_threads, torch_alone, torch_defaults, torch_threads
from cvxrobust.core.kit.translation import native_tolerance, unused_settings
from cvxrobust.core.kit.verdict import judged
from cvxrobust.core.losses.base import Loss, LossBlock
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.polynomial import PolynomialNetwork, WorstCase
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.paths.follow import solve_path
from cvxrobust.core.paths.result import PathPoint, PathResult
from cvxrobust.core.programs.gated.certificate import GatedMultipliers
from cvxrobust.core.programs.gated.program import GatedProgram
from cvxrobust.core.programs.joint.certificate import JointPoints
from cvxrobust.core.programs.joint.program import JointProgram
from cvxrobust.core.programs.polynomial.certificate import MomentMultipliers, PointMultipliers, coefficients
from cvxrobust.core.programs.polynomial.program import PolynomialProgram
from cvxrobust.core.programs.polynomial.recovery import neurons_from_matrix
from cvxrobust.core.settings import DTYPES, Settings, check_options
from cvxrobust.core.solving.invoke import solve_conic
from cvxrobust.core.solving.solve import solve

__all__ = [
    "DTYPES",
    "PSD",
    "AttackBall",
    "Attacks",
    "Backend",
    "BackendDescription",
    "BackendUnavailableError",
    "Capabilities",
    "Certificate",
    "ChangesCoordinates",
    "ChecksSettings",
    "Cone",
    "ConicProgram",
    "ConicSize",
    "CvxRobustError",
    "Diagnoses",
    "Ellipsoid",
    "Estimate",
    "Estimates",
    "Exponential",
    "Finding",
    "GatedMultipliers",
    "GatedProgram",
    "InputError",
    "JointPoints",
    "JointProgram",
    "LicenceError",
    "Loss",
    "LossBlock",
    "MetricDescription",
    "Mirrors",
    "MissingExtraError",
    "MomentMultipliers",
    "Monitor",
    "NonNegative",
    "Parametric",
    "PathPoint",
    "PathResult",
    "PluginError",
    "PointMultipliers",
    "PolynomialNetwork",
    "PolynomialProgram",
    "Problem",
    "ProblemDescription",
    "Quality",
    "ReLUNetwork",
    "RefinableProblem",
    "Reports",
    "RequiresAvailable",
    "Result",
    "RobustProblem",
    "Round",
    "SecondOrder",
    "Settings",
    "ShowsOptions",
    "Solution",
    "SolvesInTeam",
    "SolvesTogether",
    "Standardizer",
    "Termination",
    "Times",
    "TooLargeError",
    "TracePoint",
    "Turns",
    "TwoLayerNetwork",
    "UnknownNameError",
    "UnsupportedProgramError",
    "Weighed",
    "WorstCase",
    "WriteError",
    "Zero",
    "backends",
    "blas_threads",
    "check_options",
    "coefficients",
    "get_backend",
    "hookimpl",
    "judged",
    "loss_by_name",
    "measure",
    "minimize_on_sphere",
    "native_tolerance",
    "neurons_from_matrix",
    "plugins",
    "problems",
    "register",
    "require_attack",
    "require_cones",
    "require_loss",
    "require_multiclass",
    "require_weights",
    "residuals",
    "row_order",
    "sigint_stops",
    "smat",
    "solve",
    "solve_conic",
    "solve_path",
    "svec",
    "svec_indices",
    "torch_alone",
    "torch_defaults",
    "torch_threads",
    "unused_settings",
    "upper_triangle_order",
    "whole_file",
]
