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

ELSEWHERE, HERE = torch.device("cuda", 0), torch.device("cpu")

UNSEEN = torch._C.DisableTorchFunction
"""Within it, operations are PyTorch's own."""

SIMPLE = {bool, int, float, type(None), slice, torch.dtype}
"""Arguments of these types hold no tensor."""

COPIES = {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.copy_}

READS = {
    *(getattr(torch.Tensor, f"__{name}__") for name in ("bool", "float", "int", "index", "contains")),
    *(getattr(torch.Tensor, name) for name in ("item", "tolist", "cpu", "nonzero", "unique", "equal")),
    *(getattr(torch, name) for name in ("nonzero", "unique", "equal", "allclose")),
}
"""What makes the processor wait until the device has computed a value, or a shape."""

DEVICE, IS_CUDA = torch.Tensor.device.__get__, torch.Tensor.is_cuda.__get__
SIZES = {getattr(torch.Tensor, name).__get__ for name in ("shape", "dtype", "ndim", "layout", "requires_grad")} | {
    torch.Tensor.size,
    torch.Tensor.dim,
    torch.Tensor.numel,
    torch.Tensor.__len__,
}
"""What is known of a tensor wherever it is."""

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
    if func in SIZES:
        with UNSEEN():
            return func(*args)
    there, strangers, asked = _read(args, kwargs)
    if func == DEVICE:
        return ELSEWHERE if there else HERE
    if func == IS_CUDA:
        return there
    if there and (strangers or _heard or func is torch.Tensor.numpy):
        _check(func, args, kwargs, strangers)
    ends_there = type(args[0]) is There if func is torch.Tensor.copy_ else there
    if asked is not None:
        ends_there = asked.type != "cpu"
        if ends_there:
            args, kwargs = tree_map(lambda part: HERE if _is_elsewhere(part) else part, (args, kwargs))
    elif func is torch.Tensor.cpu:
        ends_there = False
    with UNSEEN():
        found = func(*args, **kwargs)
        if isinstance(found, torch.Tensor):
            if there and not ends_there:
                return found.as_subclass(torch.Tensor).clone()
            kind = There if ends_there else torch.Tensor
            return found if type(found) is kind else found.as_subclass(kind)
        if isinstance(found, tuple | list) and type(found) is not torch.Size:
            wrong, right = (torch.Tensor, There) if ends_there else (There, torch.Tensor)
            return tree_map(lambda part: part.as_subclass(right) if type(part) is wrong else part, found)
        return found


def _check(func, args, kwargs, strangers):
    """Refuse what a device refuses, and note what waits for it."""
    if _heard and _is_read(func, args, kwargs):
        frame = sys._getframe(2)
        while frame.f_back is not None and "cvxrobust" not in frame.f_globals.get("__name__", ""):
            frame = frame.f_back
        _heard[-1][frame.f_globals.get("__name__", "").removeprefix("cvxrobust."), frame.f_code.co_name] += 1
    if func is torch.Tensor.numpy:
        raise TypeError("a tensor elsewhere has no NumPy array")
    shapes = [tuple(part.shape) for part in strangers if part.dim()]
    if shapes and func not in COPIES:
        raise RuntimeError(f"{func}: tensors of shapes {shapes} are on the CPU, others are not")


def _read(args, kwargs):
    """Whether tensors of an operation are elsewhere, those that are not, and the device that it asks for, if any."""
    there, strangers, asked = False, [], None
    for part in args:
        kind = type(part)
        if kind is There:
            there = True
        elif kind in SIMPLE:
            continue
        elif isinstance(part, torch.Tensor):
            strangers.append(part)
        elif isinstance(part, tuple | list | dict):
            for leaf in _leaves((part,)):
                if type(leaf) is There:
                    there = True
                elif isinstance(leaf, torch.Tensor):
                    strangers.append(leaf)
        elif asked is None and isinstance(part, torch.device):
            asked = part
    if kwargs:
        inner, others, _ = _read((list(kwargs.values()),), {})
        there, strangers = there or inner, strangers + others
        asked = kwargs.get("device", asked)
    return there, strangers, torch.device(asked) if isinstance(asked, str) else asked


def _is_elsewhere(part):
    if isinstance(part, str):
        return part.startswith(ELSEWHERE.type)
    return isinstance(part, torch.device) and part.type != "cpu"


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
