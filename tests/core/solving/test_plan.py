"""Ways: which there are, in which order they are tried, and when one makes way for the next."""

import time
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    Batches,
    ConvexReLU,
    InputError,
    Quality,
    Settings,
    StandardSDP,
    StreamedSDP,
    Termination,
    solve,
)
from cvxrobust.core import (
    Capabilities,
    Estimate,
    PolynomialProgram,
    Solution,
    TooLargeError,
    UnsupportedProgramError,
    get_backend,
)
from cvxrobust.core.kit import require_structured
from cvxrobust.core.solving.plan import make_plan
from cvxrobust.core.solving.structure import Structure
from cvxrobust.problems.polynomial.base import PolynomialTraining
from cvxrobust.problems.relu.base import ReLUProblem

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4))
Y = np.where(X @ RNG.standard_normal(4) + 0.5 * RNG.standard_normal(40) > 0.0, 1.0, -1.0)


@pytest.fixture(scope="module")
def problem():
    return ConvexReLU(X, Y, n_gates=4)


@pytest.fixture(scope="module")
def answer(problem):
    """A certified answer of a structured backend, and one that is a percent off."""
    good = get_backend("ipm").solve(problem.to_structured(), Settings(tolerance=1e-8, threads=1))
    rough = get_backend("ipm").solve(problem.to_structured(), Settings(tolerance=0.05, threads=1))
    return good, rough


class Structured(Fake):
    """A backend that reads gated programmes, says what it would cost, and does as it is told."""

    def __init__(self, name, act, seconds=1.0, memory=0.0, step=0.0):
        super().__init__(act)
        self.name, self.cost, self.starts = name, Estimate(seconds, memory, step), []
        self.capabilities = Capabilities(structured=frozenset({"gated"}), monitored=True, warm_start=True)

    def estimate(self, program):
        return self.cost

    def solve(self, program, settings, monitor, warm_start=None):
        self.starts.append(None if warm_start is None else warm_start.network)
        return self.answer(settings, monitor)


@pytest.fixture
def ways(monkeypatch):
    """Let these backends be all there are."""

    def only(*found):
        monkeypatch.setattr("cvxrobust.core.solving.plan.backends", lambda: {b.name: b for b in found})
        return found

    return only


def never(*_):
    pytest.fail("the backend was asked all the same")


def sized(problem, found):
    return [way.backend.name for way in make_plan(problem, "auto", "auto", Settings(), None).ways]


def test_the_cheapest_way_comes_first_whatever_the_order_of_registration(problem, ways):
    a, b, c = (Structured(name, never, seconds) for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 2.0)))
    for order in ((a, b, c), (c, b, a)):
        ways(*order)
        assert sized(problem, order) == ["b", "c", "a"]


def test_a_way_without_an_estimate_comes_last_and_one_that_cannot_is_left_out(problem, ways):
    class Silent(Fake):
        name = "silent"

    silent, unable, able = Silent(never), Structured("unable", never), Structured("able", never, 1e9)
    silent.capabilities = unable.capabilities
    unable.cost = None
    ways(silent, unable, able)
    assert sized(problem, ()) == ["able", "silent"]


def test_plans_depend_on_sizes_alone():
    plans = {
        tuple(way.name for way in make_plan(ConvexReLU(X * scale, Y, n_gates=4), "auto", "auto", s, None).ways)
        for scale in (1.0, 1e3)
        for s in (Settings(), Settings(time_limit=1e-3), Settings(tolerance=1e-2))
    }
    assert len(plans) == 1


def test_where_one_ends_short_the_next_goes_on_from_its_network_and_bounds(problem, ways, answer):
    good, rough = answer
    first = Structured("first", lambda *_: Solution(Termination.NUMERICAL, network=rough.network, message="stuck"))
    second = Structured("second", lambda *_: good, 2.0)
    ways(first, second, Structured("third", never, 3.0))
    result = solve(problem)
    assert (result.quality, result.termination) == (Quality.CERTIFIED, Termination.CONVERGED)
    assert result.backend == "first + second"
    assert [phase.termination for phase in result.phases] == [Termination.NUMERICAL, Termination.CONVERGED]
    (start,) = second.starts
    assert problem.objective(start) == pytest.approx(problem.objective(rough.network), rel=1e-9)
    assert "handed over by first (numerical) at a gap of" in result.message
    assert "stuck" in result.message
    assert "backend first" in result.selection
    assert "if it falls short: second/direct, third/direct" in result.selection


