"""Standard training of two-layer polynomial networks (Bartan and Pilanci, arXiv:2101.02429)."""

from dataclasses import dataclass, field
from typing import ClassVar

from numpy.typing import ArrayLike

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION, Activation, Array
from cvxrobust.problems.polynomial.in_memory import PolynomialProblem


@dataclass(frozen=True, eq=False, init=False, repr=False)
class StandardSDP(PolynomialProblem):
    """Train a two-layer network with polynomial activation to global optimality.

    The network is ``f(x) = sum_j alpha_j s(x'u_j)`` with ``s(t) = a t^2 + b t + c`` and ``||u_j||_2 = 1``; the
    objective

        mean_i loss(y_i f(x_i)) + beta sum_j |alpha_j|        (loss(f(x_i), y_i) for losses of targets)

    equals the value of the semidefinite programme, with ``A(x) = [[a xx', (b/2) x], [., c]]``,

        min  mean_i loss(y_i <A(x_i), Z - Z'>) + beta (Z_44 + Z'_44)
        s.t. Z, Z' psd of order d + 1,  tr Z_11 = Z_44,  tr Z'_11 = Z'_44,

    where index 4 is the last row and 11 the leading d x d block. Source: Bartan and Pilanci (2021),
    arXiv:2101.02429, Sec. 4.

    Args:
        X: Inputs, shape (n, d); anything NumPy reads as numbers.
        y: Labels -1 or +1, or two texts (the second in sorted order is positive), shape (n,); more than two classes of
            any kind are trained one-versus-all; real targets for the losses of these.
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``; of targets ``"squared"``, ``"absolute"`` or
            ``"huber"`` (``"huber:M"`` for another threshold).
        activation: (a, b, c) with a != 0.
        sample_weight: What each row counts, 0 or more, shape (n,); 2 is a row twice, 0 leaves it out. Means become
            weighted means.
        class_weight: By label, what the rows of a class count besides; ``"balanced"`` for classes that count alike.

    Raises:
        InputError: Data or parameters are unusable; the message says which and what was expected.
    """

    radius: Array = field(init=False, repr=False)
    norm: Norm = field(init=False, repr=False, default=2)
    scale: Array | None = field(init=False, repr=False, default=None)
    covariance: Array | None = field(init=False, repr=False, default=None)
    directions: Array | None = field(init=False, repr=False, default=None)

    losses: ClassVar[tuple[str, ...]] = tuple(LOSSES)
    family: ClassVar[str] = "standard-sdp"
    attacked_by: ClassVar[str] = "AdversarialSDP"

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        beta: float = 1e-2,
        loss: str = "hinge",
        activation: Activation = DEFAULT_ACTIVATION,
        *,
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight = None,
    ) -> None:
        super().__init__(X, y, 0.0, beta, loss, activation, sample_weight, class_weight)
