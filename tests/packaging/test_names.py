"""Losses, formulations and norms are asked for what matters, by meaning: nobody compares their names."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = {"loss", "formulation", "norm"}


def key(node: ast.AST) -> ast.AST | None:
    """What an entry is looked up by: ``row["loss"]``, ``parameters.get("loss")``."""
    if isinstance(node, ast.Subscript):
        return node.slice
    looked_up = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get"
    return node.args[0] if looked_up and node.args else None


def is_name_of_one(node: ast.AST) -> bool:
    """Whether an expression is the name of one, or a tuple with one: ``program.loss``, ``self._loss.name``."""
    if isinstance(node, ast.Tuple):
        return any(map(is_name_of_one, node.elts))
    if isinstance(by := key(node), ast.Constant):
        return by.value in OBJECTS
    if isinstance(node, ast.Attribute) and node.attr == "name":
        node = node.value
    said = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return said.lstrip("_") in OBJECTS


def holds_text(node: ast.AST) -> bool:
    """Whether text is part of an expression, other than what an entry is looked up by."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    return any(holds_text(part) for part in ast.iter_child_nodes(node) if part is not key(node))


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


@pytest.mark.parametrize("floor", ["core", "problems", "backends", "bench"])
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
        "if request.parameters.get('loss') != 'squared': pass",
        "row['norm'] == 'inf'",
        "(loss, formulation) != ('squared', 'one-sided')",
        "match program.loss:\n    case 'hinge': pass",
    ],
)
def test_a_comparison_by_name_is_noticed(line):
    assert comparisons(line)
