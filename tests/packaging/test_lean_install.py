"""Without the extras: what solving, estimators and the command line need is there, all else says what to install.

Packages of extras are hidden here; that an environment which never had them serves as well is seen in `.ci/smoke.py`.
"""

import ast
import json
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cvxrobust import MissingExtraError
from cvxrobust.core.extras import has, require

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
LEAN = ("matplotlib", "polars", "plotly", "jinja2", "pydantic", "pandas", "skops", "distributed", "groot", "foolbox")
LEAN += ("pytest",)
"""What brings features that not everybody wants. Others need some of it (PyTorch jinja2, typer pydantic): we do not."""

HIDE = f"""
import builtins, json, sys
import cvxrobust.core.extras

genuine, find_spec, hidden = builtins.__import__, cvxrobust.core.extras.find_spec, {LEAN!r}

def without(name, globals=None, *rest, **named):
    if name.partition(".")[0] in hidden and str((globals or {{}}).get("__name__")).startswith("cvxrobust"):
        raise ModuleNotFoundError(f"No module named {{name!r}}, for {{globals['__name__']}}", name=name)
    return genuine(name, globals, *rest, **named)

builtins.__import__ = without
cvxrobust.core.extras.find_spec = lambda name: None if name in hidden else find_spec(name)
"""
RUN = f"""{HIDE}
import contextlib, io
from cvxrobust.bench.cli import main

done = []
for command in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(command)
        except SystemExit as ended:
            code = ended.code
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""


def lean(folder, *commands):
    """Run commands in one process without the extras: exit code, output and errors of each."""
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, json.dumps([[str(word) for word in words] for words in commands])],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def test_the_daily_commands_need_no_extra(csv):
    data, fast = ("--data", csv.name), ("--tolerance", "1e-3", "--quiet")
    done = lean(
        csv.parent,
        ["solve", *data, "--radius", "0.1", "--backend", "clarabel", "--save", "net.npz", *fast],
        ["predict", "net.npz", *data],
        ["evaluate", "net.npz", *data, "--radius", "0.1", "--rows", "rows.csv"],
        ["path", *data, "--radii", "0.1", "--betas", "0.01,0.1", "--backend", "clarabel", "--out", "path", *fast],
        ["export", "programme.cbf", *data, "--radius", "0.1"],
        ["backends", "list"],
    )
    assert [(code, errors) for code, _, errors in done if code] == []
    assert done[1][1].splitlines()[0].startswith("row,")
    path = done[3][1]
    assert "Networks and table are in path" in path
    assert 'pictures need matplotlib, which is not installed: pip install "cvxrobust[plot]"' in path
    assert {file.name for file in (csv.parent / "path").iterdir()} == {"points", "networks", "path.json"}


REFUSED = [
    ("evaluate net.npz --data small.csv --radius 0.1 --picture band.png", "matplotlib", "plot"),
    ("tune --data small.csv --threat-radius 0.1 --picture band.png", "matplotlib", "plot"),
    ("tune --data small.csv --threat-radius 0.1 --surface surface.png", "matplotlib", "plot"),
    ("demo --out out", "matplotlib", "plot"),
    ("bench run smoke --out out", "pydantic", "bench"),
    ("bench suites", "pydantic", "bench"),
    ("bench report out", "polars", "bench"),
    ("bench compare out out", "polars", "bench"),
    ("bench export out --csv out.csv", "polars", "bench"),
    ("reproduce tables --out out", "matplotlib", "all"),
    ("reproduce cifar10 --data synthetic --out out", "matplotlib", "all"),
    ("reproduce report out", "matplotlib", "all"),
    ("evaluate classifier.skops --data small.csv --radius 0.1", "skops", "skops"),
]


def test_commands_that_need_an_extra_name_it_before_any_work(csv):
    (csv.parent / "classifier.skops").write_bytes(b"")
    done = lean(csv.parent, *(command.split() for command, _, _ in REFUSED))
    for (command, module, extra), (code, out, errors) in zip(REFUSED, done, strict=True):
        said = f'need {module}, which is not installed: pip install "cvxrobust[{extra}]"\n'
        assert (code, out, errors.endswith(said)) == (2, "", True), (command, code, out, errors)
        assert errors.startswith("cvxrobust: error: "), command
    assert {file.name for file in csv.parent.iterdir()} == {"small.csv", "classifier.skops"}


def commands():
    """Every command, as it is called."""
    import typer

    from cvxrobust.bench.cli import app

    def below(command, words):
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, [*words, name])

    return list(below(typer.main.get_command(app), []))


def test_every_command_explains_itself_without_the_extras(tmp_path):
    asked = [[*words, "--help"] for words in commands()]
    assert len(asked) > 20
    for words, (code, out, errors) in zip(asked, lean(tmp_path, *asked), strict=True):
        assert (code, errors, "Usage: " in out) == (0, "", True), words


API = {
    "from cvxrobust.core.testing import BackendContract": ("pytest", "testing"),
    "from cvxrobust.bench.harness.suite.suite import load_suite": ("pydantic", "bench"),
    "from cvxrobust.bench.harness.analysis.analysis import analyse": ("polars", "bench"),
    "from cvxrobust.bench.harness.report.page import write_html": ("polars", "bench"),
    "from cvxrobust.core.pictures.canvas import new_figure; new_figure((1, 1))": ("matplotlib", "plot"),
    "from cvxrobust.bench.baselines.robust_tree import groot_tree; groot_tree()": ("groot", "baselines"),
    "from cvxrobust.core.robustness.outside import foolbox_attack; foolbox_attack('x')": ("foolbox", "attacks-foolbox"),
}


def test_the_api_says_the_same(tmp_path):
    attempts = "".join(
        f"""