def test_the_best_network_and_the_best_bounds_of_all_ways_count(problem, ways, answer):
    good, rough = answer
    network = Structured("network", lambda *_: Solution(Termination.NUMERICAL, network=good.network))
    bound = Structured(
        "bound", lambda *_: Solution(Termination.CONVERGED, network=rough.network, multipliers=good.multipliers), 2.0
    )
    ways(network, bound)
    result = solve(problem)
    assert result.quality is Quality.CERTIFIED
    assert result.certificate.upper == pytest.approx(problem.objective(good.network), rel=1e-12)


@pytest.mark.parametrize("crash", [ZeroDivisionError("deep inside"), MemoryError("no more"), InputError("not mine")])
def test_a_way_that_crashes_is_followed_by_the_next(problem, ways, answer, crash):
    def fail(*_):
        raise crash

    rough, good = Structured("rough", lambda *_: answer[1]), Structured("good", lambda *_: answer[0], 3.0)
    ways(rough, Structured("crash", fail, 2.0), good)
    result = solve(problem)
    assert result.quality is Quality.CERTIFIED
    assert str(crash) in result.message


def test_who_names_a_backend_gets_that_and_no_other(problem, ways):
    alone = Structured("alone", lambda *_: Solution(Termination.NUMERICAL))
    ways(Structured("better", never))
    result = solve(problem, backend=alone)
    assert (result.backend, result.termination, result.phases) == ("alone", Termination.NUMERICAL, ())


def test_a_limit_of_iterations_is_the_callers_and_ends_it(problem, ways):
    ways(Structured("first", lambda *_: Solution(Termination.ITERATION_LIMIT)), Structured("second", never, 2.0))
    assert solve(problem, settings=Settings(max_iterations=3)).termination is Termination.ITERATION_LIMIT


def waits(settings, monitor):
    while not monitor.should_stop:
        time.sleep(0.01)
    return Solution(Termination.TIME_LIMIT)


def test_a_way_that_gets_nowhere_makes_way_in_time_for_the_next(problem, ways, answer):
    ways(Structured("idle", waits), Structured("good", lambda *_: answer[0], 1.5))
    result = solve(problem, settings=Settings(time_limit=2.0))
    assert result.quality is Quality.CERTIFIED
    assert [phase.termination for phase in result.phases] == [Termination.TIME_LIMIT, Termination.CONVERGED]


def test_a_way_that_is_on_course_may_take_longer(problem, ways, answer):
    good = answer[0]
    upper = problem.objective(good.network)

    def steady(settings, monitor):
        gap, began = 1.0, time.perf_counter()
        while time.perf_counter() < began + 2.4:
            if monitor.should_stop:
                return Solution(Termination.TIME_LIMIT)
            gap *= 0.9
            monitor.report(upper, upper * (1.0 - max(gap, 2e-6)))
            time.sleep(0.02)
        return good

    ways(Structured("steady", steady), Structured("other", never, 2.0))
    result = solve(problem, settings=Settings(time_limit=4.0))
    assert (result.backend, result.quality) == ("steady", Quality.CERTIFIED)


def test_a_way_whose_steps_are_too_long_is_passed_over_while_there_are_others(problem, ways, answer):
    ways(Structured("slow", never, 0.5, step=10.0), Structured("good", lambda *_: answer[0], 2.0))
    assert solve(problem, settings=Settings(time_limit=20.0)).backend == "good"
    ways(Structured("slow", lambda *_: answer[0], 0.5, step=10.0))
    assert solve(problem, settings=Settings(time_limit=20.0)).backend == "slow"


