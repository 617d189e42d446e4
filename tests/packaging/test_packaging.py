"""What a user installs: versions agree, entry points resolve, imports are light, the code of the papers runs."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from importlib.resources import files
from pathlib import Path

import pytest
from papers import blocks, name_of, papers, python_blocks, read

import cvxrobust
from cvxrobust.core.discovery.registry import backends

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WITH_CODE = [page for page in papers() if python_blocks(read(page))]
HEAVY = ("torch", "cvxpy", "clarabel", "scs", "mosek", "matplotlib", "sklearn", "polars", "pandas")
HEAVY += ("jinja2", "plotly", "distributed")


def run_python(code, *, path=None, **environment):
    """Run code in a fresh interpreter, with warnings as errors, and return what it prints."""
    variables = {**os.environ, **environment}
    if path is not None:
        variables["PYTHONPATH"] = str(path)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_places_name_the_same_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d[^\]]*)\]", changelog, flags=re.MULTILINE)
    assert PROJECT["project"]["version"] == cvxrobust.__version__ == version("cvxrobust") == releases[0]
    assert "## [Unreleased]" in changelog


def test_types_are_announced_to_type_checkers():
    assert files("cvxrobust").joinpath("py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["cvxrobust"]


def test_the_licence_is_complete():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_every_entry_point_of_ours_resolves():
    declared = PROJECT["project"]["entry-points"]["cvxrobust"]
    ours = {point.name: point for point in entry_points(group="cvxrobust") if point.dist.name == "cvxrobust"}
    assert {name: point.value for name, point in ours.items()} == declared
    for point in ours.values():
        point.load()
    (script,) = (point for point in entry_points(group="console_scripts") if point.name == "cvxrobust")
    assert callable(script.load())


def test_every_public_name_exists():
    for name in cvxrobust.__all__:
        assert getattr(cvxrobust, name) is not None


@pytest.mark.parametrize(
    "code",
    [
        "import cvxrobust",
        "import cvxrobust.bench.cli",
        "import cvxrobust; cvxrobust.backends()",
        "from cvxrobust.bench.cli import app; app(['backends', 'list'], standalone_mode=False)",
        "from cvxrobust.bench.cli import app; app(['--help'], standalone_mode=False)",
    ],
)
def test_no_heavy_package_is_imported_before_it_is_needed(code):
    report = f"; import sys; print('LOADED', *(name for name in {HEAVY!r} if name in sys.modules))"
    assert run_python(code + report).splitlines()[-1].split() == ["LOADED"]


def test_every_dependency_is_pinned():
    pinned = set()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, exact, _ = line.partition("==")
            assert exact, line
            pinned.add(canonical(name))
    wanted = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]
    assert {canonical(re.match(r"[\w.-]+", line)[0]) for line in wanted} <= pinned


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_backends_that_must_run_here_do():
    required = [name for name in os.environ.get("CVXROBUST_REQUIRE_BACKENDS", "").split(",") if name]
    if not required:
        pytest.skip("CVXROBUST_REQUIRE_BACKENDS names no backend that must run")
    registered = backends()
    missing = {name: "not registered" for name in required if name not in registered}
    missing |= {
        name: reason
        for name in required
        if name in registered and (reason := registered[name].unavailable()) is not None
    }
    assert missing == {}


WATCHED = """
import os, cvxrobust

genuine, seen = cvxrobust.solve, []

def watched(problem, *args, **choices):
    result = genuine(problem, *args, **choices)
    seen.append(result)
    return result

cvxrobust.solve = watched
"""
JUDGED = """
for result in seen:
    assert (result.termination, result.quality) == ("converged", "certified"), result
"""
SOLVES = {"README.md": 1, "problems/README.md": 4}
"""How many are seen on a page, at least."""


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_code_of_a_page_runs_and_every_solve_in_it_converges(page, tmp_path):
    text = read(page)
    enough = f"assert len(seen) >= {SOLVES.get(name_of(page), 0)}"
    printed = run_python("\n".join([WATCHED, f"os.chdir({str(tmp_path)!r})", *python_blocks(text), enough, JUDGED]))
    if name_of(page) == "README.md":
        shown = "\n".join(blocks(text, "text"))
        assert words(shown) == words(printed)
        (low, high), (least, most) = interval(shown), interval(printed)
        # Both are certified to hold the same optimum, shown to eight digits.
        assert max(low, least) <= min(high, most) * (1.0 + 1e-7)


def test_every_page_with_code_is_known():
    assert {*SOLVES, "backends/README.md"} <= {name_of(page) for page in WITH_CODE}


def words(printed):
    """What is printed without its numbers, which differ in their last digits from machine to machine."""
    return re.sub(r"[\d.\s]+(e[+-]\d+)?", " ", printed).split()


def interval(printed):
    (bounds,) = re.findall(r"optimum in \[([\d.]+), ([\d.]+)\]", printed)
    return tuple(map(float, bounds))
