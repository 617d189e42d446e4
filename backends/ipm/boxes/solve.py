"""Training against boxes by the structured interior-point method: one column of labels to a certified gap."""

import numpy as np
import torch

from cvxrobust.backends.ipm.boxes.method import BoxMethod
from cvxrobust.core import InputError, Monitor, PolynomialNetwork, Settings, Solution
from cvxrobust.core.kit import BestSoFar
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers
from cvxrobust.core.programs.boxes.program import BoxProgram

MOST = 200
"""Iterations, unless the settings say otherwise; 10 to 30 are usual."""


def solve_boxes(
    program: BoxProgram,
    settings: Settings,
    monitor: Monitor,
    start: PolynomialNetwork | None = None,
    device: str = "cpu",
) -> Solution:
    """Train one network to a certified relative gap.

    Args:
        program: One column of labels.
        settings: Tolerance and limits.
        monitor: Stops the solve and hears of bounds.
        start: A network that is no worse than none is an upper bound to begin with; iterates begin in the centre.
        device: A torch device.

    Raises:
        InputError: There are several columns of labels.
    """
    if program.labels.ndim != 2 or program.labels.shape[1] != 1:
        raise InputError(f"labels have shape {program.labels.shape}; expected one column, (n, 1), per solve.")
    progress: BestSoFar[PolynomialNetwork, BoxMultipliers] = BestSoFar(
        settings, monitor, settings.max_iterations or MOST
    )
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), torch.inference_mode():
        method = BoxMethod(program, progress, torch.device(device))
        termination = method.run(start)
    return progress.solution(
        termination,
        iterations=method.iterations,
        message=method.message,
        applied={**progress.limits, "device": device},
    )
