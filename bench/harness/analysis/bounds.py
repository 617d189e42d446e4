"""The best certified bounds known for each problem, and certificates that contradict each other.

Certified bounds hold whoever found them, so those of all backends, tolerances and repeats bound one optimum together.
Where one row's lower bound lies above another's upper bound, at least one certificate is wrong. Nothing says which, so
neither row counts as certified, and no distance to the best bounds is given for that problem.
"""

from dataclasses import dataclass

import polars as pl

from cvxrobust.bench.harness.analysis.tables import CONTRADICTED, TIMES_TO_GAP
from cvxrobust.core.programs.polynomial.certificate import TINY

ROUNDING = 1e-9
"""Bounds may cross by this much of their size: both were computed in floating point."""

ROUNDING_ABSOLUTE = 1e-12
"""The same where the optimum is zero or nearly so."""


@dataclass(frozen=True)
class Contradiction:
    """A problem whose certificates cannot all be true.

    Args:
        problem: Its name.
        lower: The largest certified lower bound.
        lower_by: Backends that certified lower bounds above somebody's upper bound.
        upper: The smallest certified upper bound.
        upper_by: Backends that certified upper bounds below somebody's lower bound.
        rows: Number of rows involved.
    """

    problem: str
    lower: float
    lower_by: tuple[str, ...]
    upper: float
    upper_by: tuple[str, ...]
    rows: int

    @property
    def excess(self) -> float:
        """How far the bounds cross, relative to the larger of them."""
        return (self.lower - self.upper) / max(abs(self.lower), abs(self.upper), TINY)


def with_best_bounds(table: pl.DataFrame) -> pl.DataFrame:
    """Add what all rows together know about each problem.

    Args:
        table: From `cvxrobust.bench.harness.analysis.tables.table_of`.

    Returns:
        The table with the columns ``best_upper``, ``best_lower``, ``gap_to_best``, which is (upper - best lower) /
        |best upper|, ``lower_to_best``, which is (best upper - lower) / |best upper|, ``best_gap`` between these two,
        and ``standing``: the verdict, or ``"contradicted"``; such rows lose their times to a gap.
    """
    best = {"best_upper": pl.col("upper").min(), "best_lower": pl.col("lower").max()}
    joined = table.with_columns(**{name: value.over("instance") for name, value in best.items()}).with_columns(
        lower_crosses=_above("lower", "best_upper"), upper_crosses=_above("best_lower", "upper")
    )
    crossed = pl.col("lower_crosses") | pl.col("upper_crosses")
    trusted = ~crossed.any().over("instance")
    size = pl.max_horizontal(pl.col("best_upper").abs(), pl.lit(TINY))

    def relative(difference: pl.Expr) -> pl.Expr:
        # What rounding makes negative counts as 0, as it does in a certificate.
        return pl.when(trusted).then(pl.max_horizontal(difference, pl.lit(0.0)) / size).otherwise(None)

    return joined.with_columns(
        standing=pl.when(crossed).then(pl.lit(CONTRADICTED)).otherwise(pl.col("verdict")),
        gap_to_best=pl.when(pl.col("upper").is_not_null()).then(relative(pl.col("upper") - pl.col("best_lower"))),
        lower_to_best=pl.when(pl.col("lower").is_not_null()).then(relative(pl.col("best_upper") - pl.col("lower"))),
        best_gap=relative(pl.col("best_upper") - pl.col("best_lower")),
        **{name: pl.when(~crossed).then(pl.col(name)) for name in ("seconds", *TIMES_TO_GAP)},
    )


def contradictions(table: pl.DataFrame) -> list[Contradiction]:
    """Problems whose certificates cannot all be true, the widest crossing first.

    Args:
        table: From `with_best_bounds`.
    """
    crossed = table.filter(pl.col("standing") == CONTRADICTED)
    found = [
        Contradiction(
            rows["problem"][0],
            rows["best_lower"][0],
            tuple(rows.filter("lower_crosses")["backend"].unique(maintain_order=True)),
            rows["best_upper"][0],
            tuple(rows.filter("upper_crosses")["backend"].unique(maintain_order=True)),
            rows.height,
        )
        for _, rows in crossed.group_by("instance", maintain_order=True)
    ]
    return sorted(found, key=lambda one: -one.excess)


def _above(lower: str, upper: str) -> pl.Expr:
    """Whether one column exceeds another by more than rounding explains; false where either is missing."""
    size = pl.max_horizontal(pl.col(lower).abs(), pl.col(upper).abs())
    return (pl.col(lower) - pl.col(upper) > ROUNDING * size + ROUNDING_ABSOLUTE).fill_null(False)
