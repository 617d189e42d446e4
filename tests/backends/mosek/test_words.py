"""What becomes of MOSEK's words (statuses, errors, options), with no optimiser at all."""

import threading
import time

import mosek_stand_in
import numpy as np
import pytest

from cvxrobust.backends.mosek import Mosek, optimiser
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.errors import BackendUnavailableError, InputError, LicenceError, UnknownNameError
from cvxrobust.core.settings import Settings
from cvxrobust.core.testing import MIXED, planted_program

mosek = pytest.importorskip("mosek")

FORMS = ("acc", "bar")


@pytest.fixture
def answering(monkeypatch):
    """Let MOSEK answer whatever the test wants."""

    def arrange(answer):
        def answers(task, request):
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(optimiser, "optimise", answers)
        program, _ = planted_program(0)
        return lambda form="acc", **options: Mosek().solve(program, Settings(options={"form": form} | options))

    return arrange


@pytest.mark.parametrize(
    ("trmcode", "solsta", "expected"),
    [
        ("ok", "optimal", ("converged", "converged")),
        ("trm_max_time", "optimal", ("converged", "converged")),
        ("ok", "prim_infeas_cer", ("infeasible", "unbounded")),
        ("ok", "dual_infeas_cer", ("unbounded", "infeasible")),
        ("ok", "prim_illposed_cer", ("numerical", "numerical")),
        ("ok", "dual_illposed_cer", ("numerical", "numerical")),
        ("ok", "unknown", ("numerical", "numerical")),
        ("ok", "prim_and_dual_feas", ("numerical", "numerical")),
        ("trm_stall", "unknown", ("numerical", "numerical")),
        ("trm_numerical_problem", "unknown", ("numerical", "numerical")),
        ("trm_max_iterations", "unknown", ("iteration limit", "iteration limit")),
        ("trm_max_time", "unknown", ("time limit", "time limit")),
        ("trm_server_max_time", "unknown", ("time limit", "time limit")),
        ("trm_user_callback", "unknown", ("time limit", "time limit")),
        ("trm_server_max_memory", "unknown", ("out of memory", "out of memory")),
        ("trm_internal", "unknown", ("error", "error")),
        ("trm_from_the_future", "unknown", ("error", "error")),
    ],
)
def test_every_status_has_its_termination(answering, trmcode, solsta, expected):
    ask = answering(optimiser.Outcome(trmcode, solsta=solsta))
    for form, termination in zip(FORMS, expected, strict=True):
        solution = ask(form)
        assert solution.termination == termination
        assert trmcode in solution.message
        assert not solution.has_primal


def test_the_names_in_our_tables_are_mosek_s():
    from cvxrobust.backends.mosek.solution import CUT_SHORT, SERVER_CODES, SERVER_TIMEOUT, SPACE

    codes = {str(code).rpartition(".")[2]: int(code) for code in mosek.rescode.members()}
    assert {*CUT_SHORT, *SPACE, SERVER_TIMEOUT} <= {*codes, "ok"}
    assert {name for name, code in codes.items() if code in SERVER_CODES} == {
        name for name in codes if name.startswith("err_server_")
    }
    statuses = {str(status).rpartition(".")[2] for status in mosek.solsta.members()}
    used = {status for _, _, status in mosek_stand_in.STATUSES.values()}
    assert used | {"prim_illposed_cer", "dual_illposed_cer"} <= statuses


@pytest.mark.parametrize(
    ("code", "termination"),
    [
        ("err_space", "out of memory"),
        ("err_server_hard_timeout", "time limit"),
        ("err_internal", "error"),
    ],
)
def test_other_errors_are_answers(answering, code, termination):
    solution = answering(mosek.Error(getattr(mosek.rescode, code), "what MOSEK says\n"))()
    assert solution.termination == termination
    number = int(getattr(mosek.rescode, code))
    assert solution.message == f"{code} ({number}): what MOSEK says"


@pytest.mark.parametrize("code", ["err_license_expired", "err_license_feature", "err_license_server", "err_flexlm"])
def test_a_refusal_for_want_of_a_licence_names_mosek_s_code(answering, code):
    ask = answering(mosek.Error(getattr(mosek.rescode, code), "says who"))
    with pytest.raises(LicenceError, match=rf"{code} \({int(getattr(mosek.rescode, code))}\): says who.*mosek\.lic"):
        ask()
    with pytest.raises(LicenceError, match=rf"OptServer at http://far:1 has no usable MOSEK licence: {code}"):
        ask(optserver="http://far:1")


