"""Three processes train one network: samples are shared, unevenly, and answers are the same."""

import numpy as np
import pytest
from process_group import answer, problem_of, together

from cvxrobust.core.networks.polynomial import PolynomialNetwork

JOBS = {
    "plain": ("plain", {}),
    "stochastic": ("plain", {"batch": 16}),
    "streamed": ("streamed", {"batch": 0}),
    "classes": ("classes", {}),
    "ellipsoid": ("ellipsoid", {}),
    "targets": ("targets", {}),
    "stopped": ("plain", {"stop_first": True}),
    "late": ("plain", {"late": True}),
    "tardy": ("plain", {"tardy": True}),
    "tardy classes": ("classes", {"tardy": True}),
    "uneven": ("plain", {"batch": 40, "epochs": 1}),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return together(tmp_path_factory.mktemp("team"), JOBS, 3)


@pytest.mark.parametrize("name", ["plain", "stochastic", "streamed", "classes", "ellipsoid", "targets"])
def test_a_team_gives_the_answer_of_one_process(answers, name):
    kind, options = JOBS[name]
    first, second, third = answers[name]
    assert first == second == third  # bit by bit
    assert first["applied"]["processes"] == 3
    assert first["termination"] == "converged"
    if name != "stochastic":  # stochastic steps shuffle each share by itself
        alone = answer(kind, **options)
        # Sums in another order part the paths in time.
        assert first["iterations"] == pytest.approx(alone["iterations"], rel=0.5)
        assert first["upper"] == pytest.approx(alone["upper"], rel=2e-4)
    # Nothing is believed: the bounds are those of the whole problem.
    problem = problem_of(kind)
    network = PolynomialNetwork(
        np.array(first["u"]), np.array(first["alpha"]), problem.activation, classes=problem.classes,
        regression=kind == "targets",
    )  # fmt: skip
    assert problem.objective(network) == pytest.approx(first["upper"], rel=1e-12)
    assert first["upper"] - first["lower"] <= 3e-4 * first["upper"]


@pytest.mark.parametrize(
    ("name", "termination"),
    [("stopped", "interrupted"), ("late", "time limit"), ("tardy", "time limit"), ("tardy classes", "time limit")],
)
def test_all_stop_when_one_has_to(answers, name, termination):
    first, second, third = answers[name]
    assert first["termination"] == second["termination"] == third["termination"] == termination
    assert first["u"] == second["u"] == third["u"]
    assert np.isfinite(first["upper"])


def test_batches_need_not_be_shared_equally(answers):
    found = answers["uneven"]
    assert found[0] == found[1] == found[2]
    assert found[0]["termination"] == "converged"