def test_a_way_makes_way_for_none_that_is_hopeless_in_the_time_left(problem, ways, answer):
    def late(settings, monitor):
        began = time.perf_counter()
        while time.perf_counter() < began + 1.4 and not monitor.should_stop:
            time.sleep(0.01)
        return Solution(Termination.TIME_LIMIT) if monitor.should_stop else answer[0]

    ways(Structured("late", late), Structured("hopeless", never, 100.0))
    result = solve(problem, settings=Settings(time_limit=2.0))
    assert (result.backend, result.quality) == ("late", Quality.CERTIFIED)
    # Nor is it tried afterwards, when even less is left.
    ways(Structured("short", lambda *_: Solution(Termination.NUMERICAL)), Structured("hopeless", never, 100.0))
    assert solve(problem, settings=Settings(time_limit=2.0)).termination is Termination.NUMERICAL


def test_what_does_not_fit_into_memory_is_not_tried_and_refused_if_nothing_else_is_left(problem, ways, answer):
    huge = Structured("huge", never, memory=1e18)
    ways(huge, Structured("good", lambda *_: answer[0], 2.0))
    assert solve(problem).backend == "good"
    ways(huge)
    with pytest.raises(TooLargeError, match=r"ConvexReLU needs about 931322574\.6 GiB.*huge/direct.*this machine has"):
        solve(problem)


def test_classes_that_fall_short_together_are_tried_by_the_next_way_one_by_one():
    X3 = RNG.standard_normal((30, 3))
    y = (X3 @ RNG.standard_normal((3, 3))).argmax(axis=1)
    problem = AdversarialSDP(X3, y, radius=0.2, beta=0.02)
    whole = solve(problem, settings=Settings(threads=1))
    assert whole.quality is Quality.CERTIFIED
    assert len(whole.parts) == 3


@pytest.mark.parametrize(
    ("n", "d"), [(20, 2), (80, 5), (455, 30), (5000, 10), (300, 100), (2000, 100), (20_000, 60)], ids=str
)
def test_every_size_has_more_than_one_way(n, d):
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(n) % 2, 1.0, -1.0)
    data = rng.standard_normal((n, d)), labels
    for problem in (AdversarialSDP(*data, radius=0.1), ConvexReLU(*data)):
        plan = make_plan(problem, "auto", "auto", Settings(), None)
        assert len({way.backend.name for way in plan.ways}) >= 2
        assert all(way.estimate is None or 0.0 < way.estimate.step <= way.estimate.seconds for way in plan.ways)


def test_cones_in_which_nothing_lives_leave_next_to_no_conic_programme():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 10)), np.where(rng.random(400) < 0.5, 1.0, -1.0)
    problem = AdversarialReLU(X, y, 1.0, norm=2, n_gates=10, formulation="cone")
    assert problem.carrying.size == 0
    assert problem.conic_size.columns < 2 * 400  # a slack per sample, and no norm of an attack
    result = solve(problem, backend="clarabel")
    assert result.quality == Quality.CERTIFIED
    assert result.network.n_neurons == 0


def test_what_it_takes_to_judge_cones_counts_where_nothing_lives_in_them():
    """The programme is next to nothing, but not the search that finds it out, nor the multipliers that prove it."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4_000, 60)), np.where(rng.random(4_000) < 0.5, 1.0, -1.0)
    problem = AdversarialReLU(X, y, 0.5, norm=2, n_gates=60, formulation="cone")
    estimates = {way.name: way.estimate.seconds for way in make_plan(problem, "auto", "auto", Settings(), None).ways}
    assert estimates["clarabel/direct"] > problem.look


@pytest.mark.parametrize(("formulation", "first"), [("one-sided", "ipm"), ("cone", "torch"), ("gated", "ipm")])
def test_the_formulation_of_a_relu_network_decides_who_comes_first(formulation, first):
    """As measured at that size: Clarabel takes eight times as long in the gated form, ipm three times in the cones."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1_000, 20)), np.where(rng.random(1_000) < 0.5, 1.0, -1.0)
    plan = make_plan(ConvexReLU(X, y, n_gates=50, formulation=formulation), "auto", "auto", Settings(), None)
    assert plan.ways[0].backend.name == first


