"""The command line on ReLU networks: options and their refusals, what is printed, brackets instead of exact numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from strict_json import pure_json

import cvxrobust
from cvxrobust.bench.cli.printing import print_training
from cvxrobust.bench.data.dataset import load_dataset, stratified_split
from cvxrobust.bench.demo import breast_cancer_relu, setting
from cvxrobust.bench.workflows import robustness, training
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.result import Round
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.robustness import certificates

SOLVE = ["solve", "--backend", "clarabel", "--quiet", "--beta", 0.01]
ROBUST = [*SOLVE, "--problem", "adversarial-relu", "--radius", 0.1, "--n-gates", 6]
PLAIN = [*SOLVE, "--problem", "convex-relu", "--n-gates", 6]


@pytest.fixture
def csv(tmp_path):
    """Forty rows on the two sides of a bent line; two features, labels no and yes."""
    X = np.random.default_rng(0).normal(size=(40, 2)) * [1.0, 2.0] + [1.0, -2.0]
    bent = X[:, 0] - 1.0 + 0.4 * np.abs(X[:, 1] + 2.0)
    labels = np.where(bent > np.median(bent), "yes", "no")
    rows = [f"{a!r},{b!r},{label}" for (a, b), label in zip(X.tolist(), labels, strict=True)]
    path = tmp_path / "bent.csv"
    path.write_text("\n".join(["width,height,label", *rows]), encoding="utf-8")
    return path


@pytest.fixture
def three(tmp_path):
    """Thirty rows of three classes, named by colours."""
    X = np.random.default_rng(0).normal(size=(30, 2))
    path = tmp_path / "three.npz"
    np.savez(path, X=X, y=np.array(["red", "green", "blue"])[np.digitize(X[:, 0], [-0.4, 0.4])])
    return path


@pytest.fixture
def network(run, csv, tmp_path):
    """A network with a bias, trained against linf attacks."""
    path = tmp_path / "net.npz"
    code, _, err = run(*ROBUST, "--data", csv, "--bias", "--save", path)
    assert (code, err) == (0, "")
    return path


@pytest.fixture
def polynomial(run, csv, tmp_path):
    """A polynomial network on the same data."""
    path = tmp_path / "polynomial.npz"
    code, _, err = run(*SOLVE, "--data", csv, "--radius", 0.1, "--save", path)
    assert (code, err) == (0, "")
    return path


@pytest.fixture
def solved(monkeypatch):
    """The problems and keywords that reach `solve`, which still solves them."""
    calls, solve = [], cvxrobust.solve

    def remember(problem, **keywords):
        calls.append((problem, keywords))
        return solve(problem, **keywords)

    monkeypatch.setattr(cvxrobust, "solve", remember)
    return calls


# -- solve ----------------------------------------------------------------------------------------------------------


def test_solve_says_what_the_bounds_are_about_and_calls_no_bracket_exact(run, csv):
    code, out, _ = run(*ROBUST, "--data", csv, "--regate", 2, "--bound", "separate")
    assert code == 0
    for expected in (
        "programme's objective (upper bound)",
        "programme's optimum is at least (lower bound)",
        "gates (sampled: 6, of these",
        "slots of the programme",
        "neurons",
        "certified accuracy under attack (lower bound), radius 0.1, held-out rows",
        "attacked accuracy (upper bound), radius 0.1, training rows",
        "The bounds are about the gated programme (one-sided)",
        "The network's own training objective, worst attacks included, ",
        "Radii are linf, in standard deviations of the training features.",
    ):
        assert expected in out
    assert "exact" not in out
    assert "carry a neuron" not in out  # that is for cones
    rounds = [line for line in out.splitlines() if " gates " in line and line.rstrip("│ ").endswith(" s")]
    assert "given gates" in rounds[0]
    assert all("regated gates" in line for line in rounds[1:])
    assert 2 <= len(rounds) <= 3


def test_the_cone_formulation_reports_which_gates_can_carry_a_neuron(run, csv):
    code, out, _ = run(*ROBUST, "--data", csv, "--formulation", "cone")
    assert code in (0, 1)
    assert "gates that can carry a neuron under attack" in out
    assert "programmes solved" not in out  # there was but one


def test_without_an_adversary_there_is_no_radius_to_report(run, csv):
    code, out, _ = run(*PLAIN, "--data", csv)
    assert code == 0
    assert "own training objective, worst attacks included, is 0." in out
    assert "Radii" not in out
    assert "certified accuracy" not in out


def test_a_round_cut_short_is_said_to_be(csv, capsys):
    request = training.TrainingRequest(
        str(csv), cvxrobust.Settings(), "adversarial-relu", {"radius": 0.1, "n_gates": 4}, backend="clarabel"
    )
    trained = training.train(request)
    own = trained.result.certificate
    for last, cut in ((own, False), (Certificate(0.9 * own.upper, 0.0), True)):
        history = (Round("given", 0.1, own, 8), Round("regated", 0.2, last, 8))
        print_training(replace(trained, result=replace(trained.result, history=history)), quiet=True)
        assert ("A round was cut short" in capsys.readouterr().out) is cut


@pytest.mark.parametrize(("norm", "expected"), [("inf", "inf"), ("2", 2), ("1", 1)])
def test_the_norm_reaches_the_problem_the_words_and_the_file(run, csv, tmp_path, solved, norm, expected):
    path = tmp_path / "net.npz"
    code, out, _ = run(*ROBUST, "--data", csv, "--norm", norm, "--save", path)
    assert code == 0
    assert solved[0][0].norm == expected
    assert f"Radii are l{norm}, in standard deviations" in out
    assert ReLUNetwork.load(path).metadata["norm"] == expected


def test_every_option_reaches_the_problem(run, csv, solved):
    code, out, _ = run(
        *[*ROBUST, "--data", csv, "--norm", 2, "--loss", "logistic", "--formulation", "one-sided"],
        *["--bound", "mixed", "--gate-seed", 7, "--bias", "--regate", 1, "--multiclass", "one-versus-all", "--json"],
    )
    assert code == 0
    ((problem, keywords),) = solved
    found = {name: getattr(problem, name) for name in ("norm", "beta", "loss", "formulation", "bound", "n_gates")}
    assert found == {
        "norm": 2, "beta": 0.01, "loss": "logistic", "formulation": "one-sided", "bound": "mixed", "n_gates": 6,
    }  # fmt: skip
    assert (problem.seed, problem.bias, problem.regate, problem.resample) == (7, True, 1, False)
    assert problem.multiclass == "one-versus-all"
    assert keywords["gates"] == "fixed"
    assert pure_json(out)["parameters"]["multiclass"] == "one-versus-all"


def test_resample_and_no_bias_reach_the_problem(run, csv, solved):
    assert run(*ROBUST, "--data", csv, "--formulation", "cone", "--resample", "--no-bias")[0] in (0, 1)
    assert (solved[0][0].resample, solved[0][0].bias) == (True, False)
    assert solved[0][0].gate_set.source == "resampled"


def test_gates_grow_where_asked(run, csv, solved):
    code, out, _ = run(*PLAIN, "--data", csv, "--grow", "--json")
    history = pure_json(out)["result"]["history"]
    assert code == 0
    assert solved[0][1]["gates"] == "grow"
    assert {step[0] for step in history[1:]} == {"grown"}
    assert history[-1][2] < history[0][2]


def test_grown_gates_are_compared_with_the_first_ones(run, csv):
    out = run(*PLAIN, "--data", csv, "--grow")[1]
    report = pure_json(run(*PLAIN, "--data", csv, "--grow", "--json")[1])["result"]["report"]
    assert report["objective_below_given_programme_by"] > 0.0
    assert f"The optimum on the gates first given is at least {report['given_programme_at_least']:.8g}" in out
    assert "The optimum on the gates first given" not in run(*PLAIN, "--data", csv)[1]


def test_gates_follow_the_seed_unless_they_have_one_of_their_own(run, csv, solved):
    for seeds in (["--seed", 3], ["--seed", 3, "--gate-seed", 4]):
        code, out, _ = run(*PLAIN, "--data", csv, *seeds, "--json")
        assert code == 0
        assert pure_json(out)["split"]["seed"] == 3
        assert pure_json(out)["parameters"]["seed"] == seeds[-1]
    (same, _), (other, _) = solved
    assert (same.seed, other.seed) == (3, 4)
    assert np.array_equal(same.X, other.X)
    assert not np.array_equal(same.gate_set.vectors, other.gate_set.vectors)


def test_json_holds_report_history_and_brackets(run, csv):
    code, out, _ = run(*ROBUST, "--data", csv, "--regate", 1, "--json")
    found = pure_json(out)
    assert code == 0
    assert found["parameters"] == {
        "norm": "inf", "seed": 0, "radius": 0.1, "beta": 0.01, "n_gates": 6, "regate": 1,
    }  # fmt: skip
    report, history, accuracy = found["result"]["report"], found["result"]["history"], found["accuracy"]
    assert report["gates"] == 6 - report["gates_duplicate"] - report["gates_empty"]
    assert {name: type(report[name]) for name in ("gates", "slots", "network_objective_at_most")} == {
        "gates": int, "slots": int, "network_objective_at_most": float,
    }  # fmt: skip
    assert report["network_objective_at_least"] <= report["network_objective_at_most"]
    assert [step[0] for step in history] == ["given", "regated"]
    assert set(accuracy) == {
        f"{part}_{kind}" for part in ("train", "test") for kind in ("clean", "certified", "attacked")
    }
    for part in ("train", "test"):
        assert accuracy[f"{part}_certified"] <= accuracy[f"{part}_attacked"] <= accuracy[f"{part}_clean"]


SDP = ["--problem", "standard-sdp"]
CONVEX = ["--problem", "convex-relu"]
ADVERSARIAL = ["--problem", "adversarial-relu", "--radius", "0.1"]
REFUSED = [
    ([*SDP, "--norm", "2"], "takes no --norm; it takes --beta, --loss, --activation, --class-weight, --weight-column."),
    ([*SDP, "--n-gates", "5", "--bias"], "takes no --n-gates, --bias; it takes"),
    ([*SDP, "--gate-seed", "5"], "takes no --gate-seed; it takes"),
    ([*SDP, "--no-bias"], "takes no --bias; it takes"),
    ([*SDP, "--regate", "0"], "takes no --regate; it takes"),
    ([*SDP, "--grow"], "problem 'standard-sdp' has no gates, so --grow does not apply"),
    ([*CONVEX, "--radius", "1"], "problem 'convex-relu' takes no --radius; it takes --beta, --loss, --formulation,"),
    ([*CONVEX, "--norm", "2"], "takes no --norm; it takes"),
    ([*CONVEX, "--bound", "separate"], "takes no --bound; it takes"),
    ([*CONVEX, "--resample"], "takes no --resample; it takes --beta, --loss, --formulation, --n-gates, --gate-seed,"),
    (["--problem", "adversarial-relu"], "problem 'adversarial-relu' needs --radius; give a value."),
    ([*ADVERSARIAL, "--activation", "1", "1", "1"], "takes no --activation; it takes --radius, --norm, --bound,"),
    ([*ADVERSARIAL, "--norm", "3"], "unknown norm '3'; known: 1, 2, inf"),
    ([*ADVERSARIAL, "--norm", "2.0"], "unknown norm '2.0'; known: 1, 2, inf"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=lambda value: " ".join(value)[:50])
def test_options_that_a_family_does_not_take_are_refused_before_any_work(run, csv, monkeypatch, arguments, message):
    monkeypatch.setattr(training, "load_dataset", lambda *_: pytest.fail("read the data first"))
    code, out, err = run("solve", "--data", csv, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*ADVERSARIAL, "--formulation", "convex"], "unknown formulation 'convex'; known: cone, gated, one-sided"),
        ([*ADVERSARIAL, "--bound", "tight"], "unknown bound 'tight'; known: mixed, separate, soft-cone"),
        ([*ADVERSARIAL, "--formulation", "cone", "--regate", "1"], "regate=1 belongs to the one-sided formulation"),
        ([*ADVERSARIAL, "--n-gates", "0"], "n_gates is 0; expected a whole number of 1 or more"),
        ([*ADVERSARIAL, "--gate-seed", "-1"], "seed is -1; expected a whole number of 0 or more"),
        ([*CONVEX, "--multiclass", "vector-output"], "with a loss of targets, not with 'hinge'"),
        ([*CONVEX, "--multiclass", "softmax"], "unknown multiclass 'softmax'; known: one-versus-all, vector-output"),
        ([*CONVEX, "--loss", "squared"], "3 classes; choose another loss, or say how it fits labels: --multiclass one"),
        ([*SDP, "--loss", "squared"], "3 classes; choose another loss, or sort the rows into two classes"),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_values_that_make_no_problem_end_with_code_2(run, three, arguments, message):
    code, out, err = run("solve", "--data", three, *arguments)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_squared_loss_fits_two_classes_as_they_are(run, csv, tmp_path):
    path = tmp_path / "net.npz"
    code, out, _ = run(*PLAIN, "--data", csv, "--bias", "--loss", "squared", "--save", path, "--json")
    assert code == 0
    assert pure_json(out)["accuracy"]["train_clean"] > 0.8
    assert not ReLUNetwork.load(path).regression


@pytest.mark.parametrize("multiclass", ["one-versus-all", "vector-output"])
def test_squared_loss_fits_more_classes_where_it_is_told_how(run, three, tmp_path, multiclass):
    path = tmp_path / "net.npz"
    chosen = ["--bias", "--loss", "squared", "--multiclass", multiclass]
    code, out, _ = run(*PLAIN, "--data", three, *chosen, "--save", path, "--json")
    found, saved = pure_json(out), ReLUNetwork.load(path)
    assert code == 0
    assert len(found["result"]["parts"]) == (3 if multiclass == "one-versus-all" else 0)
    assert found["accuracy"]["train_clean"] > 0.7
    assert (saved.classes, saved.regression, saved.alpha.shape[1]) == (("blue", "green", "red"), False, 3)
    code, out, _ = run("evaluate", path, "--data", three, "--radius", 0.1, "--json")
    assert code == 0
    assert pure_json(out)["clean_accuracy"] == found["accuracy"]["test_clean"]


def test_rounds_of_one_versus_all_are_told_by_class(run, three):
    code, out, _ = run(*ROBUST, "--data", three, "--regate", 1)
    assert code == 0
    for colour in ("blue", "green", "red"):
        assert f"class {colour}: given gates" in out
    assert "The network's own training objective, worst attacks included, lies within [" in out


# -- evaluate -------------------------------------------------------------------------------------------------------


def test_the_saved_network_remembers_problem_and_attack(network):
    saved = ReLUNetwork.load(network)
    expected = {"problem": "adversarial-relu", "radius": 0.1, "norm": "inf", "n_gates": 6, "seed": 0, "split_seed": 0}
    assert {name: saved.metadata[name] for name in expected} == expected
    assert saved.bias
    assert saved.standardizer.names == ("width", "height")


def test_evaluate_finds_the_held_out_rows_and_reports_what_solve_reported(run, csv, tmp_path):
    path = tmp_path / "net.npz"
    solved = pure_json(run(*ROBUST, "--data", csv, "--bias", "--save", path, "--json")[1])["accuracy"]
    code, out, err = run("evaluate", path, "--data", csv, "--radius", 0.1, 0.3, "--json")
    found = pure_json(out)
    assert (code, err) == (0, "")
    assert (found["split"], found["rows"], found["norm"], found["median_distance"]) == ("test", 8, "inf", None)
    assert found["clean_accuracy"] == solved["test_clean"]
    near, far = found["robust_accuracy"]
    assert near == {"radius": 0.1, "certified": solved["test_certified"], "attacked": solved["test_attacked"]}
    assert far["certified"] <= far["attacked"] <= near["attacked"]


def test_the_table_of_evaluate_shows_a_bracket(run, csv, network):
    code, out, _ = run("evaluate", network, "--data", csv, "--radius", 0.1)
    assert code == 0
    for expected in (
        "net.npz on bent.csv: 8 rows",
        "linf radius",
        "certified accuracy (lower bound)",
        "attacked accuracy (upper bound)",
        "Robust accuracy is at least the certified and at most the attacked accuracy.",
        "Radii are in standard deviations of the training features.",
    ):
        assert expected in out
    assert "exact" not in out
    assert "proven" not in out
    assert "Median distance" not in out


def test_attacks_have_the_norm_asked_for_else_that_of_training(run, csv, tmp_path):
    trained_for_2, plain = tmp_path / "two.npz", tmp_path / "plain.npz"
    run(*ROBUST, "--data", csv, "--norm", 2, "--save", trained_for_2)
    run(*PLAIN, "--data", csv, "--save", plain)
    dataset, radii = load_dataset(csv), [0.6, 1.0]
    for path, asked, expected in ((trained_for_2, [], 2), (plain, [], "inf"), (trained_for_2, ["--norm", 1], 1)):
        code, out, _ = run("evaluate", path, "--data", csv, "--radius", *radii, "--split", "all", *asked, "--json")
        found, saved = pure_json(out), ReLUNetwork.load(path)
        rows = dataset.X, training.in_network_terms(dataset, saved).y, radii
        assert (code, found["norm"]) == (0, expected)
        accuracies = found["robust_accuracy"]
        assert [row["certified"] for row in accuracies] == saved.certified_accuracy(*rows, expected).tolist()
        assert [row["attacked"] for row in accuracies] == saved.attacked_accuracy(*rows, expected).tolist()
        if expected != "inf":
            assert saved.attacked_accuracy(*rows, expected).tolist() != saved.attacked_accuracy(*rows, "inf").tolist()


def test_exact_settles_what_the_bounds_leave_open(run, csv, network, monkeypatch):
    saved, dataset = ReLUNetwork.load(network), load_dataset(csv)
    rows = training.in_network_terms(dataset, saved)
    worst = saved.exact_worst_case(rows.X, rows.y, 0.3, "inf")
    truth = float(np.mean(worst.lower > 0.0))
    # Bounds that certify nothing leave every row that no attack turns to the proofs.
    monkeypatch.setattr(certificates, "lower_margins", lambda network, X, *_: np.full(len(X), -1.0))
    evaluate = ["evaluate", network, "--data", csv, "--radius", 0.3, "--split", "all", "--exact"]
    code, out, _ = run(*evaluate, "--json")
    (found,) = pure_json(out)["robust_accuracy"]
    assert code == 0
    assert 0.0 < truth < 1.0
    assert found["certified"] == 0.0
    assert found["exact"] == {"at_least": truth, "at_most": truth, "rows_proven": 40, "rows": 40}
    code, out, _ = run(*evaluate)
    assert code == 0
    assert "rows proven" in out
    assert "40 of 40" in out
    clean = next(line for line in out.splitlines() if "0 (clean)" in line)
    assert clean.split("│")[-2].strip() == ""


def test_rows_that_run_out_of_time_are_not_proven(run, csv, network, monkeypatch):
    limits, prove = [], ReLUNetwork.exact_worst_case

    def prove_no_other(self, X, y, radius, norm, *, time_limit):
        limits.append(time_limit)
        found = prove(self, X, y, radius, norm)
        return replace(found, lower=np.where(np.arange(len(X)) == 0, found.lower, -np.inf))

    monkeypatch.setattr(ReLUNetwork, "exact_worst_case", prove_no_other)
    monkeypatch.setattr(certificates, "lower_margins", lambda network, X, *_: np.full(len(X), -1.0))
    code, out, _ = run(
        *["evaluate", network, "--data", csv, "--radius", 0.1, 0.2, "--split", "all", "--exact", "--time-limit", 6000],
        "--json",
    )
    assert code == 0
    for found in pure_json(out)["robust_accuracy"]:
        exact = found["exact"]
        assert exact["at_least"] == pytest.approx(1 / 40)
        assert exact["at_most"] == found["attacked"] > 0.5
        assert exact["rows_proven"] == 40 - round(40 * exact["at_most"]) + 1
    assert 0.0 < limits[0] <= 3000.0 < limits[1] <= 6000.0  # what one radius leaves is the next one's


def test_exact_at_radius_zero_is_the_clean_accuracy(run, csv, network):
    saved = ReLUNetwork.load(network)
    # Without neurons the output is 0 everywhere: the label is +1, though no margin is above 0.
    saved.replace(u=saved.u[:0], alpha=saved.alpha[:0], slots=()).save(network)
    found = pure_json(run("evaluate", network, "--data", csv, "--radius", 0, "--exact", "--json")[1])
    assert found["clean_accuracy"] == 0.5
    assert found["robust_accuracy"][0]["exact"] == {"at_least": 0.5, "at_most": 0.5, "rows_proven": 8, "rows": 8}


def test_a_polynomial_network_keeps_its_exact_answers(run, csv, polynomial):
    plain = run("evaluate", polynomial, "--data", csv, "--radius", 0.1, "--json")
    named = run("evaluate", polynomial, "--data", csv, "--radius", 0.1, "--norm", 2, "--json")
    assert plain == named
    found = pure_json(plain[1])
    assert found["norm"] == 2
    assert set(found["robust_accuracy"][0]) == {"radius", "accuracy"}
    assert found["median_distance"] > 0.0
    _, out, _ = run("evaluate", polynomial, "--data", csv, "--radius", 0.1)
    assert "exact robust accuracy" in out
    assert "l2 radius" in out


@pytest.mark.parametrize("norm", ["inf", 1])
def test_a_polynomial_network_has_brackets_in_other_norms(run, csv, polynomial, norm):
    code, out, err = run("evaluate", polynomial, "--data", csv, "--radius", 0, 0.1, 0.5, "--norm", norm, "--json")
    assert (code, err) == (0, "")
    found = pure_json(out)
    brackets = found["robust_accuracy"]
    assert [set(bracket) for bracket in brackets] == [{"radius", "certified", "attacked"}] * 3
    assert all(bracket["certified"] <= bracket["attacked"] for bracket in brackets)
    assert brackets[0]["certified"] == brackets[0]["attacked"] == found["clean_accuracy"]
    assert found["median_distance"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["POLY", "--exact"], "whose accuracies under l2 attacks are exact anyway, and bounds in other norms; leave"),
        (["NET", "--norm", "l2"], "unknown norm 'l2'; known: 1, 2, inf"),
        (["NET", "--time-limit", "5"], "--time-limit limits the proofs of --exact; give both, or neither"),
        (["NET", "--exact", "--time-limit", "0"], "time_limit is 0.0; expected seconds above 0"),
        (["NEW"], "holds a network of kind 'spline' in format 1, but this version reads 'polynomial' and 'relu' up to"),
        (["BARE"], "is not a network saved by cvxrobust"),
        (["CSV"], "is not a network saved by cvxrobust"),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_bad_input_to_evaluate_ends_with_code_2(run, csv, network, polynomial, tmp_path, arguments, message):
    new, bare = tmp_path / "new.npz", tmp_path / "bare.npz"
    np.savez(new, header=np.array(json.dumps({"kind": "spline", "format": 1})), u=np.eye(2), alpha=np.ones(2))
    np.savez(bare, u=np.eye(2))
    places = {"NET": network, "POLY": polynomial, "NEW": new, "BARE": bare, "CSV": csv}
    code, out, err = run("evaluate", "--data", csv, "--radius", 0.1, *(places.get(a, a) for a in arguments))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err


def test_damaged_networks_are_refused_without_a_traceback(run, csv, network):
    network.write_bytes(network.read_bytes()[:200])
    code, _, err = run("evaluate", network, "--data", csv, "--radius", 0.1)
    assert code == 2
    assert "net.npz" in err


# -- the main job ---------------------------------------------------------------------------------------------------


def test_the_networks_of_the_main_job_have_the_same_gates_and_rows(csv, tmp_path, monkeypatch, solved):
    monkeypatch.setattr(setting, "DATA", str(csv))
    for network in breast_cancer_relu.NETWORKS:
        breast_cancer_relu.train_for(network, tmp_path, quiet=True)
    first, *others = (problem for problem, _ in solved)
    assert first.gate_set.asked == 20
    assert [problem.formulation for problem in others] == ["cone", "one-sided"]
    assert all((problem.radius == 0.05).all() and problem.norm == "inf" for problem in others)
    for problem in others:
        assert np.array_equal(problem.gate_set.patterns, first.gate_set.patterns)
        assert np.array_equal(problem.X, first.X)


def test_the_band_of_the_picture_holds_between_the_radii_too(csv, network):
    saved = ReLUNetwork.load(network)
    _, test = stratified_split(load_dataset(csv), 0.5)
    rows = training.in_network_terms(test, saved)
    drawn = robustness.bracketed_accuracies(saved, rows, (0.0, 0.3, 0.8, 2.0), "inf")
    x, low, high = breast_cancer_relu.band(drawn)
    assert low[-1] < high[-1] < low[0]  # else the test would say little
    for radius in (0.05, 0.15, 0.4, 0.7, 1.0, 1.5):
        (between,) = robustness.bracketed_accuracies(saved, rows, (radius,), "inf")
        k = np.searchsorted(x, radius)
        assert low[k] == low[k - 1] <= 100.0 * between.certified
        assert high[k] == high[k - 1] >= 100.0 * between.attacked


def test_a_network_without_neurons_is_said_to_be(csv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(setting, "DATA", str(csv))
    entry = breast_cancer_relu.train_for(breast_cancer_relu.NETWORKS[1], tmp_path, quiet=True)
    train = entry.training.train
    problem = cvxrobust.ConvexReLU(train.X, np.where(train.y == "yes", 1.0, -1.0))
    trained = replace(entry.training, result=replace(entry.training.result, network=problem.trivial_network()))
    breast_cancer_relu.report([replace(entry, training=trained)])
    assert "cone form: no neurons, so the output is 0" in capsys.readouterr().out


@pytest.mark.parametrize("problem", ["standard-sdp", "convex-relu"])
def test_wide_data_is_said_to_be_solved_in_the_span_of_its_rows(run, tmp_path, problem):
    rows = np.random.default_rng(0).normal(size=(6, 40))
    header = ",".join([f"x{k}" for k in range(40)] + ["label"])
    lines = [",".join(map(repr, row.tolist())) + f",{'ab'[k % 2]}" for k, row in enumerate(rows)]
    path = tmp_path / "wide.csv"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    _, out, _ = run("solve", "--problem", problem, "--data", path, "--backend", "clarabel", "--quiet")
    assert "solved in the span of the rows" in out
    assert "of 40 inputs" in out
