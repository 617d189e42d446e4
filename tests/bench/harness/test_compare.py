"""Two runs against each other: known ratios, regressions and exit codes."""

import json
import math

import polars as pl
import pytest
import typer
from harness.rows import NASTY, cheat, liar, row, spec, study, write_run
from typer.testing import CliRunner

from cvxrobust.bench.cli.commands.analysis import compare as compare_command
from cvxrobust.bench.cli.commands.analysis import export as export_command
from cvxrobust.bench.harness.analysis.compare import Rule, compare, parse_rule
from cvxrobust.bench.harness.analysis.tables import Run
from cvxrobust.bench.harness.results.rows import Failure
from cvxrobust.core.errors import InputError

app = typer.Typer()
app.command("compare")(compare_command)
app.command("export")(export_command)


def versus(before, after, shift=1.0):
    return compare(Run("old", before), Run("new", after), shift)


def one_change(before, after, shift=1.0):
    (change,) = versus(before, after, shift).changes
    return change


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_ratio_of_shifted_geometric_means_of_known_times():
    before = [row("alpha", spec(10), 1.0), row("alpha", spec(20), 3.0)]
    after = [row("alpha", spec(10), 3.0, version="2"), row("alpha", spec(20), 7.0, version="2")]
    change = one_change(before, after)
    assert change.means == (pytest.approx(math.sqrt(8) - 1), pytest.approx(math.sqrt(32) - 1))
    assert change.ratio == pytest.approx((math.sqrt(32) - 1) / (math.sqrt(8) - 1))
    assert (change.cases, change.certified) == (2, (2, 2))
    assert one_change(before, after, 0.0).means == (pytest.approx(math.sqrt(3)), pytest.approx(math.sqrt(21)))


def test_what_is_not_certified_any_more_costs_its_time_limit_and_is_named():
    change = one_change([row("alpha", seconds=3.0)], [row("alpha", failure=Failure.CRASHED, limit=100.0)])
    assert change.means == (pytest.approx(3.0), pytest.approx(100.0))
    ((case, why),) = change.failing
    assert "n=20" in case
    assert why == "crashed: crashed: in words"
    assert one_change([row("alpha", failure=Failure.CRASHED)], [row("alpha")]).mended == [case]


def test_repeats_are_one_case_and_their_median_counts():
    before = [row("alpha", seconds=value, repeat=number) for number, value in enumerate((1.0, 5.0, 50.0))]
    change = one_change(before, [row("alpha", seconds=5.0)])
    assert (change.cases, change.ratio) == (1, pytest.approx(1.0))


def test_memory_is_compared_over_cases_where_both_runs_know_it():
    before = [
        row("alpha", spec(10), memory=1e8),
        row("alpha", spec(20), memory=4e8),
        row("alpha", spec(30), memory=0.0),
    ]
    after = [row("alpha", spec(10), memory=2e8), row("alpha", spec(20), memory=8e8), row("alpha", spec(30), memory=9e9)]
    change = one_change(before, after)
    assert change.memory == (pytest.approx(2e8), pytest.approx(4e8))
    assert change.memory_ratio == pytest.approx(2.0)
    assert one_change([row("alpha")], [row("alpha", failure=Failure.KILLED)]).memory_ratio is None


def test_only_cases_of_both_runs_are_compared_and_the_others_are_listed():
    found = versus([row("alpha"), row("alpha", spec(99))], [row("alpha"), row("beta")])
    assert [change.backend for change in found.changes] == ["alpha"]
    assert found.changes[0].cases == 1
    assert "n=99" in found.only[0][0]
    assert "beta" in found.only[1][0]
    with pytest.raises(InputError, match="no case in common"):
        versus([row("alpha", limit=10.0)], [row("alpha", limit=20.0)])


def test_names_given_to_a_backend_or_a_problem_do_not_matter():
    renamed = row("alpha")
    renamed.case["backend"]["label"] = renamed.case["problem"]["label"] = "another name"
    assert one_change([row("alpha")], [renamed]).cases == 1


def test_the_rules_and_what_breaks_them():
    assert parse_rule("sgm:10%") == Rule("sgm", 0.1)
    assert parse_rule(" memory:2.5% ") == Rule("memory", 0.025)
    assert parse_rule("certified") == Rule("certified")
    for wrong in ("sgm", "sgm:10", "sgm:-1%", "certified:3%", "speed:3%", ""):
        with pytest.raises(InputError, match="is no rule"):
            parse_rule(wrong)
    slower = versus([row("alpha", seconds=10.0)], [row("alpha", seconds=11.5, memory=3e8)])
    assert slower.regressions([Rule("sgm", 0.2), Rule("certified")]) == []
    ((backend, rule, what),) = slower.regressions([Rule("sgm", 0.1)])
    assert (backend, rule) == ("alpha", "sgm")
    assert "15.0 %" in what
    assert len(slower.regressions([Rule("sgm", 0.1), Rule("memory", 0.2)])) == 2


