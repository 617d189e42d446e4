"""Our own structured primal-dual interior-point method, exact to 1e-8 or better.

Polynomial programmes: `cvxrobust.backends.ipm.polynomial.solve`, and against attacks in boxes
`cvxrobust.backends.ipm.boxes.samples`; gated ReLU programmes: `cvxrobust.backends.ipm.gated.solve`. General conic
solvers see thousands of unrelated cones there; what these share is what makes this one fast. Every iteration ends with
a certificate, so that limits cost accuracy and nothing else.
"""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from cvxrobust.backends.ipm.coupling_orders import work
from cvxrobust.backends.ipm.losses import LOSSES
from cvxrobust.core import (
    BackendDescription,
    Capabilities,
    Estimate,
    GatedProgram,
    InputError,
    Monitor,
    PolynomialNetwork,
    PolynomialProgram,
    ReLUNetwork,
    Settings,
    Solution,
    check_options,
    hookimpl,
    torch_alone,
    torch_defaults,
    unused_settings,
)
from cvxrobust.core.kit import in_own_axes, network_to_start_from, require_structured, resolve_device
from cvxrobust.core.programs.boxes.program import BoxProgram

Structured = PolynomialProgram | BoxProgram | GatedProgram
"""What it reads."""

OPTIONS = {"subspace"}
"""Native options. ``subspace``: whether a polynomial programme is solved in a growing subspace of the inputs; by
default that depends on their number."""


ITERATIONS = {
    "clean": 12.0, "attacked": 18.0, "gated": 10.0, "attacked gated": 17.0, "cone": 30.0, "attacked cone": 24.0,
    "one-sided": 34.0, "attacked one-sided": 33.0, "boxes": 24.0,
}  # fmt: skip
"""How many are usual, by kind of programme."""

MOMENTS = {
    "clean": 0.015, "attacked": 0.04, "gated": 0.012, "attacked gated": 0.020, "cone": 0.016, "attacked cone": 0.026,
    "one-sided": 0.016, "attacked one-sided": 0.026, "boxes": 0.02,
}  # fmt: skip
"""Seconds of the smallest iterations: calls of PyTorch, and the certificate."""

CONES = 1e-6
"""Seconds of an iteration for each cone of a sample and a slot; under attack twice that."""

BLOCKS = 1e-9
"""Seconds for each entry of a matrix of the size of the inputs, of a sample and a slot, where these are attacked."""

SUBSPACE = (100, 60, 60.0)
"""Inputs from which on attacked polynomial networks are searched in a subspace, its usual size in the end, and how many
times the iterations of one whole solve that takes."""

PACE = (0.15, 0.7)
"""An iteration of ``w`` thousand million operations takes ``PACE[0] * w ** PACE[1]`` seconds more, about, on one core:
large products run faster. Fitted to `cvxrobust.bench.studies.ways`."""

LARGE_PACE = 0.11
"""The same for polynomial programmes, whose products are larger: seconds of a thousand million."""

MATRICES, VECTORS = {"clean": 1e-8, "attacked": 2e-7}, 10.0
"""Seconds for each entry of a matrix of the size of the inputs, of a sample or the network's own; so many vectors count
as well."""

WORTH_THREADS = 2e9
"""Operations of an iteration from which on more than one thread is used, however many there may be."""


def rows_of(program: PolynomialProgram) -> float:
    """Rows of the samples: targets under attack have two sides."""
    sides = 2.0 if program.attack.present and not program.loss_function.margin else 1.0
    return sides * float(program.X.shape[0])


def polynomial_work(program: PolynomialProgram) -> float:
    """Multiplications of an iteration, about: `cvxrobust.backends.ipm.polynomial.solve`, section 4."""
    n, d = rows_of(program), float(program.X.shape[1])
    p = 0.5 * (d + 1) * (d + 2)
    if program.attack.present:
        return n * p * p + 10.0 * n * d**3 + p**3 / 3.0
    return min(n * p * p + p**3 / 3.0, n * n * d + n**3 / 3.0 + 20.0 * d**3)


