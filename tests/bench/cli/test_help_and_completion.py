"""A page of help for each command, names that shells complete, and Ctrl-C before there is anything to lose."""

import signal
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from cvxrobust.bench import interrupts
from cvxrobust.bench.cli import app
from cvxrobust.bench.cli.completion import data_names

PAGE = 72
"""Lines of a page, at a hundred columns."""


def commands(command, names=()):
    """Every command and group, by what is typed for it."""
    yield names
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*names, name))


@pytest.mark.parametrize("names", [*commands(typer.main.get_command(app))], ids=lambda names: " ".join(names) or "-")
def test_help_is_a_page_of_a_hundred_columns(names, monkeypatch):
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 100)
    found = CliRunner().invoke(app, [*names, "--help"], prog_name="cvxrobust", env={"COLUMNS": "100"})
    lines = found.output.rstrip().splitlines()
    assert found.exit_code == 0
    assert max(map(len, lines)) <= 100
    assert len(lines) <= PAGE
    assert "…" not in found.output  # nothing is cut off


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("cvxrobust so", {"solve"}),
        ("cvxrobust solve --backend c", {"clarabel", "cvxpy"}),
        ("cvxrobust solve --data bre", {"breast-cancer", "breast_cancer_wisconsin_original"}),
        ("cvxrobust solve --loss h", {"hinge", "huber"}),
        ("cvxrobust solve --problem adv", {"adversarial-sdp", "adversarial-relu"}),
        ("cvxrobust solve --method cut", {"cutting-set"}),
        ("cvxrobust solve --norm i", {"inf"}),
        ("cvxrobust solve --metric neu", {"neurons"}),
        ("cvxrobust bench run sm", {"smoke"}),
        ("cvxrobust backends show ip", {"ipm"}),
    ],
)
def test_shells_complete_commands_and_names(typed, offered):
    asked = {
        "_CVXROBUST_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    assert set(CliRunner().invoke(app, [], prog_name="cvxrobust", env=asked).output.split()) == offered


def test_shells_complete_files_of_data_and_folders(tmp_path):
    for name in ("rows.csv", "rows.npz", "rows.txt"):
        (tmp_path / name).touch()
    (tmp_path / "rowing").mkdir()
    assert data_names(f"{tmp_path}/row") == [f"{tmp_path}/{name}" for name in ("rowing/", "rows.csv", "rows.npz")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_makes_a_shell_complete_is_shown(shell):
    found = CliRunner().invoke(app, ["--show-completion", shell], prog_name="cvxrobust")
    assert found.exit_code == 0
    assert "_CVXROBUST_COMPLETE=complete_" in found.output


PRESSED = """
import os, signal, sys

class Presses:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Presses())
from cvxrobust.bench.cli import main
main(["problems", "list"])
"""


@pytest.mark.parametrize("module", ["typer", "cvxrobust.core.discovery.registry"])
def test_ctrl_c_in_the_first_second_is_one_line(module):
    done = subprocess.run([sys.executable, "-c", PRESSED, module], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT == interrupts.EXIT_INTERRUPTED
    assert done.stdout == ""
    assert done.stderr == "cvxrobust: error: interrupted before there was a result.\n"


def test_what_a_library_makes_of_ctrl_c_is_known_for_what_it_is(run, monkeypatch):
    def listed():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("a library failed to load") from error

    monkeypatch.setattr("cvxrobust.core.discovery.registry.problems", listed)
    code, out, err = run("problems", "list")
    assert (code, out) == (interrupts.EXIT_INTERRUPTED, "")
    assert err == "cvxrobust: error: interrupted before there was a result.\n"
    assert not interrupts.is_interrupt(ImportError("of its own"))
