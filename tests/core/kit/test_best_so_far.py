"""What authors of structured backends are given: the best so far with its certificate, a deadline, devices, calls."""

import time
from dataclasses import replace

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import ConvexReLU, InputError, Settings, Termination
from cvxrobust.core import (
    Capabilities,
    Monitor,
    PolynomialNetwork,
    ReLUNetwork,
    Solution,
    UnsupportedProgramError,
)
from cvxrobust.core.kit import (
    BestSoFar,
    GatedBest,
    call_backend,
    network_to_start_from,
    require_structured,
    resolve_device,
)

X = np.random.default_rng(0).standard_normal((12, 2))
PROGRAM = ConvexReLU(X, np.sign(X[:, 0]), n_gates=3, beta=0.01).program
RELU = ReLUNetwork(np.ones((1, 2)), np.ones(1))


def test_points_only_ever_get_better_and_both_are_handed_over():
    heard = []
    best = BestSoFar(Settings(tolerance=0.1), Monitor(hear=lambda *said: heard.append(said)))
    best.report()
    assert heard == [(np.inf, -np.inf, None)]
    offers = [(3.0, 1.0), (4.0, 0.5), (2.0, np.nan), (np.nan, 1.5)]
    better = [(best.offer_primal(f"p{u}", u), best.offer_dual(f"d{v}", v)) for u, v in offers]
    assert better == [(True, True), (False, False), (True, False), (False, True)]
    assert (best.primal, best.upper, best.dual, best.lower) == ("p2.0", 2.0, "d1.5", 1.5)
    assert best.gap == pytest.approx(0.25)
    best.report()
    upper, lower, iterate = heard[-1]
    assert (upper, lower) == (2.0, 1.5)
    assert (iterate().network, iterate().multipliers) == ("p2.0", "d1.5")


def test_what_is_neither_network_nor_multipliers_is_made_into_them():
    best = BestSoFar(
        Settings(), Monitor(), answer=lambda p, d: Solution(Termination.ERROR, network=p[0], multipliers=d)
    )
    assert best.solution(Termination.NUMERICAL).network is None
    best.offer_primal((RELU,), 1.0)
    found = best.solution(Termination.INTERRUPTED, iterations=3)
    assert (found.termination, found.network, found.multipliers, found.iterations) == ("interrupted", RELU, None, 3)


def test_a_solve_ends_by_its_gap_by_its_user_by_its_deadline_or_by_its_limit_in_that_order(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    best = BestSoFar(Settings(tolerance=0.1), Monitor(deadline=100.0), most=5)
    assert best.ended(4) is None
    assert best.ended(5) is Termination.ITERATION_LIMIT
    assert BestSoFar(Settings(max_iterations=2), Monitor(), most=5).ended(2) is Termination.ITERATION_LIMIT
    assert BestSoFar(Settings(), Monitor()).ended(10**9) is None
    for reserve, until in ((10.0, 90.0), (1e9, 75.0)):
        best.deadline.reserve, now[0] = reserve, until - 0.1
        assert not best.late
        now[0] = until
        assert best.ended(5) is Termination.TIME_LIMIT
    best.monitor.stop()
    assert best.ended(5) is Termination.INTERRUPTED
    best.offer_primal("p", 1.0)
    best.offer_dual("d", 0.95)
    assert best.ended(5) is Termination.CONVERGED


def test_what_is_known_of_a_gated_programme_is_judged_as_core_judges_it():
    from cvxrobust.core.programs.gated.certificate import gated_bound, network_multipliers

    best, zero = GatedBest(PROGRAM, Settings(), Monitor()), np.zeros(PROGRAM.shape)
    assert best.offer_point(zero)
    assert best.upper == 1.0
    assert not best.offer_point(zero + np.nan)
    given = network_multipliers(PROGRAM, zero)
    assert best.offer_multipliers(given).violations.max() > PROGRAM.beta
    kept = best.solution(Termination.TIME_LIMIT).multipliers
    assert gated_bound(PROGRAM, kept).violations.max() == pytest.approx(PROGRAM.beta, rel=1e-9)
    assert gated_bound(PROGRAM, kept).value == pytest.approx(best.lower, rel=1e-9)


@pytest.mark.parametrize(
    ("device", "devices", "there", "found"),
    [
        ("auto", ("cpu",), True, "cpu"),
        ("auto", ("cpu", "cuda"), True, "cuda"),
        ("auto", ("cpu", "cuda"), False, "cpu"),
        ("cuda:1", ("cpu", "cuda"), True, "cuda:1"),
        ("cuda:2", ("cpu", "cuda"), True, "device is 'cuda:2', but PyTorch sees 2"),
        ("cuda", ("cpu", "cuda"), False, "PyTorch sees 0 CUDA devices"),
        ("cuda", ("cpu",), False, "cpu"),
        ("mps", ("cpu", "cuda"), False, "cpu"),
        ("mps", ("cpu", "mps"), False, "PyTorch sees no such device"),
        ("mps", ("cpu", "mps"), True, "no double precision"),
    ],
)
def test_a_device_is_the_one_asked_for_or_refused(monkeypatch, device, devices, there, found):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 if there else 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there)
    if " " in found:
        with pytest.raises(InputError, match=found):
            resolve_device(Settings(device=device), devices)
    else:
        assert resolve_device(Settings(device=device), devices) == found


def test_a_backend_is_given_what_it_says_that_it_takes():
    given = {}
    backend = Fake(None)
    backend.solve = lambda program, settings, **optional: given.update(optional)
    start = Solution(Termination.TIME_LIMIT)
    for abilities in ({}, {"monitored": True}, {"warm_start": True}):
        given.clear()
        backend.capabilities = replace(Capabilities(), **abilities)
        call_backend(backend, None, Settings(), Monitor(), start)
        assert set(given) == {{"monitored": "monitor"}.get(name, name) for name in abilities}


def test_what_a_structured_backend_does_not_read_is_refused_by_name():
    reads = Capabilities(structured=frozenset({"gated"}), losses=frozenset({"squared"}))
    with pytest.raises(UnsupportedProgramError, match="'mine' reads gated programmes, not ndarray"):
        require_structured(X, reads, "mine")
    with pytest.raises(UnsupportedProgramError, match="'mine' does not know the loss 'hinge'"):
        require_structured(PROGRAM, reads, "mine")
    require_structured(replace(PROGRAM, loss="squared"), reads, "mine")
    weighted = replace(PROGRAM, loss="squared", weights=np.ones(PROGRAM.labels.shape[0]))
    with pytest.raises(UnsupportedProgramError, match="'mine' does not heed the weights of samples"):
        require_structured(weighted, reads, "mine")


def test_only_a_network_of_its_own_kind_is_a_start():
    warm = Solution(Termination.TIME_LIMIT, network=RELU)
    assert network_to_start_from(warm, ReLUNetwork) is RELU
    assert network_to_start_from(warm, PolynomialNetwork) is None
    assert network_to_start_from(None, ReLUNetwork) is None
