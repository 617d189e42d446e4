"""Every command refuses wrong input by one line that says what was wrong, and does nothing."""

import shlex
from functools import cache

import numpy as np
import pytest
import typer.main
from commands import COMMANDS, GROUPS
from wrong_inputs import faults_of

from cvxrobust.bench.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data of all sorts, networks of both kinds and an exported programme."""
    home = tmp_path_factory.mktemp("wrong")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    labels, prices = np.where(X[:, 0] * X[:, 1] > 0.0, "yes", "no").tolist(), (X[:, 0] + X[:, 1] ** 2).tolist()
    rows = [f"{a!r},{b!r}," for a, b in X.tolist()]
    labelled = [row + label for row, label in zip(rows, labels, strict=True)]
    tables = {
        "rows": ["width,height,label", *labelled],
        "gaps": ["width,height,label", *labelled[:-1], "1,,yes"],
        "text": ["width,height,label", *labelled[:-1], "1,tall,yes"],
        "one": ["width,height,label", *(f"{row}yes" for row in rows)],
        "short": ["width,label", "1,yes", "2,no"],
        "twice": ["width,width,label", "1,2,yes", "2,3,no"],
        "ragged": ["width,height,label", "1,2,yes", "2,3"],
        "prices": ["width,height,price", *(f"{row}{price!r}" for row, price in zip(rows, prices, strict=True))],
        "empty": [],
    }
    for name, lines in tables.items():
        (home / f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
    texts = {"notes.txt": "hello", "sol.txt": "1 2 3", "bad.toml": "a = = 1", "odd.toml": 'name = "x"\n[[problem]]\n'}
    for name, text in texts.items():
        (home / name).write_text(text, encoding="utf-8")
    (home / "full").mkdir()
    (home / "full" / "notes.txt").write_text("hello", encoding="utf-8")
    (home / "net.pkl").write_bytes(b"\x80\x04.")
    np.savez(home / "z.npz", Z=X)
    fixed = ["--backend", "clarabel", "--tolerance", "0.1", "-q"]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(home)
        for command in (
            ["solve", "--data", "rows.csv", "--radius", "0.1", "--save", "net.npz", *fixed],
            ["solve", "--data", "prices.csv", "--label", "price", "--loss", "squared", "--radius", "0.1", "--save",
             "num.npz", *fixed],
            ["solve", "--data", "rows.csv", "--problem", "convex-relu", "--n-gates", "3", "--save", "relu.npz", *fixed],
            ["export", "p.cbf", "--data", "rows.csv", "--radius", "0.1", "-q"],
        ):  # fmt: skip
            with pytest.raises(SystemExit) as stopped:
                main(command)
            assert stopped.value.code == 0
    return home


@pytest.fixture(autouse=True, scope="module")
def _one_parser():
    """What is typed is parsed by one parser, which a process otherwise makes for its one command."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPS])
def test_wrong_input_is_one_line_and_no_work(run, folder, monkeypatch, command):
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    faults = []
    for given, says in (COMMANDS | GROUPS)[command]:
        code, out, err = run(*command.split(), *shlex.split(given))
        *_, line = err.strip().splitlines() or [""]
        told = faults_of(line.removeprefix("cvxrobust: error: "), says)
        if (code, out) != (2, ""):
            told.append(f"exit code {code}, and {out[:60]!r} on standard output")
        if created := sorted(path.name for path in folder.iterdir() if path.name not in before):
            told.append(f"{created} were made")
        faults += [f"{command} {given}: {one}" for one in told]
    assert "\n".join(faults) == ""


@pytest.mark.parametrize("command", ["", "backends", "bench", "reproduce"])
def test_a_group_without_a_command_prints_its_help(run, command):
    code, out, err = run(*command.split())
    assert code == 2
    assert "Commands" in out + err
    assert "error" not in err
