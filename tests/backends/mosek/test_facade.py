"""The MOSEK backend up to its licence: MOSEK builds the tasks, a stand-in optimises them.

With CVXROBUST_TEST_MOSEK=1 MOSEK itself runs the same tests.
"""

import ctypes
import os

import mosek_stand_in
import numpy as np
import pytest
from scipy import sparse

from cvxrobust import AdversarialSDP, Quality, solve
from cvxrobust.core.conic.cones import PSD, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.backend import Backend, ChecksSettings, Diagnoses, Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.settings import Settings
from cvxrobust.core.testing import LINEAR, infeasible_program, planted_program, unbounded_program

mosek = pytest.importorskip("mosek")

REAL = "CVXROBUST_TEST_MOSEK"
FORMS = ("acc", "bar")


@pytest.fixture(params=["stand-in", "mosek"])
def backend(request, monkeypatch):
    if request.param == "stand-in":
        mosek_stand_in.installed(monkeypatch)
    elif os.environ.get(REAL) != "1":
        pytest.skip(f"set {REAL}=1 where MOSEK has a licence, to let it run these tests itself")
    return get_backend("mosek")


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def run(backend, program, form="auto", options=(), **settings):
    return backend.solve(program, Settings(options={"form": form} | dict(options), **settings))


def test_it_is_a_backend_that_checks_settings_and_diagnoses(backend):
    assert isinstance(backend, Backend)
    assert isinstance(backend, ChecksSettings)
    assert isinstance(backend, Diagnoses)
    assert backend.capabilities.needs_licence


@pytest.mark.parametrize("seed", range(4))
def test_both_forms_find_the_planted_optimum_with_duals_of_our_sign(backend, form, seed):
    program, planted = planted_program(seed)
    solution = run(backend, program, form)
    assert solution.termination is Termination.CONVERGED
    assert program.q @ solution.x == pytest.approx(program.q @ planted.x, rel=1e-6, abs=1e-6)
    assert np.abs(program.dimacs_errors(solution)).max() <= 1e-6
    for cone, rows in zip(program.cones, program.blocks, strict=True):
        assert cone.project_dual(solution.y[rows]) == pytest.approx(solution.y[rows], abs=1e-5), cone


CONES = (Zero(2), NonNegative(3), SecondOrder(3), PSD(3), Exponential())


def infeasible(cone):
    """Minimise x >= 0 subject to a constant in the cone that is not."""
    z = np.random.default_rng(0).standard_normal(cone.dim)
    A = sparse.csc_array(np.append(np.zeros(cone.dim), -1.0)[:, None])
    return ConicProgram(np.ones(1), A, np.append(z - cone.project(z), 0.0), (cone, NonNegative(1)))


def unbounded(cone):
    """Maximise x >= 0 subject to ``(1 + x) s`` in the cone, which s is."""
    s = cone.project(np.random.default_rng(1).standard_normal(cone.dim))
    A = sparse.csc_array(np.append(-s, -1.0)[:, None])
    return ConicProgram(-np.ones(1), A, np.append(s, 0.0), (cone, NonNegative(1)))


@pytest.mark.parametrize("cone", CONES, ids=repr)
def test_an_infeasible_program_comes_with_its_certificate(backend, form, cone):
    program = infeasible(cone)
    solution = run(backend, program, form)
    assert solution.termination is Termination.INFEASIBLE
    y = solution.y / -(program.b @ solution.y)
    assert program.b @ solution.y < 0
    assert program.A.T @ y == pytest.approx(np.zeros(program.q.size), abs=1e-6)
    assert program.project_dual(y) == pytest.approx(y, abs=1e-6)


@pytest.mark.parametrize("cone", [cone for cone in CONES if not isinstance(cone, Zero)], ids=repr)
def test_an_unbounded_program_comes_with_its_ray(backend, form, cone):
    program = unbounded(cone)
    solution = run(backend, program, form)
    assert solution.termination is Termination.UNBOUNDED
    scale = -(program.q @ solution.x)
    assert scale > 0
    assert solution.s == pytest.approx(-(program.A @ solution.x))
    assert program.project(solution.s / scale) == pytest.approx(solution.s / scale, abs=1e-6)