def test_a_cheat_in_place_of_an_honest_backend_is_a_regression():
    before = row("cheat", seconds=1.0)
    found = versus([before], [cheat()])
    assert found.regressions([Rule("certified")])
    assert found.regressions([Rule("sgm", 0.1)]), "it was fast, but it did not reach the gap"


def test_certificates_that_contradict_those_of_the_other_run_always_count():
    found = versus([row("liar", upper=0.5, lower=0.5)], [liar()])
    assert [rule for _, rule, _ in found.regressions([])] == ["certificates"]


def test_another_machine_is_remarked_upon():
    moved = row("alpha", worker={"host": "machine-2"})
    (remark,) = versus([row("alpha")], [moved]).remarks
    assert "machine-1 and machine-2" in remark
    assert versus([row("alpha")], [row("alpha")]).remarks == []


@pytest.fixture
def runs(tmp_path):
    worse = [row("alpha", spec(10), 2.0), row("alpha", spec(20), failure=Failure.CRASHED, reason=NASTY)]
    return {
        "old": write_run(tmp_path / "old", [row("alpha", spec(10), 1.0), row("alpha", spec(20), 1.0), row("beta")]),
        "new": write_run(tmp_path / "new", worse),
        "liar": write_run(tmp_path / "liar", [liar(spec(10)), row("alpha", spec(10), 1.0)]),
        "other": write_run(tmp_path / "other", [row("beta", spec(77))]),
    }


@pytest.mark.parametrize(
    ("rules", "code"),
    [([], 0), (["sgm:10%"], 3), (["certified"], 3), (["memory:20%"], 0), (["sgm:10%", "memory:20%"], 3)],
)
def test_exit_codes_of_comparisons(runs, rules, code):
    done = run("compare", runs["old"], runs["new"], *(word for rule in rules for word in ("--fail", rule)))
    assert done.exit_code == code, done.output
    assert ("regressions" in done.stdout) == (code == 3)
    assert "not certified any more" in done.stdout
    assert "only in old: 1 cases" in done.stdout


def test_a_run_against_its_copy_is_no_regression(runs):
    copy = write_run(runs["old"].parent / "copy", [row("alpha", spec(10), 1.0), row("alpha", spec(20), 1.0)])
    done = run("compare", runs["old"], copy, "--fail", "sgm:0%", "--fail", "certified", "--fail", "memory:0%")
    assert done.exit_code == 0, done.output


def test_contradictions_between_runs_end_with_3_without_any_rule(runs):
    assert run("compare", runs["old"], runs["liar"]).exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("old", "new", "--fail", "sgm:10"), "is no rule"),
        (("old", "other"), "no case in common"),
        (("old", "missing"), "holds no run"),
    ],
)
def test_mistakes_of_usage_end_with_2_and_one_line(runs, arguments, message, tmp_path):
    known = runs | {"missing": tmp_path / "missing"}
    done = run("compare", *(known.get(word, word) for word in arguments))
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_comparison_as_json(runs):
    done = run("compare", runs["old"], runs["new"], "--fail", "certified", "--json")
    assert done.exit_code == 3
    content = json.loads(done.stdout)
    assert content["backends"][0]["certified"] == [2, 1]
    assert content["regressions"][0]["rule"] == "certified"


def test_exports_hold_one_flat_row_per_case(tmp_path):
    rows = study()
    folder = write_run(tmp_path / "run", rows)
    parquet, csv = tmp_path / "rows.parquet", tmp_path / "rows.csv"
    assert run("export", folder, "--parquet", parquet, "--csv", csv).exit_code == 0
    exact, text = pl.read_parquet(parquet), pl.read_csv(csv, infer_schema_length=None)
    assert exact.height == text.height == len(rows)
    assert exact.columns == text.columns
    assert {"best_upper", "gap_to_best", "seconds_to_1e-4", "standing", "metric.stranger's"} <= set(exact.columns)
    assert exact["message"].to_list() == [row.message for row in rows]
    assert NASTY in text["reason"].to_list()


def test_an_export_without_a_file_is_a_mistake(tmp_path):
    folder = write_run(tmp_path / "run", [row("alpha")])
    done = run("export", folder)
    assert (done.exit_code, "--parquet" in done.stderr) == (2, True)
    assert run("export", folder, "--csv", tmp_path / "missing" / "rows.csv").exit_code == 2
