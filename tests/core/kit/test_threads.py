"""Limits of threads nest, over solves that overlap too; what a user has made PyTorch's default stays outside."""

import ctypes
import shutil
import sys
import threading

import numpy as np
import pytest
import threadpoolctl
import torch
from threadpoolctl import threadpool_info

from cvxrobust import AdversarialReLU, AdversarialSDP, Settings, solve
from cvxrobust.core import blas_threads, torch_alone, torch_threads

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = np.sign(X[:, 0] * X[:, 1])


def pools():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def able():
    """Libraries that heed limits: some solvers bring one that was built for one thread."""
    with blas_threads(2):
        two = pools()
    with blas_threads(3):
        return {path for path, count in pools().items() if count == 3 and two[path] == 2}


ABLE = able()


def blas():
    return [count for path, count in pools().items() if path in ABLE]


@pytest.fixture
def three():
    """Three threads for BLAS and PyTorch, whatever the machine has."""
    with blas_threads(3), torch_threads(3):
        assert set(blas()) == {3}
        yield
        assert set(blas()) == {3}
        assert torch.get_num_threads() == 3


def test_inner_limits_hold_and_outer_ones_come_back(three):
    with blas_threads(2):
        assert set(blas()) == {2}
        with torch_alone(1):
            assert set(blas()) == {1}
            assert torch.get_num_threads() == 1
        assert set(blas()) == {2}
        with blas_threads(None), torch_threads(None):
            assert set(blas()) == {2}


def test_libraries_that_are_loaded_later_are_limited_too(tmp_path):
    with blas_threads(2):
        assert set(blas()) == {2}
    another = shutil.copy(min(ABLE), tmp_path)
    ctypes.CDLL(another)
    with blas_threads(3):
        assert pools()[str(another)] == 3
    with blas_threads(2):
        assert pools()[str(another)] == 2


def test_libraries_are_looked_for_once(monkeypatch):
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux says whether libraries were loaded meanwhile")
    with blas_threads(2):
        pass
    looks = []
    monkeypatch.setattr(threadpoolctl.ThreadpoolController, "_load_libraries", lambda _: looks.append(1))
    for threads in (3, 2):
        with blas_threads(threads):
            pass
    assert not looks


@pytest.mark.parametrize("limit", [blas_threads, torch_alone, torch_threads])
def test_limits_that_overlap_in_several_threads_leave_what_was_there_before(three, limit):
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    after = {}

    def first():
        with limit(1):
            first_in.set()
            assert second_in.wait(10.0)
        after["first"] = torch.get_num_threads()
        first_out.set()

    def second():
        assert first_in.wait(10.0)
        with limit(1):
            second_in.set()
            assert first_out.wait(10.0)
        after["second"] = torch.get_num_threads()

    running = [threading.Thread(target=work) for work in (first, second)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert set(blas()) == {3}
    if limit is not blas_threads:  # which leaves PyTorch alone
        assert after == {"first": 3, "second": 3}


def test_an_exception_takes_its_limit_along(three):
    with pytest.raises(ZeroDivisionError), torch_alone(1):
        raise ZeroDivisionError


@pytest.fixture
def elsewhere():
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("problem", [AdversarialSDP(X, Y, radius=0.1), AdversarialReLU(X, Y, radius=0.05, n_gates=4)])
@pytest.mark.parametrize("backend", ["ipm", "torch"])
def test_the_default_device_is_the_users_and_no_backends(elsewhere, problem, backend):
    found = solve(problem, backend=backend, settings=Settings(tolerance=1e-2))
    assert found.quality == "certified"
    assert torch.get_default_device().type == "meta"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("backend", ["ipm", "torch"])
def test_the_default_dtype_is_the_users_and_no_backends(dtype, backend):
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        for problem in (AdversarialSDP(X, Y, radius=0.1), AdversarialReLU(X, Y, radius=0.05, n_gates=4)):
            assert solve(problem, backend=backend, settings=Settings(tolerance=1e-2)).quality == "certified"
        assert torch.get_default_dtype() is dtype
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
def test_a_callback_finds_the_derivatives_of_its_caller(backend):
    torch, seen = pytest.importorskip("torch"), []

    def callback(*_):
        weight = torch.ones(2, requires_grad=True)
        (weight * weight).sum().backward()
        seen.append(weight.grad.tolist())

    problem = AdversarialSDP(np.eye(4), [1.0, -1.0, 1.0, -1.0], radius=0.1, beta=0.1)
    solve(problem, backend=backend, callback=callback)
    assert seen
    assert set(map(tuple, seen)) == {(2.0, 2.0)}
