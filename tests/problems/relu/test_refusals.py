"""What ReLU problems refuse, and what lies at the border of it."""

import numpy as np
import pytest
from relu_cases import data

from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    ConvexReLU,
    InputError,
    PolynomialNetwork,
    Quality,
    ReLUNetwork,
    StandardSDP,
    UnknownNameError,
    solve,
)
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.problems.relu.gates.slots import Slots

# -- errors -----------------------------------------------------------------------------------------------------------

X, Y = data(n=6, d=2)
PATTERNS = X @ np.random.default_rng(0).standard_normal((2, 3)) >= 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patterns": PATTERNS[:5]}, r"patterns has shape \(5, 3\); expected \(6, P\)"),
        ({"patterns": PATTERNS.astype(float)}, "patterns has dtype float64; expected bool"),
        ({"patterns": PATTERNS[:, 0]}, r"patterns has 1 dimension"),
        ({"patterns": ~PATTERNS & PATTERNS}, "none of the 3 activation patterns"),
        ({"patterns": (PATTERNS,)}, "patterns is a tuple of 1; expected an array"),
        ({"patterns": (PATTERNS, PATTERNS[:4])}, r"patterns has shape \(4, 3\); expected \(6, P\)"),
        ({"patterns": "al"}, "unknown patterns 'al'.*Did you mean 'all'"),
        ({"patterns": PATTERNS, "gates": np.ones((2, 1))}, "both patterns and gates are given"),
        ({"gates": np.ones((3, 2))}, r"gates has shape \(3, 2\); expected gate vectors of shape \(2, P\)"),
        ({"gates": np.ones((2, 2)), "bias": True}, r"gates has shape \(2, 2\); .*shape \(3, P\).*bias"),
        ({"gates": np.array([[np.nan], [1.0]])}, "gates holds NaN or inf, first at row 0, column 0"),
        ({"radius": -0.1}, "radius.*-0.1"),
        ({"radius": np.nan}, "radius"),
        ({"radius": np.full(5, 0.1)}, "radius.*6"),
        ({"norm": 3}, "unknown norm '?3'?"),
        ({"norm": "l2"}, "unknown norm 'l2'"),
        ({"beta": 0.0}, "beta"),
        ({"beta": np.inf}, "beta"),
        ({"loss": "hing"}, "unknown loss 'hing'.*Did you mean 'hinge'"),
        ({"formulation": "cones"}, "unknown formulation 'cones'.*Did you mean 'cone'"),
        ({"bound": "soft"}, "unknown bound 'soft'.*soft-cone"),
        ({"bound": "separate", "formulation": "cone"}, "bound='separate' belongs to the one-sided .*; leave it out"),
        ({"bound": "mixed", "patterns": PATTERNS}, "bound='mixed' needs to know where balls cross .*, not patterns="),
        ({"multiclass": "ova"}, "unknown multiclass 'ova'"),
        ({"multiclass": "vector-output"}, "fits all classes at once with a loss of targets, not with 'hinge'"),
        ({"loss": "squared", "formulation": "one-sided"}, "one-sided formulation needs a margin loss"),
        ({"loss": "squared", "regate": 1}, "regate=1 belongs to the one-sided formulation; 'cone' keeps its gates"),
        ({"regate": 1, "formulation": "gated"}, "regate=1 belongs to the one-sided formulation"),
        ({"regate": -1}, "regate is -1; expected a whole number of 0 or more"),
        ({"regate": 1.5}, "regate is 1.5; expected a whole number"),
        ({"resample": True}, "resample=True looks for gates whose cones hold neurons"),
        ({"resample": True, "formulation": "cone", "patterns": PATTERNS}, "resample=True draws gates, but patterns"),
        ({"resample": 1}, "resample is 1; expected True or False"),
        ({"bias": 1}, "bias is 1; expected True or False"),
        ({"bias": None}, "bias is None; expected True or False"),
        ({"n_gates": 0}, "n_gates is 0; expected a whole number of 1 or more"),
        ({"n_gates": True}, "n_gates is True; expected a whole number"),
        ({"n_gates": 2.0}, "n_gates is 2.0; expected a whole number"),
        ({"seed": -1}, "seed is -1; expected a whole number of 0 or more"),
        ({"grow": 0}, "grow is 0; expected a whole number of 1 or more"),
        ({"grow_gain": 1.0}, "grow_gain is 1.0; expected a share of 0 or more, but less than 1"),
        ({"grow_gain": float("nan")}, "grow_gain is nan; expected a share"),
        ({"grow_gain": "5 %"}, "grow_gain is '5 %'; expected a share"),
        ({"y": Y[:5]}, "y.*5.*6"),
        ({"y": np.where(Y > 0, 1, 0)}, "2 \\* y - 1"),
        ({"y": np.where(Y > 0, np.nan, 1.0)}, "y.*NaN"),
        ({"y": Y[:5], "loss": "squared"}, r"y has shape \(5,\); expected \(6,\) targets"),
        ({"y": np.ones((6, 2, 2)), "loss": "squared"}, r"y has shape \(6, 2, 2\); expected \(6,\) targets"),
        ({"y": np.ones((6, 0)), "loss": "squared"}, r"y has shape \(6, 0\); expected"),
        ({"y": np.array(list("abcabc")), "loss": "squared"}, "y cannot be read as numbers .*multiclass="),
        ({"y": np.array([1, 2, 3, np.inf, 0, 0]), "loss": "squared"}, "y holds NaN or inf at position 3"),
        ({"X": np.where(X > 1, np.nan, X) * np.nan}, "X.*NaN"),
        ({"X": X[:, 0]}, "X"),
        ({"slots": PATTERNS}, r"slots is an array of shape .*; expected .*Slots\(gates, signs\)"),
        ({"slots": Slots(PATTERNS[:4], np.ones(3))}, r"slots has gates of shape \(4, 3\) .* expected \(6, K\), bool"),
        ({"slots": Slots(PATTERNS * 1.0, np.ones(3))}, "slots has gates of shape .* dtype float64"),
        ({"slots": Slots(PATTERNS, np.ones(2))}, "slots has signs"),
        ({"slots": Slots(PATTERNS, np.zeros(3))}, "slots has signs"),
        ({"slots": Slots(PATTERNS, -np.ones(3)), "formulation": "gated"}, r"slots has signs .*\(1.0,\)"),
    ],
)  # fmt: skip
def test_unusable_parameters_are_refused(arguments, message):
    given = {"X": X, "y": Y, "radius": 0.1} | arguments
    with pytest.raises((InputError, UnknownNameError), match=message):
        _ = AdversarialReLU(**given).program  # which reads the gates


