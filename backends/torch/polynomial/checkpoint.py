"""What a training keeps in its checkpoint, and how it goes on from one.

Nothing in a file is trusted. What cannot be is refused, bounds are proved anew from the network and the multipliers,
and counts of rounds begin anew: whoever solves again wants it to go on.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cvxrobust.backends.torch.checkpoint import CheckedState, State
from cvxrobust.backends.torch.lbfgs import Memory
from cvxrobust.backends.torch.polynomial.certify import SmoothedMultipliers, sided
from cvxrobust.backends.torch.polynomial.objective import Array, Form, PolynomialSmoothing, Query
from cvxrobust.backends.torch.polynomial.samples import LocalSamples
from cvxrobust.core import InputError, PolynomialNetwork, PolynomialProgram, loss_by_name
from cvxrobust.core.programs.polynomial.certificate import dual_bound
from cvxrobust.core.programs.polynomial.evaluation import worst_outputs
from cvxrobust.core.programs.polynomial.moments import AttackMultipliers, SidedMultipliers, span_moments
from cvxrobust.core.programs.rows import row_blocks

PAIRS = 100
"""Pairs in the memory of a search: with few neurons left it nearly knows the whole Hessian matrix."""
UNIT = 1e-9
"""By how much the length of a network's neurons may differ from 1."""


def search_state(
    neurons: torch.Tensor, signs: torch.Tensor, memory: Memory, smoothing: PolynomialSmoothing
) -> dict[str, Any]:
    """Where a search is, but for the smoothing's centre, of which every process holds a part."""
    order = memory.order
    return {
        "neurons": neurons, "signs": signs, "steps": memory.pairs[order],
        "changes": memory.pairs[[memory.most + slot for slot in order]],
        "hinge": smoothing.hinge, "attack": smoothing.attack,
    }  # fmt: skip


def best_state(network: PolynomialNetwork, multipliers: AttackMultipliers | SidedMultipliers) -> dict[str, Any]:
    """The best network and multipliers so far."""
    state: dict[str, Any] = {"u": network.u, "alpha": network.alpha}
    sides = [multipliers.down, multipliers.up] if isinstance(multipliers, SidedMultipliers) else [multipliers]
    known = [one for one in sides if isinstance(one, SmoothedMultipliers)]
    if known:
        query = known[0].form.query
        state |= {
            "theta": np.concatenate([one.theta for one in known]),
            "dual_neurons": query.neurons, "dual_signs": query.signs,
            "dual_attack": query.smoothing.attack,
        }  # fmt: skip
    return state


class Restored(CheckedState):
    """What a checkpoint says about one column of a programme, checked.

    Args:
        state: What was read.
        program: The programme.
        task: Column of the labels.
        samples: This process's part of the data.

    Attributes:
        neurons: v_j in rows, shape (m, d).
        signs: Shape (m,).
        memory: The memory of L-BFGS, without pairs of no curvature.
        smoothing: The degree of smoothing, its centre on the device.
        stage: Rounds since the smoothing changed.
        network: The best network.
        multipliers: The best multipliers, None if there are none.

    Raises:
        InputError: Something is missing, has another shape, or is no number.
    """

    def __init__(self, state: Mapping[str, Any], program: PolynomialProgram, task: int, samples: LocalSamples) -> None:
        super().__init__(state)
        self._program, self._task, self._samples = program, task, samples
        n, d = program.X.shape
        self.neurons, self.signs = self._signed("neurons", "signs", d)
        self.memory = self._memory()
        centre = samples.own(torch.tensor(self._numbers("centre", samples.faces * n), device=samples.device))
        self.smoothing = PolynomialSmoothing(self._positive("hinge"), self._positive("attack"), centre)
        self.stage = int(self._numbers("stage"))
        u, alpha = self._numbers("u", None, d), self._numbers("alpha", None)
        self._expect(
            "u", np.abs(np.linalg.norm(u, axis=1) - 1.0).max(initial=0.0) <= UNIT and alpha.shape == u.shape[:1]
        )
        self.network = PolynomialNetwork(u, alpha, program.activation, regression=not loss_by_name(program.loss).margin)
        self.multipliers = self._multipliers(n, d) if "theta" in state else None

    def _memory(self) -> Memory:
        steps, changes = (self._numbers(name, None, self.neurons.size) for name in ("steps", "changes"))
        self._expect("steps", steps.shape == changes.shape)
        device = self._samples.device
        memory = Memory(self.neurons.size, device, PAIRS)
        for step, change in zip(steps[-PAIRS:], changes[-PAIRS:], strict=True):
            memory.add(torch.tensor(step, device=device), torch.tensor(change, device=device))
        return memory

    def upper(self) -> float:
        """The exact objective of the network."""
        program, network, task = self._program, self.network, self._task
        loss, labels = program.loss_function, program.labels[:, task]
        quadratic = network.quadratic(network.alpha)
        found = [
            quadratic.worst_margins(X, labels[rows], program.attack.of(rows))
            if loss.margin
            else worst_outputs(quadratic, X, labels[rows], program.attack.of(rows))[0]
            for rows, X in row_blocks(program.X)
        ]
        return float(np.mean(loss.value(np.concatenate(found), labels))) + program.beta * network.penalty

    def lower(self) -> float:
        """What the multipliers prove; -inf without any."""
        if self.multipliers is None:
            return -np.inf
        program = self._program
        loss, labels = program.loss_function, program.labels[:, self._task]
        signs = labels if loss.margin else np.ones_like(labels)
        sums = span_moments(self.multipliers, program.X, signs, program.attack, loss)
        bound = dual_bound(
            sums.theta, sums.second_moments, sums.mass, loss=loss, target=labels, activation=program.activation,
            beta=program.beta, reach=sums.reach,
        )  # fmt: skip
        return bound.value

    def _multipliers(self, n: int, d: int) -> SmoothedMultipliers | SidedMultipliers:
        neurons, signs = (
            torch.tensor(part, device=self._samples.device) for part in self._signed("dual_neurons", "dual_signs", d)
        )
        nowhere = torch.zeros(0, dtype=torch.float64, device=self._samples.device)
        query = Query(self._task, neurons, signs, PolynomialSmoothing(1.0, self._positive("dual_attack"), nowhere))
        samples = self._samples
        form = Form(query, samples.target(self._task), self._program.activation, samples.attack)
        theta = self._numbers("theta", samples.faces * n)
        if samples.faces == 2:
            return sided(self._program, form, theta.reshape(2, n))
        return SmoothedMultipliers(self._program, form, theta)

    # -- checks -------------------------------------------------------------------------------------------------

    def _signed(self, name: str, kinds: str, d: int) -> tuple[Array, Array]:
        neurons, signs = self._numbers(name, None, d), self._numbers(kinds, None)
        self._expect(kinds, signs.shape == neurons.shape[:1] and bool((np.abs(signs) == 1.0).all()))
        self._expect(name, neurons.shape[0] > 0)
        return neurons, signs


def restored(state: State, program: PolynomialProgram, task: int, samples: LocalSamples, place: object) -> Restored:
    """A checked checkpoint.

    Args:
        state: What was read.
        program: The programme.
        task: Column of the labels.
        samples: This process's part of the data.
        place: Where the checkpoint is, for the message.

    Raises:
        InputError: It cannot be used.
    """
    try:
        return Restored(state, program, task, samples)
    except InputError as error:
        raise InputError(f"checkpoint {place} cannot be used: {error}; delete it to begin anew.") from error
