"""Type checkers accept what users write: the code of the papers, by mypy at its strictest and by pyright."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from papers import name_of, papers, read, snippets

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / ".typepath"
"""Where checkers find the package: an editable installation is known to the interpreter alone."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture
def scripts(tmp_path):
    """The blocks of each page as one script."""
    found = []
    for page in papers():
        if blocks := snippets(read(page)):
            found.append(tmp_path / f"{name_of(page).removesuffix('.md').replace('/', '_').lower()}.py")
            found[-1].write_text("\n".join(blocks), encoding="utf-8")
    assert {path.name for path in found} >= {"readme.py", "problems_readme.py", "backends_readme.py"}
    return found


def check(*command, **variables):
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=600, env=os.environ | variables
    )
    return done.returncode, done.stdout + done.stderr


def with_mypy(paths, cache):
    # The blocks of a page are one script, in which `problem` and `result` become others than they were.
    options = ("--config-file", ROOT / "pyproject.toml", "--allow-redefinition-new", "--local-partial-types")
    # Bodies of our own functions are checked where all of ours is, and not again for every reader of the README.
    options += ("--follow-imports", "silent")
    return check("mypy", *options, "--cache-dir", cache, *paths, MYPYPATH=str(PACKAGE))


def with_pyright(paths, _):
    pytest.importorskip("pyright")
    names = ", ".join(f'"{path.name}"' for path in paths)
    settings = f'{{"include": [{names}], "extraPaths": ["{PACKAGE}"], "typeCheckingMode": "basic"}}'
    folder = paths[0].parent
    (folder / "pyrightconfig.json").write_text(settings, encoding="utf-8")
    return check("pyright", "--pythonpath", sys.executable, "--project", folder)


@pytest.mark.parametrize("checker", [with_mypy, with_pyright])
def test_the_code_of_the_papers_has_the_types_that_it_claims(scripts, cache, checker):
    code, said = checker(scripts, cache)
    assert code == 0, said


@pytest.mark.parametrize("checker", [with_mypy, with_pyright])
def test_what_is_no_problem_is_refused(tmp_path, cache, checker):
    script = tmp_path / "script.py"
    script.write_text("from cvxrobust import solve\n\nsolve(object())\n", encoding="utf-8")
    code, said = checker([script], cache)
    assert code == 1
    assert "Problem" in said


@pytest.mark.parametrize("checker", [with_mypy, with_pyright])
def test_data_is_whatever_numpy_reads_and_then_an_array(tmp_path, cache, checker):
    script = tmp_path / "script.py"
    given = "from cvxrobust import ConvexReLU\n\nproblem = ConvexReLU([[1.0], [2.0]], ['yes', 'no'])\n"
    script.write_text(given + "print(problem.X.mean(), problem.radius.max())\n", encoding="utf-8")
    code, said = checker([script], cache)
    assert code == 0, said
    script.write_text(given + "ConvexReLU(object(), ['yes'])\nproblem.X.mena()\n", encoding="utf-8")
    _, said = checker([script], cache)
    assert '"object"' in said
    assert '"mena"' in said or "'mena'" in said
