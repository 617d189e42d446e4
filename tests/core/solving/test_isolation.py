"""Large programmes run in a child: same answers, and nothing can keep them from stopping."""

import contextlib
import os
import pickle
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

import cvxrobust.core.solving.isolation as isolation
from cvxrobust import AdversarialSDP, Settings, Termination, UnknownNameError, solve
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.solving import child, invoke


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 3))
    return AdversarialSDP(X, np.where(X[:, 0] > 0, 1.0, -1.0), radius=0.3)


@pytest.mark.parametrize("backend", ["clarabel", "cvxpy:CVXOPT"])
def test_a_child_gives_the_same_answer(problem, backend):
    program, settings = problem.to_conic(), Settings(threads=1)
    there = isolation.solve_isolated(backend, program, settings, Monitor())
    here = get_backend(backend).solve(program, settings)
    np.testing.assert_allclose(there.x, here.x, atol=1e-9)
    assert there.termination is here.termination
    assert there.applied == here.applied


def test_a_child_says_what_memory_it_took_and_nothing_else(problem, capfd):
    found = isolation.solve_isolated("clarabel", problem.to_conic(), Settings(), Monitor())
    assert found.peak_memory > 1e7
    assert capfd.readouterr() == ("", "")


def test_a_first_order_child_starts_warm(problem):
    program = problem.to_conic()
    cold = isolation.solve_isolated("scs", program, Settings(tolerance=1e-4), Monitor())
    warm = isolation.solve_isolated("scs", program, Settings(tolerance=1e-4), Monitor(), cold)
    assert warm.iterations < cold.iterations


def test_what_a_child_prints_is_not_its_answer(problem, capfd):
    found = isolation.solve_isolated("clarabel", problem.to_conic(), Settings(verbose=True), Monitor())
    assert found.termination is Termination.CONVERGED
    out, err = capfd.readouterr()
    assert out == ""
    assert "Clarabel" in err


def test_errors_of_the_child_are_errors_here(problem):
    with pytest.raises(UnknownNameError, match="Did you mean 'max_iter'"):
        isolation.solve_isolated("clarabel", problem.to_conic(), Settings(options={"max_itr": 1}), Monitor())


def test_an_unknown_name_survives_being_sent():
    error = UnknownNameError("loss", "hing", ["hinge"], "Think.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def large():
    """A programme that Clarabel needs long to set up."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((250, 30))
    return AdversarialSDP(X, np.where(X[:, 0] > 0, 1.0, -1.0), radius=0.3)


def test_a_solver_deaf_in_its_set_up_is_ended_after_its_time():
    hard = large()
    result = solve(hard, backend="clarabel", method="direct", settings=Settings(time_limit=2.0))
    assert result.termination is Termination.TIME_LIMIT
    assert "ended in the midst of a step" in result.message
    assert hard.objective(result.network) == pytest.approx(result.certificate.upper)
    assert 0 < result.certificate.lower <= result.certificate.upper


def once_a_child_has_worked(seconds, act):
    """Do something once this process's children have had so much of a processor, whatever else the machine does."""

    def spent():
        return sum(sum(one.cpu_times()[:2]) for one in psutil.Process().children(recursive=True))

    def watch():
        with contextlib.suppress(psutil.NoSuchProcess):
            while spent() < until:
                time.sleep(0.02)
        act()

    until = spent() + seconds
    watching = threading.Thread(target=watch)
    watching.start()
    return watching


@pytest.mark.parametrize("limit", [None, 300])
def test_a_solver_deaf_in_its_set_up_is_killed_after_ctrl_c(monkeypatch, limit):
    monkeypatch.setattr(isolation, "GRACE", 0.5)
    monkeypatch.setattr(child, "GRACE", 0.5)
    watching = once_a_child_has_worked(1.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    result = solve(large(), backend="clarabel", method="direct", settings=Settings(time_limit=limit))
    watching.join()
    assert result.termination is Termination.INTERRUPTED
    assert result.certificate.upper <= 1.0


def test_ctrl_c_gets_the_iterate_of_a_solver_that_listens(problem):
    monitor = Monitor()
    watching = once_a_child_has_worked(1.5, monitor.stop)
    program = problem.to_conic()
    # A tolerance out of reach keeps a first-order method busy until it is asked to stop.
    settings = Settings(options={"eps_abs": 1e-16, "eps_rel": 1e-16, "max_iters": 10**8})
    found = isolation.solve_isolated("scs", program, settings, monitor)
    watching.join()
    assert found.termination is Termination.INTERRUPTED
    assert found.has_primal


def test_a_child_that_dies_is_reported(problem, monkeypatch):
    started = []
    original = isolation.subprocess.Popen

    def mortal(*arguments, **keywords):
        child = original(*arguments, **keywords)
        # However fast the machine is, it does not finish before it dies.
        child.send_signal(signal.SIGSTOP)
        started.append(child)
        return child

    monkeypatch.setattr(isolation.subprocess, "Popen", mortal)
    assassin = threading.Thread(target=lambda: (time.sleep(0.3), started[0].kill()))
    assassin.start()
    found = isolation.solve_isolated("clarabel", problem.to_conic(), Settings(), Monitor())
    assassin.join()
    assert found.termination is Termination.KILLED
    assert "status -9" in found.message


def test_only_large_programmes_of_installed_backends_run_in_a_child(problem, monkeypatch):
    asked = []

    def spy(backend, program, settings, monitor, warm=None):
        asked.append(backend)
        return get_backend(backend).solve(program, settings)

    monkeypatch.setattr(invoke, "solve_isolated", spy)
    solve(problem, backend="clarabel", method="direct")
    assert asked == []
    monkeypatch.setattr(invoke, "ISOLATED_ROWS", 10)
    solve(problem, backend="clarabel", method="direct")
    assert asked == ["clarabel"]
    asked.clear()
    solve(replace(problem, beta=0.02), backend=get_backend("clarabel"), method="direct")
    assert asked == []
