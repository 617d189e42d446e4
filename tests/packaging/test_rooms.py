"""No room is so full that one has to search it, no file so long that one has to scroll, no name said of two classes."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("core", "problems", "backends", "bench")
MOST_FILES = 16
"""Python files that a folder shows, its `__init__` among them; but for studies, which are a list."""

STRUCTURED = ("backends/ipm", "backends/mosek", "backends/torch")
LIST = ROOT / "bench" / "studies"
LONGEST = {"source": 400, "tests": 600}
"""Lines of a file."""


def python_files(*folders):
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_no_folder_shows_more_files_than_one_takes_in():
    files = python_files(*FLOORS, "tests")
    assert len(files) > 300
    folders = {path.parent for path in files} - {LIST}
    shown = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: count for folder, count in shown.items() if count > MOST_FILES} == {}


def test_no_file_is_longer_than_a_short_read():
    lengths = {
        str(path.relative_to(ROOT)): (len(path.read_text(encoding="utf-8").splitlines()), LONGEST[kind])
        for kind, files in (("source", python_files(*FLOORS)), ("tests", python_files("tests")))
        for path in files
    }
    assert {path: lines for path, (lines, most) in lengths.items() if lines > most} == {}


def test_every_backend_of_several_files_is_known():
    assert sorted(f"backends/{path.parent.name}" for path in (ROOT / "backends").glob("*/__init__.py")) == [*STRUCTURED]


@pytest.mark.parametrize("room", ["core", "problems", "bench", *STRUCTURED])
def test_no_two_classes_share_a_name(room):
    places = defaultdict(list)
    for path in (path for path in python_files(room) if LIST not in path.parents):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert places, f"{room} has no classes; the walk would prove nothing"
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
