"""Polynomial training in rank(X) + 1 coordinates: exactly the same problem, unattacked, in balls or few directions.

Let V (d, k) be an orthonormal basis of the span of the rows, k < d. Orthogonal maps of the complement leave the data,
the l2 balls around it and the penalty alone, and the objective is convex in Z and Z', so that an optimal Z may be
averaged over them:

    Z = [[V A V' + tau (I - VV'), V b], [., c]],     tr A + (d - k) tau = c.

**Without an adversary** the loss sees A, b and c alone; for the trace of the rest one number stands. In neurons: the
loss sees u as ``x_i'u = (V'x_i)'p`` with ``p = V'u``, and of ``||u|| = 1`` there remains ``||p|| <= 1``. The data ``[X
V, 0]`` says that: a unit neuron ``(p, q)`` in k + 1 coordinates has any such p, and q, which meets zeros only, is what
its length lacks. Without that column ``||p|| = 1`` would be another problem, whose optimum may be higher. Back in d
inputs each neuron is ``u = V p + q w``, w one unit vector orthogonal to the rows (`RowSpan.normal`) for all neurons.
Any w, or a w for every neuron, gives the same outputs on the data and the same penalty, so the network is as optimal as
any.

**Attacked** in l2 balls, samples leave the span, by ``D = V e + w`` with ``||e||^2 + ||w||^2 <= r^2``, and there they
see ``tau ||w||^2``. With ``Q = (d - k) tau`` for the last diagonal entry of a Z of the k + 1 coordinates, that is what
an attack ``||w|| / sqrt(d - k)`` on the last one sees: the same data, attacked in the ellipsoid of ``S = diag(1, ...,
1, 1 / sqrt(d - k))``. What such a Z may have beside the diagonal in its last column, neither the data nor the trace
knows; averaged over both signs of the last coordinate it is 0, and no worst case is worse for it. Back in d inputs each
neuron (p, q) becomes ``V p``, and what it lacks in length is spread evenly over the complement
(`PolynomialNetwork.complement`): one direction for all, which would do on the data, would be bent d - k times as much.

**Attacked in few directions**, ``D = S e`` with S (d, q), samples never leave the span of the rows and the columns of
S. Let V be a basis of that: objective and constraints see of u only V'u, as without an adversary, so that the data ``[X
V, 0]`` attacked in the ellipsoid of ``[V'S; 0]`` says it all, and a neuron is ``V p + q w``. A mask that leaves q
inputs open is that, too.

**Attacked in a mask**, or with any scales that are the same, s, for all inputs but a few: V has the span of what the
rows have of the many, and the few as they are. Orthogonal maps of the complement, which lies in the many, leave
attacks alone, and what they see of it is as in balls, s as much of it (`Complement.share_of`).

**Certificate.** In ``gamma = max_{||u|| = 1} |sum_i w_i y_i E s(u'(x_i + D_i))|`` take for an attack (e, f) in the ball
of the k + 1 coordinates, or a random one of these moments, ``D_i = V e + f w`` with w random, uniform on the unit
vectors of the complement. With ``p = V'u`` and q the length of the rest of u, the mean over w is that of ``s(p'(c_i +
e) +- q f / sqrt(d - k))`` over both signs, ``c_i = V'x_i``: gamma is at most what it is in the k + 1 coordinates, cross
terms of the last one left out or not. Rounding: u meets ``x_i + V e`` as the unit vector (p, q) that is next to ``(V'u,
q)`` meets ``c_i + e``, up to ``t_i = RowSpan.uncertainty`` for twice the radius, which shortens attacks that V
stretches, too. So gamma may lack

    sum_i |w_i| (t_i (|a| (2 l_i + 3 t_i) + |b|) + |a| skew r_i^2),     l_i = ||c_i|| + r_i.

In directions attacks are ``S e`` in either coordinates and nothing is shortened; ``t_i`` allows for what S has outside
the span as well (`attacked_span.uncertainty_under`), and l_i for the length of S.

Source: Bartan and Pilanci, arXiv:2101.02429, and Kuelbs, Lall and Pilanci, arXiv:2405.14033, for the programmes; the
reduction is ours.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.quadratic import lacking
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.recovery import neurons_from_matrix
from cvxrobust.core.validation import frozen
from cvxrobust.problems.data.attacked_span import uncertainty_under
from cvxrobust.problems.data.row_span import EPS, RowSpan

Array = NDArray[np.float64]

NOISE = 1e-14
"""Eigenvalues of an averaged Z below this fraction of the largest are rounding."""


def padded(span: RowSpan) -> Array:
    """``[X V, 0]``, shape (n, k + 1)."""
    return np.hstack([span.coordinates, np.zeros((span.coordinates.shape[0], 1))])


def attack_within(span: RowSpan, attack: AttackBall) -> AttackBall:
    """What attacks, in l2 balls or in few directions, are in the coordinates of `padded`."""
    if not leaves(span, attack) and attack.present:
        inside = np.vstack([span.projected(attack.spanned(None).T).T, np.zeros(attack.dimension)])
        return replace(attack, attackable=span.rank + 1, ellipsoid=Ellipsoid(directions=frozen(inside)))
    inner = replace(attack, attackable=span.rank + 1, ellipsoid=None)
    if not attack.present:
        return inner
    far = span.complement.share_of(attack.ellipsoid) or 0.0
    scale = np.full(span.rank + 1, far)
    scale[-1] *= _share(span)
    if attack.ellipsoid is not None:
        inputs, columns = span.complement.axes
        scale[columns] = attack.ellipsoid.scale[inputs]
    return replace(inner, ellipsoid=Ellipsoid(frozen(scale), spare=attack.ellipsoid is None))


def leaves(span: RowSpan, attack: AttackBall) -> bool:
    """Whether attacks leave the span, in all directions alike, so that networks are spread over what is outside."""
    return attack.present and bool(span.complement.share_of(attack.ellipsoid))


def span_of_ball(span: RowSpan, attack: AttackBall) -> RowSpan:
    """The span that attacks that leave it have in the coordinates of their ball, as theirs in the programme are."""
    if attack.ellipsoid is None:
        return span
    inputs, columns = span.complement.axes
    still = attack.ellipsoid.scale[inputs] == 0.0
    basis = np.delete(span.basis, columns[still], axis=1)[attack.ellipsoid.kept]
    return replace(span, basis=np.ascontiguousarray(basis))


def points_within(span: RowSpan, points: Array, *, leaving: bool = True) -> Array:
    """Attacked points of d inputs, shape (m, d), in the coordinates of `padded`, one of the two that it stands for.

    Args:
        span: The span.
        points: The points.
        leaving: Whether attacks leave the span at all.
    """
    rest = _share(span) * span.complement.lengths(points) if leaving else np.zeros(points.shape[0])
    return np.hstack([span.projected(points), rest[:, None]])


def evened(second_moments: Array) -> Array:
    """Second moments in the coordinates of `padded`, shape (k + 2, k + 2), averaged over both signs of the last one."""
    found, last = second_moments.copy(), second_moments.shape[0] - 2
    mass = found[last, last]
    found[last] = found[:, last] = 0.0
    found[last, last] = mass
    return found


def _share(span: RowSpan) -> float:
    """``1 / sqrt(d - k)``."""
    return float(span.complement.dimension**-0.5)


def neurons_within(span: RowSpan, u: Array) -> Array:
    """Unit neurons ``(p, q)`` that do on the data what the unit neurons u do, shape (m, d) to (m, k + 1)."""
    inside = span.projected(u)
    outside = np.linalg.norm(u - span.lifted(inside), axis=1)
    return _unit(np.hstack([inside, np.copysign(outside, u @ span.normal)[:, None]]))


def neurons_outside(span: RowSpan, u: Array) -> Array:
    """Unit neurons ``V p + q w`` from unit neurons (p, q), shape (m, k + 1) to (m, d)."""
    return _unit(u @ np.column_stack([span.basis, span.normal]).T)


def network_within(span: RowSpan, network: PolynomialNetwork, *, attacked: bool) -> PolynomialNetwork:
    """A network in the coordinates of `padded`, no worse on the data.

    Args:
        span: The span.
        network: A network of d inputs and one output.
        attacked: Whether there are attacks that leave the span, under which it has to be averaged.
    """
    if network.complement is None and not attacked:
        return replace(network, u=neurons_within(span, network.u), ellipsoid=None)
    return _averaged(network, span)


def network_outside(span: RowSpan, network: PolynomialNetwork, *, attacked: bool) -> PolynomialNetwork:
    """The network of d inputs that one in the coordinates of `padded` stands for."""
    if not attacked:
        return replace(network, u=neurons_outside(span, network.u), ellipsoid=None)
    inside = span.lifted(_unit(network.u)[:, :-1])
    return replace(network, u=inside, ellipsoid=None, complement=span.complement)


def of_unit_neurons(network: PolynomialNetwork) -> PolynomialNetwork:
    """The same network of one output, of unit neurons alone: by matrices of the order of its inputs."""
    return network if network.complement is None else _averaged(network, None)


def _averaged(network: PolynomialNetwork, span: RowSpan | None) -> PolynomialNetwork:
    """The mean of a network over the orthogonal maps of the complement, in the coordinates of `padded`.

    Args:
        network: Its neurons may be spread, over whatever complement.
        span: The span; None for all of the inputs, which have no complement.
    """
    own, short = network.complement, lacking(network.u)
    inside = network.u if span is None else span.projected(network.u)
    order = inside.shape[1]
    spread = np.zeros((order, order))
    if own is not None:
        tilted = own.basis if span is None else span.projected(own.basis.T).T
        spread = (np.eye(order) - tilted @ tilted.T) / own.dimension
    parts = []
    for sign in (1.0, -1.0):
        weights = np.maximum(sign * network.alpha, 0.0)
        block = (inside.T * weights) @ inside
        if own is not None:
            block += float(weights @ short) * spread
        Z = np.zeros((order + (span is not None) + 1,) * 2)
        Z[:order, :order], Z[-1, -1] = block, weights.sum()
        Z[:order, -1] = Z[-1, :order] = weights @ inside
        if span is not None:
            Z[order, order] = max(float(weights.sum() - np.trace(block)), 0.0)
        parts.append(neurons_from_matrix(Z, NOISE))
    (up, positive), (down, negative) = parts
    return replace(
        network, u=np.vstack([up, down]), alpha=np.concatenate([positive, -negative]), ellipsoid=None, complement=None
    )


def outputs_allowance(network: PolynomialNetwork, X: Array) -> Array:
    """At least what rounding may add to the outputs of a network with unit neurons, shape (n,); for X of shape (n, d).

    Products with the neurons cost n d each; the span of the neurons, which attacks need, would cost d times their
    number squared.
    """
    (a, b, c), (m, d) = network.activation, network.u.shape
    lengths = np.linalg.norm(X, axis=1)
    sizes = 3.0 * abs(a) * lengths**2 + 2.0 * abs(b) * lengths + abs(c)
    return np.asarray((8.0 + d**0.5 + m**0.5) * EPS * float(np.abs(network.alpha).sum()) * sizes)


def slack(span: RowSpan, weights: Array, activation: tuple[float, float, float], attack: AttackBall) -> float:
    """What gamma may lack in the coordinates of `padded`.

    Args:
        span: The span.
        weights: What the multipliers of each sample weigh, shape (n,).
        activation: (a, b, c).
        attack: The attacks on the samples.
    """
    (a, b, _), radius = activation, attack.radius
    reach = attack.euclidean_reach * radius
    if leaves(span, attack):
        away, shortened = span.uncertainty(2.0 * reach), abs(a) * span.skew * reach**2
    else:
        away, shortened = uncertainty_under(attack, span), np.zeros_like(radius)
    lengths = np.linalg.norm(span.coordinates, axis=1) + reach
    return float(np.abs(weights) @ (away * (abs(a) * (2.0 * lengths + 3.0 * away) + abs(b)) + shortened))


def _unit(u: Array) -> Array:
    lengths = np.sqrt(np.einsum("ij,ij->i", u, u))[:, None]
    return np.asarray(u / np.where(lengths > 0.0, lengths, 1.0))
