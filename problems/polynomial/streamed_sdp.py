"""Adversarial training of polynomial networks on data too large for memory."""

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from numpy.typing import ArrayLike

from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError, UnsupportedProgramError
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.data.batches import Batches
from cvxrobust.problems.polynomial.base import PolynomialTraining
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION, Activation


@dataclass(frozen=True, eq=False, init=False, repr=False)
class StreamedSDP(PolynomialTraining):
    """`AdversarialSDP`, or `StandardSDP` with radius 0, on data that is read in batches, again for every pass.

    Only backends that read the structured programme can solve it, since no conic programme of such data would fit
    anywhere: ``"torch"`` goes through the batches again for every pass, ``"ipm"`` reads them into memory where they and
    its own matrices fit. Exact objectives and certificates go through the data batch by batch, too.

    Args:
        data: The batches.
        radius: l2 attack radius, one for all samples or one per sample, in the units of X, or of the shape that scale,
            covariance or directions give to attacks; 0 is standard training.
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``; of targets ``"squared"``, ``"absolute"`` or
            ``"huber"`` (``"huber:M"`` for another threshold), under attack of the worst error.
        activation: (a, b, c) with a != 0.
        sample_weight: What each row counts, 0 or more, shape (n,); 2 is a row twice, 0 leaves it out. Means become
            weighted means.
        class_weight: By label, what the rows of a class count besides; ``"balanced"`` for classes that count alike.
        norm: Norm of the attacks: 2.
        scale: By how much an attack of radius 1 may move each input alone, shape (d,); 0 for those it cannot touch.
        covariance: Shape (d, d), psd: attacks D are those with ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q): attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of the three.

    Raises:
        InputError: Data or parameters are unusable; the message says which and what was expected.
    """

    losses: ClassVar[tuple[str, ...]] = tuple(LOSSES)
    family: ClassVar[str] = "streamed-sdp"

    def __init__(
        self,
        data: Batches,
        radius: ArrayLike = 0.0,
        beta: float = 1e-2,
        loss: str = "hinge",
        activation: Activation = DEFAULT_ACTIVATION,
        *,
        norm: object = 2,
        scale: ArrayLike | None = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight = None,
    ) -> None:
        if not isinstance(data, Batches):
            raise InputError(f"data is {type(data).__name__}; expected Batches (arrays go to AdversarialSDP).")
        threat = Threat(norm, scale, covariance, directions)
        super().__init__(data.X, data.y, radius, beta, loss, activation, sample_weight, class_weight, threat)

    @property
    def cones(self) -> frozenset[type]:
        """None: there is no conic programme."""
        return frozenset()

    @property
    def conic_rows(self) -> int:
        """0, for the same reason."""
        return 0

    def to_conic(self) -> NoReturn:
        """Refused.

        Raises:
            UnsupportedProgramError: Always: the data is not in memory.
        """
        raise UnsupportedProgramError(
            "data that is read in batches has no conic programme; choose a backend that reads the structure, "
            'backend="torch", or load the data and use AdversarialSDP.'
        )

    def to_cvxpy(self) -> NoReturn:
        """Refused like `to_conic`."""
        self.to_conic()

    def recover(self, solution: Solution) -> NoReturn:
        """Refused like `to_conic`: there is no conic solution to recover from."""
        self.to_conic()

    def multipliers(self, solution: Solution) -> NoReturn:
        """Refused like `to_conic`: there is no conic solution to read them from."""
        self.to_conic()
