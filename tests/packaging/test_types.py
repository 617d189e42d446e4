"""Type checkers accept what users write: the code of the papers, by mypy at its strictest and by pyright."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from papers import blocks, name_of, notebooks, papers, read, snippets

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / ".typepath"
"""Where checkers find the package: an editable installation is known to the interpreter alone."""
UNSEEN = """
[[tool.mypy.overrides]]
module = ["torch.*", "matplotlib.*"]
follow_imports = "skip"
"""
"""Packages that no script here speaks with; mypy reads whole ones, and PyTorch takes it longer than all the rest."""
DATA = "from cvxrobust import ConvexReLU\n\nproblem = ConvexReLU([[1.0], [2.0]], ['yes', 'no'])\n"
OTHERS = {
    "no_problem.py": "from cvxrobust import solve\n\nsolve(object())\n",
    "data.py": DATA + "print(problem.X.mean(), problem.radius.max())\n",
    "other_data.py": DATA + "ConvexReLU(object(), ['yes'])\nproblem.X.mena()\n",
}


def of_papers():
    """Every example that is documented: the blocks of each page as one script, files of guides, notebooks."""
    found = {}
    for page in papers():
        name = name_of(page).removesuffix(".md").replace("/", "_").lower()
        if parts := snippets(read(page)):
            found[f"{name}.py"] = "\n".join(parts)
        whole = [block for block in blocks(read(page), "python") if block not in parts]
        found |= {f"{name}_file_{number}.py": block for number, block in enumerate(whole)}
    assert set(found) >= {"readme.py", "problems_readme.py", "backends_readme.py", "backends_readme_file_2.py"}
    return found | {f"notebook_{path.name}": read(path) for path in notebooks()}


def with_mypy(folder, names):
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + UNSEEN
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    # The blocks of a page are one script, in which `problem` and `result` become others than they were.
    options = ("--config-file", "pyproject.toml", "--allow-redefinition-new", "--local-partial-types")
    # Bodies of our own functions are checked where all of ours is, and not again for every reader of the README.
    options += ("--follow-imports", "silent", "--cache-dir", "cache")
    return check(folder, "mypy", *options, *names, MYPYPATH=str(PACKAGE))


def with_pyright(folder, names):
    pytest.importorskip("pyright")
    listed = ", ".join(f'"{name}"' for name in names)
    # Of packages without types, such as scikit-learn, it would guess them from default values, and wrongly.
    chosen = '"typeCheckingMode": "basic", "useLibraryCodeForTypes": false'
    settings = f'{{"include": [{listed}], "extraPaths": ["{PACKAGE}"], {chosen}}}'
    (folder / "pyrightconfig.json").write_text(settings, encoding="utf-8")
    return check(folder, "pyright", "--pythonpath", sys.executable, "--project", folder)


def check(folder, *command, **variables):
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=600, cwd=folder,
        env=os.environ | variables,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr  # there are mistakes to be found
    return done.stdout


@pytest.fixture(scope="module", params=[with_mypy, with_pyright])
def complaints(request, tmp_path_factory):
    """What a checker says of one script; it looks at all of them at once."""
    folder, scripts = tmp_path_factory.mktemp("scripts"), of_papers() | OTHERS
    for name, text in scripts.items():
        (folder / name).write_text(text, encoding="utf-8")
    lines = request.param(folder, list(scripts)).splitlines()

    def of(name):
        assert name in scripts
        return "\n".join(
            line for line in lines if Path(line.strip().partition(":")[0]).name == name and "error" in line
        )

    return of


def test_the_code_of_the_papers_has_the_types_that_it_claims(complaints):
    for script in of_papers():
        assert complaints(script) == ""


def test_what_is_no_problem_is_refused(complaints):
    assert "Problem" in complaints("no_problem.py")


def test_data_is_whatever_numpy_reads_and_then_an_array(complaints):
    assert complaints("data.py") == ""
    said = complaints("other_data.py")
    assert '"object"' in said
    assert '"mena"' in said or "'mena'" in said
