"""Suites: TOML files that say what a benchmark runs, checked before anything starts."""

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from cvxrobust.bench.data.synthetic import GENERATORS
from cvxrobust.bench.harness.suite.cases import BackendSpec, Case, harmless_of
from cvxrobust.bench.harness.suite.schema import BackendEntry, Count, Positive, ProblemEntry, Strict, parse_bytes
from cvxrobust.core.errors import CvxRobustError, InputError, UnknownNameError
from cvxrobust.core.secrets import cleaned, masked, masked_by_name

SUITES = Path(__file__).parents[2] / "suites"
"""Where the suites lie that ship with the package."""

EVERY = "*"
"""In place of a backend's name: every backend that is registered and can run."""


class Suite(Strict):
    """A benchmark: problems, backends, and the terms on which they meet.

    Args:
        name: Its name.
        description: What it is for, in a sentence or two.
        problems: What is solved.
        backends: What solves it.
        tolerances: Certified relative gaps to reach, each a case of its own.
        time_limit: Seconds that a solve may take.
        grace: Seconds after the limit at which a solver that did not stop is killed. Solves that are isolated from
            `solve` itself end within `cvxrobust.core.solving.isolation.GRACE`, with bounds; more than that leaves them
            time.
        memory_limit: Bytes of resident memory at which a worker is killed; 0 for no limit.
        threads: Threads of every solver.
        repeats: Times that every case is run.
        seed: Of the order in which cases run, and of everything random in the solvers.
    """

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    description: str = ""
    problems: tuple[ProblemEntry, ...] = Field(min_length=1)
    backends: tuple[BackendEntry, ...] = Field(min_length=1)
    tolerances: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (1e-4,)
    time_limit: Positive = 60.0
    grace: Positive = 10.0
    memory_limit: Annotated[int, Field(ge=0)] = 0
    threads: Count = 1
    repeats: Count = 1
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("tolerances", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, float) else value

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return parse_bytes(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.tolerances:
            raise ValueError("give at least one tolerance")
        return self

    def public(self) -> dict[str, Any]:
        """The suite as it is written into manifests: without secrets."""
        public: dict[str, Any] = cleaned(masked_by_name(self.model_dump(mode="json")))
        for entry, shown in zip(self.backends, public["backends"], strict=True):
            shown["options"] = masked(entry.options, harmless_of(entry.name) if entry.options else ())
        return public

    def cases(self) -> list[Case]:
        """Every case, in the order of the file: problems, then backends, tolerances and repeats.

        Raises:
            UnknownNameError: A family, generator, data set or backend does not exist.
            InputError: A setting is not what it should be, or two cases are the same.
        """
        self._check_names()
        problems = [spec for entry in self.problems for spec in entry.specs()]
        backends = [spec for entry in self.backends for spec in self._backend_specs(entry)]
        cases = [
            Case(problem, backend, tolerance, self.time_limit, self.threads, self.seed, repeat)
            for problem, backend, tolerance, repeat in itertools.product(
                problems, backends, self.tolerances, range(self.repeats)
            )
            if not backend.families or problem.family in backend.families
        ]
        seen: set[str] = set()
        for case in cases:
            if str(case) in seen:
                raise InputError(
                    f"suite {self.name!r} has the case {str(case)!r} twice; give what differs other labels or names."
                )
            seen.add(str(case))
        if not cases:
            raise InputError(f"suite {self.name!r} has no cases: no backend that can run here is for its families.")
        return cases

    def check(self, folder: str | None = None) -> None:
        """Try what only the families and backends themselves can judge, so that no typo waits for a worker.

        Every combination of a family and its parameters is made once, and native options are shown to their backend.

        Args:
            folder: Where data sets lie; None takes the environment variable ``CVXROBUST_DATA``.

        Raises:
            InputError: Data is missing, or a value is refused.
        """
        from cvxrobust.core.contracts.backend import require_settings, why_unavailable
        from cvxrobust.core.discovery.registry import get_backend

        cases = self.cases()
        makeable = {(case.problem.family, str(case.problem.parameters)): case.problem for case in reversed(cases)}
        for problem in makeable.values():
            try:
                problem.make(folder)
            except (TypeError, ValueError) as error:
                raise InputError(f"problem {problem.name!r}: {error}") from error
        for case in {case.backend.title: case for case in cases}.values():
            settings, backend = case.settings, get_backend(case.backend.name)
            if settings.options and why_unavailable(backend) is None:
                try:
                    require_settings(backend, settings)
                except CvxRobustError as error:
                    error.args = tuple(cleaned(part, case.secrets) for part in error.args)
                    raise

    def _backend_specs(self, entry: BackendEntry) -> Iterator[BackendSpec]:
        from cvxrobust.core.contracts.backend import why_unavailable
        from cvxrobust.core.discovery.registry import backends

        names = [entry.name]
        if entry.name == EVERY:
            names = [name for name, backend in backends().items() if why_unavailable(backend) is None]
        for name, method in itertools.product(names, entry.methods):
            label = entry.label if entry.name != EVERY else ""
            yield BackendSpec(
                name, method, entry.options, entry.polish, entry.device, entry.dtype, label, tuple(entry.families)
            )

    def _check_names(self) -> None:
        from cvxrobust.bench.data.known import canonical_name, known_names
        from cvxrobust.core.discovery.registry import get_backend, problems

        families = problems()
        for entry in self.problems:
            if entry.family not in families:
                raise UnknownNameError("problem family", entry.family, families)
            known = families[entry.family].parameters
            for name in entry.parameters:
                if name not in known:
                    raise UnknownNameError(f"parameter of {entry.family}", name, known)
            if entry.data not in GENERATORS and not canonical_name(entry.data) and not Path(entry.data).suffix:
                hint = "Or name a .csv or .npz file."
                raise UnknownNameError("data", entry.data, [*GENERATORS, *known_names()], hint)
            if entry.data in GENERATORS and not (entry.n and entry.d):
                raise InputError(f"data {entry.data!r} is drawn at random: say how many samples, n, and features, d.")
        for backend in self.backends:
            if backend.name != EVERY:
                get_backend(backend.name)
            for family in backend.families:
                if family not in families:
                    raise UnknownNameError("problem family", family, families)


def load_suite(name_or_path: str) -> Suite:
    """Read a suite.

    Args:
        name_or_path: A shipped suite's name, or the path of a ``.toml`` file.

    Raises:
        UnknownNameError: There is no such suite.
        InputError: The file is missing or no TOML, a key does not exist, or a value is not what it should be.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        shipped = {file.stem: file for file in sorted(SUITES.glob("*.toml"))}
        if name_or_path not in shipped:
            raise UnknownNameError("suite", name_or_path, shipped, "Or name a .toml file.")
        path = shipped[name_or_path]
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}.") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}.") from error
    return parse_suite(content, str(path))


def parse_suite(content: Mapping[str, Any], origin: str = "the suite") -> Suite:
    """Check a suite's content.

    Raises:
        InputError: A key does not exist (the nearest valid one is suggested), or a value is not what it should be.
    """
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{origin}: {'; '.join(map(_complaint, error.errors()))}.") from error


def _complaint(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "literal_error":
        known = re.findall("'([^']*)'", error["ctx"]["expected"])
        return f"{place} is {error['input']!r}{_guess(error['input'], known)}"
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg'].removeprefix('Value error, ')}"
    tables: dict[Any, type[Strict]] = {"problems": ProblemEntry, "backends": BackendEntry}
    table = tables.get(error["loc"][0], Suite) if len(error["loc"]) > 1 else Suite
    return f"{place} is no key of a suite{_guess(error['loc'][-1], list(table.model_fields))}"


def _guess(name: object, known: list[str]) -> str:
    close = get_close_matches(str(name), known, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
