"""Projections onto the cones of all slots at once: an active-set method in batches, warm from call to call.

The cone of slot k is ``{u : t_ik x_i'u >= r_i N(u) for all i}`` with the sides ``t_ik = 2 g_ik - 1``. With the rows
divided by ``||x_i||`` and the generators ``a = t_ik x_i - r_i q``, ``||q||_p <= 1``, the projection of z is

    p = z + sum_j mu_j a_j,   mu = argmin over mu >= 0 of 1/2 ||z + sum_j mu_j a_j||^2 - shift sum_j mu_j,

so that one computation gives a point of the cone and the multipliers that make ``||B_k||`` least, B_k = p (Moreau).
With a tiny shift the point is inside by that much, where rounding cannot hurt it. Generators that the present p
violates most enter a small working set, and non-negative least squares over it (Lawson and Hanson 1974, *Solving least
squares problems*, Sec. 23.3) takes those out again that get no weight; under attack q is the one that p violates.
A look for violations is one product of (K, D) and (D, n) matrices, everything else has the size of working sets.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cvxrobust.core import GatedProgram
from cvxrobust.core.arrays import worth_a_look


@dataclass(frozen=True)
class ProjectionTuning:
    """How working sets grow, how far inside points are to be, and when weights count as optimal."""

    entering: int = 3
    """Generators that may enter a working set at a time: more save looks, and cost solves of which few are of use."""

    shift: float = 1e-9
    least_shift: float = 1e-13
    """How far inside, relative to the length of what is projected and to that of the sample, at most; and at least,
    times the weights: rounding is smaller."""

    ridge: float = 1e-13
    """On the diagonal of Gram matrices of unit vectors, which are singular where samples repeat."""

    optimal: float = 0.1
    """Slopes of weights that count as optimal within the working set, in units of the shift, or of `shift` where there
    is none."""

    pivots: int = 300


TUNING = ProjectionTuning()


class ConeProjections:
    """The cones of a programme, and a working set of generators for each.

    Args:
        program: A cone programme in which no sample is both zero and attacked.
        device: Where tensors live; they are float64.

    Attributes:
        program, device: As given; n samples, K slots, D inputs, w places in a working set.
        d: Inputs that can be attacked.
        lengths: ``||x||``, shape (n,).
        rows: Numbers of the samples that are not zero, shape (r,).
        X, columns: These at length 1, shape (r, D), and transposed.
        sides: ``2 g - 1`` for them, shape (K, r).
        reach: ``radius / ||x||`` for them, shape (r,).
        attacked: Whether there is any attack.
        entering: Generators that may enter at a time.
        width: w.
        generators: The working sets, shape (K, w, D).
        weights: Of the generators, 0 or more, shape (K, w).
        grams: Their products with each other, shape (K, w, w).
        owners: The sample of each, -1 where a place is free, shape (K, w).
        shift: How far inside, relative to what is projected, projections of each slot are to be; 0 where the cone has
            no interior, shape (K,).
    """

    def __init__(self, program: GatedProgram, device: torch.device) -> None:
        def tensor(array: object) -> Tensor:
            return torch.tensor(np.asarray(array, dtype=np.float64), device=device)

        self.program, self.device, self.d = program, device, program.attackable
        X, K = tensor(program.X), program.signs.size
        self.attack = program.attack.like(X)
        self.lengths = X.norm(dim=1)
        some = self.lengths > 0.0
        self.rows = torch.nonzero(some)[:, 0]
        self.X = X[some] / self.lengths[some, None]
        self.columns = self.X.T.contiguous()
        self.sides = tensor(2.0 * program.gates.T - 1.0)[:, some].contiguous()
        self.reach = tensor(program.attack.radius)[some] / self.lengths[some]
        self.attacked = bool((self.reach > 0.0).any()) and self.d > 0
        self.entering = min(TUNING.entering, self.rows.numel())
        self.width = X.shape[1] + 2 * self.entering
        self.generators = X.new_zeros((K, self.width, X.shape[1]))
        self.weights = X.new_zeros((K, self.width))
        self.grams = X.new_zeros((K, self.width, self.width))
        self.owners = torch.full((K, self.width), -1, dtype=torch.long, device=device)
        self.shift = X.new_full((K,), TUNING.shift)

    def project(
        self, Z: Tensor, stop: float, stopped: Callable[[], bool] = lambda: False, cost: float = 1e-8
    ) -> tuple[Tensor, Tensor]:
        """Project a vector for every slot, shape (K, D).

        Args:
            Z: The vectors.
            stop: Lengths of projections below which they need not be exact: multipliers prove as much, and no more is
                wanted of those slots.
            stopped: Asked between looks; what has been found by then is valid, too.
            cost: What lying inside may add to the length of a projection the next time, relative. That is the shift
                times the weights, which are large where a cone is narrow: with all shifts alike, 1.4e-5 in cones of a
                hundredth, and bounds ended there.

        Returns:
            The points ``z + sum mu a``, shape (K, D), and which of them are inside their cones, shape (K,).
        """
        sizes = Z.norm(dim=1)
        inside = torch.zeros_like(sizes, dtype=torch.bool)
        everyone = torch.arange(sizes.numel(), device=self.device)
        self._compact()
        self._fit(everyone, Z, sizes, None)
        P = self._points(everyone, Z)
        if self._descend(everyone, P, Z, sizes, stop, inside, stopped):
            self._choose_shifts(P, sizes, cost)
            return P, inside
        # A cone without interior has no point this far inside. What it allows on its boundary bounds just as well.
        for shift in (TUNING.shift, 0.0):
            failed = ~inside & (P.norm(dim=1) > stop) & (self.shift > 0.0)
            thin = torch.nonzero(failed & (self.shift != shift))[:, 0]
            if thin.numel() and not stopped():
                self.shift[thin], self.weights[thin] = shift, 0.0
                self._fit(thin, Z[thin], sizes[thin], None)
                P[thin] = self._points(thin, Z[thin])
                self._descend(thin, P, Z, sizes, stop, inside, stopped)
        self._choose_shifts(P, sizes, cost)
        # Within rounding of a boundary is not inside.
        return P, inside & (self.shift > 0.0)

    def _choose_shifts(self, P: Tensor, sizes: Tensor, cost: float) -> None:
        """How far inside the next projections are to be, by the weights of these; cones without interior stay flat."""
        mass, tiny = self.weights.sum(1), torch.finfo(P.dtype).tiny
        cheap = cost * (P * P).sum(1) / (sizes * mass).clamp_min(tiny)
        least = TUNING.least_shift * (mass / sizes.clamp_min(tiny)).clamp_min(1.0)
        chosen = torch.maximum(cheap, least).clamp_max(TUNING.shift)
        # Where next to nothing is left of a vector, its length says nothing about the next one.
        chosen = torch.where(P.norm(dim=1) > 1e-3 * sizes, chosen, TUNING.shift)
        self.shift = torch.where(self.shift > 0.0, chosen, self.shift)

    def multipliers(self) -> tuple[Tensor, Tensor]:
        """The mu of all samples and slots, shape (n, K), and the directions q that go with them, shape (K, d)."""
        K, n = self.weights.shape[0], self.lengths.numel()
        weights = torch.where(self.owners >= 0, self.weights, 0.0)
        owners = self.owners.clamp_min(0)
        scaled = weights / self.lengths[owners].clamp_min(torch.finfo(weights.dtype).tiny)
        mu = torch.zeros((K, n), dtype=weights.dtype, device=self.device)
        # One entry after another, so that sums of entries of one sample come out the same every time.
        for place in range(self.width):
            mu.scatter_add_(1, owners[:, place, None], scaled[:, place, None])
        directions = weights.new_zeros((K, self.d))
        if self.attacked:
            inputs = torch.as_tensor(np.array(self.program.X[:, : self.d]), device=self.device)[owners]
            gates = torch.as_tensor(np.array(self.program.gates.T), device=self.device)
            sides = torch.where(torch.gather(gates, 1, owners), 1.0, -1.0).to(weights.dtype)
            radius = torch.as_tensor(np.array(self.program.attack.radius), device=self.device)[owners]
            # A generator is t x / ||x|| plus r / ||x|| times its direction.
            clean = scaled[..., None] * sides[..., None] * inputs
            pull = (weights[..., None] * self.generators[..., : self.d] - clean).sum(1)
            mass = (scaled * radius).sum(1, keepdim=True)
            directions = torch.where(mass > 0.0, pull / torch.where(mass > 0.0, mass, 1.0), 0.0)
        return mu.T.contiguous(), directions

    def state(self) -> dict[str, Tensor]:
        """The working sets, for a checkpoint."""
        return {"weights": self.weights, "owners": self.owners}

    def restore(self, weights: Tensor, owners: Tensor) -> None:
        """Go on from working sets without attack; under attack directions would be missing, and they begin anew."""
        places = torch.full(self.lengths.shape, -1, dtype=torch.long, device=self.device)
        places[self.rows] = torch.arange(self.rows.numel(), device=self.device)
        if self.attacked or weights.shape != self.weights.shape or owners.shape != self.owners.shape:
            return
        if bool((owners >= places.numel()).any()):
            return
        known = torch.isfinite(weights) & (weights > 0.0) & (owners >= 0)
        rows = places[owners.to(torch.long).clamp_min(0)]
        known &= rows >= 0
        rows = rows.clamp_min(0)
        self.weights = torch.where(known, weights, 0.0)
        self.owners = torch.where(known, owners.to(torch.long), -1)
        self.generators = self.X[rows] * torch.gather(self.sides, 1, rows)[..., None]
        self.grams = self.generators @ self.generators.mT

    def _descend(
        self,
        slots: Tensor,
        P: Tensor,
        Z: Tensor,
        sizes: Tensor,
        stop: float,
        inside: Tensor,
        stopped: Callable[[], bool],
    ) -> bool:
        """Let generators enter until points are inside or short; P and `inside` change. Whether all of them are."""
        for _ in range(50 + 4 * P.shape[1]):
            slots = slots[P[slots].norm(dim=1) > stop]
            if slots.numel() == 0:
                return True
            found, places = torch.topk(self._slacks(slots, P[slots]), self.entering, dim=1, largest=False)
            enough = torch.where(self.shift[slots] > 0.0, 0.5 * self.shift[slots], -1e-3 * TUNING.shift)
            violated = found < (enough * sizes[slots])[:, None]
            outside = violated[:, 0]
            inside[slots[~outside]] = True
            slots, places, violated = slots[outside], places[outside], violated[outside]
            if slots.numel() == 0:
                return True
            if stopped():
                return False
            passive = self._enter(slots, P[slots], places, violated)
            self._fit(slots, Z[slots], sizes[slots], passive)
            P[slots] = self._points(slots, Z[slots])
        return False

    def _slacks(self, slots: Tensor, P: Tensor) -> Tensor:
        """``(t x'p - r N(p)) / ||x||`` of all samples that are not zero, shape (slots, rows)."""
        found: Tensor = (P @ self.columns) * self.sides[slots]
        if self.attacked:
            found = found - self.reach * self.attack.dual_norm(P)[:, None]
        return found

    def _points(self, slots: Tensor, Z: Tensor) -> Tensor:
        return Z + (self.weights[slots][:, None, :] @ self.generators[slots])[:, 0]

    def _compact(self) -> None:
        """Generators with weight first, the others forgotten."""
        used = self.weights > 0.0
        order = torch.argsort((~used).to(torch.int8), dim=1, stable=True)
        self.weights = torch.gather(self.weights, 1, order).clamp_min(0.0)
        self.owners = torch.where(self.weights > 0.0, torch.gather(self.owners, 1, order), -1)
        row = torch.arange(order.shape[0], device=self.device)[:, None]
        self.generators = self.generators[row, order]
        self.grams = self.grams[row[:, :, None], order[:, :, None], order[:, None, :]]

    def _enter(self, slots: Tensor, P: Tensor, rows: Tensor, wanted: Tensor) -> Tensor:
        """Put generators of violated samples where there is no weight; what may have weight now, (slots, width)."""
        free = self.weights[slots] <= 0.0
        places = torch.argsort((~free).to(torch.int8), dim=1, stable=True)[:, : self.entering]
        # Working sets are linearly independent up to rounding, which may fill them all the same.
        wanted = wanted & torch.gather(free, 1, places)
        new = self.X[rows] * torch.gather(self.sides[slots], 1, rows)[..., None]
        if self.attacked:
            new[..., : self.d] -= self.reach[rows][..., None] * self.attack.maximiser(P)[:, None]
        row, local = slots[:, None], torch.arange(slots.numel(), device=self.device)[:, None]
        new = torch.where(wanted[..., None], new, self.generators[row, places])
        owners = torch.where(free, -1, self.owners[slots])
        owners[local, places] = torch.where(wanted, self.rows[rows], owners[local, places])
        self.owners[slots], self.generators[row, places] = owners, new
        products = new @ self.generators[slots].mT
        self.grams[row, places] = products
        everywhere = torch.arange(self.width, device=self.device)[None, :, None]
        self.grams[slots[:, None, None], everywhere, places[:, None, :]] = products.mT
        passive = ~free
        passive[local, places] |= wanted
        return passive

    def _fit(self, slots: Tensor, Z: Tensor, sizes: Tensor, passive: Tensor | None) -> None:
        """Least squares over working sets, starting with the `passive` ones: those with weight where it is None."""
        known = self.owners[slots] >= 0
        numbers = torch.arange(1, self.width + 1, device=self.device)
        width = int((known * numbers).max()) if known.numel() else 0
        if width == 0:
            return
        known, grams = known[:, :width], self.grams[slots, :width, :width]
        linear = (self.generators[slots, :width] @ Z[..., None])[..., 0] - (self.shift[slots] * sizes)[:, None]
        weights, shift = self.weights[slots, :width], self.shift[slots]
        tolerance = TUNING.optimal * torch.where(shift > 0.0, shift, TUNING.shift) * sizes
        passive = weights > 0.0 if passive is None else passive[:, :width]
        places, found = torch.arange(slots.numel(), device=self.device), weights.clone()
        going = torch.ones_like(places, dtype=torch.bool)
        for pivot in range(TUNING.pivots):
            moved, passive, more = _pivot(grams, linear, weights, passive, known, tolerance)
            # Who is done stays as it is until somebody looks.
            weights, going = torch.where(going[:, None], moved, weights), going & more
            if not worth_a_look(pivot, going):
                continue
            found[places] = weights
            left = torch.nonzero(going)[:, 0]
            if left.numel() == going.numel():
                continue
            if left.numel() == 0:
                break
            places, grams, linear, known, tolerance = (part[left] for part in (places, grams, linear, known, tolerance))
            weights, passive, going = weights[left], passive[left], going[left]
        else:
            found[places] = weights
        self.weights[slots, :width] = found


def _pivot(
    grams: Tensor, linear: Tensor, weights: Tensor, passive: Tensor, known: Tensor, tolerance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Lawson and Hanson's method for every working set: weights, the passive set, and who has to go on."""
    chosen = passive.to(grams.dtype)
    masked = grams * chosen[:, :, None]
    masked *= chosen[:, None, :]
    masked.diagonal(dim1=1, dim2=2).add_(1.0 - (1.0 - TUNING.ridge) * chosen)
    factors, info = torch.linalg.cholesky_ex(masked)
    solved = torch.cholesky_solve(-(linear * chosen)[..., None], factors)[..., 0]
    sound = (info == 0) & torch.isfinite(solved).all(1)
    negative = passive & (solved <= 0.0)
    tiny = torch.finfo(grams.dtype).tiny
    shares = torch.where(negative, weights / (weights - solved).clamp_min(tiny), torch.inf)
    share = shares.amin(1, keepdim=True).clamp_max(1.0)
    leaving = negative & (shares <= share * (1.0 + 1e-12))
    stepped = torch.where(passive & ~leaving, weights + share * (solved - weights), 0.0).clamp_min(0.0)
    stepped = torch.where(sound[:, None], stepped, weights)
    passive = passive & ~leaving
    whole = ~negative.any(1)
    slopes = torch.where(known & ~passive, (grams @ stepped[..., None])[..., 0] + linear, torch.inf)
    steepest, place = slopes.min(1)
    adding = whole & sound & (steepest < -tolerance)
    rows = torch.arange(place.numel(), device=place.device)
    passive[rows, place] |= adding
    return stepped, passive, sound & (~whole | adding)
