"""What a joint training keeps in its checkpoint, and how it goes on from one.

As for one output (`cvxrobust.backends.torch.polynomial.checkpoint`), nothing in a file is trusted: what cannot be is
refused, and bounds are proved anew from the network and the multipliers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.backends.torch.checkpoint import CheckedState, State
from cvxrobust.backends.torch.joint.certify import Multipliers, SmoothedJointMultipliers
from cvxrobust.backends.torch.joint.objective import JointQuery
from cvxrobust.backends.torch.joint.samples import JointSamples
from cvxrobust.backends.torch.lbfgs import Memory
from cvxrobust.backends.torch.polynomial.checkpoint import UNIT
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core import InputError, PolynomialNetwork

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def joint_state(
    query: JointQuery, memory: Memory, samples: JointSamples, best: tuple[PolynomialNetwork, Multipliers], stage: int
) -> Mapping[str, Any]:
    """Where a search is, and the best network and multipliers so far."""
    order, smoothing, (network, multipliers) = memory.order, query.smoothing, best
    state = {
        "neurons": query.neurons, "signs": query.signs, "owners": query.owners,
        "steps": memory.pairs[order], "changes": memory.pairs[[memory.most + slot for slot in order]],
        "hinge": smoothing.hinge, "attack": smoothing.attack, "centre": samples.rows(smoothing.centre), "stage": stage,
        "u": network.u, "alpha": network.alpha,
    }  # fmt: skip
    if isinstance(multipliers, SmoothedJointMultipliers):
        dual = multipliers.query
        state |= {
            "theta": multipliers.theta, "dual_neurons": dual.neurons, "dual_signs": dual.signs,
            "dual_owners": dual.owners, "dual_attack": dual.smoothing.attack,
        }  # fmt: skip
    return state


class RestoredJoint(CheckedState):
    """What a checkpoint says, checked.

    Args:
        state: What was read.
        samples: The points of the programme.
        pairs: Pairs that the memory of the search holds.

    Attributes:
        neurons, signs, owners: Where the search was.
        memory: Of L-BFGS, without pairs of no curvature.
        smoothing: The degree of smoothing, its centre on the device.
        stage: Rounds since the smoothing changed.
        network: The best network.
        multipliers: The best multipliers, None if there are none.

    Raises:
        InputError: Something is missing, has another shape, or is no number.
    """

    def __init__(self, state: Mapping[str, Any], samples: JointSamples, pairs: int) -> None:
        super().__init__(state)
        self._samples, program = samples, samples.program
        (n, d), K = program.X.shape, program.n_classes
        self.neurons, self.signs, self.owners = self._network("", d, K)
        centre = samples.placed(self._numbers("centre", n, K))
        self.smoothing = PolynomialSmoothing(self._positive("hinge"), self._positive("attack"), centre)
        self.memory, self.stage = self._memory(pairs), int(self._numbers("stage"))
        u, alpha = self._numbers("u", None, d), self._numbers("alpha", None, K)
        off = np.abs(np.linalg.norm(u, axis=1) - 1.0).max(initial=0.0)
        self._expect("u", off <= UNIT and alpha.shape[0] == u.shape[0])
        self.network = PolynomialNetwork(u, alpha, program.activation)
        self.multipliers = self._multipliers(n, d, K) if "theta" in state else None

    def _memory(self, pairs: int) -> Memory:
        steps, changes = (self._numbers(name, None, self.neurons.size) for name in ("steps", "changes"))
        self._expect("steps", steps.shape == changes.shape)
        device = self._samples.device
        memory = Memory(self.neurons.size, device, pairs)
        for step, change in zip(steps[-pairs:], changes[-pairs:], strict=True):
            memory.add(torch.tensor(step, device=device), torch.tensor(change, device=device))
        return memory

    def _multipliers(self, n: int, d: int, K: int) -> SmoothedJointMultipliers:
        neurons, signs, owners = (
            torch.tensor(part, device=self._samples.device) for part in self._network("dual_", d, K)
        )
        nowhere = torch.zeros(0, dtype=torch.float64, device=self._samples.device)
        query = JointQuery(neurons, signs, owners, PolynomialSmoothing(1.0, self._positive("dual_attack"), nowhere))
        return SmoothedJointMultipliers(self._numbers("theta", n, K), self._samples.program, query)

    # -- checks -------------------------------------------------------------------------------------------------

    def _network(self, prefix: str, d: int, K: int) -> tuple[Array, Array, Index]:
        neurons = self._numbers(f"{prefix}neurons", None, d)
        signs, owners = (self._numbers(f"{prefix}{name}", neurons.shape[0]) for name in ("signs", "owners"))
        self._expect(f"{prefix}signs", bool((np.abs(signs) == 1.0).all()))
        self._expect(f"{prefix}owners", bool(np.isin(owners, np.arange(K)).all()) and owners.size > 0)
        return neurons, signs, owners.astype(np.intp)


def restored_jointly(state: State, samples: JointSamples, pairs: int, place: object) -> RestoredJoint:
    """A checked checkpoint.

    Args:
        state: What was read.
        samples: The points of the programme.
        pairs: Pairs that the memory of the search holds.
        place: Where the checkpoint is, for the message.

    Raises:
        InputError: It cannot be used.
    """
    try:
        return RestoredJoint(state, samples, pairs)
    except InputError as error:
        raise InputError(f"checkpoint {place} cannot be used: {error}; delete it to begin anew.") from error
