"""Rows made up for tests of the analysis: every verdict, every failure, and whatever makes reports stumble."""

import math

from cvxrobust.bench.harness.results.rows import Failure, Row, Verdict
from cvxrobust.bench.harness.results.store import Store
from cvxrobust.bench.harness.suite.cases import BackendSpec, Case, DataSpec, ProblemSpec

NASTY = '<script>document.title = "broken"</script> <b>|pipe| `tick` & "quote" ünïcödé 雪\nsecond line'
OPTIMUM = 0.5


def spec(n=20, d=3, family="adversarial-sdp", data="gaussian", seed=0, **parameters):
    return ProblemSpec(family, DataSpec(data, n, d, seed), parameters or {"radius": 0.1})


def row(
    backend="alpha",
    problem=None,
    seconds=1.0,
    upper=OPTIMUM,
    lower=OPTIMUM * (1 - 1e-5),
    failure=Failure.NONE,
    tolerance=1e-4,
    limit=100.0,
    repeat=0,
    threads=1,
    trace=None,
    memory=1e8,
    version="1.0",
    **rest,
):
    """A row; certified unless a failure is given, with a trace that closes the gap in three steps."""
    case = Case(problem or spec(), BackendSpec(backend.split()[0], label=backend), tolerance, limit, threads, 0, repeat)
    verdict = Verdict.CERTIFIED if not failure else Verdict.FAILED
    if failure is Failure.INACCURATE:
        verdict = Verdict.INACCURATE
    if failure and failure not in (Failure.INACCURATE, Failure.UNUSABLE, Failure.TIME_LIMIT):
        upper = lower = None
        trace = trace or ()
    if failure in (Failure.INACCURATE, Failure.UNUSABLE, Failure.TIME_LIMIT) and lower == OPTIMUM * (1 - 1e-5):
        lower = 0.99 * lower
    if trace is None:
        trace = trace_to(seconds, upper, lower)
    metrics = {
        "assemble": 0.1 * seconds, "setup": 0.1 * seconds, "solve": 0.7 * seconds, "certify": 0.1 * seconds,
        "wall": seconds, "peak-memory": memory, "iterations": 12.0, "dimacs-error": 3e-7, "neurons": 4.0,
        "stranger's": 7.0,
    }  # fmt: skip
    content = {
        "failure": failure,
        "reason": f"{failure}: in words" if failure else "",
        "termination": "converged" if not failure else "error",
        "metrics": metrics if upper is not None else {},
        "worker": {"host": "machine-1", "pid": 7, "threads": threads},
        "versions": {"python": "3.11", backend.split()[0]: version},
        "started": "2026-01-02T03:04:05.678+00:00",
        "seconds": seconds,
    }
    key = f"{case.problem.name}|{backend}|{tolerance}|{repeat}|{threads}|{version}"
    return Row(
        key, case.to_dict(), case.problem.name, backend, verdict, upper=upper, lower=lower, trace=trace,
        **(content | rest),
    )  # fmt: skip


def trace_to(seconds, upper, lower):
    """Gaps of about 0.5 and 5e-3 at a tenth and a half of the time, then the bounds given."""
    if upper is None or lower is None or not math.isfinite(lower):
        return ()
    return (
        (0.1 * seconds, 2 * upper, 0.5 * lower),
        (0.5 * seconds, 1.005 * upper, lower),
        (seconds, upper, lower),
    )


def cheat(problem=None, **rest):
    """A backend that says it converged, far from any optimum: core found no certificate worth the name."""
    return row(
        "cheat", problem, 0.001, upper=40.0, lower=-3.0, failure=Failure.UNUSABLE, termination="converged",
        message="optimal objective 0.1", reason="certified relative gap 1.1e+00; the solver says 'converged'", **rest,
    )  # fmt: skip


def liar(problem=None, **rest):
    """A backend whose certificate claims a lower bound above what others attained."""
    return row("liar", problem, 0.2, upper=2 * OPTIMUM, lower=2 * OPTIMUM * (1 - 1e-6), **rest)


def study():
    """Three good backends on five sizes and two families, with repeats; failures of every kind; a cheat."""
    rows = []
    for repeat in (0, 1):
        for n in (10, 20, 40, 80, 160):
            rows.append(row("alpha", spec(n), 1e-3 * n**2, repeat=repeat))
            rows.append(row("beta δ", spec(n), 0.05 * n, repeat=repeat, upper=OPTIMUM * (1 + 1e-6)))
        rows.append(row("alpha", spec(40, family="convex-relu"), 0.4, repeat=repeat))
        rows.append(
            row("gamma", spec(40, family="convex-relu"), 10.0, failure=Failure.TIME_LIMIT, repeat=repeat, lower=0.4)
        )
    rows += [cheat(spec(n)) for n in (10, 20, 40, 80, 160)]
    kinds = [failure for failure in Failure if failure not in (Failure.NONE, Failure.UNUSABLE)]
    for number, failure in enumerate(kinds):
        rows.append(row("gamma", spec(20, data_point=number), 3.0, failure=failure, message=NASTY, reason=NASTY))
        rows.append(row("alpha", spec(20, data_point=number), 0.3))
    infinite = row("gamma", spec(10), 3.0, failure=Failure.UNUSABLE, lower=-math.inf)
    return [*rows, infinite]


def manifest(**rest):
    return {
        "id": "a-run",
        "created": "2026-01-02T03:04:05+00:00",
        "commit": "0123456789abcdef",
        "suite": {"name": "made-up", "description": "Rows made up for tests.", "threads": 1},
        "machine": {"host": "machine-1", "processor": "a processor", "cores": 2, "memory": 2**34},
        "versions": {"python": "3.11", "cvxrobust": "0.1.0"},
    } | rest


def write_run(folder, rows, **rest):
    store = Store(folder)
    store.create(manifest(**rest))
    with store:
        for each in rows:
            store.append(each)
    return folder


def plain_row(key, verdict=Verdict.CERTIFIED, **changes):
    case = Case(ProblemSpec("standard-sdp", DataSpec("planted", 10, 2)), BackendSpec("scs"), 1e-4, 9.0)
    return Row(key, case.public(), case.problem.name, "scs", verdict, **changes)
