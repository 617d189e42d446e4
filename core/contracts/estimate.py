"""What a solve would cost: sizes in, seconds and bytes out, before anything is assembled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from cvxrobust.core.strangers import overheard, telling_interrupts


@dataclass(frozen=True)
class Estimate:
    """What a backend expects of a programme; rough, and never a promise.

    Args:
        seconds: To a certified answer at the default tolerance, with one thread.
        memory: Bytes that the solve takes up at its peak.
        step: Seconds between two moments at which the backend looks at its monitor.
    """

    seconds: float
    memory: float = 0.0
    step: float = 0.0


@dataclass(frozen=True)
class ConicSize:
    """Sizes of a conic programme that nobody has assembled.

    Args:
        rows: Rows of A.
        columns: Columns of A.
        nonzeros: Entries of A, about, without those of `coupled`.
        coupled: Entries of rows that tie sums over many unknowns to a cone of their own, sample by sample (what an
            attack does to a ReLU programme): factors fill in most there.
        filled: Multiplications of a factorization where samples and unknowns fill each other in, beyond those that its
            entries tell.
        orders: Orders of its psd cones, each with how many there are.
    """

    rows: int
    columns: int
    nonzeros: int
    coupled: int = 0
    filled: float = 0.0
    orders: Mapping[int, int] = field(default_factory=dict)


@runtime_checkable
class Estimates(Protocol):
    """What a backend may offer besides: saying what a programme would cost it, so that ``"auto"`` can weigh ways."""

    def estimate(self, program: Any) -> Estimate | None:
        """What a solve would cost, from sizes alone; None for what it cannot solve at any cost.

        Called before anything is assembled; it should cost nothing, and be the same on every machine.

        Args:
            program: A structured programme, or the `ConicSize` of a conic one.
        """
        ...


def estimated(backend: Any, program: Any) -> Estimate | None:
    """What a backend says a programme would cost it; None where it says nothing, or fails to."""
    if not isinstance(backend, Estimates):
        return None
    with telling_interrupts() as is_interrupt, overheard():
        try:
            found = backend.estimate(program)
        except BaseException as error:
            if is_interrupt(error):
                raise
            return None
    return found if isinstance(found, Estimate) else None


@runtime_checkable
class Sized(Protocol):
    """What a problem may offer besides: the sizes of its conic programme."""

    @property
    def conic_size(self) -> ConicSize:
        """Sizes of `to_conic`, known before any assembly."""
        ...


@dataclass(frozen=True)
class MasterWork:
    """What the cutting-set method would have to do from nothing.

    Args:
        size: Of a master.
        rounds: Masters that it takes, about.
        look: Seconds that each round takes besides.
    """

    size: ConicSize
    rounds: float
    look: float = 0.0


@runtime_checkable
class SizedMasters(Protocol):
    """What a problem may offer besides, whose masters are not as large as its conic programme without inequalities."""

    @property
    def master_work(self) -> MasterWork:
        """Sizes of masters, known before any assembly."""
        ...
