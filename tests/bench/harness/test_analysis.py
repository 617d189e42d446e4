"""Known answers for every statistic, worked out by hand."""

import json
import math

import numpy as np
import polars as pl
import pytest
from harness.rows import OPTIMUM, cheat, liar, row, spec, study, trace_to, write_run

from cvxrobust.bench.harness.analysis.analysis import (
    ALL_FAMILIES,
    analyse,
    failure_counts,
    median_times,
    shifted_geometric_mean,
    summarise,
)
from cvxrobust.bench.harness.analysis.bounds import ROUNDING, contradictions, with_best_bounds
from cvxrobust.bench.harness.analysis.profiles import performance_profile
from cvxrobust.bench.harness.analysis.scaling import fit_power
from cvxrobust.bench.harness.analysis.tables import SCHEMA, Run, read_runs, table_of
from cvxrobust.bench.harness.results.rows import Failure, Verdict
from cvxrobust.bench.metrics import seconds_until
from cvxrobust.core.errors import InputError

INF = math.inf


def table(*rows):
    return with_best_bounds(table_of([Run("a-run", rows)]))


def only(frame, **values):
    found = frame.filter(*(pl.col(name) == value for name, value in values.items()))
    assert found.height == 1, found
    return found.row(0, named=True)


def summary(*rows, **where):
    return only(analyse([Run("a-run", rows)]).summary, **where)


def test_the_shifted_geometric_mean_of_known_numbers():
    assert shifted_geometric_mean([1.0, 3.0], 1.0) == pytest.approx(math.sqrt(8) - 1)
    assert shifted_geometric_mean([2.0, 8.0], 0.0) == pytest.approx(4.0)
    assert shifted_geometric_mean([0.0, 8.0], 0.0) == 0.0
    assert shifted_geometric_mean([5.0], 10.0) == pytest.approx(5.0)
    assert math.isnan(shifted_geometric_mean([], 1.0))


def test_failures_enter_the_mean_at_the_limit_and_at_three_times_that():
    rows = [row("alpha", spec(10), 1.0, limit=8.0), row("alpha", spec(20), failure=Failure.CRASHED, limit=8.0)]
    line = summary(*rows, backend="alpha")
    assert line["sgm_1"] == pytest.approx(math.sqrt(2 * 9) - 1)
    assert line["sgm_3"] == pytest.approx(math.sqrt(2 * 25) - 1)
    assert (line["certified"], line["failed"]) == (1, 1)


def test_a_problem_that_was_not_run_counts_as_unsolved():
    rows = [row("alpha", spec(10), 1.0), row("alpha", spec(20), 1.0), row("beta", spec(10), 0.5)]
    line = summary(*rows, backend="beta")
    assert line["not_run"] == 1
    assert line["sgm_1"] == pytest.approx(math.sqrt(1.5 * 101) - 1)
    profile = analyse([Run("a-run", rows)]).profiles["adversarial-sdp", 1e-4]
    assert profile.share("beta", 1e9) == 0.5


def test_backends_meant_for_one_family_are_not_ranked_over_all():
    rows = [row("alpha", spec(10, family=family)) for family in ("adversarial-sdp", "convex-relu")]
    special = row("beta", spec(10))
    special.case["backend"]["families"] = ("adversarial-sdp",)
    lines = analyse([Run("a-run", [*rows, special])]).summary
    assert lines.filter(pl.col("family") == ALL_FAMILIES)["backend"].to_list() == ["alpha"]
    assert set(lines.filter(pl.col("family") == "adversarial-sdp")["backend"]) == {"alpha", "beta"}


def test_of_repeats_the_median_counts_and_a_failed_repeat_is_infinitely_long():
    seconds = [1.0, 9.0, 2.0]
    odd = table(*(row("alpha", seconds=value, repeat=number) for number, value in enumerate(seconds)))
    assert median_times(odd)["seconds"].to_list() == [2.0]
    mixed = table(row("alpha", seconds=1.0), row("alpha", failure=Failure.ERROR, repeat=1))
    assert median_times(mixed)["seconds"].to_list() == [INF]
    assert median_times(mixed)["certified"].to_list() == [False]
    most = table(
        row("alpha", seconds=1.0), row("alpha", seconds=4.0, repeat=1), row("alpha", failure=Failure.ERROR, repeat=2)
    )
    assert median_times(most)["seconds"].to_list() == [4.0]


def test_the_time_to_a_gap_comes_from_the_trace():
    trace = trace_to(10.0, OPTIMUM, OPTIMUM * (1 - 1e-5))
    assert [seconds_until(trace, gap) for gap in (1e-2, 1e-4, 1e-6)] == [5.0, 10.0, None]
    assert seconds_until(((1.0, INF, -INF), (2.0, 1.0, 1.0)), 1e-6) == 2.0
    assert seconds_until((), 1e-2) is None
    assert seconds_until(((1.0, 1.0, 0.5),), 0.5) == 1.0, "the gap itself is enough"


