"""Backends that answer whatever a test wants them to, and a clock that goes by what a child has done."""

import time
from dataclasses import replace

from cvxrobust.core import get_backend


class Fake:
    """A backend made of a function from (program, settings) to whatever it likes."""

    name = "fake"

    def __init__(self, answer, **capabilities):
        self.answer = answer
        self.capabilities = replace(get_backend("clarabel").capabilities, monitored=False, **capabilities)

    def unavailable(self):
        return None

    def solve(self, program, settings):
        return self.answer(program, settings)


class Clock:
    """What a process that waits for a child takes for the module `time`: all limits are over once a file is there.

    The child makes the file when it has said what it has to say, however long it takes to that; nobody waits longer.
    """

    def __init__(self, path, looks=5):
        self.path = path
        self.looks = looks  # at what the child has said, before the time is up

    def perf_counter(self):
        self.looks -= self.path.exists()
        return time.perf_counter() + 1e6 * (self.looks < 0)

    def sleep(self, seconds):
        time.sleep(seconds)
