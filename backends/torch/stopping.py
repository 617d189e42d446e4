"""When a solve has to end: somebody says so, or the time that is left is needed for the last certificate."""

import math
import time

import torch

from cvxrobust.backends.torch.process_group import Team
from cvxrobust.core import Monitor, Termination

SHARE = 0.25
"""Share of a time limit that may be kept back for certificates."""


class Stops:
    """Watches a monitor, together with all processes of a team.

    Args:
        monitor: Says when to stop.
        team: Who has to agree.
        device: Where the team's tensors live.

    Attributes:
        reserve: Seconds that the last certificate will take.
    """

    def __init__(self, monitor: Monitor, team: Team, device: torch.device) -> None:
        self.monitor, self.team, self.device = monitor, team, device
        self.reserve = 0.0
        remaining = monitor.remaining
        self._most = math.inf if remaining is None else SHARE * remaining
        self._agreed: Termination | None = None

    @property
    def reason(self) -> Termination | None:
        """Why to stop now, if so: what was agreed last, or this process's own view where it is alone."""
        return self._own() if self.team.alone else self._agreed

    def agree(self) -> None:
        """Hear from everybody. All processes call this at the same places."""
        if self.team.alone:
            return
        own = self._own()
        said = torch.tensor([float(own is kind) for kind in _KINDS], device=self.device)
        votes = self.team.sum(said)
        self._agreed = next((kind for kind, count in zip(_KINDS, votes, strict=True) if count > 0.0), None)

    def _own(self) -> Termination | None:
        if self.monitor.stopped:
            return Termination.INTERRUPTED
        deadline = self.monitor.deadline
        if deadline is None:
            return None
        late = time.perf_counter() >= deadline - min(self.reserve, self._most)
        return Termination.TIME_LIMIT if late else None


_KINDS = (Termination.INTERRUPTED, Termination.TIME_LIMIT)
