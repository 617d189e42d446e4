"""What the site is made of: papers put in whole, links led to its pages, every public name in the reference."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from mkdocs.config import load_config
from papers import ROOT, papers, read

sys.path.insert(0, str(ROOT / "docs"))

import cvxrobust
from cvxrobust.core.losses.by_name import LOSSES
from sitetools.checking import complaints
from sitetools.links import Places, reports
from sitetools.lists import indented
from sitetools.measured import MEASURED, PICTURES
from sitetools.papers import DIRECTIVE, Include, anchor_of, headings, relinked, section
from sitetools.reference import PAGES, derivation_modules, homes, names_on
from sitetools.tables import TABLES, backends_of_problems, losses_of_problems

DOCS = ROOT / "docs"
WRITTEN = [page for page in papers() if DOCS in page.parents]


def asked(kind):
    """What pages ask for, of one kind."""
    found = [(page, *one) for page in WRITTEN for one in DIRECTIVE.findall(read(page))]
    return [(page, what) for page, wanted, what in found if wanted == kind]


@pytest.fixture(scope="module")
def places():
    found = Places("https://repository.example")
    found.whole |= {path: page for page, path in reports().items()}
    for page in WRITTEN:
        found.note(page.relative_to(DOCS).as_posix(), read(page))
    return found


def test_every_public_name_stands_on_one_page_of_the_reference():
    shown = [name for page in PAGES for name in names_on(page)]
    assert sorted(shown) == sorted(set(cvxrobust.__all__) - {"__version__"})
    missing = {page for page in PAGES if names_on(page)} - {what for _, what in asked("reference")}
    assert not missing, "give the page a file in docs/reference, and a place in mkdocs.yml"
    assert set(homes()) == set(shown)


def test_whatever_pages_ask_for_is_there():
    assert {what for _, what in asked("table")} == set(TABLES)
    assert {what.split()[0] for _, what in asked("picture")} == set(PICTURES)
    for _, what in asked("include"):
        assert Include.of(what).text.startswith("#")
    for _, what in asked("derivations"):
        assert list(derivation_modules(*what.split()))


def test_no_part_of_a_paper_stands_on_two_pages():
    parts = [Include.of(what) for _, what in asked("include")]
    anchors = [(one.path, anchor) for one in parts for anchor in set(one.anchors)]
    assert {place for place in anchors if anchors.count(place) > 1} == set()


def test_every_page_stands_in_the_navigation():
    plain = read(ROOT / "mkdocs.yml")
    named = re.findall(r"[\w/-]+\.md", plain)
    assert sorted(named) == sorted(page.relative_to(DOCS).as_posix() for page in WRITTEN)
    assert yaml.safe_load(plain)["theme"]["font"] is False


def test_every_long_docstring_of_a_module_is_shown_or_known_to_be_no_derivation():
    shown = {module for _, what in asked("derivations") for module in derivation_modules(*what.split())}
    every = set(derivation_modules("core", "problems", "backends"))
    assert every - shown <= {"core.formats.read", "core.formats.write_sdpa", "core.solving.child"}


@pytest.mark.parametrize(
    ("page", "origin", "link", "there"),
    [
        ("choose/gates.md", "problems/README.md", "#the-bound", "../mathematics.md#the-bound"),
        ("index.md", "README.md", "backends/README.md#write-a-backend", "write/backend.md#write-a-backend"),
        ("python.md", "problems/README.md", "#in-python", "python.md"),
        ("limits.md", "backends/README.md", "../bench/demo/README.md", "paper.md"),
        ("paper.md", "bench/README.md", "studies/reports/tables.md", "reports/tables.md"),
        ("paper.md", "bench/README.md", "studies/reports/tables", "https://repository.example/tree/main/bench/studies/reports/tables"),
        ("index.md", "README.md", "LICENSE", "https://repository.example/blob/main/LICENSE"),
        ("reports/ipm.md", "bench/studies/reports/ipm.md", "ipm_scaling.png", "ipm_scaling.png"),
        ("index.md", "docs/index.md", "https://arxiv.org/abs/2405.14033", "https://arxiv.org/abs/2405.14033"),
        ("gallery/one.md", "docs/gallery/one.md", "../install.md", "../install.md"),
    ],
)  # fmt: skip
def test_links_of_papers_lead_to_pages(places, page, origin, link, there):
    assert places.link(page, origin, link) == there


def test_paths_are_read_as_titles_of_pages(places):
    text = relinked("[problems/README.md](problems/README.md#the-bound), [a](LICENSE)", str, lambda link: "Mathematics")
    assert text == "[Mathematics](problems/README.md#the-bound), [a](LICENSE)"
    assert places.title("README.md", "bench/cli/README.md") == "The command line"
    assert places.title("README.md", "LICENSE") == places.title("README.md", "https://arxiv.org") == ""


def test_a_link_that_leads_nowhere_stops_the_build(places):
    with pytest.raises(LookupError, match=r"README.md links to none.md, which does not exist"):
        places.link("index.md", "README.md", "none.md")
    with pytest.raises(LookupError, match="there is no heading #none"):
        section(read(ROOT / "README.md"), "none")


def test_links_in_code_stay_as_they_are():
    text = "[a](b) `[a](b)` ``x`[a](b)``\n\n```python\n[a](b)\n```\n\n[c\nd](b#e)\n"
    assert relinked(text, str.upper) == text.replace("[a](b) `", "[a](B) `").replace("(b#e)", "(B#E)")


def test_headings_have_the_names_that_repositories_give_them():
    assert anchor_of("How to choose `beta`, radius & gates") == "how-to-choose-beta-radius--gates"
    assert [one.anchor for one in headings("# A b\n```sh\n# no heading\n```\n## [C](d.md)\n")] == ["a-b", "c"]
    part = Include("x.md", "## A\ntext\n### B\n", titled=True)
    assert part.at_level(1).splitlines() == ["# A", "text", "## B"]
    assert Include("x.md", "# A\ntext\n", titled=False).at_level(2).splitlines() == ["text"]


def test_formulae_in_items_stay_formulae():
    item = ["1. One, m = d", "   + 1:", "", "       a >= b", "       + c", "", "   more"]
    found = indented([*item, "", "text", "> no", "", "    x"])
    assert found[:6] == ["1. One, m = d + 1:", "", "        a >= b", "        + c", "", "    more"]
    assert found[6:] == ["", "text > no", "", "    x"]


def test_tables_say_what_the_code_says():
    rows = [line.split(" | ") for line in losses_of_problems().splitlines()[2:]]
    assert len(rows) > 8
    assert all(len(row) == 1 + len(LOSSES) for row in rows)
    said = {row[0]: row for row in (line.strip("|").split("|") for line in backends_of_problems().splitlines())}
    header, streamed = [cell.strip() for cell in said[" problem "]], [cell.strip() for cell in said[" `StreamedSDP` "]]
    assert streamed[header.index("`torch`")] == "**itself**"
    assert streamed[header.index("`clarabel`")] == ""


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_studies_fill_their_tables(name):
    table = MEASURED[name]()
    assert len(table) > 100
    assert "nan" not in table
    widths = {line.count(" | ") for line in table.splitlines() if line.startswith("|")}
    assert len(widths) <= 1


def test_docstrings_are_looked_for_before_the_plugins_read_where():
    """Without a path of its own the package is found only where a checkout's parent happens to be searched."""
    config = load_config(str(ROOT / "mkdocs.yml"))
    config.plugins.run_event("config", config)
    paths = config.plugins["mkdocstrings"].handlers.get_handler("python")._paths
    assert Path(paths[0], "cvxrobust", "core", "attacks", "boxes", "shor.py").is_file()


def test_pictures_are_the_same_every_time():
    for draw in PICTURES.values():
        light = draw(False)
        assert light.startswith("<?xml")
        assert light == draw(False) != draw(True)


def test_broken_links_and_what_is_fetched_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="b.html#there">1</a><a href="b.html#none">2</a><a href="c.html">3</a>'
        '<a href="#here">4</a>'
        '<a href="https://arxiv.org">5</a><a href="javascript:x">6</a><script src="https://cdn.example/x.js"></script>'
        '<img src="none.png"><link rel="canonical" href="https://site.example/a.html">'
    )
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    assert list(complaints(tmp_path)) == [
        "a.html: b.html#none: there is no such place on that page",
        "a.html: c.html: there is no such file",
        "a.html: javascript:x: is of a kind that pages do not use",
        "a.html: https://cdn.example/x.js: is fetched from elsewhere",
        "a.html: none.png: there is no such file",
    ]
    assert list(complaints(Path(tmp_path / "none")))
