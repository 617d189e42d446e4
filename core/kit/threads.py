"""How many threads the libraries beneath a backend may use."""

from collections.abc import Iterator
from contextlib import contextmanager


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
