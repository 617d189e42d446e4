"""A device that is not the CPU, played by the CPU: what would fail on a GPU because tensors mix fails here, too.

Tensors "elsewhere" say that their device is `ELSEWHERE`. Operations on them run on the CPU, but as on a GPU they refuse
ordinary tensors beside them (single numbers excepted), have no NumPy array, and leave the device only by being copied.
Numbers are the same as on the CPU; only a GPU says whether they are there.
"""

import sys
from collections import Counter
from contextlib import contextmanager
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("cuda", 0)

COPIES = {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.copy_}

READS = {
    *(getattr(torch.Tensor, f"__{name}__") for name in ("bool", "float", "int", "index", "contains")),
    *(getattr(torch.Tensor, name) for name in ("item", "tolist", "cpu", "nonzero", "unique", "equal")),
    *(getattr(torch, name) for name in ("nonzero", "unique", "equal", "allclose")),
}
"""What makes the processor wait until the device has computed a value, or a shape."""

_heard: list[Counter[tuple[str, str]]] = []


class There(torch.Tensor):
    """A tensor elsewhere."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Outside of `emulated`, too."""
        return run(func, args, kwargs or {})


class _Everything(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def run(func, args, kwargs):
    """One operation, with its tensors where they belong."""
    tensors = [part for part in _leaves((*args, *kwargs.values())) if isinstance(part, torch.Tensor)]
    there = any(isinstance(part, There) for part in tensors)
    if there and _heard and _is_read(func, args, kwargs):
        frame = sys._getframe(1)
        while frame.f_back is not None and "cvxrobust" not in frame.f_globals.get("__name__", ""):
            frame = frame.f_back
        _heard[-1][frame.f_globals.get("__name__", "").removeprefix("cvxrobust."), frame.f_code.co_name] += 1
    if func == torch.Tensor.device.__get__:
        return ELSEWHERE if there else torch.device("cpu")
    if func is torch.Tensor.is_cuda.__get__:
        return there
    if there and func is torch.Tensor.numpy:
        raise TypeError("a tensor elsewhere has no NumPy array")
    strangers = [tuple(part.shape) for part in tensors if not isinstance(part, There) and part.dim()]
    if there and strangers and func not in COPIES:
        raise RuntimeError(f"{func}: tensors of shapes {strangers} are on the CPU, others are not")
    ends_there = isinstance(args[0], There) if func is torch.Tensor.copy_ else there
    if isinstance(kwargs.get("device"), str):
        kwargs = kwargs | {"device": torch.device(kwargs["device"])}
    asked = next((part for part in (kwargs.get("device"), *args) if isinstance(part, torch.device)), None)
    if func is torch.Tensor.cpu or (asked is not None and asked.type == "cpu"):
        ends_there = False
    elif asked is not None:
        ends_there = True
        args, kwargs = tree_map(lambda part: torch.device("cpu") if part is asked else part, (args, kwargs))
    with torch._C.DisableTorchFunction():
        found = func(*args, **kwargs)
        if there and not ends_there and isinstance(found, torch.Tensor):
            found = found.as_subclass(torch.Tensor).clone()
        wrong = torch.Tensor if ends_there else There
        kind = There if ends_there else torch.Tensor
        if not isinstance(found, tuple | list):
            return found.as_subclass(kind) if type(found) is wrong else found
        return tree_map(lambda part: part.as_subclass(kind) if type(part) is wrong else part, found)


def _leaves(parts):
    """What sequences and dictionaries hold in the end; PyTorch's own walk takes longer than most operations here."""
    for part in parts:
        if isinstance(part, tuple | list):
            yield from _leaves(part)
        elif isinstance(part, dict):
            yield from _leaves(part.values())
        else:
            yield part


def _is_read(func, args, kwargs):
    if func in READS:
        return True
    if func is torch.Tensor.to:
        asked = tree_leaves((args[1:], kwargs))
        return any(getattr(part, "type", part) == "cpu" for part in asked if isinstance(part, str | torch.device))
    # How many rows a mask chooses is known to the device alone.
    masks = tree_leaves(args[1]) if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) else ()
    return any(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in masks)


@contextmanager
def reads():
    """Count what the host reads from elsewhere meanwhile, by module and function of ours that does."""
    _heard.append(Counter())
    try:
        yield _heard[-1]
    finally:
        _heard.pop()


@contextmanager
def emulated():
    """Let factories make tensors elsewhere, and PyTorch say that there is such a device."""
    with mock.patch.multiple(torch.cuda, is_available=lambda: True, device_count=lambda: 1), _Everything():
        yield
