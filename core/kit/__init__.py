"""What authors of backends would otherwise write anew: what is best so far and when to stop, devices, threads, Ctrl-C,
settings in a solver's words."""

from cvxrobust.core.kit.best_so_far import BestSoFar
from cvxrobust.core.kit.calls import call_backend, network_to_start_from, require_structured
from cvxrobust.core.kit.deadline import Deadline
from cvxrobust.core.kit.devices import resolve_device
from cvxrobust.core.kit.gated import GatedBest
from cvxrobust.core.kit.interrupt import sigint_stops
from cvxrobust.core.kit.neurons import factorised_objective, network_of, scaled_neurons
from cvxrobust.core.kit.own_axes import in_own_axes
from cvxrobust.core.kit.polynomial import PolynomialBest
from cvxrobust.core.kit.threads import blas_threads, torch_alone, torch_defaults, torch_threads
from cvxrobust.core.kit.translation import native_tolerance, unused_settings
from cvxrobust.core.kit.verdict import judged

__all__ = [
    "BestSoFar",
    "Deadline",
    "GatedBest",
    "PolynomialBest",
    "blas_threads",
    "call_backend",
    "factorised_objective",
    "in_own_axes",
    "judged",
    "native_tolerance",
    "network_of",
    "network_to_start_from",
    "require_structured",
    "resolve_device",
    "scaled_neurons",
    "sigint_stops",
    "torch_alone",
    "torch_defaults",
    "torch_threads",
    "unused_settings",
]
