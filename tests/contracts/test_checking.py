"""Contracts as calls: they say the same as the classes, and leave the session that called alone."""

import numpy as np
import pytest

from cvxrobust import StandardSDP
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.testing import ContractError, check_backend, check_problem

X = np.random.default_rng(0).normal(size=(8, 2))
Y = np.where(X[:, 0] > 0.0, 1.0, -1.0)


class Forgetful:
    """Says of every programme that zero solves it."""

    name, unavailable = "forgetful", staticmethod(lambda: None)
    capabilities = get_backend("clarabel").capabilities

    def solve(self, program, settings, *, monitor=None):
        zero = np.zeros(program.b.size)
        return Solution(Termination.CONVERGED, np.zeros(program.q.size), zero, zero)


def test_a_backend_that_keeps_the_contract_passes():
    report = check_backend("clarabel")
    assert len(report.passed) > 80
    assert report.skipped
    assert not report.broken
    assert str(report).startswith("clarabel: ")


def test_a_backend_that_breaks_it_is_told_where():
    with pytest.raises(ContractError, match=r"(?s)^forgetful: .* fail:\n- test_.*\n- and \d+ more") as refused:
        check_backend(Forgetful())
    broken = refused.value.report.broken
    assert any(test.startswith("test_it_finds_planted_optima") for test in broken)
    assert len(str(refused.value)) < 4_000


def test_a_family_of_problems_is_checked_likewise():
    report = check_problem(lambda: StandardSDP(X, Y, beta=0.1), backends=("clarabel",))
    assert report.name == "StandardSDP"
    assert len(report.passed) > 10


def test_wrong_questions_are_refused_before_anything_runs():
    with pytest.raises(UnknownNameError, match="Did you mean 'finds_certificates'"):
        check_backend("clarabel", finds_certificate=False)
    with pytest.raises(UnknownNameError, match="unknown backend 'clarabell'"):
        check_backend("clarabell")
    with pytest.raises(InputError, match="make has to be a function"):
        check_problem(StandardSDP(X, Y, beta=0.1))
    with pytest.raises(InputError, match="what make returned is 3"):
        check_problem(lambda: 3)
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="another problem each time"):
        check_problem(lambda: StandardSDP(rng.normal(size=(8, 2)), Y, beta=0.1))
