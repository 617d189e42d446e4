"""How many threads the libraries beneath a backend may use, and what else of PyTorch's must not depend on its user.

Limits nest, in one thread and over solves that overlap in several: the last one asked for holds, and when none is left
everything is as it was before the first. BLAS has one limit for the whole process; OpenMP and PyTorch have one for
every thread that calls them.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any


class _Locked:
    """What threads change one at a time."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            # Another thread may have held the lock; it is not in the child to let go of it.
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()


class _Program(ctypes.Structure):
    """`dl_phdr_info`: what the loader says of a library, and how many it has loaded and unloaded so far."""

    _fields_ = (
        ("address", ctypes.c_void_p), ("name", ctypes.c_char_p), ("headers", ctypes.c_void_p),
        ("n_headers", ctypes.c_uint16), ("loaded", ctypes.c_ulonglong), ("unloaded", ctypes.c_ulonglong),
    )  # fmt: skip


class _Libraries:
    """The numerical libraries of this process, looked for anew only where others have been loaded since.

    Looking takes a millisecond where PyTorch is loaded, and a small solve would do it half a dozen times.
    """

    def __init__(self) -> None:
        self._found: tuple[tuple[int, int], Any] | None = None

    def controller(self) -> Any:
        """The `ThreadpoolController` of what is loaded now."""
        from threadpoolctl import ThreadpoolController  # slow to import, and seldom needed

        loads = self._loads()
        if loads is None:
            return ThreadpoolController()
        if self._found is None or self._found[0] != loads:
            # What is loaded meanwhile is looked for the next time.
            self._found = (loads, ThreadpoolController())
        return self._found[1]

    def _loads(self) -> tuple[int, int] | None:
        """How often a library was loaded, and unloaded; None where that is not said."""
        if sys.platform != "linux":
            return None
        said: list[tuple[int, int]] = []

        def first(program: Any, size: int, _: Any) -> int:
            if size >= ctypes.sizeof(_Program):
                said.append((program.contents.loaded, program.contents.unloaded))
            return 1  # it is the same for all of them

        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Program), ctypes.c_size_t, ctypes.c_void_p)
        ctypes.CDLL(None).dl_iterate_phdr(kind(first), None)
        return said[0] if said else None


class _Process(_Locked):
    """Limits of BLAS, which are the process's: those that hold, in order, and what each library had before them."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[list[int]] = []
        self._before: dict[str, int] = {}

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Limit the threads of BLAS inside the block."""
        mine = [threads]  # told from others by identity
        with self._lock:
            self._asked.append(mine)
            self._apply()
        try:
            yield
        finally:
            with self._lock:
                self._asked = [one for one in self._asked if one is not mine]
                self._apply()

    def _apply(self) -> None:
        for library in _libraries.controller().lib_controllers:
            if library.user_api != "blas":
                continue
            before = self._before.setdefault(library.filepath, library.num_threads)
            library.set_num_threads(self._asked[-1][0] if self._asked else before)
        if not self._asked:
            self._before.clear()


class _EveryThread(threading.local):
    """Limits of PyTorch that hold in one thread, in order."""

    def __init__(self) -> None:
        self.asked: list[int] = []


class _Torch(_Locked):
    """Limits of PyTorch's loops. A thread that is new to PyTorch begins with the last limit of any."""

    def __init__(self) -> None:
        super().__init__()
        self._here = _EveryThread()
        self._holding: list[int] = []
        self._before = 1

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Limit the threads of PyTorch inside the block."""
        import torch  # slow to import, and only backends that have done so come here

        here = self._here.asked
        with self._lock:
            now = torch.get_num_threads()
            if not self._holding:
                self._before = now
            # What this thread was given by the limit of another is not what it should have back.
            inherited = not here and now in self._holding
            back = self._before if inherited else now
            self._holding.append(threads)
            here.append(threads)
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            with self._lock:
                here.pop()
                self._holding.remove(threads)
                torch.set_num_threads(back)


_libraries, _process, _torch = _Libraries(), _Process(), _Torch()


@contextmanager
def blas_threads(threads: int | None) -> Iterator[None]:
    """Limit the threads of BLAS and OpenMP inside the block; None leaves them alone."""
    if threads is None:
        yield
        return
    with _libraries.controller().limit(limits=threads, user_api="openmp"), _process.limited(threads):
        yield


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Limit the threads of PyTorch's own loops inside the block; None leaves them alone."""
    with nullcontext() if threads is None else _torch.limited(threads):
        yield


@contextmanager
def torch_alone(threads: int | None) -> Iterator[None]:
    """`torch_threads`, with one thread for every other BLAS.

    For code that goes back and forth between PyTorch and NumPy in small steps: idle threads of either wait busily for
    a while, on processors that those of the other need.
    """
    with _process.limited(1), torch_threads(threads):
        yield


@contextmanager
def torch_defaults() -> Iterator[None]:
    """PyTorch as it is when nobody has changed its default device: tensors whose device nobody names are the CPU's."""
    import torch  # slow to import, and only backends that have done so come here

    # A mode costs a little with every call, so there is none where it would change nothing.
    with nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"):
        yield


class TorchModes:
    """How PyTorch recorded derivatives when this was made: a caller's code, called back, finds it so again.

    Solvers run in inference mode, whose tensors no derivative can go through, and callbacks run inside solvers.
    """

    def __init__(self) -> None:
        torch = sys.modules.get("torch")
        self._inference = torch is not None and torch.is_inference_mode_enabled()
        self._derivatives = torch is None or torch.is_grad_enabled()

    @contextmanager
    def restored(self) -> Iterator[None]:
        """PyTorch as it was, inside the block."""
        torch = sys.modules.get("torch")
        if torch is None:
            yield
            return
        # Leaving inference mode also turns derivatives on, hence the order.
        with torch.inference_mode(self._inference), torch.set_grad_enabled(self._derivatives):
            yield