def gated_work(program: GatedProgram) -> float:
    """Multiplications of an iteration, about: `cvxrobust.backends.ipm.gated.coupling`."""
    n, (K, C, D) = program.X.shape[0], program.shape
    one_sided, attacked = program.rules.one_sided, program.attack.present
    groups = np.unique(program.gates, axis=1).shape[1]
    slots = K * (D + attacked) if one_sided else groups * C * D
    orders = work(n * C, slots, groups * C * D if attacked else None)
    if attacked and not one_sided:
        del orders["both"]
    return float(n * K * C * D * D) + min(orders.values())


def box_work(program: BoxProgram) -> float:
    """Multiplications of an iteration, about: `cvxrobust.backends.ipm.boxes.samples`."""
    n, d, m = float(program.X.shape[0]), float(program.X.shape[1]), float(program.inputs.size + 1)
    p = 0.5 * (d + 1) * (d + 2)
    return n * m * p * p + 2.0 * n * p * m * m + 20.0 * n * m**3 + p**3 / 3.0


def work_of(program: Structured) -> float:
    """Multiplications of an iteration, about."""
    if isinstance(program, BoxProgram):
        return box_work(program)
    return polynomial_work(program) if isinstance(program, PolynomialProgram) else gated_work(program)


def memory(program: Structured) -> float:
    """Bytes that a solve takes up, about."""
    n, d = (float(size) for size in program.X.shape)
    if isinstance(program, BoxProgram):
        p, m = 0.5 * (d + 1) * (d + 2), float(program.inputs.size + 1)
        return 8.0 * (5.0 * p * p + 16.0 * n * m * m)
    if isinstance(program, PolynomialProgram):
        n, p = rows_of(program), 0.5 * (d + 1) * (d + 2)
        attacked = program.attack.present
        numbers = (
            2.0 * n * d + 5.0 * (p * p if attacked else min(p * p, n * n)) + (8.0 * n * d * d if attacked else 0.0)
        )
    else:
        K, C, D = (float(size) for size in program.shape)
        numbers = 20.0 * n * K * C + 3.0 * min(n * n, (K * C * D) ** 2)
    return 8.0 * numbers


