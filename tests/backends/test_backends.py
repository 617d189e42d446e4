"""What is particular to our backends: their options, Ctrl-C, limits across slices. The contract holds the rest."""

import subprocess
import sys
import textwrap
import time
from collections import Counter

import numpy as np
import pytest
from fresh_environment import with_support
from scipy import sparse

from cvxrobust.backends import scs as scs_backend
from cvxrobust.core.conic.cones import PSD, NonNegative, Zero, smat, svec
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.conic.residuals import infeasibility, residuals, unboundedness
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import InputError, UnknownNameError, UnsupportedProgramError
from cvxrobust.core.settings import Settings
from cvxrobust.core.testing import LINEAR, MIXED, infeasible_program, planted_program, unbounded_program


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


def test_options_overrule_settings():
    program, _ = planted_program(0, LINEAR)
    solution = get_backend("clarabel").solve(program, Settings(max_iterations=50, options={"max_iter": 3}))
    assert solution.applied["max_iter"] == 3
    assert solution.iterations == 3


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
        "from cvxrobust.core.contracts.backend import Monitor",
        "from cvxrobust.core.discovery.registry import get_backend",
        "from cvxrobust.core.settings import Settings",
        "from cvxrobust.core.testing import planted_program",
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
        env=with_support(),
    )
    assert done.stdout.splitlines()[-1:] == ["interrupted|True|True|True"], done.stderr


