"""The study of backends on problems that nobody here wrote: what it counts as wrong, and one run from file to table."""

import json

import pytest

from cvxrobust.bench.studies import sdplib
from cvxrobust.core.conic.cones import PSD, NonNegative
from cvxrobust.core.formats import write_program
from cvxrobust.core.testing.planted import planted_program


def row(instance="truss1", status="converged", objective=-8.999996, form="given"):
    return {"backend": "b", "instance": instance, "status": status, "objective": objective, "form": form}


@pytest.mark.parametrize(
    ("found", "wrong", "solved"),
    [
        (row(), False, True),
        (row(objective=-8.9999), False, True),
        (row(objective=-8.99), True, False),
        (row(objective=None), True, False),
        (row(status="numerical", objective=-8.0), False, False),
        (row(status="infeasible", objective=None), True, False),
        (row("infp1", "infeasible", None), False, True),
        (row("infp1", "unbounded", None), True, False),
        (row("infp1", "unbounded", None, "equality"), False, True),
        (row("infd1", "unbounded", None), False, True),
        (row("infd1", "converged", 1.0), True, False),
        (row("infd1", "time limit", 1.0), False, False),
    ],
)
def test_only_what_is_so_counts_as_solved_and_only_what_is_not_so_as_wrong(found, wrong, solved):
    assert sdplib.is_wrong(found) is wrong
    assert sdplib.is_solved(found) is solved


def test_instances_are_solved_in_both_forms_and_shown(tmp_path, monkeypatch, capsys):
    program, planted = planted_program(0, (PSD(3), NonNegative(2)), columns=3)
    (tmp_path / "sdplib").mkdir()
    write_program(program, tmp_path / "sdplib" / "truss1.dat-s")
    monkeypatch.setenv("CVXROBUST_DATA", str(tmp_path))
    monkeypatch.setitem(sdplib.OPTIMA, "truss1", float(program.q @ planted.x))
    monkeypatch.setattr(sdplib, "Apart", Here)
    sdplib.main(["--out", str(tmp_path / "rows"), "--backends", "clarabel", "--instances", "truss1"])
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text(encoding="utf-8").splitlines()]
    assert [(found["form"], found["status"]) for found in rows] == [("given", "converged"), ("equality", "converged")]
    assert "clarabel: 2 of 2 solved, 0 wrong" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("CVXROBUST_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="CVXROBUST_DATA"):
        sdplib.folder()


class Here:
    """Answers in this process."""

    def __init__(self, answer, memory):
        assert memory == sdplib.MEMORY
        self.answer = answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, seconds, *question):
        assert seconds > question[-1]
        return self.answer(*question)
