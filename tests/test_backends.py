"""Conformance of every backend that reads conic programmes, and what is particular to ours.

A new backend adds no lines here: the registry supplies it. Backends named in CVXROBUST_REQUIRE_BACKENDS
(separated by commas) fail instead of being skipped, so that skipping cannot look like passing.
"""

import ctypes
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from planted import LINEAR, MIXED, infeasible_program, planted_program, unbounded_program
from scipy import sparse

from cvxrobust.backends import scs as scs_backend
from cvxrobust.core.backend import Monitor
from cvxrobust.core.cones import NonNegative
from cvxrobust.core.conic import ConicProgram
from cvxrobust.core.errors import InputError, UnknownNameError, UnsupportedProgramError
from cvxrobust.core.registry import backends, get_backend
from cvxrobust.core.result import Solution, Termination
from cvxrobust.core.settings import Settings

SPECS = [*backends(), "cvxpy:CVXOPT"]
REQUIRED = os.environ.get("CVXROBUST_REQUIRE_BACKENDS", "").split(",")


@pytest.fixture(params=SPECS)
def backend(request):
    found = get_backend(request.param)
    if not found.capabilities.cones:
        pytest.skip(f"{found.name} reads no conic programmes")
    if reason := found.unavailable():
        (pytest.fail if request.param in REQUIRED else pytest.skip)(reason)
    return found


def readable(backend):
    return tuple(cone for cone in MIXED if type(cone) in backend.capabilities.cones)


def moderate(backend):
    return max(1e-6, backend.capabilities.tightest_tolerance)


@pytest.mark.parametrize("seed", range(4))
def test_finds_the_planted_optimum(backend, seed):
    program, planted = planted_program(seed, readable(backend))
    solution = backend.solve(program, Settings(tolerance=moderate(backend)))
    assert solution.termination is Termination.CONVERGED
    assert program.q @ solution.x == pytest.approx(program.q @ planted.x, rel=1e-5, abs=1e-5)
    errors = program.dimacs_errors(solution)
    assert np.abs(errors).max() <= 10 * moderate(backend)  # ours, not the solver's


@pytest.mark.parametrize("seed", range(2))
def test_duals_have_our_sign_in_every_cone(backend, seed):
    if not backend.capabilities.duals:
        pytest.skip("returns no duals")
    program, _ = planted_program(seed, readable(backend))
    y = backend.solve(program, Settings(tolerance=moderate(backend))).y
    assert program.A.T @ y == pytest.approx(-program.q, abs=1e-5)
    for cone, rows in zip(program.cones, program.blocks, strict=True):
        assert cone.project_dual(y[rows]) == pytest.approx(y[rows], abs=1e-5), cone


def test_an_empty_cone_does_no_harm(backend):
    program, planted = planted_program(0, (NonNegative(0), *LINEAR))
    solution = backend.solve(program, Settings())
    assert program.q @ solution.x == pytest.approx(program.q @ planted.x, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (infeasible_program(), Termination.INFEASIBLE),
        (unbounded_program(), Termination.UNBOUNDED),
    ],
    ids=["infeasible", "unbounded"],
)
def test_programs_without_an_optimum_are_recognised(backend, program, expected):
    assert backend.solve(program, Settings()).termination is expected


def test_the_iteration_limit_is_no_success_and_keeps_the_iterate(backend):
    program, _ = planted_program(0, readable(backend))
    solution = backend.solve(program, Settings(max_iterations=2))
    # Some solvers behind CVXPY call every end but success a failure, and keep their iterate to themselves.
    assert solution.termination in (Termination.ITERATION_LIMIT, Termination.ERROR)
    if solution.termination is Termination.ITERATION_LIMIT:
        assert solution.iterations <= 2
        assert solution.has_primal
        assert solution.has_dual


