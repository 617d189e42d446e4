"""`Settings(verbose=True)`: a line for every report of whatever backend, wherever it runs, once."""

import io
import logging
import math
import pickle
import sys
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from fakes import Fake

from cvxrobust import AdversarialSDP, ConvexReLU, Settings, StandardSDP, solve, solve_path
from cvxrobust.core import Capabilities, Certificate, Monitor, Solution, Termination
from cvxrobust.core.solving import child, isolation, supervision
from cvxrobust.core.solving.reporting import sinks
from cvxrobust.core.solving.reporting.lines import Line, line, watched_by

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 2))
Y = np.where(X[:, 0] > 0.2 * RNG.standard_normal(20), 1.0, -1.0)
PROBLEM = ConvexReLU(X, Y, n_gates=3)
LOUD = Settings(verbose=True, tolerance=1e-3, threads=1)


class Structured(Fake):
    """Of somebody else: reads gated programmes and does what it is told with its monitor."""

    name = "stranger"
    capabilities = Capabilities(structured=frozenset({"gated"}), monitored=True)

    def __init__(self, act=lambda monitor: None):
        self.act = act

    def solve(self, program, settings, monitor):
        self.act(monitor)
        return Solution(Termination.ITERATION_LIMIT, network=PROBLEM.trivial_network())


def three_reports(monitor):
    assert monitor.report(4.0, 0.125, iteration=1)
    assert monitor.report(2.0, 0.25, lambda: Solution(Termination.TIME_LIMIT), iteration=2)
    assert not monitor.report(2.0, 9.0)


def heard_by(monkeypatch, *handlers):
    """Nobody else has configured logging; to be called within a test, because pytest listens to what does not pass on.

    pytest itself has a handler on the root, which would count as a configuration.
    """
    monkeypatch.setattr(sinks.LOGGER, "propagate", False)
    monkeypatch.setattr(sinks.LOGGER, "handlers", list(handlers))


def said_by(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "cvxrobust"]


def test_every_report_of_a_stranger_has_a_line_and_so_has_what_is_certified(caplog):
    result = solve(PROBLEM, Structured(three_reports), settings=LOUD)
    first, one, two, false, *_, last = said_by(caplog)
    assert " start " in first
    assert first.endswith("certified")
    assert " s  stranger/direct      iteration 1    lower          0.125  upper              4  gap 9.7e-01" in one
    assert " iteration 2 " in two
    assert false.endswith("cannot be true")
    assert " iteration " not in false
    assert last == str(result)
    assert [record.levelname for record in caplog.records] == ["INFO"] * len(caplog.records)


def test_nothing_is_said_and_nobody_listens_unless_asked(caplog, capfd):
    witness, heard = (lambda *said: True), []
    assert watched_by(None, Monitor(), None, witness).hear is witness
    solve(PROBLEM, Structured(lambda monitor: heard.append(monitor)), settings=Settings())
    assert said_by(caplog) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel", "scs"])
def test_our_backends_say_how_far_they_are(backend, caplog):
    result = solve(PROBLEM, backend, settings=LOUD)
    lines = [text for text in said_by(caplog) if f" {backend}/direct " in text]
    assert lines
    bounds = result.certificate
    assert any(f"lower {bounds.lower:14.8g}  upper {bounds.upper:14.8g}" in text for text in lines)


def test_rounds_of_masters_are_lines_and_their_solver_is_silent(caplog, capfd):
    solve(AdversarialSDP(X, Y, radius=0.1), "clarabel", "cutting-set", LOUD)
    rounds = [text for text in said_by(caplog) if " clarabel/cutting-set iteration " in text]
    assert len(rounds) >= 2
    assert capfd.readouterr().out == ""


def test_classes_have_lines_of_their_own_besides_those_of_all(caplog):
    solve(AdversarialSDP(X, np.arange(20) % 3, radius=0.1), "clarabel", settings=LOUD)
    texts = said_by(caplog)
    assert sum(" all classes " in text for text in texts) == 4
    caplog.clear()
    solve(StandardSDP(X, np.arange(20) % 3), "ipm", settings=Settings(verbose=True, tolerance=0.3))
    assert {f"class {k}/3" for k in (1, 2, 3)} <= {text[13:22] for text in said_by(caplog) if " class " in text}


def test_a_path_has_a_line_per_point(caplog):
    path = solve_path(StandardSDP(X, Y), betas=[0.1, 0.05], backend="clarabel", settings=LOUD)
    lines = said_by(caplog)
    assert len(lines) == len(path) == 2
    assert " point 1/2 beta " in lines[0]
    assert all(text.endswith("certified") for text in lines)


# -- where they go -----------------------------------------------------------------------------------------------------


SAID = line(1.5, "somebody", 2.0, 1.0, 3)


def test_where_nobody_configured_logging_lines_are_on_standard_error(monkeypatch, capsys):
    heard_by(monkeypatch)
    solve(PROBLEM, Structured(three_reports), settings=LOUD)
    out, err = capsys.readouterr()
    assert out == ""
    assert sum("stranger/direct" in text for text in err.splitlines()) == 5  # three reports, a bound, the result
    with sinks.saying(True):
        pass  # a block without lines shows nothing
    assert capsys.readouterr() == ("", "")


