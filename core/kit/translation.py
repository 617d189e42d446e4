"""From `Settings` to a solver's own words: what every backend must decide, decided once."""

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
