"""Type checkers accept what users write: the code of the README, by mypy at its strictest and by pyright."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / ".typepath"
"""Where checkers find the package: an editable installation is known to the interpreter alone."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture
def script(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    path = tmp_path / "readme.py"
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def check(*command, **variables):
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=600, env=os.environ | variables
    )
    return done.returncode, done.stdout + done.stderr


def with_mypy(path, cache):
    # The blocks are one script, in which `problem` and `result` become others than they were.
    options = ("--config-file", ROOT / "pyproject.toml", "--allow-redefinition-new", "--local-partial-types")
    return check("mypy", *options, "--cache-dir", cache, path, MYPYPATH=str(PACKAGE))


def with_pyright(path, _):
    pytest.importorskip("pyright")
    settings = f'{{"include": ["{path.name}"], "extraPaths": ["{PACKAGE}"], "typeCheckingMode": "basic"}}'
    path.with_name("pyrightconfig.json").write_text(settings, encoding="utf-8")
    return check("pyright", "--pythonpath", sys.executable, "--project", path.parent)


@pytest.mark.parametrize("checker", [with_mypy, with_pyright])
def test_the_readme_code_has_the_types_that_it_claims(script, cache, checker):
    code, said = checker(script, cache)
    assert code == 0, said


@pytest.mark.parametrize("checker", [with_mypy, with_pyright])
def test_what_is_no_problem_is_refused(script, cache, checker):
    script.write_text("from cvxrobust import solve\n\nsolve(object())\n", encoding="utf-8")
    code, said = checker(script, cache)
    assert code == 1
    assert "Problem" in said


@pytest.mark.parametrize("checker", [with_mypy, with_pyright])
def test_data_is_whatever_numpy_reads_and_then_an_array(script, cache, checker):
    given = "from cvxrobust import ConvexReLU\n\nproblem = ConvexReLU([[1.0], [2.0]], ['yes', 'no'])\n"
    script.write_text(given + "print(problem.X.mean(), problem.radius.max())\n", encoding="utf-8")
    code, said = checker(script, cache)
    assert code == 0, said
    script.write_text(given + "ConvexReLU(object(), ['yes'])\nproblem.X.mena()\n", encoding="utf-8")
    _, said = checker(script, cache)
    assert '"object"' in said
    assert '"mena"' in said or "'mena'" in said
