"""The report in a real browser without a network: drawn, silent, searchable, sortable, legible by day and night."""

import json
import os
import shutil

import pytest
from harness.browser import BACKGROUND, contrast, find_browser, running
from harness.rows import NASTY, liar, manifest, row, spec, study

from cvxrobust.bench.harness.analysis.analysis import analyse
from cvxrobust.bench.harness.analysis.tables import Run
from cvxrobust.bench.harness.report.page import write_html
from cvxrobust.bench.harness.report.report import make_report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    rows = [*study(), liar(spec(160)), row("<i>slanted</i>", spec(10), 0.7, message=NASTY)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_html(make_report(analyse([Run("a-run", rows, manifest(note=NASTY))])), path)
    return path


@pytest.fixture(scope="module")
def browser(report, tmp_path_factory):
    find_browser()
    with running(tmp_path_factory.mktemp("profile")) as browser:
        browser.look(1280)
        browser.visit(report, DRAWN)
        yield browser


DRAWN = 'document.documentElement?.getAttribute("data-drawn") === "yes"'
VISIBLE = '[...document.querySelectorAll("#table tbody tr")].filter((row) => !row.hidden)'


def column(name):
    headings = '[...document.querySelectorAll("#table thead th")]'
    index = f"{headings}.findIndex((cell) => cell.textContent.trim() === {json.dumps(name)})"
    return f"{VISIBLE}.map((row) => row.cells[{index}])"


def test_every_picture_is_drawn(browser):
    places = browser.ask('document.querySelectorAll(".plot").length')
    drawn = browser.ask('[...document.querySelectorAll(".plot")].filter((p) => p.querySelector("svg.main-svg")).length')
    assert places == drawn >= 6
    assert browser.ask('document.querySelectorAll(".plot .scatterlayer .trace path.js-line").length') > 10
    assert browser.ask('document.querySelectorAll(".plot .barlayer .point path").length') > 10


def test_nothing_is_said_on_the_console_and_nothing_is_fetched(browser, report):
    assert browser.complaints() == []
    assert browser.requests(), "the request for the page itself should have been seen"
    assert {url for url in browser.requests() if not url.startswith(("data:", "blob:"))} == {report.as_uri()}


def test_the_search_box_filters_rows(browser):
    every = browser.ask(f"{VISIBLE}.length")
    browser.type("#search", "gamma KILLED")
    assert browser.ask(f"{VISIBLE}.length") == 1
    assert "killed" in browser.ask(f"{VISIBLE}[0].textContent")
    assert browser.ask('document.getElementById("found").textContent') == f"1 of {every} rows"
    browser.ask('document.getElementById("search").select()')
    browser("Input.insertText", text="no such words anywhere")
    assert browser.ask(f"{VISIBLE}.length") == 0
    browser.ask('document.getElementById("search").select()')
    for kind in ("keyDown", "keyUp"):
        browser("Input.dispatchKeyEvent", type=kind, key="Backspace", code="Backspace", windowsVirtualKeyCode=8)
    assert browser.ask(f"{VISIBLE}.length") == every


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_round(browser):
    names = browser.ask('[...document.querySelectorAll("#table thead th")].map((cell) => cell.textContent.trim())')
    heading = f"#table thead th:nth-child({names.index('seconds') + 1}) button"
    values = column("seconds") + ".map((cell) => cell.dataset.value)"
    browser.click(heading)
    rising = [float(value) for value in browser.ask(values) if value]
    assert rising == sorted(rising)
    assert browser.ask(values)[-1] == "", "rows without a time stay last"
    browser.click(heading)
    assert [float(value) for value in browser.ask(values) if value] == rising[::-1]
    assert browser.ask(values)[-1] == ""
    assert browser.ask(column("seconds") + ".length") == browser.ask(f"{VISIBLE}.length")


def test_another_problem_can_be_chosen(browser):
    curves = '[...document.querySelectorAll("#gap-plot .legendtext")].map((text) => text.textContent).join()'
    before = browser.ask(curves)
    browser.ask(
        '{ const menu = document.getElementById("gap-choice"); menu.selectedIndex = menu.options.length - 1;'
        'menu.dispatchEvent(new Event("change")); }'
    )
    browser.wait_for(f"{curves} !== {json.dumps(before)}")


def test_no_text_becomes_markup(browser):
    assert browser.ask("document.title") == "Benchmark: made-up"
    assert browser.ask('document.querySelectorAll("main b").length') == browser.ask(
        'document.querySelectorAll("main td b, main li b").length'
    )
    assert '<script>document.title = "broken"</script>' in browser.ask('document.getElementById("rows").textContent')
    assert "<i>slanted</i>" in browser.ask('document.querySelector(".plot").textContent')


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_can_be_read(browser, width, dark, tmp_path):
    browser.look(width, dark)
    ink = "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
    fill = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    plain = f"(() => {{ const e = document.createElement('p'); e.style.color = {ink}; return e.style.color; }})()"
    browser.wait_for(f"{fill} === {plain}")
    browser.wait_for("document.querySelector('#seconds .main-svg').getBoundingClientRect().width <= innerWidth")
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert contrast(browser.ask("getComputedStyle(document.body).color"), browser.ask(f"({BACKGROUND})")) > 7
    picture = browser.screenshot(tmp_path / "page.png")
    assert picture.stat().st_size > 50_000
    if folder := os.environ.get("CVXROBUST_SCREENSHOTS"):
        shutil.copy(picture, os.path.join(folder, f"report-{width}-{'dark' if dark else 'light'}.png"))
    assert browser.complaints() == []
