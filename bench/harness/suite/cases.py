"""One case of a benchmark: a problem, a backend, and the terms on which they meet."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.bench.harness.suite.versions import installed
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.secrets import cleaned, masked, masked_by_name, secrets_of
from cvxrobust.core.settings import Settings

SCHEMA = 1
"""Raised whenever rows of older runs can no longer be compared with new ones."""


@dataclass(frozen=True)
class DataSpec:
    """Where samples come from.

    Args:
        name: A generator, a data set or a file.
        n: Samples, drawn or taken; None for all.
        d: Features, drawn or the first ones; None for all.
        seed: Of the draw.
        label: The column or array of labels of a file; None for the usual one.
        form: How a CSV file is to be read; None for the usual form.
    """

    name: str
    n: int | None = None
    d: int | None = None
    seed: int = 0
    label: str | None = None
    form: CsvFormat | None = None

    def load(self, folder: str | None = None) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Inputs, shape (n, d), and labels, shape (n,).

        Args:
            folder: Where data sets lie; None takes the environment variable ``CVXROBUST_DATA``.

        Raises:
            InputError: There is no such data, or not enough of it.
        """
        from cvxrobust.bench.data.synthetic import samples

        return samples(self.name, self.n, self.d, self.seed, folder, self.label, self.form)

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "DataSpec":
        """The data that `dataclasses.asdict` described."""
        form = content.get("form")
        if form is None:
            return DataSpec(**content)
        missing = None if form["missing"] is None else tuple(form["missing"])
        return DataSpec(**{**content, "form": CsvFormat(**{**form, "missing": missing})})


@dataclass(frozen=True)
class ProblemSpec:
    """A problem that can be made anywhere.

    Args:
        family: Registered name of its family.
        data: Its samples.
        parameters: Keyword parameters of the family.
        label: What reports call it; empty for a name made of the rest.
    """

    family: str
    data: DataSpec
    parameters: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def name(self) -> str:
        """What reports call it: unique within a suite."""
        size = [f"{key}={value}" for key, value in (("n", self.data.n), ("d", self.data.d)) if value is not None]
        size += [f"seed={self.data.seed}"] if self.data.seed else []
        size += [f"label={self.data.label}"] if self.data.label is not None else []
        rest = [f"{key}={value}" for key, value in self.parameters.items()]
        return " ".join([self.label or self.family, self.data.name, *size, *rest])

    def make(self, folder: str | None = None) -> Problem[Any]:
        """The problem itself.

        Raises:
            InputError: The data is missing, or the family refuses it.
        """
        from cvxrobust.core.discovery.registry import problems

        X, y = self.data.load(folder)
        parameters = {name: _frozen(value) for name, value in self.parameters.items()}
        made: Problem[Any] = problems()[self.family].factory()(X, y, **parameters)
        return made


