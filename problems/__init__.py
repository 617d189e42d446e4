"""The problem families, registered as a stranger's would be."""

from typing import Any

from cvxrobust.core.hookspecs import ProblemDescription, hookimpl


def _standard_sdp() -> Any:
    from cvxrobust.problems.standard_sdp import StandardSDP

    return StandardSDP


def _adversarial_sdp() -> Any:
    from cvxrobust.problems.adversarial_sdp import AdversarialSDP

    return AdversarialSDP


@hookimpl
def cvxrobust_problems() -> list[ProblemDescription]:
    """The families with polynomial activation."""
    shared = ("beta", "loss", "activation")
    return [
        ProblemDescription("standard-sdp", _standard_sdp, "polynomial activation, no adversary", shared),
        ProblemDescription(
            "adversarial-sdp", _adversarial_sdp, "polynomial activation, l2 adversary", ("radius", *shared)
        ),
    ]
