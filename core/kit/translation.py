"""From `Settings` to a solver's own words: what every backend must decide, decided once."""

from collections.abc import Iterator
from contextlib import contextmanager

from cvxrobust.core.contracts.backend import Capabilities
from cvxrobust.core.settings import Settings


def native_tolerance(settings: Settings, capabilities: Capabilities, share: float) -> float:
    """The tolerance to ask a solver for, so that the certificate can meet ``settings.tolerance``.

    Solvers measure residuals relative to one plus the data's size; we certify a gap relative to the optimum,
    after the recovery of a network has paid for those residuals. So a solver gets a share of the tolerance.

    Args:
        settings: Their tolerance is what the certificate must meet.
        capabilities: Their ``tightest_tolerance`` is the floor.
        share: What part of the tolerance the solver may use up, in (0, 1].
    """
    return share * max(settings.tolerance, capabilities.tightest_tolerance)


def unused_settings(settings: Settings, capabilities: Capabilities) -> dict[str, str]:
    """The settings that a deterministic solver with these capabilities cannot honour, each with the reason.

    Settings left at their defaults are not reported: nobody asked for them.
    """
    ignored = {}
    if settings.seed != Settings.seed:
        ignored["seed"] = "this solver is deterministic"
    if settings.device != "auto" and settings.device not in capabilities.devices:
        ignored["device"] = f"runs on {', '.join(capabilities.devices)} only, not on {settings.device}"
    if settings.dtype not in capabilities.dtypes:
        ignored["dtype"] = f"computes in {', '.join(capabilities.dtypes)} only, not in {settings.dtype}"
    if settings.threads is not None and not capabilities.threads:
        ignored["threads"] = "only BLAS was limited: the solver itself has no such setting"
    if settings.time_limit is not None and not capabilities.time_limit:
        ignored["time_limit"] = "the solver has no time limit of its own"
    if settings.tolerance < capabilities.tightest_tolerance:
        ignored["tolerance"] = (
            f"{settings.tolerance:.1e} is tighter than this solver can reach; "
            f"asked it for {capabilities.tightest_tolerance:.1e}"
        )
    return ignored


@contextmanager
def blas_threads(threads: int | None) -> Iterator[None]:
    """Limit the threads of BLAS and OpenMP inside the block; None leaves them alone."""
    if threads is None:
        yield
        return
    from threadpoolctl import threadpool_limits  # slow to import, and seldom needed

    with threadpool_limits(limits=threads):
        yield


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Limit the threads of PyTorch's own loops inside the block; None leaves them alone."""
    import torch  # slow to import, and only backends that have done so come here

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)


@contextmanager
def torch_alone(threads: int | None) -> Iterator[None]:
    """`torch_threads`, with one thread for every other BLAS.

    For code that goes back and forth between PyTorch and NumPy in small steps: idle threads of either wait busily for
    a while, on processors that those of the other need.
    """
    from threadpoolctl import threadpool_limits  # slow to import, and seldom needed

    with threadpool_limits(limits=1, user_api="blas"), torch_threads(threads):
        yield
