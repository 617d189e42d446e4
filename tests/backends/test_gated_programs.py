"""Every registered backend solves every ReLU formulation to the same certified optimum."""

import os

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, ConvexReLU, Quality, Settings, solve
from cvxrobust.core import Estimate
from cvxrobust.core.discovery.registry import backends, get_backend

REQUIRED = os.environ.get("CVXROBUST_REQUIRE_BACKENDS", "").split(",")

rng = np.random.default_rng(0)
X = rng.standard_normal((30, 4))
y = np.where(X[:, 0] + 0.5 * X[:, 1] ** 2 > 0.3, 1.0, -1.0)

PROBLEMS = {
    "one-sided": ConvexReLU(X, y, n_gates=6),
    "cone": ConvexReLU(X, y, n_gates=6, loss="logistic", formulation="cone"),
    "gated": ConvexReLU(X, np.stack([y, X[:, 2]], axis=1), n_gates=6, loss="squared", formulation="gated", bias=True),
    "attacked one-sided": AdversarialReLU(X, y, 0.05, n_gates=6, norm=2, loss="squared_hinge"),
    "attacked cone": AdversarialReLU(X, y, 0.02, n_gates=6, norm=1, formulation="cone", resample=True),
    "attacked gated": AdversarialReLU(X, y, 0.02, n_gates=6, loss="squared", formulation="gated"),
}


@pytest.fixture(params=sorted(backends()))
def backend(request):
    if reason := backends()[request.param].unavailable():
        (pytest.fail if request.param in REQUIRED else pytest.skip)(reason)
    return request.param


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_backend_certifies_every_formulation(backend, name):
    problem = PROBLEMS[name]
    can = backends()[backend].capabilities
    if "gated" not in can.structured and not problem.cones <= can.cones:
        pytest.skip(f"{backend} lacks a cone of this problem")
    result = solve(problem, backend=backend, settings=Settings(tolerance=1e-3, time_limit=60))
    reference = solve(problem, backend="clarabel").certificate
    assert result.quality is Quality.CERTIFIED
    assert result.certificate.lower <= reference.upper * (1 + 1e-12)
    assert reference.lower <= result.certificate.upper * (1 + 1e-12)
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)


def test_the_method_picked_is_explained_truthfully(monkeypatch):
    # Tiny: nothing of ours is as quick as a conic solver.
    picked = solve(PROBLEMS["one-sided"])
    assert (picked.backend, picked.quality) == ("clarabel", "certified")
    assert "backend clarabel: interior-point, reads every cone needed, about" in picked.selection
    monkeypatch.setattr(type(get_backend("clarabel")), "estimate", lambda self, size: Estimate(1e6))
    picked = solve(PROBLEMS["one-sided"])
    assert (picked.backend, picked.quality) == ("ipm", "certified")
    assert "backend ipm: reads the problem's own structure" in picked.selection
    assert "method direct: the only one for ConvexReLU" in solve(PROBLEMS["one-sided"], backend="clarabel").selection
