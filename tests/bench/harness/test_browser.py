"""The report in a real browser without a network: drawn, silent, searchable, sortable, legible by day and night.

Chromium is spoken to through a pipe, in the DevTools protocol, so nothing but the browser itself is needed.
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest
from harness.rows import NASTY, liar, manifest, row, spec, study

from cvxrobust.bench.harness.analysis.analysis import analyse
from cvxrobust.bench.harness.analysis.tables import Run
from cvxrobust.bench.harness.report.page import write_html
from cvxrobust.bench.harness.report.report import make_report

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "CVXROBUST_REQUIRE_BROWSER"
PATIENCE = 60.0


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, commands, answers):
        self.commands, self.answers = commands, answers
        self.numbers = itertools.count(1)
        self.events, self.session, self.rest = [], None, b""

    def __call__(self, method, **parameters):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        while b"\0" not in self.rest:
            chunk = os.read(self.answers, 1 << 16)
            assert chunk, "the browser has gone"
            self.rest += chunk
        line, _, self.rest = self.rest.partition(b"\0")
        return json.loads(line)

    def attach(self):
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def look(self, width, dark=False, height=900):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def visit(self, path):
        self("Page.navigate", url=path.as_uri())
        self.wait_for('document.documentElement?.getAttribute("data-drawn") === "yes"')

    def ask(self, expression):
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression):
        deadline = time.monotonic() + PATIENCE
        while not self.ask(expression):
            assert time.monotonic() < deadline, f"never true: {expression}; {self.complaints()}"
            time.sleep(0.05)

    def click(self, selector):
        box = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector, text):
        self.click(selector)
        self("Input.insertText", text=text)

    def complaints(self):
        """Everything that the console would show in red or yellow."""
        found = [e["params"] for e in self.events if e.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
        spoken = [e["params"] for e in self.events if e.get("method") == "Runtime.consoleAPICalled"]
        return found + [one for one in spoken if one["type"] in ("error", "warning", "assert")]

    def requests(self):
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [e["params"]["request"]["url"] for e in sent]

    def screenshot(self, path, whole=True):
        picture = self("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(picture))
        return path


def find_browser():
    path = os.environ.get("CVXROBUST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = f"no browser found: none of {', '.join(NAMES)} is installed, and CVXROBUST_BROWSER names none"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{reason}; {REQUIRED}=1 asks for one")
        pytest.skip(reason)
    return path


@contextmanager
def running(profile):
    """A browser with one page, its whole network switched off."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
        "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
    ]  # fmt: skip
    # The protocol wants file descriptors 3 and 4; a shell can say so without running Python between fork and exec.
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", find_browser(), *options],
        pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        browser = Browser(ours_out, ours_in)
        browser.attach()
        yield browser
        browser.session = None
        browser("Browser.close")
        process.wait(PATIENCE)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        if process.poll() is None:
            process.kill()
            process.wait()


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
        browser.visit(report)
        yield browser


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


BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def contrast(one, other):
    """Ratio of relative luminances, as WCAG 2 defines it; 7 is its stricter demand on text."""

    def luminance(color):
        shares = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
