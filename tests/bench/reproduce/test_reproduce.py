"""The study of tables: test rows reach no choice, rows are not lost, figures hold what is complete alone."""

import gzip
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cvxrobust import InputError, UnknownNameError
from cvxrobust.bench import studies
from cvxrobust.bench.reproduce import fits, tables
from cvxrobust.bench.reproduce.analysis import BASELINE, OURS, contests, findings, training_seconds
from cvxrobust.bench.reproduce.fits import TEST, JudgingEffort, StudyTerms, carry_out
from cvxrobust.bench.reproduce.journal import PACKED, ROWS, Journal
from cvxrobust.bench.reproduce.methods import BUDGET, METHODS, methods_named, plain
from cvxrobust.bench.reproduce.report import make_report, write_report
from cvxrobust.bench.reproduce.run import Hands, carry_out_all, hands_of_dask
from cvxrobust.bench.reproduce.selection import cells_of, choose_method
from cvxrobust.bench.reproduce.study import StudyRequest, read_study, run_study
from cvxrobust.bench.reproduce.tables import TABLES, TRIAL, GroupedRows, Lesson, inner_parts, outer_split, read_rows_of

QUICK = ("svc-quadratic", "svc-rbf")
TERMS = StudyTerms(budget=2, inner=JudgingEffort(1, 0), test=JudgingEffort(2, 0))


def studied(methods=QUICK, terms=TERMS, work=carry_out, seeds=1):
    """The trial table, in this process."""
    cells = cells_of([TRIAL], methods_named(methods), seeds, terms, ())
    with ThreadPoolExecutor(1) as executor:
        carry_out_all([cell for part in cells for cell in part], terms, None, Hands(executor, 2, work), lambda *_: None)
    return cells


def told(rows):
    """What rows say, but for times."""
    return sorted(
        (row["method"], row["place"], row["fold"], json.dumps(row["threats"], sort_keys=True)) for row in rows
    )


def rows_of(cells):
    return [row for part in cells for cell in part for row in cell.rows.values()]


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_has_the_same_budget(name):
    grid = METHODS[name].grid
    assert len(grid) == BUDGET
    assert len({json.dumps(plain(setting), sort_keys=True) for setting in grid}) == BUDGET
    for budget in range(1, BUDGET + 1):
        assert len({json.dumps(plain(setting)) for setting in METHODS[name].settings(budget)}) == budget


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_learns_and_is_judged(name):
    method = METHODS[name]
    fit = fits.Fit(TRIAL.name, 0, name, BUDGET - 1, method.grid[-1], 0)
    if name in ("robust-tree", "pgd-network"):  # slow to import; tests of baselines train them
        made = method.make(fit.setting, fits.lesson_of(fit, 3, None), TERMS.training)
        assert made.radius == fit.setting["radius"]
        return
    row = carry_out(fit, TERMS, None)
    assert row["failure"] == ""
    assert {question.name for question in TRIAL.questions} == set(row["threats"])
    for part in row["threats"].values():
        assert all(low <= high for low, high in zip(part["certified"], part["attacked"], strict=True))
        assert part["attacked"][0] > 0.6 * row["judged"]
        # Of boosted trees there is a weak bound, which the study leaves aside.
        assert (part["kind"] != "none") == (method.certified or name == "boosting")
    assert json.loads(json.dumps(row)) == row


def test_tables_have_the_columns_that_are_called_immutable():
    for table in (*TABLES.values(), TRIAL):
        assert table.meaning
        assert len(table.questions) == (3 if table.immutable else 2)
    assert (~read_rows_of(TRIAL.name, None).touchable).sum() == len(TRIAL.immutable)


