"""Backends that answer whatever a test wants them to."""

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
