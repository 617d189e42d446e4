"""The contracts as calls, for notebooks, scripts and the first hour with a backend: no file, no class.

In a plugin's own tests the classes are the better form, for pytest then shows every test by its name.
"""

import itertools
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cvxrobust.core.arguments import function, instance
from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import CvxRobustError, InputError, UnknownNameError
from cvxrobust.core.formats.fingerprint import fingerprint, is_same
from cvxrobust.core.testing.backend_contract import BackendContract
from cvxrobust.core.testing.problem_contract import ProblemContract

LONGEST = 200
"""Characters of what is said about one broken promise."""

SHOWN = 10
"""Broken promises that are told in words; a report has them all."""


class ContractError(CvxRobustError, AssertionError):
    """What was checked does not keep the contract.

    Args:
        report: Which tests hold, and which do not.
    """

    def __init__(self, report: "ContractReport") -> None:
        super().__init__(report)
        self.report = report


@dataclass(frozen=True)
class ContractReport:
    """How a contract was kept.

    Args:
        name: What was checked.
        passed: The tests that hold.
        skipped: Those of what it does not promise.
        broken: Those that do not hold, each with what was found.
    """

    name: str
    passed: tuple[str, ...]
    skipped: tuple[str, ...]
    broken: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counted = f"{self.name}: {len(self.passed)} tests of the contract hold, {len(self.skipped)} do not apply"
        if not self.broken:
            return f"{counted}."
        lines = [f"- {test}: {found}" for test, found in self.broken.items()]
        more = [f"- and {len(lines) - SHOWN} more, all of them in `report.broken`"] if len(lines) > SHOWN else []
        return "\n".join([f"{counted}, {len(lines)} fail:", *lines[:SHOWN], *more])


def check_backend(backend: str | Backend, **promises: Any) -> ContractReport:
    """Run the tests of `BackendContract` on a backend, here and now: some seconds for a fast one.

    Args:
        backend: A registered name, with a variant where there are variants, or a backend.
        promises: The contract's attributes where they differ, such as ``finds_certificates=False``.

    Returns:
        Which tests hold, and which do not apply.

    Raises:
        ContractError: A test does not hold, or nothing could be tested; it says what was found.
        UnknownNameError: There is no such backend, or no such promise.
        BackendUnavailableError: It cannot run here.
    """
    found = get_backend(backend)
    _known(promises, BackendContract, "backend")
    return _checked(found.name, type("TestBackend", (BackendContract,), {"backend": backend, **promises}))


def check_problem(make: Callable[[], Problem[Any]], **promises: Any) -> ContractReport:
    """Run the tests of `ProblemContract` on a family of problems, here and now.

    Args:
        make: Makes a small problem of the family, a few dozen samples at most; every test solves it.
        promises: The contract's attributes where they differ, such as ``tolerance=1e-5``.

    Returns:
        Which tests hold, and which do not apply.

    Raises:
        ContractError: A test does not hold; it says what was found.
        InputError: `make` is no function, or makes no problem, or another one each time.
        UnknownNameError: There is no such promise.
    """
    if make is None or isinstance(make, Problem):
        raise InputError("make has to be a function that makes a problem anew; write lambda: MyProblem(X, y).")
    function(make, "make", "nothing", 0)
    made = instance(make(), "what make returned", Problem, "a problem; see core/contracts/problem.py")
    _known(promises, ProblemContract, "make")
    _one_problem(made, instance(make(), "what make returned", Problem, "a problem; see core/contracts/problem.py"))
    return _checked(
        type(made).__name__, type("TestProblem", (ProblemContract,), {"make": staticmethod(make), **promises})
    )


def _one_problem(first: Problem[Any], second: Problem[Any]) -> None:
    """Refuse what is made from other data each time: every test would have an optimum of its own."""
    same = len(first.parts) == len(second.parts)
    for before, after in zip(first.parts, second.parts, strict=False):
        if same and before.conic_rows and after.conic_rows:
            same = is_same(fingerprint(after.to_conic()), fingerprint(before.to_conic()))
    if not same:
        raise InputError(
            "make makes another problem each time; draw its data before, or inside from a generator with a seed."
        )


def _known(promises: dict[str, Any], contract: type, taken: str) -> None:
    """Refuse attributes that the contract has not."""
    attributes = {
        name for base in contract.__mro__ for name in vars(base).get("__annotations__", {}) if not name.startswith("_")
    } - {taken}
    for name in promises:
        if name not in attributes:
            raise UnknownNameError(f"promise of {contract.__name__}", name, attributes)


@dataclass
class _Listener:
    """Hears how each test of a session ended."""

    passed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.rpartition("::")[2]
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.broken[test] = _short(report.longreprtext if crash is None else str(crash.message))
        elif report.skipped:
            self.skipped.append(test)
        elif report.when == "call":
            self.passed.append(test)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.broken["collection"] = _short(report.longreprtext)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


_UNDER_TEST: list[type] = []
"""What the module that is written below is to hold."""

_NUMBERS = itertools.count()


def _checked(name: str, tests: type) -> ContractReport:
    """Run a class of tests in a session of its own: no configuration, cache or output of anybody's."""
    heard = _Listener()
    _UNDER_TEST.append(tests)
    try:
        with tempfile.TemporaryDirectory() as folder:
            module = Path(folder, f"test_contract_{next(_NUMBERS)}.py")  # names of their own: imports are remembered
            module.write_text(f"from {__name__} import _UNDER_TEST\n{tests.__name__} = _UNDER_TEST[-1]\n")
            own = ["-c", os.devnull, "--rootdir", folder, "--import-mode", "importlib"]
            quiet = ["-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:faulthandler"]
            pytest.main([*own, *quiet, str(module)], plugins=[heard])
    finally:
        _UNDER_TEST.pop()
    report = ContractReport(name, tuple(heard.passed), tuple(heard.skipped), heard.broken)
    if heard.broken or not heard.passed:
        raise ContractError(report)
    return report
