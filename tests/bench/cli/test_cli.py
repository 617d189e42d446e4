"""The command line as a user meets it: exit codes, streams, files."""

import contextlib
import json
import logging
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from strict_json import pure_json
from typer.testing import CliRunner

import cvxrobust
from cvxrobust.bench.cli import app, main
from cvxrobust.bench.cli.options import name_optional_values, parse_options, parse_radii, spread_values
from cvxrobust.bench.display import Progress, to_json
from cvxrobust.core.discovery import registry
from cvxrobust.core.discovery.hookspecs import BackendDescription, hookimpl
from cvxrobust.core.errors import InputError, PluginError

SOLVE = ["solve", "--backend", "clarabel", "--beta", "0.05", "--quiet"]


@pytest.fixture
def network(run, csv, tmp_path):
    """A network trained on the small file."""
    path = tmp_path / "net.npz"
    code, _, err = run(*SOLVE, "--data", csv, "--radius", 0.2, "--save", path)
    assert (code, err) == (0, "")
    return path


def test_version_and_help_answer(run):
    assert run("--version")[:2] == (0, f"cvxrobust {cvxrobust.__version__}\n")
    code, out, _ = run("--help")
    assert code == 0
    assert all(command in out for command in ("solve", "evaluate", "backends", "demo"))


