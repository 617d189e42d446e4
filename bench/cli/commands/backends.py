"""``cvxrobust backends list | show | doctor``."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvxrobust.bench.cli.arguments import Json
from cvxrobust.bench.cli.completion import backend_names
from cvxrobust.bench.display import EXIT_UNUSABLE, clean_errors, console, make_table, print_json

if TYPE_CHECKING:
    from cvxrobust.core.contracts.backend import Backend
    from cvxrobust.core.contracts.problem import Problem

backends_app = typer.Typer(help="What can solve here, and does it work?", no_args_is_help=True)


DOCTOR_TOLERANCE = 1e-4
"""Every solver reaches this on a tiny programme, first-order methods included."""


@backends_app.command("list")
def list_backends(as_json: Json = False) -> None:
    """Every plugin and backend, available or not; solvers are not imported for it."""
    with clean_errors(as_json):
        rows = backend_rows()
        if as_json:
            print_json({"backends": rows})
            return
        columns = ("name", "plugin", "status", "available", "method", "reads", "summary")
        cells = [[row[column] for column in columns] for row in rows]
        console().print(make_table("Backends", columns, cells, left=len(columns)))


def backend_rows() -> list[dict[str, Any]]:
    """One row per backend offered, in use or not, and one per plugin that could not even be asked."""
    from cvxrobust.core.discovery.registry import backend_descriptions, backends, plugins

    available, descriptions = backends(), backend_descriptions()
    rows: list[dict[str, Any]] = []
    for record in plugins():
        plugin = f"{record.entry} ({record.distribution or 'registered at run time'})"
        for name in record.backends:
            facts = _facts(available[name], descriptions[name].summary)
            rows.append({"name": name, "plugin": plugin, **facts})
        bad = dict(record.refused)
        if not (record.backends or record.problems or record.metrics or bad):
            bad = {record.entry: record.reason}
        for name, reason in bad.items():
            blank = {"available": "no", "method": "", "reads": "", "summary": reason}
            rows.append({"name": name, "plugin": plugin, "status": str(record.status), **blank})
    return rows


def _facts(backend: "Backend", summary: str) -> dict[str, Any]:
    """Availability and abilities of one backend; without its solver, what to do about that."""
    from cvxrobust.core.contracts.backend import why_unavailable
    from cvxrobust.core.discovery.loader import PluginStatus, Unusable

    reason, abilities = why_unavailable(backend), backend.capabilities
    return {
        "status": str(PluginStatus.BROKEN if isinstance(backend, Unusable) else PluginStatus.OK),
        "available": "yes" if reason is None else "no",
        "method": abilities.method,
        "reads": ", ".join(sorted(map(_name, abilities.cones | abilities.structured))),
        "summary": summary if reason is None else reason,
    }


@backends_app.command("show")
def show_backend(
    name: Annotated[
        str,
        typer.Argument(help="A backend, with a variant if it has them: cvxpy:CVXOPT.", autocompletion=backend_names),
    ],
    as_json: Json = False,
) -> None:
    """Everything that a backend says about itself."""
    with clean_errors(as_json):
        from cvxrobust.core.discovery.registry import backend_descriptions, get_backend

        backend = get_backend(name)
        description = backend_descriptions()[name.partition(":")[0]]
        facts = backend_facts(backend) | {
            "summary": description.summary,
            "variants": description.variants,
            "plugin API": description.api_version,
        }
        if as_json:
            print_json(facts)
            return
        rows = [(key, _readable(value)) for key, value in facts.items()]
        console().print(make_table(name, ("", "value"), rows, left=2))


def backend_facts(backend: "Backend") -> dict[str, Any]:
    """Capabilities as plain values."""
    from cvxrobust.core.contracts.backend import why_unavailable

    abilities = backend.capabilities
    reason = why_unavailable(backend)
    facts: dict[str, Any] = {
        "name": backend.name,
        "available": reason is None,
        "reason": reason or "",
        "class": f"{type(backend).__module__}.{type(backend).__qualname__}",
        "notes": " ".join((type(backend).__doc__ or "").split()),
    }
    for field, value in vars(abilities).items():
        plain = sorted(map(_name, value)) if isinstance(value, frozenset) else value
        facts[field] = plain
    return facts


def _name(ability: Any) -> str:
    return str(getattr(ability, "__name__", ability))


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@backends_app.command("doctor")
def doctor(as_json: Json = False) -> None:
    """Solve a tiny programme with every available backend and check the certificate; exit 1 if one fails."""
    with clean_errors(as_json):
        from cvxrobust.core.discovery.registry import backends

        rows = [examine(backend) for backend in backends().values()]
        if as_json:
            print_json({"backends": rows})
        else:
            columns = ("name", "outcome", "seconds", "version", "detail")
            cells = [
                [_readable_detail(row) if column == "detail" else row[column] for column in columns] for row in rows
            ]
            console().print(make_table("Doctor: a tiny robust network per backend", columns, cells, left=5))
        if any(row["outcome"] == "fail" for row in rows):
            raise typer.Exit(EXIT_UNUSABLE)


def findings(backend: "Backend") -> list[dict[str, Any]]:
    """What a backend says of the things that it needs, one by one; empty if it tells nothing apart."""
    from cvxrobust.core.contracts.backend import Diagnoses
    from cvxrobust.core.strangers import described, telling_interrupts

    if not isinstance(backend, Diagnoses):
        return []
    with telling_interrupts() as is_interrupt:
        try:
            return [vars(finding).copy() for finding in backend.diagnose()]
        except BaseException as error:  # as below
            if is_interrupt(error):
                raise
            return [{"what": "diagnosable", "ok": False, "detail": described(error)}]


def _readable_detail(row: dict[str, Any]) -> str:
    """The findings, one per line, and then the outcome unless a finding is the reason already."""
    lines, explained = [], False
    for finding in row["findings"]:
        detail = f" ({finding['detail']})" if finding["detail"] else ""
        lines.append(f"{finding['what']}: {'yes' if finding['ok'] else 'no'}{detail}")
        explained |= not finding["ok"] and row["outcome"] == "skipped"
    return "\n".join(lines if explained else [*lines, row["detail"]])


def examine(backend: "Backend") -> dict[str, Any]:
    """Solve a tiny problem that the backend reads and judge the outcome: ``ok``, ``fail`` or ``skipped``.

    A backend that tells apart what it needs (`cvxrobust.core.contracts.backend.Diagnoses`) is asked for that too.
    """
    import numpy as np

    from cvxrobust import AdversarialReLU, AdversarialSDP, Settings, solve
    from cvxrobust.core.contracts.backend import why_unavailable
    from cvxrobust.core.solving.plan import reads
    from cvxrobust.core.strangers import described

    row: dict[str, Any] = {"name": backend.name, "outcome": "skipped", "seconds": "", "version": ""}
    row |= {"findings": findings(backend)}
    if reason := why_unavailable(backend):
        return row | {"detail": reason}
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8, 2))
    y = np.where(X[:, 0] > 0, 1.0, -1.0)
    tiny: list[Problem[Any]] = [
        AdversarialSDP(X, y, radius=0.1, beta=0.1),
        AdversarialReLU(X, y, radius=0.1, beta=0.1, n_gates=4),  # needs no semidefinite cone
    ]
    problem = next((problem for problem in tiny if reads(backend, problem)), None)
    if problem is None:
        return row | {"detail": "it reads none of the tiny problems, so there is nothing to try"}
    tolerance = max(DOCTOR_TOLERANCE, backend.capabilities.tightest_tolerance)
    start = time.perf_counter()
    try:
        result = solve(problem, backend=backend.name, settings=Settings(tolerance=tolerance))
    except (Exception, SystemExit) as error:  # whatever a solver raises is the finding
        seconds = f"{time.perf_counter() - start:.2f}"
        return row | {"outcome": "fail", "seconds": seconds, "detail": described(error)}
    return row | {
        "outcome": "ok" if result.quality == "certified" else "fail",
        "seconds": f"{time.perf_counter() - start:.2f}",
        "version": result.versions.get(backend.name, ""),
        "detail": str(result),
    }
