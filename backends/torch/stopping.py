"""When a solve has to end that several processes share: they have to agree."""

import torch

from cvxrobust.backends.torch.process_group import Team
from cvxrobust.core import Monitor, Termination
from cvxrobust.core.kit import Deadline


class Stops(Deadline):
    """A deadline that all processes of a team keep together.

    Args:
        monitor: Says when to stop.
        team: Who has to agree.
        device: Where the team's tensors live.
    """

    def __init__(self, monitor: Monitor, team: Team, device: torch.device) -> None:
        super().__init__(monitor)
        self.team, self.device = team, device
        self._agreed: Termination | None = None

    @property
    def reason(self) -> Termination | None:
        """Why to stop now, if so: what was agreed last, or this process's own view where it is alone."""
        return super().reason if self.team.alone else self._agreed

    def agree(self) -> None:
        """Hear from everybody. All processes call this at the same places."""
        if self.team.alone:
            return
        own = super().reason
        said = torch.tensor([float(own is kind) for kind in _KINDS], device=self.device)
        votes = self.team.sum(said)
        self._agreed = next((kind for kind, count in zip(_KINDS, votes, strict=True) if count > 0.0), None)


_KINDS = (Termination.INTERRUPTED, Termination.TIME_LIMIT)