class Crawling(Structured):
    """A first-order method that reports a gap that falls ever so slowly, until it is told to stop."""

    def __init__(self, answer, estimate):
        super().__init__("crawling", self.crawl, estimate)
        self.capabilities = replace(self.capabilities, method="first-order")
        self.rough, self.took = answer[1], 0.0

    def crawl(self, settings, monitor):
        began, lower = time.perf_counter(), 0.0
        while not monitor.should_stop and time.perf_counter() < began + 30.0:
            lower += 1e-6
            monitor.report(1.0, lower)
            time.sleep(0.02)
        self.took = time.perf_counter() - began
        return Solution(Termination.INTERRUPTED, network=self.rough.network)


def test_a_first_order_method_that_stalls_makes_way_after_its_own_time(problem, ways, answer):
    crawling = Crawling(answer, 0.5)
    ways(crawling, Structured("second", lambda *_: answer[0], 2.0))
    result = solve(problem, settings=Settings(time_limit=60.0))
    assert result.backend == "crawling + second"
    assert result.quality is Quality.CERTIFIED
    assert crawling.took < 15.0  # half of the limit is what others have


def test_it_does_not_where_no_other_way_could_get_anywhere(problem, ways, answer):
    crawling = Crawling(answer, 0.5)
    ways(crawling, Structured("second", never, 1e6))
    assert solve(problem, settings=Settings(time_limit=4.0)).backend == "crawling"
    assert crawling.took > 3.0


# -- losses ---------------------------------------------------------------------------------------------------------


def knows(backend, *losses):
    backend.capabilities = replace(backend.capabilities, losses=frozenset(losses))
    return backend


def test_a_loss_that_a_backend_does_not_know_is_refused_by_name_before_work():
    problem = ConvexReLU(X, Y, n_gates=4, loss="logistic")
    with pytest.raises(UnsupportedProgramError, match=r"'mine' does not know the loss 'logistic' \(it knows hinge\)"):
        solve(problem, backend=knows(Structured("mine", never), "hinge"))


def test_auto_looks_elsewhere_for_a_loss_that_the_cheapest_does_not_know(ways, answer):
    problem = ConvexReLU(X, Y, n_gates=4, loss="logistic")
    ways(knows(Structured("cheap", never, 0.1), "hinge"), Structured("dear", lambda *_: answer[0], 9.0))
    assert [way.backend.name for way in make_plan(problem, "auto", "auto", Settings(), None).ways] == ["dear"]


def test_who_does_not_know_a_loss_may_know_its_cones(answer):
    both = knows(Structured("both", lambda program, monitor: Solution(Termination.ERROR)), "hinge")
    both.capabilities = replace(both.capabilities, cones=get_backend("clarabel").capabilities.cones)
    problem = ConvexReLU(X, Y, n_gates=4, loss="logistic")
    (way,) = make_plan(problem, both, "auto", Settings(), None).ways
    assert Structure(problem).read_by(way.backend) is None


@pytest.mark.parametrize("backend", ["ipm", "torch"])
@pytest.mark.parametrize("problem", [ConvexReLU(X, Y, n_gates=4), AdversarialSDP(X, Y, radius=0.1)])
def test_our_solvers_take_no_loss_for_another(backend, problem):
    program = replace(problem.to_structured(), loss="cauchy")
    with pytest.raises(UnsupportedProgramError, match="does not know the loss 'cauchy'"):
        get_backend(backend).solve(program, Settings())


def test_weights_that_a_backend_does_not_heed_are_refused_by_name_before_work(ways, answer):
    problem = ConvexReLU(X, Y, n_gates=4, class_weight={1: 3.0})
    with pytest.raises(UnsupportedProgramError, match="backend 'mine' does not heed the weights of samples"):
        solve(problem, backend=Structured("mine", never))
    heeds = Structured("dear", lambda *_: answer[0], 9.0)
    heeds.capabilities = replace(heeds.capabilities, weights=True)
    ways(Structured("cheap", never, 0.1), heeds)
    assert [way.backend.name for way in make_plan(problem, "auto", "auto", Settings(), None).ways] == ["dear"]


