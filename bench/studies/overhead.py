"""What `solve` and the harness add to the bare call of a solver.

    python -m cvxrobust.bench.studies.overhead [--repeats 5] [--n 200] [--d 30]

A standard problem with polynomial activation and hinge loss that takes Clarabel about a second, three ways, again and
again: the backend alone, on the conic programme assembled before; `solve`, which also assembles and certifies; a case
of the harness, in a worker process that is warm. The first two are compared by processor seconds, the best of all
repeats, because other work on the machine disturbs wall time by more than there is to be seen. What `solve` spends
outside the backend, assembly and certificates included, it reports itself; what the harness adds is the median of the
coordinator's seconds above those of `solve`.
"""

import time
from collections.abc import Sequence
from functools import partial
from statistics import median

from cvxrobust.bench.studies.common import study_parser, timed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    from cvxrobust import Settings, solve
    from cvxrobust.bench.harness.run.process import RunLimits
    from cvxrobust.bench.harness.run.worker_pool import Supervisor
    from cvxrobust.bench.harness.suite.cases import BackendSpec, Case, DataSpec, ProblemSpec
    from cvxrobust.core.contracts.result import Times
    from cvxrobust.core.discovery.registry import get_backend

    given = study_parser(__doc__, repeats=5, n=200, d=30).parse_args(arguments)

    spec = ProblemSpec("standard-sdp", DataSpec("planted", given.n, given.d), {"beta": 0.01})
    case = Case(spec, BackendSpec("clarabel"), tolerance=1e-6, time_limit=600.0)
    problem, backend = spec.make(), get_backend("clarabel")
    program, settings = problem.to_conic(), case.settings
    # As `solve` asks an interior point: two more digits than the certificate is to have.
    bare_settings = Settings(tolerance=1e-8, threads=1)
    supervisor = Supervisor(case.backend, RunLimits(threads=1))
    at_once = partial(solve, problem, backend="clarabel", method="direct", settings=settings)
    bare: list[float] = []
    solved: list[tuple[float, Times]] = []
    above: list[float] = []
    try:
        supervisor.run(case.key(), case)
        for _ in range(given.repeats):
            bare.append(timed(partial(backend.solve, program, bare_settings), time.process_time)[0])
            seconds, result = timed(at_once, time.process_time)
            solved.append((seconds, result.times))
            row = supervisor.run(case.key(), case)
            if "wall" not in row.metrics:
                raise SystemExit(f"the harness came to nothing: {row.failure}, {row.reason}")
            above.append(row.seconds - float(row.metrics["wall"] or 0.0))
    finally:
        supervisor.close()
    alone, (whole, times) = min(bare), min(solved, key=lambda pair: pair[0])
    inside = times.wall - times.solve - times.setup
    print(f"standard-sdp, n = {given.n}, d = {given.d}, clarabel, best of {given.repeats}")
    for name, seconds in (
        ("the backend alone, CPU", alone),
        ("solve, in all, CPU", whole),
        ("  outside the backend, wall", inside),
        ("  of which assembly", times.assemble),
        ("  of which certificates", times.certify),
        ("harness above solve, wall", median(above)),
    ):
        print(f"{name:28s} {seconds:9.4f} s  {100 * seconds / alone:7.2f} %")


if __name__ == "__main__":
    main()
