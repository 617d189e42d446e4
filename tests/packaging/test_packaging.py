"""What a user installs: versions agree, entry points resolve, imports are light, the code of the papers runs."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from importlib.resources import files
from pathlib import Path

import pytest
from papers import blocks, name_of, papers, prose, python_blocks, read

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
    assert cvxrobust.__version__ == version("cvxrobust") == releases[0]
    assert "## [Unreleased]" in changelog


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cvxrobust.__version__"}
    for name in ("pyproject.toml", "CITATION.cff", "README.md", "Makefile"):
        assert cvxrobust.__version__ not in (ROOT / name).read_text(encoding="utf-8"), name


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
    assert set(dir(cvxrobust)) >= set(cvxrobust.__all__)
    with pytest.raises(AttributeError, match="no attribute 'sole'"):
        _ = cvxrobust.sole


def test_names_come_from_where_type_checkers_are_told():
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name: line.module for line in block.body for alias in line.names}
    assert told == {name: f"cvxrobust.{module}" for name, module in cvxrobust._PLACES.items()}
    assert {*told, "__version__"} == set(cvxrobust.__all__)


def test_the_package_alone_imports_not_even_numpy():
    code = "import sys, cvxrobust; print('numpy' in sys.modules, cvxrobust.core.__name__, cvxrobust.Settings.__name__)"
    assert run_python(code).split() == ["False", "cvxrobust.core", "Settings"]


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


def test_a_small_table_is_trained_on_without_what_it_does_not_need(tmp_path):
    rows = [f"{i % 7},{i % 5},{'yes' if i % 7 > 2 else 'no'}" for i in range(40)]
    (tmp_path / "small.csv").write_text("\n".join(["width,height,label", *rows]), encoding="utf-8")
    asked = ["solve", "--data", str(tmp_path / "small.csv"), "--radius", "0.1", "--backend", "clarabel", "--json"]
    unneeded = ("sklearn", "scipy.stats", "pandas", "polars", "torch", "cvxpy", "matplotlib", "jinja2", "plotly")
    report = f"print('LOADED', *(name for name in {unneeded!r} if name in sys.modules))"
    code = f"import sys; from cvxrobust.bench.cli import app; app({asked!r}, standalone_mode=False); {report}"
    assert run_python(code).splitlines()[-1].split() == ["LOADED"]


TINY = """
import numpy, sys
from cvxrobust import AdversarialSDP, solve

X = numpy.random.default_rng(0).normal(size=(40, 3))
result = solve(AdversarialSDP(X, numpy.sign(X[:, 0] + 0.1), radius=0.1, beta=0.05))
assert (result.backend, str(result.quality)) == ("clarabel", "certified"), result
"""


def test_a_first_tiny_problem_is_solved_before_any_large_package_is_imported():
    unneeded = ("torch", "cvxpy", "sklearn", "scs", "scipy.stats", "polars", "pydantic", "matplotlib", "plotly")
    report = f"print('LOADED', *(name for name in {unneeded!r} if name in sys.modules))"
    assert run_python(TINY + report).splitlines()[-1].split() == ["LOADED"]


def test_every_dependency_is_pinned():
    pinned = set()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, exact, _ = line.partition("==")
            assert exact, line
            pinned.add(canonical(name))
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = PROJECT["project"]["dependencies"] + [line for extra in PINNED for line in extras[extra]]
    names = {canonical(re.match(r"[\w.-]+", line)[0]) for line in wanted}
    assert names - {"cvxrobust"} <= pinned


PINNED = ("bench", "plot", "dev", "release")
"""Extras that we install ourselves."""


def setup_script():
    """The functions of setup.py, without what it does."""
    found = {"__file__": str(ROOT / "setup.py"), "__name__": "looked_at"}
    exec(compile((ROOT / "setup.py").read_text(encoding="utf-8"), "setup.py", "exec"), found)
    return found


def test_links_of_the_page_that_an_index_shows_lead_into_the_repository():
    address, text = "https://example.org/ours", read(ROOT / "README.md")
    shown = setup_script()["with_absolute_links"](text, address)
    links = [re.findall(r"\]\(([^)\s]+)\)", prose(page)) for page in (text, shown)]
    assert len(links[0]) == len(links[1]) > 10
    for ours, theirs in zip(*links, strict=True):
        if ours.startswith(("https://", "#")):
            assert theirs == ours
        else:
            assert re.fullmatch(rf"{address}/(blob|raw)/main/{re.escape(ours)}", theirs)
            assert (ROOT / ours.partition("#")[0]).is_file()
    assert f"]({address}/raw/main/bench/studies/reports/adversarial-gaps-1.png)" in shown
    for kind in ("python", "sh", "text"):
        assert blocks(shown, kind) == blocks(text, kind)


def test_addresses_of_the_project_stand_in_one_place():
    home = PROJECT["project"]["urls"]["Repository"]
    assert not home.endswith("/")
    assert all(address.startswith("https://") for address in PROJECT["project"]["urls"].values())
    assert f"repository-code: {home}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_whoever_cites_us_names_the_article_and_the_licence():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert "value: arXiv:2405.14033\n" in text
    assert f"license: {PROJECT['project']['license']}\n" in text
    assert "title: cvxrobust\n" in text


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