def test_the_typer_application_runs_under_its_own_runner():
    outcome = CliRunner().invoke(app, ["backends", "list"])
    assert outcome.exit_code == 0
    assert "clarabel" in outcome.output


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "cvxrobust", "backends", "list", "--foo"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("there is no option --foo; see `cvxrobust backends list --help`.\n")
    done = subprocess.run([sys.executable, "-m", "cvxrobust", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("cvxrobust ")
    assert done.returncode == 0


@pytest.mark.parametrize("command", ["solve", "path"])
def test_verbose_says_lines_on_standard_error_and_json_stays_alone(command, run, csv, monkeypatch):
    logger = logging.getLogger("cvxrobust")
    monkeypatch.setattr(logger, "propagate", False)  # pytest listens to all loggers
    monkeypatch.setattr(logger, "handlers", [])
    one = ["--radius", 0.2, "--beta", 0.05, "--method", "direct"]
    several = ["--radii", "0.2", "--betas", "0.05,0.1"]
    common = [command, "--data", csv, "--backend", "clarabel", "--json", *(one if command == "solve" else several)]
    code, out, err = run(*common, "--verbose")
    assert code == 0, err
    assert json.loads(out)
    lines = [text for text in err.splitlines() if " lower " in text and " upper " in text and " gap " in text]
    assert len(lines) >= 2
    assert all((" clarabel/direct " in text or " start " in text or " point " in text) for text in lines)
    code, _, err = run(*common, "--verbose", "--quiet")
    assert (code, err) == (0, "")


def test_solve_prints_bounds_accuracies_and_the_unit_of_the_radius(run, csv):
    code, out, err = run("solve", "--data", csv, "--radius", 0.2, "--beta", 0.05, "--backend", "clarabel")
    assert code == 0
    for expected in (
        "certified: optimum in [",
        "certified gap, relative",
        "clean accuracy, held-out rows",
        "exact accuracy under attack, radius 0.2, held-out rows",
        "Radii are l2, in standard deviations of the training features.",
    ):
        assert expected in out
    assert "label 'yes' is +1 and 'no' is -1" in err
    assert "upper" in err


def test_json_is_one_object_and_nothing_else(run, csv):
    code, out, _ = run(*SOLVE, "--data", csv, "--radius", 0.2, "--json")
    found = pure_json(out)
    assert code == 0
    assert found["result"]["quality"] == "certified"
    assert found["result"]["lower"] <= found["result"]["upper"]
    assert found["split"] == {"test_fraction": 0.2, "seed": 0, "train_rows": 24, "test_rows": 6}
    assert set(found["accuracy"]) == {"train_clean", "test_clean", "train_robust", "test_robust"}
    assert found["accuracy"]["train_robust"] <= found["accuracy"]["train_clean"]
    assert found["parameters"] == {"norm": 2, "radius": 0.2, "beta": 0.05}


def test_infinite_numbers_become_null_in_json():
    assert json.loads(to_json({"a": math.inf, "b": [math.nan, 1.5], "c": np.float64(2)})) == {
        "a": None,
        "b": [None, 1.5],
        "c": 2.0,
    }


def test_every_option_of_solve_reaches_the_problem_and_the_solver(run, csv):
    code, out, _ = run(
        *[*SOLVE, "--data", csv, "--problem", "standard-sdp", "--loss", "logistic", "--method", "direct"],
        *["--activation", 0.2, 0.4, 0.1, "--threads", 1, "--max-iterations", 150, "--tolerance", 1e-5],
        *["--option", "max_step_fraction=0.95", "--test-fraction", 0.5, "--seed", 3, "--json"],
    )
    found = pure_json(out)
    assert code == 0
    assert found["parameters"] == {"beta": 0.05, "loss": "logistic", "activation": [0.2, 0.4, 0.1]}
    assert found["result"]["applied"]["max_step_fraction"] == 0.95
    assert found["result"]["method"] == "direct"
    assert found["split"]["test_rows"] == 15


def test_without_standardisation_radii_are_in_the_units_of_the_data(run, csv, tmp_path):
    path = tmp_path / "raw.npz"
    code, out, _ = run(*SOLVE, "--data", csv, "--radius", 0.2, "--no-standardize", "--save", path, "--json")
    assert code == 0
    assert pure_json(out)["radius_unit"] == "units of the data"
    assert cvxrobust.PolynomialNetwork.load(path).standardizer is None
    assert pure_json(run("evaluate", path, "--data", csv, "--radius", 0.2, "--json")[1])["split"] == "test"


def test_standardisation_is_fitted_on_the_training_rows_and_saved(csv, network):
    from cvxrobust.bench.data.dataset import load_dataset, stratified_split

    train, _ = stratified_split(load_dataset(csv))
    saved = cvxrobust.PolynomialNetwork.load(network)
    assert saved.standardizer.mean == pytest.approx(train.X.mean(axis=0))
    assert saved.standardizer.scale == pytest.approx(train.X.std(axis=0))
    assert saved.standardizer.names == ("width", "height")
    assert saved.metadata["data"] == "small.csv"
    assert saved.metadata["split_seed"] == 0
    assert saved.metadata["radius"] == 0.2


def test_more_than_two_classes_are_trained_and_evaluated(run, tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 2))
    labels = np.array(["red", "green", "blue"])[np.digitize(X[:, 0], [-0.4, 0.4])]
    path, saved = tmp_path / "three.npz", tmp_path / "net.npz"
    np.savez(path, X=X, y=labels)
    code, out, err = run(*SOLVE, "--data", path, "--radius", 0.1, "--save", saved, "--json")
    assert (code, err) == (0, "")
    assert len(pure_json(out)["result"]["parts"]) == 3
    code, out, err = run("evaluate", saved, "--data", path, "--radius", 0.1, "--json")
    assert (code, err) == (0, "")
    assert pure_json(out)["rows"] == 6


@pytest.mark.parametrize(
    "asked",
    [
        ["--problem", "standard-sdp", "--loss", "squared"],
        ["--problem", "standard-sdp", "--loss", "absolute"],
        ["--problem", "adversarial-sdp", "--loss", "huber:0.5", "--radius", "0.1"],
    ],
    ids=" ".join,
)
def test_losses_of_targets_train_classifiers_too(run, csv, asked):
    code, out, _ = run(*SOLVE, "--data", csv, *asked, "--json")
    assert code == 0
    assert pure_json(out)["accuracy"]["train_clean"] > 0.8


def test_evaluate_finds_the_held_out_rows_again(run, csv, network):
    code, out, _ = run("evaluate", network, "--data", csv, "--radius", 0.2, "--json")
    held_out = pure_json(out)
    assert code == 0
    assert (held_out["split"], held_out["rows"]) == ("test", 6)
    trained_on = pure_json(run("evaluate", network, "--data", csv, "--radius", 0.2, "--split", "train", "--json")[1])
    assert (trained_on["split"], trained_on["rows"]) == ("train", 24)
    everything = pure_json(run("evaluate", network, "--data", csv, "--radius", 0.2, "--split", "all", "--json")[1])
    parts = 6 * held_out["clean_accuracy"] + 24 * trained_on["clean_accuracy"]
    assert 30 * everything["clean_accuracy"] == pytest.approx(parts)


def test_evaluate_reports_what_solve_reported(run, csv, tmp_path):
    path = tmp_path / "net.npz"
    solved = pure_json(run(*SOLVE, "--data", csv, "--radius", 0.2, "--save", path, "--json")[1])
    evaluated = pure_json(run("evaluate", path, "--data", csv, "--radius", 0.2, "--json")[1])
    assert evaluated["clean_accuracy"] == solved["accuracy"]["test_clean"]
    assert evaluated["robust_accuracy"][0]["accuracy"] == solved["accuracy"]["test_robust"]


@pytest.mark.parametrize(
    "radii",
    [
        ["--radius", "0.1", "0.3", "0.5"],
        ["--radius", "0.1", "--radius", "0.3", "0.5"],
        ["--radius", "0.1,0.3,0.5"],
        ["--radius=0.1", "0.3,", "0.5"],
    ],
)
def test_several_radii_may_follow_one_flag(run, csv, network, radii):
    code, out, err = run("evaluate", *radii, network, "--data", csv, "--json")
    assert (code, err) == (0, "")
    found = pure_json(out)["robust_accuracy"]
    assert [row["radius"] for row in found] == [0.1, 0.3, 0.5]
    accuracies = [row["accuracy"] for row in found]
    assert accuracies == sorted(accuracies, reverse=True)


def test_the_table_of_evaluate_states_rows_and_units(run, csv, network):
    code, out, _ = run("evaluate", network, "--data", csv, "--radius", 0.1)
    assert code == 0
    assert "net.npz on small.csv: 6 rows" in out
    assert "the rows held out in training" in out
    assert "in standard deviations of the training features" in out


def test_columns_are_matched_by_name(run, csv, network):
    lines = [line.split(",") for line in csv.read_text(encoding="utf-8").splitlines()]
    swapped = csv.with_name("swapped.csv")
    swapped.write_text("\n".join(f"{b},{label},{a}" for a, b, label in lines), encoding="utf-8")
    code, out, _ = run("evaluate", network, "--data", swapped, "--radius", 0.2, "--json")
    found = pure_json(out)
    assert code == 0
    assert (found["split"], found["rows"]) == ("test", 6)
    assert "columns were matched by name" in found["notes"]


def test_other_data_is_evaluated_whole_with_the_classes_of_training(run, csv, network):
    lines = csv.read_text(encoding="utf-8").splitlines()
    only_yes = csv.with_name("yes.csv")
    only_yes.write_text("\n".join(line for line in lines if not line.endswith("no")), encoding="utf-8")
    code, out, _ = run("evaluate", network, "--data", only_yes, "--radius", 0, "--json")
    found = pure_json(out)
    assert code == 0
    assert found["split"] == "all"
    assert found["clean_accuracy"] > 0.7


BAD_SOLVES = [
    (["--data", "ionosfere", "--radius", "1"], "unknown data set 'ionosfere'; known: breast-cancer, "),
    (
        ["--data", "CSV", "--radius", "1", "--label", "kind"],
        "no column 'kind' to take labels from; its columns are width, height, label",
    ),
    (
        ["--data", "CSV", "--problem", "robust-sdp"],
        "unknown problem 'robust-sdp'; known: adversarial-relu, adversarial-sdp, convex-relu, joint-sdp, standard-sdp",
    ),
    (["--data", "CSV", "--radius", "-1"], "radius"),
    (["--data", "CSV"], "problem 'adversarial-sdp' needs --radius"),
    (
        ["--data", "CSV", "--problem", "standard-sdp", "--radius", "1"],
        "problem 'standard-sdp' takes no --radius",
    ),
    (["--data", "CSV", "--radius", "1", "--beta", "0"], "beta"),
    (["--data", "CSV", "--radius", "1", "--loss", "hinged"], "unknown loss 'hinged'; known: "),
    (["--data", "CSV", "--radius", "1", "--activation", "0", "1", "1"], "activation"),
    (["--data", "CSV", "--radius", "1", "--backend", "clarable"], "unknown backend 'clarable'; known: "),
    (["--data", "CSV", "--radius", "1", "--method", "magic"], "magic"),
    (
        ["--data", "CSV", "--radius", "1", "--tolerance", "2"],
        "tolerance is 2.0; expected a relative gap between",
    ),
    (["--data", "CSV", "--radius", "1", "--time-limit", "0"], "time_limit is 0.0; expected seconds above 0"),
    (["--data", "CSV", "--radius", "1", "--option", "speed"], "--option got 'speed'; expected NAME=VALUE"),
    (
        ["--data", "CSV", "--radius", "1", "--backend", "clarabel", "--option", "speed=9"],
        "unknown clarabel option 'speed'",
    ),
    (["--data", "CSV", "--radius", "1", "--test-fraction", "1"], "the test fraction is 1.0"),
    (["--data", "CSV", "--radius", "1", "--save", "CSV"], "end the name in .npz"),
    (["--data", "CSV", "--radius", "1", "--save", "FOLDER/none/net.npz"], "nothing can be written to"),
    (["--data", "CSV", "--radius", "wide"], "--radius got 'wide'; expected a number"),
    (["--data", "CSV", "--width", "1"], "there is no option"),
    ([], "--data is missing"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_SOLVES, ids=lambda value: str(value)[:60])
def test_bad_input_ends_with_code_2_and_one_line(run, csv, tmp_path, arguments, message):
    filled = [text.replace("CSV", str(csv)).replace("FOLDER", str(tmp_path)) for text in arguments]
    code, out, err = run("solve", *filled)
    assert code == 2
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("cvxrobust: error: ")
    assert "Traceback" not in err
    assert message in last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NET", "--data", "CSV", "--radius", "wide"], "--radius got 'wide'; expected numbers"),
        (["NET", "--data", "CSV", "--radius", "-0.1"], "the radius -0.1 is no radius"),
        (["NET", "--data", "CSV", "--radius", "inf"], "the radius inf is no radius"),
        (
            ["NET", "--data", "CSV", "--radius", "1", "--split", "half"],
            "unknown split 'half'; known: all, auto",
        ),
        (["none.npz", "--data", "CSV", "--radius", "1"], "there is no network file none.npz"),
        (["CSV", "--data", "CSV", "--radius", "1"], "is not a network"),
        (["NET", "--data", "breast-cancer", "--radius", "1"], "labels"),
        (
            ["NET", "--data", "OTHER", "--radius", "1"],
            "lacks 1 of the 2 columns that the network was trained on: height",
        ),
        (
            ["NET", "--data", "CHANGED", "--radius", "1", "--split", "test"],
            "differs from it; use --split all",
        ),
        (["NET", "--data", "CSV"], "--radius is missing"),
    ],
)
def test_bad_input_to_evaluate_ends_with_code_2_and_one_line(run, csv, network, arguments, message):
    text = csv.read_text(encoding="utf-8")
    other, changed = csv.with_name("other.csv"), csv.with_name("changed.csv")
    other.write_text(text.replace("height", "depth"), encoding="utf-8")
    changed.write_text(text + "\n1,2,yes", encoding="utf-8")
    places = {"NET": network, "CSV": csv, "OTHER": other, "CHANGED": changed}
    code, out, err = run("evaluate", *(places.get(argument, argument) for argument in arguments))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err


