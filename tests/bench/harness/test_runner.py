"""The runner: shuffled, resumed, interrupted and killed, it loses no finished row and runs none twice."""

import io
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import psutil
import pytest
from harness.plugins import PATIENCE, hanging, install_fakes, is_gone, small_suite, wait_until, write_suite
from harness.rows import plain_row
from rich.console import Console

from cvxrobust.bench.harness.results.rows import Failure, Verdict
from cvxrobust.bench.harness.results.store import RESULTS, Store
from cvxrobust.bench.harness.run.process import RunLimits
from cvxrobust.bench.harness.run.progress import RunProgress
from cvxrobust.bench.harness.run.runner import parse_failures, plan, run_here, unfinished
from cvxrobust.bench.harness.suite.suite import parse_suite
from cvxrobust.core.discovery import registry
from cvxrobust.core.errors import InputError, UnknownNameError


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    folder = tmp_path / "fakes"
    folder.mkdir()
    install_fakes(folder, monkeypatch)
    yield folder
    monkeypatch.undo()
    registry.reload()


def test_secrets_reach_the_solver_and_nothing_else(fakes, tmp_path):
    suite = parse_suite(small_suite({"name": "tell", "options": {"access_token": "hush-hush"}}))
    store = Store(tmp_path / "run")
    store.create({"suite": suite.public()})
    with store:
        run_here(plan(suite), RunLimits(), 1, store, RunProgress([], quiet=True))
    (row,) = store.rows()
    assert row.verdict is Verdict.CERTIFIED
    assert "logged in with" in row.message
    assert "hush" not in "".join(path.read_text() for path in store.folder.iterdir())


def test_every_case_is_run_once_by_as_many_processes_as_there_are_slots(fakes, tmp_path):
    content = small_suite("slow")
    content["problems"][0]["seeds"] = list(range(4))
    tasks = plan(parse_suite(content))
    store = Store(tmp_path / "run")
    with store:
        run_here(tasks, RunLimits(), 2, store, RunProgress([], quiet=True))
    assert sorted(row.key for row in store.history()) == sorted(key for key, _ in tasks)
    assert len({row.worker["pid"] for row in store.rows()}) == 2
    wait_until(lambda: all(is_gone(row.worker["pid"]) for row in store.rows()))


def test_a_row_that_cannot_be_written_ends_the_run(fakes, tmp_path, monkeypatch):
    def full(row):
        raise InputError("cannot write: no space")

    store = Store(tmp_path / "run")
    monkeypatch.setattr(store, "append", full)
    content = small_suite("slow")
    content["problems"][0]["seeds"] = list(range(50))
    with pytest.raises(InputError, match="no space"):
        run_here(plan(parse_suite(content)), RunLimits(), 1, store, RunProgress([], quiet=True))


class Harness:
    """`cvxrobust bench run` in a process of its own."""

    def __init__(self, suite, folder):
        self.suite, self.folder = suite, folder

    def command(self, *more):
        words = ["bench", "run", str(self.suite), "--out", str(self.folder), *more]
        return [sys.executable, "-m", "cvxrobust", *words]

    def start(self, *more):
        return subprocess.Popen(self.command(*more), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *more):
        return subprocess.run(self.command(*more), capture_output=True, text=True, timeout=120)

    @property
    def lines(self):
        path = self.folder / RESULTS
        return path.read_bytes().count(b"\n") if path.exists() else 0

    @property
    def rows(self):
        return list(Store(self.folder).history())


@pytest.fixture
def harness(fakes, tmp_path):
    content = small_suite("slow", "clarabel")
    content["problems"][0]["seeds"] = list(range(4))
    return Harness(write_suite(tmp_path / "suite.toml", content), tmp_path / "run")


def descendants(child):
    return psutil.Process(child.pid).children(recursive=True)


