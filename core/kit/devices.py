"""Which of PyTorch's devices a backend computes on."""

from collections.abc import Collection

from cvxrobust.core.errors import InputError
from cvxrobust.core.settings import Settings


def resolve_device(settings: Settings, devices: Collection[str]) -> str:
    """The device asked for; where the choice is left open, a CUDA device if there is one, else the CPU.

    Args:
        settings: Their device, and the precision that it must have.
        devices: Kinds that the backend runs on, as in `Capabilities`. One that it does not is no mistake: then it is
            the CPU, and `unused_settings` says so.

    Raises:
        InputError: The device is not there, or cannot compute in the precision asked for.
    """
    asked = settings.device
    kind, _, number = asked.partition(":")
    if kind == "cpu" or (kind != "auto" and kind not in devices):
        return "cpu"
    import torch  # slow to import, and only backends that compute with it come here

    if kind == "auto":
        # Apple's GPUs have no double precision, which is the default here.
        return "cuda" if "cuda" in devices and torch.cuda.is_available() else "cpu"
    if kind == "cuda" and not (torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count()):
        raise InputError(f"device is {asked!r}, but PyTorch sees {torch.cuda.device_count()} CUDA devices; use 'cpu'.")
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("device is 'mps', but PyTorch sees no such device here; use 'cpu'.")
        if settings.dtype == "float64":
            raise InputError("device 'mps' has no double precision; pass dtype='float32', or device='cpu'.")
    return asked
