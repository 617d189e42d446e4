"""Rounds of regating: one that falls short is said, and what it found is not lost."""

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import AdversarialReLU, Quality, Settings, Termination, solve
from cvxrobust.core import Capabilities, Solution, get_backend

RNG = np.random.default_rng(1)
X = RNG.standard_normal((40, 3))
Y = np.where(X[:, 0] * X[:, 1] + 0.5 * X[:, 0] > 0.0, 1.0, -1.0)
SETTINGS = Settings(threads=1, tolerance=1e-5)


class Tires(Fake):
    """Answers well once for every class, and then with a network, but without multipliers."""

    name = "tires"

    def __init__(self):
        super().__init__(None)
        self.seen = set()
        self.capabilities = Capabilities(structured=frozenset({"gated"}), monitored=True)

    def solve(self, program, settings, monitor):
        labels = program.labels.tobytes()
        fresh = labels not in self.seen
        self.seen.add(labels)
        found = get_backend("ipm").solve(program, settings)
        return found if fresh else Solution(Termination.NUMERICAL, network=found.network, message="tired")


@pytest.mark.parametrize("classes", [2, 3])
def test_a_round_that_falls_short_is_said_and_what_it_found_is_kept(classes):
    y = Y if classes == 2 else np.arange(40) % 3
    problem = AdversarialReLU(X, y, radius=0.1, n_gates=5, beta=0.005, regate=3, seed=2)
    whole = solve(problem, backend="clarabel", settings=SETTINGS)
    assert len((whole.parts or (whole,))[0].history) > 1
    result = solve(problem, backend=Tires(), settings=SETTINGS)
    assert result.termination is Termination.NUMERICAL
    assert result.quality is Quality.INACCURATE
    first = (result.parts or (result,))[0]
    assert first.certificate.relative_gap <= 1e-5
    assert "the regated programme ended numerical at a gap of" in first.message
    assert "tired" in first.message
    left = result.unfinished
    assert left is not None
    assert left.certificate.upper <= first.history[0].certificate.upper
    assert result.to_dict()["unfinished"]["termination"] == "numerical"


def test_rounds_that_succeed_leave_nothing_unfinished():
    problem = AdversarialReLU(X, Y, radius=0.1, n_gates=5, beta=0.005, regate=2, seed=2)
    result = solve(problem, backend="clarabel", settings=SETTINGS)
    assert (result.quality, result.unfinished) == (Quality.CERTIFIED, None)


def test_a_round_that_the_callers_limit_cut_short_spoils_nothing():
    class Late(Tires):
        def solve(self, program, settings, monitor):
            found = super().solve(program, settings, monitor)
            tired = found.termination is Termination.NUMERICAL
            return Solution(Termination.TIME_LIMIT, network=found.network) if tired else found

    problem = AdversarialReLU(X, Y, radius=0.1, n_gates=5, beta=0.005, regate=3, seed=2)
    result = solve(problem, backend=Late(), settings=SETTINGS)
    assert (result.quality, result.termination) == (Quality.CERTIFIED, Termination.TIME_LIMIT)
    assert result.unfinished is not None
