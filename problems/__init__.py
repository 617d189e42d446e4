"""The problem families, registered as a stranger's would be."""

from typing import TYPE_CHECKING

from cvxrobust.core.discovery.hookspecs import ProblemDescription, hookimpl

if TYPE_CHECKING:
    from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP
    from cvxrobust.problems.polynomial.joint.joint_sdp import JointSDP
    from cvxrobust.problems.polynomial.standard_sdp import StandardSDP
    from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU
    from cvxrobust.problems.relu.convex_relu import ConvexReLU


def _standard_sdp() -> "type[StandardSDP]":
    from cvxrobust.problems.polynomial.standard_sdp import StandardSDP

    return StandardSDP


def _adversarial_sdp() -> "type[AdversarialSDP]":
    from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP

    return AdversarialSDP


def _joint_sdp() -> "type[JointSDP]":
    from cvxrobust.problems.polynomial.joint.joint_sdp import JointSDP

    return JointSDP


def _convex_relu() -> "type[ConvexReLU]":
    from cvxrobust.problems.relu.convex_relu import ConvexReLU

    return ConvexReLU


def _adversarial_relu() -> "type[AdversarialReLU]":
    from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU

    return AdversarialReLU


@hookimpl
def cvxrobust_problems() -> list[ProblemDescription]:
    """The families with polynomial and with ReLU activation."""
    weights, ranged = ("class_weight", "sample_weight"), ("bounds", "outside")
    shared = ("beta", "loss", "activation", *weights)
    relu = ("beta", "loss", "formulation", "n_gates", "seed", "bias", "regate", "multiclass", *weights)
    return [
        ProblemDescription("standard-sdp", _standard_sdp, "polynomial activation, no adversary", shared),
        ProblemDescription(
            "adversarial-sdp",
            _adversarial_sdp,
            "polynomial activation, l2 adversary",
            ("radius", "norm", "scale", *ranged, *shared),
        ),
        ProblemDescription(
            "joint-sdp",
            _joint_sdp,
            "polynomial activation, l2 adversary, several classes under one loss",
            ("radius", "norm", "scale", *shared),
        ),
        ProblemDescription("convex-relu", _convex_relu, "ReLU activation, no adversary", relu),
        ProblemDescription(
            "adversarial-relu",
            _adversarial_relu,
            "ReLU activation, adversary in the norm inf, 2 or 1",
            ("radius", "norm", "bound", "resample", "scale", *ranged, *relu),
        ),
    ]
