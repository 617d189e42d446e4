"""What `solve` and the harness add to the bare call of a solver.

    python -m cvxrobust.bench.overhead [--repeats 5] [--n 400] [--d 30]

A standard problem with polynomial activation and hinge loss that takes Clarabel about a second, three ways, again and
again: the backend alone, on the conic programme assembled before; `solve`, which also assembles and certifies; a case
of the harness, in a worker process that is warm. Medians. What `solve` adds is split into assembly and certificate,
which it reports, and the rest, which is overhead; what the harness adds is the coordinator's seconds above those of
`solve`.
"""

import argparse
import time
from statistics import median


def main() -> None:
    """Measure and print."""
    from cvxrobust import Settings, solve
    from cvxrobust.bench.harness.cases import BackendSpec, Case, DataSpec, ProblemSpec
    from cvxrobust.bench.harness.process import Terms
    from cvxrobust.bench.harness.workshop import Workshop
    from cvxrobust.core.registry import get_backend

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--d", type=int, default=30)
    given = parser.parse_args()

    spec = ProblemSpec("standard-sdp", DataSpec("planted", given.n, given.d), {"beta": 0.01})
    case = Case(spec, BackendSpec("clarabel"), tolerance=1e-6, time_limit=600.0)
    problem, backend = spec.make(), get_backend("clarabel")
    program, settings = problem.to_conic(), case.settings
    # As `solve` asks an interior point: two more digits than the certificate is to have.
    bare_settings = Settings(tolerance=1e-8, threads=1)
    workshop = Workshop(case.backend, Terms(threads=1))
    found: dict[str, list[float]] = {name: [] for name in ("bare", "solve", "assemble", "certify", "harness")}
    try:
        workshop.run(case.key(), case)
        for _ in range(given.repeats):
            began = time.perf_counter()
            backend.solve(program, bare_settings)
            found["bare"].append(time.perf_counter() - began)
            result = solve(spec.make(), backend="clarabel", method="direct", settings=settings)
            found["solve"].append(result.times.wall)
            found["assemble"].append(result.times.assemble)
            found["certify"].append(result.times.certify)
            row = workshop.run(case.key(), case)
            if "wall" not in row.metrics:
                raise SystemExit(f"the harness came to nothing: {row.failure}, {row.reason}")
            found["harness"].append(row.seconds - float(row.metrics["wall"] or 0.0))
    finally:
        workshop.close()
    middle = {name: median(values) for name, values in found.items()}
    rest = middle["solve"] - middle["assemble"] - middle["certify"] - middle["bare"]
    print(f"standard-sdp, n = {given.n}, d = {given.d}, clarabel, medians of {given.repeats}")
    for name, seconds in (
        ("the backend alone", middle["bare"]),
        ("solve, in all", middle["solve"]),
        ("  of which assembly", middle["assemble"]),
        ("  of which certificates", middle["certify"]),
        ("  of which overhead", rest),
        ("harness above solve", middle["harness"]),
    ):
        print(f"{name:28s} {seconds:9.4f} s  {100 * seconds / middle['bare']:7.2f} %")


if __name__ == "__main__":
    main()
