"""The guides "Write a backend", followed to the letter in fresh folders: every file is written, every command run."""

import ast
import re
import shlex
from dataclasses import dataclass

import pytest
from fresh_environment import ROOT, fresh_environment

from cvxrobust.core.testing import BackendContract

GUIDES = {
    package: (ROOT / "backends" / name).read_text(encoding="utf-8")
    for package, name in {"cvxrobust-splitting": "README.md", "cvxrobust-atoms": "README-structured.md"}.items()
}
MODULES = {"cvxrobust-splitting": "splitting.py", "cvxrobust-atoms": "atoms.py"}


@dataclass(frozen=True)
class File:
    """A file that the guide shows under its name."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that the guide shows with what it prints."""

    line: str
    printed: str

    @property
    def fails(self):
        """Whether the guide shows that it does not succeed."""
        return "FAILED" in self.printed or self.printed.startswith("unusable")


def blocks(guide):
    """Every block of code: the line before it ("" where it follows another block), its language and its text."""
    before, kind, text = "", None, []
    for line in guide.splitlines():
        fence = re.fullmatch(r"```(\w*)", line)
        if kind is not None and fence:
            yield before, kind, "".join(text)
            before, kind, text = "", None, []
        elif kind is not None:
            text.append(f"{line}\n")
        elif fence:
            kind = fence[1]
        elif line:
            before = line


def steps(guide):
    """Files and commands in the order of a guide. A name in backquotes and a colon before a block make it a file."""
    for before, kind, text in blocks(guide):
        named = re.search(r"`([\w.-]+)`:$", before)
        if named:
            yield File(named[1], text)
        elif kind == "console":
            for command in re.split(r"^\$ ", text, flags=re.M)[1:]:
                line, _, printed = command.partition("\n")
                yield Command(line, printed)


def snippets():
    """Blocks of Python that are no files."""
    every = blocks("\n".join(GUIDES.values()))
    return [text for before, kind, text in every if kind == "python" and not before.endswith("`:")]


def shown(printed, output):
    """Whether output is as printed: line by line, whatever the spaces, with anything for three dots."""
    lines = [re.split(r" ?\.\.\. ?", " ".join(line.split())) for line in printed.splitlines()]
    pattern = "\n".join(".*".join(map(re.escape, parts)) for parts in lines)
    found = "\n".join(" ".join(line.split()) for line in output.splitlines())
    return re.fullmatch(pattern, found, flags=re.S) is not None


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Our wheel alone; what the guide installs is gone afterwards."""
    found = fresh_environment(tmp_path_factory.getbasetemp())
    yield found
    found.uninstall(*GUIDES)


@pytest.mark.parametrize("package", GUIDES)
def test_the_guide_leads_from_an_empty_folder_to_a_passing_contract(environment, tmp_path, package):
    folder, followed = tmp_path, []
    for step in steps(GUIDES[package]):
        if isinstance(step, File):
            (folder / step.name).write_text(step.text, encoding="utf-8")
            continue
        if step.line.startswith("cd "):
            folder /= shlex.split(step.line)[1]
            continue
        done = environment.run("bash", "-c", step.line, cwd=folder, expect=int(step.fails))
        assert not step.printed or shown(step.printed, done.stdout), f"$ {step.line}\n{done.stdout}\n{done.stderr}"
        followed.append(step.line)
    assert followed == re.findall(r"^\$ (?!cd )(.*)", GUIDES[package], flags=re.M)
    assert {path.name for path in folder.iterdir()} >= {"pyproject.toml", MODULES[package], "test_contract.py"}


def test_the_structured_backend_has_no_more_lines_of_code_than_its_chapter_says():
    files = {step.name: step.text for step in steps(GUIDES["cvxrobust-atoms"]) if isinstance(step, File)}
    module, prose = files[MODULES["cvxrobust-atoms"]], set()
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [line.strip() for number, line in enumerate(module.splitlines(), start=1) if number not in prose]
    code = [line for line in lines if line and not line.startswith("#")]
    assert len(code) < 80
    assert max(map(len, module.splitlines())) <= 120


def test_the_snippets_run(environment):
    assert snippets()
    for snippet in snippets():
        environment.python("-W", "error", "-c", snippet)


def test_every_test_of_the_contract_is_explained_and_no_other():
    contract = {name for name in dir(BackendContract) if name.startswith("test_")}
    rows = re.findall(r"^\| (`test_[^|]*)\|", "\n".join(GUIDES.values()), flags=re.M)
    explained = {name for row in rows for name in row.split("`")[1::2]}
    assert explained == contract


@pytest.mark.parametrize(
    ("printed", "output", "alike"),
    [
        ("a ... c", "a  b c", True),
        ("a\n...\nc", "a\nb\nb\nc", True),
        ("a\n...", "a\n", False),
        ("a", "a b", False),
        ("1 passed", "2 passed", False),
    ],
)
def test_output_is_compared_as_the_guide_says(printed, output, alike):
    assert shown(printed, output) is alike
