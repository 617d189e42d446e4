"""Our own backends under the contract that strangers' are held to."""

import mosek_stand_in
import pytest

from cvxrobust.core.conic.cones import PSD, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.discovery.registry import plugins
from cvxrobust.core.testing import BackendContract

EVERY_CONE = frozenset({Zero, NonNegative, SecondOrder, PSD, Exponential})


class TestClarabel(BackendContract):
    backend = "clarabel"
    reads = EVERY_CONE


class TestSCS(BackendContract):
    backend = "scs"
    reads = EVERY_CONE


class TestCVXPY(BackendContract):
    backend = "cvxpy"
    reads = EVERY_CONE


class TestCVXOPTThroughCVXPY(BackendContract):
    backend = "cvxpy:CVXOPT"
    reads = EVERY_CONE - {Exponential}


class TestTorch(BackendContract):
    backend = "torch"
    reads = EVERY_CONE


class TestInteriorPoint(BackendContract):
    """Structured programmes alone: it refuses conic ones by name."""

    backend = "ipm"
    reads = frozenset()


class TestMosek(BackendContract):
    """Up to the licence: MOSEK writes the task, something else solves it, the backend reads the answer."""

    backend = "mosek"
    reads = EVERY_CONE
    verbose_prints = False  # the stand-in has nothing to say

    @pytest.fixture(autouse=True)
    def licensed(self, monkeypatch):
        if not mosek_stand_in.LICENSED:
            mosek_stand_in.installed(monkeypatch)


def test_every_backend_of_ours_is_held_to_the_contract():
    ours = {name for record in plugins() if record.distribution == "cvxrobust" for name in record.backends}
    held = {kind.backend for kind in BackendContract.__subclasses__() if isinstance(kind.backend, str)}
    assert ours <= held
