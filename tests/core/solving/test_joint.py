"""Classes solved in one go: the answers of each alone, judged by nobody but core."""

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import AdversarialSDP, Batches, InputError, Settings, StreamedSDP, solve
from cvxrobust.core.contracts.backend import Capabilities
from cvxrobust.core.contracts.result import Quality, Solution, Termination
from cvxrobust.core.programs.polynomial.moments import SpanMultipliers
from cvxrobust.core.solving.joint import joint_program


def problem(classes=3, n=60, d=5):
    rng = np.random.default_rng(11)
    X = rng.standard_normal((n, d))
    y = (X @ rng.standard_normal((d, classes)) + 0.5 * rng.standard_normal((n, classes))).argmax(axis=1)
    return AdversarialSDP(X, y, radius=0.2)


def test_classes_in_one_go_are_the_classes_one_by_one(monkeypatch):
    task, settings = problem(), Settings(tolerance=1e-4)
    together = solve(task, backend="torch", settings=settings)
    monkeypatch.setattr("cvxrobust.core.solving.joint.joint_program", lambda *_: None)
    apart = solve(task, backend="torch", settings=settings)
    for one, other in zip(together.parts, apart.parts, strict=True):
        assert one.quality is other.quality is Quality.CERTIFIED
        assert one.certificate.lower <= other.certificate.upper
        assert other.certificate.lower <= one.certificate.upper
        assert one.iterations > 10
    assert together.certificate.upper == pytest.approx(task.objective(together.network), rel=1e-12)
    sums = sum(part.certificate.lower for part in together.parts)
    assert together.certificate.lower == pytest.approx(sums, rel=1e-12)
    assert together.trace
    assert together.network.alpha.shape[1] == 3


def test_streamed_classes_share_passes_and_equal_those_in_memory():
    task, settings = problem(), Settings(tolerance=1e-4, options={"batch": 0})
    reads = []

    def batches():
        reads.append(1)
        return [(task.X[i : i + 25], task.y[i : i + 25]) for i in range(0, 60, 25)]

    streamed = solve(StreamedSDP(Batches(batches), radius=0.2), backend="torch", settings=settings)
    whole = solve(task, backend="torch", settings=settings)
    assert streamed.quality is Quality.CERTIFIED
    for one, other in zip(streamed.parts, whole.parts, strict=True):
        assert one.certificate.upper == pytest.approx(other.certificate.upper, rel=2e-4)
    assert len(reads) < 0.7 * streamed.iterations


@pytest.mark.parametrize("bounds", [None, (-2.0, 2.0)], ids=["boxes", "cut off"])
def test_programmes_of_other_kinds_are_solved_class_by_class(bounds):
    task = problem(n=30, d=3)
    X = task.X if bounds is None else task.X.clip(*bounds)
    boxed = AdversarialSDP(X, task.y, radius=0.1, norm="inf", bounds=bounds, beta=0.1)
    found = solve(boxed, backend="torch", settings=Settings(tolerance=1e-2))
    assert found.quality is Quality.CERTIFIED
    assert len(found.parts) == 3


def test_a_start_reaches_every_class():
    task = problem()
    first = solve(task, backend="torch", settings=Settings(tolerance=1e-4))
    again = solve(task, backend="torch", settings=Settings(tolerance=1e-4), warm_start=first)
    assert again.iterations < first.iterations


class Together(Fake):
    """Reads polynomial programmes and answers all columns at once, with whatever it is given."""

    capabilities = Capabilities(structured=frozenset({"polynomial"}), monitored=True)
    together = frozenset({"polynomial"})

    def __init__(self, answer):
        self.answer = answer

    def solve_together(self, program, settings, monitors, warm_starts):
        return self.answer(program, monitors)


def nothing(program):
    n, d = program.X.shape
    return SpanMultipliers(np.zeros(n), np.empty((d, 0)), np.empty((n, 0)))


def claims(program, monitors):
    for monitor in monitors:
        monitor.report(1e-3, 1e-3)
    return [Solution(Termination.CONVERGED, multipliers=nothing(program)) for _ in monitors]


def raises(program, monitors):
    raise RuntimeError("lost")


class Moody:
    """Multipliers that do not answer."""

    theta, basis = np.full(60, 1.0 / 60), np.zeros((5, 1))

    def attacks(self, rows, X):
        raise ZeroDivisionError


def misfits(program, monitors):
    given = (Moody(), SpanMultipliers(np.ones(7), np.eye(5), np.ones((7, 5))), "nonsense")
    return [Solution(Termination.CONVERGED, multipliers=multipliers) for multipliers in given]


@pytest.mark.parametrize(
    ("answer", "termination", "message"),
    [
        (claims, Termination.CONVERGED, ""),
        (misfits, Termination.CONVERGED, ""),
        (raises, Termination.ERROR, "raised RuntimeError: lost"),
        (lambda program, monitors: [], Termination.ERROR, "one solution per class"),
        (lambda program, monitors: None, Termination.ERROR, "one solution per class"),
        (lambda program, monitors: [None, 3, "x"], Termination.ERROR, "returned"),
    ],
)
def test_lies_and_failures_leave_what_core_knows(answer, termination, message):
    task = problem()
    result = solve(task, backend=Together(answer), settings=Settings(tolerance=1e-4))
    assert result.quality is Quality.UNUSABLE
    assert result.termination is termination
    assert message in result.message
    # The network without neurons loses 1 per class, and nobody proved anything near that.
    assert result.certificate.upper == pytest.approx(3.0)
    assert 0.0 <= result.certificate.lower < 1.5
    for part in result.parts:
        assert part.certificate.lower <= part.certificate.upper == pytest.approx(1.0)


def test_a_mistake_of_the_caller_is_an_error():
    with pytest.raises(InputError, match="batch"):
        solve(problem(), backend="torch", settings=Settings(options={"batch": -1}))


def test_only_several_classes_are_solved_in_one_go(monkeypatch):
    asked = []

    def remember(*call):
        found = joint_program(*call)
        asked.append(found is not None)
        return found

    monkeypatch.setattr("cvxrobust.core.solving.joint.joint_program", remember)
    task, settings = problem(n=20), Settings(tolerance=1e-1)
    solve(task.parts[0], backend="torch", settings=settings)
    solve(task, backend="torch", settings=settings)
    solve(task, backend="torch", polish=True, settings=settings)
    assert asked == [False, True, False]
