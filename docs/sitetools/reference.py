"""The reference: every public name on one page, the derivations of modules as they stand in their docstrings."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from sitetools.papers import ROOT

import cvxrobust

ROOMS = ("__init__.py", "core", "problems", "backends", "bench")

PAGES: Mapping[str, tuple[str, ...]] = {
    "solving": ("core.solving", "core.settings", "core.contracts", "core.certificate", "core.discovery", "core.paths"),
    "problems": ("problems.polynomial", "problems.relu", "problems.data"),
    "estimators": ("problems.sklearn_estimators", "problems.model_selection"),
    "networks": ("core.networks",),
    "robustness": ("core.robustness", "core.attacks"),
    "pictures": ("core.pictures",),
    "errors": ("core.errors", "core.extras"),
}
"""Which public names stand on which page of the reference: those that live below these modules."""

SHORTEST_DERIVATION = 12
"""Lines of a module's docstring from which on it is more than a heading."""


def linked_package(folder: Path) -> Path:
    """A folder in which the package is found under its name, without what else lies in the checkout."""
    package = folder / "cvxrobust"
    package.mkdir()
    for room in ROOMS:
        (package / room).symlink_to(ROOT / room)
    return folder


def homes() -> dict[str, str]:
    """The module, without that of the package, in which each public name lives."""
    return {name: module for name, module in cvxrobust._PLACES.items() if name in cvxrobust.__all__}


def page_of(module: str) -> str:
    """The page on which names of a module stand.

    Raises:
        LookupError: Nobody has said which.
    """
    for page, modules in PAGES.items():
        if any(module == one or module.startswith(f"{one}.") for one in modules):
            return page
    raise LookupError(f"no page of the reference takes names of {module}: say which in PAGES of docs/sitetools/reference.py")


def names_on(page: str) -> list[str]:
    """The public names of a page, in alphabetical order, functions after classes."""
    return sorted((name for name, module in homes().items() if page_of(module) == page), key=lambda name: (name.islower(), name))


def reference(page: str) -> str:
    """What asks for the docstrings of the names of a page."""
    if page not in PAGES:
        raise LookupError(f"there is no page {page!r} of the reference; there are {', '.join(PAGES)}")
    return "\n\n".join(f"::: cvxrobust.{name}" for name in names_on(page)) + "\n"


def told(path: Path) -> str:
    """The docstring of a module."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def derivation_modules(*rooms: str) -> Iterator[str]:
    """Modules of some rooms whose docstring is a derivation, without the name of the package."""
    for room in rooms:
        place = ROOT.joinpath(*room.split("."))
        paths = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        for path in paths:
            if len(told(path).splitlines()) >= SHORTEST_DERIVATION:
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def derivations(asked: str) -> str:
    """What asks for the docstrings of modules, and for nothing else of them."""
    found = list(derivation_modules(*asked.split()))
    if not found:
        raise LookupError(f"no module of {asked} has a docstring of {SHORTEST_DERIVATION} lines or more")
    options = "    options:\n      members: false\n      show_root_full_path: true\n      heading_level: 2\n"
    return "\n\n".join(f"::: cvxrobust.{module}\n{options}" for module in found) + "\n"
