"""Children say what they find as they go, and can be ended whatever they are doing."""

import contextlib
import os
import signal
import subprocess
import threading
import time

import psutil
import pytest
from fakes import Clock

from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.solving import child

pytestmark = pytest.mark.skipif(not child.can_fork("cpu"), reason="children that share memory need Linux")
AGES = 300.0


@pytest.fixture(autouse=True)
def nobody_is_left():
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


@pytest.fixture
def over(tmp_path, monkeypatch):
    """A file: once it is there, the time is up."""
    monkeypatch.setattr(child, "time", Clock(tmp_path / "over"))
    return tmp_path / "over"


def run(work, monitor=None, seconds=AGES, hear=lambda name, said: None):
    return child.run_in_child(work, monitor or Monitor(), time.perf_counter() + seconds, hear)


def test_the_last_message_of_every_name_counts():
    def work(send):
        send("kept", 1)
        send("answer", "x" * 5_000_000)  # many times what a pipe holds
        send("kept", os.getpid())

    told = run(work)
    assert told.get("kept") not in (1, os.getpid())
    assert len(told.get("answer")) == 5_000_000
    assert told.get("whole") is None
    assert "done" in told.latest
    assert not told.ended
    assert told.signal == 0


def test_bounds_are_heard_at_once_and_in_order():
    heard = []

    def work(send):
        for k in range(100):
            send("bounds", (k, os.getppid()))

    run(work, hear=lambda name, said: heard.append((name, *said)))
    assert heard == [("bounds", k, os.getpid()) for k in range(100)]


def test_what_was_said_before_the_end_is_kept(over):
    def work(send):
        send("kept", "so far")
        over.touch()
        while True:
            pass

    told = run(work)
    assert told.ended
    assert told.get("kept") == "so far"
    assert "done" not in told.latest


def test_whoever_a_child_has_started_is_ended_with_it(over):
    def work(send):
        started = subprocess.Popen(["sleep", "300"])
        send("kept", started.pid)
        over.touch()
        time.sleep(AGES)

    told = run(work)
    assert told.ended
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(told.get("kept")).wait(60.0)


def test_half_a_message_is_none(over):
    def work(send):
        send("kept", "whole")
        over.touch()
        os.kill(os.getpid(), signal.SIGSTOP)

    told = run(work)
    assert told.ended
    assert list(told.latest) == ["kept"]
    unread = bytearray(child.HEADER.pack(4, 100) + b"kept" + b"half")
    assert child._messages(unread) == []
    assert len(unread) == child.HEADER.size + 8


def test_an_exception_of_the_child_is_told():
    def work(send):
        raise ZeroDivisionError("in the child")

    raised = run(work).get("raised")
    assert isinstance(raised, ZeroDivisionError)
    assert str(raised) == "in the child"


def test_an_exception_that_cannot_be_sent_is_told_in_words():
    class Local(Exception):
        pass

    def work(send):
        raise Local("nobody knows my class")

    assert "Local: nobody knows my class" in str(run(work).get("raised"))


def test_a_crash_is_told_by_its_signal():
    told = run(lambda send: os.kill(os.getpid(), signal.SIGKILL))
    assert told.signal == signal.SIGKILL
    assert not told.ended


def test_ctrl_c_is_passed_on(tmp_path):
    monitor, listening = Monitor(), tmp_path / "listening"

    def work(send):
        heard = []
        signal.signal(signal.SIGINT, lambda signum, frame: heard.append(signum))
        listening.touch()
        while not heard:
            time.sleep(0.01)
        send("answer", "stopped by myself")

    def press():
        while not listening.exists():
            time.sleep(0.01)
        monitor.stop()

    presser = threading.Thread(target=press)
    presser.start()
    told = run(work, monitor)
    presser.join()
    assert told.get("answer") == "stopped by myself"


def test_a_caller_that_gives_up_leaves_no_child():
    def refuse(name, said):
        raise KeyboardInterrupt

    def work(send):
        send("bounds", None)
        time.sleep(AGES)

    with pytest.raises(KeyboardInterrupt):
        run(work, hear=refuse)


def test_a_gpu_that_is_there_is_out_of_a_childs_reach(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert child.can_fork("cpu")
    assert not child.can_fork("auto")
    assert not child.can_fork("cuda:1")


def test_a_crash_is_noticed_although_somebody_else_holds_the_pipe_open(monkeypatch):
    held = []

    def pipe():
        source, sink = original()
        held.append(os.dup(sink))  # as a child of another thread would
        return source, sink

    original = os.pipe
    monkeypatch.setattr(os, "pipe", pipe)
    told = run(lambda send: os.kill(os.getpid(), signal.SIGKILL))
    os.close(held[0])
    assert told.signal == signal.SIGKILL
