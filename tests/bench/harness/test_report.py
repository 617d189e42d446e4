"""The report as HTML and as Markdown: what it says, that it needs nothing else, and that no text becomes markup."""

import re
from html.parser import HTMLParser

import pytest
import typer
from harness.rows import NASTY, cheat, liar, manifest, row, spec, study, write_run
from typer.testing import CliRunner

from cvxrobust.bench.cli.commands.analysis import export, report
from cvxrobust.bench.harness.analysis.analysis import analyse
from cvxrobust.bench.harness.analysis.tables import Run
from cvxrobust.bench.harness.report.facts import manifest_facts
from cvxrobust.bench.harness.report.figures import LEAST_GAP, figures
from cvxrobust.bench.harness.report.markdown import escape_markdown, shorten
from cvxrobust.bench.harness.report.page import render_html, script_json
from cvxrobust.bench.harness.report.plotly import in_lines, plotly_figures, ticks
from cvxrobust.bench.harness.report.report import make_report
from cvxrobust.bench.harness.results.rows import Failure

app = typer.Typer()
app.command("report")(report)
app.command("export")(export)


def run(*arguments):
    return CliRunner().invoke(app, ["report", *(str(argument) for argument in arguments)])


def page_of(*rows, **about):
    return render_html(make_report(analyse([Run("a-run", rows, manifest(**about))])))