def test_an_optserver_that_fails_is_unavailable(answering):
    ask = answering(mosek.Error(mosek.rescode.err_server_status, "503"))
    with pytest.raises(BackendUnavailableError, match=r"http://far:1 .*err_server_status \(8002\): 503"):
        ask(optserver="http://far:1")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"MSK_IPAR_NUM_THREAD": 1}, UnknownNameError, "Did you mean 'MSK_IPAR_NUM_THREADS'"),
        ({"num_threads": 1}, UnknownNameError, r"Did you mean 'iparam\.num_threads'"),
        ({"forn": "acc"}, UnknownNameError, "Did you mean 'form'"),
        ({"form": "dual"}, UnknownNameError, "unknown mosek form 'dual'"),
        ({"MSK_IPAR_NUM_THREADS": "many"}, InputError, "MSK_IPAR_NUM_THREADS='many'"),
        ({"MSK_IPAR_NUM_THREADS": 2.5}, InputError, "MSK_IPAR_NUM_THREADS=2.5"),
        ({"MSK_IPAR_NUM_THREADS": 2**40}, InputError, "MSK_IPAR_NUM_THREADS=1099511627776"),
        ({"dparam.intpnt_co_tol_pfeas": -1.0}, InputError, "MSK_DPAR_INTPNT_CO_TOL_PFEAS=-1.0.*too small"),
        ({"dparam.intpnt_co_tol_pfeas": float("nan")}, InputError, "PFEAS=nan"),
        ({"MSK_SPAR_DATA_FILE_NAME": 5}, InputError, "MSK_SPAR_DATA_FILE_NAME=5"),
        ({"iparam.log": 1, "MSK_IPAR_LOG": 1}, InputError, "MSK_IPAR_LOG is given twice"),
        ({"optserver": "far:1"}, InputError, "expected the URL of an OptServer"),
        ({"optserver_token": "secret"}, InputError, "of no use without optserver"),
        ({"optserver": "http://far:1", "optserver_token": 5}, InputError, "optserver_token is a int"),
    ],
)
def test_unusable_options_are_refused_by_name_before_any_work(options, error, message):
    for refuse in (lambda s: Mosek().check_settings(s), lambda s: Mosek().solve(planted_program(0)[0], s)):
        with pytest.raises(error, match=message) as refused:
            refuse(Settings(options=options))
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"MSK_IPAR_INTPNT_SOLVE_FORM": "MSK_SOLVE_DUAL"},
        {"mosek.iparam.intpnt_solve_form": 2},
        {"iparam.intpnt_solve_form": mosek.solveform.dual},
        {"MSK_IPAR_NUM_THREADS": np.int64(1)},
        {"MSK_DPAR_INTPNT_CO_TOL_PFEAS": "1e-7"},
        {"MSK_DPAR_INTPNT_CO_TOL_PFEAS": np.float64(1e-7)},
        {"form": "bar", "optserver": "https://far:30080", "optserver_token": "secret"},
    ],
)
def test_usable_options_are_taken(options):
    Mosek().check_settings(Settings(options=options))


@pytest.mark.parametrize("stopped", [False, True])
def test_the_callback_passes_on_what_the_monitor_says(stopped):
    heard = []

    class Task:
        def set_Progress(self, callback):
            self.callback = callback

        def optimize(self):
            heard.append(self.callback("begin"))
            raise LookupError

    monitor = Monitor()
    if stopped:
        monitor.stop()
    for deadline in (None, time.perf_counter() + 1e6, 0.0):
        with pytest.raises(LookupError):
            optimiser.optimise(Task(), optimiser.Request(monitor, deadline))
    assert heard == ([1, 1, 1] if stopped else [0, 0, 1])


def test_exceptions_of_the_callback_come_back():
    """MOSEK itself would swallow a second Ctrl-C."""

    class Task:
        def set_Progress(self, callback):
            self.callback = callback

        def optimize(self):
            assert self.callback("begin") == 1

    class Pressed(Monitor):
        @property
        def should_stop(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimiser.optimise(Task(), optimiser.Request(Pressed()))


def test_a_silent_server_is_left_behind(monkeypatch):
    monkeypatch.setattr(optimiser, "GRACE", 0.05)
    answered = threading.Event()

    class Task:
        def set_Progress(self, callback):
            pass

        def optimizermt(self, server, token):
            answered.wait(30)

    began = time.perf_counter()
    request = optimiser.Request(deadline=began + 0.1, server="http://far:1")
    outcome = optimiser.optimise(Task(), request)
    answered.set()
    assert outcome.trmcode == "trm_user_callback"
    assert "http://far:1 sent nothing in time" in outcome.message


def test_mixed_planted_programs_hold_every_cone_that_mosek_reads():
    assert {type(cone) for cone in MIXED} == Mosek.capabilities.cones