def test_a_programme_of_somebody_elses_kind_need_not_say_what_its_loss_is():
    class Theirs:
        kind = "theirs"

    problem = ConvexReLU(X, Y, n_gates=4)
    object.__setattr__(problem, "to_structured", Theirs)
    backend = Structured("mine", never)
    backend.capabilities = Capabilities(structured=frozenset({"theirs"}))
    assert isinstance(Structure(problem).read_by(backend), Theirs)


# -- attacks --------------------------------------------------------------------------------------------------------

ROUND, LONG = (AdversarialSDP(X, Y, radius=0.1, scale=scale) for scale in (None, [1.0, 0.5, 0.0, 2.0]))
STREAM = StreamedSDP(Batches(lambda: [(X, Y)]), radius=0.1, scale=[1.0, 0.5, 0.0, 2.0])


def polynomial(name, act, seconds=1.0):
    """A backend from outside that has never heard of ellipsoids."""
    backend = Structured(name, act, seconds)
    backend.capabilities = Capabilities(structured=frozenset({"polynomial"}), monitored=True, warm_start=True)
    return backend


@pytest.mark.parametrize("problem", [LONG, STREAM], ids=["in memory", "streamed"])
def test_attacks_that_a_backend_does_not_read_are_refused_by_name_before_work(problem):
    said = r"backend 'mine' does not read attacks in an ellipsoid in polynomial programmes \(it reads ball\)"
    with pytest.raises(UnsupportedProgramError, match=said):
        solve(problem, backend=polynomial("mine", never))
    with pytest.raises(UnsupportedProgramError, match=said):
        require_structured(problem.to_structured(), polynomial("mine", never).capabilities, "mine")


def test_auto_looks_elsewhere_for_attacks_that_the_cheapest_does_not_read(ways):
    ways(polynomial("cheap", never, 0.1), get_backend("ipm"))
    assert [way.backend.name for way in make_plan(ROUND, "auto", "direct", Settings(), None).ways] == ["cheap", "ipm"]
    assert [way.backend.name for way in make_plan(LONG, "auto", "direct", Settings(), None).ways] == ["ipm"]


def test_conic_backends_and_ours_read_all_attacks():
    assert Structure(LONG).read_by(get_backend("ipm")) is not None
    assert Structure(LONG).read_by(get_backend("torch")) is not None
    (way,) = make_plan(LONG, "clarabel", "direct", Settings(), None).ways
    assert way.backend.name == "clarabel"


GATED = {
    shape: AdversarialReLU(X, Y, radius=0.1, norm=norm, n_gates=4, scale=scale)
    for shape, norm, scale in [
        ("ball", "inf", None),
        ("ellipsoid", 2, [1.0, 0.5, 0.0, 2.0]),
        ("scaled ball", 1, [1.0, 0.5, 0.0, 2.0]),
    ]
}


@pytest.mark.parametrize("shape", ["ellipsoid", "scaled ball"])
def test_whoever_reads_ellipsoids_of_polynomial_networks_need_not_read_shapes_of_relu_networks(shape):
    backend = Structured("mine", never)
    backend.capabilities = replace(
        polynomial("mine", never).capabilities,
        structured=frozenset({"polynomial", "gated"}),
        attacks=frozenset({"ball", "ellipsoid"}),
    )
    said = rf"backend 'mine' does not read attacks in an? {shape} in gated programmes \(it reads ball\)"
    with pytest.raises(UnsupportedProgramError, match=said):
        solve(GATED[shape], backend=backend)
    with pytest.raises(UnsupportedProgramError, match=said):
        require_structured(GATED[shape].to_structured(), backend.capabilities, "mine")
    assert Structure(GATED["ball"]).read_by(backend) is not None
    assert Structure(LONG).read_by(backend) is not None
    backend.capabilities = replace(backend.capabilities, gated_attacks=frozenset({"ball", shape}))
    assert Structure(GATED[shape]).read_by(backend) is not None
    (way,) = make_plan(GATED[shape], "clarabel", "direct", Settings(), None).ways
    assert way.backend.name == "clarabel"


# -- classes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Together(PolynomialProgram):
    """A programme whose loss sees all classes of a sample at once."""

    multiclass: str = "joint"