def test_gates_grow_only_where_there_are_gates():
    for problem in (StandardSDP(X, Y), AdversarialSDP(X, Y, radius=0.1)):
        with pytest.raises(InputError, match="has no gates, so gates='grow' does not apply"):
            solve(problem, gates="grow")
    with pytest.raises(UnknownNameError, match=r"unknown gates 'growing'.*Did you mean 'grow'"):
        solve(ConvexReLU(X, Y), gates="growing")
    with pytest.raises(InputError, match="no exact worst case, so method 'cutting-set' does not apply"):
        solve(ConvexReLU(X, Y), method="cutting-set")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (ReLUNetwork(np.ones((1, 3)), np.ones(1)), "the network has 3 inputs"),
        (ReLUNetwork(np.ones((1, 3)), np.ones(1), bias=True), "bias=True; this problem has bias=False"),
        (ReLUNetwork(np.ones((1, 2)), np.ones((1, 3))), r"outputs of shape \(3,\)"),
        (PolynomialNetwork(np.array([[1.0, 0.0]]), np.ones(1), (1.0, 1.0, 1.0)), "the network is a PolynomialNetwork"),
        ("hello", "warm_start is .hello.; expected a Result or a network"),
    ],
)
def test_starts_that_do_not_fit_are_refused(start, message):
    with pytest.raises(InputError, match=message):
        solve(ConvexReLU(X, Y), warm_start=start)


def test_a_solution_without_a_primal_point_is_refused():
    with pytest.raises(InputError, match="no finite primal point"):
        ConvexReLU(X, Y).recover(Solution(Termination.ERROR))


def test_several_programmes_are_not_one():
    problem = ConvexReLU(X, np.arange(6) % 3)
    with pytest.raises(InputError, match="use its `parts`"):
        _ = problem.program
    assert problem.to_structured() is None


@pytest.mark.parametrize("refinement", [{"regate": 2}, {"grow": 2}])
def test_refined_classes_are_one_problem_again(refinement):
    X, _ = data(n=18)
    y = np.arange(18) % 3
    problem = ConvexReLU(X, y, n_gates=3, **refinement)
    result = solve(problem, gates="grow" if "grow" in refinement else "fixed")
    assert result.problem is not None
    assert result.problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    assert result.problem.size == sum(part.history[-1].size for part in result.parts)
    assert [part.problem for part in result.parts if part.problem] != []
    assert result.certificate.upper == pytest.approx(sum(part.certificate.upper for part in result.parts))


def test_slots_without_any_open_gate_are_allowed_and_reported():
    X, y = data(n=12)
    closed = Slots(np.zeros((12, 2), dtype=np.bool_), np.array([1.0, -1.0]))
    result = solve(ConvexReLU(X, y, slots=closed))
    assert result.quality is Quality.CERTIFIED
    assert result.report["gates_from"] == "given slots"
