"""A primal-dual interior-point method for gated ReLU programmes that never assembles them.

Notation of `cvxrobust.core.programs.gated.evaluation`: samples i, slots k with vectors u_k (and outputs, whose index is
left out here), ``H_i = sum_k s_k g_ik u_k``, ``sigma = 2 g - 1``, N the dual norm of the attack, d the coordinates it
can touch.

**The programme.** Minimise ``beta sum_k t_k + sum_i loss`` over u and further variables, subject to slacks in cones
(`model` lists them by name):

- ``t_k >= ||u_k||_2``: a second-order cone;
- ``c_k >= N(u_k)`` and ``h_i >= N(H_i)`` where attacked: a second-order cone against attacks in the 2-norm, linear
  otherwise (`epigraph`);
- cones: ``sigma_ik x_i'u_k - r_i c_k >= 0``;
- one-sided, where k is harmful to i: ``e_ik >= 0`` and ``e_ik >= -sigma_ik x_i'u_k + r_i c_k``;
- with ``m_i = y_i x_i'H_i - r_i h_i - sum_k e_ik``: hinge ``xi_i >= 0, xi_i >= 1 - m_i`` at cost xi / n, squared hinge
  the second alone at cost xi^2 / n; the logistic loss of m_i is smooth;
- losses of targets: ``xi_i >= |x_i'H_i - y_i| + r_i h_i`` at cost xi^2 / n (squared), xi / n (absolute), ``((xi -
  out)^2 + 2 M out) / n`` with ``out_i >= 0`` (Huber); the squared one is smooth where not attacked.

All this is affine in the variables x: ``s = G x + g``. A strictly feasible x is easy to name, so that slacks are
recomputed from x at every step and there are no primal residuals: every iterate is a network, and exactly feasible.

**Steps** (Mehrotra 1992). With multipliers z, the gradient of the Lagrangian ``rho = f'(x) - G'z`` and the scaling W of
Nesterov and Todd (1997; `scaling`), a step solves

    (f'' + G' W^-2 G) dx = G'zeta - rho,    ds = G dx,    dz = zeta - W^-2 ds,

where zeta is what the target of complementarity asks for. The predictor aims at 0; the corrector at the cube of the
share that the predictor leaves, with its second-order term; then there are correctors of centrality (`iteration`).
Where K slots share each sample with one hinge, and nothing is attacked, the barriers of cones and ReLUs weigh ``1.5 /
sqrt(K)``: with equal weights the hinges' share of complementarity is small, and they become sharp too early.

**Elimination.** The matrix is a sum of squares over slacks. Each variable but u (and c, where one-sided) sits in few of
them, and leaves behind parallel sums of their weights lambda = z / s, which never cancel:

1. t_k from its cone: ``delta ||u||^2 - gamma (tau'u)^2``. Epigraphs: diagonal plus rank one, or two.
2. xi_i: ``1 / kappa = 1 / lambda_loss + 1 / lambda_hinge`` on m_i (n / 2 for the last where the cost is a square).
   Worst residuals, L the sum of the two weights and D their difference: ``4 lambda+ lambda- / L`` on x'H, and
   ``1 / kappa = 1 / L + n / 2`` on ``(D / L) x'H - r h``; with out, that is ``1 / lambda_out`` more, and without a
   square kappa is 0. Where nobody is attacked both are one square.
3. e_ik, with weights lambda_e, lambda_f and q = sigma x'u - r c: ``lambda_e lambda_f / (lambda_e + lambda_f)`` on q,
   ``phi = lambda_f / (lambda_e + lambda_f)`` times q enters m_i, and ``1 / (lambda_e + lambda_f)`` adds to 1 / kappa.
4. h_i, with ``alpha (h - b'H)^2`` left of its epigraph: ``r^2 / alpha`` adds to 1 / kappa and m sees ``(y x - r b)'H``.
5. c_k of cones: a leading row of the slot's block, eliminated by its Cholesky factor.

What is left are blocks B_k of the slots, ``sum_i psi_ik x_i x_i'`` (all of them by one product of n K D^2 / 2) and the
above, coupled by a quadratic form Omega_i in each H_i: ``kappa a a'``, for attacks a diagonal and at most two more
rank-one terms. `coupling` solves this in order n (not attacked: Omega_i is one square), or in order P D, P the
number of different gates, whichever is cheaper; where one-sided, in order K (D + 1), or with attacks in order P D
first and n afterwards. `samples` holds the Omega_i. Slots with equal gates share ``sum_k B_k^-1``. Along its own
vector a slot is soft, ever more so towards the end; amplitudes of these K directions are unknowns of their own,
without which the rest would drown. Conjugate gradients with the exact operator and this elimination as preconditioner
remove rounding: no step or one in most cases, more near the end. Where inputs are large, slacks are summed up over
several solutions instead of computed from the last x: multipliers get W^-2 of what they lack (`Elimination.direction`).

**Cones without interior** (`phase_one`, `facial_reduction`) are found beforehand. Their slots are confined to
subspaces, or left out, and what multipliers this takes follows from those of phase one.

**Bounds.** Every iterate gives theta, mu and the directions of `cvxrobust.core.programs.gated.certificate`: z of the
losses and pairs, z of the epigraphs divided by ``theta_i r_i`` and ``sum_i r_i mu_ik``. As rho vanishes, ||B_k|| <=
beta holds to ever better accuracy, and the bound loses nothing to scaling. `core` judges points and bounds alike.

**Memory** in doubles: some 40 arrays of n K (a few of n C D and K D^2), products of inputs n D^2 / 2 (in blocks above
a limit), rows n C times P C D (one-sided: n K (D + 1), with attacks three of them), and matrices of the order squared,
two in the order of the samples, up to four in that of the slots.

Sources: Mehrotra (1992), On the implementation of a primal-dual interior point method; Nesterov and Todd (1997),
Self-scaled barriers and interior-point methods for convex programming; Gondzio (1996), Multiple centrality corrections
in a primal-dual method for linear programming. The programmes: Pilanci and Ergen (2020), arXiv:2002.10553; Bai, Gautam
and Sojoudi (2022), arXiv:2201.01965.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.backends.ipm.gated.certify import Answers
from cvxrobust.backends.ipm.gated.facial_reduction import anywhere, interiors
from cvxrobust.backends.ipm.gated.iteration import MOST_STEPS, Steps
from cvxrobust.backends.ipm.gated.model import Model
from cvxrobust.backends.ipm.gated.start import begin
from cvxrobust.backends.ipm.gated.tensors import GatedTensors
from cvxrobust.core import (
    GatedProgram,
    Monitor,
    ReLUNetwork,
    Settings,
    Solution,
    Termination,
    check_options,
    torch_threads,
)
from cvxrobust.core.kit import GatedBest
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import network_multipliers

Array = NDArray[np.float64]

LACKS = 0.5
"""Share of the gap known of a good start that it is taken to leave."""

FOREIGN = 3.0
"""Beside a smooth loss the first gap is that share of a cold one to the power ``1 / (1 + FOREIGN e)``, e how far the
start is from stationary along its own length: 0 for the optimum of this programme, 1 for that of one with a beta three
times as large, whose bound promises as much and holds less. Iterations on Breast Cancer (455 x 30, 10 gates, linf
0.05) for beta from 0.1 to 0.001 in four steps, cold and with the power 1, 1/2, 0: squared hinge 19, 22, 27, 35; 19, 23,
44, 67; 13, 15, 22, 31; 15, 16, 18, 20; from its own solution to 1e-2 with beta = 0.001 35; 8; 9; 14."""

KINKED = 0.1
"""The least beside hinges, which want a start sharper: 35, 36, 34, 41 cold, and 25, 23, 22, 27."""

STEP = 0.01
"""Relative change of length by which that is measured."""

NOTHING = 0.99
"""Objective of a start, relative to that of the zero network, from which on it is worth nothing."""


def solve_gated(
    program: GatedProgram,
    settings: Settings,
    monitor: Monitor | None = None,
    start: ReLUNetwork | None = None,
    device: str = "cpu",
) -> Solution:
    """Solve a gated programme to a certified relative gap.

    Deterministic. The network of the answer is `cvxrobust.core.programs.gated.evaluation.to_network` of the best point
    found, exactly feasible; the multipliers are those with the best bound found.

    Args:
        program: Every formulation, loss and norm of `cvxrobust.core.programs.gated.evaluation`.
        settings: Tolerance and limits; iterations are factorisations.
        monitor: Stops the solve and hears of certified bounds; None for the time limit of the settings alone.
        start: A network to start near.
        device: Where the tensors are.

    Raises:
        UnsupportedProgramError: A one-sided programme whose loss is not of one margin, or an unknown loss or norm.
        UnknownNameError: The settings hold native options; there are none.
    """
    gated.require_meaning(program)
    check_options(settings, set(), "ipm")
    ignored = {} if settings.seed == Settings.seed else {"seed": "this solver is deterministic"}
    # Otherwise overflow of some trial point would be worth a warning.
    with (
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        torch_threads(settings.threads),
        torch.inference_mode(),
    ):
        solve = _Solve(program, settings, monitor, device)
        termination = solve.run(start)
    progress = solve.answers.progress
    applied = {**progress.limits, "device": device}
    return progress.solution(
        termination, iterations=solve.steps, message=solve.message, applied=applied, ignored=ignored
    )


class _Solve:
    """One solve: the best so far, how it went, and what the zero network is worth."""

    def __init__(self, program: GatedProgram, settings: Settings, monitor: Monitor | None, device: str) -> None:
        self.program, self.settings = program, settings
        data = GatedTensors.of(program, device)
        progress = GatedBest(program, settings, monitor, MOST_STEPS)
        self.answers, self.steps, self.message = Answers(data, anywhere(data), progress), 0, ""
        self.worth = np.inf

    def run(self, start: ReLUNetwork | None) -> Termination:
        """Solve, near a network or from nothing."""
        answers, program, progress = self.answers, self.program, self.answers.progress
        answers.offer_zero()
        self.worth, given = progress.upper, None
        if start is not None:
            given = self._offer_start(start)
        progress.report()
        if (ended := progress.ended(0)) is not None:
            return ended
        data = answers.whole
        if program.rules.constrains_gates:
            answers.interior = interiors(data, lambda: progress.monitor.should_stop)
            if answers.interior.reductions:
                answers.offer_zero()
        ended = self._iterate(given)
        if ended is Termination.NUMERICAL and given is not None:
            # Its bounds are kept, and it is not worse than none.
            ended = self._iterate(None)
        if ended is Termination.NUMERICAL:
            answers.tighten()
            progress.report()
            if progress.ended(0) is Termination.CONVERGED:
                ended = Termination.CONVERGED
        answers.cleaned(self.settings.tolerance)
        return ended

    def _offer_start(self, start: ReLUNetwork) -> Array | None:
        """The point of a network, shorter if that is better; None unless it is feasible and better than zero."""
        given = gated.from_network(self.program, start)
        value = gated.objective(self.program, given)
        while np.isfinite(value) and (shorter := gated.objective(self.program, 0.5 * given)) < value:
            given, value = 0.5 * given, shorter
        if not value < NOTHING * self.worth:
            return None
        self.answers.progress.offer_point(given)
        self.answers.progress.offer_multipliers(network_multipliers(self.program, given))
        return given

    def _first_share(self, given: Array) -> float:
        """How large the first gap is to be beside that of a start from nothing."""
        program, progress = self.program, self.answers.progress
        known = min(1.0, (progress.upper - progress.lower) / self.worth)
        # The better a start, the more of what seems to be left is the weakness of its own multipliers' bound.
        share = known * (LACKS + (1.0 - LACKS) * known)
        if self.answers.whole.loss.kinked:
            return max(share, KINKED)
        longer, shorter = (gated.objective(program, (1.0 + step) * given) for step in (STEP, -STEP))
        penalty = program.beta * np.linalg.norm(given, axis=(1, 2)).sum()
        foreign = min(1.0, abs(longer - shorter) / (2.0 * STEP * penalty))
        return float(share ** (1.0 / (1.0 + FOREIGN * foreign)))

    def _iterate(self, given: Array | None) -> Termination:
        """The interior-point method on the slots that may carry neurons."""
        answers, whole = self.answers, self.answers.whole
        interior, kept = answers.interior, answers.interior.kept
        if (ended := answers.progress.ended(0)) is not None:
            return ended
        if kept.size == 0:
            return Termination.NUMERICAL
        at = torch.as_tensor(kept, device=whole.X.device)
        faces = None if interior.faces is None else interior.faces[at]
        model = Model(whole.part(kept, interior.live[at], faces))
        inner = type(interior)(interior.u[at], interior.c[at], interior.a[at], interior.inside[at], interior.live[at])
        near = None if given is None else torch.as_tensor(given[kept], device=whole.X.device)
        share = 1.0 if given is None else self._first_share(given)
        steps = Steps(model, answers, *begin(model, inner, self.worth, near, share), self.steps)
        ended = steps.run()
        self.steps, self.message = steps.count, f"{kept.size} of {self.program.signs.size} slots may carry neurons"
        return ended