def test_whoever_configured_logging_has_every_line_once_and_nowhere_else(monkeypatch, capsys):
    kept = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: kept.append(record))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(root, "level", logging.WARNING)  # what basicConfig leaves it at
    with sinks.saying(True) as say:
        say(SAID)
    assert [record.getMessage() for record in kept] == [SAID.text]
    assert kept[0].line is SAID
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("silence", ["logger", "handler", "all"])
def test_levels_that_were_meant_for_these_lines_count(silence, monkeypatch):
    kept = []
    handler = logging.Handler(logging.WARNING if silence == "handler" else logging.NOTSET)
    monkeypatch.setattr(handler, "emit", kept.append)
    heard_by(monkeypatch, handler)
    if silence == "logger":
        monkeypatch.setattr(sinks.LOGGER, "level", logging.WARNING)
    if silence == "all":
        monkeypatch.setattr(sinks.LOGGER.manager, "disable", logging.CRITICAL)
    sinks.LOGGER.manager._clear_cache()
    sinks.log(SAID)
    assert kept == []
    monkeypatch.undo()
    sinks.LOGGER.manager._clear_cache()


def test_a_handler_that_raises_ends_no_solve(monkeypatch):
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: 1 / 0)
    heard_by(monkeypatch, handler)
    assert solve(PROBLEM, "clarabel", settings=LOUD).quality == "certified"


def test_a_closed_standard_error_ends_no_solve(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        sinks.print_line(SAID)


class Handle:
    """What a notebook gives to whoever wants to change what is shown."""

    def __init__(self):
        self.shown = []

    def update(self, shown):
        self.shown.append((repr(shown), shown._repr_html_()))


def test_a_notebook_shows_lines_in_place_and_the_last_of_them_in_the_end(monkeypatch, capsys):
    heard_by(monkeypatch)
    handle = Handle()

    def display(shown, display_id):
        assert display_id
        handle.update(shown)
        return handle

    ipython, displays = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython, displays.display = lambda: SimpleNamespace(kernel=object()), display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    monkeypatch.setattr(sinks, "INTERVAL", math.inf)  # as if all happened in a moment
    with sinks.saying(True) as say:
        for k in range(20):
            say(line(float(k), "<b>", 1.0, 1.0 - 10.0**-k, k))
    assert len(handle.shown) == 2  # the first at once
    text, html = handle.shown[-1]
    assert "iteration 19" in text
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert html.count("iteration") == sinks.SHOWN
    monkeypatch.setattr(sinks, "INTERVAL", 0.0)
    with sinks.saying(True) as say:
        say(SAID)
        say(Line("of a class", Certificate(3.0, 0.0), whole=False))
    assert len(handle.shown) == 2 + 3
    assert "5.0e-01" in handle.shown[-1][1]  # the gap of all, not of a class
    assert capsys.readouterr() == ("", "")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=None)  # a terminal's
    assert sinks.notebook_cell() is None


# -- children ----------------------------------------------------------------------------------------------------------


def waits_for(path):
    """Reports, and goes on only once somebody has heard of it."""

    def act(monitor):
        monitor.report(1.0, 0.0, iteration=7)
        until = time.perf_counter() + 60.0
        while not path.exists():
            assert time.perf_counter() < until, "nobody has heard of it in time"
            time.sleep(0.01)

    return act


class Touching(logging.Handler):
    """Answers a line about a seventh iteration with a file."""

    def __init__(self, path):
        super().__init__()
        self.path, self.texts = path, []

    def emit(self, record):
        self.texts.append(record.getMessage())
        if " iteration 7 " in self.texts[-1]:
            self.path.touch()


@pytest.fixture
def listening(tmp_path):
    return Touching(tmp_path / "heard")


@pytest.mark.skipif(not child.can_fork("cpu"), reason="children that share memory need Linux")
def test_what_a_child_reports_is_said_here_as_it_happens(listening, monkeypatch):
    heard_by(monkeypatch, listening)
    monkeypatch.setattr("cvxrobust.core.solving.solve.has_long_steps", lambda *asked: True)
    monkeypatch.setattr(supervision, "can_fork", lambda device: True)
    settings = LOUD.replace(time_limit=100.0, device="cpu")
    result = solve(PROBLEM, Structured(waits_for(listening.path)), settings=settings)
    assert result.termination is Termination.ITERATION_LIMIT  # it has gone on
    assert [text for text in listening.texts if " start " in text]
    assert listening.texts[-1] == str(result)


STRANGER = """
import time
from pathlib import Path
from types import SimpleNamespace
from cvxrobust.core import BackendDescription, Capabilities, Solution, Termination, hookimpl, register
class Stranger:
    name, capabilities = "stranger", Capabilities(monitored=True)
    def unavailable(self): return None
    def solve(self, program, settings, monitor):
        told = monitor.report(1.0, 0.0, iteration=7), monitor.report("high", 0.0)
        until = time.perf_counter() + 60.0
        while not Path({path!r}).exists() and time.perf_counter() < until:
            time.sleep(0.01)
        return Solution(Termination.CONVERGED, message=f"{{told}} {{Path({path!r}).exists()}}")
@hookimpl
def cvxrobust_backends():
    return [BackendDescription("stranger", Stranger)]
register(SimpleNamespace(cvxrobust_backends=cvxrobust_backends))
from cvxrobust.core.solving.isolation import serve; serve()
"""


def test_what_an_interpreter_of_its_own_reports_is_heard_as_it_happens(monkeypatch, tmp_path):
    path = tmp_path / "heard"
    monkeypatch.setattr(isolation, "CHILD", STRANGER.format(path=str(path)))
    heard = []

    def hear(upper, lower, iterate):
        heard.append((upper, lower, iterate, monitor.iteration))
        path.touch()
        return True

    monitor = Monitor(hear=hear)
    found = isolation.solve_isolated("stranger", None, Settings(), monitor)
    assert found.message == "(True, False) True"
    assert heard == [(1.0, 0.0, None, 7)]


def test_lines_can_be_sent_to_other_processes():
    assert pickle.loads(pickle.dumps(SAID)) == SAID
    assert line(0.0, "x", "no number", None, None).text.count("nan") == 2
