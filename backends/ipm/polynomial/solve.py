r"""A structured primal-dual interior-point method for polynomial networks, standard or attacked.

1. **The programme.** With ``T = Z - Z'``, ``C`` the coefficients of the activation
   (`core.certificate.coefficients`), o the entrywise product, ``J = diag(I, -1)``, e the last unit vector and m = d
   + 1:

       min  mean_i loss(w_i) + beta (Z_mm + Z'_mm)      s.t.  Z, Z' psd,  <J, Z> = <J, Z'> = 0,  lam_i >= 0,
            M_i = y_i E_i'(C o T)E_i + lam_i J - w_i ee'  psd,      E_i = [[r_i I, x_i], [0, 1]].

   This is the S-procedure (Yakubovich 1971; lossless for one quadratic constraint; Polik and Terlaky 2007, SIAM
   Rev. 49) for ``w_i <= min y_i f(x_i + r_i D)`` over ``||D|| <= 1``, attacks in units of the radius, which keeps
   tiny radii harmless. Samples without attack have ``w_i = y_i <A(x_i), T>`` and no matrix (with the squared loss
   no y_i, either). Multipliers: U, U' of Z, Z'; nu, nu' of the equations; X_i of M_i; alpha_i of lam_i.
   Stationarity:

       beta ee' + nu J - F = U,   beta ee' + nu' J + F = U',   F = sum_i y_i C o (E_i X_i E_i'),
       theta_i := (X_i)_mm = -loss'(w_i) / n,   theta_i - tr (X_i)_11 = alpha_i.

   So X_i is theta_i times the moment matrix of a random attack, ``X_i = [[S + theta a a', theta a], [., theta]]``
   with mean a and covariance S / theta, and its trace is that of attacks inside the ball. Scaled into these
   constraints, the X_i of *every* iterate prove a lower bound (`certify`); T gives a network and the
   upper bound.

2. **Arrow form.** All ``(M_i)_11 = y_i r_i^2 a T_11 + lam_i I`` have the eigenvectors of T_11. In that frame
   (samples and duals are rotated into it every iteration) they are diagonal, D_i. The shear that moves the origin
   to ``p_i = -D_i^-1 g_i`` (g_i the side of M_i; p_i is the attack that belongs to lam_i) makes M_i ``diag(D_i,
   s_i)``, at a cost of O(d). The same shear takes X_i to ``[[S + theta h h', theta h], [., theta]]`` with ``h = a -
   p``, which vanishes on the central path, where ``X_i = mu M_i^-1`` is diagonal.

3. **Direction.** Helmberg, Rendl, Vanderbei and Wolkowicz (1996), Kojima, Shindoh and Hara (1997), Monteiro (1997):
   ``dX = mu' M^-1 - X - sym(X dM M^-1)``. It is invariant under the shear, so is taken there. For Z and Z', of which
   there are only two, Nesterov and Todd (1997). Predictor and corrector as Mehrotra (1992).

   *Weights.* The barriers do not count alike: with mu the complementarity of the losses' own pairs, that of Z and Z' is
   ``mu max(1, n / 100)``, that of the inequalities ``mu / (2 sqrt(m))``. A loss is a mean over n samples, so beside
   one matrix Z its cones shrink as 1 / n; and an inequality of order m, with m times mu in the gap, would leave
   its sample's hinge with a mu so small that each change of sign along the way takes a step of its own. With equal
   weights 5,000 images of MNIST take 43 iterations instead of 16, digits 19 instead of 14.

   *Most samples cheaply.* In arrow form a sample near its central path has a diagonal X_i. Such are those that no
   attack moves into the loss (theta near zero) and those that every attack leaves there (saturated): in the end all
   but a few. Where the correlations of S are weak (`covariances`), the linear part of the direction takes S for
   diagonal, and what it leaves out, E, counts with Mehrotra's second-order terms: the corrector aims at ``-sym((dX +
   E) dM M^-1)``, dX and dM of the direction before. Their covariances cost O(n d p) instead of O(n p^2), without a
   product with each of them, and dual feasibility, which bounds rest on, holds as before.

4. **Elimination.** Let ``V = C o dT``, ``z = [x + r p; 1]``, ``zb = [x + r a; 1]``. The quadratic form that sample
   i adds to the Newton system, w_i eliminated, is a sum of squares,

       sum_k (1 / D_k) (dD S dD)_kk + theta ||gb||^2_{D^-1} + (1/s) ||gh||^2_S + kb b^2,      where
       dD = y r^2 V_11 + dlam I,                              b  = y zb'V z + dlam (a'p - 1),
       gh = y r (V z)_1 + dlam p,                             gb = y r (V zb)_1 + dlam a,
       1/kb = s/theta + 1/kappa,

   kappa the curvature that the loss's own cones leave (hinge: 1/kappa = xi/bxi + sl/theta for its two slacks).
   dlam is one more scalar. Let ``2 q dlam + omega dlam^2`` be its part of the first three terms and of its own pair,
   and ``b = b_0 + o dlam``. Without it the first three lose ``q^2 / omega``, and the last becomes

       k (b_0 - o q / omega)^2,     1/k = 1/kb + o^2 / omega.

   Nothing large is subtracted from anything large: the parallel sums kb and k replace differences such as ``theta/s
   - (theta/s)^2 / (theta/s + kappa)``. The blocks of the new X follow in the same coordinates:

       theta+ = theta_0 - kb b,     side+ = h_0 - (S gh / s + h (c_0 - theta+) + theta D^-1 gb) / 2,
       block+ = P_0 - sym((S dD + theta h gb') D^-1),

   with (P_0, h_0, c_0) = mu' M^-1 less Mehrotra's correction.

   *Assembly.* ``tr(Y T W T)`` is a Kronecker product; sums of these over the samples are products of matrices whose
   columns are triangles of Y_i and W_i, p x n with ``p = m (m + 1) / 2`` (`triangles.Triangle.sandwich` folds the
   result). Where S is diagonal, as D is, the first three terms need ``2 n d p + d p^2`` operations; the correlations
   of w samples are one product of (p x w) matrices; k (..)^2 and q^2 / omega are one symmetric rank-n update each. In
   all ``(n + w) p^2`` multiplications instead of the n p^2 m of n unrelated inequalities, and memory for 5 p^2 +
   (6 n + 2 w) d^2 doubles and one block of samples.

   *Z and Z'.* With scaling points G, G' the system reads, r the response of the samples (``r = H dT``),

       dZ = G (g - nu J - r) G,   dZ' = G' (g' - nu' J + r) G',   dT = dZ - dZ'.

   R with ``G = R R'`` and ``G' = R D R'`` turns ``(G (x) G + G' (x) G')^-1`` into the diagonal 1 / (1 + D_k D_l):
   so p unknowns remain, not 2 p, and dZ, dZ' cost nothing. Everything above is assembled in the basis R. Two more
   right-hand sides border the system with nu, nu'. These are iterates: solved for afresh they would make the
   right-hand sides larger by 1 / mu, and rounding with them.

   *Few samples, no attack.* The system is factored over the samples instead (n^2 m + n^3 / 3, `KernelSchur`): its
   matrix is a polynomial of the Gram matrices of the samples in both scalings.

   *Inputs of very different scales.* Columns from 1e-3 to 1e4 are the same problem for every step, which does not care
   about coordinates, but not for a start, nor for rounding. So Z and Z' start along the axes of the inputs' second
   moments, each as long as outputs leave room for; without attack nothing is turned into another frame; once the
   factored system leaves residuals of 1e-8, its rows are factored as they are (`RowsSchur`, `AttackedRows`) instead of
   their squares, and multipliers follow from the rows' values; margins of attacked samples give way where s, computed
   from T anew, is negative by rounding; margins of smooth losses are moved by steps, not computed from T anew, since
   multipliers must balance large inputs to their last digits; and bounds are summed to twice the working precision
   (`core.programs.polynomial.exact_gram`). On 200 x 10 inputs of that kind squared losses ended at gaps of 2e-6 to
   1e-5 after some 40 iterations, and now reach 1e-6 in 20 to 30; attacked hinges ended at 1e-6 to 1e-3, and reach it
   in 15 to 40.

   Solutions are refined with the operator applied sample by sample (O(n d^2)), until what is missing in dual
   feasibility is negligible.

5. **Losses.** hinge: slacks xi and ``xi - 1 + w``; squared hinge: quadratic in xi, one slack; logistic and squared:
   smooth, their own Newton terms. Where optimality conditions are not linear, primal and dual steps are equal. The
   weight of a sample divides the n of its own loss and multiplies its barriers: as if it came so many times.
   Losses of targets with a kink, or that end in lines, have a slack for either sign of what is not squared
   (`cvxrobust.backends.ipm.residual_sides`).

   *Targets under attack* have two inequalities per sample, with +1 and -1 in the place of y_i, and one loss of ``rho_i
   >= y_i - w_i, -w'_i - y_i`` (`cvxrobust.backends.ipm.worst_sides`). Given rho_i the two rows know nothing of each
   other, and all of the above holds for either: dw becomes dw + drho in kappa's equation, b becomes b + drho. What is
   left of both, ``k (b_0 - o q / omega + drho)^2``, and of the loss in rho_i, ``B drho^2``, are two squares once drho
   is eliminated, again without differences (`cvxrobust.backends.ipm.loss_sides.Joint`).

6. **Ellipsoids.** Attacks ``D = r S e`` have q coordinates of their own: ``E_i = [[r_i S, x_i], [0, 1]]``, M_i and X_i
   are of order q + 1, and the frame diagonalises ``S'T_11 S``. Inputs, Z and Z' stay as they are then and S turns
   (`samples.AttackedData`). All formulas above hold with S'V_11 S for V_11, S' before vectors of inputs, and S before
   attacks.

7. **More inputs.** Beyond `FULL` inputs the network is searched in a growing subspace (`subspace`).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.backends.ipm.polynomial.certify import DualPoint, PrimalPoint
from cvxrobust.backends.ipm.polynomial.iteration import PolynomialMethod
from cvxrobust.backends.ipm.polynomial.subspace import SubspaceMethod
from cvxrobust.core import InputError, Monitor, PolynomialNetwork, PolynomialProgram, Settings, Solution, Termination
from cvxrobust.core.kit import BestSoFar
from cvxrobust.core.programs.rows import row_blocks

Array = NDArray[np.float64]

MOST = 200
"""Iterations, unless the settings say otherwise; 10 to 25 are usual."""

MOST_IN_SUBSPACES = 3_000
"""The same over all subspaces; some 10 in each are usual."""

FULL = 100
"""Inputs up to which the whole problem is solved at once."""

LARGE = 5_000
"""Order of the reduced system up to which the same holds for problems without attack, whatever the inputs."""


def solve_polynomial(
    program: PolynomialProgram,
    settings: Settings,
    monitor: Monitor,
    start: PolynomialNetwork | None = None,
    device: str = "cpu",
) -> Solution:
    """Train one network to a certified relative gap.

    Args:
        program: One column of labels; inputs that come in blocks are read into memory.
        settings: Tolerance and limits.
        monitor: Stops the solve and hears of certified bounds.
        start: A network to start from.
        device: A torch device.

    Raises:
        InputError: There are several columns of labels.
    """
    if program.labels.ndim != 2 or program.labels.shape[1] != 1:
        raise InputError(f"labels have shape {program.labels.shape}; expected one column, (n, 1), per solve.")
    X = np.concatenate([np.asarray(block, dtype=np.float64) for _, block in row_blocks(program.X)])
    kind = SubspaceMethod if _in_subspace(program, X, settings) else PolynomialMethod
    most = settings.max_iterations or (MOST_IN_SUBSPACES if kind is SubspaceMethod else MOST)
    progress: BestSoFar[PrimalPoint, DualPoint] = BestSoFar(settings, monitor, most)
    # Points far outside overflow on the way; what is not finite is never better.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), torch.inference_mode():
        method = kind(program, X, progress, torch.device(device))
        progress.answer = lambda primal, dual: _so_far(method, primal, dual)
        termination = method.run(start)
        network, multipliers = _answer(method, settings)
    return Solution(
        termination,
        network=network,
        multipliers=multipliers,
        iterations=method.iterations,
        message=method.message,
        applied={**progress.limits, "device": device},
    )


def _in_subspace(program: PolynomialProgram, X: Array, settings: Settings) -> bool:
    """Whether to search in a growing subspace: as the options say, else by size."""
    asked = settings.options.get("subspace")
    if asked is not None:
        return bool(asked)
    n, d = X.shape
    attacked = program.attack.present
    return d > FULL and (attacked or min(n, d * d // 2) > LARGE)


def _so_far(method: PolynomialMethod | SubspaceMethod, primal: PrimalPoint, dual: DualPoint | None) -> Solution:
    """The best network and multipliers in the midst of a solve."""
    multipliers = None if dual is None else method.bounds.multipliers(dual)
    return Solution(Termination.TIME_LIMIT, network=primal.network, multipliers=multipliers)


def _answer(method: PolynomialMethod | SubspaceMethod, settings: Settings) -> tuple[PolynomialNetwork, Any]:
    """The best network, without neurons that are noise, and the best multipliers."""
    progress, bounds = method.progress, method.bounds
    assert progress.primal is not None
    assert progress.dual is not None
    gap = max(settings.tolerance * abs(progress.upper), 1.05 * progress.certificate.absolute_gap)
    network = bounds.simplest(progress.primal, progress.lower + 0.9 * gap)
    return network, bounds.multipliers(progress.dual)
