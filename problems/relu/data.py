"""Data, parameters and gates of the ReLU problems, checked once."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.problems.data.parameters import class_signs
from cvxrobust.problems.data.row_span import RowSpan, row_span
from cvxrobust.problems.relu import choices as relu_choices
from cvxrobust.problems.relu.coordinates import network_outside, network_within
from cvxrobust.problems.relu.fields import ReLUFields
from cvxrobust.problems.relu.gates.patterns import GateSet

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReLUData(ReLUFields):
    """Data, parameters and gates of `ConvexReLU` and `AdversarialReLU`, and what networks of theirs look like."""

    def __post_init__(self) -> None:
        for name, value in relu_choices.checked(self).items():
            object.__setattr__(self, name, value)

    # -- outputs and classes ------------------------------------------------------------------------------------

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """The classes, sorted, of labels that are not -1 and +1, or with a given `multiclass`; else None."""
        found: tuple[Any, ...] | None = self.__dict__["_classes"]
        return found

    @property
    def one_versus_all(self) -> bool:
        """Whether the labels are told apart by signs: one problem per class, or one for two classes."""
        return self.classes is not None and self.multiclass != "vector-output"

    @property
    def parts(self) -> tuple[Self, ...]:
        """The independent problems: one per class for one-versus-all (for two classes one), or this problem alone."""
        return self._parts

    @cached_property
    def _parts(self) -> tuple[Self, ...]:
        if not self.one_versus_all or self.classes is None:
            return (self,)
        singles = tuple(replace(self, y=signs, multiclass=None) for signs in class_signs(self.y, self.classes))
        for single in singles:
            self._shared_with(single)
        return singles

    def with_parts(self, parts: tuple[Self, ...]) -> Self:
        """The same one-versus-all problem with these parts, whose gates may differ from class to class."""
        other = replace(self)
        other.__dict__["_parts"] = parts
        self._shared_with(other)
        return other

    def _shared_with(self, other: "ReLUData") -> None:
        """Give a problem on the same data what was found and checked once, and what its gates came from."""
        other.__dict__.update(gate_set=self.gate_set, span=self.span)

    def combine(self, networks: list[ReLUNetwork]) -> ReLUNetwork:
        """One network with an output per part from the parts' networks."""
        if not self.one_versus_all:
            return networks[0] if self.classes is None else networks[0].replace(**self.network_fields())
        if len(networks) == 1:
            return networks[0].replace(classes=self.classes, regression=False)
        u = np.vstack([network.u for network in networks])
        alpha = np.zeros((u.shape[0], len(networks)))
        start, slots = 0, []
        for k, network in enumerate(networks):
            alpha[start : start + network.n_neurons, k] = network.alpha
            start += network.n_neurons
            slots += list(network.slots or ())
        known = tuple(slots) if len(slots) == start else None
        return ReLUNetwork(u, alpha, bias=self.bias, classes=self.classes, slots=known)

    def separate(self, network: TwoLayerNetwork) -> list[ReLUNetwork]:
        """The parts' networks from a combined one: what `combine` joined.

        Raises:
            InputError: The network is of another kind, or its inputs, outputs or bias are not this problem's.
        """
        network = self._fitting(network)
        if not self.one_versus_all:
            return [network]
        if network.alpha.ndim == 1:
            return [network.replace(classes=None, regression=not self.loss_function.margin)]
        columns = []
        for column in network.alpha.T:
            used = np.flatnonzero(column)
            slots = None if network.slots is None else tuple(network.slots[k] for k in used)
            columns.append(ReLUNetwork(network.u[used], column[used], bias=self.bias, slots=slots))
        return columns

    def _fitting(self, network: TwoLayerNetwork) -> ReLUNetwork:
        if not isinstance(network, ReLUNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a ReLUNetwork.")
        network.check_inner()
        shape = self.trivial_network().alpha.shape[1:]
        if network.n_features != self.X.shape[1] or network.alpha.shape[1:] != shape:
            raise InputError(
                f"the network has {network.n_features} inputs and outputs of shape {network.alpha.shape[1:]}; "
                f"this problem needs {self.X.shape[1]} and {shape}."
            )
        if network.bias != self.bias:
            raise InputError(f"the network has bias={network.bias}; this problem has bias={self.bias}.")
        return network

    # -- fewer coordinates --------------------------------------------------------------------------------------

    @cached_property
    def span(self) -> RowSpan | None:
        """The span of the rows, where programmes are written in it: no attack or an l2 attack, and if that is worth it.

        `cvxrobust.problems.relu.coordinates` says how.
        """
        return row_span(self.X) if self.attack.isotropic else None

    @cached_property
    def coordinates(self) -> Array:
        """The inputs, and the constant of a bias, as programmes have them: shape (n, k) or (n, k + 1)."""
        if self.span is None:
            return self.inputs
        return np.hstack([self.span.coordinates, self.inputs[:, self.X.shape[1] :]])

    def projected(self, network: ReLUNetwork) -> ReLUNetwork:
        """A network in the coordinates of the programmes; what its neurons have outside them is worth nothing."""
        return network if self.span is None else network_within(self.span, network)

    def lifted(self, network: Any) -> ReLUNetwork:
        """The network of one in the coordinates of the programmes.

        Raises:
            InputError: It is none.
        """
        if not isinstance(network, ReLUNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a ReLUNetwork.")
        network.check_inner()
        if self.span is None:
            return network
        if network.n_features != self.span.rank or network.bias != self.bias:
            raise InputError(
                f"the network has {network.n_features} inputs and bias={network.bias}; the programme of this problem "
                f"has {self.span.rank} and bias={self.bias}."
            )
        return network_outside(self.span, network)

    # -- gates and outputs --------------------------------------------------------------------------------------

    @property
    def labels(self) -> Array:
        """Labels in {-1, +1}, shape (n, 1), or targets of the squared loss, shape (n, C)."""
        found: Array = self.__dict__["_labels"]
        return found

    @cached_property
    def gate_set(self) -> GateSet:
        """The activation patterns, and how many were left out as duplicates or as empty."""
        return relu_choices.gate_set(self)

    def network_fields(self) -> dict[str, Any]:
        """What every network of this problem says about its outputs."""
        return {"regression": not self.loss_function.margin and not self._labelled, "classes": self.classes}

    @property
    def _labelled(self) -> bool:
        """Whether the squared loss fits labels rather than real targets."""
        return bool(self.__dict__["_fits_labels"])

    def trivial_network(self) -> ReLUNetwork:
        """The network without neurons: always feasible, so there is always an upper bound."""
        empty = np.empty((0, self.X.shape[1] + int(self.bias)))
        outputs: tuple[int, ...] = ()
        if self.one_versus_all and self.classes is not None:
            outputs = (len(self.classes),) if len(self.classes) > 2 else ()
        elif self.labels.shape[1] > 1:
            outputs = (self.labels.shape[1],)
        return ReLUNetwork(empty, np.empty((0, *outputs)), bias=self.bias, slots=(), **self.network_fields())
