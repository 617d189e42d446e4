"""Who may import whom, and what belongs to the wheel. Folders are read, nothing is imported."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "cvxrobust"

# A file may import from its own floor and from these; "" is the public face, the package itself.
FLOORS = {
    "core": set(),
    "problems": {"core"},
    "backends": {"core"},
    "bench": {"", "core", "problems"},
}

# Inside a floor: what stands left of "<" knows nothing of what stands right of it, rooms divided by "|" never meet,
# those divided by commas may. A star is all the others.
ROOMS = {
    "core": "errors, settings, environment, certificate, arrays, files, strangers, secrets, summary, doors "
    "< validation < weights < conic < losses < attacks < networks < robustness < programs < contracts < discovery "
    "< kit < formats < solving < paths < pictures < testing",
    "core.attacks": "* < boxes",
    "core.attacks.boxes": "margins < shor < factors < attack | certify | bounds < exact",
    "core.programs": "rows < polynomial | gated < joint | boxes",
    "problems": "data < one_versus_all < polynomial | relu < sklearn_estimators < model_selection",
    "problems.polynomial": "* < joint | boxes < adversarial_sdp",
    "problems.relu": "gates < *",
    "backends": "cvxopt_keeping < clarabel | scs | cvxpy | mosek | torch | ipm",
    "backends.torch": "process_group, stopping, checkpoint, lbfgs, losses < conic | polynomial | gated < joint",
    "backends.torch.gated": (
        "sizes, tensors, smoothing, averages, best_so_far, balls < newton | multipliers | columns < solve"
    ),
    "backends.ipm": (
        "complementarity, coupling_orders, symmetric, loss_sides, growth, residual_sides, worst_sides < losses "
        "< polynomial < boxes | gated"
    ),
    "bench": (
        "metrics, streams, display, data, baselines < pictures < workflows < harness < demo | studies "
        "< gpu | reproduce | cifar10 < cli"
    ),
    "bench.reproduce": (
        "tables, journal, stated < methods < fits < selection < run | analysis < pictures < report | study"
    ),
    "bench.cifar10": (
        "terms, store, attacks < backbones < collisions | heads | evaluation < stages < findings, diagnostics "
        "< conclusions, pictures < report | study"
    ),
    "bench.harness": "suite < results < run < analysis < report",
}

# Of core, backends see its face, which is what their authors need. Structured ones also share its mathematics.
FACE = {"core", "core.kit", "core.testing"}
MATHEMATICS = {"core.arrays", "core.losses", "core.attacks", "core.networks", "core.programs"}
STRUCTURED = {"torch", "ipm"}


def source_files(folder: str) -> list[Path]:
    """Its Python files, but for folders of tests (of timings, in bench): those look inside, and are not shipped."""
    found = (ROOT / folder).rglob("*.py")
    return sorted(path for path in found if not (path.parent / "conftest.py").is_file())


def module_of(path: Path) -> str:
    """The name by which a file is imported, without that of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file() or (bool(name) and path.is_dir())


@cache
def imported_names(path: Path) -> frozenset[str]:
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
    return frozenset(names)


def imported_modules(path: Path) -> set[str]:
    """Those of ours, without the name of the package: "" is the package itself."""
    found = set()
    for name in imported_names(path):
        first, _, rest = name.partition(".")
        if first == PACKAGE:
            parent = rest.rpartition(".")[0]
            found.add(rest if is_module(rest) else parent if is_module(parent) else "")
    return found


@cache
def tiers(order: str) -> dict[str, tuple[int, int]]:
    """Each room's place in an order: its tier, and which of those that never meet it is."""
    return {
        room.strip(): (tier, number)
        for tier, level in enumerate(order.split("<"))
        for number, group in enumerate(level.split("|"))
        for room in group.split(",")
    }


def complaint(importer: str, imported: str) -> str:
    """Why a module must not import another; empty if it may."""
    floor, *_ = importer.split(".")
    other, *_ = imported.split(".")
    if other != floor and other not in FLOORS[floor]:
        below = [name or "the public face" for name in sorted(FLOORS[floor])]
        return f"{floor} imports from {', '.join(below) or 'nothing of ours'} only"
    if floor == "backends" and other == "core":
        return beyond_the_face(importer, imported)
    if importer == imported or other != floor:
        return ""
    return wrong_room(importer, imported)