@pytest.mark.parametrize("program", [infeasible_program(), unbounded_program()], ids=["infeasible", "unbounded"])
def test_linear_programs_without_an_optimum_are_recognised(backend, form, program):
    expected = Termination.INFEASIBLE if program.b.size == 2 else Termination.UNBOUNDED
    assert run(backend, program, form).termination is expected


def test_limits_are_no_success_and_keep_the_iterate(backend, form):
    program, _ = planted_program(0)
    few = run(backend, program, form, max_iterations=2)
    assert few.termination is Termination.ITERATION_LIMIT
    assert few.iterations <= 2
    assert few.has_primal
    assert few.has_dual
    brief = run(backend, program, form, time_limit=1e-6)
    assert brief.termination is Termination.TIME_LIMIT


def test_the_monitor_stops_it(backend, form):
    program, _ = planted_program(0)
    settings = Settings(options={"form": form})
    monitor = Monitor()
    monitor.stop()
    assert backend.solve(program, settings, monitor=monitor).termination is Termination.INTERRUPTED
    late = backend.solve(program, settings, monitor=Monitor(deadline=0.0))
    assert late.termination is Termination.TIME_LIMIT


def test_empty_parts_do_no_harm(backend, form):
    cones = (NonNegative(0), PSD(0), *LINEAR, SecondOrder(1), PSD(1))
    program, planted = planted_program(0, cones)
    assert program.q @ run(backend, program, form).x == pytest.approx(program.q @ planted.x, rel=1e-6, abs=1e-6)
    assert run(backend, ConicProgram(np.zeros(0), sparse.csc_array((0, 0)), np.zeros(0), ()), form).x.size == 0


def test_nothing_is_printed_unless_asked(backend, capfd):
    program, _ = planted_program(0)
    backend.solve(program, Settings())
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr() == ("", "")
    backend.solve(program, Settings(verbose=True))
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out


def test_what_was_applied_is_reported_by_native_names(backend):
    program, _ = planted_program(0)
    asked = Settings(tolerance=1e-5, max_iterations=77, time_limit=50.0, threads=1, options={"MSK_IPAR_LOG": 3})
    solution = backend.solve(program, asked)
    for kind in ("REL_GAP", "PFEAS", "DFEAS"):
        assert solution.applied[f"MSK_DPAR_INTPNT_CO_TOL_{kind}"] == pytest.approx(1e-7)
        assert solution.applied[f"MSK_DPAR_INTPNT_TOL_{kind}"] == pytest.approx(1e-7)
    assert (
        solution.applied.items()
        >= {
            "MSK_IPAR_INTPNT_MAX_ITERATIONS": 77,
            "MSK_DPAR_OPTIMIZER_MAX_TIME": 50.0,
            "MSK_IPAR_NUM_THREADS": 1,
            "MSK_IPAR_LOG": 3,
            "form": "bar",
        }.items()
    )
    assert solution.ignored == {}
    assert solution.setup_seconds > 0


def test_what_is_ignored_is_reported_with_reasons(backend):
    program, planted = planted_program(0, LINEAR)
    asked = Settings(tolerance=1e-15, seed=5, device="cuda", dtype="float32")
    ignored = backend.solve(program, asked, warm_start=planted).ignored
    assert set(ignored) == {"tolerance", "seed", "device", "dtype", "warm_start"}


def test_options_overrule_settings(backend):
    program, _ = planted_program(0)
    solution = run(backend, program, options={"iparam.intpnt_max_iterations": 3}, max_iterations=50)
    assert solution.applied["MSK_IPAR_INTPNT_MAX_ITERATIONS"] == 3
    assert solution.iterations == 3


def test_the_program_is_left_alone_and_the_answer_repeats(backend, form):
    program, _ = planted_program(0)
    parts = (program.q, program.b, program.A.data, program.A.indices, program.A.indptr)
    before = [part.copy() for part in parts]
    first, second = (run(backend, program, form) for _ in range(2))
    assert all(np.array_equal(part, old) for part, old in zip(parts, before, strict=True))
    assert np.array_equal(first.x, second.x)


@pytest.mark.parametrize("method", ["direct", "cutting-set"])
def test_the_front_door_certifies_its_answer(backend, method):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 3))
    problem = AdversarialSDP(X, np.where(X[:, 0] > 0, 1.0, -1.0), radius=0.1, beta=0.05)
    result = solve(problem, backend="mosek", method=method, settings=Settings(tolerance=1e-5))
    assert result.quality is Quality.CERTIFIED