def test_ctrl_c_leaves_the_handler_of_others_in_place():
    lines = [
        "import signal",
        "from cvxrobust.core.contracts.backend import Monitor",
        "from cvxrobust.core.kit.interrupt import sigint_stops",
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


def test_where_preparation_for_cvxopt_breaks_down_a_sturdier_one_is_tried_and_reported(monkeypatch):
    scipy_arpack = pytest.importorskip("scipy.sparse.linalg").ArpackError

    def broken(*args, **kwargs):
        raise scipy_arpack(-9)

    monkeypatch.setattr("cvxpy.reductions.solvers.conic_solvers.cvxopt_conif.eigsh", broken)
    program, _ = planted_program(0, (Zero(3), NonNegative(4)))
    backend = get_backend("cvxpy:CVXOPT")
    solution = backend.solve(program, Settings(tolerance=1e-6))
    assert solution.termination is Termination.CONVERGED
    assert solution.applied["kktsolver"] == "robust"
    with pytest.raises(scipy_arpack):
        backend.solve(program, Settings(options={"kktsolver": "chol"}))


@pytest.mark.parametrize("name", ["clarabel", "cvxpy"])
def test_clarabel_is_asked_again_without_decomposition_where_its_answer_does_not_hold(name):
    """On its own blocks everything is fine; on the programme as given the multipliers are off by 1e-3."""
    program, backend = lyapunov_program(), get_backend(name)
    decomposed = backend.solve(program, Settings(tolerance=1e-6, options={"chordal_decomposition_enable": True}))
    assert decomposed.termination is Termination.NUMERICAL
    assert decomposed.doubt
    found = backend.solve(program, Settings(tolerance=1e-6))
    assert found.termination is Termination.CONVERGED
    assert found.applied["chordal_decomposition_enable"] is False
    assert found.iterations > decomposed.iterations
    assert residuals(program, found).worst[0] < 1e-5


def test_where_clarabel_has_no_time_for_that_the_answer_is_called_inaccurate():
    monitor, settings = Impatient(), Settings(tolerance=1e-6)
    get_backend("clarabel").solve(
        lyapunov_program(), settings.replace(options={"chordal_decomposition_enable": True}), monitor=monitor
    )
    found = get_backend("clarabel").solve(lyapunov_program(), settings, monitor=Impatient(monitor.looks))
    assert found.termination is Termination.NUMERICAL
    assert "inaccurate: called converged" in found.message


@pytest.mark.parametrize("limit", ["iterations", "seconds"])
def test_a_limit_that_strikes_clarabel_at_reduced_accuracy_is_a_limit(limit, monkeypatch):
    program, _ = planted_program(0)
    exact = get_backend("clarabel").solve(program, Settings(tolerance=1e-8)).iterations
    reduced = Settings(
        tolerance=1e-8,
        max_iterations=exact - 1 if limit == "iterations" else None,
        options={"reduced_tol_feas": 1.0, "reduced_tol_gap_abs": 1.0, "reduced_tol_gap_rel": 1.0},
    )
    if limit == "seconds":
        monkeypatch.setattr(Monitor, "should_stop", property(lambda self: bool(time.sleep(0.02))))
        reduced = reduced.replace(time_limit=0.02 * (exact - 3))  # which it notices an iteration late
    found = get_backend("clarabel").solve(program, reduced)
    assert found.message == "AlmostSolved"
    assert found.termination is (Termination.ITERATION_LIMIT if limit == "iterations" else Termination.TIME_LIMIT)


class Impatient(Monitor):
    """Counts looks at the clock, and is late after so many."""

    def __init__(self, patience=10**6):
        super().__init__()
        self.looks, self.patience = 0, patience

    @property
    def expired(self):
        self.looks += 1
        return self.looks > self.patience


def lyapunov_program(seed=0, states=4, gain=10.0, feedback=50.0):
    """The largest t with ``[[-P A - A'P - C'D C, -P B], [-B'P, D]] - t I`` and ``P - I`` psd."""
    rng, n = np.random.default_rng(seed), states
    A, B, C = (size * rng.standard_normal((n, n)) for size in (gain, gain, feedback))

    def column(P, D, t):
        block = np.block([[-P @ A - A.T @ P - C.T @ D @ C, -P @ B], [-B.T @ P, D]]) - t * np.eye(2 * n)
        return np.concatenate([svec(block), svec(P)])

    none = np.zeros((n, n))
    columns = [column(smat(unit), none, 0.0) for unit in np.eye(PSD(n).dim)]
    columns += [column(none, np.diag(unit), 0.0) for unit in np.eye(n)] + [column(none, none, 1.0)]
    A = sparse.csc_array(-np.stack(columns, axis=1))
    b = np.concatenate([np.zeros(PSD(2 * n).dim), -svec(np.eye(n))])
    return ConicProgram(-np.eye(1, len(columns), len(columns) - 1).ravel(), A, b, (PSD(2 * n), PSD(n)))


@pytest.mark.parametrize("limit", [{"max_iterations": 2}, {"time_limit": 1e-9}])
def test_cvxopt_keeps_its_iterate_at_limits(limit):
    program, _ = planted_program(0, LINEAR)
    found = get_backend("cvxpy:CVXOPT").solve(program, Settings(**limit))
    assert found.termination in (Termination.ITERATION_LIMIT, Termination.TIME_LIMIT)
    assert (found.termination is Termination.TIME_LIMIT) is ("time_limit" in limit)
    assert found.iterations <= 2
    assert found.has_primal
    assert found.has_dual


def test_where_cvxopt_breaks_down_a_sturdier_factorisation_is_tried_and_reported(monkeypatch):
    """Where its normal equations break down by themselves, rounding decides whether they do."""
    from cvxopt import misc

    program, backend = lyapunov_program(3, 5, 35.0, 50.0), get_backend("cvxpy:CVXOPT")
    settings, made = Settings(tolerance=1e-6), misc.kkt_chol

    def singular(*shape):
        factor, calls = made(*shape), Counter()

        def factorise(W):
            calls["all"] += 1
            if calls["all"] > 4:
                raise ArithmeticError(calls["all"])
            return factor(W)

        return factorise

    monkeypatch.setattr(misc, "kkt_chol", singular)
    first = backend.solve(program, settings.replace(options={"kktsolver": "chol"}))
    assert first.termination is Termination.NUMERICAL
    assert first.has_primal
    found = backend.solve(program, settings)
    assert found.termination is Termination.CONVERGED
    assert found.applied["kktsolver"] == "ldl"
    assert residuals(program, found).worst[0] < 1e-6


@pytest.mark.parametrize("error", [ZeroDivisionError("float division by zero"), ValueError("domain error")])
def test_arithmetic_errors_in_cvxopt_are_answers(error, monkeypatch):
    import cvxopt.solvers

    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(cvxopt.solvers, "conelp", broken)
    before = dict(cvxopt.solvers.options)
    program, _ = planted_program(0, LINEAR)
    found = get_backend("cvxpy:CVXOPT").solve(program, Settings(options={"refinement": 2}))
    assert found.termination is Termination.ERROR
    assert "CVXOPT" in found.message
    assert dict(cvxopt.solvers.options) == before


@pytest.mark.parametrize("options", [{"max_iters": 0}, {"feastol": -1.0}, {"kktsolver": "magic"}])
def test_an_option_that_cvxopt_refuses_is_the_callers_mistake(options):
    program, _ = planted_program(0, LINEAR)
    with pytest.raises(InputError, match="refuses the options"):
        get_backend("cvxpy:CVXOPT").solve(program, Settings(options=options))


def test_cvxopt_returns_multipliers_of_redundant_rows_too():
    """One equation twice over, and inequalities that are multiples of others."""
    program, planted = planted_program(1, (Zero(2), NonNegative(8)), columns=4)
    rows = np.array([0, 1, 0, *range(2, 10), 2, 3])
    scale = np.array([1.0, 1.0, 2.0, *np.ones(8), 3.0, 1.0])
    A, b = sparse.csc_array(scale[:, None] * program.A.toarray()[rows]), scale * program.b[rows]
    wider = ConicProgram(program.q, A, b, (Zero(3), NonNegative(10)))
    found = get_backend("cvxpy:CVXOPT").solve(wider, Settings(tolerance=1e-6))
    assert found.termination is Termination.CONVERGED
    assert program.q @ found.x == pytest.approx(program.q @ planted.x, abs=1e-6)
    assert residuals(wider, found).worst[0] < 1e-6


@pytest.mark.parametrize(("made", "verdict"), [(infeasible_program, "infeasible"), (unbounded_program, "unbounded")])
def test_cvxopt_hands_over_its_certificates(made, verdict):
    program = made((NonNegative(3), PSD(2), Zero(1)))
    found = get_backend("cvxpy:CVXOPT").solve(program, Settings(tolerance=1e-6))
    assert str(found.termination) == verdict
    error = infeasibility(program, found.y) if verdict == "infeasible" else unboundedness(program, found.x)
    assert error.absolute < 1e-6
