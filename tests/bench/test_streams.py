"""Standard output and error may be closed, full, left by their reader, or needed for one JSON object alone."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cvxrobust.bench import streams
from cvxrobust.bench.cli import main
from cvxrobust.bench.display import clean_errors, fail, make_table
from cvxrobust.core.discovery import registry
from cvxrobust.core.strangers import described, visible

NOISY = """
import os, sys
from cvxrobust.core.discovery.hookspecs import BackendDescription, ProblemDescription, hookimpl
from cvxrobust.core.contracts.backend import Capabilities

print("a banner")
sys.stdout.buffer.write(b"bytes"); sys.stdout.buffer.flush()
os.write(1, b"native")

class Noisy:
    name = "noisy"
    capabilities = Capabilities()
    def unavailable(self):
        print("asked", file=sys.__stdout__); os.write(1, b"asked"); return "no\\x1b[31m [/bold] solver"
    def solve(self, program, settings): ...

def made():
    print("made"); os.write(1, b"made"); return Noisy()

@hookimpl
def cvxrobust_backends():
    return [BackendDescription("noisy", made)]
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    def put(source):
        (tmp_path / "a_plugin_of_streams.py").write_text(source)
        info = tmp_path / "a_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[cvxrobust]\nplug = a_plugin_of_streams\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        registry.reload()

    yield put
    sys.modules.pop("a_plugin_of_streams", None)
    monkeypatch.undo()
    registry.reload()


def ended(*arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


@pytest.mark.parametrize("command", [("backends", "list"), ("plugins", "list"), ("backends", "show", "noisy")])
def test_standard_output_holds_one_object_whatever_plugins_print(plugin, capfd, command):
    plugin(NOISY)
    assert ended(*command, "--json") == 0
    said = capfd.readouterr()
    assert isinstance(json.loads(said.out), dict)
    assert {"a banner", "native"} <= set(said.err.replace("bytes", "\n").replace("native", "native\n").splitlines())


def test_words_of_plugins_are_shown_as_they_are(plugin, capfd):
    plugin(NOISY)
    assert ended("backends", "list") == 0
    assert r"no\x1b[31m [/bold] solver" in capfd.readouterr().out


@pytest.mark.parametrize("how", ["sys.exit('it needs X')", "raise KeyboardInterrupt"])
def test_a_plugin_that_leaves_is_a_line_in_a_list(plugin, capfd, how):
    plugin(f"import sys\n{how}\n")
    for command in ("plugins", "backends", "problems", "metrics"):
        assert ended(command, "list") == 0
    out = capfd.readouterr().out
    assert "broken" in out
    assert ("it needs X" in out) or ("KeyboardInterrupt" in out)


class Broken(io.StringIO):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text=""):
        raise OSError(self.number, os.strerror(self.number))

    flush = write


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 74), (errno.EPIPE, 0), (errno.EIO, 74)])
def test_output_that_takes_no_more_ends_a_command_with_a_code_that_says_so(monkeypatch, capfd, number, code):
    monkeypatch.setattr(sys, "stdout", Broken(number))
    for arguments in (("metrics", "list"), ("metrics", "list", "--json"), ("--help",)):
        assert ended(*arguments) == code
    assert ("takes no more" in capfd.readouterr().err) == (code == 74)


@pytest.mark.parametrize("stream", [None, Broken(errno.ENOSPC), Broken(errno.EPIPE)])
def test_remarks_that_nobody_can_read_end_nothing(monkeypatch, capfd, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    assert ended("metrics", "list") == 0
    assert "relative-gap" in capfd.readouterr().out
    assert fail("a message", 2).exit_code == 2


def test_a_closed_stream_is_written_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert ended("metrics", "list") == 0


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell that closes streams")
def test_a_shell_that_closes_streams_sees_the_usual_exit_codes(tmp_path):
    root = Path(streams.__file__).resolve().parents[2]
    command = f"{sys.executable} -m cvxrobust metrics list"
    lines = [f"{command} >&- 2>&-; echo $?", f"{command} --json >/dev/full; echo $?"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(["sh", "-c", "\n".join(lines)], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.split() == ["0", "74"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(SystemExit("no"), 2), (OSError(errno.ENOSPC, "full"), 74), (ValueError("odd"), 70)], ids=repr
)
def test_what_ends_a_command_has_its_own_exit_code(error, code):
    with pytest.raises(typer.Exit) as raised, clean_errors():
        raise error
    assert raised.value.exit_code == code


def test_control_characters_are_spelt_out_and_errors_have_words():
    assert visible("a\x1b[2J\x00\u202eb\tc\nd") == "a\\x1b[2J\\x00\\u202eb\tc\nd"
    assert make_table("[red]", ["[/x]"], [["\x07[/y]"]]).columns[0]._cells[0].plain == "\\x07[/y]"

    class Mute(Exception):
        def __str__(self):
            return 3

    assert described(Mute()) == "Mute: (a Mute whose text raises TypeError)"
