"""A headless Chromium, spoken to through a pipe in the DevTools protocol: nothing but the browser itself is needed.

Its whole network is switched off: pages are read from files.
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

    def visit(self, path, arrived='document.readyState === "complete"'):
        address = json.dumps(path.as_uri())
        self("Page.navigate", url=path.as_uri())
        self.wait_for(f'location.href.split("#")[0] === {address} && {arrived}')

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


BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def contrast(one, other):
    """Ratio of relative luminances, as WCAG 2 defines it; 7 is its stricter demand on text."""

    def luminance(color):
        shares = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
