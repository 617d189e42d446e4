"""The vocabulary and the judge: programmes, cones, networks, certificates, the registry and `solve`."""

from cvxrobust.core.backend import Backend, Capabilities, Monitor
from cvxrobust.core.certificate import Certificate, MomentMultipliers, PointMultipliers
from cvxrobust.core.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero, smat, svec
from cvxrobust.core.conic import ConicProgram
from cvxrobust.core.errors import (
    BackendUnavailableError,
    CvxRobustError,
    InputError,
    LicenceError,
    PluginError,
    UnknownNameError,
    UnsupportedProgramError,
)
from cvxrobust.core.gated_certificate import GatedMultipliers
from cvxrobust.core.hookspecs import BackendDescription, ProblemDescription, hookimpl
from cvxrobust.core.networks import PolynomialNetwork, WorstCase
from cvxrobust.core.problem import Attacks, Problem, RefinableProblem, RobustProblem
from cvxrobust.core.registry import backends, get_backend, plugins, problems
from cvxrobust.core.relu_network import ReLUNetwork
from cvxrobust.core.result import Quality, Result, Round, Solution, Termination, Times, TracePoint
from cvxrobust.core.settings import Settings
from cvxrobust.core.solve import solve
from cvxrobust.core.standardizer import Standardizer
from cvxrobust.core.structured import GatedProgram, PolynomialProgram
from cvxrobust.core.two_layer import TwoLayerNetwork

__all__ = [
    "PSD",
    "Attacks",
    "Backend",
    "BackendDescription",
    "BackendUnavailableError",
    "Capabilities",
    "Certificate",
    "Cone",
    "ConicProgram",
    "CvxRobustError",
    "Exponential",
    "GatedMultipliers",
    "GatedProgram",
    "InputError",
    "LicenceError",
    "MomentMultipliers",
    "Monitor",
    "NonNegative",
    "PluginError",
    "PointMultipliers",
    "PolynomialNetwork",
    "PolynomialProgram",
    "Problem",
    "ProblemDescription",
    "Quality",
    "ReLUNetwork",
    "RefinableProblem",
    "Result",
    "RobustProblem",
    "Round",
    "SecondOrder",
    "Settings",
    "Solution",
    "Standardizer",
    "Termination",
    "Times",
    "TracePoint",
    "TwoLayerNetwork",
    "UnknownNameError",
    "UnsupportedProgramError",
    "WorstCase",
    "Zero",
    "backends",
    "get_backend",
    "hookimpl",
    "plugins",
    "problems",
    "smat",
    "solve",
    "svec",
]
