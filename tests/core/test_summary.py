"""What is shown of problems, results, networks and what is about them: short text, and HTML that is only theirs."""

import re
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest

from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    Batches,
    Certificate,
    ConvexReLU,
    JointSDP,
    Settings,
    Standardizer,
    StandardSDP,
    StreamedSDP,
    Threat,
    evaluate_robustness,
    solve,
    solve_path,
)
from cvxrobust.core.summary import COLOURS, PLAIN, Bar, Summary, gap_bar

EVIL = "<script>alert(1)</script>\n\x1b[2J\u202e\nfurther\nlines"
QUICK = Settings(tolerance=1e-2)


@cache
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    return X, np.where(X[:, 0] > 0.0, 1.0, -1.0), rng.integers(0, 3, 30)


@cache
def shown():
    X, y, classes = data()
    radii = np.linspace(0.05, 0.2, 30)
    one_versus_all = solve(AdversarialSDP(X, classes, 0.1), settings=QUICK)
    relu = solve(ConvexReLU(X, y, n_gates=3), "clarabel", settings=QUICK)
    path = solve_path(StandardSDP(X, y), betas=[0.1, 0.05], settings=QUICK)
    return {
        "standard": StandardSDP(X, y, sample_weight=np.arange(30.0)),
        "targets": StandardSDP(X, X[:, 1], loss="squared"),
        "adversarial": AdversarialSDP(X, y, radii, scale=[1.0, 0.0, 2.0]),
        "box": AdversarialSDP(X, y, 0.1, norm="inf", bounds=(-9.0, 9.0)),
        "joint": JointSDP(X, classes, radius=0.1),
        "streamed": StreamedSDP(Batches([(X, y)]), radius=0.1),
        "evil labels": AdversarialSDP(X, np.where(y > 0.0, EVIL, "other"), 0.1),
        "relu": AdversarialReLU(X, y, radius=0.1, n_gates=3, norm="inf", bias=True),
        "vector output": ConvexReLU(X, classes, n_gates=3, multiclass="vector-output", loss="squared"),
        "given gates": ConvexReLU(X, y, gates=np.eye(3)),
        "result": one_versus_all,
        "network": one_versus_all.network,
        "raw units": relu.network.replace(standardizer=Standardizer.fit(X, ["a", EVIL, "c"])),
        "evil file": relu.network.replace(metadata={"problem": EVIL, "quality": EVIL, "certificate_relative_gap": 0.5}),
        "solution": relu.solution,
        "certificate": Certificate(0.25, 0.125),
        "no certificate": Certificate(np.inf, -np.inf),
        "threat": Threat(2, covariance=np.eye(3)),
        "range": Threat("inf", bounds=(np.zeros(3), 1)),
        "standardizer": Standardizer.fit(np.arange(100.0).reshape(2, 50)),
        "robustness": evaluate_robustness(one_versus_all.network, X, classes, Threat(2), np.linspace(0.0, 1.0, 20)),
        "path": path,
        "point": path[0, 0],
    }


class Seen(HTMLParser):
    """Tags that are open, those that there were, and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.styles, self.text = [], set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.add(tag)
        self.styles += [value for name, value in attributes if name == "style"]
        assert {name for name, _ in attributes} <= {"style", "scope", "aria-hidden"}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text += text


NAMES = (
    "standard", "targets", "adversarial", "box", "joint", "streamed", "evil labels", "relu", "vector output",
    "given gates", "result", "network", "raw units", "evil file", "solution", "certificate", "no certificate", "threat",
    "range", "standardizer", "robustness", "path", "point",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_three_lines_and_no_arrays_are_shown(name):
    text = repr(shown()[name])
    assert text.startswith(type(shown()[name]).__name__)
    assert len(text.splitlines()) <= 3
    assert all(len(line) <= 122 for line in text.splitlines())
    assert not re.search(r"array\(|\[\[|\x1b|\u202e", text)


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_get_whole_html_in_which_words_are_words(name):
    seen = Seen(shown()[name]._repr_html_())
    assert seen.open == []
    assert seen.tags <= {"div", "table", "tbody", "tr", "th", "td", "span"}
    assert type(shown()[name]).__name__ in seen.text
    assert "\x1b" not in seen.text
    assert "array(" not in seen.text
    # What is written takes its colour from the page; only bars have one, and tables no ground of their own.
    colours = {colour for style in seen.styles for colour in re.findall(r"(?<![-\w])color:([^;]*)", style)}
    assert colours <= {"inherit"}
    grounds = {ground for style in seen.styles for ground in re.findall(r"background:([^;]*)", style)}
    assert grounds <= {"transparent", "rgba(128,128,128,0.28)", *COLOURS.values(), PLAIN}


def test_all_names_are_looked_at():
    assert set(NAMES) == set(shown())


def test_what_is_said_is_true():
    found = shown()
    assert repr(found["adversarial"]).splitlines()[2] == (
        "  l2 attacks (scaled, 1 of 3 inputs immutable) of radius 0.05 to 0.2"
    )
    assert "29 samples" in repr(found["standard"])  # one has no weight
    assert "samples weighted" in repr(found["standard"])
    assert "activation 0.09 t^2 + 0.5 t + 0.47" in repr(found["standard"])
    assert "1 target" in repr(found["targets"])
    assert "inputs in a range" in repr(found["box"])
    assert "3 classes under one loss" in repr(found["joint"])
    assert "one-sided form, 3 gates, bias" in repr(found["relu"])
    result = found["result"]
    assert f"relative gap {result.certificate.relative_gap:.1e}" in repr(result)
    assert "trained by AdversarialSDP, radius 0.1, beta 0.01" in repr(result.network)
    assert "standardises its inputs" in repr(found["raw units"])
    assert repr(found["certificate"]) == "Certificate(upper=0.25, lower=0.125)"
    assert "and 8 more" in Seen(found["robustness"]._repr_html_()).text
    first = f"{100.0 * found['robustness'].clean:.1f} %"
    assert f"accuracy at 0: {first}" in repr(found["robustness"])


def test_the_bar_of_a_gap_is_as_long_as_the_digits_that_are_certain():
    assert [gap_bar(gap).share for gap in (0.0, 1e-12, 1e-5, 1.0, 3.0, np.inf)] == [1.0, 1.0, 0.5, 0.0, 0.0, 0.0]
    drawn = Summary("a", facts=(("gap", gap_bar(1e-5, "certified")),)).html
    assert "width:50.0%;background:#2a9d5c" in drawn
    interval = Summary("a", facts=(("share", Bar(0.25, "25 to 75 %", further=0.75)),)).html
    assert interval.count("width:25.0%") == interval.count("width:50.0%") == 1


def test_an_object_that_is_not_whole_is_shown_nonetheless():
    assert "StandardSDP object" in repr(object.__new__(StandardSDP))


@pytest.mark.parametrize("colour", [*COLOURS.values(), PLAIN])
def test_bars_are_seen_on_white_and_on_black(colour):
    def luminance(text):
        parts = np.array([int(text[k : k + 2], 16) / 255.0 for k in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light = luminance(colour)
    assert 1.05 / (light + 0.05) >= 3.0
    assert (light + 0.05) / (luminance("#111111") + 0.05) >= 3.0
