"""Data, parameters and gates of the ReLU problems, checked once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.problems.data.attacked_span import span_under
from cvxrobust.problems.data.row_span import RowSpan
from cvxrobust.problems.relu import choices as relu_choices
from cvxrobust.problems.relu.coordinates import network_outside, network_within
from cvxrobust.problems.relu.fields import ReLUFields, SharedGates
from cvxrobust.problems.relu.gates.patterns import GateSet

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ReLUData(ReLUFields):
    """Data, parameters and gates of `ConvexReLU` and `AdversarialReLU`, and what networks of theirs look like."""

    per_neuron: ClassVar[tuple[str, ...]] = ("slots",)

    # -- outputs and classes ------------------------------------------------------------------------------------

    @property
    def one_versus_all(self) -> bool:
        """Whether the labels are told apart by signs: one problem per class, or one for two classes."""
        return self.classes is not None and self.multiclass != "vector-output"

    @cached_property
    def labels(self) -> Array:
        """Labels in {-1, +1}, shape (n, 1) or, of all classes, (n, C); or targets, shape (n, C)."""
        if self.classes is not None:
            return np.where(self.y[:, None] == np.asarray(self.classes)[None, :], 1.0, -1.0)
        return self.y.reshape(self.X.shape[0], -1)

    def _single(self, y: Array) -> Self:
        return super()._single(y)._with(multiclass=None)

    def _found(self) -> SharedGates:
        return SharedGates(self.gate_set, self.span)

    def _found_for(self, other: Self) -> SharedGates:
        # Of attacks of one shape spans are the same, whatever the radii.
        alike = other.attack.isotropic == self.attack.isotropic
        return SharedGates(self.gate_set, self.span if alike else span_under(other.attack, self.X))

    @property
    def nested(self) -> bool:
        """Whether the optimum never falls as radii grow; with mixed bounds gates depend on them."""
        return self.bound != "mixed"

    def _own(self, network: object) -> ReLUNetwork:
        if not isinstance(network, ReLUNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a ReLUNetwork.")
        network.check_inner()
        return network

    def _check_fit(self, network: ReLUNetwork) -> None:
        if network.bias != self.bias:
            raise InputError(f"the network has bias={network.bias}; this problem has bias={self.bias}.")

    def combine(self, networks: list[ReLUNetwork]) -> ReLUNetwork:
        """One network with an output per part from the parts' networks, which knows what attacks it was trained for."""
        # A backend need not know what outputs mean: whether losses of targets fit labels, too.
        meaning = {} if self.one_versus_all else self.network_fields()
        return super().combine(networks).replace(norm=self.norm, ellipsoid=self.ellipsoid, **meaning)

    def _blank(self) -> ReLUNetwork:
        outputs = self.targets[0].shape[1:]
        alpha = np.empty((0, *outputs) if outputs not in ((), (1,)) else 0)
        real = not self.loss_function.margin and (self.one_versus_all or self.multiclass is None)
        u = np.empty((0, self.X.shape[1] + int(self.bias)))
        return ReLUNetwork(u, alpha, bias=self.bias, slots=(), regression=real)

    def network_fields(self) -> dict[str, Any]:
        """What every network of a single problem says about its outputs: losses of targets may fit labels, too."""
        return {"regression": not self.loss_function.margin and self.multiclass is None, "classes": self.classes}

    # -- fewer coordinates --------------------------------------------------------------------------------------

    @cached_property
    def span(self) -> RowSpan | None:
        """The span of the rows, where programmes are written in it: no attack or l2 attacks, and if that is worth it.

        `cvxrobust.problems.relu.coordinates` says how.
        """
        if self.found is not None:
            return self.found.span
        return span_under(self.attack, self.X)

    @cached_property
    def coordinates(self) -> Array:
        """The inputs, and the constant of a bias, as programmes have them: shape (n, k) or (n, k + 1)."""
        if self.span is None:
            return self.inputs
        return np.hstack([self.span.coordinates, self.inputs[:, self.X.shape[1] :]])

    def projected(self, network: ReLUNetwork) -> ReLUNetwork:
        """A network in the coordinates of the programmes; what its neurons have outside them is worth nothing."""
        return network if self.span is None else network_within(self.span, network)

    def lifted(self, network: object) -> ReLUNetwork:
        """The network of one in the coordinates of the programmes.

        Raises:
            InputError: It is none.
        """
        own = self._own(network)
        if self.span is None:
            return own
        if own.n_features != self.span.rank or own.bias != self.bias:
            raise InputError(
                f"the network has {own.n_features} inputs and bias={own.bias}; the programme of this problem "
                f"has {self.span.rank} and bias={self.bias}."
            )
        return network_outside(self.span, own)

    @cached_property
    def gate_set(self) -> GateSet:
        """The activation patterns, and how many were left out as duplicates or as empty."""
        return relu_choices.gate_set(self) if self.found is None else self.found.gate_set
