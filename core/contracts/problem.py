"""The problem contract: data in, programme out, network and certificate back."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import getattr_static
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import N, N_co, N_contra, TwoLayerNetwork
from cvxrobust.core.programs.polynomial.certificate import DualBound
from cvxrobust.core.strangers import shown

Array = NDArray[np.float64]


def offers(problem: object, ability: type) -> bool:
    """Whether a problem has the members of a protocol; unlike `isinstance`, which reads properties, in no time."""
    missing = object()
    names = (name for name in dir(ability) if not name.startswith("_"))
    return all(getattr_static(problem, name, missing) is not missing for name in names)


def check_problem(problem: object) -> None:
    """Refuse what is no problem.

    Raises:
        InputError: It lacks what every problem offers, or is a class of problems instead of one.
    """
    if isinstance(problem, type):
        raise InputError(f"problem is {shown(problem)}; expected one of them: {problem.__name__}(X, y, ...).")
    if not offers(problem, Problem):
        raise InputError(
            f"problem is {shown(problem)}; expected a problem, for example StandardSDP(X, y) or AdversarialSDP(X, y, "
            "radius)."
        )


@dataclass(frozen=True)
class Attacks:
    """The worst attack on every sample.

    Args:
        points: Attacked inputs, shape (n, d).
        values: What the loss sees there, the margin or the output, as rigorous lower bounds of margins, shape (n,).
    """

    points: Array
    values: Array


@runtime_checkable
class Problem(Protocol[N]):
    """A training problem. It owns both directions, so that core can judge any answer without trusting its source."""

    @property
    def parts(self) -> tuple[Self, ...]:
        """Independent problems whose objectives add up (one per class for one-versus-all), or the problem alone."""
        ...

    @property
    def cones(self) -> frozenset[type]:
        """The cone types of its programmes, known before any assembly."""
        ...

    @property
    def conic_rows(self) -> int:
        """Rows of `to_conic`, known before any assembly; 0 if there is no conic programme."""
        ...

    def to_conic(self) -> ConicProgram:
        """The convex programme in standard form."""
        ...

    def to_structured(self) -> Any:
        """The same as a structured programme (`cvxrobust.core.programs`), or None."""
        ...

    def to_cvxpy(self) -> Any:
        """The readable reference as a `cvxpy.Problem`."""
        ...

    def recover(self, solution: Solution) -> N:
        """An exactly feasible network from a primal solution, however inaccurate."""
        ...

    def trivial_network(self) -> N:
        """A network that is always feasible."""
        ...

    def objective(self, network: N) -> float:
        """The training objective of any network, from the definition; the adversary's worst case included."""
        ...

    def multipliers(self, solution: Solution) -> Any:
        """Dual information of a solution, for `lower_bound`."""
        ...

    def network_multipliers(self, network: N) -> Any:
        """Dual information read off a network, for when a solver gives none."""
        ...

    def multiplier_candidates(
        self, solution: Solution, network: N, stopped: Callable[[], bool] = lambda: False
    ) -> Iterable[Any]:
        """Every kind of multipliers worth trying, at least one: any of them gives a valid bound, the best one counts.

        What takes long to make, a repair, asks now and then whether it is `stopped`; then what it has is good enough.
        """
        ...

    def lower_bound(self, multipliers: Any) -> float:
        """A bound below the global optimum; multipliers are repaired to dual feasibility first."""
        ...

    def combine(self, networks: list[N]) -> N:
        """One network from those of the `parts`."""
        ...

    def separate(self, network: TwoLayerNetwork) -> list[N]:
        """The `parts`' networks from a combined one, from whatever source.

        Raises:
            InputError: The network does not fit the problem.
        """
        ...


@runtime_checkable
class ChangesCoordinates(Protocol[N]):
    """What a problem may offer besides, whose structured programmes are in other coordinates than its networks.

    Backends see networks in the programme's coordinates, everybody else in those of the data.
    """

    def projected(self, network: N) -> N:
        """A network of this problem in the coordinates of `to_structured`, no worse on the data."""
        ...

    def lifted(self, network: Any) -> N:
        """The network of this problem that one in the coordinates of `to_structured` stands for.

        Raises:
            InputError: It is none.
        """
        ...


@runtime_checkable
class RefinableProblem(Problem[N], Protocol[N]):
    """A problem that can follow its own solution to another programme whose optimum is no higher."""

    @property
    def regate(self) -> int:
        """Rounds of `regated` that the caller of `solve` asked for."""
        ...

    @property
    def grow_gain(self) -> float:
        """Share of the objective that a round of growing has to lower it by for another one to be worth its time."""
        ...

    @property
    def size(self) -> int:
        """Size of the programme, for the history: slots."""
        ...

    def with_parts(self, parts: tuple[Self, ...]) -> Self:
        """The same problem with refined `parts`."""
        ...

    def regated(self, network: N) -> Self | None:
        """A programme in which the network's objective is no higher; None if there is no better one."""
        ...

    def grown(self, network: N, solution: Solution | None) -> Self | None:
        """A larger programme that the solution says has a lower optimum; None if nothing is found to add."""
        ...


@runtime_checkable
class Reports(Protocol[N_contra]):
    """What a problem may offer besides: words and numbers about a network for the result."""

    def report(self, network: N_contra) -> dict[str, Any]:
        """Ready for JSON."""
        ...


class Master(Protocol[N_co]):
    """A problem restricted to finitely many attacked points and to neurons in the span of given atoms."""

    def to_conic(self) -> ConicProgram:
        """The master programme."""
        ...

    def recover(self, solution: Solution) -> N_co:
        """An exactly feasible network."""
        ...

    def multipliers(self, solution: Solution) -> Any:
        """Multipliers of the points; they have an array `weights`, shape (k,)."""
        ...


@runtime_checkable
class RobustProblem(Problem[N], Protocol[N]):
    """A problem that the cutting-set method can solve: exact worst cases, masters over points and atoms.

    `atoms` are opaque to the method: whatever the problem needs to describe the span that a master searches.
    """

    def pessimize(self, network: N) -> Attacks:
        """The exact worst case of each sample."""
        ...

    def losses_at(self, values: Array) -> Array:
        """Loss of each sample, shape (n,), at the values that `pessimize` reports."""
        ...

    def losses_at_points(self, network: N, owners: NDArray[np.intp], points: Array) -> Array:
        """Loss of the samples `owners` names at given points, shape (k,)."""
        ...

    @property
    def needs_every_sample(self) -> bool:
        """Whether a master needs a point of every sample, because the loss only approaches its infimum 0."""
        ...

    def objective_at(self, network: N, attacks: Attacks) -> float:
        """`objective`, given the network's own worst cases."""
        ...

    def dual(self, multipliers: Any) -> DualBound:
        """`lower_bound` with the neurons that would improve the network most."""
        ...

    def atoms_of(self, network: N) -> Any:
        """Atoms that span a network's neurons."""
        ...

    def extended(self, atoms: Any, bound: DualBound, threshold: float) -> Any:
        """The atoms and the priced neurons whose relative violation exceeds `threshold`."""
        ...

    def restricted(self, owners: NDArray[np.intp], points: Array, atoms: Any) -> Master[N]:
        """The same problem over the points (each attacks the sample `owners` names) and within the atoms' span."""
        ...

    def blend(self, first: N, second: N, weight: float) -> N:
        """``weight * first + (1 - weight) * second`` as a function, with no larger penalty than that mixture's."""
        ...