def test_an_impossible_save_is_found_before_the_solve(run, csv, tmp_path, monkeypatch):
    monkeypatch.setattr(cvxrobust, "solve", lambda *_, **__: pytest.fail("solved before looking at --save"))
    (tmp_path / "folder.npz").mkdir()
    code, _, err = run(*SOLVE, "--data", csv, "--radius", 1, "--save", tmp_path / "folder.npz")
    assert code == 2
    assert "which is a folder" in err


def test_an_unusable_result_ends_with_code_1_but_is_shown(run, csv, monkeypatch):
    solve = cvxrobust.solve

    def solve_badly(*arguments, **keywords):
        return replace(solve(*arguments, **keywords), quality="unusable")

    monkeypatch.setattr(cvxrobust, "solve", solve_badly)
    code, out, _ = run(*SOLVE, "--data", csv, "--radius", 0.2)
    assert code == 1
    assert "unusable: optimum in [" in out


def test_a_defect_is_one_line_unless_the_traceback_is_asked_for(run, csv, monkeypatch):
    def break_down(*_, **__):
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(cvxrobust, "solve", break_down)
    code, _, err = run(*SOLVE, "--data", csv, "--radius", 0.2)
    assert code == 70
    assert len(err.splitlines()) == 1
    assert "unexpected ZeroDivisionError: deep inside" in err
    monkeypatch.setenv("CVXROBUST_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main([*SOLVE, "--data", str(csv), "--radius", "0.2"])


def test_an_interruption_without_a_result_ends_with_code_130(run, csv, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cvxrobust, "solve", interrupted)
    code, _, err = run(*SOLVE, "--data", csv, "--radius", 0.2)
    assert code == 130
    assert "interrupted before there was a result" in err


# A radius and a tolerance that no method reaches within the seconds these tests take.
ENDLESS = [
    "solve",
    "--data",
    "breast-cancer",
    "--radius",
    "1",
    "--tolerance",
    "1e-13",
    "--backend",
    "clarabel",
]


def test_a_time_limit_returns_and_saves_a_certified_network(run, tmp_path):
    path = tmp_path / "net.npz"
    code, out, _ = run(*ENDLESS, "--time-limit", 1, "--save", path, "--json", "--quiet")
    found = pure_json(out)["result"]
    assert code in (0, 1)
    assert found["termination"] == "time limit"
    assert found["lower"] <= found["upper"]
    assert cvxrobust.PolynomialNetwork.load(path).n_features == 30


# Run in the background, a shell's child ignores SIGINT, and so would the interpreter.
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from cvxrobust.bench.cli import main; main()"
)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT, which only POSIX systems have")
def test_ctrl_c_returns_and_saves_a_certified_network(tmp_path):
    path = tmp_path / "net.npz"
    command = [sys.executable, "-c", INTERRUPTIBLE, *ENDLESS, "--save", str(path), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stderr.readline() for _ in range(2)]  # the second comes while the solver runs
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert all("upper" in line for line in lines)
    assert "Traceback" not in err
    found = pure_json(out)["result"]
    assert found["termination"] == "interrupted"
    assert found["lower"] <= found["upper"]
    assert process.returncode in (0, 1)
    assert cvxrobust.PolynomialNetwork.load(path).n_features == 30


