"""The tables of a suite: which problems, which backends."""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cvxrobust.bench.harness.suite.cases import DataSpec, ProblemSpec

Scalar = bool | int | float | str
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """A table that knows its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProblemEntry(Strict):
    """A ``[[problems]]`` table: a family on data, in every combination of the lists given.

    Args:
        family: Registered name of the problem family.
        data: Name of a generator (`cvxrobust.bench.data.synthetic`), of a data set, or path of a file, from the
            folder in which the run is started.
        n: Samples; drawn, or taken from the data set with the seed. Empty for all of a data set's.
        d: Features; the first of a data set's. Empty for all of them.
        seeds: Seeds of the data (of the rows taken).
        parameters: Keyword parameters of the family; a list stands for each of its values in turn, so that a value
            which is a list itself is written in two pairs of brackets: ``activation = [[0.09, 0.5, 0.47]]``.
        name: What reports call it; made from the family and the data by default.
    """

    family: str
    data: str
    n: tuple[Count, ...] = ()
    d: tuple[Count, ...] = ()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    parameters: dict[str, Any] = Field(default_factory=dict)
    name: str = ""

    @field_validator("n", "d", "seeds", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One number stands for a list of one."""
        return (value,) if isinstance(value, int) else value

    @field_validator("seeds")
    @classmethod
    def _some(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("give at least one seed")
        return value

    def specs(self) -> Iterator[ProblemSpec]:
        """Every combination."""
        for n, d, seed in itertools.product(self.n or (None,), self.d or (None,), self.seeds):
            for parameters in _combinations(self.parameters):
                yield ProblemSpec(self.family, DataSpec(self.data, n, d, seed), parameters, self.name)


class BackendEntry(Strict):
    """A ``[[backends]]`` table: a backend, and how it is used.

    Args:
        name: Registered name, with a variant where there are variants; ``"*"`` for every backend that can run.
        methods: Methods of `solve`, each a competitor of its own.
        options: Native options.
        polish: Name of the backend that polishes; true for any; false for none.
        device: Where it runs.
        dtype: Precision of its iterates.
        label: What reports call it; made from the name and what differs by default.
        families: The problem families it is for; empty for all of the suite's.
    """

    name: str
    methods: tuple[Literal["auto", "direct", "cutting-set"], ...] = ("direct",)
    options: dict[str, Scalar] = Field(default_factory=dict)
    polish: bool | str = False
    device: str = "auto"
    dtype: Literal["float64", "float32"] = "float64"
    label: str = ""
    families: tuple[str, ...] = ()

    @field_validator("methods", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


def _combinations(parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the values that lists name."""
    names = list(parameters)
    values = [value if isinstance(value, list) else [value] for value in parameters.values()]
    for chosen in itertools.product(*values):
        yield dict(zip(names, chosen, strict=True))


def parse_bytes(text: str) -> int:
    """Bytes from ``"2 GiB"``, ``"500MB"`` or a plain number.

    Raises:
        ValueError: It is none of these.
    """
    units = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([a-z]*)\s*", text, re.IGNORECASE)
    if found is None or found[2].lower() not in units:
        raise ValueError(f"{text!r} is no amount of memory; write bytes, or a number with {', '.join(units)[2:]}")
    return int(float(found[1]) * units[found[2].lower()])
