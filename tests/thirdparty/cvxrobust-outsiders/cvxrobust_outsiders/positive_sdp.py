"""A fifth family of problems: polynomial networks whose output weights are all positive, so that scores are convex."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core import (
    PSD,
    Cone,
    ConicProgram,
    InputError,
    Loss,
    LossBlock,
    NonNegative,
    PolynomialNetwork,
    ProblemDescription,
    Solution,
    TwoLayerNetwork,
    Zero,
    coefficients,
    hookimpl,
    loss_by_name,
    minimize_on_sphere,
    neurons_from_matrix,
    smat,
    svec,
    svec_indices,
)

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)
UNIT = 1e-12
"""How far from 1 rounding may leave the length of a neuron."""


@dataclass(frozen=True, eq=False)
class PositiveSDP:
    """Train a two-layer polynomial network with positive output weights to global optimality.

    The network is ``f(x) = sum_j alpha_j s(x'u_j)`` with ``s(t) = a t^2 + b t + c``, ``||u_j||_2 = 1`` and ``alpha_j >=
    0``; as a > 0, f is convex, and what it takes for negative is a convex set. The objective

        mean_i loss(y_i f(x_i)) + beta sum_j alpha_j

    equals the value of the semidefinite programme, with ``A(x) = [[a xx', (b/2) x], [., c]]``,

        min  mean_i loss(y_i <A(x_i), Z>) + beta Z_44    s.t.  Z psd of order d + 1,  tr Z_11 = Z_44,

    where index 4 is the last row and 11 the leading d x d block.

    The lower bound: for any theta_i in the domain of the loss's conjugate, and ``G = sum_i theta_i y_i A(x_i)``,

        objective  >=  sum_j alpha_j (beta - [u_j; 1]'G[u_j; 1]) - mean_i loss*(-n theta_i)

    by Fenchel's inequality. The sum is at least 0 for all networks once theta is scaled by ``s <= beta / gamma`` with
    ``gamma = max(0, max_{||u|| = 1} [u; 1]'G[u; 1])``: one maximum where weights of both signs need two.

    Args:
        X: Inputs, shape (n, d).
        y: Labels -1 or +1, shape (n,).
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``.
        activation: (a, b, c) with a > 0.

    Raises:
        InputError: Data or parameters are unusable.
    """

    X: Any
    y: Any
    beta: float = 1e-2
    loss: str = "hinge"
    activation: tuple[float, float, float] = (0.09, 0.5, 0.47)

    losses: ClassVar[tuple[str, ...]] = ("hinge", "squared_hinge", "logistic")

    def __post_init__(self) -> None:
        loss_by_name(self.loss, self.losses)
        X, y = np.array(self.X, dtype=np.float64), np.array(self.y, dtype=np.float64)
        if X.ndim != 2 or 0 in X.shape or not np.isfinite(X).all():
            raise InputError(f"X has shape {X.shape}; expected finite numbers, shape (n, d).")
        if y.shape != X.shape[:1] or not np.isin(y, (-1.0, 1.0)).all():
            raise InputError(f"y has shape {y.shape} and values {np.unique(y)[:5]}; expected -1 or +1 per row of X.")
        if not (self.beta > 0.0 and math.isfinite(self.beta)):
            raise InputError(f"beta is {self.beta!r}; expected a number above 0.")
        a, b, c = (float(value) for value in self.activation)
        if not (a > 0.0 and math.isfinite(a + b + c)):
            raise InputError(f"activation is {self.activation!r}; expected finite (a, b, c) with a > 0.")
        for name, value in {"X": X, "y": y, "activation": (a, b, c)}.items():
            object.__setattr__(self, name, value)

    # -- the programme ------------------------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[Self, ...]:
        """The problem alone: it knows two classes only."""
        return (self,)

    @property
    def cones(self) -> frozenset[type]:
        """The cone types of its programme."""
        return frozenset({Zero, NonNegative, PSD} | {type(cone) for cone in self._block.cones})

    @property
    def conic_rows(self) -> int:
        """Rows of `to_conic`."""
        n: int = self.y.size
        return 1 + n + self._block.rhs.size + self._order.dim

    def to_conic(self) -> ConicProgram:
        """Variables: svec of Z, then the loss's. Rows: the trace, the margins, the loss's, Z psd."""
        block, order = self._block, self._order
        signature, corner = np.eye(order.order), np.zeros(order.dim)
        signature[-1, -1], corner[-1] = -1.0, 1.0
        blocks: list[list[Any]] = [
            [svec(signature)[None, :], None],
            [-self.y[:, None] * self._features(), block.lift],
            [None, block.rows],
            [-sparse.eye_array(order.dim), None],
        ]
        A = sparse.csc_array(sparse.bmat(blocks))
        b = np.concatenate([[0.0], -block.shift, block.rhs, np.zeros(order.dim)])
        cones: tuple[Cone, ...] = (Zero(1), NonNegative(self.y.size), *block.cones, order)
        return ConicProgram(np.concatenate([self.beta * corner, block.cost]), A, b, cones, block.offset)

    def to_structured(self) -> None:
        """None: the structured programmes of cvxrobust have weights of both signs."""
        return None

    def to_cvxpy(self) -> Any:
        """The formulas above, for reading."""
        import cvxpy

        (a, b, c), d = self.activation, self.X.shape[1]
        Z = cvxpy.Variable((d + 1, d + 1), PSD=True)
        outputs = (
            a * cvxpy.sum(cvxpy.multiply(self.X @ Z[:d, :d], self.X), axis=1) + b * self.X @ Z[:d, d] + c * Z[d, d]
        )
        margins = cvxpy.multiply(self.y, outputs)
        losses = {
            "hinge": lambda: cvxpy.sum(cvxpy.pos(1 - margins)),
            "squared_hinge": lambda: cvxpy.sum_squares(cvxpy.pos(1 - margins)),
            "logistic": lambda: cvxpy.sum(cvxpy.logistic(-margins)),
        }
        objective = losses[self.loss]() / self.y.size + self.beta * Z[d, d]
        return cvxpy.Problem(cvxpy.Minimize(objective), [cvxpy.trace(Z[:d, :d]) == Z[d, d]])

    # -- networks -----------------------------------------------------------------------------------------------

    def recover(self, solution: Solution) -> PolynomialNetwork:
        """A network from a primal solution of `to_conic`, exactly feasible whatever its residuals.

        Raises:
            InputError: The solution holds no finite primal point.
        """
        if solution.x is None or not solution.has_primal:
            raise InputError("the solution holds no finite primal point to recover a network from.")
        u, alpha = neurons_from_matrix(smat(solution.x[: self._order.dim]))
        return PolynomialNetwork(u, alpha, self.activation)

    def trivial_network(self) -> PolynomialNetwork:
        """The network without neurons."""
        return PolynomialNetwork(np.empty((0, self.X.shape[1])), np.empty(0), self.activation)

    def objective(self, network: PolynomialNetwork) -> float:
        """The training objective, from its definition.

        Raises:
            InputError: The network is not of this family.
        """
        (own,) = self.separate(network)
        return float(np.mean(self._loss.value(self._margins(own), self.y))) + self.beta * own.penalty

    def combine(self, networks: list[PolynomialNetwork]) -> PolynomialNetwork:
        """The network of the only part."""
        (network,) = networks
        return network

    def separate(self, network: TwoLayerNetwork) -> list[PolynomialNetwork]:
        """The network, if it is of this family.

        Raises:
            InputError: It is not.
        """
        if not isinstance(network, PolynomialNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a PolynomialNetwork.")
        shape = (network.n_neurons, self.X.shape[1])
        if network.u.shape != shape or network.alpha.shape != shape[:1] or network.activation != self.activation:
            raise InputError("the network has another number of inputs or outputs, or another activation.")
        if (network.alpha < 0.0).any() or (np.abs(np.linalg.norm(network.u, axis=1) - 1.0) > UNIT).any():
            raise InputError("the network has a negative output weight, or a neuron that is no unit vector.")
        return [network]

    # -- the certificate ----------------------------------------------------------------------------------------

    def multipliers(self, solution: Solution) -> Array:
        """theta: the duals of the margins' rows."""
        if solution.y is None or not solution.has_dual:
            return self.network_multipliers(self.trivial_network())
        return solution.y[1 : 1 + self.y.size]

    def network_multipliers(self, network: PolynomialNetwork) -> Array:
        """``theta_i = -loss'(margin_i) / n``, which needs no solver."""
        slopes = self._loss.derivative(self._margins(network), self.y)
        return np.asarray(-slopes / self.y.size)

    def multiplier_candidates(
        self, solution: Solution, network: PolynomialNetwork, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Array]:
        """The solver's, and the network's own; neither takes long to make."""
        if solution.has_dual:
            yield self.multipliers(solution)
        yield self.network_multipliers(network)

    def lower_bound(self, multipliers: Array) -> float:
        """The bound of the class's derivation, from any numbers: they are repaired first."""
        loss, d = self._loss, self.X.shape[1]
        theta = loss.clip(np.where(np.isfinite(multipliers), multipliers, 0.0))
        lifted = np.hstack([self.X, np.ones((self.y.size, 1))])
        C = coefficients(self.activation, d)
        G = C * (lifted.T @ ((theta * self.y)[:, None] * lifted))
        # [u; 1]'G[u; 1] is at most G_dd minus the minimum of -u'G_11 u - 2 g'u, of which `dual` is a lower bound.
        found = minimize_on_sphere(-G[:d, :d], -G[:d, d][None, :])
        mass = float(theta @ (lifted * lifted).sum(axis=1)) * float(np.abs(C).max())
        gamma = max(float(G[d, d] - found.dual[0]), 0.0) + 8.0 * EPS * (math.sqrt(theta.size) + d) * mass
        if not math.isfinite(gamma):
            return loss.bound(np.zeros_like(theta), self.y)
        scale = loss.best_scale(theta, self.y, self.beta / gamma if gamma > 0.0 else math.inf)
        value = loss.bound(scale * theta, self.y)
        return value - 4.0 * EPS * math.sqrt(theta.size) * abs(value)

    # -- pieces -------------------------------------------------------------------------------------------------

    @property
    def _loss(self) -> Loss:
        return loss_by_name(self.loss)

    @property
    def _block(self) -> LossBlock:
        return self._loss.block(self.y)

    @property
    def _order(self) -> PSD:
        return PSD(self.X.shape[1] + 1)

    def _features(self) -> Array:
        """``svec(A(x))`` of each sample, so that ``f(x) = features @ svec(Z)``."""
        lifted = np.hstack([self.X, np.ones((self.y.size, 1))])
        rows, columns, weights = svec_indices(self._order.order)
        scaled = coefficients(self.activation, self.X.shape[1])[rows, columns] * weights
        return np.asarray(lifted[:, rows] * lifted[:, columns] * scaled)

    def _margins(self, network: PolynomialNetwork) -> Array:
        return np.asarray(self.y * network.decision_function(self.X))


def _positive_sdp() -> type[PositiveSDP]:
    return PositiveSDP


@hookimpl
def cvxrobust_problems() -> list[ProblemDescription]:
    """The family, for the registry; the command line may set what `parameters` names."""
    summary = "polynomial activation, positive output weights: convex scores"
    return [
        ProblemDescription("positive-sdp", _positive_sdp, summary, ("beta", "loss", "activation"), api_version=1),
    ]
