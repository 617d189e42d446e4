"""What the papers say is so: links lead somewhere, places exist, tables say what the code says."""

import importlib
import inspect
import re
import shlex
import tomllib
from dataclasses import fields

import pytest
from papers import REPORTS, ROOT, anchors, blocks, code_words, name_of, papers, prose, read, table_rows

from cvxrobust.core.attacks.norms import NORMS
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.registry import problems
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.core.solving.plan import METHODS
from cvxrobust.problems.relu.choices import FORMULATIONS
from cvxrobust.problems.relu.gates.slots import BOUNDS

PAGES = papers()
SAID_TODAY = [page for page in PAGES if REPORTS not in page.parents]
"""Reports say how things were."""

README, CORE, BACKENDS, PROBLEMS, BENCH = (
    read(ROOT / name)
    for name in ("README.md", "core/README.md", "backends/README.md", "problems/README.md", "bench/README.md")
)
NO_PLACES = {"N/A", "demo/results.json", "demo/robust_accuracy.png", "demo/relu_robust_accuracy.png"}
"""Words with a slash that name nothing in the checkout: what commands write, what cells hold."""

FLOORS = ("core", "problems", "backends", "bench")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(read(page))))
    dead = []
    for link in (link for link in links if not link.startswith(("http://", "https://"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(read(target))):
            dead.append(link)
    assert dead == []


def is_place(word, page):
    """Whether a word names a file or folder, from the root, from the page, or with a name that the file holds."""
    for base in (ROOT, page.parent):
        if (base / word).exists() or (base / f"{word}.py").exists():
            return True
        path, _, name = word.rpartition(".")
        if path and (base / f"{path}.py").exists():
            return name in read(base / f"{path}.py")
    return False


def is_module(name):
    """Whether a dotted name, without that of the package, is a module, or stands in one."""
    for parts, rest in ((name.split("."), None), (name.split(".")[:-1], name.split(".")[-1])):
        path = ROOT.joinpath(*parts)
        file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        if file.is_file() if rest is None else file.is_file() and rest in read(file):
            return True
    return ROOT.joinpath(*name.split(".")).is_dir()


@pytest.mark.parametrize("page", SAID_TODAY, ids=name_of)
def test_every_place_that_a_page_names_exists(page):
    words = [word for word in code_words(read(page)) if re.fullmatch(r"\.?[A-Za-z_][\w.-]*/[\w./-]*", word)]
    missing = [word for word in words if word not in NO_PLACES and not is_place(word.rstrip("/"), page)]
    code = "\n".join([*code_words(read(page)), *blocks(read(page), "sh")])
    dotted = re.findall(rf"(?<![\w./-])(?:cvxrobust\.)?((?:{'|'.join(FLOORS)})(?:\.[A-Za-z_]\w*)+)(?![\w/(-])", code)
    files = (".py", ".md", ".toml")
    missing += [name for name in dotted if not name.endswith(files) and not is_module(name)]
    assert missing == []


def names(cell):
    return re.findall(r"`([\w.:-]+)`", cell)


def test_the_readme_names_everything_that_can_be_chosen():
    said = {row[0].split(" ")[0]: row[1] for row in table_rows(README, "What can be chosen")}
    ours = {description.factory().__name__ for name, description in problems().items() if name in OWN_FAMILIES}
    assert set(names(said["problem"])) == ours
    assert set(names(said["loss"])) - {"AdversarialSDP"} == set(LOSSES)
    assert all(str(norm) in said["problem"] for norm in NORMS)
    assert {*FORMULATIONS, *BOUNDS} <= set(names(said["formulation"]))
    assert set(names(said["method"])) == set(METHODS)
    assert set(names(said["backend"])) == {"auto", *own_backends()} | {"cvxpy:NAME"}


OWN_FAMILIES = ("standard-sdp", "adversarial-sdp", "joint-sdp", "convex-relu", "adversarial-relu")


def own_backends():
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    return set(project["entry-points"]["cvxrobust"]) - {"problems", "metrics"}


def test_the_page_of_backends_names_all_of_ours_and_where_their_defaults_stand():
    listed = {name for row in table_rows(BACKENDS, "Which there are, and when to take which") for name in names(row[0])}
    assert listed - {"cvxpy:NAME"} == own_backends()
    rows = table_rows(BACKENDS, "Where the defaults stand")
    assert {name for row in rows for name in names(row[0])} == own_backends()
    for _, where, what in rows:
        (path,) = re.findall(r"`([\w./]+)`", where)
        text = read(ROOT / "backends" / path)
        assert [name for name in names(what) if "Settings" not in name and name not in text] == []


def test_the_page_of_backends_says_all_that_a_solution_holds():
    rows = table_rows(BACKENDS, "What a backend returns")
    assert {name for row in rows for name in names(row[0])} == {field.name for field in fields(Solution)}
    (said,) = (row[1] for row in rows if names(row[0]) == ["termination"])
    assert set(re.findall(r"`([^`]+)`", said)) == {str(reason) for reason in Termination}


def test_the_mathematics_names_every_loss():
    assert [names(row[0])[0] for row in table_rows(PROBLEMS, "What is trained")] == list(LOSSES)


def members(ability):
    return {name for name in vars(ability) if not name.startswith("_")}


def abilities(*modules):
    """The protocols of some modules of contracts, by name."""
    found = {}
    for module in modules:
        for name, kind in vars(importlib.import_module(f"cvxrobust.core.contracts.{module}")).items():
            if inspect.isclass(kind) and getattr(kind, "_is_protocol", False) and kind.__module__.endswith(module):
                found[name] = kind
    return found


def test_the_picture_of_core_names_every_ability_with_its_members():
    required = CORE.split("Required (`Problem`):", 1)[1].split(".", 1)[0]
    assert set(names(required)) == members(Problem)
    rows = [row for title in ("What problems offer", "What backends offer") for row in table_rows(CORE, title)]
    said = {names(row[0])[0]: set(names(row[1])) for row in rows if "=" not in row[0]}
    there = abilities("problem", "parametric", "masters", "weight", "estimate", "backend")
    optional = {name: members(kind) for name, kind in there.items() if name not in ("Problem", "Backend", "Master")}
    assert said == optional


def test_every_study_is_listed():
    studies = {path.stem for path in (ROOT / "bench" / "studies").glob("*.py") if "__main__" in read(path)}
    assert {name for row in table_rows(BENCH, "Studies") for name in names(row[0])} == studies


def test_every_report_is_linked_from_the_page_of_measuring():
    assert [path.name for path in REPORTS.glob("*.md") if f"studies/reports/{path.name}" not in BENCH] == []


def shown_commands():
    """Commands of our own in blocks of shell: page and words."""
    for page in SAID_TODAY:
        for block in blocks(read(page), "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["cvxrobust"]:
                    yield page, words[1:]


def test_every_command_that_is_shown_is_understood():
    import typer

    from cvxrobust.bench.cli import app

    shown = list(shown_commands())
    assert len(shown) > 10
    for page, words in shown:
        command, line = typer.main.get_command(app), [*words]
        while subcommands := getattr(command, "commands", None):
            name = line.pop(0)
            assert name in subcommands, f"{name_of(page)} shows cvxrobust {' '.join(words)}"
            command = subcommands[name]
        try:
            command.make_context("cvxrobust", line)
        except Exception as error:
            pytest.fail(f"{name_of(page)} shows cvxrobust {' '.join(words)}: {error!r}")


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), flags=re.MULTILINE))
    for page in SAID_TODAY:
        code = "\n".join([*code_words(read(page)), *blocks(read(page), "sh")])
        assert set(re.findall(r"^(?:\w+=\S+ )?make ([a-z-]+)", code, flags=re.MULTILINE)) <= targets, name_of(page)


LONGEST_LANDING = 170
"""Lines of README.md: promise, picture, two commands, quickstart, choices, links. The rest is in the folders."""


def test_the_landing_page_stays_one():
    assert len(README.splitlines()) <= LONGEST_LANDING
