"""The study: whatever kills it, nothing that is done is done again, and the report says the same."""

import json

import numpy as np
import pytest

from cvxrobust import InputError, UnknownNameError
from cvxrobust.bench.cifar10.evaluation import FGSM, OF_THE_SUM, PGD, WORST
from cvxrobust.bench.cifar10.findings import CifarFindings
from cvxrobust.bench.cifar10.heads.methods import OWN
from cvxrobust.bench.cifar10.report import make_cifar_report, write_cifar_report
from cvxrobust.bench.cifar10.stages import CifarRun, file_name
from cvxrobust.bench.cifar10.store import CifarStore, holds_cifar
from cvxrobust.bench.cifar10.study import CifarRequest, run_cifar, terms_of
from cvxrobust.bench.cifar10.terms import STAGES, CifarTerms, Split
from cvxrobust.bench.cli.entry import main

TIMES = {"seconds", "cpu_seconds", "peak_memory"}


def request(out, **changes):
    given = {"stages": STAGES[:5], "methods": ("linear",), "terms": CifarTerms.tiny()} | changes
    return CifarRequest(out, "synthetic", device="cpu", **given)


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(part) for name, part in value.items() if name not in TIMES}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def say_nothing(words):
    """Nobody listens."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study that nothing happened to."""
    return run_cifar(request(tmp_path_factory.mktemp("whole") / "study"), say_nothing)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The same, killed after everything that it said, and what it said in all."""
    out, said = tmp_path_factory.mktemp("cut") / "study", []

    def killed(words):
        said.append(words)
        raise KeyboardInterrupt

    for _ in range(100):
        try:
            return run_cifar(request(out), killed), said
        except KeyboardInterrupt:
            pass
    raise AssertionError("a study that is killed again and again gets nowhere")


def test_a_study_killed_at_every_word_finds_the_same(whole, cut):
    store, said = cut
    assert len(said) == len(set(said))  # nothing was done twice
    assert without_times(list(store.rows().values())) == without_times(list(whole.rows().values()))
    for path in sorted(whole.folder.rglob("judged/*.npz")):
        one, two = np.load(path), np.load(store.folder / path.relative_to(whole.folder))
        assert all(np.array_equal(one[name], two[name]) for name in one.files)


def test_reports_are_the_same_and_come_from_what_is_packed(whole, cut, tmp_path):
    pages = [make_cifar_report(CifarFindings(store), []) for store in (whole, cut[0])]
    lines = [
        [line for line in page.splitlines() if "| linear |" not in line and "minutes" not in line] for page in pages
    ]
    backbones = [
        [line for line in part if not line.startswith(("| sgd | 2", "| sam-0.05 | 2", "| adversarial | 1"))]
        for part in lines
    ]
    assert backbones[0] == backbones[1]
    whole.pack_into(tmp_path / "packed")
    packed = CifarStore(tmp_path / "packed")
    assert make_cifar_report(CifarFindings(packed), []) == pages[0]
    written = write_cifar_report(packed, tmp_path / "page")
    assert [path.name for path in written] == ["cifar10.md", "cifar10-worst.png", "cifar10-paper.png"]
    again = write_cifar_report(whole, tmp_path / "again")
    assert [path.read_bytes() for path in written[1:]] == [path.read_bytes() for path in again[1:]]


def test_what_is_left_under_attack_is_no_more_than_without(whole):
    for key, row in whole.rows().items():
        if key[1] == "judged":
            assert row["clean"] >= row[PGD][0] >= row[WORST][0]
            assert row[PGD][0] >= row[PGD][1]


def test_the_report_calls_trials_by_their_name(whole):
    page = make_cifar_report(CifarFindings(whole), [])
    assert "Synthetic images" in page
    assert "0 of 0 convex heads" in page


def judged(store, backbone, head, clean, alive):
    """A classifier of 100 images, of which the first so many are right, without an attack and under every attack."""
    arrays = {name: np.arange(100)[None] < alive for name in (PGD, WORST, FGSM, OF_THE_SUM)}
    store.keep_arrays(
        {"clean": np.arange(100) < clean, **arrays}, "seed-0", "judged", f"{file_name(backbone, head)}.npz"
    )
    shares = {name: [alive / 100.0] for name in arrays}
    store.keep(("0", "judged", backbone, head), {"images": 100, "clean": clean / 100.0, "seconds": 0.0, **shares})


def test_sentences_say_what_the_figures_do(tmp_path):
    """A head that always says the same is right about a tenth under any attack, and that is no gain."""
    store = CifarStore(tmp_path)
    terms = CifarTerms(radii=(2.0,), rhos=(0.1,))
    store.begin(CifarRequest(tmp_path, "synthetic", terms).manifest())
    for backbone, alive in (("sgd", 5), ("sam-0.1", 20), ("adversarial", 50)):
        judged(store, backbone, OWN, 80, alive)
    judged(store, "sgd", "polynomial, l2", 10, 10)
    judged(store, "sgd", "polynomial", 78, 25)
    judged(store, "sgd", "linear", 79, 24)
    page = make_cifar_report(CifarFindings(store), [])
    assert "sgd: **+20.0** at 2/255 (+20.0 by the paper's FGSM)" in page
    assert (
        "The best convex head on SGD's backbone has more: +5.0 at 2/255 (+5.0 by the paper's FGSM) than sam-0.1" in page
    )
    assert "sgd: polynomial +20.0, linear +19.0 at 2/255" in page
    assert "at 2/255 from 5.0 to 50.0 %." in page
    assert "left out of what is said here: sgd, polynomial, l2." in page
    assert "| sgd | polynomial, l2 | +5.0 (5, 0) |" in page


def test_all_stages_run_from_the_command_line(tmp_path, whole, capsys):
    """Convex heads, points in pixel space, and backbone and head in turn, on a backbone that there is."""
    out = tmp_path / "study"
    whole.pack_into(out)
    for path in whole.folder.glob("seed-0/*/*"):
        target = out / path.relative_to(whole.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    words = ["--heads", "polynomial", "--stages", "heads,evaluation,oracle,alternating", "--device", "cpu"]
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "cifar10", "--data", "synthetic", "--out", str(out), *words])
    assert ended.value.code == 0
    page = (out / "cifar10.md").read_text()
    assert "## Points in pixel space" in page
    assert "## Backbone and head in turn" in page
    assert "| sgd | polynomial |" in page
    rows = CifarStore(out).rows()
    heads = [row for key, row in rows.items() if key[1] == "head" and key[3] == "polynomial"]
    assert [row["converged"] for row in heads] == [row["gap"] <= 0.5 for row in heads]
    assert all(row["lower"] <= row["attacked"] for key, row in rows.items() if key[1] == "oracle")
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "report", str(out), "--pack", str(tmp_path / "packed")])
    assert ended.value.code == 0
    assert holds_cifar(tmp_path / "packed")


def test_other_terms_or_none_are_refused_before_any_work(whole, tmp_path):
    with pytest.raises(InputError, match=r"other terms \(epochs\)"):
        run_cifar(request(whole.folder, terms=CifarTerms.tiny(epochs=3)), say_nothing)
    with pytest.raises(UnknownNameError, match="evaluation"):
        run_cifar(request(tmp_path / "new", stages=("evalution",)), say_nothing)
    with pytest.raises(InputError, match=r"needs the backbones sgd, sam-0.05, adversarial"):
        run_cifar(request(tmp_path / "new", stages=("heads",)), say_nothing)
    with pytest.raises(InputError, match="epochs is 0"):
        CifarTerms(epochs=0)
    with pytest.raises(InputError, match="--subset is 10"):
        CifarTerms(subset=10)
    with pytest.raises(UnknownNameError, match="bfloat16"):
        terms_of(tmp_path, "synthetic", {}, "float16", "cpu")


def test_images_among_which_a_class_is_missing_are_refused(whole):
    few = CifarStore(whole.folder).manifest()["terms"] | {"oracle_images": 5}
    asked = request(whole.folder)
    run = CifarRun(whole, CifarTerms.from_json(few), (), 0, *asked.images(), "cpu", say_nothing)
    with pytest.raises(InputError, match=r"5 images for points in pixel space show \d of 10 classes"):
        _ = run.oracle_bank


def test_terms_are_what_they_were_when_read_again():
    terms = CifarTerms(width=8, rhos=(0.1, 0.2))
    assert CifarTerms.from_json(json.loads(json.dumps(terms.to_json()))) == terms


def test_no_image_serves_for_two_things():
    split = Split.of(1000, 800, 3)
    rows = np.concatenate([split.backbone, split.heads, split.deciding])
    assert len(rows) == len(np.unique(rows)) == 800
    assert (len(split.backbone), len(split.heads)) == (432, 320)
    with pytest.raises(InputError, match="there are 500"):
        Split.of(500, 800, 0)
