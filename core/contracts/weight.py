"""What a look at a problem costs, and bounds that cost hardly any: for whoever has to be back in time."""

from typing import Protocol, runtime_checkable

from cvxrobust.core.certificate import Certificate


@runtime_checkable
class Weighed(Protocol):
    """What a problem may offer besides: saying what looking at it costs, so that a time limit can be kept.

    Where that may be longer than what is left of a limit, `solve` works in a child process that can be ended at any
    moment; see `cvxrobust.core.solving.supervision`.
    """

    @property
    def look(self) -> float:
        """Seconds that it takes to judge and report one network, about, with one thread; from sizes alone."""
        ...

    def at_once(self) -> Certificate:
        """Bounds of the network without neurons, at the cost of a pass or two over the data, however loose."""
        ...
