"""The problem families, registered as a stranger's would be."""

from typing import Any

from cvxrobust.core.discovery.hookspecs import ProblemDescription, hookimpl


def _standard_sdp() -> Any:
    from cvxrobust.problems.polynomial.standard_sdp import StandardSDP

    return StandardSDP


def _adversarial_sdp() -> Any:
    from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP

    return AdversarialSDP


def _convex_relu() -> Any:
    from cvxrobust.problems.relu.convex_relu import ConvexReLU

    return ConvexReLU


def _adversarial_relu() -> Any:
    from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU

    return AdversarialReLU


@hookimpl
def cvxrobust_problems() -> list[ProblemDescription]:
    """The families with polynomial and with ReLU activation."""
    shared = ("beta", "loss", "activation")
    relu = ("beta", "loss", "formulation", "n_gates", "seed", "bias", "regate", "multiclass")
    return [
        ProblemDescription("standard-sdp", _standard_sdp, "polynomial activation, no adversary", shared),
        ProblemDescription(
            "adversarial-sdp", _adversarial_sdp, "polynomial activation, l2 adversary", ("radius", *shared)
        ),
        ProblemDescription("convex-relu", _convex_relu, "ReLU activation, no adversary", relu),
        ProblemDescription(
            "adversarial-relu",
            _adversarial_relu,
            "ReLU activation, adversary in the norm inf, 2 or 1",
            ("radius", "norm", "bound", "resample", *relu),
        ),
    ]