def test_images_are_drawn_from_the_parts_that_their_source_keeps_apart(monkeypatch):
    rng = np.random.default_rng(0)
    made = {part: (rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), rng.integers(0, 10, count))
            for part, count in (("train", 900), ("test", 600))}  # fmt: skip
    made["test"][0][:300] = made["train"][0][:300]  # half of the test images come among those to train on, too
    monkeypatch.setattr(tables, "load_mnist", lambda part, folder: made[part])
    rows = tables._threes_and_eights(None)
    for seed in range(3):
        train, test = outer_split(rows, seed, (60, 50))
        assert train.size == 60
        assert not rows.apart[train].any()
        assert rows.apart[test].all()
        assert not set(rows.groups[train]) & set(rows.groups[test])
        assert abs((rows.y[train] > 0).mean() - (rows.y[~rows.apart] > 0).mean()) < 0.02
    lesson = Lesson.of(rows.take(train), rows.take(test), TABLES["mnist"].unit)
    assert np.allclose(lesson.X, rows.X[train] - rows.X[train].mean(axis=0))
    assert lesson.X.shape[1] == 196


def test_seconds_of_child_processes_count():
    row = {"seconds": 0.5, "wall": 30.0, "children": 28.0}
    assert training_seconds(row) == 28.5
    del row["children"]
    assert training_seconds(row) == 30.0
    assert training_seconds(row | {"wall": 1.4}) == 0.5
    began = fits.children_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert fits.children_seconds() > began


def test_splits_keep_equal_rows_together_and_classes_in_proportion():
    rows = read_rows_of(TRIAL.name, None)
    for seed in range(3):
        train, test = outer_split(rows, seed)
        assert sorted([*train, *test]) == list(range(rows.y.size))
        assert not set(rows.groups[train]) & set(rows.groups[test])
        assert 0.2 < test.size / rows.y.size < 0.4
        assert abs((rows.y[test] > 0).mean() - (rows.y > 0).mean()) < 0.08
        training = rows.take(train)
        for kept, judged in inner_parts(training, 3, seed):
            assert not set(training.groups[kept]) & set(training.groups[judged])
    assert not np.array_equal(outer_split(rows, 0)[1], outer_split(rows, 1)[1])


def test_choices_are_the_same_whatever_the_test_rows_are(monkeypatch):
    names = ("robust-linear", *QUICK)
    known = studied(names)
    rows = read_rows_of(TRIAL.name, None)
    train, test = outer_split(rows, 0)
    X, y = rows.X.copy(), rows.y.copy()
    X[test], y[test] = 1e3 * np.random.default_rng(0).standard_normal(X[test].shape), np.roll(y[test], 1)
    fits._lesson.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(fits, "read_rows_of", lambda *_: GroupedRows(X, y, rows.groups, rows.touchable))
        patch.setattr(fits, "outer_split", lambda *_: (train, test))
        other = studied(names)
    fits._lesson.cache_clear()
    assert told(rows_of(known)) != told(rows_of(other))
    inner = [[row for row in rows_of(cells) if row["fold"] != TEST] for cells in (known, other)]
    assert told(inner[0]) == told(inner[1])
    for question in TRIAL.questions:
        for k in range(len(question.radii)):
            assert [cell.choose(question, k) for cell in known[0]] == [cell.choose(question, k) for cell in other[0]]
            picks = [choose_method(cells[0], question, k).method.name for cells in (known, other)]
            assert picks[0] == picks[1]


def test_a_killed_study_goes_on_where_it_was(tmp_path):
    # As by `kill -9` in the middle: two rows and a half are kept.
    request = StudyRequest(tmp_path / "study", ("trial",), QUICK, 1, TERMS)
    program = "import sys, pickle; from cvxrobust.bench.reproduce.study import run_study\n"
    program += "if __name__ == '__main__': run_study(pickle.loads(bytes.fromhex(sys.argv[1])), lambda *_: None)"
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py"), pickle.dumps(request).hex()]
    rows = tmp_path / "study" / ROWS
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") >= 2):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = rows.read_bytes()
    rows.write_bytes(before + b'{"table": "tri')
    with pytest.raises(InputError, match="--resume"):
        run_study(request, lambda *_: None)
    with pytest.raises(InputError, match="other terms"):
        run_study(replace(request, resume=True, terms=StudyTerms(budget=3)), lambda *_: None)
    again = []
    cells = run_study(replace(request, resume=True), lambda row, left: again.append(row))
    assert rows.read_bytes().startswith(before)
    kept = before.count(b"\n")
    assert len(again) == len(rows_of(cells)) - kept
    assert all(cell.complete for cell in cells[0])
    assert told(rows_of(cells)) == told(rows_of(studied()))
    assert told(Journal(tmp_path / "study").rows()) == told(rows_of(cells))