def test_kill_9_of_the_harness_loses_no_finished_row_and_runs_none_twice(harness):
    child = harness.start()
    wait_until(lambda: harness.lines >= 2)
    workers = descendants(child)
    assert workers
    child.kill()
    child.communicate()
    wait_until(lambda: all(is_gone(worker.pid) for worker in workers))
    path = harness.folder / RESULTS
    before = path.read_bytes()
    path.write_bytes(before + b'{"key": "torn')
    done = harness.run("--resume")
    assert done.returncode == 0, done.stderr
    assert "the last line was torn" in done.stderr
    assert path.read_bytes().startswith(before)
    assert Counter(Counter(row.key for row in harness.rows).values()) == {1: 8}
    assert {row.verdict for row in harness.rows} == {Verdict.CERTIFIED}
    assert len(Store(harness.folder).manifest()["resumed"]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process that listens to nobody with its parent")
def test_kill_9_of_the_harness_leaves_no_worker_that_hangs(fakes, tmp_path):
    harness = Harness(write_suite(tmp_path / "suite.toml", small_suite("hang")), tmp_path / "run")
    child = harness.start()
    worker, other = hanging(fakes)
    child.kill()
    child.communicate()
    wait_until(lambda: is_gone(worker))
    os.kill(other, signal.SIGKILL)  # the solver's own child, whom nobody told


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(harness):
    child = harness.start()
    wait_until(lambda: harness.lines >= 2)
    workers = descendants(child)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130
    kept = harness.lines
    assert f"{kept} of 8 rows are kept" in said, said
    assert f"cvxrobust bench run {harness.suite} --out {harness.folder} --resume" in said
    assert all(is_gone(worker.pid) for worker in workers)
    assert harness.run("--resume").returncode == 0
    assert Counter(Counter(row.key for row in harness.rows).values()) == {1: 8}


def test_a_worker_killed_in_the_middle_can_be_tried_again(harness, fakes):
    child = harness.start()
    wait_until(lambda: (fakes / "solved").exists() and (fakes / "solved").read_text().endswith("\n"))
    os.kill(int((fakes / "solved").read_text().split()[0]), signal.SIGKILL)
    child.communicate(timeout=120)
    assert child.returncode == 0
    assert Counter(row.failure for row in harness.rows) == {Failure.NONE: 7, Failure.CRASHED: 1}
    assert harness.run("--resume").returncode == 0
    assert len(harness.rows) == 8
    assert harness.run("--resume", "--retry", "crashed,out-of-memory").returncode == 0
    assert len(harness.rows) == 9
    assert {row.verdict for row in Store(harness.folder).rows()} == {Verdict.CERTIFIED}


def test_a_second_harness_is_refused_while_the_first_one_runs(harness):
    child = harness.start()
    wait_until(lambda: harness.lines >= 1)
    child.send_signal(signal.SIGSTOP)  # or it might be finished before the second one has begun
    second = harness.run("--resume")
    child.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert "another process is writing" in second.stderr
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=PATIENCE)


def test_failures_are_retried_by_kind():
    tasks = plan(parse_suite(small_suite("scs", "clarabel", "torch")))
    (first, _), (second, _), (third, _) = tasks
    rows = [
        plain_row(first),
        plain_row(second, Verdict.FAILED, failure=Failure.MEMORY),
        plain_row(third, Verdict.INACCURATE, failure=Failure.TIME_LIMIT),
    ]
    left = [
        [key for key, _ in unfinished(tasks, rows, parse_failures(kinds))]
        for kinds in ("", "error,killed", "out-of-memory", "out of memory, time limit")
    ]
    assert left == [[], [], [second], [second, third]]
    with pytest.raises(UnknownNameError, match=r"failure 'kiled'.* Did you mean 'killed'"):
        parse_failures("kiled")


def test_progress_estimates_by_backend(capsys):
    cases = parse_suite(small_suite("scs", "clarabel", repeats=3)).cases()
    with RunProgress(cases, finished=4) as progress:
        assert progress.remaining_seconds is None
        progress.began(cases[0])
        for case, seconds in zip((cases[0], cases[3]), (10.0, 1.0), strict=True):
            done = replace(
                plain_row("k", reason="why"), case=case.public(), backend=case.backend.title, seconds=seconds
            )
            progress.ended(done)
        assert progress.remaining_seconds == pytest.approx(2 * 10.0 + 2 * 1.0)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("   4/10 running")
    assert said[1].startswith("   5/10 certified")
    assert said[2].endswith("about 22 s left")


def test_progress_on_a_terminal_shows_the_current_case():
    cases = parse_suite(small_suite("scs")).cases()
    progress = RunProgress(cases)
    progress.began(cases[0])
    shown = io.StringIO()
    Console(width=150, file=shown).print(progress)
    assert "0/1" in shown.getvalue()
    assert str(cases[0]) in shown.getvalue()


def test_workers_start_fresh_and_do_not_run_the_callers_script_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('here')\n"
        "from cvxrobust.bench.harness.run.process import RunLimits\n"
        "from cvxrobust.bench.harness.run.runner import plan\n"
        "from cvxrobust.bench.harness.suite.suite import parse_suite\n"
        "from cvxrobust.bench.harness.run.worker_pool import Supervisor\n"
        f"((key, case),) = plan(parse_suite({small_suite('scs')!r}))\n"
        "shop = Supervisor(case.backend, RunLimits())\n"
        "print(shop.run(key, case).verdict)\n"
        "shop.close()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["here", "certified"], done.stderr
