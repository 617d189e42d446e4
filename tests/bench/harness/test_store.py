"""The store: rows survive whatever happens to the process that writes them."""

import fcntl
import json
import math
import os

import pytest
from harness.rows import plain_row

from cvxrobust.bench.harness.results.rows import Failure, Verdict, failed_row
from cvxrobust.bench.harness.results.store import RESULTS, Store, merge
from cvxrobust.bench.harness.suite.cases import SCHEMA, BackendSpec, Case, DataSpec, ProblemSpec
from cvxrobust.core.errors import InputError, WriteError


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "run")
    store.create({"suite": {"name": "s"}, "schema": SCHEMA})
    with store:
        store.append(plain_row("a", upper=1.0, lower=0.5, trace=((0.1, 1.0, 0.5),), metrics={"wall": 0.3}))
        store.append(plain_row("b"))
    return store


def test_rows_come_back_as_they_were_written(store):
    first, second = store.rows()
    assert first == plain_row("a", upper=1.0, lower=0.5, trace=((0.1, 1.0, 0.5),), metrics={"wall": 0.3})
    assert second.key == "b"


def test_infinities_come_back_too(store):
    with store:
        store.append(plain_row("c", trace=((0.1, math.inf, -math.inf),), upper=math.inf))
    assert store.rows()[-1].trace == ((0.1, math.inf, -math.inf),)
    assert store.rows()[-1].relative_gap == math.inf
    assert "Infinity" not in (store.folder / RESULTS).read_text()


def test_the_last_row_of_a_case_counts(store):
    with store:
        store.append(plain_row("a", Verdict.FAILED, failure=Failure.KILLED))
    assert [(found.key, found.verdict) for found in store.rows()] == [("a", "failed"), ("b", "certified")]


@pytest.mark.parametrize("torn", [b'{"key": "c", "ca', b"\x00\x00\x00\x00", b"\xff\xfe"], ids=repr)
def test_a_torn_last_line_is_left_out_and_cut_off(store, torn):
    path = store.folder / RESULTS
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert [found.key for found in store.rows()] == ["a", "b"]
    repair = store.open()
    store.append(plain_row("c"))
    store.close()
    assert repair.dropped == len(torn)
    assert [found.key for found in store.rows()] == ["a", "b", "c"]
    assert path.read_bytes().startswith(whole)


def test_a_last_line_that_lacks_only_its_end_is_kept(store):
    path = store.folder / RESULTS
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    repair = store.open()
    store.append(plain_row("c"))
    store.close()
    assert repair.completed
    assert repair.dropped == 0
    assert [found.key for found in store.rows()] == ["a", "b", "c"]


def test_every_torn_end_of_a_file_is_repaired(store):
    path = store.folder / RESULTS
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole), 37):
        path.write_bytes(whole[:size])
        with store:
            pass
        assert path.read_bytes() == whole[:first]


def test_damage_in_the_middle_is_an_error_that_names_the_line(store):
    path = store.folder / RESULTS
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"{nonsense\n" + second)
    with pytest.raises(InputError, match=r"line 2 of .* is damaged"):
        store.rows()


def test_rows_of_a_newer_version_are_refused_and_unknown_fields_are_not(store):
    path = store.folder / RESULTS
    content = json.loads(path.read_bytes().splitlines()[0])
    path.write_text(json.dumps(content | {"key": "x", "added_later": 1}) + "\n")
    assert [found.key for found in store.rows()] == ["x"]
    path.write_text(json.dumps(content | {"schema": SCHEMA + 1}) + "\n")
    with pytest.raises(InputError, match=r"line 1 .* newer version"):
        store.rows()


def test_a_run_is_never_overwritten(store):
    with pytest.raises(InputError, match="holds a run already; go on with --resume"):
        store.create({})


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        Store(tmp_path).manifest()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        Store(tmp_path).manifest()


def test_two_processes_never_write_to_one_run(store):
    with (store.folder / RESULTS).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is writing"):
            store.open()
    with store:
        pass


def test_a_row_is_on_the_disk_when_append_returns(store, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    with store:
        store.append(plain_row("c"))
        assert synced[-1] == (store.folder / RESULTS).stat().st_size


def test_a_full_disk_leaves_no_half_row(store, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    before = (store.folder / RESULTS).read_bytes()
    with store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(WriteError, match=r"cannot write to .*No space left.*the rows before are kept"):
                store.append(plain_row("c"))
        assert (store.folder / RESULTS).read_bytes() == before
        store.append(plain_row("d"))
    assert [found.key for found in store.rows()] == ["a", "b", "d"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        Store(tmp_path / "file" / "run").create({})


def test_merging_keeps_every_case_once_and_the_last_row(store, tmp_path):
    other = Store(tmp_path / "other")
    other.create({"suite": {"name": "t"}, "schema": SCHEMA})
    with other:
        other.append(plain_row("b", Verdict.FAILED, failure=Failure.ERROR, reason="anew"))
        other.append(plain_row("c"))
    target = Store(tmp_path / "both")
    assert merge([store, other], target) == 3
    assert [(found.key, found.reason) for found in target.rows()] == [("a", ""), ("b", "anew"), ("c", "")]
    assert [part["suite"]["name"] for part in target.manifest()["merged"]] == ["s", "t"]
    with pytest.raises(InputError, match="holds a run already"):
        merge([store], target)


def test_secrets_are_masked_wherever_they_got_to():
    case = Case(
        ProblemSpec("standard-sdp", DataSpec("planted", 10, 2)),
        BackendSpec("scs", options={"api_key": "hush"}),
        1e-4,
        9.0,
    )
    told = failed_row("a", case, Failure.ERROR, "login with hush failed", message="hush!", applied={"api_key": "hush"})
    text = json.dumps(told.without_secrets(case).to_dict())
    assert "hush" not in text
    assert "login with *** failed" in text