def test_the_time_to_the_gap_asked_for_is_the_whole_call_where_the_trace_is_silent():
    silent = table(row("alpha", seconds=3.0, trace=()))
    assert silent["seconds"].to_list() == [3.0]
    early = table(row("alpha", seconds=3.0, tolerance=1e-2))
    assert early["seconds"].to_list() == [1.5]


def test_a_gap_that_nobody_asked_for_has_no_mean():
    line = summary(row("alpha", seconds=3.0, tolerance=1e-3), backend="alpha")
    assert (line["seconds_to_1e-2"], line["n_seconds_to_1e-2"]) == (pytest.approx(1.5), 1)
    assert line["seconds_to_1e-4"] is None
    assert line["n_seconds_to_1e-4"] is None


def test_the_performance_profile_of_dolan_and_more_on_four_problems():
    profile = performance_profile(["a", "b"], [[1.0, 2.0], [4.0, 1.0], [3.0, INF], [INF, INF]])
    assert profile.ratios.tolist() == [[1.0, 2.0], [4.0, 1.0], [1.0, INF], [INF, INF]]
    assert [profile.share("a", factor) for factor in (1.0, 3.9, 4.0, 1e9)] == [0.5, 0.5, 0.75, 0.75]
    assert [profile.share("b", factor) for factor in (1.0, 2.0, 1e9)] == [0.25, 0.5, 0.5]
    assert profile.unsolved == 1
    corners, shares = profile.curve("a")
    assert (corners.tolist(), shares.tolist()) == ([1.0, 4.0], [0.5, 0.75])


def test_profiles_of_nothing_solved_and_of_no_time_at_all():
    nobody = performance_profile(["a"], [[INF]])
    assert nobody.share("a", 1e9) == 0.0
    assert nobody.curve("a")[1].tolist() == [0.0]
    assert performance_profile(["a", "b"], [[0.0, 0.0]]).ratios.tolist() == [[1.0, 1.0]]
    with pytest.raises(ValueError, match="inf"):
        performance_profile(["a"], [[math.nan]])


def test_slopes_and_their_standard_errors():
    exact = fit_power([1.0, 10.0, 100.0, 1000.0], [2.0, 200.0, 2e4, 2e6])
    assert exact.slope == pytest.approx(2.0)
    assert exact.error == pytest.approx(0.0, abs=1e-12)
    assert exact(np.array([10.0])) == pytest.approx(200.0)
    # log x = -3, -1, 1, 3 and log y = 0, 1, 1, 0: slope 0, residuals +-1/2, variance 1 on two degrees of freedom.
    bent = fit_power(np.exp([-3.0, -1.0, 1.0, 3.0]), [1.0, math.e, math.e, 1.0])
    assert bent.slope == pytest.approx(0.0, abs=1e-12)
    assert bent.error == pytest.approx(math.sqrt(1 / 2 / 20))


@pytest.mark.parametrize(
    ("sizes", "fitted"),
    [
        ((10, 20, 40, 80), True),
        ((10, 20, 80), False),
        ((10, 20, 40, 79), False),
        ((10, 10, 10, 80), False),
        ((20, 20), False),
    ],
)
def test_a_power_takes_four_sizes_that_span_a_factor_of_eight(sizes, fitted):
    assert (fit_power(sizes, [1.0] * len(sizes)) is not None) is fitted


def test_scaling_is_fitted_over_certified_rows_and_says_how_many_are_missing():
    rows = [row("alpha", spec(n), 0.01 * n**1.5) for n in (10, 20, 40, 160)]
    rows += [row("alpha", spec(80), failure=Failure.TIME_LIMIT), row("alpha", spec(80, d=9), 1.0)]
    rows += [row("alpha", spec(10, seed=1), 0.01 * 10**1.5)]
    (one,) = [found for found in analyse([Run("a-run", rows)]).scalings if found.variable == "n"]
    assert one.law.slope == pytest.approx(1.5)
    assert (len(one.sizes), one.left_out) == (5, 1)
    assert one.setting == "gaussian, d = 3, radius 0.1"


def test_the_best_bounds_are_those_of_all_rows_and_every_row_is_measured_by_them():
    rows = table(
        row("alpha", upper=1.0, lower=0.9),
        row("beta", upper=1.2, lower=0.99, tolerance=0.5),
        row("gamma", failure=Failure.CRASHED),
        row("alpha", spec(99), upper=5.0, lower=4.0),
    )
    line = only(rows, backend="beta")
    assert (line["best_upper"], line["best_lower"]) == (1.0, 0.99)
    assert line["gap_to_best"] == pytest.approx(0.21)
    assert line["lower_to_best"] == pytest.approx(0.01)
    assert line["best_gap"] == pytest.approx(0.01)
    crashed = only(rows, backend="gamma")
    assert (crashed["gap_to_best"], crashed["best_upper"]) == (None, 1.0)