def seen_at_once(problem):
    """A problem whose structured programme says so."""
    plain = problem.to_structured()
    together = Together(**{field.name: getattr(plain, field.name) for field in fields(plain)})
    object.__setattr__(problem, "to_structured", lambda: together)
    return problem


@pytest.mark.parametrize("name", ["mine", "ipm"])
def test_classes_that_a_backend_would_train_otherwise_are_refused_by_name_before_work(name):
    backend = polynomial("mine", never) if name == "mine" else get_backend(name)
    problem = seen_at_once(AdversarialSDP(X, Y, radius=0.1))
    said = rf"backend '{name}' does not train several classes by 'joint' \(it knows one-versus-all\)"
    assert Structure(problem).read_by(backend) is None
    if not backend.capabilities.cones:  # who reads these has classes there
        with pytest.raises(UnsupportedProgramError, match=said):
            solve(problem, backend=backend)
    with pytest.raises(UnsupportedProgramError, match=said):
        require_structured(problem.to_structured(), backend.capabilities, name)
    said_alone = replace(problem.to_structured(), multiclass="one-versus-all")
    require_structured(said_alone, backend.capabilities, name)


def test_auto_looks_elsewhere_for_classes_that_the_cheapest_would_train_otherwise(ways, answer):
    knows_both = polynomial("dear", lambda *_: answer[0], 9.0)
    strategies = frozenset({"one-versus-all", "joint"})
    knows_both.capabilities = replace(knows_both.capabilities, multiclass=strategies)
    ways(polynomial("cheap", never, 0.1), knows_both)
    apart, together = AdversarialSDP(X, Y, radius=0.1), seen_at_once(AdversarialSDP(X, Y, radius=0.1))
    assert [way.backend.name for way in make_plan(apart, "auto", "direct", Settings(), None).ways] == ["cheap", "dear"]
    assert [way.backend.name for way in make_plan(together, "auto", "direct", Settings(), None).ways] == ["dear"]
    (way,) = make_plan(together, "clarabel", "direct", Settings(), None).ways
    assert Structure(together).read_by(way.backend) is None


CLASSES = np.random.default_rng(1).integers(0, 3, X.shape[0])
POLISHED = {"backend": "torch", "polish": "clarabel"}


@pytest.mark.parametrize(
    ("problem", "how", "times"),
    [
        (AdversarialSDP(X, Y, radius=0.1), {}, {1: [1]}),
        (AdversarialSDP(X, Y, radius=0.1), {"settings": Settings(time_limit=60.0)}, {1: [1]}),
        (AdversarialSDP(X, Y, radius=0.1), {"backend": "ipm"}, {1: [1]}),
        (AdversarialSDP(X, Y, radius=0.1), POLISHED, {1: [1]}),
        (AdversarialSDP(X, Y, radius=0.1), {"backend": "clarabel", "method": "cutting-set"}, {}),
        (ConvexReLU(X, Y, n_gates=4), {"backend": "clarabel"}, {}),
        (ConvexReLU(X, Y, n_gates=4), {"backend": "torch"}, {1: [1]}),
        (ConvexReLU(X, Y, n_gates=4, regate=1), {"backend": "ipm"}, {1: [1, 1]}),
        (StandardSDP(X, CLASSES), {"backend": "ipm"}, {1: [1, 1, 1]}),
        (StandardSDP(X, CLASSES), {"backend": "torch"}, {1: [1], 3: [1]}),
    ],
    ids=lambda given: type(given).__name__ if hasattr(given, "parts") else " ".join(map(str, given)) or "auto",
)
def test_the_structured_programme_of_every_part_is_asked_for_once(monkeypatch, problem, how, times):
    asked = {}
    for kind in (PolynomialTraining, ReLUProblem):

        def counted(self, made=kind.to_structured):
            asked[id(self)] = self, asked.get(id(self), (self, 0))[1] + 1
            return made(self)

        monkeypatch.setattr(kind, "to_structured", counted)
    solve(problem, **{"settings": Settings(tolerance=1e-3)} | how)
    found = {}
    for part, count in asked.values():
        found.setdefault(len(part.parts), []).append(count)
    assert found == times
