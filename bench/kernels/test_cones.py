"""Projections onto cones: the reference in NumPy, and the backend ``torch``'s batches."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, Cone, Exponential, SecondOrder
from cvxrobust.core.conic.program import ConicProgram

MANY: dict[str, tuple[Cone, ...]] = {
    "psd 31 x 100": (PSD(31),) * 100,
    "psd 65 x 20": (PSD(65),) * 20,
    "second order 31 x 1000": (SecondOrder(31),) * 1000,
    "exponential x 1000": (Exponential(),) * 1000,
}


def program(cones: tuple[Cone, ...]) -> ConicProgram:
    """One without unknowns, for its cones alone."""
    rows = sum(cone.dim for cone in cones)
    return ConicProgram(np.zeros(0), sparse.csc_array((rows, 0)), np.zeros(rows), cones)


@pytest.mark.benchmark(group="projections")
@pytest.mark.parametrize("name", MANY)
def test_one_after_the_other(benchmark: Any, name: str) -> None:
    """`ConicProgram.project_dual`, which judges solutions."""
    frame = program(MANY[name])
    z = np.random.default_rng(0).standard_normal(frame.b.size)
    benchmark(frame.project_dual, z)


@pytest.mark.benchmark(group="projections")
@pytest.mark.parametrize("name", MANY)
def test_all_of_a_kind_at_once(benchmark: Any, name: str) -> None:
    """`DualProjection`, on the CPU."""
    import torch

    from cvxrobust.backends.torch.conic.cones import DualProjection, layout_of

    frame = program(MANY[name])
    project = DualProjection(layout_of(frame), torch.device("cpu"), torch.float64)
    z = torch.tensor(np.random.default_rng(0).standard_normal(frame.b.size))
    benchmark(lambda: project(z.clone()))
