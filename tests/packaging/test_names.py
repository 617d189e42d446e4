"""Losses, formulations and norms are asked for what matters, by meaning: nobody compares their names."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = {"loss", "formulation", "norm"}


def is_name_of_one(node: ast.AST) -> bool:
    """Whether an expression is the name of one: ``loss``, ``program.loss``, ``self._loss.name``."""
    if isinstance(node, ast.Attribute) and node.attr == "name":
        node = node.value
    said = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return said.lstrip("_") in OBJECTS


def holds_text(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.walk(node))


def comparisons(source: str) -> list[int]:
    """Lines that compare such a name with text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(is_name_of_one, sides)) and any(map(holds_text, sides)):
                found.append(node.lineno)
        elif isinstance(node, ast.Match) and is_name_of_one(node.subject):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("floor", ["core", "problems", "backends"])
def test_nobody_asks_by_name(floor):
    paths = sorted((ROOT / floor).rglob("*.py"))
    lines = [(path, line) for path in paths for line in comparisons(path.read_text(encoding="utf-8"))]
    assert [f"{path.relative_to(ROOT)}:{line}" for path, line in lines] == []


@pytest.mark.parametrize(
    "line",
    [
        "if program.loss == 'squared': pass",
        "x = 1 if 'hinge' != self.loss else 2",
        "ready = loss in ('hinge', 'logistic')",
        "task._loss.name == 'squared'",
        "cones = 0 if self.program.formulation == 'gated' else 1",
        "if self.norm == 'inf': pass",
        "match program.loss:\n    case 'hinge': pass",
    ],
)
def test_a_comparison_by_name_is_noticed(line):
    assert comparisons(line)
