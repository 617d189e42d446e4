"""Classes are several single problems, of which none knows that there are others."""

import pickle
from dataclasses import fields, replace
from functools import cached_property

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, AdversarialSDP, Batches, ConvexReLU, StandardSDP, StreamedSDP
from cvxrobust.core import PolynomialNetwork, ReLUNetwork

RNG = np.random.default_rng(5)
X = RNG.standard_normal((12, 3))
LABELS = {
    "signs": np.where(X[:, 0] > 0.0, 1.0, -1.0),
    "two": np.where(X[:, 0] > 0.0, "yes", "no"),
    "three": np.array(["ant", "bee", "cat"])[np.arange(12) % 3],
}
FAMILIES = {
    "standard-sdp": StandardSDP,
    "adversarial-sdp": lambda X, y: AdversarialSDP(X, y, radius=0.1),
    "streamed-sdp": lambda X, y: StreamedSDP(Batches([(X, y)]), radius=0.1),
    "convex-relu": lambda X, y: ConvexReLU(X, y, n_gates=3, regate=1),
    "adversarial-relu": lambda X, y: AdversarialReLU(X, y, radius=0.1, n_gates=3),
    "squared-relu": lambda X, y: ConvexReLU(X, y, loss="squared", n_gates=3, multiclass="one-versus-all"),
    "vector-relu": lambda X, y: ConvexReLU(X, y, loss="squared", n_gates=3, multiclass="vector-output"),
}


def cached(member):
    return isinstance(member, cached_property)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_problems_hold_nothing_but_their_fields_and_what_they_computed_once(family, labels):
    problem = FAMILIES[family](X, LABELS[labels])
    _ = [part.trivial_network() for part in problem.parts], problem.trivial_network(), problem.to_structured()
    declared = {one.name for one in fields(problem)}
    computed = {name for kind in type(problem).mro() for name in vars(kind) if cached(vars(kind)[name])}
    for held in (problem, *problem.parts):
        assert set(vars(held)) <= declared | computed


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "vector-relu"])
def test_a_part_knows_two_signs_and_no_classes(family, labels):
    problem = FAMILIES[family](X, LABELS[labels])
    assert len(problem.parts) == (3 if labels == "three" else 1)
    for part in problem.parts:
        assert part.classes is None
        assert part.parts == (part,)
        assert set(part.y.tolist()) == {-1.0, 1.0}
        assert not part.y.flags.writeable
        assert part.X is problem.X


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_parts_answer_with_signs_wherever_they_come_from(family):
    problem = FAMILIES[family](X, LABELS["signs"])
    kind = ReLUNetwork if "relu" in family else PolynomialNetwork
    (own,) = problem.separate(kind(np.eye(3)[:1], -np.ones(1), classes=("no", "yes")))
    assert set(problem.combine([own]).predict(X).tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("family", ["convex-relu", "adversarial-relu"])
def test_refined_parts_go_with_the_problem_to_another_process_but_not_into_another_problem(family):
    problem = FAMILIES[family](X, LABELS["three"])
    first, *others = problem.parts
    larger = first.with_slots(first.grown(first.trivial_network(), None).slots)
    refined = problem.with_parts((larger, *others))
    assert refined.parts == (larger, *others)
    assert refined.classes == problem.classes
    assert refined.size > problem.size
    twin = pickle.loads(pickle.dumps(refined))
    assert (twin.size, twin.gate_set.source) == (refined.size, problem.gate_set.source)
    assert replace(refined, beta=0.5).size == problem.size
