"""ReLU training in the span of the rows, where nobody attacks or attacks are l2 balls: exactly the same problem.

Let V (d, k) be an orthonormal basis of the span of the rows. With gates given, objective and constraints of the gated
programmes (`cvxrobust.core.programs.gated.evaluation`) know a slot's vector v by ``x_i'v``, by ``||v||_2`` in the
penalty and, under attack, by ``||v||_2`` and ``||sum_k s_k g_ik v_k||_2``. Replacing every v by ``VV'v`` leaves the
first alone and makes no norm longer, in all three formulations: an optimum lies in the span, and ``v = V p`` with the
data ``X V`` is the same programme in k coordinates. (Averaging over the reflections of the complement says the same of
the nonconvex problem.) Attacks in the other norms see more of v than that. Those in ellipsoids, ``D = S e``, see S'v:
where they go in few directions, the span of the rows and of the columns of S does as well, and the ellipsoid there is
that of V'S.

A bias is a coordinate of its own, beside V, not in it: spanning the rows ``[x_i, 1]`` instead would tie it to the
inputs, which an adversary touches and the bias not. Then ``x = (1, 0)``, radius .9, beta .01 would have the optimum
.01286 instead of .00995.

Gates are drawn, counted and compared with the data as it was given, before any of this: the same seed, the same gates.

**Certificate.** Vectors ``B_k`` are V times those in the k coordinates but for what rounding leaves of it, so bounds
allow for `RowSpan.uncertainty` (`GatedProgram.uncertainty`), and so do cone constraints, whose violation by that much
counts as rounding. The objective of a network is evaluated on the data as it was given.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.problems.data.row_span import DEPENDENT, RowSpan

Array = NDArray[np.float64]


def network_within(span: RowSpan, network: ReLUNetwork) -> ReLUNetwork:
    """The network with the projections of its neurons onto the span, in its coordinates; biases stay, no shape does."""
    d = network.n_features
    return replace(network, u=np.hstack([span.projected(network.u[:, :d]), network.u[:, d:]]), ellipsoid=None)


def network_outside(span: RowSpan, network: ReLUNetwork) -> ReLUNetwork:
    """The network of d inputs that one in the coordinates of the span stands for."""
    k = network.n_features
    return replace(network, u=np.hstack([span.lifted(network.u[:, :k]), network.u[:, k:]]))


def is_within(span: RowSpan, network: ReLUNetwork) -> bool:
    """Whether the neurons lie in the span, up to rounding, so that nothing is lost in its coordinates."""
    V = network.u[:, : network.n_features]
    rest = np.linalg.norm(V - span.lifted(span.projected(V)), axis=1)
    return bool((rest <= DEPENDENT * np.linalg.norm(V, axis=1)).all())