@dataclass(frozen=True)
class BackendSpec:
    """A competitor: a backend and how it is used.

    Args:
        name: Registered name, with a variant where there are variants.
        method: Method of `solve`.
        options: Native options.
        polish: Name of the backend that polishes, or whether one does.
        device: Where it runs.
        dtype: Precision of its iterates.
        label: What reports call it; empty for a name made of the rest.
        families: Problem families it is for; empty for all.
    """

    name: str
    method: str = "direct"
    options: Mapping[str, Any] = field(default_factory=dict)
    polish: bool | str = False
    device: str = "auto"
    dtype: str = "float64"
    label: str = ""
    families: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What reports call it."""
        if self.label:
            return self.label
        words = [self.name] + ([self.method] if self.method != "direct" else [])
        words += [f"+{self.polish}"] if isinstance(self.polish, str) else ["+polish"] if self.polish else []
        words += [self.device] if self.device != "auto" else []
        words += [self.dtype] if self.dtype != "float64" else []
        words += [f"{key}={value}" for key, value in self.shown_options.items()]
        return " ".join(words)

    @property
    def shown_options(self) -> dict[str, Any]:
        """Its options without secrets: those that the backend does not vouch for are masked."""
        return masked(self.options, harmless_of(self.name) if self.options else ())

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "BackendSpec":
        """The competitor that `dataclasses.asdict` described."""
        return BackendSpec(**{**content, "families": tuple(content["families"])})


@dataclass(frozen=True)
class Case:
    """One run of one competitor on one problem.

    Args:
        problem: The problem.
        backend: The competitor.
        tolerance: Certified relative gap to reach.
        time_limit: Seconds that the solve may take.
        threads: Threads of the solver.
        seed: Of everything random in the solver.
        repeat: Which of several runs that differ in nothing.
    """

    problem: ProblemSpec
    backend: BackendSpec
    tolerance: float
    time_limit: float
    threads: int = 1
    seed: int = 0
    repeat: int = 0

    @property
    def settings(self) -> Settings:
        """How to solve it."""
        return Settings(
            tolerance=self.tolerance,
            time_limit=self.time_limit,
            threads=self.threads,
            seed=self.seed,
            device=self.backend.device,
            dtype=self.backend.dtype,
            options=self.backend.options,
        )

    def __str__(self) -> str:
        repeat = f" #{self.repeat}" if self.repeat else ""
        return f"{self.problem.name} | {self.backend.title} | {self.tolerance:g}{repeat}"

    def to_dict(self) -> dict[str, Any]:
        """Everything, secrets included, ready for JSON; `Case.from_dict` takes it back. For workers only."""
        content = asdict(self)
        data = content["problem"]["data"]
        # Rows of older runs, which knew nothing of these, are of the same problems.
        content["problem"]["data"] = {k: v for k, v in data.items() if k not in ("label", "form") or v is not None}
        return content

    def public(self) -> dict[str, Any]:
        """The same with secrets masked: for rows and manifests."""
        public: dict[str, Any] = cleaned(masked_by_name(self.to_dict()))
        public["backend"]["options"] = self.backend.shown_options
        return public

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that `public` masks, longest first: no message may repeat them."""
        options = self.backend.options
        return secrets_of(options, harmless_of(self.backend.name)) if options else ()

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "Case":
        """The case that `to_dict` described."""
        problem = dict(content["problem"])
        problem["data"] = DataSpec.from_dict(problem["data"])
        rest = {name: value for name, value in content.items() if name not in ("problem", "backend")}
        return Case(ProblemSpec(**problem), BackendSpec.from_dict(content["backend"]), **rest)

    def key(self, folder: str | None = None) -> str:
        """What identifies the case, in this run and in others: a hash of everything that its outcome may depend on.

        That is the numbers of the data (not only their name), the family and its parameters, the backend, its version
        and that of this package, the settings, the repeat, and the version of the rows' form. Labels are left out, and
        so are options whose names say that they are secrets: they change, and nothing may be left of them.

        Args:
            folder: Where data sets lie; None takes the environment variable ``CVXROBUST_DATA``.

        Raises:
            InputError: The data is missing.
        """
        content = masked_by_name(self.to_dict())
        for spec in (content["problem"], content["backend"]):
            del spec["label"]
        for name in ("label", "form"):  # what they make of a file is in the numbers of the data
            content["problem"]["data"].pop(name, None)
        del content["backend"]["families"]
        content["data"] = fingerprint(self.problem.data, folder)
        content["versions"] = _versions(self.backend.name, self.backend.polish)
        content["schema"] = SCHEMA
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:20]


@lru_cache(maxsize=256)
def harmless_of(name: str) -> frozenset[str]:
    """Options that a backend vouches for; none of one that is not here, or of all backends at once."""
    from cvxrobust.core.contracts.backend import harmless_options
    from cvxrobust.core.discovery.registry import get_backend

    try:
        return harmless_options(get_backend(name))
    except CvxRobustError:
        return frozenset()


@lru_cache(maxsize=4096)
def fingerprint(data: DataSpec, folder: str | None = None) -> str:
    """A hash of the samples' numbers."""
    X, y = data.load(folder)
    digest = hashlib.sha256(repr(X.shape).encode() + np.ascontiguousarray(X).tobytes())
    digest.update("\n".join(map(str, y.tolist())).encode())
    return digest.hexdigest()[:20]


def _frozen(value: Any) -> Any:
    """Lists, which are all that TOML and JSON have, as the tuples that problems expect."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@lru_cache(maxsize=256)
def _versions(backend: str, polish: bool | str) -> str:
    """Versions of this package and of whatever solves: packages named like the backend, and the plugin's own."""
    from cvxrobust.core.discovery.registry import plugins

    names = {"cvxrobust", *backend.split(":")} | ({*polish.split(":")} if isinstance(polish, str) else set())
    names |= {plugin.distribution for plugin in plugins() if names & set(plugin.backends) and plugin.distribution}
    return json.dumps(installed(sorted({name.lower() for name in names})), sort_keys=True)