def test_backends_are_listed_shown_and_examined(run):
    code, out, _ = run("backends", "list", "--json")
    assert code == 0
    assert {"clarabel", "scs", "cvxpy"} <= {row["name"] for row in pure_json(out)["backends"]}
    code, out, _ = run("backends", "show", "clarabel", "--json")
    assert code == 0
    assert "PSD" in pure_json(out)["cones"]
    code, out, _ = run("backends", "show", "clarabel")
    assert "interior-point" in out
    code, _, err = run("backends", "show", "clarable")
    assert code == 2
    assert "Did you mean 'clarabel'?" in err


def test_the_doctor_finds_the_installed_backends_well(run):
    code, out, _ = run("backends", "doctor", "--json")
    outcomes = {row["name"]: row["outcome"] for row in pure_json(out)["backends"]}
    assert code == 0
    assert outcomes["clarabel"] == "ok"
    assert set(outcomes.values()) <= {"ok", "skipped"}


def test_the_doctor_ends_with_code_1_when_a_backend_fails(run, monkeypatch):
    def raise_an_error(*_, **__):
        raise RuntimeError("no solver at all")

    monkeypatch.setattr(cvxrobust, "solve", raise_an_error)
    code, out, _ = run("backends", "doctor")
    assert code == 1
    assert "RuntimeError: no solver at all" in out


