"""One-versus-all: a problem whose labels are classes, as the single problems that it wraps.

K > 2 classes are K independent problems, in each of which one class is +1 and all others are -1; two classes with names
of their own are one, whose positive label is the second. Objectives and bounds add up, programmes stand in blocks, and
the networks side by side, an output each. Labels -1 and +1, and real targets, make a single problem: its only part is
itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Generic, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag

from cvxrobust.core.arguments import instance
from cvxrobust.core.conic.program import ConicProgram, join_programs
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import N, TwoLayerNetwork
from cvxrobust.core.programs.rows import Rows
from cvxrobust.core.summary import Summarised
from cvxrobust.core.validation import frozen
from cvxrobust.problems.data.parameters import Label, checked_beta, checked_radius, class_signs

Array = NDArray[np.float64]
Entries = tuple[object, ...] | None
UNNAMED: dict[str, Any] = {"classes": None, "regression": False, "metadata": {}}
"""What networks do not keep where they are joined or taken apart: it belongs to the whole."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class OneVersusAll(Summarised, Generic[N]):
    """Base of the problem families: what they say of single problems is enough to train any number of classes.

    A family says what its parts share (`_found`), which networks are its own (`_own`, `_check_fit`, `_blank`), and what
    a single problem's conic programme and the network of its solution are (`_conic`, `_recovered`).

    Attributes:
        X: Inputs, shape (n, d), read-only; or inputs that are read in blocks.
        y: Labels -1 and +1 or targets, shape (n,) or (n, C); or classes as they were given, shape (n,). Read-only.
        radius: Attack radius of each sample, shape (n,).
        sample_weight: What the loss of each sample counts in the mean: above 0 and 1 on average, shape (n,); None for
            all alike. Rows of weight 0 are none of the samples.
        classes: The classes, sorted, of labels that are not -1 and +1; None for those and for regression.
        refined: The parts where they are others than the labels say, with gates of their own.
    """

    X: Array | Rows
    y: NDArray[Any]
    radius: Array
    sample_weight: Array | None = field(default=None, kw_only=True)
    classes: tuple[Label, ...] | None = field(init=False, repr=False)
    refined: tuple[Self, ...] | None = field(init=False, repr=False, default=None)

    per_neuron: ClassVar[tuple[str, ...]] = ()
    """Fields of the networks, besides u and alpha, that have an entry per neuron; or None, if that is unknown."""

    attacked_by: ClassVar[str] = ""
    """Of a family without attacks: who trains the same networks with them."""

    # -- what a family says of single problems ------------------------------------------------------------------

    @property
    def labels(self) -> Array:
        """Labels -1 and +1, or targets, of a single problem."""
        return self.y

    def _single(self, y: Array) -> Self:
        """The problem of one class, with its labels."""
        return self._with(y=y, classes=None, refined=None, found=self._found())

    def _found(self) -> object:
        """What is found once for the data, for all parts: the family's field `found`."""
        raise NotImplementedError

    def _own(self, network: object) -> N:
        """The network, if it is one of this family for rows like ours."""
        raise NotImplementedError

    def _check_fit(self, network: N) -> None:
        """Refuse a network of this family with the right inputs and outputs that no problem like this one has."""
        raise NotImplementedError

    def _blank(self) -> N:
        """A part's network without neurons."""
        raise NotImplementedError

    def _conic(self) -> ConicProgram:
        """The conic programme of a single problem."""
        raise NotImplementedError

    def _recovered(self, x: Array) -> N:
        """The network of a primal solution of `_conic`."""
        raise NotImplementedError

    # -- the parts ----------------------------------------------------------------------------------------------

    @property
    def one_versus_all(self) -> bool:
        """Whether classes are told apart by signs: one problem for each, or one for two of them."""
        return self.classes is not None

    @cached_property
    def targets(self) -> tuple[Array, ...]:
        """The labels of each part: -1 and +1, shape (n,), or as in `labels`. Nothing is computed but these."""
        if self.classes is None or not self.one_versus_all:
            return (self.labels,)
        return tuple(frozen(signs) for signs in class_signs(self.y, self.classes))

    @property
    def parts(self) -> tuple[Self, ...]:
        """The independent problems: one per class (for two classes one), or this problem alone."""
        return self._parts

    @cached_property
    def _parts(self) -> tuple[Self, ...]:
        if self.refined is not None:
            return self.refined
        return tuple(self._single(signs) for signs in self.targets) if self.one_versus_all else (self,)

    def with_parts(self, parts: tuple[Self, ...]) -> Self:
        """The same one-versus-all problem with these parts, whose gates may differ from class to class."""
        return self._with(refined=parts, found=self._found())

    def _alone(self, noun: str) -> Self:
        """This problem, if it is a single one.

        Raises:
            InputError: It is one-versus-all.
        """
        if self.one_versus_all:
            raise InputError(f"a one-versus-all problem is several {noun}; use its `parts`.")
        return self

    # -- the same with other parameters -------------------------------------------------------------------------

    @property
    def nested(self) -> bool:
        """Whether the optimum never falls as radii grow."""
        return True

    def at(self, *, beta: float | None = None, radius: ArrayLike | None = None) -> Self:
        """The same problem with another beta or other radii: data and gates are neither read nor found again.

        Args:
            beta: Weight of the penalty, above 0; None for the same.
            radius: One for all samples, or one per sample that counts, shape (n,); None for the same.

        Raises:
            InputError: They are none, or this family knows no attacks.
        """
        changes: dict[str, object] = {} if beta is None else {"beta": checked_beta(beta)}
        if radius is not None:
            changes["radius"] = checked_radius(radius, self.X.shape[0])
        other = self._with(**changes)
        other._check_attacks()
        if self.refined is not None:
            parts = tuple(part.at(beta=beta, radius=radius) for part in self.refined)
            other._settle(refined=parts)
        other._settle(found=self._found_for(other))
        return other

    def _check_attacks(self) -> None:
        """Refuse radii that the family knows nothing of."""
        if self.attacked_by and self.radius.any():
            raise InputError(
                f"{type(self).__name__} is trained without attacks, and radius is {self.radius.max():g}; expected 0. "
                f"{self.attacked_by} trains the same networks under attack."
            )

    def _found_for(self, other: Self) -> object:
        """What was found for this problem and counts for the other, which has another beta or other radii."""
        raise NotImplementedError

    def matters(self, network: N, reach: float) -> NDArray[np.bool_]:
        """Which samples have a loss, in some part, or would have with margins smaller by `reach`, shape (n,).

        Args:
            network: A network.
            reach: In units of the margin.
        """
        found = np.zeros(self.X.shape[0], dtype=bool)
        for part, own in self._apart(network):
            found |= part._losing(own, reach)
        return found

    def of_rows(self, rows: NDArray[np.intp]) -> tuple[Self, float]:
        """The problem over some of its samples, and their share of the weight; see `Screens`."""
        weights = None if self.sample_weight is None else self.sample_weight[rows]
        share = (rows.size if weights is None else float(weights.sum())) / self.X.shape[0]
        changes = {"X": frozen(np.asarray(self.X)[rows]), "y": self.y[rows], "radius": self.radius[rows]}
        shares = None if weights is None else weights / weights.mean()
        other = self._with(**changes, sample_weight=shares, found=None, refined=None)
        return self._over(other, rows, share), share

    def _losing(self, network: N, reach: float) -> NDArray[np.bool_]:
        """`matters` of a single problem."""
        return np.ones(self.X.shape[0], dtype=bool)

    def _over(self, other: Self, rows: NDArray[np.intp], share: float) -> Self:
        """The other, which has some of the samples, with their beta and whatever else belongs to these."""
        raise NotImplementedError

    # -- networks -----------------------------------------------------------------------------------------------

    def trivial_network(self) -> N:
        """The network without neurons: always feasible, so there is always an upper bound."""
        return self.combine([self._blank()] * len(self.targets))

    def combine(self, networks: list[N]) -> N:
        """One network with an output per part from the parts' networks."""
        network = networks[0] if len(networks) == 1 else self._side_by_side(networks)
        return network if self.classes is None else network.replace(classes=self.classes, regression=False)

    def separate(self, network: TwoLayerNetwork) -> list[N]:
        """The parts' networks from a combined one: what `combine` joined.

        Raises:
            InputError: The network is of another kind, or its inputs, outputs, activation or bias are not this
                problem's.
        """
        own = self._fitting(network)
        if own.alpha.ndim == 2 and self.one_versus_all:
            return [self._column(own, column) for column in own.alpha.T]
        if self.one_versus_all:
            return [own.replace(classes=None, regression=self._blank().regression)]
        return [own if own.classes == self.classes else own.replace(classes=self.classes)]

    def _side_by_side(self, networks: list[N]) -> N:
        u, alpha = np.vstack([one.u for one in networks]), block_diag(*(one.alpha[:, None] for one in networks))
        besides = {name: _joined([getattr(one, name) for one in networks], len(u)) for name in self.per_neuron}
        return networks[0].replace(u=u, alpha=alpha, **UNNAMED, **besides)

    def _column(self, network: N, column: Array) -> N:
        used = np.flatnonzero(column)
        besides = {name: _picked(getattr(network, name), used) for name in self.per_neuron}
        return network.replace(u=network.u[used], alpha=column[used], **UNNAMED, **besides)

    def _fitting(self, network: TwoLayerNetwork) -> N:
        own, shape = self._own(network), self.trivial_network().alpha.shape[1:]
        if own.n_features != self.X.shape[1] or own.alpha.shape[1:] != shape:
            raise InputError(
                f"the network has {own.n_features} inputs and outputs of shape {own.alpha.shape[1:]}; "
                f"this problem needs {self.X.shape[1]} and {shape}."
            )
        self._check_fit(own)
        return own

    def _apart(self, network: N) -> list[tuple[Self, N]]:
        """The parts, each with its own network; what a single problem is asked about need not fit."""
        if self.one_versus_all:
            return list(zip(self.parts, self.separate(network), strict=True))
        instance(network, "network", TwoLayerNetwork, "a network of this problem's family")
        network.check_inner()
        return [(self, network)]

    # -- programmes ---------------------------------------------------------------------------------------------

    def to_conic(self) -> ConicProgram:
        """The convex programme in standard form; one block per class for one-versus-all problems."""
        programs = [part._conic() for part in self.parts]
        return programs[0] if len(programs) == 1 else join_programs(programs)

    def recover(self, solution: Solution) -> N:
        """A network from a primal solution of `to_conic`, exactly feasible whatever the residuals.

        Raises:
            InputError: The solution holds no finite primal point.
        """
        if not solution.has_primal or solution.x is None:
            raise InputError("the solution holds no finite primal point to recover a network from.")
        points = [solution.x]
        if len(self.parts) > 1:
            points = np.split(solution.x, np.cumsum([part._conic().q.size for part in self.parts])[:-1])
        return self.combine([part._recovered(x) for part, x in zip(self.parts, points, strict=True)])

    # -- the fields ---------------------------------------------------------------------------------------------

    def _settle(self, **values: object) -> None:
        """Set fields to values that are checked and in their final form, once, while the problem is made."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _with(self, **changes: object) -> Self:
        """The same problem with other values of some fields, in their final form: nothing is checked or found again."""
        other = object.__new__(type(self))
        other._settle(**{one.name: getattr(self, one.name) for one in fields(self)} | changes)
        return other


def _joined(values: Sequence[Entries], count: int) -> Entries:
    """The entries of all neurons, if they are known of each of them."""
    known = tuple(entry for entries in values for entry in entries or ())
    return known if len(known) == count else None


def _picked(entries: Entries, used: NDArray[np.intp]) -> Entries:
    return None if entries is None else tuple(entries[k] for k in used)