def test_the_time_limit_is_no_success_and_keeps_the_iterate(backend):
    if not backend.capabilities.time_limit:
        pytest.skip("has no time limit of its own")
    program, _ = planted_program(0, readable(backend))
    solution = backend.solve(program, Settings(time_limit=1e-6))
    assert solution.termination is Termination.TIME_LIMIT
    assert solution.has_primal


def test_an_unknown_option_is_refused_by_name(backend):
    program, _ = planted_program(0, LINEAR)
    with pytest.raises(InputError, match="no_such_option"):
        backend.solve(program, Settings(options={"no_such_option": 1}))


@pytest.mark.parametrize(
    ("name", "option", "meant"),
    [
        ("clarabel", "max_itr", "max_iter"),
        ("scs", "eps_ab", "eps_abs"),
        ("cvxpy:CVXOPT", "abstoll", "abstol"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_right_spelling(name, option, meant):
    program, _ = planted_program(0, LINEAR)
    with pytest.raises(UnknownNameError, match=f"Did you mean '{meant}'"):
        get_backend(name).solve(program, Settings(options={option: 1}))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clarabel", {"max_iter": "many"}),
        ("clarabel", {"direct_solve_method": "magic"}),
        ("scs", {"max_iters": "many"}),
        ("scs", {"alpha": "large"}),
        ("scs", {"linear_solver": "magic"}),
        ("cvxpy", {"max_iter": "many"}),
    ],
)
def test_an_option_of_the_wrong_kind_is_refused(name, options):
    program, _ = planted_program(0, LINEAR)
    with pytest.raises(InputError, match=next(iter(options))):
        get_backend(name).solve(program, Settings(options=options))


def test_a_foreign_cone_is_refused_before_any_work(backend):
    class Strange(NonNegative):
        pass

    program = ConicProgram(np.ones(1), sparse.csc_array([[1.0]]), np.ones(1), (Strange(1),))
    with pytest.raises(UnsupportedProgramError, match="cannot read the cones Strange"):
        backend.solve(program, Settings())


def test_what_was_applied_is_reported(backend):
    program, _ = planted_program(0, LINEAR)
    solution = backend.solve(program, Settings(max_iterations=77))
    assert 77 in solution.applied.values()
    assert solution.ignored == {}


def test_what_was_ignored_is_reported_with_reasons(backend):
    program, _ = planted_program(0, LINEAR)
    asked = {"tolerance": 1e-15, "seed": 5}
    if "cuda" not in backend.capabilities.devices:
        asked["device"] = "cuda"
    if "float32" not in backend.capabilities.dtypes:
        asked["dtype"] = "float32"
    ignored = backend.solve(program, Settings(**asked)).ignored
    assert set(ignored) >= set(asked)
    assert all(str(asked[name]) in ignored[name] for name in {"device", "dtype"} & set(asked))


def test_options_overrule_settings():
    program, _ = planted_program(0, LINEAR)
    solution = get_backend("clarabel").solve(program, Settings(max_iterations=50, options={"max_iter": 3}))
    assert solution.applied["max_iter"] == 3
    assert solution.iterations == 3


def test_threads_can_be_limited(backend):
    program, planted = planted_program(0, readable(backend))
    solution = backend.solve(program, Settings(threads=1))
    assert program.q @ solution.x == pytest.approx(program.q @ planted.x, rel=1e-5, abs=1e-5)
    assert ("threads" in solution.ignored) is not backend.capabilities.threads


def printed(capfd):
    ctypes.CDLL(None).fflush(None)  # C's own buffer, which Python knows nothing of
    return capfd.readouterr()


def test_nothing_is_printed_unless_asked(backend, capfd):
    program, _ = planted_program(0, readable(backend))
    backend.solve(program, Settings())
    assert printed(capfd) == ("", "")
    backend.solve(program, Settings(verbose=True))
    assert printed(capfd).out


def test_the_program_is_left_as_it_was(backend):
    program, _ = planted_program(0, readable(backend))
    parts = (program.q, program.b, program.A.data, program.A.indices, program.A.indptr)
    before = [part.copy() for part in parts]
    backend.solve(program, Settings())
    assert all(np.array_equal(part, old) for part, old in zip(parts, before, strict=True))


def test_the_same_program_has_the_same_answer_twice(backend):
    program, _ = planted_program(0, readable(backend))
    first, second = (backend.solve(program, Settings()) for _ in range(2))
    assert np.array_equal(first.x, second.x)
    assert first.iterations == second.iterations


def test_a_warm_start_saves_iterations(backend):
    if not backend.capabilities.warm_start:
        pytest.skip("takes no warm start")
    program, planted = planted_program(0, readable(backend))
    cold = backend.solve(program, Settings())
    warm = backend.solve(program, Settings(), warm_start=planted)
    assert warm.termination is Termination.CONVERGED
    assert warm.iterations < cold.iterations


def test_a_warm_start_that_does_not_fit_is_ignored_and_reported(backend):
    if not backend.capabilities.warm_start:
        pytest.skip("takes no warm start")
    program, planted = planted_program(0, readable(backend))
    for misfit in (
        Solution(Termination.CONVERGED, x=np.zeros(3), s=planted.s, y=planted.y),
        Solution(Termination.CONVERGED),
        Solution(Termination.INFEASIBLE, x=planted.x * np.nan, s=planted.s, y=planted.y),
    ):
        solution = backend.solve(program, Settings(), warm_start=misfit)
        assert solution.termination is Termination.CONVERGED
        assert "warm_start" in solution.ignored


def test_a_deadline_of_the_monitor_is_a_time_limit(backend):
    if not backend.capabilities.monitored:
        pytest.skip("cannot be stopped from outside")
    program, _ = planted_program(0, readable(backend))
    solution = backend.solve(program, Settings(), monitor=Monitor(deadline=0.0))
    assert solution.termination is Termination.TIME_LIMIT
    assert solution.has_primal


ENDLESS = {"eps_abs": 0.0, "eps_rel": 0.0, "eps_infeas": 0.0}


def test_a_stopped_monitor_interrupts_clarabel_with_an_iterate():
    program, _ = planted_program(0)
    monitor = Monitor()
    monitor.stop()
    solution = get_backend("clarabel").solve(program, Settings(), monitor=monitor)
    assert solution.termination is Termination.INTERRUPTED
    assert solution.has_primal


def test_a_stopped_monitor_interrupts_scs_after_a_slice():
    program, _ = planted_program(0)
    monitor = Monitor()
    monitor.stop()
    solution = get_backend("scs").solve(program, Settings(options=ENDLESS), monitor=monitor)
    assert solution.termination is Termination.INTERRUPTED
    assert solution.has_primal


def test_ctrl_c_that_only_scs_saw_is_passed_on_to_the_monitor(monkeypatch):
    def interrupted(self, workspace, start):
        return scs_backend.INTERRUPTED, (np.array([np.nan]),) * 3, 0.0

    monkeypatch.setattr(scs_backend._Run, "_slice", interrupted)
    monitor = Monitor()
    solution = get_backend("scs").solve(planted_program(0)[0], Settings(), monitor=monitor)
    assert solution.termination is Termination.INTERRUPTED
    assert monitor.stopped
    assert not solution.has_primal  # nothing had been let go of yet


def test_scs_keeps_count_across_slices():
    program, planted = planted_program(0)
    solution = get_backend("scs").solve(program, Settings(max_iterations=1703, options=ENDLESS))
    assert solution.termination is Termination.ITERATION_LIMIT
    assert solution.iterations == 1703
    assert solution.x == pytest.approx(planted.x, abs=1e-6)


def test_scs_keeps_the_time_limit_across_slices():
    program, _ = planted_program(0)
    solution = get_backend("scs").solve(program, Settings(time_limit=0.2, options=ENDLESS))
    assert solution.termination is Termination.TIME_LIMIT
    assert solution.has_primal


# The monitors below send Ctrl-C from places that every solve passes, so that nothing depends on speed. SCS
# can miss one that comes between slices, so it is pressed until something happens, as a user would.
CLARABEL_CHILD = """
class Interrupter(Monitor):
    @property
    def should_stop(self):
        seen["callback"] += 1
        if seen["callback"] == 3:
            signal.raise_signal(signal.SIGINT)
        return super().should_stop
"""
SCS_CHILD = """
class Interrupter(Monitor):
    @property
    def remaining(self):
        seen["slice"] += 1
        if seen["slice"] == 3:
            threading.Thread(target=press, daemon=True).start()
        return super().remaining

def press():
    while not monitor.stopped:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
"""


@pytest.mark.parametrize("handler", ["default", "installed"])
@pytest.mark.parametrize(
    ("name", "child", "options"),
    [("clarabel", CLARABEL_CHILD, {}), ("scs", SCS_CHILD, ENDLESS | {"max_iters": 10**6})],
)
def test_ctrl_c_stops_a_solve_and_keeps_its_iterate(name, child, options, handler):
    if reason := get_backend(name).unavailable():
        pytest.skip(reason)
    lines = [
        "import os, signal, threading, time",
        "from collections import Counter",
        "from cvxrobust.core.backend import Monitor",
        "from cvxrobust.core.registry import get_backend",
        "from cvxrobust.core.settings import Settings",
        "from planted import planted_program",
        "seen = Counter()",
        textwrap.dedent(child),
        "monitor = Interrupter()",
    ]
    if handler == "installed":
        lines.append("signal.signal(signal.SIGINT, lambda *_: monitor.stop())")
    lines += [
        f"solution = get_backend({name!r}).solve(",
        f"    planted_program(0)[0], Settings(options={options!r}), monitor=monitor)",
        "print(solution.termination, solution.has_primal, solution.iterations > 0, monitor.stopped, sep='|')",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.stdout.splitlines()[-1:] == ["interrupted|True|True|True"], done.stderr


def test_ctrl_c_leaves_the_handler_of_others_in_place():
    lines = [
        "import signal",
        "from cvxrobust.core.backend import Monitor",
        "from cvxrobust.core.interrupt import sigint_stops",
        "monitor = Monitor()",
        "with sigint_stops(monitor):",
        "    signal.raise_signal(signal.SIGINT)",
        "    try:",
        "        signal.raise_signal(signal.SIGINT)",
        "    except KeyboardInterrupt:",
        "        print('second')",
        "print(monitor.stopped, signal.getsignal(signal.SIGINT) is signal.default_int_handler)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["second", "True", "True"], done.stderr


def test_a_cvxpy_variant_reads_only_its_solvers_cones():
    program, _ = planted_program(0)
    with pytest.raises(UnsupportedProgramError, match=r"'cvxpy:CVXOPT' cannot read the cones Exponential"):
        get_backend("cvxpy:CVXOPT").solve(program, Settings())


def test_a_cvxpy_variant_that_does_not_exist_is_refused():
    with pytest.raises(UnknownNameError, match=r"unknown CVXPY solver 'CLARABELL'.*Did you mean 'CLARABEL'"):
        get_backend("cvxpy:clarabell")


def test_a_cvxpy_variant_that_is_not_installed_says_so():
    cvxpy = pytest.importorskip("cvxpy")
    missing = next(name for name in ("XPRESS", "CPLEX", "GUROBI") if name not in cvxpy.installed_solvers())
    assert f"does not find the solver {missing}" in get_backend(f"cvxpy:{missing}").unavailable()


def test_every_mixed_cone_is_planted_more_than_once_or_in_several_sizes():
    kinds = Counter(type(cone).__name__ for cone in MIXED)
    assert kinds["PSD"] >= 3
    assert kinds["Exponential"] >= 3
    assert len(kinds) == 5
