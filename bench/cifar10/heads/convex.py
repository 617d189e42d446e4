"""Heads by convex programmes, each with its certificate."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cvxrobust
from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    ConvexReLU,
    PolynomialNetwork,
    ReLUNetwork,
    Settings,
    Termination,
    solve,
)
from cvxrobust.core.environment import cpu_seconds

GATES = 10
"""Of ReLU heads, for each class."""

Numbers = NDArray[np.float64]
Network = PolynomialNetwork | ReLUNetwork


@dataclass(frozen=True)
class Programme:
    """What convex programme trains a head.

    Args:
        activation: "polynomial" or "relu".
        shape: Of attacks on features: "none", "l2", or "ellipsoid", the covariance of measured displacements.
        joint: One loss over all classes, Crammer and Singer's; else one class against the others, ten times.
    """

    activation: str
    shape: str = "none"
    joint: bool = False


@dataclass(frozen=True)
class SolvingTerms:
    """How it is solved.

    Args:
        seconds: Time limit.
        tolerance: Relative certified gap.
        device: Of the backend.
        threads: None leaves the machine's default.
    """

    seconds: float
    tolerance: float
    device: str
    threads: int | None


@dataclass(frozen=True, eq=False)
class HeadData:
    """What heads are trained on.

    Args:
        Z: Standardised features, shape (n, d).
        labels: Shape (n,).
        covariance: Of displacements that pixel attacks cause, shape (d, d).
    """

    Z: Numbers
    labels: NDArray[np.int64]
    covariance: Numbers

    def first(self, n: int) -> "HeadData":
        """The first n rows."""
        return HeadData(self.Z[:n], self.labels[:n], self.covariance)


def joint_is_known() -> bool:
    """Whether this version of the package trains all classes of a polynomial network with one loss."""
    return hasattr(cvxrobust, "JointSDP")


def joint_problem(X: Numbers, y: NDArray[np.int64], radius: float, beta: float, **further: Any) -> Any:
    """Crammer and Singer's loss of all classes; see `cvxrobust.JointSDP`."""
    return vars(cvxrobust)["JointSDP"](X, y, radius=radius, beta=beta, **further)


def problem_of(programme: Programme, data: HeadData, radius: float, beta: float) -> Any:
    """The problem, without attacks if the programme has none.

    Args:
        programme: Of which kind.
        data: The features.
        radius: Of attacks, in their shape.
        beta: Weight of the penalty.
    """
    reach = 0.0 if programme.shape == "none" else radius
    covariance = data.covariance if programme.shape == "ellipsoid" else None
    if programme.activation == "relu":
        if not reach:
            return ConvexReLU(data.Z, data.labels, beta=beta, n_gates=GATES, bias=True)
        return AdversarialReLU(
            data.Z, data.labels, radius=reach, norm=2, covariance=covariance, beta=beta, n_gates=GATES, bias=True
        )
    if programme.joint:
        return joint_problem(data.Z, data.labels, reach, beta, covariance=covariance)
    return AdversarialSDP(data.Z, data.labels, radius=reach, covariance=covariance, beta=beta)


def solve_head(problem: Any, terms: SolvingTerms, start: Network | None = None) -> tuple[Network, dict[str, Any]]:
    """Solve, and say how far that came.

    Args:
        problem: Of any kind.
        terms: How.
        start: A network to begin with.

    Returns:
        The network, and a row with its certificate. It is called converged if, and only if, the gap that was
        certified is what was asked for.

    Raises:
        KeyboardInterrupt: Somebody interrupted it.
    """
    began, used = time.perf_counter(), cpu_seconds()
    settings = Settings(tolerance=terms.tolerance, time_limit=terms.seconds, threads=terms.threads, device=terms.device)
    result = solve(problem, backend="torch", settings=settings, warm_start=start)
    if result.termination is Termination.INTERRUPTED:
        raise KeyboardInterrupt  # `solve` gives back the best so far; a study does not take that for the head
    parts = [part.certificate.relative_gap for part in result.parts or ()]
    row = {
        "lower": result.certificate.lower,
        "upper": result.certificate.upper,
        "gap": result.certificate.relative_gap,
        "worst_gap": max([result.certificate.relative_gap, *parts]),
        "converged": result.certificate.relative_gap <= terms.tolerance,
        "constant": sum(part.objective(part.trivial_network()) for part in problem.parts),
        "termination": str(result.termination),
        "quality": str(result.quality),
        "neurons": int(result.network.u.shape[0]),
        "peak_memory": result.peak_memory,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": cpu_seconds() - used,
    }
    return result.network, row
