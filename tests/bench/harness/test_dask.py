"""Many machines: the same rows through a scheduler of dask, whatever happens to its workers."""

import os
import signal
import time

import psutil
import pytest
from harness.plugins import install_fakes, small_suite

from cvxrobust.bench.harness.results.rows import Failure, Verdict
from cvxrobust.bench.harness.results.store import Store
from cvxrobust.bench.harness.run.dask import Cluster
from cvxrobust.bench.harness.run.process import RunLimits
from cvxrobust.bench.harness.run.progress import RunProgress
from cvxrobust.bench.harness.run.runner import plan
from cvxrobust.bench.harness.suite.suite import parse_suite
from cvxrobust.core.discovery import registry
from cvxrobust.core.errors import InputError

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")

# Its own machinery leaves sockets and loops to the garbage collector when it is closed.
pytestmark = [
    pytest.mark.filterwarnings("default::ResourceWarning"),
    pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("default::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler with two worker processes, which find the backends of the tests."""
    folder = tmp_path_factory.mktemp("fakes")
    with pytest.MonkeyPatch.context() as patch:
        install_fakes(folder, patch)
        cluster = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            local_directory=str(folder),
        )
        with cluster:
            yield cluster.scheduler_address
    registry.reload()


def run_on(address, content, folder):
    tasks = plan(parse_suite(content))
    store = Store(folder)
    with Cluster(address) as cluster, store:
        progress = RunProgress([case for _, case in tasks], jobs=cluster.slots, quiet=True)
        cluster.run(tasks, RunLimits(grace=1.0), store, progress)
    assert sorted(row.key for row in store.history()) == sorted(key for key, _ in tasks)
    return store.rows()


def test_cases_run_on_all_workers_in_watched_processes(address, tmp_path):
    content = small_suite("slow", "scs")
    content["problems"][0]["seeds"] = list(range(6))
    rows = run_on(address, content, tmp_path / "run")
    assert {row.verdict for row in rows} == {Verdict.CERTIFIED}
    for backend in ("slow", "scs"):
        processes = {row.worker["pid"] for row in rows if row.backend == backend}
        assert 1 <= len(processes) <= 2  # one of each dask worker, kept from case to case
    assert max(row.worker["served"] for row in rows) >= 1


def test_hangs_and_crashes_there_are_rows_here(address, tmp_path):
    rows = run_on(address, small_suite("hang", "crash", "scs", time_limit=1.0), tmp_path / "run")
    found = {row.backend: row.failure for row in rows}
    assert found == {"hang": Failure.KILLED, "crash": Failure.CRASHED, "scs": Failure.NONE}


def test_a_second_run_of_the_same_suite_is_run_and_not_remembered(address, tmp_path):
    first, second = (run_on(address, small_suite("scs"), tmp_path / name)[0] for name in ("a", "b"))
    assert first.key == second.key
    assert first.started != second.started


def test_what_the_machines_are_is_known(address):
    with Cluster(address) as cluster:
        machines = cluster.machines()
    assert len(machines) == 2
    assert all(facts["cpu"] and facts["memory"] and facts["versions"]["scs"] for facts in machines.values())


def test_a_dask_worker_that_is_killed_loses_no_case(address, tmp_path):
    content = small_suite("slow")
    content["problems"][0]["seeds"] = list(range(6))
    tasks = plan(parse_suite(content))
    store = Store(tmp_path / "run")

    class Assassin:
        killed = False

        def began(self, case): ...

        def ended(self, row):
            if not self.killed:
                self.killed = True
                os.kill(psutil.Process(row.worker["pid"]).ppid(), signal.SIGKILL)

    with Cluster(address) as cluster, store:
        cluster.run(tasks, RunLimits(), store, Assassin())
        deadline = time.monotonic() + 60
        while cluster.slots < 2 and time.monotonic() < deadline:  # its nanny starts another one
            time.sleep(0.1)
    assert sorted(row.key for row in store.history()) == sorted(key for key, _ in tasks)
    assert {row.verdict for row in store.rows()} == {Verdict.CERTIFIED}


def test_an_address_where_nobody_answers_is_an_error(monkeypatch):
    from cvxrobust.bench.harness.run import dask

    monkeypatch.setattr(dask, "CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match=r"no dask scheduler answers at tcp://127.0.0.1:9"):
        Cluster("tcp://127.0.0.1:9")


def test_a_scheduler_without_workers_is_an_error():
    cluster = distributed.LocalCluster(n_workers=0, processes=True, dashboard_address="127.0.0.1:0")
    with cluster, Cluster(cluster.scheduler_address) as empty, pytest.raises(InputError, match="has no workers"):
        empty.machines()
