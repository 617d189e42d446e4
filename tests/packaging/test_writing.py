"""Files are written whole, by `core.files`; who does it otherwise is known, and why."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("core", "problems", "backends", "bench")
KNOWN = {
    "core/files.py": "does it for all",
    "core/testing/checking.py": "a module in a folder that goes when it has run",
    "core/solving/isolation.py": "a pipe to a child",
    "bench/harness/run/worker.py": "a pipe, and a switch under /proc",
    "bench/gpu/driver.py": "what a child prints",
    "bench/streams.py": "standard output and standard error",
}


def writes(path):
    """Lines of a file that write files in place."""
    text = path.read_text(encoding="utf-8")
    if not any(word in text for word in ("open(", "write_text(", "write_bytes(")):
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = [*node.args[:2], *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        modes = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        opened = name in ("open", "fdopen") and any(set(mode) <= set("wxbt+") and {*"wx"} & {*mode} for mode in modes)
        if opened or name in ("write_text", "write_bytes"):
            yield node.lineno


def test_no_file_is_written_in_place_but_where_that_is_meant():
    paths = {path.relative_to(ROOT).as_posix(): path for floor in FLOORS for path in (ROOT / floor).rglob("*.py")}
    found = {name: list(writes(path)) for name, path in paths.items()}
    assert found["core/files.py"], "nothing was found where there is something"
    others = {name: lines for name, lines in found.items() if lines and name not in KNOWN}
    assert others == {}, "use write_whole or whole_file of core.files, which no kill leaves half written"