def test_rows_survive_packing(tmp_path):
    cells = studied()
    journal = Journal(tmp_path / "study")
    journal.begin(StudyRequest(tmp_path, ("trial",), QUICK, 1, TERMS).manifest(), resume=False)
    for row in rows_of(cells):
        journal.keep(row)
    journal.pack_into(tmp_path / "packed")
    first = (tmp_path / "packed" / PACKED).read_bytes()
    assert gzip.decompress(first).count(b"\n") == len(rows_of(cells))
    assert told(Journal(tmp_path / "packed").rows()) == told(rows_of(cells))
    journal.pack_into(tmp_path / "packed")
    assert (tmp_path / "packed" / PACKED).read_bytes() == first
    found, again, manifest = read_study(tmp_path / "packed")
    assert len(found[0].splits) == 1
    assert "nothing to compare" in make_report(found, again, manifest, "tables")


NAMES = ("standard-sdp", "robust-linear", "svc-rbf")


def invented(shares, seeds=3, names=NAMES):
    """A study whose test rows say so many of a hundred rows, whatever was chosen."""
    rows = []
    for seed in range(seeds):
        for name in names:
            for place, setting in enumerate(METHODS[name].settings(TERMS.budget)):
                for fold in (*range(TERMS.folds), TEST):
                    # Inner folds like the second setting best.
                    count = shares[name] + seed if fold == TEST else 50 + (place == 1)
                    counts = [max(count - 5 * k, 0) for k in range(5)]
                    certified = counts if METHODS[name].certified else [0] * 5
                    part = {"certified": certified, "attacked": counts, "kind": "exact" if any(certified) else "none"}
                    rows.append(
                        {
                            "table": TRIAL.name, "seed": seed, "method": name, "place": place, "fold": fold,
                            "setting": plain(setting), "failure": "", "seconds": 0.1, "judged": 100,
                            "threats": {question.name: part for question in TRIAL.questions},
                        }
                    )  # fmt: skip
    return rows


def report_of(rows, seeds=3, names=NAMES):
    methods = methods_named(names)
    cells = cells_of([TRIAL], methods, seeds, TERMS, rows)
    found = findings(cells, methods)
    return found, make_report(found, findings(cells, methods, second=True), manifest_of(names, seeds), "tables")


@cache
def manifest_of(names=NAMES, seeds=3):
    return StudyRequest(Path("nowhere"), ("trial",), names, seeds, TERMS).manifest()


def test_the_report_says_where_a_baseline_is_ahead_and_where_none_is(tmp_path):
    found, text = report_of(invented({"standard-sdp": 70, "robust-linear": 75, "svc-rbf": 80}))
    assert all(contest.lost for contest in contests(found[0]))
    assert "above ours by more than one standard error:**" in text
    assert "| trial | l2 | 0.1 | robust-linear |" in text
    found, text = report_of(invented({"standard-sdp": 75, "robust-linear": 70, "svc-rbf": 80}))
    assert all(contest.won for contest in contests(found[0]))
    assert "at no radius, is a baseline's certified accuracy a standard error above ours" in text
    question = TRIAL.questions[0]
    assert str(found[0].certified(OURS, question, 0)) == "76.0 ± 0.6"
    assert found[0].certified("svc-rbf", question, 0).value == 0.0
    assert found[0].attacked("svc-rbf", question, 0).value == pytest.approx(0.81)
    assert found[0].outcomes(BASELINE, question, 0)[0].method == "robust-linear"
    assert found[0].outcomes(OURS, question, 0)[0].row["place"] == 1
    page, picture = write_report(found, found, manifest_of(), tmp_path, "tables")
    assert page.read_text(encoding="utf-8") == text
    assert picture.stat().st_size > 0
    assert f"]({picture.name})" in text
    # Whoever runs what is stated gets these tables and no others.
    assert text.splitlines()[2].startswith("`cvxrobust reproduce tables --tables trial --seeds 3`")


