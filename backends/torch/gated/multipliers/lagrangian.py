"""The augmented Lagrangian of a gated programme without cones, in terms of its slots, with its gradient.

Notation of `cvxrobust.core.programs.gated.evaluation`. A hinge, a ReLU and a dual norm are all ``s(z) = max_{p in P}
p'z`` with P simple: [0, 1] twice, and the unit ball of the attack. Each becomes ``max_{p in P} p'z - width / 2 ||p -
centre||^2``, whose derivative is the maximising p, the projection of ``centre + z / width``: a feasible multiplier.
With the last p as the centre this is the proximal method of multipliers (Rockafellar 1976, *Augmented Lagrangians and
applications of the proximal point algorithm in convex programming*, Math. Oper. Res. 1), which converges although the
widths stay put.

A slot is ``u = ||v|| v`` with ``v = M w``: the penalty is the smooth ``beta ||v||^2``, slots end at zero by themselves,
and M makes the second derivatives of the losses alike in all directions. Samples are sorted by label and slots by sign,
so that the slots that can only harm a sample are neighbours. One evaluation is three products of (n, D) and (n, K)
matrices (two without attack) and elementwise work, done in pieces that stay in the cache.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.torch.gated.multipliers.blocks import Centres, Label, PieceMultipliers, Restricted, Sums, Widths
from cvxrobust.core import GatedMultipliers, GatedProgram

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LagrangianEvaluation:
    """The augmented Lagrangian at a point.

    Args:
        value: Its value.
        gradient: In w, shape (A, D) for A slots.
        derivative: In u without the penalty, minus the vectors B_k of the certificate; shape (A, D).
        multipliers: The maximising multipliers, those of the slots in use only; None unless asked for.
        errors: By how much smoothing lowers the mean loss: through the hinge, the ReLUs, both kinds of norms.
    """

    value: float
    gradient: Tensor
    derivative: Tensor
    multipliers: Centres | None = None
    errors: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


class Lagrangian:
    """A programme on a device, restricted to some of its slots.

    Args:
        program: A one-sided or gated programme with one output.
        device: Where tensors live.
        dtype: Precision of the (n, D) and (n, K) matrices; points and their gradients are float64.

    Attributes:
        program, device, dtype: As given; n samples, K slots, of which A in use, D inputs.
        rows, slots: The programme's samples and slots in the order used here, positive labels and signs first; shapes
            (n,) and (K,).
        X, radius, targets: In that order and in `dtype`, shapes (n, D), (n, 1), (n,).
        weights: Of the losses, likewise, shape (n,); None for all alike.
        attacked: Whether there is any attack.
        one_sided: Whether the formulation is; else it is the gated one.
        positive: How many labels are.
        squared: Whether the loss is the squared one.
        metric, inverse: From coordinates w to vectors, ``v = w metric``, and back, shape (D, D), float64.
        used: Places among the sorted slots of those in use, ascending, shape (A,). `choose` sets this and the next.
        data: The programme restricted to these.
    """

    def __init__(self, program: GatedProgram, device: torch.device, dtype: torch.dtype) -> None:
        self.program, self.device, self.dtype = program, device, dtype
        self.rows = np.argsort(-program.labels[:, 0], kind="stable")
        self.slots = np.argsort(-program.signs, kind="stable")
        self.X = self._tensor(program.X[self.rows])
        self.radius = self._tensor(program.attack.radius[self.rows, None])
        self.attacked = program.attack.present
        self.one_sided = program.rules.one_sided
        self.positive = int((program.labels[:, 0] > 0.0).sum())
        self.squared = not program.loss_function.margin
        self.targets = self._tensor(program.labels[self.rows, 0])
        self.weights = None if program.weights is None else self._tensor(program.weights[self.rows])
        self.metric, self.inverse = _metric(program, device)
        self.choose(np.arange(program.signs.size))

    def choose(self, used: NDArray[np.intp]) -> None:
        """Restrict the programme to some slots, given by their places in sorted order, ascending."""
        program, n = self.program, self.X.shape[0]
        self.used = used
        slots = self.slots[used]
        signs = program.signs[slots]
        helped = signs if self.squared else program.labels[self.rows] * signs
        gates = self._tensor(program.gates[np.ix_(self.rows, slots)] * helped)
        middle = int((signs > 0.0).sum())
        both = (slice(middle, slots.size), slice(0, middle)) if self.one_sided else (slice(0, 0), slice(0, 0))
        labels = Label(1.0, slice(0, self.positive), both[0]), Label(-1.0, slice(self.positive, n), both[1])
        self.data = Restricted(program, self.X, gates, self.targets, self.radius, labels, self.attacked, self.weights)

    def centres(self) -> Centres:
        """Where the multipliers start, for all slots: at the middle of what ReLUs allow, else at zero."""
        (K, _, _), n, d = self.program.shape, self.X.shape[0], self.program.attackable
        plus = int((self.program.signs > 0.0).sum()) if self.one_sided else 0
        minus = K - plus if self.one_sided else 0
        half = self.X.new_full
        return Centres(
            self.X.new_zeros(n),
            self.X.new_zeros(n if self.squared else 0),
            (half((self.positive, minus), 0.5), half((n - self.positive, plus), 0.5)),
            self.X.new_zeros((n, d) if self.attacked else (n, 0)),
            self.X.new_zeros((K, d) if self.attacked else (K, 0)),
        )

    def harmful_in_use(self) -> tuple[Tensor, Tensor]:
        """Among the slots that can harm either label, those in use; places in the columns of `Centres.relu`."""
        plus = int((self.program.signs > 0.0).sum())
        used = torch.as_tensor(self.used, device=self.device)
        if not self.one_sided:
            return used[:0], used[:0]
        return used[used >= plus] - plus, used[used < plus]

    def part(self, centres: Centres) -> Centres:
        """The centres of the slots in use."""
        relu = tuple(whole[:, kept] for whole, kept in zip(centres.relu, self.harmful_in_use(), strict=True))
        return replace(centres, relu=(relu[0], relu[1]), slots=centres.slots[torch.as_tensor(self.used)])

    def whole(self, part: Centres, others: Centres) -> Centres:
        """All centres, from those of the slots in use and those of the others; `others` is overwritten."""
        for mine, kept, old in zip(part.relu, self.harmful_in_use(), others.relu, strict=True):
            old[:, kept] = mine
        others.slots[torch.as_tensor(self.used, device=self.device)] = part.slots.clone()
        return Centres(part.loss, part.outputs, others.relu, part.sums, others.slots)

    def point(self, w: Tensor) -> Tensor:
        """The slots' vectors u, shape (A, D)."""
        v = w @ self.metric
        found: Tensor = v.norm(dim=1, keepdim=True) * v
        return found

    def coordinates(self, u: Tensor) -> Tensor:
        """The w of given vectors u, shape (A, D)."""
        root = u.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny).sqrt()
        found: Tensor = (u / root) @ self.inverse
        return found

    def evaluate(self, w: Tensor, centres: Centres, widths: Widths, keep: bool = False) -> LagrangianEvaluation:
        """Value and gradient at a point.

        Args:
            w: The point, shape (A, D), float64.
            centres: Those of the slots in use.
            widths: The smoothing.
            keep: Whether multipliers are wanted, too.
        """
        program, n = self.program, self.X.shape[0]
        v = w @ self.metric
        root = v.norm(dim=1, keepdim=True).clamp_min(1e-150)
        U = (root * v).to(self.dtype)
        sums = Sums(self.data, centres, widths, U)
        kept: list[PieceMultipliers] = []
        value = torch.zeros((), dtype=torch.float64, device=self.device)
        for label, rows in self.data.pieces():
            value = value + sums.add(label, rows, kept if keep else None)
        derivative = sums.derivative()
        unit = v / root
        inner = (derivative * unit).sum(1, keepdim=True)
        gradient = root * (derivative + inner * unit) + 2.0 * program.beta * v
        total = float(value) / n + program.beta * float((v * v).sum())
        return LagrangianEvaluation(
            total, gradient @ self.metric.T, derivative, sums.multipliers(kept) if keep else None, sums.errors()
        )

    def multipliers(self, centres: Centres) -> GatedMultipliers:
        """Centres of all slots as the certificate wants them, in the programme's order."""
        program = self.program
        (K, _, _), n, d = program.shape, self.X.shape[0], program.attackable
        plus = int((program.signs > 0.0).sum())
        theta = _array(self.data.weighed(centres.loss, slice(None))) / n
        attacks, directions, mu = np.zeros((n, 1, d)), np.zeros((K, 1, d)), np.zeros((n, K, 1))
        if self.attacked:
            along = 1.0 if self.squared else program.labels[self.rows]
            attacks[self.rows, 0] = -along * _array(centres.sums)
            directions[self.slots, 0] = -_array(centres.slots)
        if self.one_sided:
            middle = self.positive
            for rows, slots, relu in (
                (slice(0, middle), slice(plus, K), centres.relu[0]),
                (slice(middle, n), slice(0, plus), centres.relu[1]),
            ):
                mu[np.ix_(self.rows[rows], self.slots[slots])] = (theta[rows, None] * _array(relu))[..., None]
        found, omega = np.empty((n, 1)), np.empty((n, 1))
        omega[self.rows, 0] = theta
        if not self.squared:
            return GatedMultipliers(omega, attacks, mu, directions)
        found[self.rows, 0] = -theta * _array(centres.outputs)
        return GatedMultipliers(found, attacks, mu, directions, omega if self.attacked else None)

    def adopt(self, multipliers: GatedMultipliers, chosen: NDArray[np.intp], centres: Centres) -> None:
        """Overwrite the centres of some slots, given by their places in sorted order, by multipliers."""
        if not self.one_sided or chosen.size == 0:
            return
        plus, middle = int((self.program.signs > 0.0).sum()), self.positive
        theta = multipliers.theta
        for rows, places, shift, relu in (
            (slice(0, middle), chosen[chosen >= plus], plus, centres.relu[0]),
            (slice(middle, self.rows.size), chosen[chosen < plus], 0, centres.relu[1]),
        ):
            whole = multipliers.mu[np.ix_(self.rows[rows], self.slots[places])][..., 0]
            share = theta[self.rows[rows]]
            found = np.divide(whole, share, out=np.full_like(whole, np.nan), where=share > 0.0)
            new = torch.as_tensor(found, device=self.device).to(self.dtype)
            columns = torch.as_tensor(places - shift, device=self.device)
            relu[:, columns] = torch.where(torch.isnan(new), relu[:, columns], new.clamp(0.0, 1.0))
        if self.attacked:
            directions = torch.as_tensor(-multipliers.directions[self.slots[chosen], 0], device=self.device)
            centres.slots[torch.as_tensor(chosen, device=self.device)] = directions.to(self.dtype)

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(array, dtype=torch.float64, device=self.device).to(self.dtype)


def _metric(program: GatedProgram, device: torch.device) -> tuple[Tensor, Tensor]:
    """M and its inverse: the penalty bends slots of common size about as much as ``beta sqrt(trace)`` bends losses."""
    X, n = program.X, max(1, program.X.shape[0])
    second = X.T @ X / n
    trace = float(np.trace(second))
    values, vectors = np.linalg.eigh(second + max(program.beta * trace**0.5, 1e-9 * trace, 1e-300) * np.eye(X.shape[1]))
    root = np.sqrt(values / values.mean())

    def tensor(weights: Array) -> Tensor:
        return torch.tensor((vectors * weights) @ vectors.T, dtype=torch.float64, device=device)

    return tensor(1.0 / root), tensor(root)


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().cpu().to(torch.float64).numpy())
