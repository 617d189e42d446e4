"""Conic form of gated ReLU programmes, assembled with whole-array operations, and multipliers from its duals.

Variables, in this order: the point U by slot, output and input; the group norms t; auxiliaries of the norms N(u_k) and
N(H_i) (see `_NormBlock`); one excess per harmful pair (one-sided); the loss's. Rows, in this order: margins; harmful
ReLUs or cone constraints; the norms; the group norms; the loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.conic.cones import Cone, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.estimate import ConicSize
from cvxrobust.core.losses.base import LossBlock
from cvxrobust.core.programs.gated.certificate import GatedMultipliers
from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]
Index = NDArray[np.intp]

FILL = 300.0
"""Multiplications of a factorization for every row and entry, beyond what a sparse programme of that size takes: the
unknowns of a slot meet in all of its rows. Fitted to `cvxrobust.bench.studies.ways`."""


@dataclass(frozen=True)
class _Epigraph:
    """The epigraph of a dual norm: auxiliaries a of one vector h with ``N(h) <= read @ a``, and rows in a cone.

    Args:
        layers: Pairs (P, F): rows ``P @ h + F @ a``.
        read: Shape (1, auxiliaries).
        round: Whether the rows of a vector are in a second-order cone; otherwise they are non-negative.
    """

    layers: tuple[tuple[sparse.csr_array, sparse.csr_array], ...]
    read: sparse.csr_array
    round: bool = False


def _absolute_sum(d: int) -> _Epigraph:
    """The 1-norm, against attacks in the inf-norm: a holds bounds of all ``|h_l|``."""
    each = sparse.csr_array(sparse.eye_array(d))
    return _Epigraph(((-each, each), (each, each)), sparse.csr_array(np.ones((1, d))))


def _length(d: int) -> _Epigraph:
    """The 2-norm: rows (a, h)."""
    both = sparse.csr_array(sparse.eye_array(d + 1))
    return _Epigraph(((both[:, 1:], both[:, :1]),), both[:1, :1], True)


def _largest(d: int) -> _Epigraph:
    """The inf-norm, against attacks in the 1-norm: rows ``a - h_l`` and ``a + h_l``."""
    each, top = sparse.csr_array(sparse.eye_array(d)), sparse.csr_array(np.ones((d, 1)))
    return _Epigraph(((-each, top), (each, top)), sparse.csr_array(np.ones((1, 1))))


EPIGRAPHS: dict[Norm, Callable[[int], _Epigraph]] = {"inf": _absolute_sum, 2: _length, 1: _largest}
"""By the norm of the attack."""


@dataclass(frozen=True)
class _NormBlock:
    """Epigraphs of the dual norms of m vectors h of d entries, layer by layer of `_Epigraph`.

    Of the vectors of a programme these are what attacks see of them, S'h.
    """

    norm: Norm
    m: int
    d: int

    @cached_property
    def one(self) -> _Epigraph:
        """The epigraph of a single vector."""
        return EPIGRAPHS[self.norm](self.d)

    @property
    def auxiliaries(self) -> int:
        """How many there are."""
        return self.m * int(self.one.read.shape[1])

    @property
    def rows(self) -> int:
        """Rows that they take."""
        return self.m * sum(int(place.shape[0]) for place, _ in self.one.layers)

    @property
    def cones(self) -> tuple[Cone, ...]:
        """The cones of these rows."""
        if self.one.round:
            return tuple(SecondOrder(self.d + 1) for _ in range(self.m))
        return (NonNegative(self.rows),)

    @cached_property
    def place(self) -> sparse.csr_array:
        """What h adds to the rows, shape (rows, m d)."""
        return sparse.csr_array(sparse.vstack([self._for_all(place) for place, _ in self.one.layers]))

    @cached_property
    def fill(self) -> sparse.csr_array:
        """What the auxiliaries add to the rows, shape (rows, auxiliaries)."""
        return sparse.csr_array(sparse.vstack([self._for_all(fill) for _, fill in self.one.layers]))

    @cached_property
    def read(self) -> sparse.csr_array:
        """The bounds of the norms from the auxiliaries, shape (m, auxiliaries)."""
        return self._for_all(self.one.read)

    def _for_all(self, part: sparse.csr_array) -> sparse.csr_array:
        return sparse.csr_array(sparse.kron(sparse.eye_array(self.m), part))

    def pulls(self, duals: Array) -> Array:
        """What the duals of the rows say of attacks on h: ``place' duals``, shape (m, d)."""
        return np.asarray(self.place.T @ duals).reshape(self.m, self.d)