def beyond_the_face(importer: str, imported: str) -> str:
    name = importer.split(".")[1] if "." in importer else ""
    seen = FACE | (MATHEMATICS if name in STRUCTURED else set())
    if imported in seen or any(imported.startswith(f"{room}.") for room in seen - {"core"}):
        return ""
    return f"backends see {', '.join(sorted(seen))} of it"


def wrong_room(importer: str, imported: str) -> str:
    mine, theirs = importer.split("."), imported.split(".")
    depth = 0
    while depth < min(len(mine), len(theirs)) and mine[depth] == theirs[depth]:
        depth += 1
    folder = ".".join(mine[:depth])
    if depth == len(theirs):
        return f"{folder} is the room that it lies in"
    if depth == len(mine) or folder not in ROOMS:
        return ""  # a room's own __init__ may import what is in it
    places = tiers(ROOMS[folder])
    here, there = mine[depth], theirs[depth]
    for room in (here, there):
        if room not in places and "*" not in places:
            return f"nobody has said where {room} stands in {folder}; add it to ROOMS"
    (tier, number), (other_tier, other_number) = (places.get(room, places.get("*")) for room in (here, there))
    if tier < other_tier:
        return f"in {folder} {here} stands below {there}"
    if tier == other_tier and number != other_number:
        return f"in {folder} {here} and {there} never meet"
    return ""


def wrong_imports(path: Path) -> list[str]:
    importer = module_of(path)
    found = ((name, complaint(importer, name)) for name in sorted(imported_modules(path)))
    return [f"{path.relative_to(ROOT)} imports {PACKAGE}.{name}, but {why}" for name, why in found if why]


@pytest.mark.parametrize("floor", FLOORS)
def test_every_file_imports_only_what_lies_below_it(floor):
    assert source_files(floor), f"{floor} has no files; the walk would prove nothing"
    assert [line for path in source_files(floor) for line in wrong_imports(path)] == []


def test_every_room_has_its_place():
    rooms = {folder: tiers(order) for folder, order in ROOMS.items()}
    unplaced = {
        f"{folder}.{name}"
        for floor in FLOORS
        for path in source_files(floor)
        for folder, places in rooms.items()
        if module_of(path).startswith(f"{folder}.")
        and (name := module_of(path).removeprefix(f"{folder}.").split(".")[0]) not in places
        and "*" not in places
    }
    assert unplaced == set(), "say in ROOMS where these stand"


