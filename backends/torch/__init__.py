"""Our own first-order solver in PyTorch: it reads the structure of the training problems, and any conic programme.

Polynomial programmes are solved by factorised smoothing with exact worst cases and priced neurons
(`cvxrobust.backends.torch.polynomial.solve`), gated ReLU programmes by smoothing with Newton steps
(`cvxrobust.backends.torch.gated.solve`). Each certifies its own iterates and stops at the certified gap that was asked
for. Joint programmes of several classes are solved by the first of these, too (`cvxrobust.backends.torch.joint.solve`).
Conic programmes, of whatever origin, are solved by operator splitting (`cvxrobust.backends.torch.conic.solve`), by
their residuals.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cvxrobust.backends.torch.gated.sizes import NARROW
from cvxrobust.backends.torch.losses import LOSSES, torch_loss
from cvxrobust.core import (
    PSD,
    BackendDescription,
    Capabilities,
    ConicProgram,
    ConicSize,
    Estimate,
    Exponential,
    GatedProgram,
    JointProgram,
    Monitor,
    NonNegative,
    PolynomialNetwork,
    PolynomialProgram,
    ReLUNetwork,
    SecondOrder,
    Settings,
    Solution,
    UnsupportedProgramError,
    Zero,
    blas_threads,
    check_options,
    hookimpl,
    require_cones,
    torch_defaults,
    unused_settings,
)
from cvxrobust.core.kit import in_own_axes, network_to_start_from, require_structured, resolve_device
from cvxrobust.core.programs.boxes.program import BoxProgram

Structured = PolynomialProgram | BoxProgram | GatedProgram | JointProgram

if TYPE_CHECKING:
    from cvxrobust.backends.torch.polynomial.robust_gradient import RobustGradient


OPTIONS = {"neurons", "batch", "epochs", "checkpoint", "checkpoint_every"}
"""Native options. ``checkpoint``, a folder, and ``checkpoint_every``, seconds: an interrupted solve of the same
structured programme goes on from its last iterate. For polynomial programmes only: ``neurons`` of either sign at the
start, ``batch``, the samples of a stochastic step (0 for none), and ``epochs`` of such steps."""


SMALL = 500_000
"""Data with no more entries than this is solved with one thread, unless the settings ask for more."""


EVALUATIONS = (200.0, 40.0, 4200.0)
"""Of polynomial networks: so many, so many more per input, and at most; a third more than usual, because some take many
times as long."""
EVALUATION, ALONG = (1.2e-3, 2.6e-8), 30.0
"""Seconds of one, half without attack, and per sample and input, these counted with the directions of attacks. Fitted,
like the number, to `cvxrobust.bench.studies.ways`."""

STALLED = 0.7
"""Seconds more, that small problems go to interior points: columns of very different sizes, say, are not for it."""

BOXED, SWEEP = 300.0, (2e-4, 2e-7, 1e-7)
"""Evaluations of networks in boxes, and the seconds of one: per coordinate, per sample and coordinate, and per sample
and input."""
MASTERS = 2.0
"""Seconds more, because bounds from below are left to masters."""

SHARES: dict[tuple[str, str | int | None], float] = {
    ("one-sided", None): 1.6, ("one-sided", "inf"): 2.5, ("one-sided", 2): 1.2, ("one-sided", 1): 2.0,
    ("cone", None): 0.6, ("cone", "inf"): 0.5, ("cone", 2): 0.5, ("cone", 1): 0.7,
    ("gated", None): 0.3, ("gated", "inf"): 1.2, ("gated", 2): 0.5, ("gated", 1): 1.2,
}  # fmt: skip
"""Seconds of gated programmes by formulation and norm of the attacks, None without, beside one another. Fitted to
`cvxrobust.bench.studies.ways`."""
SMOOTH = 0.5
"""What smooth losses take of that in the gated form under attack."""
WIDE = 40.0
"""Inputs, and samples per input, about which cones without attack become wide."""
BARRIER = 2.0
"""The share of Newton steps in cones, which take over where these are widest."""


class Torch:
    """Solves polynomial, gated and conic programmes on the CPU or on a GPU."""

    name = "torch"
    capabilities = Capabilities(
        cones=frozenset({Zero, NonNegative, SecondOrder, PSD, Exponential}),
        structured=frozenset({"polynomial", "attacked targets", "boxed polynomial", "gated"}),
        losses=frozenset(LOSSES),
        weights=True,
        attacks=frozenset({"ball", "ellipsoid"}),
        gated_attacks=frozenset({"ball", "ellipsoid", "scaled ball", "cut box"}),
        multiclass=frozenset({"one-versus-all", "joint"}),
        devices=("cpu", "cuda", "mps"),
        dtypes=("float64", "float32"),
        warm_start=True,
        monitored=True,
        time_limit=True,
        threads=True,
        tightest_tolerance=1e-6,
        method="first-order",
    )

    def unavailable(self) -> str | None:
        """Why it cannot run here; None if it can."""
        return None if find_spec("torch") else "run `pip install torch`"

    @property
    def awaited(self) -> bool:
        """Whether other processes of a group wait for this one; its module is only looked at where somebody has."""
        distributed = sys.modules.get("torch.distributed")
        return distributed is not None and distributed.is_available() and distributed.is_initialized()

    def harmless_options(self) -> set[str]:
        """All of them."""
        return OPTIONS

    def check_settings(self, settings: Settings) -> None:
        """Refuse options and devices that there are not.

        Raises:
            UnknownNameError: A native option is unknown.
            InputError: The device is not there, or cannot compute in the precision asked for.
        """
        check_options(settings, OPTIONS, self.name)
        if settings.device != "auto":
            resolve_device(settings, self.capabilities.devices)

    def estimate(self, program: Structured | ConicSize) -> Estimate | None:
        """What a solve would cost; None for conic programmes, where others are better by far."""
        if isinstance(program, ConicSize):
            return None
        n, d = program.X.shape
        if isinstance(program, BoxProgram):
            return _sweeping(n, d, program.inputs.size)
        if isinstance(program, JointProgram):
            # As many margins as one output has for each rival, in the same passes.
            return _descent(n, d, program.attack.present, program.n_classes - 1.0)
        if isinstance(program, PolynomialProgram):
            return _descent(n, d, program.attack.present, 2.0 if program.kind == "attacked targets" else 1.0)
        entries = float(n) * math.prod(program.shape)
        attacked = program.attack.present
        share = SHARES[program.formulation, program.attack.norm if attacked else None]
        if not program.rules.paired and attacked and not torch_loss(program.loss).kinked:
            share *= SMOOTH
        if program.rules.constrains_gates and not attacked:
            # Projections take long where cones are wide, and many directions to describe what is in them.
            D = program.shape[2]
            wide = (D / WIDE) ** 2 * min(1.0, WIDE * D / n)
            share = share * max(1.0, wide) if n >= NARROW * D else BARRIER
        seconds = 0.3 + 5.4e-3 * share * math.sqrt(entries)
        return Estimate(seconds, 8.0 * (4.0 * n * math.prod(program.shape[:2]) + 2.0 * n * d) + 4e8, 0.01 * seconds)

    def solve(
        self,
        program: Structured | ConicProgram,
        settings: Settings,
        monitor: Monitor | None = None,
        warm_start: Solution | None = None,
    ) -> Solution:
        """Solve a structured or a conic programme.

        Args:
            program: The programme; one column of labels where it is polynomial.
            settings: ``tolerance`` is the certified relative gap to reach (for a conic programme ten times the limit on
                residuals), ``dtype`` the precision of the iterates; without ``threads``, small data gets one.
            monitor: Says when to stop, and hears of certified bounds, which structured programmes have.
            warm_start: Its network is where to start; for a conic programme, its x, s and y.

        Raises:
            UnsupportedProgramError: The programme is of another kind, or has a cone or a loss of somebody else's.
        """
        self.check_settings(settings)
        if isinstance(program, ConicProgram):
            return self._solve_conic(program, settings, monitor, warm_start)
        require_structured(program, self.capabilities, self.name)
        settings = self._with_threads(program, settings)
        with torch_defaults(), blas_threads(settings.threads):
            return self._solve(program, settings, monitor, warm_start)

    @property
    def together(self) -> frozenset[str]:
        """Kinds whose columns share passes over the data."""
        return frozenset({"polynomial", "attacked targets"})

    def solve_together(
        self,
        program: PolynomialProgram,
        settings: Settings,
        monitors: Sequence[Monitor],
        warm_starts: Sequence[Solution | None],
    ) -> list[Solution]:
        """Solve a polynomial programme of several columns of labels, all in the same passes over the data.

        Args:
            program: The programme.
            settings: As for `solve`.
            monitors: One per column.
            warm_starts: One per column; networks count.

        Raises:
            UnsupportedProgramError: The programme is of another kind.
        """
        from cvxrobust.backends.torch.polynomial.solve import solve_polynomials

        self.check_settings(settings)
        if not isinstance(program, PolynomialProgram):
            raise UnsupportedProgramError(
                f"only polynomial programmes are solved together, not {type(program).__name__}."
            )
        require_structured(program, self.capabilities, self.name)
        settings, device = self._with_threads(program, settings), resolve_device(settings, self.capabilities.devices)
        starts = [network_to_start_from(warm, PolynomialNetwork) for warm in warm_starts]
        with torch_defaults(), blas_threads(settings.threads):
            found = solve_polynomials(program, settings, monitors, starts, device, settings.dtype)
        ignored = unused_settings(settings, self.capabilities)
        return [replace(solution, ignored={**ignored, **solution.ignored}) for solution in found]

    def robust_gradient(self, program: PolynomialProgram, settings: Settings) -> "RobustGradient":
        """One gradient as the solver evaluates it, to be measured.

        Args:
            program: The programme; its first column counts.
            settings: Device, dtype and threads.
        """
        from cvxrobust.backends.torch.polynomial.robust_gradient import RobustGradient

        device = resolve_device(settings, self.capabilities.devices)
        return RobustGradient(program, device, settings.dtype, settings.threads)

    @staticmethod
    def _with_threads(program: Structured, settings: Settings) -> Settings:
        # On a busy machine the threads of small products wait for each other: 45 s instead of 5 were seen.
        small = settings.threads is None and math.prod(program.X.shape) <= SMALL
        return settings.replace(threads=1) if small else settings

    def _solve(
        self,
        program: Structured,
        settings: Settings,
        monitor: Monitor | None,
        warm_start: Solution | None,
    ) -> Solution:
        device = resolve_device(settings, self.capabilities.devices)
        if isinstance(program, BoxProgram):
            from cvxrobust.backends.torch.boxes.solve import solve_boxes

            start = network_to_start_from(warm_start, PolynomialNetwork)
            found = solve_boxes(program, settings, monitor, start, device)
            return replace(found, ignored={**unused_settings(settings, self.capabilities), **found.ignored})
        if isinstance(program, JointProgram):
            from cvxrobust.backends.torch.joint.solve import solve_joint

            start = network_to_start_from(warm_start, PolynomialNetwork)
            found = solve_joint(program, settings, monitor, start, device, settings.dtype)
            return replace(found, ignored={**unused_settings(settings, self.capabilities), **found.ignored})
        if isinstance(program, PolynomialProgram):
            from cvxrobust.backends.torch.polynomial.solve import solve_polynomial

            start = network_to_start_from(warm_start, PolynomialNetwork)
            found = solve_polynomial(program, settings, monitor, start, device, settings.dtype)
            return replace(found, ignored={**unused_settings(settings, self.capabilities), **found.ignored})
        from cvxrobust.backends.torch.checkpoint import checkpoint_of
        from cvxrobust.backends.torch.gated.solve import solve_gated

        near = network_to_start_from(warm_start, ReLUNetwork)
        checkpoint = checkpoint_of(program, settings)
        own = {name: value for name, value in settings.options.items() if not name.startswith("checkpoint")}
        asked = settings.replace(options=own)

        def solve(given: GatedProgram, heard: Monitor | None, start: ReLUNetwork | None) -> Solution:
            return solve_gated(given, asked, heard, start, device, settings.dtype, checkpoint=checkpoint)

        found = in_own_axes(program, solve, monitor, near)
        return replace(found, ignored={**unused_settings(settings, self.capabilities), **found.ignored})

    def _solve_conic(
        self, program: ConicProgram, settings: Settings, monitor: Monitor | None, warm_start: Solution | None
    ) -> Solution:
        require_cones(program, self.capabilities.cones, self.name)
        from cvxrobust.backends.torch.conic.solve import solve_conic

        ignored = unused_settings(settings, self.capabilities)
        ignored |= dict.fromkeys(settings.options, "conic programmes have no neurons")
        device = resolve_device(settings, self.capabilities.devices)
        if device == "mps":
            ignored["device"] = "PyTorch decomposes no matrices on mps; the CPU was used"
            device = "cpu"
        threads = settings.threads or (1 if program.A.nnz <= SMALL else None)
        with torch_defaults(), blas_threads(threads):
            found = solve_conic(program, settings, monitor, warm_start, device, settings.dtype)
        return replace(found, ignored={**ignored, **found.ignored})


def _sweeping(n: int, d: int, q: int) -> Estimate:
    """What training against boxes costs: sweeps over the coordinates."""
    evaluation = SWEEP[0] * q + SWEEP[1] * n * q + SWEEP[2] * n * d
    return Estimate(BOXED * evaluation + MASTERS, 8.0 * (30.0 * n * q + 6.0 * n * d) + 3e8, evaluation)


def _descent(n: int, d: int, attacked: bool, faces: float) -> Estimate:
    """What the training of a polynomial network costs, with so many worst cases per sample."""
    evaluations = min(EVALUATIONS[0] + EVALUATIONS[1] * d, EVALUATIONS[2])
    step = (1.0 if attacked else 0.5) * (EVALUATION[0] + EVALUATION[1] * faces * n * (d + ALONG))
    return Estimate(STALLED + evaluations * step, 32.0 * n * d * max(faces, 1.0), 20.0 * step)


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """This backend."""
    return [BackendDescription("torch", Torch, "our first-order solver, CPU and GPU, with its own certificate")]