@dataclass(frozen=True)
class GatedForm:
    """The conic form of a gated programme; sizes and places are known before anything is assembled."""

    program: GatedProgram

    @cached_property
    def attacked(self) -> Index:
        """Samples with a positive radius, where there is a slot: of nothing an attack can make nothing else."""
        return np.flatnonzero((self.program.attack.radius > 0.0) & (self.program.shape[0] > 0))

    @cached_property
    def pairs(self) -> tuple[Index, Index]:
        """Samples and slots of the cone constraints, or of the harmful ReLUs; none for the gated form."""
        rows, slots = np.nonzero(self.program.rules.pairs(self.program))
        return rows, slots

    @cached_property
    def sample_norms(self) -> _NormBlock:
        """Norms of the H_i of attacked samples."""
        program = self.program
        return _NormBlock(program.attack.norm, self.attacked.size * program.shape[1], program.attack.dimension)

    @cached_property
    def slot_norms(self) -> _NormBlock:
        """Norms of the u_k, where constraints under attack mention them."""
        K, C, _ = self.program.shape
        mentioned = self.attacked.size > 0 and self.pairs[0].size > 0
        return _NormBlock(self.program.attack.norm, K * C if mentioned else 0, self.program.attack.dimension)

    @cached_property
    def unit(self) -> float:
        """How far an attack of radius 1 goes at most: norms are divided by it and radii multiplied.

        So a programme does not depend on the units of radii; solvers gave up where attacks of 1e-8 had a scale of 1e7.
        """
        attack = self.program.attack
        if attack.isotropic:
            return 1.0
        return float(np.abs(attack.axes(self.program.shape[2]).data).max(initial=0.0)) or 1.0

    @cached_property
    def block(self) -> LossBlock:
        """The loss of every sample and output."""
        return self.program.loss_function.block(self.program.labels.ravel())

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Numbers of variables: U, t, slot auxiliaries, sample auxiliaries, excesses, loss."""
        K, C, D = self.program.shape
        excesses = self.pairs[0].size if self.program.rules.one_sided else 0
        slots, samples = self.slot_norms.auxiliaries, self.sample_norms.auxiliaries
        return K * C * D, K, slots, samples, excesses, self.block.cost.size

    @cached_property
    def heights(self) -> tuple[int, ...]:
        """Numbers of rows: margins, pairs, excesses >= 0, slot norms, sample norms, group norms, loss."""
        K, C, D = self.program.shape
        n = self.program.X.shape[0]
        margins = n * C + (self.attacked.size * C if self.block.equality else 0)
        pairs = self.pairs[0].size * C
        norms = self.slot_norms.rows, self.sample_norms.rows
        return margins, pairs, self.widths[4], *norms, K * (C * D + 1), self.block.rhs.size

    @property
    def size(self) -> ConicSize:
        """Sizes of the programme."""
        n, (K, C, D) = self.program.X.shape[0], self.program.shape
        norms = self.slot_norms.d if self.program.attack.widths is not None else 1
        entries = n * K * C * D + self.pairs[0].size * C * (D + norms) + 2 * K * C * D
        # Each row of a sample's norm holds one unknown of every slot, or as many as a direction of the attacks has.
        coupled = self.attacked.size * C * K * self.program.attack.axes(D).nnz
        # Every sample's row holds every unknown of the slots.
        few, many = sorted((float(n * C), float(K * C * D)))
        filled = few * few * many + FILL * (sum(self.heights) + entries)
        return ConicSize(sum(self.heights), sum(self.widths), entries, coupled, filled=filled)

    @property
    def cones(self) -> tuple[Cone, ...]:
        """The cones, in the order of the rows."""
        margins, pairs, excesses, *_ = self.heights
        K, C, D = self.program.shape
        groups = tuple(SecondOrder(C * D + 1) for _ in range(K))
        first: tuple[Cone, ...] = (NonNegative(margins),)
        if self.block.equality:
            two_sided = 2 * self.attacked.size * C
            first = (Zero(margins - two_sided), NonNegative(two_sided))
        norms = (*self.slot_norms.cones, *self.sample_norms.cones)
        return (*first, NonNegative(pairs), NonNegative(excesses), *norms, *groups, *self.block.cones)

    def assemble(self) -> ConicProgram:
        """The conic programme."""
        program = self.program
        K, C, D = program.shape
        margins, shifts = self._margins()
        rows = [margins, self._pairs(), self._row({4: -sparse.eye_array(self.widths[4])}, self.widths[4])]
        rows += [self._slot_norms(), self._sample_norms()]
        group = sparse.vstack([sparse.csr_array((1, C * D)), -sparse.eye_array(C * D)])
        head = sparse.csr_array(([-1.0], ([0], [0])), shape=(C * D + 1, 1))
        each = sparse.eye_array(K)
        rows.append(self._row({0: sparse.kron(each, group), 1: sparse.kron(each, head)}, K * (C * D + 1)))
        rows.append(self._row({5: self.block.rows}, self.block.rhs.size))
        between = np.zeros(sum(self.heights[1:6]))
        q = np.zeros(sum(self.widths))
        q[self.widths[0] : self.widths[0] + K] = program.beta
        q[q.size - self.block.cost.size :] = C * self.block.cost
        return ConicProgram(
            q,
            sparse.vstack(rows, format="csc"),
            np.concatenate([shifts, between, self.block.rhs]),
            tuple(cone for cone in self.cones if cone.dim),
            C * self.block.offset,
        )

    def point(self, x: Array) -> Array:
        """The point U, shape (K, C, D), of a primal solution."""
        return np.asarray(x[: self.widths[0]]).reshape(self.program.shape)

    def multipliers(self, y: Array) -> GatedMultipliers:
        """Multipliers from the dual variables of the rows."""
        program, (K, C, _) = self.program, self.program.shape
        n, d = program.X.shape[0], program.attackable
        margins, pairs, _, slots, samples, *_ = np.split(y, np.cumsum(self.heights)[:-1])
        theta, omega = np.zeros((n, C)), None
        if self.block.equality:
            clean, up, down = self._split_margins(margins)
            rest = np.setdiff1d(np.arange(n), self.attacked)
            theta[rest], theta[self.attacked] = clean, down - up
            omega = np.abs(theta)
            omega[self.attacked] = down + up
        else:
            theta[:, 0] = margins
        mu = np.zeros((n, K, C))
        mu[self.pairs] = pairs.reshape(-1, C)
        attacks, directions = np.zeros((n, C, d)), np.zeros((K, C, d))
        mass = program.attack.radius[:, None] * (theta if omega is None else omega)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.sample_norms.m:
                moves = program.attack.pushed(self.sample_norms.pulls(samples) / self.unit)
                attacks[self.attacked] = moves.reshape(-1, C, d) / mass[self.attacked, :, None]
            if self.slot_norms.m:
                pulled = np.einsum("id,ikc->kcd", program.attack.extent, mu)
                moves = program.attack.pushed(self.slot_norms.pulls(slots) / self.unit)
                directions = moves.reshape(K, C, d) / pulled
        return GatedMultipliers(theta, attacks, mu, directions, omega)

    def _split_margins(self, margins: Array) -> tuple[Array, Array, Array]:
        """Of losses of targets: duals of clean equalities, of ``residual >= f - y + r N`` and of ``>= y - f + r N``."""
        C, m = self.program.shape[1], self.attacked.size
        clean, up, down = np.split(margins, np.cumsum([margins.size - 2 * m * C, m * C]))
        return clean.reshape(-1, C), up.reshape(-1, C), down.reshape(-1, C)

    def _row(self, parts: Mapping[int, sparse.sparray], count: int) -> sparse.csr_array:
        """Rows from blocks by group of variables; what is left out is zero."""
        blocks = [parts.get(k, sparse.csr_array((count, width))) for k, width in enumerate(self.widths)]
        return sparse.csr_array(sparse.hstack(blocks))

    def _outputs(self) -> sparse.csr_array:
        """The outputs ``f_ic = x_i'H_ic`` as a function of U, shape (n C, K C D)."""
        program, (K, C, D) = self.program, self.program.shape
        sample, slot = np.nonzero(program.gates)
        data = program.signs[slot, None] * program.X[sample]
        rows = np.repeat(sample, D)
        columns = ((slot * C * D)[:, None] + np.arange(D)).ravel()
        one = sparse.csr_array((data.ravel(), (rows, columns)), shape=(program.X.shape[0], K * C * D))
        if C == 1:
            return one
        # Output c reads the same entries, D c columns further.
        entries = one.tocoo()
        by_output = [
            sparse.csr_array((entries.data, (entries.row, entries.col + D * c)), shape=one.shape) for c in range(C)
        ]
        return _interleaved(by_output)

    def _margins(self) -> tuple[sparse.csr_array, Array]:
        """Rows and right-hand sides that tie outputs, norms and excesses to the loss."""
        program, C = self.program, self.program.shape[1]
        f, lift, shift = self._outputs(), self.block.lift, self.block.shift
        radius = self.unit * np.repeat(program.attack.radius[self.attacked], C)
        reach = sparse.diags_array(radius) @ self.sample_norms.read
        if self.block.equality:
            return self._residuals(f, sparse.csr_array(reach))
        place = sparse.csr_array(
            (np.ones(radius.size), (self.attacked, np.arange(radius.size))), (shift.size, radius.size)
        )
        parts = {0: -(sparse.diags_array(program.labels[:, 0]) @ f), 3: place @ reach, 5: lift}
        if program.rules.one_sided:
            count = self.pairs[0].size
            parts[4] = sparse.csr_array((np.ones(count), (self.pairs[0], np.arange(count))), (shift.size, count))
        return self._row(parts, shift.size), -shift

    def _residuals(self, f: sparse.csr_array, reach: sparse.csr_array) -> tuple[sparse.csr_array, Array]:
        n, C = self.program.labels.shape
        target, lift = self.block.shift, self.block.lift
        everyone = np.arange(n * C).reshape(n, C)
        attacked = everyone[self.attacked].ravel()
        clean = np.setdiff1d(everyone.ravel(), attacked)
        up = {0: f[attacked], 3: reach, 5: -lift[attacked]}
        down = {0: -f[attacked], 3: reach, 5: -lift[attacked]}
        rows = [
            self._row({0: -f[clean], 5: lift[clean]}, clean.size),
            self._row(up, attacked.size),
            self._row(down, attacked.size),
        ]
        return sparse.csr_array(sparse.vstack(rows)), np.concatenate(
            [-target[clean], target[attacked], -target[attacked]]
        )

    def _pairs(self) -> sparse.csr_array:
        """Cone constraints ``(2 g - 1) x'u - r N(u) >= 0``, or excesses at least ``(1 - 2 g) x'u + r N(u)``."""
        program, (K, C, D) = self.program, self.program.shape
        sample, slot = self.pairs
        count = sample.size * C
        output = np.tile(np.arange(C), sample.size)
        sample, slot = np.repeat(sample, C), np.repeat(slot, C)
        turn = np.where(program.gates[sample, slot], -1.0, 1.0)
        columns = ((slot * C + output) * D)[:, None] + np.arange(D)
        shape = (count, K * C * D)
        data = (turn[:, None] * program.X[sample]).ravel()
        parts: dict[int, sparse.sparray] = {
            0: sparse.csr_array((data, (np.repeat(np.arange(count), D), columns.ravel())), shape)
        }
        if self.slot_norms.m:
            parts[2] = self._reach(sample, slot * C + output)
        if program.rules.one_sided:
            parts[4] = -sparse.eye_array(count)
        return self._row(parts, count)

    def _reach(self, sample: Index, vectors: Index) -> sparse.csr_array:
        """``r_i N_i(u)`` of some samples and slots' vectors from the auxiliaries of the slots, a row for each pair."""
        attack, norms, count = self.program.attack, self.slot_norms, sample.size
        radius = self.unit * attack.radius[sample]
        if attack.widths is None:
            reach = sparse.csr_array((radius, (np.arange(count), vectors)), (count, norms.m))
            return sparse.csr_array(reach @ norms.read)
        # The auxiliaries are bounds of the absolute values of what attacks see, and boxes weigh them.
        weights = radius[:, None] * attack.widths[sample]
        columns = (vectors * norms.d)[:, None] + np.arange(norms.d)
        places = np.repeat(np.arange(count), norms.d), columns.ravel()
        return sparse.csr_array((weights.ravel(), places), (count, norms.auxiliaries))

    def _slot_norms(self) -> sparse.csr_array:
        norms, (K, C, D) = self.slot_norms, self.program.shape
        if norms.m == 0:
            return self._row({}, 0)
        every = sparse.kron(sparse.eye_array(K * C), self.program.attack.axes(D) / self.unit)
        return self._row({0: -(norms.place @ every), 2: -norms.fill}, norms.rows)

    def _sample_norms(self) -> sparse.csr_array:
        norms, program = self.sample_norms, self.program
        if norms.m == 0:
            return self._row({}, 0)
        _, C, D = program.shape
        weights = sparse.csr_array((program.gates * program.signs)[self.attacked])
        touched = sparse.kron(sparse.eye_array(C), program.attack.axes(D) / self.unit)
        every = sparse.csr_array(sparse.kron(weights, touched))
        if program.attack.widths is not None:
            widths = np.repeat(program.attack.widths[self.attacked], C, axis=0)
            every = sparse.csr_array(sparse.diags_array(widths.ravel()) @ every)
        return self._row({0: -(norms.place @ every), 3: -norms.fill}, norms.rows)


def _interleaved(by_output: list[sparse.csr_array]) -> sparse.csr_array:
    """Rows (i, c) from one matrix of rows i per output c."""
    n, C = by_output[0].shape[0], len(by_output)
    order = np.arange(n * C).reshape(C, n).T.ravel()
    return sparse.csr_array(sparse.vstack(by_output, format="csr")[order])
