"""The vocabulary and the judge: programmes, cones, networks, certificates, the registry and `solve`."""

from cvxrobust.core.conic.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero, smat, svec
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.backend import Backend, Capabilities, Monitor
from cvxrobust.core.contracts.problem import Attacks, Problem, RefinableProblem, RobustProblem
from cvxrobust.core.contracts.result import Quality, Result, Round, Solution, Termination, Times, TracePoint
from cvxrobust.core.discovery.hookspecs import BackendDescription, ProblemDescription, hookimpl
from cvxrobust.core.discovery.registry import backends, get_backend, plugins, problems
from cvxrobust.core.errors import (
    BackendUnavailableError,
    CvxRobustError,
    InputError,
    LicenceError,
    PluginError,
    UnknownNameError,
    UnsupportedProgramError,
)
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.polynomial import PolynomialNetwork, WorstCase
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.programs.gated.certificate import GatedMultipliers
from cvxrobust.core.programs.polynomial.certificate import Certificate, MomentMultipliers, PointMultipliers
from cvxrobust.core.programs.structured import GatedProgram, PolynomialProgram
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve

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
