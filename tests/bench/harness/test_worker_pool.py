"""Worker processes with backends that hang, crash, eat memory and lie: each becomes a row with a reason."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from harness.plugins import PATIENCE, hanging, install_fakes, is_gone, small_suite, the_case, wait_until

from cvxrobust.bench.harness.results.rows import Failure, Row, Verdict
from cvxrobust.bench.harness.run import worker, worker_pool
from cvxrobust.bench.harness.run.process import RunLimits
from cvxrobust.bench.harness.run.runner import plan
from cvxrobust.bench.harness.run.worker_pool import Supervisor
from cvxrobust.bench.harness.suite.cases import BackendSpec
from cvxrobust.bench.harness.suite.suite import parse_suite
from cvxrobust.bench.metrics import seconds_until
from cvxrobust.core.discovery import registry


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    folder = tmp_path / "fakes"
    folder.mkdir()
    install_fakes(folder, monkeypatch)
    yield folder
    monkeypatch.undo()
    registry.reload()


@pytest.fixture
def supervisors():
    """Makes supervisors, and closes them in the end."""
    opened = []

    def make(case, terms=None, stop=None):
        opened.append(Supervisor(case.backend, terms or RunLimits(grace=5.0), stop))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_a_good_case_is_a_certified_row_with_everything_in_it(supervisors):
    key, case = the_case("clarabel", threads=1)
    shop = supervisors(case)
    began = time.perf_counter()
    first = shop.run(key, case)
    elapsed = time.perf_counter() - began
    second = shop.run(key, case)
    assert first.verdict is Verdict.CERTIFIED
    assert first.key == key
    assert first.relative_gap <= case.tolerance
    assert first.reason == ""
    assert first.seconds >= first.metrics["wall"] > first.metrics["assemble"] > 0
    assert elapsed > first.seconds + first.worker["warm_up"]["seconds"]  # the warm-up is in no time of the row
    assert first.trace
    assert first.started
    assert first.versions["clarabel"]
    assert (first.worker["served"], second.worker["served"]) == (0, 1)
    assert first.worker["pid"] == second.worker["pid"] == shop.pid
    assert first.worker["warm_up"]["complaint"] == ""
    assert first.worker["warm_up"]["seconds"] > 0


def test_a_forger_is_shown_with_its_true_time_and_named(fakes, supervisors):
    key, case = the_case("forge", threads=1)
    row = supervisors(case).run(key, case)
    assert row.verdict is Verdict.CERTIFIED
    assert seconds_until(row.trace, 1e-4) > 1.0
    assert [said for said in row.complaints if said.startswith("claimed a network of 0.001, but none is below")]
    assert Row.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_a_warm_up_that_fails_is_a_complaint_in_every_row(monkeypatch):
    monkeypatch.setattr(worker, "WARM_UP_FAMILIES", ("no-such-family",))
    events = []
    served = worker.Worker(BackendSpec("clarabel"), 1, None, events.append)
    served.prepare(60.0)
    for _ in range(2):
        served.answer(*the_case("clarabel", threads=1))
    rows = [event["row"] for event in events if event["event"] == "row"]
    assert len(rows) == 2
    assert all("not warmed up: StopIteration" in row["complaints"][0] for row in rows)


def test_warming_up_needs_no_package_for_tests():
    script = (
        "import sys; sys.modules['pytest'] = None\n"
        "from cvxrobust.bench.harness.run.worker import warm_up\n"
        "from cvxrobust.bench.harness.suite.cases import BackendSpec\n"
        "sys.exit(warm_up(BackendSpec('ipm'), 1, 60.0) or 'cvxrobust.backends.ipm.gated.solve' not in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(("backend", "threads"), [("scs", 1), ("torch", 2)])
def test_thread_counts_are_those_asked_for_and_recorded(supervisors, monkeypatch, backend, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    key, case = the_case(backend, threads=threads)
    row = supervisors(case, RunLimits(threads=threads)).run(key, case)
    assert row.worker["threads"] == row.case["threads"] == threads
    assert row.worker["pools"]
    assert set(row.worker["pools"].values()) <= set(range(1, threads + 1))


def test_memory_is_that_of_the_case_and_not_of_the_one_before(supervisors):
    large = small_suite("clarabel", tolerances=1e-2)
    large["problems"][0] |= {"n": 150, "d": 8}
    ((large_key, large_case),) = plan(parse_suite(large))
    key, case = the_case("clarabel")
    shop = supervisors(case)
    before, heavy, after = (shop.run(*task) for task in ((key, case), (large_key, large_case), (key, case)))
    assert heavy.metrics["peak-memory"] > before.metrics["peak-memory"] + 10e6
    assert after.metrics["peak-memory"] < heavy.metrics["peak-memory"] - 5e6


def test_a_solver_that_hangs_is_killed_within_grace_with_its_children(fakes, supervisors):
    key, case = the_case("hang", time_limit=0.5)
    shop = supervisors(case, RunLimits(grace=1.0))
    began = time.monotonic()
    row = shop.run(key, case)
    assert row.failure is Failure.KILLED
    assert "still running 1 s after its time limit of 0.5 s" in row.reason
    assert 1.5 <= row.seconds < 1.5 + 3.0
    assert time.monotonic() - began < PATIENCE
    wait_until(lambda: all(is_gone(pid) for pid in hanging(fakes)))
    good, good_case = the_case("clarabel")
    assert supervisors(good_case).run(good, good_case).verdict is Verdict.CERTIFIED


def test_one_that_hangs_in_its_warm_up_is_started_without(fakes, supervisors, monkeypatch):
    monkeypatch.setattr(worker_pool, "WARM_UP_SECONDS", 0.5)
    key, case = the_case("hang-always", time_limit=0.5)
    shop = supervisors(case, RunLimits(grace=0.5))
    assert [shop.run(key, case).failure for _ in range(2)] == [Failure.KILLED] * 2
    assert len(hanging(fakes)) == 2 * 3  # one warm-up and two cases


def test_one_that_exhausts_its_memory_is_out_of_memory(fakes, supervisors):
    key, case = the_case("eat")
    row = supervisors(case, RunLimits(memory_limit=600_000_000)).run(key, case)
    assert row.failure is Failure.MEMORY
    assert str(row.failure) == "out of memory"
    assert "above the limit of 600,000,000" in row.reason


@pytest.mark.parametrize("backend", ["crash", "crash-always"])
def test_one_that_crashes_is_a_row_with_its_last_words_and_is_replaced(fakes, supervisors, backend):
    key, case = the_case(backend)
    shop = supervisors(case)
    rows = [shop.run(key, case) for _ in range(2)]
    assert [row.failure for row in rows] == [Failure.CRASHED] * 2
    assert "signal 11: Fatal Python error: Segmentation fault" in rows[0].reason
    assert rows[0].worker["pid"] != rows[1].worker["pid"]


@pytest.mark.parametrize(("backend", "said"), [("panic", "PanicException: index out"), ("quit", "SystemExit: enough")])
def test_panics_are_rows_and_the_process_goes_on(fakes, supervisors, backend, said):
    key, case = the_case(backend)
    shop = supervisors(case)
    rows = [shop.run(key, case) for _ in range(2)]
    assert [row.failure for row in rows] == [Failure.ERROR] * 2
    assert said in rows[0].reason
    assert rows[0].worker["pid"] == rows[1].worker["pid"]


def test_a_cheat_that_calls_itself_optimal_is_unusable(fakes, supervisors):
    content = small_suite("cheat")
    content["problems"][0]["parameters"] = {"radius": 0.1, "beta": 0.01}
    ((key, case),) = plan(parse_suite(content))
    row = supervisors(case).run(key, case)
    assert row.termination == "numerical"
    assert row.message.startswith("optimal, objective 0.0; inaccurate: called converged, but primal")
    assert row.verdict is Verdict.FAILED
    assert row.failure is Failure.NUMERICAL
    assert row.relative_gap > 0.1


@pytest.mark.parametrize(
    ("table", "family", "said"),
    [
        ({"name": "clarabel", "methods": "cutting-set"}, "convex-relu", "no exact worst case"),
        ({"name": "torch", "polish": "clarabel"}, "convex-relu", "no exact worst case"),
        ({"name": "linear"}, "adversarial-sdp", "PSD"),
    ],
)
def test_what_a_backend_cannot_read_is_refused_not_missing(fakes, supervisors, table, family, said):
    content = small_suite(table)
    content["problems"][0] |= {"family": family, "parameters": {"radius": 0.2} if "adv" in family else {}}
    ((key, case),) = plan(parse_suite(content))
    row = supervisors(case).run(key, case)
    assert (row.verdict, row.failure) == (Verdict.FAILED, Failure.REFUSED)
    assert said in row.reason
    assert row.reason


def test_a_backend_that_is_not_available_is_a_row_that_says_why(supervisors):
    if registry.get_backend("mosek").unavailable() is None:
        pytest.skip("MOSEK runs here")
    key, case = the_case("mosek")
    row = supervisors(case).run(key, case)
    assert row.failure in (Failure.LICENCE, Failure.UNAVAILABLE)
    assert "mosek" in row.reason.lower()


def test_other_data_or_versions_where_it_runs_are_an_error(supervisors):
    _, case = the_case("clarabel")
    row = supervisors(case).run("0" * 20, case)
    assert row.failure is Failure.ERROR
    assert "the data, or the versions" in row.reason


def test_a_worker_killed_while_idle_is_replaced_without_a_word(supervisors):
    key, case = the_case("clarabel")
    shop = supervisors(case)
    first = shop.run(key, case)
    os.kill(shop.pid, signal.SIGKILL)
    second = shop.run(key, case)
    assert first.verdict is second.verdict is Verdict.CERTIFIED
    assert first.worker["pid"] != second.worker["pid"]


def test_a_worker_killed_in_a_case_is_a_row_and_is_replaced(fakes, supervisors):
    key, case = the_case("hang")
    shop = supervisors(case)
    killer = threading.Thread(target=lambda: os.kill(hanging(fakes)[0], signal.SIGKILL))
    killer.start()
    row = shop.run(key, case)
    killer.join()
    assert row.failure is Failure.CRASHED
    assert "signal 9" in row.reason
    good, good_case = the_case("slow")
    assert supervisors(good_case).run(good, good_case).verdict is Verdict.CERTIFIED