def test_splits_on_which_a_method_is_incomplete_enter_no_figure():
    rows = invented({"standard-sdp": 70, "robust-linear": 75, "svc-rbf": 80})
    late = [row for row in rows if not (row["seed"] == 2 and row["method"] == "svc-rbf" and row["fold"] == TEST)]
    found, text = report_of(late)
    assert len(found[0].splits) == 2
    assert found[0].begun == 3
    assert "trial 2." in text
    assert found[0].certified("standard-sdp", TRIAL.questions[0], 0).splits == 2
    found, text = report_of([row for row in rows if row["method"] != "svc-rbf"])
    assert not found[0].splits
    assert "No split is complete yet" in text
    assert "Nothing is said yet of trial." in text


def test_the_report_that_is_kept_is_what_its_rows_say():
    folder = Path(studies.__file__).parent / "reports"
    text = make_report(*read_study(folder / "tables"), "tables")
    assert (folder / "tables.md").read_text(encoding="utf-8") == text


def test_a_second_round_has_a_section_of_its_own(monkeypatch):
    monkeypatch.setitem(METHODS, "convex-relu", replace(METHODS["convex-relu"], second=True))
    shares = {"standard-sdp": 70, "robust-linear": 75, "svc-rbf": 80, "convex-relu": 85}
    rows, names = invented(shares, names=(*NAMES, "convex-relu")), (*NAMES, "convex-relu")
    found, text = report_of(rows, names=names)
    first, _, second = text.partition("## A second round")
    assert "in 0 of 15 comparisons, behind by more than one in 15" in first.replace("\n", " ")
    assert "convex-relu" in second
    assert [method.name for method in found[0].methods] == [*NAMES]
    late = [row for row in rows if row["method"] != "convex-relu" or row["seed"] == 0]
    found, text = report_of(late, names=names)
    assert len(found[0].splits) == 3
    assert "Splits that are complete with them: trial 1" in text


def test_rows_of_other_settings_are_left_aside():
    rows = invented({"standard-sdp": 70, "robust-linear": 75, "svc-rbf": 80})
    for row in rows:
        if row["method"] == "svc-rbf":
            row["setting"] = {**row["setting"], "C": 77.0}
    assert not report_of(rows)[0][0].splits


def test_what_fails_is_a_row_and_never_chosen(monkeypatch):
    def make(setting, lesson, terms):
        if setting["C"] < 1.0:
            raise ValueError("no such machine")
        return METHODS["svc-quadratic"].make({**setting, "coef0": 1.0}, lesson, terms)

    monkeypatch.setitem(METHODS, "svc-rbf", replace(METHODS["svc-rbf"], make=make))
    cells = studied(("svc-rbf",))
    bad = [row for row in rows_of(cells) if row["failure"]]
    assert {row["place"] for row in bad} == {0}
    assert bad[0]["reason"] == "ValueError: no such machine"
    assert all(row["place"] != 0 for row in rows_of(cells) if row["fold"] == TEST)

    monkeypatch.setitem(METHODS, "svc-rbf", replace(METHODS["svc-rbf"], make=lambda *_: None))
    cells = studied(("svc-rbf", "svc-quadratic"))
    found = findings(cells, methods_named(("svc-rbf", "svc-quadratic")))[0]
    assert found.failed
    assert found.attacked("svc-rbf", TRIAL.questions[0], 0).value == 0.0