class Reader(HTMLParser):
    """Elements and attributes of a page, without what is in scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.inside = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text.append(data)

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = [*study(), liar(spec(160))]
    return write_run(tmp_path_factory.mktemp("runs") / "a-run", rows, note=NASTY)


@pytest.fixture(scope="module")
def written(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = run(folder, "--out", out)
    return done, out


def test_everything_is_written_and_contradictions_end_with_3(written):
    done, out = written
    assert done.exit_code == 3
    assert "contradict" in done.stderr
    names = {path.name for path in out.iterdir()}
    assert {"report.html", "report.md", "report-counts.png", "report-gaps-1.png", "report-scaling-1.png"} <= names
    assert set(done.stdout.split()) >= {str(out / name) for name in names}


def test_the_page_is_one_file_that_asks_for_nothing(written):
    page = (written[1] / "report.html").read_text(encoding="utf-8")
    assert page.count("plotly.js v") == 1, "plotly's script is there, once"
    reader = Reader(page)
    asked = [
        value for _, attributes in reader.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert all(value.startswith("#") for value in asked)
    assert reader.count("link") == reader.count("img") == 0
    (policy,) = [attributes for tag, attributes in reader.elements if "http-equiv" in attributes]
    assert "default-src 'none'" in policy["content"]


def test_no_text_becomes_markup_in_the_page():
    page = page_of(
        row("alpha"), row("<i>x</i>", spec(30), failure=Failure.ERROR, reason=NASTY, message=NASTY), note=NASTY
    )
    own, plain = Reader(page), Reader(page_of(row("alpha"), row("x", spec(30), failure=Failure.ERROR)))
    assert own.count("script") == plain.count("script") == 3
    assert own.count("i") == 0
    assert own.count("b") == plain.count("b")
    assert NASTY in "".join(own.text)


def test_nothing_can_end_the_script_that_holds_the_figures():
    assert "</script" not in script_json({"name": "</script><!--"})
    assert "&" not in script_json({"name": "&lt;"})


def test_markdown_says_the_same_and_its_pictures_exist(written):
    text = (written[1] / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(pictures) == len(set(pictures)) >= 7
    for name in pictures:
        assert (written[1] / name).read_bytes().startswith(b"\x89PNG")
    assert text.index("Certificates contradict") < text.index("## Summary")
    assert "**29 certified**, **1 inaccurate**, **18 failed**, **5 contradicted** of 53 cases" in text
    assert "shift of 1 s" in text


def test_no_text_breaks_markdown(written):
    text = (written[1] / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<b>" not in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) >= 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table
    assert escape_markdown("a|b\n*c* <d> & _e_") == r"a\|b \*c\* &lt;d&gt; &amp; \_e\_"


def test_what_must_be_said_is_said(written):
    page = "".join(Reader((written[1] / "report.html").read_text(encoding="utf-8")).text)
    for words in (
        "shift of 1 s", "three times the limit", "assembling included", "Dolan and Moré", "of them solved by nobody",
        "machine-1", "0123456789abcdef", "left out", "threads of every solver", "solver alpha", "unusable", "killed",
        "Certificates contradict each other",
    ):  # fmt: skip
        assert words in page, words


def test_the_cheat_is_shown_as_unusable_and_last():
    made = make_report(analyse([Run("a-run", [cheat(spec(n)) for n in (10, 20)] + [row("honest", spec(10), 9.0)])]))
    (group,) = made.groups
    assert [line["backend"] for line in group.lines] == ["honest", "cheat"]
    assert group.lines[1]["reasons"] == "2 unusable"
    assert made.counts == {"certified": 1, "inaccurate": 0, "failed": 2, "contradicted": 0}


def test_exit_codes_and_files_of_choice(tmp_path):
    good, bad = write_run(tmp_path / "good", [row("alpha")]), write_run(tmp_path / "bad", [cheat()])
    done = run(good, "--html", tmp_path / "one.html", "--quiet")
    assert (done.exit_code, done.stdout.strip()) == (0, str(tmp_path / "one.html"))
    assert not (good / "report.md").exists()
    assert run(bad, "--html", tmp_path / "two.html").exit_code == 1
    assert (tmp_path / "two.html").exists(), "a report of nothing certified is still a report"


@pytest.mark.parametrize("arguments", [["missing"], ["good", "good"], ["good", "--html", "no/such/folder/x.html"]])
def test_mistakes_of_usage_end_with_2(tmp_path, arguments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "good", [row("alpha")])
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_manifest_may_hold_anything_or_nothing():
    content = {
        "machine": {"cores": 2, "memory": 2**34, "gpus": [], "name": None},
        "merged": [{"commit": "abc"}, {"commit": "def"}],
        "suite": {"problems": [{"family": "x"}], "tolerances": [0.1, 0.2]},
        "out_folder": "/home/somebody/runs",
        "somewhere": "/home/somebody/else",
        "clean": True,
    }
    facts = dict(manifest_facts(content))
    assert facts == {
        "machine: cores": "2", "machine: memory": "16.0 GiB", "merged 1: commit": "abc", "merged 2: commit": "def",
        "suite: tolerances": "0.1, 0.2", "clean": "yes",
    }  # fmt: skip
    assert "Benchmark: a-run" in render_html(make_report(analyse([Run("a-run", [row("alpha")], {})])))
    assert "named" in render_html(make_report(analyse([Run("a-run", [row("alpha")], {"suite": "named"})])))


def test_gap_curves_never_rise_and_a_gap_of_zero_is_drawn():
    trace = ((0.1, 2.0, 1.0), (0.2, 3.0, 1.0), (0.3, 1.0, 1.0))
    drawn = figures(
        analyse([Run("a-run", [row("alpha", upper=1.0, lower=1.0, trace=trace), row("beta", failure=Failure.KILLED)])])
    )
    (figure,) = drawn.gaps
    (curve,) = figure.curves
    assert list(curve.y) == [0.5, LEAST_GAP]
    assert list(curve.x) == [0.1, 0.3]
    assert (curve.end, figure.levels) == ("good", [1e-4])
    assert "beta" in figure.caption
    worse = row("alpha", upper=1.0, lower=0.9, trace=((0.1, 2.0, 1.0), (0.2, 1.0, 0.9), (0.3, 3.0, 1.0)))
    ((curve,),) = (figure.curves for figure in figures(analyse([Run("a-run", [worse])])).gaps)
    assert list(curve.y) == pytest.approx([0.5, 0.1, 0.1])


def test_profiles_of_a_single_problem_are_drawn_only_where_there_are_no_others():
    one, two = [row("alpha"), row("beta")], [row("alpha", spec(n, family="convex-relu")) for n in (10, 20)]
    drawn = figures(analyse([Run("a-run", one + two)])).profiles
    assert [figure.title for figure in drawn] == [
        f"Performance profile: {family}, gap 0.0001" for family in ("all families", "convex-relu")
    ]
    assert len(figures(analyse([Run("a-run", one)])).profiles) == 1


def test_markdown_does_not_say_where_files_lie():
    assert shorten("no /home/a-b/c.d/file.so here") == "no …/file.so here"
    assert shorten("3/4 of https://example.org/a/b") == "3/4 of https://example.org/a/b"


def test_the_threads_that_libraries_really_had_are_recorded():
    seen = row("alpha", worker={"host": "machine-1", "pools": {"libgomp": 1, "openblas 0.3": 1, "openblas 0.2": 4}})
    (facts, _) = make_report(analyse([Run("a-run", [seen])])).facts
    assert dict(facts.lines)["threads seen"] == "libgomp 1, openblas 4"


def test_every_figure_has_data_and_a_colour_for_it():
    drawn = figures(analyse([Run("a-run", study())]))
    made = plotly_figures(drawn)
    assert list(made) == [figure.key for figure in drawn.every()]
    for content in made.values():
        assert all("color" in trace["meta"] or "part" in trace["meta"] for trace in content["data"])
    assert sum(bool(content["data"]) for content in made.values()) == len(made)
    assert len(drawn.gaps) == len({str(row.case["problem"]) for row in study()})


def test_a_report_of_failures_alone_can_be_made(tmp_path):
    folder = write_run(
        tmp_path / "run", [row("alpha", failure=Failure.UNAVAILABLE), row("beta", failure=Failure.LICENCE)]
    )
    done = run(folder)
    assert done.exit_code == 1, done.output
    assert "licence" in (folder / "report.md").read_text(encoding="utf-8")
    assert (folder / "report.html").exists()


def test_complaints_are_named_in_either_report(tmp_path):
    forged = row("alpha", complaints=("claimed a network of 0.001, but none is below 0.4",))
    cold = [row("beta", spec(n), complaints=("not warmed up: ImportError: no such thing",)) for n in (10, 20, 30, 40)]
    folder = write_run(tmp_path / "a-run", [forged, *cold])
    assert run(folder, "--out", tmp_path / "report").exit_code == 0
    page, markdown = (next((tmp_path / "report").glob(pattern)) for pattern in ("*.html", "*.md"))
    for text in (page.read_text(), markdown.read_text()):
        assert "claimed a network of 0.001, but none is below 0.4" in text
        assert "not warmed up: ImportError: no such thing" in text
        assert "and 1 more" in text
    assert "Complaints" not in page_of(row("alpha"))


def test_problems_come_in_order_of_size():
    rows = [row("alpha", spec(n, d)) for n, d in ((1000, 3), (90, 20), (90, 3), (200, 3))]
    titles = [figure.title for figure in figures(analyse([Run("a-run", rows)])).gaps]
    assert [title.split(" ")[2:4] for title in titles] == [
        ["n=90", "d=3"], ["n=90", "d=20"], ["n=200", "d=3"], ["n=1000", "d=3"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (10.0, 160.0, "10 20 50 100"),
        (0.3, 8.0, "0.5 1 2 5"),
        (1.0, 20.0, "1 2 5 10 20"),
        (2e-5, 3.0, "1e-4 0.001 0.01 0.1 1"),
        (1e-12, 1.0, "1e-12 1e-11 1e-10 1e-9 1e-8 1e-7 1e-6 1e-5 1e-4 0.001 0.01 0.1 1"),
        (20.0, 5e5, "100 1000 1e4 1e5"),
    ],
)
def test_logarithmic_axes_have_plain_numbers_at_round_places(low, high, shown):
    assert " ".join(text for at, text in ticks(low, high).items() if low <= at <= high) == shown


def test_long_names_are_broken_into_lines_and_nothing_is_lost():
    name = "torch float32 max_iter=5000 eps_abs=1e-9 scale=0.1"
    lines = in_lines(name).split("<br>")
    assert max(map(len, lines)) <= 30
    assert " ".join(lines) == name
    assert in_lines("<b>") == "&lt;b&gt;"
