"""A metric: how many neurons a network would have if all weighed the same."""

from typing import Any

import numpy as np

from cvxrobust.core import MetricDescription, Result, hookimpl


def effective_neurons(result: Result[Any]) -> float | None:
    """``(sum_j |alpha_j|)^2 / sum_j alpha_j^2``; None without neurons, where it has no meaning."""
    weights = np.abs(result.network.alpha)
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else None


@hookimpl
def cvxrobust_metrics() -> list[MetricDescription]:
    """The metric, for the registry."""
    summary = "number of equally heavy neurons that would be as concentrated"
    return [MetricDescription("effective-neurons", lambda: effective_neurons, summary, api_version=1)]