class InteriorPoint:
    """Solves polynomial and gated programmes in double precision, on the CPU or on a CUDA device."""

    name = "ipm"
    capabilities = Capabilities(
        structured=frozenset({"polynomial", "attacked targets", "boxed polynomial", "gated"}),
        losses=frozenset(LOSSES),
        weights=True,
        attacks=frozenset({"ball", "ellipsoid"}),
        gated_attacks=frozenset({"ball", "ellipsoid", "scaled ball"}),
        devices=("cpu", "cuda"),
        warm_start=True,
        monitored=True,
        time_limit=True,
        threads=True,
        tightest_tolerance=1e-9,
        method="structured interior-point",
    )

    def unavailable(self) -> str | None:
        """Why it cannot run here; None if it can."""
        return None if find_spec("torch") else "run `pip install torch`"

    def harmless_options(self) -> set[str]:
        """All of them."""
        return OPTIONS

    def check_settings(self, settings: Settings) -> None:
        """Refuse options and devices that there are not.

        Raises:
            UnknownNameError: A native option is unknown.
            InputError: An option has no such value, or the device is not there.
        """
        check_options(settings, OPTIONS, self.name)
        subspace = settings.options.get("subspace")
        if subspace is not None and not isinstance(subspace, bool):
            raise InputError(f"subspace is {subspace!r}; expected True, False or None for a choice by size.")
        if settings.device != "auto":
            resolve_device(settings, self.capabilities.devices)

    def estimate(self, program: Structured) -> Estimate | None:
        """What a solve would cost; data that is streamed is read into memory."""
        if isinstance(program, BoxProgram):
            step = MOMENTS["boxes"] + LARGE_PACE * 1e-9 * box_work(program)
            return Estimate(ITERATIONS["boxes"] * step, memory(program), step)
        attacked = program.attack.present
        if isinstance(program, GatedProgram):
            kind, size = ("attacked " if attacked else "") + program.formulation, gated_work(program)
            cones = program.X.shape[0] * program.shape[0] * program.shape[1] if program.rules.paired else 0
        else:
            kind, size, cones = "attacked" if attacked else "clean", polynomial_work(program), 0
        if isinstance(program, GatedProgram):
            step = MOMENTS[kind] + (1.0 + attacked) * CONES * cones + PACE[0] * (1e-9 * size) ** PACE[1]
            if attacked:
                (n, _), (K, C, D) = program.X.shape, program.shape
                step += BLOCKS * n * K * C * D * D
        else:
            n, d = rows_of(program), float(program.X.shape[1])
            step = MOMENTS[kind] + MATRICES[kind] * (n + d) * d * (d + VECTORS) + LARGE_PACE * 1e-9 * size
        seconds, held = ITERATIONS[kind] * step, memory(program)
        if kind == "attacked" and program.X.shape[1] > SUBSPACE[0]:
            # Searched in a subspace that grows: as many inputs as its usual end, several times over.
            share = SUBSPACE[1] / program.X.shape[1]
            step *= share ** (4.0 * PACE[1])
            seconds, held = SUBSPACE[2] * ITERATIONS[kind] * step, held * share**2
        return Estimate(seconds, held, step)

    def solve(
        self,
        program: Structured,
        settings: Settings,
        monitor: Monitor | None = None,
        warm_start: Solution | None = None,
    ) -> Solution:
        """Solve a structured programme.

        Args:
            program: The programme; one column of labels where it is polynomial.
            settings: ``tolerance`` is the certified relative gap to reach; precision is always double.
            monitor: Says when to stop, and hears of certified bounds.
            warm_start: Its network is where to start.

        Raises:
            UnsupportedProgramError: The programme is of another kind, or has a loss of somebody else's.
        """
        self.check_settings(settings)
        require_structured(program, self.capabilities, self.name)
        monitor = monitor or Monitor.within(settings.time_limit)
        asked = settings.replace(tolerance=max(settings.tolerance, self.capabilities.tightest_tolerance))
        # In small operations threads only wait for each other, and on a busy machine for long.
        threads = settings.threads if work_of(program) > WORTH_THREADS else 1
        with torch_defaults(), torch_alone(threads):
            found = self._solve(program, asked.replace(threads=threads), monitor, warm_start)
        return replace(found, ignored={**unused_settings(settings, self.capabilities), **found.ignored})

    def _solve(
        self,
        program: Structured,
        settings: Settings,
        monitor: Monitor,
        warm_start: Solution | None,
    ) -> Solution:
        device = resolve_device(settings, self.capabilities.devices)
        if isinstance(program, BoxProgram):
            from cvxrobust.backends.ipm.boxes.solve import solve_boxes

            return solve_boxes(program, settings, monitor, network_to_start_from(warm_start, PolynomialNetwork), device)
        if isinstance(program, PolynomialProgram):
            from cvxrobust.backends.ipm.polynomial.solve import solve_polynomial

            start = network_to_start_from(warm_start, PolynomialNetwork)
            return solve_polynomial(program, settings, monitor, start, device)
        from cvxrobust.backends.ipm.gated.solve import solve_gated

        near, asked = network_to_start_from(warm_start, ReLUNetwork), settings.replace(options={})
        return in_own_axes(
            program, lambda own, heard, start: solve_gated(own, asked, heard, start, device), monitor, near
        )


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """This backend."""
    return [BackendDescription("ipm", InteriorPoint, "our structured interior-point method: exact, CPU and GPU")]
