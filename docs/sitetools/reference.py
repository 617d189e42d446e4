"""The reference: every public name on one page, the derivations of modules as they stand in their docstrings."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import cvxrobust
from sitetools.papers import ROOT

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

OWN_MEMBERS = ("problems", "errors")
"""Pages whose classes show no members of their bases: of problems these are what `core` asks, not people."""

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
    raise LookupError(f"names of {module} are on no page: say on which in PAGES of docs/sitetools/reference.py")


def names_on(page: str) -> list[str]:
    """The public names of a page, in alphabetical order, functions after classes."""
    found = (name for name, module in homes().items() if page_of(module) == page)
    return sorted(found, key=lambda name: (name.islower(), name))


def reference(page: str) -> str:
    """What asks for the docstrings of the names of a page."""
    if page not in PAGES:
        raise LookupError(f"there is no page {page!r} of the reference; there are {', '.join(PAGES)}")
    own = "    options:\n      inherited_members: false\n" if page in OWN_MEMBERS else ""
    return "\n\n".join(f"::: {path_of(name)}\n{own}" for name in names_on(page)) + "\n"


def path_of(name: str) -> str:
    """The path by which the docstring of a public name is found: a folder of the same name would be taken for it."""
    return f"cvxrobust.{homes()[name]}.{name}" if (ROOT / name).is_dir() else f"cvxrobust.{name}"


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
    chosen = ("members", "show_symbol_type_heading", "show_symbol_type_toc")
    options = "    options:\n" + "".join(f"      {name}: false\n" for name in chosen)

    def asking(module: str) -> str:
        named = f"      heading: {module}\n      toc_label: {module.split('.', 1)[1]}\n"
        return f"::: cvxrobust.{module}\n{options}{named}"

    return "\n\n".join(map(asking, found)) + "\n"
