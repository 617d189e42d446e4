"""The tables of a suite: which problems, which backends.

Every field's description completes the sentence "expected ..." of an error: whoever writes a suite hears nothing of how
it is checked.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.bench.harness.suite.cases import DataSpec, ProblemSpec

Scalar = bool | int | float | str
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=1, lt=2**63, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class Strict(BaseModel):
    """A table that knows its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CsvEntry(Strict):
    """A ``csv`` table of a ``[[problems]]`` table: how its CSV file is written; see `CsvFormat`.

    Args:
        separator: What stands between cells.
        decimal: The decimal sign.
        missing: Texts that stand for missing values; left out for the usual ones.
        drop_incomplete: Leave rows with missing values out.
    """

    separator: str = Field(default=",", description="one character between cells, such as ';', or 'tab'")
    decimal: str = Field(default=".", description="'.' or ','")
    missing: tuple[str, ...] | None = Field(default=None, description="a list of texts")
    drop_incomplete: Flag = Field(default=False, description="true or false")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self.form()
        return self

    def form(self) -> CsvFormat:
        """The same for whoever reads files."""
        return CsvFormat(self.separator, self.decimal, self.missing, self.drop_incomplete)


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
        label_column: The column (array) of labels of a file; ``label`` (``y``, then ``labels``) by default.
        csv: How a CSV file is written.
    """

    family: str = Field(description="the name of a problem family (`cvxrobust problems list`)")
    data: str = Field(description="the name of a generator or data set, or the path of a .csv or .npz file")
    n: tuple[Count, ...] = Field(default=(), description="a whole number of 1 or more, or a list of them")
    d: tuple[Count, ...] = Field(default=(), description="a whole number of 1 or more, or a list of them")
    seeds: tuple[Seed, ...] = Field(default=(0,), description="a whole number from 0 to 4294967295, or a list of them")
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="a table of the family's parameters (`cvxrobust problems list`)"
    )
    name: str = Field(default="", description="a name in quotation marks")
    label_column: str | None = Field(default=None, description="the name of a column or array, in quotation marks")
    csv: CsvEntry | None = Field(default=None, description="a table with separator, decimal, missing, drop_incomplete")

    @field_validator("n", "d", "seeds", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One number stands for a list of one."""
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("seeds")
    @classmethod
    def _some(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("give at least one seed")
        return value

    def specs(self) -> Iterator[ProblemSpec]:
        """Every combination."""
        form = None if self.csv is None else self.csv.form()
        for n, d, seed in itertools.product(self.n or (None,), self.d or (None,), self.seeds):
            data = DataSpec(self.data, n, d, seed, self.label_column, form)
            for parameters in _combinations(self.parameters):
                yield ProblemSpec(self.family, data, parameters, self.name)


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

    name: str = Field(description="the name of a backend (`cvxrobust backends list`), or '*'")
    methods: tuple[Literal["auto", "direct", "cutting-set"], ...] = Field(
        default=("direct",), description="auto, direct or cutting-set, or a list of them"
    )
    options: dict[str, Scalar] = Field(
        default_factory=dict, description="a table of native options: numbers, texts, true or false"
    )
    polish: bool | str = Field(default=False, description="the name of a backend, true or false")
    device: str = Field(default="auto", description="cpu, cuda, mps or auto")
    dtype: Literal["float64", "float32"] = Field(default="float64", description="float64 or float32")
    label: str = Field(default="", description="a name in quotation marks")
    families: tuple[str, ...] = Field(default=(), description="a list of names of problem families")

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
        raise ValueError(f"{text[:40]!r} is no amount of memory; write bytes, or a number with {', '.join(units)[2:]}")
    size = float(found[1]) * units[found[2].lower()]
    if size >= 2.0**63:
        raise ValueError(f"{text[:40]!r} is more memory than there is; write fewer bytes")
    return int(size)
