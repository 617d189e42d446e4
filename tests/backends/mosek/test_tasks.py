"""MOSEK's tasks say what our programmes say: read back from the files that MOSEK writes, and solved by another solver.

None of this needs a licence. With CVXROBUST_TEST_MOSEK=1 MOSEK itself also solves every programme.
"""

import os
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
from solver_files.cbf_reader import read, to_conic

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, Settings, StandardSDP
from cvxrobust.backends.mosek import _form
from cvxrobust.core.conic.cones import PSD, Exponential, NonNegative, SecondOrder
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.testing import MIXED, planted_program

mosek = pytest.importorskip("mosek")

SETTINGS = Settings(tolerance=1e-8)
LOSSES = ("hinge", "squared_hinge", "logistic", "squared")
licensed = pytest.mark.skipif(
    os.environ.get("CVXROBUST_TEST_MOSEK") != "1",
    reason="set CVXROBUST_TEST_MOSEK=1 where MOSEK has a licence, to let it solve these programmes itself",
)


def data(loss="hinge", n=7, d=2):
    rng = np.random.default_rng([n, d])
    X = rng.standard_normal((n, d))
    score = X[:, 0] - 0.6 * X[:, 1] + 0.3
    return X, score if loss == "squared" else np.where(score > 0, 1.0, -1.0)


def written():
    """How each programme is written, by name: none is before a test asks."""
    found = {}
    for loss in LOSSES:
        found[f"standard-sdp {loss}"] = partial(StandardSDP, *data(loss), beta=0.05, loss=loss)
        found[f"convex-relu {loss}"] = partial(ConvexReLU, *data(loss), beta=0.05, loss=loss, n_gates=5)
    for loss in LOSSES[:3]:
        found[f"adversarial-sdp {loss}"] = partial(AdversarialSDP, *data(), radius=0.2, beta=0.05, loss=loss)
    for norm in ("inf", 2, 1):
        for formulation in ("cone", "one-sided"):
            for loss in ("hinge", "logistic"):
                found[f"adversarial-relu {loss} {norm} {formulation}"] = partial(
                    AdversarialReLU, *data(), radius=0.1, norm=norm, beta=0.05, loss=loss, n_gates=4,
                    formulation=formulation,
                )  # fmt: skip
    return found


def of_every_cone():
    return planted_program(3)[0]


def shifted():
    return replace(planted_program(5, (PSD(2), *MIXED[:4], SecondOrder(0), PSD(0)))[0], offset=7.5)


WRITTEN, PLANTED = written(), {"every cone": of_every_cone, "shifted": shifted}
NAMES = [*WRITTEN, *PLANTED]


@cache
def program_of(name):
    return PLANTED[name]() if name in PLANTED else WRITTEN[name]().to_conic()


@cache
def value(name):
    """The optimum by another solver, straight from the programme."""
    program = program_of(name)
    found = get_backend("clarabel").solve(program, SETTINGS)
    assert found.termination in (Termination.CONVERGED, Termination.NUMERICAL)
    return float(program.q @ found.x) + program.offset


def task_of(program, form):
    task = mosek.Task()
    _form(program, form).put(task)
    return task


def close(expected):
    return pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("form", ["acc", "bar"])
@pytest.mark.parametrize("name", NAMES)
def test_the_task_has_the_programs_optimum(name, form, tmp_path):
    program = program_of(name)
    task_of(program, form).writedata(str(tmp_path / "task.cbf"))
    conic = to_conic(read(tmp_path / "task.cbf"))
    found = get_backend("clarabel").solve(conic.program, SETTINGS)
    optimum = conic.objective(found.x)
    # Dualised, the task minimises minus the dual objective.
    assert (optimum if form == "acc" else -optimum) == close(value(name))
    assert bool(conic.cbf.psd_variables) is (form == "bar" and any(isinstance(k, PSD) for k in program.cones))
    assert (conic.cbf.version, conic.sense) == (3, 1)


@pytest.mark.parametrize("form", ["acc", "bar"])
@pytest.mark.parametrize("name", NAMES)
def test_ptf_says_the_same_as_cbf(name, form, tmp_path):
    task = task_of(program_of(name), form)
    paths = [tmp_path / file for file in ("direct.cbf", "task.ptf", "again.cbf")]
    for path in paths[:2]:
        task.writedata(str(path))
    again = mosek.Task()
    again.readdata(str(paths[1]))
    again.writedata(str(paths[2]))
    counts = ("getnumvar", "getnumcon", "getnumbarvar", "getnumacc", "getaccntot")
    assert [getattr(again, count)() for count in counts] == [getattr(task, count)() for count in counts]
    direct, through = read(paths[0]), read(paths[2])
    assert (direct.variables, direct.constraints) == (through.variables, through.constraints)
    assert (direct.psd_variables, direct.psd_constraints) == (through.psd_variables, through.psd_constraints)
    for part in ("c", "offset", "h"):
        assert getattr(direct, part) == pytest.approx(getattr(through, part), rel=1e-14)
    assert abs(direct.G - through.G).max() <= 1e-14 * abs(direct.G).max()


@licensed
@pytest.mark.parametrize("form", ["acc", "bar"])
@pytest.mark.parametrize("name", NAMES)
def test_mosek_itself_finds_the_optimum(name, form):
    program = program_of(name)
    solution = get_backend("mosek").solve(program, SETTINGS.replace(tolerance=1e-7, options={"form": form}))
    assert solution.termination in (Termination.CONVERGED, Termination.NUMERICAL)
    assert program.q @ solution.x + program.offset == close(value(name))
    assert -program.b @ solution.y + program.offset == close(value(name))
    assert np.abs(program.dimacs_errors(solution)).max() <= 1e-6


@pytest.mark.parametrize("form", ["acc", "bar"])
def test_nothing_but_zeros_is_lost_on_the_way(form, tmp_path):
    """The programme itself comes back, up to the order of rows: more than its optimum."""
    program, _ = planted_program(1, (PSD(3), NonNegative(2), Exponential(), SecondOrder(3)), columns=4)
    task_of(program, form).writedata(str(tmp_path / "task.cbf"))
    back = to_conic(read(tmp_path / "task.cbf"))
    if form == "acc":
        assert abs(back.program.A).sum() == pytest.approx(abs(program.A).sum())
        assert np.sort(back.program.b) == pytest.approx(np.sort(program.b))
        assert back.program.q == pytest.approx(program.q)
    else:
        equations = back.cbf.G[: program.q.size]
        assert abs(equations).sum() == pytest.approx(abs(program.A).sum())
        assert np.sort(back.cbf.c) == pytest.approx(np.sort(program.b))
        assert back.cbf.h[: program.q.size] == pytest.approx(program.q)


@pytest.mark.parametrize(
    ("problem", "dualised"),
    [(StandardSDP(*data(n=20, d=4)), False), (AdversarialSDP(*data(n=20, d=4), radius=0.1), True)],
    ids=["standard", "adversarial"],
)
def test_the_form_with_the_smaller_systems_is_picked(problem, dualised):
    program = problem.to_conic()
    semidefinite = sum(cone.dim for cone in program.cones if isinstance(cone, PSD))
    assert (semidefinite > program.q.size) is dualised
    assert _form(program, "auto").dualised is dualised
    assert _form(program, "acc").dualised is False
    assert _form(program, "bar").dualised is True


def test_a_program_without_semidefinite_cones_is_never_dualised_by_itself():
    program, _ = planted_program(0, (NonNegative(200), SecondOrder(30)))
    assert _form(program, "auto").dualised is False