def test_broken_plugins_are_listed_with_their_reason(run):
    class Broken:
        __name__ = "broken"

        @hookimpl
        def cvxrobust_backends(self):
            raise OSError("library missing")

    class Unmakeable:
        __name__ = "unmakeable"

        @hookimpl
        def cvxrobust_backends(self):
            return [
                BackendDescription("unmakeable", lambda: 1 / 0),
                BackendDescription("clarabel", lambda: None),
            ]

    for plugin in (Broken(), Unmakeable()):
        with contextlib.suppress(PluginError):
            registry.register(plugin)
    try:
        code, out, _ = run("backends", "list", "--json")
    finally:
        registry.reload()
    rows = {(row["plugin"], row["name"]): row for row in pure_json(out)["backends"]}
    assert code == 0
    broken = rows["broken (registered at run time)", "broken"]
    assert (broken["status"], broken["summary"]) == ("broken", "OSError: library missing")
    unmakeable = rows["unmakeable (registered at run time)", "unmakeable"]
    assert (unmakeable["available"], "ZeroDivisionError" in unmakeable["summary"]) == ("no", True)
    assert rows["unmakeable (registered at run time)", "clarabel"]["status"] == "duplicate"
    assert rows["clarabel (cvxrobust)", "clarabel"]["available"] == "yes"


