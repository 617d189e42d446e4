"""Slots whose cones have no interior: which vectors are left to them, and the multipliers that this takes.

Where phase one finds no interior, its multipliers say which constraints hold with equality all over the cone: those
with positive weight. Without attack these confine the vectors to a subspace; where one of them is attacked they force
the dual norm to be 0. Phase one is repeated on what is left until there is an interior, or nothing but zero (facial
reduction; Borwein and Wolkowicz 1981).

A confined slot's multipliers only control B_k within its subspace. Outside they can be chosen afterwards: those of
phase one give a combination ``sum_i lambda_i ((2 g_i - 1) x_i + r_i q)`` that is zero (as far as the subspace before it
is concerned), so that any correction becomes feasible by adding a large enough multiple of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.ipm.gated.phase_one import THIN, PhaseOneProblem, PhaseOneResult, corrected, settle
from cvxrobust.backends.ipm.gated.tensors import GatedTensors, Packed

FORCED = 1e-7
"""Weight, relative to the largest, below which a constraint is not taken to be forced."""

FLAT = 1e-9
"""Length of what a projection leaves of a unit vector that counts as nothing."""


@dataclass(frozen=True)
class Reduction:
    """One round of facial reduction.

    Args:
        slots: The slots reduced.
        question: Their cones, with the projectors onto what they lost.
        z: Phase one's multipliers of these.
    """

    slots: Tensor
    question: PhaseOneProblem
    z: Tensor


@dataclass
class Interior:
    """What phase one found out of each slot.

    Args:
        u: Vectors inside, at most of length 1, shape (K, D).
        c: Caps on their dual norms.
        a: Further variables of the norm.
        inside: Whether there is an interior, relative to the subspace, shape (K,).
        live: The constraints that are left, shape (K, n).
        faces: Projectors onto the subspaces, shape (K, D, D); None if nothing was reduced.
        reductions: How they came about.
    """

    u: Tensor
    c: Tensor
    a: Tensor
    inside: Tensor
    live: Tensor
    faces: Tensor | None = None
    reductions: list[Reduction] = field(default_factory=list)

    @property
    def kept(self) -> NDArray[np.intp]:
        """Slots that may carry neurons."""
        return np.flatnonzero(self.inside.cpu().numpy())


def anywhere(data: GatedTensors) -> Interior:
    """For programmes without cones: zero is inside."""
    _, K, _, D = data.shape
    zero = data.X.new_zeros((K, D))
    return Interior(zero, zero[:, 0], zero[:, :0], torch.ones_like(zero[:, 0], dtype=torch.bool), data.live)


def interiors(data: GatedTensors, stopped: Callable[[], bool] = lambda: False) -> Interior:
    """Points inside the cones of all slots, after facial reduction where there are none.

    Args:
        data: The programme, with all its slots.
        stopped: Asked in between; once it says so, slots not yet known count as zero.
    """
    _, first, owners = np.unique(data.program.gates, axis=1, return_index=True, return_inverse=True)
    at = torch.as_tensor(first, device=data.X.device)
    spread = torch.as_tensor(owners.reshape(-1), device=data.X.device)
    lengths = torch.linalg.vector_norm(data.X, dim=1)
    scale = 1.0 / torch.where(lengths > 0.0, lengths, 1.0)
    X = data.X * scale[:, None]
    question = PhaseOneProblem(
        X, Packed(X), data.radius * scale, data.program.attack, data.turned[at], data.live[at], None
    )
    found = _reduced(question, stopped)
    reductions = []
    for reduction in found.reductions:
        # From sets of gates to slots.
        place = torch.full((first.size,), -1, device=spread.device).index_copy(
            0, reduction.slots, torch.arange(reduction.slots.numel(), device=spread.device)
        )[spread]
        slots = torch.nonzero(place >= 0)[:, 0]
        chosen = place[slots]
        reductions.append(Reduction(slots, reduction.question.part(chosen), reduction.z[chosen]))
    faces = None if found.faces is None else found.faces[spread]
    return Interior(
        found.u[spread], found.c[spread], found.a[spread], found.inside[spread], found.live[spread], faces, reductions
    )


def _reduced(question: PhaseOneProblem, stopped: Callable[[], bool]) -> Interior:
    """Rounds of phase one and facial reduction."""
    answer = settle(question, stopped)
    inside = answer.slack > THIN
    found = Interior(answer.u, answer.c, answer.a, inside, question.live.clone())
    if bool(inside.all()):
        return found
    (B, _), D = question.turned.shape, question.X.shape[1]
    faces = torch.eye(D, dtype=question.X.dtype, device=question.X.device).repeat(B, 1, 1)
    pending = torch.nonzero(~inside)[:, 0]
    while pending.numel() and not stopped():
        before = faces.clone()
        for place, k in enumerate(pending.tolist()):
            faces[k] = _face(question, answer, place if answer.u.shape[0] < B else k, before[k])
        chosen = pending if answer.u.shape[0] == B else torch.arange(pending.numel(), device=pending.device)
        part = question.part(pending)
        lost = replace(part, live=found.live[pending], faces=before[pending] - faces[pending])
        found.reductions.append(Reduction(pending, lost, answer.z[chosen]))
        dimension = torch.diagonal(faces, dim1=1, dim2=2).sum(1).round()
        smaller = (dimension > 0.5) & (dimension < torch.diagonal(before, dim1=1, dim2=2).sum(1).round())
        pending = pending[smaller[pending]]
        if pending.numel() == 0:
            break
        flat = torch.linalg.vector_norm(question.X @ faces[pending], dim=2) <= FLAT
        # What is attacked stays: it may still bound the cap, unless attacks see nothing of what is left.
        blind = torch.linalg.vector_norm(faces[pending][:, : question.attack.attackable], dim=(1, 2)) <= FLAT
        found.live[pending] *= 1.0 - (flat & ((question.reach == 0.0) | blind[:, None])).to(faces.dtype)
        part = replace(question.part(pending), live=found.live[pending], faces=faces[pending])
        answer = settle(part, stopped)
        good = answer.slack > THIN
        some = pending[good]
        found.u[some], found.c[some], found.a[some] = answer.u[good], answer.c[good], answer.a[good]
        found.inside[some] = True
        keep = torch.nonzero(~good)[:, 0]
        answer = PhaseOneResult(*(getattr(answer, name)[keep] for name in PhaseOneResult.__dataclass_fields__))
        pending = pending[keep]
    found.faces = faces
    return found


def _face(question: PhaseOneProblem, answer: PhaseOneResult, place: int, before: Tensor) -> Tensor:
    """The projector onto the subspace that the forced constraints of one cone leave."""
    weights, slacks = answer.weights[place], answer.slacks[place]
    forced = (weights > FORCED * weights.max()) & (weights > slacks)
    normals = question.X[forced]
    if bool((question.reach[forced] > 0.0).any()):
        # What attacks see is 0 there, whatever its scale.
        axes = torch.eye(before.shape[0], dtype=before.dtype, device=before.device)
        normals = torch.cat([normals, axes[: question.attack.attackable]])
    if normals.shape[0] == 0:
        return torch.zeros_like(before)
    # Together with what was given up before, so that the subspace is found in one go.
    values, vectors = torch.linalg.eigh(before)
    basis = vectors[:, values > 0.5]
    if basis.shape[1] == 0:
        return torch.zeros_like(before)
    _, sizes, rows = torch.linalg.svd(normals @ basis, full_matrices=True)
    rank = int((sizes > FLAT * max(1.0, float(sizes.max()))).sum())
    left = basis @ rows[rank:].T
    found: Tensor = left @ left.T
    return found


def repair(data: GatedTensors, interior: Interior, B: Tensor, mu: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
    """Multipliers for what facial reduction has taken from the slots.

    Args:
        data: The programme, with all its slots.
        interior: With its reductions.
        B: The vectors of all slots, shape (K, C, D).
        mu: Multipliers so far, shape (K, C, n).
        pull: ``sum_i r_i mu_i q``, shape (K, C, d).

    Returns:
        mu and pull, with what the reductions add.
    """
    d, lengths = data.program.attackable, torch.linalg.vector_norm(data.X, dim=1)
    scale = 1.0 / torch.where(lengths > 0.0, lengths, 1.0)
    B, mu, pull = B.clone(), mu.clone(), pull.clone()
    for reduction in reversed(interior.reductions):
        some = reduction.slots
        for c in range(B.shape[1]):
            # Twice: the second time for what rounding has left.
            for _ in range(2):
                more, tow = corrected(reduction.question, reduction.z, B[some, c])
                more = more * scale
                mu[some, c] += more
                pull[some, c] += tow
                B[some, c] += (more * data.turned[some]) @ data.X
                B[some, c, :d] += tow
    return mu, pull
