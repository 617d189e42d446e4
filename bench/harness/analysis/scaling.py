"""How time grows with the number of samples or features: straight lines through log time against log size."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIZES = {"n": "samples", "d": "features"}

FEWEST, SPAN = 4, 8.0
"""Sizes that a power takes, and the factor from the least to the largest: fewer, or closer ones, show noise and what
costs the same whatever the size."""


@dataclass(frozen=True)
class PowerLaw:
    """Least squares of log y = intercept + slope log x.

    Args:
        slope: The power of x with which y grows.
        error: Standard error of the slope, with two parameters estimated.
        intercept: Natural logarithm of y at x = 1.
    """

    slope: float
    error: float
    intercept: float

    def __call__(self, x: Array) -> Array:
        """y at x, shape of x."""
        found: Array = np.exp(self.intercept + self.slope * np.log(x))
        return found


@dataclass(frozen=True)
class Scaling:
    """One backend's times on problems that differ in one size (and in the seed) only.

    Args:
        variable: ``"n"`` or ``"d"``.
        family: The problems' family.
        setting: What is the same in all of them, in words.
        tolerance: The certified gap asked for.
        backend: The backend.
        sizes: Of the certified ones, shape (k,).
        seconds: To the gap asked for, median over repeats, shape (k,).
        left_out: Problems of the series that are not in the fit, for they were not certified.
        law: The fit; None where fewer than `FEWEST` sizes were certified, or they span less than `SPAN`.
    """

    variable: str
    family: str
    setting: str
    tolerance: float
    backend: str
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]
    left_out: int
    law: PowerLaw | None


def fit_power(x: Sequence[float], y: Sequence[float]) -> PowerLaw | None:
    """A straight line through logarithms; None for fewer than `FEWEST` different x or less than `SPAN` between them.

    Args:
        x: Sizes, positive, shape (k,).
        y: Seconds, positive, shape (k,).
    """
    if len(set(x)) < FEWEST or max(x) < SPAN * min(x):
        return None
    log_x, log_y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    centred = log_x - log_x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ log_y) / spread
    intercept = float(log_y.mean() - slope * log_x.mean())
    residual = log_y - intercept - slope * log_x
    error = float(np.sqrt(residual @ residual / (len(x) - 2) / spread))
    return PowerLaw(slope, error, intercept)


def scalings(tasks: pl.DataFrame) -> list[Scaling]:
    """Every series of problems in which one size varies and nothing else does but the seed.

    Args:
        tasks: From `cvxrobust.bench.harness.analysis.analysis.median_times`: a line per problem, tolerance and backend,
            with ``seconds`` infinite where it is not certified.
    """
    found = []
    for variable in SIZES:
        (other,) = set(SIZES) - {variable}
        same = ["family", "data", "parameters", other, "tolerance", "backend"]
        for key, series in tasks.drop_nulls(variable).group_by(same, maintain_order=True):
            if series[variable].n_unique() < 2:
                continue
            family, data, parameters, fixed, tolerance, backend = map(str, key)
            certified = series.filter(pl.col("seconds").is_finite() & (pl.col("seconds") > 0))
            sizes, seconds = (tuple(map(float, certified[name])) for name in (variable, "seconds"))
            words = [data, *([f"{other} = {fixed}"] if fixed != "None" else []), *_in_words(parameters)]
            left_out = series.height - certified.height
            law = fit_power(sizes, seconds)
            setting = ", ".join(words)
            found.append(Scaling(variable, family, setting, float(tolerance), backend, sizes, seconds, left_out, law))
    return found


def _in_words(parameters: str) -> list[str]:
    """A problem's parameters as people write them."""
    return [f"{name.replace('_', ' ')} {value}" for name, value in json.loads(parameters or "{}").items()]
