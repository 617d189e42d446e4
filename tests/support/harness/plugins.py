"""Badly behaved backends, installed as distributions so that fresh interpreters find them; and small suites."""

import os
import sys
import textwrap
import time
from pathlib import Path

import psutil

from cvxrobust.bench.harness.run.runner import plan
from cvxrobust.bench.harness.suite.suite import parse_suite
from cvxrobust.core.discovery import registry

PATIENCE = 60.0
"""Seconds that nothing takes, however busy the machine is."""

FAKES = """
import ctypes, os, signal, subprocess, sys, time
from dataclasses import replace

from cvxrobust.core.discovery.hookspecs import BackendDescription, hookimpl
from cvxrobust.core.conic.cones import NonNegative, Zero
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.contracts.result import Solution, Termination


class Base:
    def __init__(self):
        self.capabilities = replace(get_backend("clarabel").capabilities, monitored=False)

    def unavailable(self):
        return None

    def solve(self, program, settings):
        # The warm-up asks for a gap of a hundredth, and interior points for two digits more; the tests for less.
        if settings.tolerance > 5e-5 and not self.bad_when_warming_up:
            return Solution(Termination.ERROR)
        return self.misbehave(program, settings)

    bad_when_warming_up = False


class Hang(Base):
    name = "hang"

    def misbehave(self, program, settings):
        # A child of its own, in a session of its own, as solvers in isolation are.
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        with open(os.environ["FAKES_FOLDER"] + "/hanging", "a") as file:
            print(os.getpid(), child.pid, file=file, flush=True)
        ctypes.PyDLL(None).sleep(600)  # without letting go of Python: no other thread runs, no signal is heard


class HangAlways(Hang):
    name = "hang-always"
    bad_when_warming_up = True


class Eat(Base):
    name = "eat"

    def misbehave(self, program, settings):
        eaten = []
        while len(eaten) < 200:
            eaten.append(bytearray(os.urandom(1 << 20)) * 16)
            time.sleep(0.005)
        return Solution(Termination.ERROR)


class Crash(Base):
    name = "crash"

    def misbehave(self, program, settings):
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)


class CrashAlways(Crash):
    name = "crash-always"
    bad_when_warming_up = True


class Quit(Base):
    name = "quit"

    def misbehave(self, program, settings):
        sys.exit("enough")


class Panic(Base):
    name = "panic"

    def misbehave(self, program, settings):
        class PanicException(BaseException):
            pass

        raise PanicException("index out of bounds")


class Cheat(Base):
    name = "cheat"

    def misbehave(self, program, settings):
        honest = get_backend("clarabel").solve(program, settings)
        return Solution(
            Termination.CONVERGED, x=-honest.x, s=honest.s, y=0.0 * honest.y, message="optimal, objective 0.0"
        )


class Linear(Base):
    name = "linear"

    def __init__(self):
        super().__init__()
        self.capabilities = replace(self.capabilities, cones=frozenset({Zero, NonNegative}))

    def misbehave(self, program, settings):
        return Solution(Termination.ERROR, message="never asked")


class Tell(Base):
    name = "tell"

    def misbehave(self, program, settings):
        found = get_backend("clarabel").solve(program, replace(settings, options={}))
        said = f"logged in with {settings.options}"
        return replace(found, message=said, applied=dict(settings.options))


class Slow(Base):
    name = "slow"

    def misbehave(self, program, settings):
        with open(os.environ["FAKES_FOLDER"] + "/solved", "a") as file:
            print(os.getpid(), file=file, flush=True)
        time.sleep(0.3)
        return get_backend("clarabel").solve(program, replace(settings, options={}))


class Forge(Base):
    name = "forge"

    def solve(self, program, settings, monitor):
        return self.misbehave(program, settings) if monitor.report(0.001, 0.0009999999) else None

    def __init__(self):
        super().__init__()
        self.capabilities = replace(self.capabilities, monitored=True)

    def misbehave(self, program, settings):
        time.sleep(1.0)
        return get_backend("clarabel").solve(program, settings)


@hookimpl
def cvxrobust_backends():
    kinds = (Hang, HangAlways, Eat, Crash, CrashAlways, Quit, Panic, Cheat, Linear, Tell, Slow, Forge)
    return [BackendDescription(kind.name, kind) for kind in kinds]
"""


def install_fakes(folder: Path, monkeypatch) -> None:
    """Install the backends above for this process and for every interpreter that it starts."""
    (folder / "harness_fakes.py").write_text(FAKES)
    info = folder / "harness_fakes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harness-fakes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cvxrobust]\nharness-fakes = harness_fakes\n")
    monkeypatch.delitem(sys.modules, "harness_fakes", raising=False)
    monkeypatch.syspath_prepend(str(folder))
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), known])))
    monkeypatch.setenv("FAKES_FOLDER", str(folder))
    registry.reload()


def small_suite(*backends: str, **changes):
    """The content of a suite: one tiny robust problem, these backends.

    Args:
        backends: Names, or tables.
        changes: Other keys, in place of what is here.
    """
    problem = {"family": "adversarial-sdp", "data": "planted", "n": 10, "d": 2}
    problem["parameters"] = {"radius": 0.2, "beta": 0.05}
    tables = [backend if isinstance(backend, dict) else {"name": backend} for backend in backends]
    return {"name": "small", "problems": [problem], "backends": tables, "time_limit": 20.0, "grace": 5.0} | changes


def write_suite(path: Path, content) -> Path:
    """The suite as a TOML file."""
    lines = [f"{name} = {_toml(value)}" for name, value in content.items() if name not in ("problems", "backends")]
    for table in ("problems", "backends"):
        for entry in content[table]:
            lines += [f"[[{table}]]", *(f"{name} = {_toml(value)}" for name, value in entry.items())]
    path.write_text(textwrap.dedent("\n".join(lines) + "\n"))
    return path


def _toml(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


def the_case(backend, **changes):
    """The key and the case of a small suite with one backend."""
    ((key, case),) = plan(parse_suite(small_suite(backend, **changes)))
    return key, case


def is_gone(pid) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(true) -> None:
    """Wait for something to become true, or fail."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def hanging(folder):
    """Process numbers of the backend that hangs and of its child, once it does."""
    file = folder / "hanging"
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    return [int(word) for word in file.read_text().split()]
