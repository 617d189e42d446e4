"""A problem's own structure: asked for once, however many backends may want to read it."""

from functools import cached_property
from typing import Any, Generic

from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.structured import reads_parts
from cvxrobust.core.networks.base import N


class Structure(Generic[N]):
    """A single problem with its structured programme, which is made when somebody first wants it.

    Args:
        part: The problem.
    """

    def __init__(self, part: Problem[N]) -> None:
        self.part = part

    @cached_property
    def program(self) -> Any:
        """The programme; None if there is none."""
        return self.part.to_structured()

    def of_its_kind(self, backend: Backend) -> Any:
        """The programme if a backend reads its kind, whatever the loss, weights, attacks and classes, else None."""
        readable = backend.capabilities.structured
        return self.program if readable and getattr(self.program, "kind", None) in readable else None

    def read_by(self, backend: Backend) -> Any:
        """The programme if a backend reads all of it, so that nothing need be assembled; else None."""
        program = self.of_its_kind(backend)
        return program if reads_parts(program, backend.capabilities) else None
