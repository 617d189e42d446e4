"""The best network so far is handed over while a solve goes on, and a solve goes on from it."""

import numpy as np
import pytest

from cvxrobust import AdversarialSDP, InputError, PolynomialNetwork, Settings, solve
from cvxrobust.core.solving import keeping
from cvxrobust.core.solving.keeping import Keeper

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 3))
Y = np.where(X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=30) > 0.0, 1.0, -1.0)
PROBLEM = AdversarialSDP(X, Y, radius=0.2, beta=0.03)


@pytest.fixture
def often(monkeypatch):
    """Every network is handed over."""
    monkeypatch.setattr(keeping, "EVERY", 0.0)


@pytest.mark.parametrize("limit", [None, 30.0], ids=["without a limit", "with a limit"])
def test_networks_are_handed_over_as_they_get_better(often, limit):
    kept = []
    found = solve(PROBLEM, "clarabel", "cutting-set", Settings(time_limit=limit), keep=kept.append)
    assert len(kept) > 1
    assert all(isinstance(network, PolynomialNetwork) for network in kept)
    objectives = [PROBLEM.objective(network) for network in kept]
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[-1] >= found.certificate.upper - 1e-12
    again = solve(PROBLEM, "clarabel", "cutting-set", warm_start=kept[-1])
    assert again.quality == "certified"
    assert again.rounds < found.rounds


def test_all_classes_are_in_what_is_kept(often):
    classes = np.digitize(X[:, 0], [-0.5, 0.5])
    kept = []
    solve(AdversarialSDP(X, classes, radius=0.1), "clarabel", "cutting-set", Settings(tolerance=1e-2), keep=kept.append)
    assert {network.alpha.shape[1] for network in kept} == {3}
    assert kept[-1].classes == (0, 1, 2)


def test_what_a_keeper_raises_ends_the_solve(often):
    def full(network):
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        solve(PROBLEM, "clarabel", "cutting-set", keep=full)


def test_a_keeper_that_cannot_be_called_is_refused():
    with pytest.raises(InputError, match="keep is 3; expected a function of a network, or None"):
        solve(PROBLEM, keep=3)


def test_networks_are_handed_over_now_and_then_alone():
    taken, made = [], []
    keeper = Keeper(taken.append)
    for k in range(5):
        keeper(lambda k=k: made.append(k) or k)
    assert taken == made == [0]