def test_a_study_that_went_on_with_a_part_is_still_about_all_of_it(tmp_path):
    request = StudyRequest(tmp_path / "study", ("trial",), QUICK, 2, TERMS)
    journal = Journal(request.out)
    journal.begin(request.manifest(), resume=False)
    journal.begin(replace(request, methods=("forest", "svc-rbf"), seeds=1).manifest(), resume=True)
    found = journal.manifest()
    assert list(found["methods"]) == [*QUICK, "forest"]
    assert (found["tables"], found["seeds"], len(found["resumed"])) == (["trial"], 2, 1)
    # What is said again is not kept again: a study of thousands of rows is resumed many times.
    assert found["resumed"][0].keys() == {"created", "seeds", "methods"}
    assert found["resumed"][0]["methods"] == ["forest", "svc-rbf"]
    assert [method.name for method in read_study(request.out)[0][0].methods] == [*QUICK, "forest"]


def test_what_failed_is_tried_again_if_somebody_says_so(tmp_path):
    request = StudyRequest(tmp_path / "study", ("trial",), ("svc-quadratic",), 1, TERMS)
    journal = Journal(request.out)
    journal.begin(request.manifest(), resume=False)
    for row in rows_of(studied(("svc-quadratic",))):
        journal.keep(row)
    first = replace(request, resume=True).slices()[0][0]
    journal.keep(first.inner_fits()[0].to_row() | {"failure": "error"})
    assert replace(request, resume=True).slices()[0][0].rows[0, 0]["failure"]
    assert not replace(request, resume=True, retry=True).slices()[0][0].rows[0, 0]["failure"]
    with pytest.raises(InputError, match="--resume"):
        replace(request, retry=True).check()


def test_work_that_nobody_brings_back_is_a_row():
    def lost(fit, terms, folder):
        raise OSError("the machine is gone")

    cells = studied(("svc-quadratic",), work=lost)
    assert {row["reason"] for row in rows_of(cells)} == {"nobody answered: OSError: the machine is gone"}
    assert cells[0][0].complete


def test_fits_that_take_too_long_count_as_failed(monkeypatch):
    ticks = itertools.count(0.0, 2.0 * TERMS.training.time_limit + 2.0)
    monkeypatch.setattr(fits, "time", SimpleNamespace(perf_counter=lambda: next(ticks), process_time=time.process_time))
    row = carry_out(fits.Fit(TRIAL.name, 0, "svc-rbf", 0, METHODS["svc-rbf"].grid[0], 0), TERMS, None)
    assert row["failure"] == fits.LATE


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"terms": StudyTerms(budget=13)}, "12"),
        ({"terms": StudyTerms(folds=1)}, "folds"),
        ({"jobs": 2, "dask": "tcp://nowhere:1"}, "--jobs"),
        ({"methods": ("svc",)}, "svc-rbf"),
        ({"tables": ("hart",)}, "heart"),
        ({"tables": ("heart",), "data_folder": "/nowhere"}, "heart_statlog.csv"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(tmp_path, changed, message):
    request = replace(StudyRequest(tmp_path / "study", ("trial",), QUICK, 1, TERMS), **changed)
    with pytest.raises((InputError, UnknownNameError), match=message):
        run_study(request, lambda *_: None)
    assert not os.path.exists(tmp_path / "study")


@pytest.mark.filterwarnings("default::ResourceWarning")
@pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_dask_makes_the_same_rows():
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    cells = cells_of([TRIAL], methods_named(QUICK), 1, TERMS, ())
    flat = [cell for part in cells for cell in part]
    kept = []
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        hands_of_dask(cluster.scheduler_address) as hands,
    ):
        carry_out_all(flat, TERMS, None, hands, lambda row, left: kept.append(row))
    assert told(kept) == told(rows_of(cells)) == told(rows_of(studied()))
