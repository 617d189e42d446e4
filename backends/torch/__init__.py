"""Our own first-order solver in PyTorch: it reads the structure of the training problems, not their conic forms.

Polynomial programmes are solved by factorised smoothing with exact worst cases and priced neurons
(`cvxrobust.backends.torch.polynomial`), gated ReLU programmes by smoothing with Newton steps
(`cvxrobust.backends.torch.gated`). Each certifies its own iterates and stops at the certified gap that was asked for.
"""

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cvxrobust.core.backend import Capabilities, Monitor
from cvxrobust.core.errors import InputError, UnsupportedProgramError
from cvxrobust.core.hookspecs import BackendDescription, hookimpl
from cvxrobust.core.networks import PolynomialNetwork
from cvxrobust.core.relu_network import ReLUNetwork
from cvxrobust.core.result import Solution
from cvxrobust.core.settings import Settings, check_options
from cvxrobust.core.structured import GatedProgram, PolynomialProgram
from cvxrobust.core.translation import blas_threads, unused_settings

if TYPE_CHECKING:
    from types import ModuleType


OPTIONS = {"neurons"}
"""Neurons per sign to start from (polynomial programmes only)."""


SMALL = 500_000
"""Data with no more entries than this is solved with one thread, unless the settings ask for more."""


class Torch:
    """Solves polynomial and gated programmes on the CPU or on a GPU."""

    name = "torch"
    capabilities = Capabilities(
        structured=frozenset({"polynomial", "gated"}),
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

    def check_settings(self, settings: Settings) -> None:
        """Refuse options and devices that there are not.

        Raises:
            UnknownNameError: A native option is unknown.
            InputError: The device is not there, or cannot compute in the precision asked for.
        """
        check_options(settings, OPTIONS, self.name)
        if settings.device not in ("auto", "cpu"):
            _device(settings)

    def solve(
        self,
        program: PolynomialProgram | GatedProgram,
        settings: Settings,
        monitor: Monitor | None = None,
        warm_start: Solution | None = None,
    ) -> Solution:
        """Solve a structured programme.

        Args:
            program: The programme; one column of labels where it is polynomial.
            settings: ``tolerance`` is the certified relative gap to reach, ``dtype`` the precision of the iterates;
                without ``threads``, small data gets one.
            monitor: Says when to stop, and hears of certified bounds.
            warm_start: Its network is where to start.

        Raises:
            UnsupportedProgramError: The programme is of another kind.
        """
        self.check_settings(settings)
        if not isinstance(program, PolynomialProgram | GatedProgram):
            raise UnsupportedProgramError(
                f"backend {self.name!r} reads polynomial and gated programmes, not {type(program).__name__}; "
                "choose a conic backend, see `cvxrobust backends list`."
            )
        if settings.threads is None and program.X.size <= SMALL:
            # On a busy machine the threads of small products wait for each other: 45 s instead of 5 were seen.
            settings = settings.replace(threads=1)
        with blas_threads(settings.threads):
            return self._solve(program, settings, monitor, warm_start)

    def _solve(
        self,
        program: PolynomialProgram | GatedProgram,
        settings: Settings,
        monitor: Monitor | None,
        warm_start: Solution | None,
    ) -> Solution:
        device = _device(settings)
        start = None if warm_start is None else warm_start.network
        if isinstance(program, PolynomialProgram):
            from cvxrobust.backends.torch.polynomial import solve_polynomial

            known = start if isinstance(start, PolynomialNetwork) else None
            found = solve_polynomial(program, settings, monitor, known, device, settings.dtype)
            return replace(found, ignored={**unused_settings(settings, self.capabilities), **found.ignored})
        from cvxrobust.backends.torch.gated import solve_gated

        given = start if isinstance(start, ReLUNetwork) else None
        found = solve_gated(program, settings, monitor, given, device, settings.dtype)
        return replace(found, ignored={**unused_settings(settings, self.capabilities), **found.ignored})


def _device(settings: Settings) -> str:
    """The device to compute on: the one asked for, else a GPU if there is one."""
    import torch

    asked = settings.device
    if asked == "auto":
        # Apple's GPUs have no double precision, which is the default here.
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not _has_cuda(torch, asked):
        raise InputError(f"device is {asked!r}, but PyTorch sees {torch.cuda.device_count()} CUDA devices; use 'cpu'.")
    if asked == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("device is 'mps', but PyTorch sees no such device here; use 'cpu'.")
        if settings.dtype == "float64":
            raise InputError("device 'mps' has no double precision; pass dtype='float32', or device='cpu'.")
    return asked


def _has_cuda(torch: "ModuleType", device: str) -> bool:
    _, _, number = device.partition(":")
    count: Any = torch.cuda.device_count()
    return bool(torch.cuda.is_available()) and int(number or 0) < count


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """This backend."""
    return [BackendDescription("torch", Torch, "our first-order solver, CPU and GPU, with its own certificate")]
