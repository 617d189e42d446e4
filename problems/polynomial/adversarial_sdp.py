"""Adversarial training of two-layer polynomial networks (Kuelbs, Lall and Pilanci, arXiv:2405.14033)."""

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

from numpy.typing import ArrayLike

from cvxrobust.core.attacks.norms import GEOMETRIES, check_norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.core.strangers import shown
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.data.ranges import OUTSIDE
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION, Activation
from cvxrobust.problems.polynomial.in_memory import PolynomialProblem

if TYPE_CHECKING:
    from cvxrobust.problems.polynomial.boxes.box_sdp import BoxSDP


Made = TypeVar("Made", bound=type)


def _shown_as_made(family: Made) -> Made:
    """The class, which says what `__init__` takes to whoever asks for its signature; `__new__` only reads the norm."""
    own = inspect.signature(vars(family)["__init__"])
    type.__setattr__(family, "__signature__", own.replace(parameters=list(own.parameters.values())[1:]))
    return family


@_shown_as_made
@dataclass(frozen=True, eq=False, init=False, repr=False)
class AdversarialSDP(PolynomialProblem):
    """Train a two-layer network with polynomial activation against every l2 attack of a given radius.

    The objective ``mean_i loss(min_{||D||_2 <= radius} y_i f(x_i + D)) + beta sum_j |alpha_j|``, with the network of
    `StandardSDP`, equals the value of the programme of `StandardSDP` in which the margins are replaced by w_i with,
    for each i, a lambda_i >= 0 such that

        [[lambda_i I + y_i a T_11,  y_i (a T_11 x_i + (b/2) T_12)],
         [          .            ,  -lambda_i radius^2 + y_i f(x_i) - w_i]]   is psd,      T = Z - Z'

    (the S-procedure, lossless for one quadratic constraint). Source: arXiv:2405.14033, Sec. 3; the off-diagonal
    block is half the gradient of ``y f``. Attacks ``D = S e`` with ``||e||_2 <= radius``, S from scale, covariance or
    directions, see S'T_11 S in the place of T_11 and S' times the off-diagonal block, which is just as lossless.

    With a loss of targets, phi of the residual, the objective is that of the worst error,

        mean_i phi(max_{||D||_2 <= radius} |f(x_i + D) - y_i|) + beta sum_j |alpha_j|,

    and for each i there are two such inequalities, with multipliers lambda_i and lambda'_i of their own: w_i is a lower
    bound of f, with +1 in place of y_i, and w'_i one of -f, with -1; the residual is at least ``y_i - w_i`` and
    ``-w'_i - y_i``. Each is lossless by itself, and phi grows with the residual.

    Args:
        X: Inputs, shape (n, d); anything NumPy reads as numbers.
        y: Labels -1 or +1, or two texts (the second in sorted order is positive), shape (n,); more than two classes of
            any kind are trained one-versus-all; real targets for the losses of these.
        radius: l2 attack radius, one for all samples or one per sample, in the units of X, or of the shape that scale,
            covariance or directions give to attacks; 0 is standard training.
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``; of targets ``"squared"``, ``"absolute"`` or
            ``"huber"`` (``"huber:M"`` for another threshold).
        activation: (a, b, c) with a != 0.
        sample_weight: What each row counts, 0 or more, shape (n,); 2 is a row twice, 0 leaves it out. Means become
            weighted means.
        class_weight: By label, what the rows of a class count besides; ``"balanced"`` for classes that count alike.
        norm: Norm of the attacks: 2, or "inf" (``np.inf``). With the latter the problem made is a
            `cvxrobust.problems.polynomial.boxes.box_sdp.BoxSDP`, which trains against Shor's bound of worst cases in
            boxes, with `scale` alone, and for classes only. For norm 1 nothing is offered: the worst case of a
            quadratic that bends both ways is at no corner of the cross-polytope, and an l2 ball of the same radius
            holds it.
        scale: By how much an attack of radius 1 may move each input alone, shape (d,); 0 for those it cannot touch.
        covariance: Shape (d, d), psd: attacks D are those with ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q): attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of the three.
        bounds: With norm "inf" the least and the largest value of inputs, each a number or of shape (d,).
        outside: What becomes of rows outside of it then: ``"refuse"`` or ``"clip"``.

    Raises:
        InputError: Data or parameters are unusable; the message says which and what was expected.
    """

    losses: ClassVar[tuple[str, ...]] = tuple(LOSSES)
    family: ClassVar[str] = "adversarial-sdp"

    def __new__(cls, *args: Any, norm: object = 2, **kwargs: Any) -> Self:
        """A problem of the norm's own kind."""
        if cls is AdversarialSDP and GEOMETRIES[check_norm(norm)].separable:
            return cast(Self, _boxed(*args, **kwargs))
        return super().__new__(cls)

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radius: ArrayLike,
        beta: float = 1e-2,
        loss: str = "hinge",
        activation: Activation = DEFAULT_ACTIVATION,
        *,
        norm: object = 2,
        scale: ArrayLike | None = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        bounds: tuple[ArrayLike, ArrayLike] | None = None,
        outside: str = OUTSIDE[0],
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight = None,
    ) -> None:
        if bounds is not None:
            raise InputError(
                "bounds are given, but worst cases of l2 attacks are exact without a range only; leave them out, or "
                'give norm="inf".'
            )
        if not isinstance(outside, str) or outside != OUTSIDE[0]:
            raise InputError(
                f"outside is {shown(outside)}, but there are no bounds that rows could lie outside of; leave it out, "
                'or give norm="inf" and bounds.'
            )
        threat = Threat(norm, scale, covariance, directions)
        super().__init__(X, y, radius, beta, loss, activation, sample_weight, class_weight, threat)


def _boxed(*args: Any, covariance: object = None, directions: object = None, **kwargs: Any) -> "BoxSDP":
    from cvxrobust.problems.polynomial.boxes.box_sdp import BoxSDP

    if covariance is not None or directions is not None:
        raise InputError(
            'a covariance or directions are given with norm "inf", but attacks in these are in norm 2 only; give '
            "norm=2, or a scale for each input."
        )
    return BoxSDP(*args, **kwargs)
