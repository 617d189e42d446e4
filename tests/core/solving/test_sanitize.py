"""What backends hand back is judged, and what is wrong with it is said."""

from dataclasses import dataclass

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import AdversarialSDP, solve
from cvxrobust.core.contracts.backend import Capabilities
from cvxrobust.core.contracts.result import Solution, Termination


@dataclass(frozen=True)
class Broken:
    """Multipliers whose attacks cannot be computed."""

    theta: object = None

    def attacks(self, rows, X):
        raise ZeroDivisionError("no attacks today")


class Structured(Fake):
    """A backend that reads the structure, answers with broken multipliers, and has its own words for it."""

    name = "structured"

    def __init__(self, multipliers):
        super().__init__(None)
        self.multipliers = multipliers
        self.capabilities = Capabilities(structured=frozenset({"polynomial"}))

    def solve(self, program, settings):
        return Solution(Termination.CONVERGED, multipliers=self.multipliers, message="all is well")


@pytest.mark.parametrize(
    ("multipliers", "reason"),
    [("nonsense", "AttributeError"), (Broken(np.full(12, 0.05)), "")],
    ids=["another type", "its attacks raise"],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_why_multipliers_prove_nothing_is_in_the_message(multipliers, reason, classes):
    rng = np.random.default_rng(0)
    labels = np.arange(12) % classes
    problem = AdversarialSDP(rng.standard_normal((12, 3)), 2.0 * labels - 1.0 if classes == 2 else labels, radius=0.1)
    result = solve(problem, backend=Structured(multipliers))
    assert "all is well" in result.message
    assert f"multipliers proved nothing: {reason}" in result.message
    assert result.certificate.lower <= result.certificate.upper


def test_nothing_is_said_about_multipliers_that_prove_something():
    rng = np.random.default_rng(0)
    problem = AdversarialSDP(rng.standard_normal((12, 3)), 2.0 * (np.arange(12) % 2) - 1.0, radius=0.1)
    assert "multipliers" not in solve(problem, backend="clarabel", method="direct").message
