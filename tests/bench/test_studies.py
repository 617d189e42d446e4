"""What studies share: each says what it takes, rows of reports can be shown, processes that hang are ended."""

import importlib
import json
import os
import time
from pathlib import Path

import pytest

from cvxrobust.bench import studies
from cvxrobust.bench.studies.common import Apart, measure_or_show, study_parser

FOLDER = Path(studies.__file__).parent
ROWS = FOLDER / "reports" / "front_door"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "common"))


def study(name):
    return importlib.import_module(f"cvxrobust.bench.studies.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_study_says_what_it_takes(name, capsys):
    with pytest.raises(SystemExit) as ended:
        study(name).main(["--help"])
    assert ended.value.code == 0
    assert study(name).__doc__.partition("\n")[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("auto_regret", ROWS / "auto_regret.jsonl", "geometric mean"),
        ("gate_counts", ROWS / "gate_counts.jsonl", "Optimum above that with 100 gates"),
        ("relu_grid", ROWS / "relu_grid.jsonl", "cases, "),
        ("hyperparameters", FOLDER / "reports" / "hyperparameters.jsonl", "| 0.1, 0.03, 0.01 | 0, 1, 2 | 0.26 | 1.6 |"),
        ("joint_classes", FOLDER / "reports" / "joint_classes.jsonl", "| iris | 0.6 | joint | 3 |"),
        ("raw_units", FOLDER / "reports" / "raw_units.jsonl", "| certified, raw |"),
        ("sdplib", FOLDER / "reports" / "sdplib.jsonl", "| mcp100 |"),
        ("boxes", FOLDER / "reports" / "boxes.jsonl", "Certified and attacked accuracy differ by 0.0"),
        ("wide_data", FOLDER / "reports" / "wide_data.jsonl", "| half immutable | 200x20000 |"),
        ("head_stage", FOLDER / "reports" / "head_stage.jsonl", "| 2 | 9780 | 2.27 | 4312 |"),
    ],
)
def test_rows_of_reports_can_be_shown_again(name, file, said, capsys):
    study(name).main(["--show", str(file)])
    assert said in capsys.readouterr().out


def test_growth_without_a_certified_step_is_drawn_without_its_bound(tmp_path):
    growing = study("growing_gates")
    nothing = growing.Curve("data", "grown", (), (), (), ())
    sampled = growing.Curve("data", "sampled", (20, 50), (0.3, 0.2), (0.29, 0.19), (1.0, 2.0))
    growing.draw([sampled, nothing], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_options_are_what_their_defaults_say(capsys):
    parser = study_parser("About.", threads=2, sizes=("1x2",), only={"a": 1, "b": 2}, all=False, plot=Path, dtype="x")
    assert vars(parser.parse_args([])) == {
        "threads": 2, "sizes": ("1x2",), "only": ["a", "b"], "all": False, "plot": None, "dtype": "x",
    }  # fmt: skip
    line = "--threads 3 --sizes 4x5 6x7 --only b --all --plot p.png --dtype float32"
    assert vars(parser.parse_args(line.split())) == {
        "threads": 3, "sizes": ["4x5", "6x7"], "only": ["b"], "all": True, "plot": Path("p.png"), "dtype": "float32",
    }  # fmt: skip
    for wrong in ("--only c", "--dtype float16", "--threads many"):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong.split())


def test_rows_are_kept_when_the_next_one_fails(tmp_path):
    def measure(asked):
        yield {"seconds": 1.0}
        raise KeyboardInterrupt

    path = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measure_or_show(study_parser("About."), ["--out", str(path)], measure, lambda rows, asked: None)
    shown = []
    measure_or_show(study_parser("About."), ["--show", str(path)], measure, lambda rows, asked: shown.extend(rows))
    with pytest.raises(SystemExit):
        measure_or_show(study_parser("About."), ["--show", str(tmp_path / "none")], measure, shown.append)
    assert shown == [{"seconds": 1.0}] == [json.loads(path.read_text(encoding="utf-8"))]


def answer(seconds):
    if seconds < 0.0:
        os._exit(1)
    time.sleep(seconds)
    return {"process": os.getpid()}


def test_a_process_that_hangs_or_dies_is_replaced():
    with Apart(answer) as process:
        first = process.ask(30.0, 0.0)
        assert process.ask(30.0, 0.0) == first
        with pytest.raises(OSError, match="did not stop at its time limit"):
            process.ask(0.1, 600.0)
        second = process.ask(30.0, 0.0)
        with pytest.raises(OSError, match="its process died"):
            process.ask(30.0, -1.0)
        assert len({os.getpid(), *(found["process"] for found in (first, second, process.ask(30.0, 0.0)))}) == 4