@pytest.mark.parametrize(
    ("place", "line", "why"),
    [
        ("core/stray", "from cvxrobust.problems import AdversarialSDP", "core imports from nothing of ours only"),
        ("core/stray", "import cvxrobust", "core imports from nothing of ours only"),
        ("core/conic/stray", "from cvxrobust.core.contracts import result", "in core conic stands below contracts"),
        ("core/kit/stray", "from cvxrobust.core import Monitor", "core is the room that it lies in"),
        ("core/programs/gated/stray", "import cvxrobust.core.programs.polynomial", "gated and polynomial never meet"),
        ("problems/stray", "from cvxrobust.backends.scs import SCS", "problems imports from core only"),
        ("problems/stray", "from cvxrobust import backends", "problems imports from core only"),
        ("problems/relu/stray", "from cvxrobust.problems.polynomial import base", "relu and polynomial never meet"),
        ("problems/relu/gates/stray", "from cvxrobust.problems.relu import data", "gates stands below data"),
        ("backends/stray", "def late():\n    import cvxrobust.problems.polynomial", "backends imports from core only"),
        ("backends/stray", "from ..problems import polynomial", "backends imports from core only"),
        (
            "backends/scs",
            "from cvxrobust.core.losses import by_name",
            "backends see core, core.kit, core.testing",
        ),
        ("backends/torch/conic/stray", "import cvxrobust.core.solving.session", "backends see core, core.arrays,"),
        ("backends/torch/conic/stray", "import cvxrobust.backends.torch.gated", "conic and gated never meet"),
        ("backends/ipm/stray", "import cvxrobust.backends.torch", "in backends ipm and torch never meet"),
        (
            "bench/stray",
            "from cvxrobust.backends import clarabel",
            "bench imports from the public face, core",
        ),
        ("bench/data/stray", "from cvxrobust.bench.workflows import training", "in bench data stands below workflows"),
        ("bench/studies/stray", "import cvxrobust.bench.demo", "in bench studies and demo never meet"),
        ("bench/harness/run/stray", "import cvxrobust.bench.harness.report", "run stands below report"),
        ("core/stray", "import cvxrobust.core.cellar", "nobody has said where stray stands in core"),
    ],
)
def test_a_wrong_import_is_said_in_a_sentence(place, line, why, tmp_path, monkeypatch):
    for folder in ("core/contracts", "core/programs/polynomial", "core/losses", "core/solving", "core/cellar",
                   "problems/polynomial", "problems/relu/gates", "backends/torch/gated", "bench/workflows",
                   "bench/demo", "bench/harness/report"):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
    for module in ("problems/relu/data", "problems/polynomial/base", "core/contracts/result", "core/solving/run"):
        (tmp_path / module).with_suffix(".py").touch()
    stray = (tmp_path / place).with_suffix(".py")
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text(line, encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (said,) = wrong_imports(stray)
    assert said.startswith(f"{place}.py imports {PACKAGE}")
    assert why in said


def test_authors_of_others_and_of_the_guide_see_the_face_alone():
    guides = [path.read_text(encoding="utf-8") for path in (ROOT / "backends").glob("README*.md")]
    outside = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "thirdparty").rglob("*.py")]
    modules = re.findall(
        rf"^\s*(?:from|import) {PACKAGE}\.([\w.]+)", "\n".join([*guides, *outside]), flags=re.MULTILINE
    )
    assert len(modules) > 5
    assert set(modules) <= FACE


def test_no_file_imports_its_neighbours_by_relative_name():
    relative = [
        str(path.relative_to(ROOT))
        for floor in FLOORS
        for path in source_files(floor)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_only_doors_lead_from_low_rooms_to_high_ones():
    looking = [
        str(path.relative_to(ROOT))
        for path in source_files("core")
        if re.search(rf"import_module\(\s*f?[\"']{PACKAGE}\.", path.read_text(encoding="utf-8"))
    ]
    assert looking == ["core/doors.py"], "what is imported by its name as text is a door, and stands there"


def circles(imports: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Modules that import one another, in however many steps: whatever can be reached from where it can reach."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        ahead = [start]
        while ahead:
            new = imports.get(ahead.pop(), set()) - found
            found |= new
            ahead += new
        return found

    reach = {module: reached(module) for module in imports}
    return sorted(
        {tuple(sorted(m for m in reach if m in reach[start] and start in reach[m])) for start in reach} - {()}
    )


def test_no_module_imports_one_that_imports_it():
    paths = [path for floor in FLOORS for path in source_files(floor)] + [ROOT / "__init__.py"]
    # Whoever imports itself would be a circle, too, so it is left in.
    assert circles({module_of(path): imported_modules(path) for path in paths}) == []


def test_a_circle_is_noticed():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [("b", "c")]
    assert circles({"a": {"a"}}) == [("a",)]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_sub_package_is_listed_for_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    found = {
        ".".join((PACKAGE, *path.parent.relative_to(ROOT).parts)) for floor in FLOORS for path in source_files(floor)
    }
    assert sorted(listed) == sorted(found | {PACKAGE})


def test_every_folder_with_code_is_a_package_that_says_what_it_is_for():
    starts = {path.parent / "__init__.py" for floor in FLOORS for path in source_files(floor)}
    silent = [
        str(start.relative_to(ROOT))
        for start in starts
        if not start.is_file() or not ast.get_docstring(ast.parse(start.read_text(encoding="utf-8")))
    ]
    assert silent == []
