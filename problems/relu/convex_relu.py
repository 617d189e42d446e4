"""Convex training of two-layer ReLU networks (Pilanci and Ergen, arXiv:2002.10553)."""

from dataclasses import dataclass, field
from typing import ClassVar

from numpy.typing import ArrayLike

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.relu import choices as relu_choices
from cvxrobust.problems.relu.base import Array, ReLUProblem
from cvxrobust.problems.relu.fields import ReLUArguments
from cvxrobust.problems.relu.gates.slots import Bound, Slots


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ConvexReLU(ReLUProblem):
    """Train a two-layer ReLU network within sampled, given or all activation patterns.

    For patterns ``d_ij`` of P gates, with ``f_i = sum_j d_ij x_i'(v_j - w_j)``, the cone formulation is

        min  mean_i loss(y_i f_i) + beta sum_j (||v_j||_2 + ||w_j||_2)
        s.t. (2 d_ij - 1) x_i'v_j >= 0,  (2 d_ij - 1) x_i'w_j >= 0       (arXiv:2002.10553, Theorem 1).

    With all patterns its optimum is that of weight-decayed training, ``mean loss + beta/2 sum (||u||^2 + alpha^2)``, of
    networks of any width above a critical one. The default for margin losses is the one-sided formulation, which has no
    constraints, is never above the cone formulation on the same gates, and is equal to it with all patterns;
    ``"gated"`` is the relaxation without constraints (arXiv:2202.01331). `cvxrobust.core.programs.gated.evaluation`
    states and proves all three.

    Args:
        X: Inputs, shape (n, d); anything NumPy reads as numbers.
        y: Labels -1 or +1, or two texts (the second in sorted order is positive), shape (n,); more than two classes of
            any kind are trained one-versus-all. Real targets, shape (n,) or (n, C), with losses of targets.
        patterns: Activation patterns, shape (n, P), bool; a pair of such arrays for positive and for negative output
            weights; or ``"all"`` for tiny data. Duplicate and all-zero patterns are left out, see `gate_set`.
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``; of targets ``"squared"``, ``"absolute"`` or
            ``"huber"`` (``"huber:M"`` for another threshold).
        formulation: ``"one-sided"``, ``"cone"`` or ``"gated"``; None for one-sided with margin losses, else cone.
        gates: Gate vectors, shape (d, P), or (d + 1, P) with a bias; the patterns are ``X @ gates >= 0``.
        n_gates: How many standard normal gates to sample where neither patterns nor gates are given; None for one
            for every five samples per input, from 10 to 50. Data with no more patterns than that gets all of them.
        seed: Of the sampled gates.
        bias: Append a constant 1 to the inputs. Among sampled gates is then one that is open for every sample: without
            it no network is constant.
        regate: Rounds of regating after the first solve (one-sided formulation).
        multiclass: ``"one-versus-all"`` or ``"vector-output"``. With losses of targets it says that y holds labels: the
            targets are then -1 and +1 for every class. ``"vector-output"`` fits all outputs with shared gates and one
            group penalty ``beta sum_j (||V_j||_F + ||W_j||_F)``, V_j of shape (d, C).
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

    radius: Array = field(init=False)
    norm: Norm = field(init=False)
    scale: Array | None = field(init=False)
    covariance: Array | None = field(init=False)
    directions: Array | None = field(init=False)
    bound: Bound | None = field(init=False)
    resample: bool = field(init=False)

    family: ClassVar[str] = "convex-relu"
    attacked_by: ClassVar[str] = "AdversarialReLU"

    def __init__(
        self, X: ArrayLike, y: ArrayLike, patterns: ArrayLike | None = None, *, beta: float = 1e-2,
        loss: str = "hinge", formulation: Formulation | None = None, gates: ArrayLike | None = None,
        n_gates: int | None = None, seed: int = 0, bias: bool = False, regate: int = 0, multiclass: str | None = None,
        slots: Slots | None = None, grow: int = 10, grow_gain: float = 0.01,
        sample_weight: ArrayLike | None = None, class_weight: ClassWeight = None,
    ) -> None:  # fmt: skip
        given = ReLUArguments(
            X, y, 0.0, patterns, threat=Threat("inf"), beta=beta, loss=loss, formulation=formulation, gates=gates,
            n_gates=n_gates, seed=seed, bias=bias, regate=regate, multiclass=multiclass, slots=slots,
            grow=grow, grow_gain=grow_gain, sample_weight=sample_weight, class_weight=class_weight,
        )  # fmt: skip
        self._settle(**relu_choices.checked(given, self.losses))