def test_progress_prints_now_and_then_and_the_last_bounds(capsys):
    with Progress("job ") as progress:
        for elapsed in (0.1, 0.2, 0.3, 1.2, 1.3):
            progress(elapsed, 1.0, 1.0 - 0.1 / (1 + elapsed))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["0.1", "1.2", "1.3"]
    assert "upper 1.00000000" in lines[0]
    with Progress(quiet=True) as progress:
        progress(0.1, 1.0, 0.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("net --radius 1 2 --json", "net --radius 1 --radius 2 --json"),
        ("--radius 1 2 net", "--radius 1 --radius 2 net"),
        ("--radius", "--radius"),
        ("--radius -1 -2", "--radius -1 --radius -2"),
        ("--radius=1 2 --data 3", "--radius=1 --radius 2 --data 3"),
        ("--seed 1 2", "--seed 1 2"),
    ],
)
def test_values_are_spread_over_their_flag(given, expected):
    assert spread_values(given.split(), "--radius") == expected.split()


def test_values_of_options_are_read_as_what_they_look_like():
    given = ["a=1", "b=1e-3", "c=True", "d=none", "e=fast", "f=x=y"]
    assert parse_options(given) == {"a": 1, "b": 1e-3, "c": True, "d": None, "e": "fast", "f": "x=y"}
    with pytest.raises(InputError, match="is given twice"):
        parse_options(["a=1", "a=2"])
    with pytest.raises(InputError, match="got no number"):
        parse_radii([","])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--polish", "--polish=auto"),
        ("--polish --json", "--polish=auto --json"),
        ("--polish clarabel --json", "--polish clarabel --json"),
        ("--polish=scs", "--polish=scs"),
        ("--json", "--json"),
    ],
)
def test_a_flag_whose_value_may_be_left_out(given, expected):
    assert name_optional_values(given.split(), "--polish", "auto") == expected.split()


def test_polish_reaches_the_solve(run, csv):
    common = ["solve", "--data", csv, "--radius", 0.2, "--beta", 0.05, "--backend", "scs", "--json", "--quiet"]
    code, out, _ = run(*common, "--method", "direct", "--tolerance", "1e-7", "--polish")
    assert code == 0
    assert pure_json(out)["result"]["method"].startswith("direct")
    code, _, err = run(*common, "--polish", "claribel")
    assert code == 2
    assert "Did you mean 'clarabel'" in err
    code, _, err = run(*common[:3], "--problem", "convex-relu", "--backend", "clarabel", "--polish", "clarabel")
    assert code == 2
    assert "leave polish out" in err


def test_evaluate_remembers_the_label_column(run, csv, tmp_path):
    text, path = csv.read_text(encoding="utf-8"), tmp_path / "net.npz"
    for name in ("group", "kind"):
        (tmp_path / f"{name}.csv").write_text(text.replace("label", name), encoding="utf-8")
    code, _, err = run(*SOLVE, "--data", tmp_path / "group.csv", "--label", "group", "--radius", 0.2, "--save", path)
    assert (code, err) == (0, "")
    judged = ["evaluate", path, "--radius", 0.1, "--json", "--data"]
    found = pure_json(run(*judged, tmp_path / "group.csv")[1])
    assert (found["split"], found["rows"]) == ("test", 6)
    code, _, err = run(*judged, tmp_path / "kind.csv")
    assert code == 2
    assert "kind.csv has no column 'group' to take labels from" in err
    assert "Name the label column with --label" in err
    assert pure_json(run(*judged, tmp_path / "kind.csv", "--label", "kind")[1])["rows"] == 6
