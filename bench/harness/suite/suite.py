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
from cvxrobust.bench.harness.suite.schema import (
    BackendEntry,
    Count,
    CsvEntry,
    Positive,
    ProblemEntry,
    Seed,
    Strict,
    parse_bytes,
)
from cvxrobust.core.errors import CvxRobustError, InputError, UnknownNameError
from cvxrobust.core.secrets import MASK, SECRET, cleaned, masked, masked_by_name, secrets_of

SUITES = Path(__file__).parents[2] / "suites"
"""Where the suites lie that ship with the package."""

EVERY = "*"
"""In place of a backend's name: every backend that is registered and can run."""


MOST_CASES = 1_000_000
"""More than anybody can wait for."""


class Suite(Strict):
    """A benchmark: problems, backends, and the terms on which they meet.

    Args:
        name: Its name; that of its file by default.
        description: What it is for, in a sentence or two.
        problems: What is solved.
        backends: What solves it: tables, or names where nothing else has to be said.
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

    name: str = Field(
        min_length=1, max_length=100, pattern=r"^[\w.-]+$", description="letters, digits, dots, hyphens or underscores"
    )
    description: str = Field(default="", description="a sentence in quotation marks")
    problems: tuple[ProblemEntry, ...] = Field(min_length=1, description="one or more [[problems]] tables")
    backends: tuple[BackendEntry, ...] = Field(
        min_length=1, description="a list of names, or one or more [[backends]] tables"
    )
    tolerances: tuple[Annotated[float, Field(gt=0, lt=1, strict=True)], ...] = Field(
        default=(1e-4,), description="a number above 0 and below 1, or a list of them"
    )
    time_limit: Positive = Field(default=60.0, description="seconds above 0")
    grace: Positive = Field(default=10.0, description="seconds above 0")
    memory_limit: Annotated[int, Field(ge=0, lt=2**63, strict=True)] = Field(
        default=0, description="bytes, or a text such as '2 GiB'; 0 for no limit"
    )
    threads: Count = Field(default=1, description="a whole number of 1 or more")
    repeats: Count = Field(default=1, description="a whole number of 1 or more")
    seed: Seed = Field(default=0, description="a whole number from 0 to 4294967295")

    @field_validator("tolerances", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, float) else value

    @field_validator("backends", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A name stands for a table with this name alone."""
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list):
            return listed
        return [{"name": entry} if isinstance(entry, str) else entry for entry in listed]

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
        count = len(problems) * len(backends) * len(self.tolerances) * self.repeats
        if count > MOST_CASES:
            raise InputError(f"suite {self.name!r} stands for {count:,} cases; at most {MOST_CASES:,} can be planned.")
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
            except InputError as error:
                raise InputError(f"problem {problem.name!r}: {error}") from error
            except MemoryError as error:
                raise InputError(
                    f"problem {problem.name!r} does not fit into memory; choose smaller n and d."
                ) from error
            except Exception as error:  # families of strangers refuse values in their own ways
                raise InputError(f"problem {problem.name!r}: {type(error).__name__}: {error}") from error
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
            if entry.data in GENERATORS and (entry.label_column is not None or entry.csv is not None):
                raise InputError(f"data {entry.data!r} is drawn at random; label_column and csv are for files.")
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
    return _parsed(*_read(name_or_path))


def suite_text(name_or_path: str) -> str:
    """A suite as it is written, comments and all, but for values of options that are secret.

    Args:
        name_or_path: As for `load_suite`.

    Raises:
        InputError: As `load_suite` does.
    """
    path, text = _read(name_or_path)
    for entry in _parsed(path, text).backends:
        if entry.options:
            text = cleaned(text, secrets_of(entry.options, harmless_of(entry.name)))
    return text


def _read(name_or_path: str) -> tuple[Path, str]:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        shipped = {file.stem: file for file in sorted(SUITES.glob("*.toml"))}
        if name_or_path not in shipped:
            raise UnknownNameError("suite", name_or_path, shipped, "Or name a .toml file.")
        path = shipped[name_or_path]
    try:
        return path, path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; check the path.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}; see bench/suites/README.md for the format.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}.") from error


def _parsed(path: Path, text: str) -> Suite:
    try:
        content = tomllib.loads(text.removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{path} is no TOML: {error}; see bench/suites/README.md for the format.") from error
    return parse_suite({"name": re.sub(r"[^\w.-]+", "-", path.stem)} | content, str(path))


def parse_suite(content: Mapping[str, Any], origin: str = "the suite") -> Suite:
    """Check a suite's content.

    Raises:
        InputError: A key does not exist (the nearest valid one is suggested), or a value is not what it should be.
    """
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        # A value that may be of several kinds is refused once for each, and a list without its wrong entries as short.
        wrong = [details for details in error.errors(include_url=False) if not _is_echo(details)]
        said = dict.fromkeys(map(_complaint, wrong))
        text = "; ".join(said)
        raise InputError(f"{origin}: {text}{'' if text.endswith('?') else '.'}") from None


def _is_echo(error: Any) -> bool:
    return error["type"] == "too_short" and isinstance(error["input"], list) and bool(error["input"])


def _complaint(error: Any) -> str:
    """What is wrong with one value, in our words: those of the checker are about Python."""
    place, expected, known = _place(error["loc"], error["type"] == "extra_forbidden")
    if error["type"] == "extra_forbidden":
        return f"{place} is no key of a suite{_guess(error['loc'][-1], known)}"
    if error["type"] == "missing":
        return f"{place} is missing; expected {expected}"
    if error["type"] == "value_error":
        return f"{place}: {error['ctx']['error']}".lstrip(": ").rstrip(".")
    value = MASK if SECRET.search(place) else _shown(error["input"])
    if error["type"] == "literal_error":
        names = re.findall("'([^']*)'", error["ctx"]["expected"])
        return f"{place} is {value}{_guess(error['input'], names)}"
    return f"{place or 'the suite'} is {value}; expected {expected}"


def _place(steps: tuple[int | str, ...], unknown: bool) -> tuple[str, str, list[str]]:
    """Where something is wrong, what is expected there, and the keys of the table that it lies in.

    Args:
        steps: Keys and numbers that lead there; the checker adds names of its own for kinds of values.
        unknown: Whether the last step is a key that does not exist.
    """
    tables: dict[int | str, type[Strict]] = {"problems": ProblemEntry, "backends": BackendEntry, "csv": CsvEntry}
    table: type[Strict] = Suite
    place, expected = list[str](), "keys of a suite"
    for number, step in enumerate(steps):
        if isinstance(step, int):
            place.append(str(step))
            expected = f"a [[{place[0]}]] table" if table is not Suite and number == 1 else expected
            continue
        if step not in table.model_fields:
            place += [step] if unknown or place[-1:] == ["options"] else []
            break
        place.append(step)
        expected = table.model_fields[step].description or "another value"
        table = tables.get(step, table)
    return ".".join(place), expected, list(table.model_fields)


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _guess(name: object, known: list[str]) -> str:
    close = get_close_matches(str(name), known, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
