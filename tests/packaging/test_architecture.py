"""Who may import whom, and what belongs to the wheel. Folders are read, nothing is imported."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "cvxrobust"

# A file may import from its own folder and from these; "" is the public face, the package itself.
ALLOWED = {
    "core": set(),
    "problems": {"core"},
    "backends": {"core"},
    "bench": {"", "core", "problems"},
}


def source_files(folder: str) -> list[Path]:
    """Its Python files, but for folders of tests (of timings, in bench): those look inside, and are not shipped."""
    found = (ROOT / folder).rglob("*.py")
    return sorted(path for path in found if not (path.parent / "conftest.py").is_file())


def imported_modules(path: Path) -> set[str]:
    """Full names of everything that a file imports, inside functions and type-checking blocks, too."""
    package = (PACKAGE, *path.relative_to(ROOT).parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def folder_of(module: str) -> str | None:
    """Which folder of ours a module lies in; "" is the package itself, None is somebody else's."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    return parts[1] if len(parts) > 1 and (ROOT / parts[1]).is_dir() else ""


def forbidden_imports(path: Path, folder: str) -> list[str]:
    allowed = ALLOWED[folder] | {folder}
    return sorted(
        module for module in imported_modules(path) if (found := folder_of(module)) is not None and found not in allowed
    )


@pytest.mark.parametrize("folder", ALLOWED)
def test_every_folder_imports_only_from_the_floors_below(folder):
    assert source_files(folder), f"{folder} has no files; the walk would prove nothing"
    wrong = {str(path.relative_to(ROOT)): forbidden_imports(path, folder) for path in source_files(folder)}
    assert not {path: modules for path, modules in wrong.items() if modules}


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("core", "from cvxrobust.problems import AdversarialSDP"),
        ("core", "import cvxrobust"),
        ("problems", "from cvxrobust.backends.scs import SCS"),
        ("problems", "from cvxrobust import backends"),
        ("backends", "def late():\n    import cvxrobust.problems.polynomial.in_memory"),
        ("backends", "from ..problems import polynomial"),
        ("bench", "from cvxrobust.backends import clarabel"),
    ],
)
def test_a_forbidden_import_is_noticed(folder, line, tmp_path, monkeypatch):
    for name in ALLOWED:
        (tmp_path / name).mkdir()
    stray = tmp_path / folder / "stray.py"
    stray.write_text(line, encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert forbidden_imports(stray, folder)


def test_no_file_imports_its_neighbours_by_relative_name():
    relative = [
        str(path.relative_to(ROOT))
        for folder in ALLOWED
        for path in source_files(folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_every_sub_package_is_listed_for_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    found = {
        ".".join((PACKAGE, *path.parent.relative_to(ROOT).parts)) for folder in ALLOWED for path in source_files(folder)
    }
    assert sorted(listed) == sorted(found | {PACKAGE})


def test_every_folder_with_code_is_a_package():
    bare = {
        str(path.parent.relative_to(ROOT))
        for folder in ALLOWED
        for path in source_files(folder)
        if not (path.parent / "__init__.py").is_file()
    }
    assert bare == set()
