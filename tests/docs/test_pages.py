"""The built site in a real browser without a network: it fits, is silent, can be read by day and night, is searched."""

import os
from pathlib import Path

import pytest
from harness.browser import BACKGROUND, contrast, find_browser, running

SITE = "CVXROBUST_SITE"
HIDDEN = "404.html"
PICTURED = (
    "index.html",
    "choose/backend.html",
    "mathematics.html",
    "reference/problems.html",
    "derivations/bounds.html",
)


@pytest.fixture(scope="module")
def site():
    if SITE not in os.environ:
        pytest.skip(f"{SITE} names no built site; make docs-check builds one and looks at it, and so does CI")
    return Path(os.environ[SITE]).resolve()


@pytest.fixture(scope="module")
def browser(site, tmp_path_factory):
    find_browser()
    with running(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


SCHEMES = ("default", "slate")
"""By day and by night."""

LOOKS = [(width, dark) for width in (1400, 420) for dark in (False, True)]


def test_pages_fit_and_can_be_read(browser, site):
    pages = [page for page in sorted(site.rglob("*.html")) if page.name != HIDDEN]
    assert len(pages) > 40
    for page in pages:
        name = page.relative_to(site).as_posix()
        browser.visit(page)
        for width, dark in LOOKS:
            browser.look(width, dark)
            browser.wait_for(f"document.documentElement.scrollWidth <= {width}")
            # The page hears of night and day a moment later.
            browser.wait_for(f"document.body.dataset.mdColorScheme === '{SCHEMES[dark]}'")
            assert browser.ask("[...document.images].every((one) => one.complete && one.naturalWidth)"), name
            ink = browser.ask("getComputedStyle(document.querySelector('article p')).color")
            assert contrast(opaque(ink), browser.ask(f"({BACKGROUND})")) > 7, (name, dark)
            if name in PICTURED and (folder := os.environ.get("CVXROBUST_SCREENSHOTS")):
                stem = name.removesuffix(".html").replace("/", "-")
                browser.screenshot(Path(folder) / f"site-{stem}-{width}-{'dark' if dark else 'light'}.png")
    assert browser.complaints() == []
    assert {url.partition(":")[0] for url in browser.requests()} <= {"file", "data", "blob"}


def opaque(colour):
    """A colour without its transparency."""
    return f"rgb({', '.join(colour[colour.index('(') + 1 : -1].split(',')[:3])})"


def test_pages_can_be_searched_from_files(browser, site):
    browser.look(1400)
    browser.visit(site / "index.html")
    browser.type(".md-search__input", "S-procedure")
    browser.wait_for('document.querySelectorAll(".md-search-result__link").length > 0')
    assert "athemati" in browser.ask('document.querySelector(".md-search-result__list").textContent')