try:
    {code}
except MissingExtraError as error:
    assert isinstance(error, ImportError)
    found.append([error.module, error.extra, str(error)])
"""
        for code in API
    )
    code = f"{HIDE}\nfrom cvxrobust import MissingExtraError; found = []{attempts}print(json.dumps(found))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    assert [(module, extra) for module, extra, _ in found] == list(API.values())
    for module, extra, said in found:
        assert said.endswith(f' need {module}, which is not installed: pip install "cvxrobust[{extra}]"')


def test_what_is_missing_is_said_once_and_survives_a_process():
    with pytest.raises(MissingExtraError) as missing:
        require("no_such_package", "plot", "pictures")
    error = pickle.loads(pickle.dumps(missing.value))
    assert str(error) == 'pictures need no_such_package, which is not installed: pip install "cvxrobust[plot]"'
    assert (error.what, error.module, error.extra, error.name) == ("pictures", *["no_such_package", "plot"], error.name)
    assert has("numpy")
    assert not has("no_such_package")


def asked_for():
    """Literal calls of `require`: file, module, extra."""
    for floor in ("core", "problems", "backends", "bench"):
        for path in sorted((ROOT / floor).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                    yield path.name, *(part.value if isinstance(part, ast.Constant) else None for part in node.args[:2])


def brought(extra):
    """Names of the distributions that an extra lists, and those of the extras in it."""
    for line in EXTRAS[extra]:
        name, inner = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", line).groups()
        if name == "cvxrobust":
            for other in inner.split(","):
                yield from brought(other)
        else:
            yield re.sub(r"[-_.]+", "-", name).lower()


OTHERWISE = {"groot": "groot-trees"}
"""Packages whose distributions have other names."""


def test_every_extra_that_a_message_names_brings_what_is_missing():
    found = list(asked_for())
    assert len(found) > 10
    for place, module, extra in found:
        assert extra is None or extra in EXTRAS, place
        if module is not None and extra is not None:
            root = module.split(".")[0]
            assert OTHERWISE.get(root, root) in brought(extra), (place, module, extra)


def test_words_on_installing_name_extras_that_there_are():
    rooms = [ROOT / room for room in ("core", "bench", "backends", "problems", "docs")]
    files = [*ROOT.glob("*.md"), *(file for room in rooms for kind in ("*.md", "*.py") for file in room.rglob(kind))]
    for path in files:
        for extras in re.findall(r"cvxrobust\[([a-z,-]+)\]", path.read_text(encoding="utf-8")):
            assert set(extras.split(",")) <= set(EXTRAS), path
