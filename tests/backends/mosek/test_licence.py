"""Without a licence MOSEK says so by its own code, and with a server it does not ask for one."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module

import mosek_stand_in
import pytest
from fresh_environment import with_support

from cvxrobust.backends.mosek import Mosek, licence, optimiser
from cvxrobust.bench.cli.commands.backends import _readable_detail, examine
from cvxrobust.core.contracts.backend import Finding, Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import BackendUnavailableError, LicenceError
from cvxrobust.core.settings import Settings
from cvxrobust.core.testing import planted_program

mosek = pytest.importorskip("mosek")

CHILD = """
import json, sys
from cvxrobust.core.testing import planted_program
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.settings import Settings
backend = get_backend("mosek")
said = {"unavailable": backend.unavailable(), "imported": "mosek" in sys.modules}
for name, ask in {
    "solve": lambda: backend.solve(planted_program(0)[0], Settings()),
    "require": lambda: backend.require_available(Settings()),
    "remote": lambda: backend.require_available(Settings(options={"optserver": "http://far:1"})),
}.items():
    try:
        ask()
        said[name] = "nothing"
    except CvxRobustError as error:
        said[name] = f"{type(error).__name__}: {error}"
said["findings"] = [[finding.what, finding.ok, finding.detail] for finding in backend.diagnose()]
print(json.dumps(said))
"""


def child(home, **variables):
    """What a process of its own says: MOSEK reads the environment once."""
    places = {"HOME": str(home), "USERPROFILE": str(home)}
    clean = {name: value for name, value in with_support(**places).items() if name != licence.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=120, env=clean | variables
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_without_a_licence_nothing_is_imported_to_find_that_out(tmp_path):
    said = child(tmp_path)
    assert "err_missing_license_file, 1008" in said["unavailable"]
    for what in ("~/mosek/mosek.lic", "MOSEKLM_LICENSE_FILE", "port@host", "optserver=", "www.mosek.com"):
        assert what in said["unavailable"]
    assert not said["imported"]
    for way in ("solve", "require"):
        assert said[way].startswith("LicenceError: MOSEK refuses to optimise: err_missing_license_file (1008)")
        assert "MOSEKLM_LICENSE_FILE" in said[way]
    assert said["remote"] == "nothing"
    assert [finding[:2] for finding in said["findings"]] == [
        ["installed", True], ["importable", True], ["licensed", False],
    ]  # fmt: skip
    assert "1008" in said["findings"][2][2]


def test_an_empty_variable_hides_the_default_place(tmp_path):
    (tmp_path / "mosek").mkdir()
    (tmp_path / "mosek" / "mosek.lic").write_text("no licence")
    assert "being set but empty" in child(tmp_path, MOSEKLM_LICENSE_FILE="")["unavailable"]


@pytest.mark.parametrize(
    ("in_place", "variable", "code"),
    [
        (True, None, "err_flexlm (1014)"),
        (False, "a file", "err_flexlm (1014)"),
        (False, "no file", "err_missing_license_file (1008)"),
        (False, "1@127.0.0.1", "err_license_cannot_connect (1021)"),
    ],
    ids=["file in its place", "file elsewhere", "no such file", "no such server"],
)
def test_what_looks_like_a_licence_is_tried(tmp_path, in_place, variable, code):
    for place in (tmp_path / "mosek" / "mosek.lic", tmp_path / "a file"):
        place.parent.mkdir(exist_ok=True)
        if in_place or place.name == variable:
            place.write_text("no licence\n")
    named = {} if variable is None else {"MOSEKLM_LICENSE_FILE": variable}
    if variable in ("a file", "no file"):
        named = {"MOSEKLM_LICENSE_FILE": str(tmp_path / variable)}
    said = child(tmp_path, **named)
    assert code in said["unavailable"]
    assert said["imported"]
    assert said["solve"].startswith(f"LicenceError: MOSEK refuses to optimise: {code}")
    assert code in said["findings"][2][2]


def test_evidence_is_looked_for_again_but_mosek_asked_once(monkeypatch, tmp_path):
    asked = []

    class Refusing:
        def __enter__(self):
            asked.append(os.environ[licence.VARIABLE])
            raise mosek.Error(mosek.rescode.err_license_expired, "too late")

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(mosek, "Env", Refusing)
    licence._refusal.cache_clear()
    for name in ("1@here", "1@here", "1@there", "1@here"):
        monkeypatch.setenv(licence.VARIABLE, name)
        assert "err_license_expired (1001): too late The licence has expired" in Mosek().unavailable()
    assert asked == ["1@here", "1@there"]
    licence._refusal.cache_clear()


def test_a_missing_package_is_told_apart(monkeypatch):
    monkeypatch.setattr(licence, "find_spec", lambda name: None)
    monkeypatch.setattr("cvxrobust.backends.mosek.find_spec", lambda name: None)
    assert "pip install mosek" in Mosek().unavailable()
    assert [(finding.what, finding.ok) for finding in Mosek().diagnose()] == [("installed", False)]
    with pytest.raises(BackendUnavailableError, match="pip install mosek"):
        Mosek().require_available(Settings(options={"optserver": "http://far:1"}))


def test_a_package_that_cannot_be_imported_is_told_apart(monkeypatch):
    def broken(name):
        raise ImportError("libmosek64.so: cannot open") if name == "mosek" else AssertionError

    monkeypatch.setattr(licence.importlib, "import_module", broken)
    found = Mosek().diagnose()
    assert [(finding.what, finding.ok) for finding in found] == [("installed", True), ("importable", False)]
    assert "libmosek64.so: cannot open" in found[1].detail
    assert import_module is not broken


def test_the_doctor_shows_each_finding(monkeypatch):
    row = examine(get_backend("clarabel"))
    assert row["findings"] == []
    assert _readable_detail(row) == row["detail"]
    monkeypatch.setattr(licence, "unlicensed", lambda: "no licence")
    told = [Finding("installed", True, "version 99"), Finding("licensed", False, "no licence")]
    monkeypatch.setattr(licence, "findings", lambda: told)
    row = examine(get_backend("mosek"))
    assert (row["outcome"], row["detail"]) == ("skipped", "no licence")
    assert row["findings"][1] == {"what": "licensed", "ok": False, "detail": "no licence"}
    assert _readable_detail(row) == "installed: yes (version 99)\nlicensed: no (no licence)"


def test_the_doctor_solves_where_there_is_a_licence(monkeypatch):
    mosek_stand_in.installed(monkeypatch)
    row = examine(get_backend("mosek"))
    assert (row["outcome"], row["version"]) == ("ok", row["findings"][0]["detail"].removeprefix("version "))
    assert _readable_detail(row).splitlines()[-1] == row["detail"]
    assert all(finding["ok"] for finding in row["findings"])


def test_the_doctor_survives_a_diagnosis_that_fails(monkeypatch):
    def broken():
        raise RuntimeError("lost")

    monkeypatch.setattr(licence, "findings", broken)
    row = examine(get_backend("mosek"))
    assert row["findings"] == [{"what": "diagnosable", "ok": False, "detail": "RuntimeError: lost"}]


@pytest.fixture
def server():
    """A server that notes what it is asked, and answers with an error, or not at all."""
    requests, done = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body, chunk = b"", int(self.rfile.readline(), 16)
            while chunk:
                body += self.rfile.read(chunk)
                self.rfile.readline()
                chunk = int(self.rfile.readline(), 16)
            requests.append((self.path, dict(self.headers), body))
            if httpd.silent:
                done.wait(30)
                return
            self.send_response(503)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"no way")

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads, httpd.silent, httpd.requests = True, False, requests
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    done.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.mark.parametrize("option", ["optserver", "MSK_SPAR_REMOTE_OPTSERVER_HOST", "sparam.remote_optserver_host"])
def test_a_server_is_sent_the_task_and_its_refusal_is_reported(server, option):
    settings = Settings(options={option: server.url, "optserver_token": "secret"})
    with pytest.raises(BackendUnavailableError, match=r"err_server_status \(8002\).*503 no way") as refused:
        Mosek().solve(planted_program(0)[0], settings)
    assert f"OptServer at {server.url}" in str(refused.value)
    (path, headers, body), = server.requests  # fmt: skip
    assert path == "/api/v1/submit+solve"
    assert headers["X-Mosek-Access-Token"] == "secret"
    assert len(body) > 1000
    assert "secret" not in str(refused.value)


def test_a_silent_server_is_left_when_the_time_is_up(server, monkeypatch):
    monkeypatch.setattr(optimiser, "GRACE", 0.1)
    server.silent = True
    remote = {"optserver": server.url, "optserver_token": "secret"}
    late = Mosek().solve(planted_program(0)[0], Settings(time_limit=0.3, options=remote))
    assert late.termination is Termination.TIME_LIMIT
    assert "sent nothing in time" in late.message
    assert late.applied["optserver"] == server.url
    assert "secret" not in str(late)
    monitor = Monitor()
    monitor.stop()
    stopped = Mosek().solve(planted_program(0)[0], Settings(options=remote), monitor=monitor)
    assert stopped.termination is Termination.INTERRUPTED


def test_a_server_that_is_not_there_is_reported():
    with pytest.raises(BackendUnavailableError, match=r"err_server_\w+ \(80\d\d\)"):
        Mosek().solve(planted_program(0)[0], Settings(options={"optserver": "http://127.0.0.1:9"}))


def test_there_is_never_a_silent_fallback(monkeypatch):
    """Not even where something else could have solved it."""

    def refused(task, request):
        raise mosek.Error(mosek.rescode.err_license_max, "all taken")

    monkeypatch.setattr(optimiser, "optimise", refused)
    with pytest.raises(LicenceError, match=r"err_license_max \(1016\): all taken"):
        Mosek().solve(planted_program(0)[0], Settings())