def test_infinite_bounds_are_none():
    rows = table(row("alpha"), row("beta", lower=-INF, failure=Failure.UNUSABLE))
    line = only(rows, backend="beta")
    assert (line["lower"], line["relative_gap"]) == (None, None)
    assert line["gap_to_best"] == pytest.approx(1e-5)


def test_certificates_that_contradict_each_other_make_neither_count():
    rows = [
        row("alpha", spec(10), 1.0),
        liar(spec(10)),
        row("alpha", spec(20)),
        row("gamma", spec(10), failure=Failure.ERROR),
    ]
    analysis = analyse([Run("a-run", rows)])
    assert sorted(analysis.table["standing"]) == ["certified", "contradicted", "contradicted", "failed"]
    (one,) = analysis.contradictions
    assert (one.lower_by, one.upper_by, one.rows) == (("liar",), ("alpha",), 2)
    assert one.excess == pytest.approx(0.5, abs=1e-5)
    assert analysis.certified == 1
    line = only(analysis.summary, backend="liar")
    assert (line["certified"], line["contradicted"], line["sgm_1"]) == (0, 1, pytest.approx(100.0))
    assert only(analysis.table, backend="liar")["gap_to_best"] is None
    assert only(analysis.table, backend="alpha", n=20)["gap_to_best"] is not None


def test_one_row_can_contradict_itself_and_rounding_is_no_contradiction():
    alone = table(row("alpha", upper=1.0, lower=1.5))
    assert alone["standing"].to_list() == ["contradicted"]
    assert contradictions(alone)[0].rows == 1
    close = table(row("alpha", upper=1.0, lower=1.0), row("beta", upper=1.5, lower=1 + 0.5 * ROUNDING))
    assert contradictions(close) == []
    assert contradictions(table(row("alpha", upper=0.0, lower=1e-15))) == []


def test_a_backend_that_lies_about_itself_ranks_last_as_unusable():
    rows = [row("honest", spec(n), 5.0) for n in (10, 20)] + [cheat(spec(n)) for n in (10, 20)]
    lines = analyse([Run("a-run", rows)]).summary
    assert lines["backend"].to_list() == ["honest", "cheat"]
    line = lines.row(1, named=True)
    assert (line["certified"], line["failed"], line["reasons"]) == (0, 2, "2 unusable")
    assert analyse([Run("a-run", rows)]).profiles["adversarial-sdp", 1e-4].share("cheat", 1e9) == 0.0


def test_failures_are_counted_by_reason():
    kinds = [Failure.TIME_LIMIT, Failure.CRASHED, Failure.TIME_LIMIT, Failure.INACCURATE]
    rows = table(*(row("alpha", spec(10 + number), failure=kind) for number, kind in enumerate(kinds)), row("alpha"))
    assert failure_counts(rows) == "2 time limit, 1 crashed, 1 inaccurate"
    assert rows["standing"].value_counts(sort=True)["count"].sum() == 5
    assert summarise(rows, "adversarial-sdp", 1e-4)["inaccurate"].to_list() == [1]


def test_every_failure_there_is_passes_through_the_analysis():
    analysis = analyse([Run("a-run", study())])
    assert set(analysis.table["failure"]) == {str(failure) for failure in Failure}
    assert set(analysis.table["verdict"]) == {str(verdict) for verdict in Verdict}
    assert analysis.contradictions == []


def test_the_table_is_flat_and_keeps_metrics_of_others():
    made = table_of([Run("a-run", [row("alpha"), row("beta", failure=Failure.KILLED)])])
    assert [name for name in made.columns if name not in SCHEMA] == ["metric.stranger's"]
    assert made["metric.stranger's"].to_list() == [7.0, None]
    assert not any(isinstance(kind, pl.List | pl.Struct) for kind in made.dtypes)
    assert json.loads(made["parameters"][0]) == {"radius": 0.1}


def test_runs_are_read_from_folders_and_told_apart(tmp_path):
    first = write_run(tmp_path / "one" / "run", [row("alpha", seconds=1.0)])
    second = write_run(tmp_path / "two" / "run", [row("alpha", seconds=2.0, version="2.0"), row("beta")])
    runs = read_runs([first, second])
    assert [run.name for run in runs] == ["one/run", "two/run"]
    assert set(table_of(runs)["backend"]) == {"alpha @ one/run", "alpha @ two/run", "beta"}
    again = table_of(read_runs([first, write_run(tmp_path / "copy", [row("alpha", seconds=9.0)])]))
    assert again["seconds"].to_list() == [9.0], "one key, so the last run's row counts"


def test_numbers_of_threads_are_told_apart():
    made = table_of([Run("a-run", [row("alpha"), row("alpha", threads=4)])])
    assert made["backend"].to_list() == ["alpha, 1 thread", "alpha, 4 threads"]


def test_folders_without_rows_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        read_runs([tmp_path])
    with pytest.raises(InputError, match="without rows"):
        read_runs([write_run(tmp_path / "empty", [])])
    with pytest.raises(InputError, match="named twice"):
        read_runs([tmp_path, tmp_path])
