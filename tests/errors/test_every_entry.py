"""No public name without a table: everything that a user may call has been given twenty wrong inputs."""

import inspect
from enum import Enum
from importlib import import_module
from pathlib import Path

import pytest
from commands import COMMANDS, leaves
from wrong_inputs import FEWEST

import cvxrobust

WITHOUT = {
    "Certificate PathPoint PathResult Result RobustnessReport": "made by this package, not by its users",
    "*Classifier *Regressor *CV": "constructors keep what they are given, as scikit-learn has it; `fit` refuses it",
    "*SDP.* *ReLU.*": "but for `at`, what problems offer to solvers; `ProblemContract` is about it",
    "*.from_stored *.contests *.quadratic": "what files and certificates are made by; no page names them",
}
"""What has no table, by patterns of names, and why; besides exceptions, enumerations, and what takes no argument."""


def patterns():
    """The patterns apart."""
    return [pattern for several in WITHOUT for pattern in several.split()]


def is_ours(method):
    """Whether a method is written here: scikit-learn's and Python's are theirs to word."""
    return getattr(method, "__module__", "").startswith("cvxrobust") and bool(inspect.signature(method).parameters)


def arguments(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def public():
    """Functions, classes and methods of the public face that take arguments."""
    for name in cvxrobust.__all__:
        one = getattr(cvxrobust, name)
        if not callable(one):
            continue
        if not inspect.isclass(one):
            yield name
        elif not issubclass(one, Exception | Enum):
            yield name
            for called in dir(one):
                method = getattr(one, called)
                if not called.startswith("_") and inspect.isroutine(method) and is_ours(method) and arguments(method):
                    yield f"{name}.{called}"


def tables():
    """Entries by name, from all files beside this one, and how many wrong inputs each has."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("test_*_errors.py")):
        for entry in getattr(import_module(file.stem), "ENTRIES", ()):
            found[entry.name] = found.get(entry.name, 0) + len(entry.cases)
    return found


def excused(name):
    """Whether there need be no table."""
    return not name.endswith(".at") and any(Path(name).match(pattern) for pattern in patterns())


def test_every_public_name_has_been_given_twenty_wrong_inputs():
    known = tables()
    lacking = [name for name in public() if not excused(name) and known.get(name, 0) < FEWEST]
    assert lacking == []


def test_every_command_has_been_given_twenty_wrong_inputs():
    assert {
        command: len(COMMANDS.get(command, ())) for command in leaves() if len(COMMANDS.get(command, ())) < FEWEST
    } == {}


def test_no_table_is_of_a_name_that_is_gone():
    known = {*public(), "get_backend", "register", "load"}
    assert [name for name in tables() if name not in known] == []
    assert [command for command in COMMANDS if command not in leaves()] == []


@pytest.mark.parametrize("pattern", patterns())
def test_every_excuse_excuses_something(pattern):
    assert any(Path(name).match(pattern) for name in public())
