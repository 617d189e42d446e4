"""Adversarial convex training of two-layer ReLU networks (Bai, Gautam and Sojoudi, arXiv:2201.01965)."""

from dataclasses import dataclass
from typing import ClassVar

from numpy.typing import ArrayLike

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.data.ranges import OUTSIDE
from cvxrobust.problems.relu import choices as relu_choices
from cvxrobust.problems.relu.base import ReLUProblem
from cvxrobust.problems.relu.fields import ReLUArguments
from cvxrobust.problems.relu.gates.slots import Slots


@dataclass(frozen=True, eq=False, init=False, repr=False)
class AdversarialReLU(ReLUProblem):
    """Train a two-layer ReLU network against every attack ``||D||_p <= radius``.

    For patterns ``d_ij`` of P gates and the dual norm q of p, the cone formulation (arXiv:2201.01965) is

        min  mean_i loss(y_i f_i - radius ||sum_j d_ij (v_j - w_j)||_q) + beta sum_j (||v_j||_2 + ||w_j||_2)
        s.t. (2 d_ij - 1) x_i'v_j >= radius ||v_j||_q,  the same for w_j,   f_i = sum_j d_ij x_i'(v_j - w_j).

    The constraints keep every pattern over the whole ball, so the inner worst case is exact; but with more samples than
    dimensions most patterns then admit no neuron at all (`carriers` counts those that do, `resample` looks for more).
    The one-sided formulation, the default for margin losses, needs no constraints, is never above the cone formulation
    on the same gates with the soft-cone bound, and usually far below. With losses of targets the worst case of the cone
    and gated formulations is ``(|f_i - y_i| + radius ||.||_q)^2``. `cvxrobust.core.programs.gated.evaluation` states
    and proves this.

    Attacks may have a shape, ``D = S e`` with ``||e||_p <= radius``: all this is then true with ``||S'v||_q`` in place
    of ``||v||_q``, and the network keeps S, so that it is judged by the attacks that it was trained for.

    With `bounds`, the range of inputs, the boxes of norm inf are cut off where the range ends: other centres c_i and
    half-widths h_ik, row by row. All this is then true with c_i in place of x_i, from the patterns of the gates on, and
    ``sum_k h_ik |v_k|`` in place of ``radius ||v||_1``.

    Args:
        X: Inputs, shape (n, d); anything NumPy reads as numbers.
        y: Labels -1 or +1, or two texts (the second in sorted order is positive), shape (n,); more than two classes of
            any kind are trained one-versus-all. Real targets, shape (n,) or (n, C), with losses of targets; each of C
            outputs is then attacked on its own.
        radius: Attack radius (eps in the literature), one for all samples or one per sample, in the units of X, or of
            the shape that scale, covariance or directions give to attacks.
        patterns: As in `ConvexReLU`.
        norm: Norm p of the attack, or of the ball whose image it is in: "inf", 2 or 1.
        scale: Shape (d,), in the units of X: attacks are ``scale * e`` with ``||e||_p <= radius``, so that one of
            radius 1 may move an input by its scale if it moves no other. 0 for inputs that attacks cannot touch.
        covariance: With norm 2, shape (d, d), psd: attacks D are those with ``D' covariance^-1 D <= radius^2``. With
            the others it must be a diagonal, of squares of scales.
        directions: With norm 2, shape (d, q), in the units of X: attacks are ``directions @ e`` with ``||e||_2 <=
            radius``. At most one of scale, covariance and directions.
        bounds: With norm "inf" the least and the largest value of inputs, each a number or of shape (d,): attacked
            inputs stay between.
        outside: What becomes of rows outside of it: ``"refuse"`` or ``"clip"``.
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``; of targets ``"squared"``, ``"absolute"`` or
            ``"huber"`` (``"huber:M"`` for another threshold).
        formulation: ``"one-sided"``, ``"cone"`` or ``"gated"``; None for one-sided with margin losses, else cone.
        bound: How the one-sided formulation bounds neurons that can only hurt: ``"soft-cone"`` (default),
            ``"separate"``, or ``"mixed"``: soft-cone gates where the ball keeps to one side of the gate, else separate.
        gates: As in `ConvexReLU`.
        n_gates: As in `ConvexReLU`.
        seed: Of the sampled gates.
        bias: Append a constant 1 to the inputs, which attacks do not touch.
        regate: Rounds of regating after the first solve (one-sided formulation).
        multiclass: As in `ConvexReLU`.
        resample: Draw only gates whose cones can carry a neuron under this attack (cone and gated formulations).
        slots: Gates for every sample and signed neuron, instead of patterns.
        grow: Gates added per round by ``solve(..., gates="grow")`` at least; from twice as many on, half as many as
            there are.
        grow_gain: Growing ends with a round that lowers the objective by less than this share of it; 0 goes on while
            there are gates that lower it at all.
        sample_weight: What each row counts, 0 or more, shape (n,); 2 is a row twice, 0 leaves it out. Means become
            weighted means.
        class_weight: By label, what the rows of a class count besides; ``"balanced"`` for classes that count alike.

    Raises:
        InputError: Data or parameters are unusable; the message says which and what was expected.
    """

    family: ClassVar[str] = "adversarial-relu"

    def __init__(
        self, X: ArrayLike, y: ArrayLike, radius: ArrayLike, patterns: ArrayLike | None = None, *,
        norm: Norm = "inf", scale: ArrayLike | None = None, covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None, bounds: tuple[ArrayLike, ArrayLike] | None = None,
        outside: str = OUTSIDE[0], beta: float = 1e-2, loss: str = "hinge",
        formulation: Formulation | None = None,
        bound: str | None = None, gates: ArrayLike | None = None, n_gates: int | None = None, seed: int = 0,
        bias: bool = False, regate: int = 0, multiclass: str | None = None, resample: bool = False,
        slots: Slots | None = None, grow: int = 10, grow_gain: float = 0.01,
        sample_weight: ArrayLike | None = None, class_weight: ClassWeight = None,
    ) -> None:  # fmt: skip
        given = ReLUArguments(
            X, y, radius, patterns, threat=Threat(norm, scale, covariance, directions, bounds), beta=beta, loss=loss,
            formulation=formulation, bound=bound, gates=gates, n_gates=n_gates, seed=seed, bias=bias, regate=regate,
            multiclass=multiclass, resample=resample, slots=slots, grow=grow, grow_gain=grow_gain,
            sample_weight=sample_weight, class_weight=class_weight, outside=outside,
        )  # fmt: skip
        self._settle(**relu_choices.checked(given, self.losses))
