"""Classifiers that choose their own hyperparameters: by what is proved of rows that they were not trained on."""

import io
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import parallel_config
from matplotlib.figure import Figure
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cvxrobust import (
    AdversarialSDP,
    InputError,
    PolynomialClassifierCV,
    PolynomialRegressorCV,
    ReLUClassifierCV,
    ReLURegressorCV,
    Standardizer,
    Threat,
    UnknownNameError,
    evaluate_robustness,
    load,
    solve,
)
from cvxrobust.core.settings import Settings
from cvxrobust.problems.data.folds import splits
from cvxrobust.problems.model_selection.grids import Candidates
from cvxrobust.problems.model_selection.paths import GridPoint
from cvxrobust.problems.model_selection.surface import ScoreSurface

QUICK = {"search_tolerance": 1e-1, "tolerance": 1e-1, "backend": "clarabel", "warm": False}
SMALL = {"betas": (0.1, 0.01), "radius_factors": (0.0, 1.0), "cv": 2, "random_state": 3} | QUICK
RELU = {"gates": (2, 4), "formulation": "gated"} | SMALL
KINDS = pytest.mark.parametrize("make", [PolynomialClassifierCV, ReLUClassifierCV])


@parametrize_with_checks(
    [
        PolynomialClassifierCV(cv=2, **QUICK),
        ReLUClassifierCV(cv=2, gates=2, **QUICK),
        PolynomialRegressorCV(cv=2, **QUICK),
        ReLURegressorCV(cv=2, gates=2, **QUICK),
    ]
)
def test_it_keeps_the_conventions(estimator, check, monkeypatch):
    # Of training, which has tests of its own, conventions see the last one alone.
    monkeypatch.setattr("cvxrobust.problems.model_selection.search.along_grid", without_training)
    check(estimator)


def without_training(problem_at, betas, radii, way):
    for place in np.ndindex(len(betas), len(radii)):
        yield GridPoint(place, problem_at(betas[place[0]], radii[place[1]]).trivial_network(), 0.0)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = 3.0 + 10.0 * rng.standard_normal((40, 3))
    return X, np.where(X[:, 0] - X[:, 1] + 4.0 * rng.standard_normal(40) > 1.0, "yes", "no")


@pytest.fixture(scope="module")
def fitted(data):
    return PolynomialClassifierCV(threat_radius=0.3, **SMALL).fit(*data)


def options(make):
    return SMALL if make is PolynomialClassifierCV else RELU


def test_every_score_is_the_exact_accuracy_of_rows_that_neither_network_nor_statistics_have_seen(data):
    X, y = data
    cv = StratifiedKFold(2, shuffle=True, random_state=1)
    model = PolynomialClassifierCV(threat_radius=0.3, **SMALL | {"cv": cv}).fit(X, y)
    assert model.scores_.shape == (2, 2, 1, 2)
    for f, (train, held) in enumerate(cv.split(X, y)):
        scale = Standardizer.fit(X[train])
        for b, beta in enumerate((0.1, 0.01)):
            for r, radius in enumerate((0.0, 0.3)):
                problem = AdversarialSDP(scale.transform(X[train]), y[train], radius, beta=beta)
                result = solve(problem, "clarabel", settings=Settings(tolerance=1e-1))
                (exact,) = result.network.robust_accuracy(scale.transform(X[held]), y[held], [0.3])
                assert model.scores_[b, r, 0, f] == exact
    assert model.best_score_ == model.scores_.mean(axis=-1).max()
    assert model.best_params_ == {"beta": model.beta_, "radius": model.radius_}


def test_it_is_the_classifier_of_what_it_chose(data, fitted):
    X, y = data
    alone = clone(fitted.best_estimator_).fit(X, y)
    assert alone.decision_function(X).tobytes() == fitted.decision_function(X).tobytes()
    assert alone.get_params()["beta"] == fitted.beta_
    assert fitted.certificate_ == alone.result_.certificate
    np.testing.assert_array_equal(fitted.robust_score(X, y, [0.0, 0.3]), alone.robust_score(X, y, [0.0, 0.3]))
    report = fitted.evaluate_robustness(X, y)
    assert (report.radii[0], report.radii[-1]) == (0.0, 0.6)
    at = np.searchsorted(report.radii, 0.3)
    assert report.certified[at] == fitted.robust_score(X, y, 0.3) == report.attacked[at]


@KINDS
def test_weights_and_rows_that_come_again_choose_alike_to_the_last_bit(data, make):
    X, y = data
    weights = np.random.default_rng(3).integers(0, 4, y.size)
    rows = np.random.default_rng(4).permutation(np.repeat(np.arange(y.size), weights))
    given = options(make) | {"betas": 0.1, "radii": 0.1, "radius_factors": None, "threat_radius": 0.3}
    weighted = make(**given).fit(X, y, sample_weight=weights)
    repeated = make(**given).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, rtol=1e-12)
    assert weighted.best_params_ == repeated.best_params_
    assert weighted.decision_function(X).tobytes() == repeated.decision_function(X).tobytes()


def test_class_weights_are_those_of_each_fold(data):
    X, y = data
    given = SMALL | {"betas": 0.1, "radii": 0.0, "radius_factors": None, "cv": [(np.arange(30), np.arange(30, 40))]}
    share = (y[:30] == "yes").sum() / (y[:30] == "no").sum()
    balanced, by_hand = (
        PolynomialClassifierCV(class_weight=weight, refit=False, **given | {"search_tolerance": 1e-6}).fit(X, y)
        for weight in ("balanced", {"yes": 1.0, "no": share})
    )
    np.testing.assert_array_equal(balanced.scores_, by_hand.scores_)
    with pytest.raises(ValueError, match=r"class_weight names \['Yes'\], which no row is labelled"):
        PolynomialClassifierCV(class_weight={"Yes": 2.0}).fit(X, y)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_features_have_names_and_attacks_their_shape_even_if_trained_against_none(data, frame, tmp_path):
    X, y = data
    table = frame({name: X[:, k] for k, name in enumerate(("age", "bmi", "size"))})
    asked = {"immutable": ["age"], "scale": {"bmi": 2.0}, "attack_units": "data", "threat_radius": 3.0}
    model = PolynomialClassifierCV(**SMALL | {"betas": 0.1, "radius_factors": 0.0}, **asked).fit(table, y)
    assert model.radius_ == 0.0
    assert model.attack_reach_ == pytest.approx([0.0, 6.0, 3.0])
    rows = np.asarray(table)
    moved = model.network_.worst_case(rows, y, 3.0).points - rows
    assert not moved[:, 0].any()
    assert np.abs(moved[:, 1]).max() > 3.0
    assert model.robust_score(table, y, 3.0) == model.network_.robust_accuracy(rows, y, 3.0)
    with pytest.raises(InputError, match="did you mean 'age'"):
        PolynomialClassifierCV(immutable=["aeg"]).fit(table, y)
    model.network_.save(tmp_path / "net.npz")
    assert load(tmp_path / "net.npz").robust_accuracy(rows, y, [3.0]) == model.robust_score(table, y, 3.0)


@KINDS
@pytest.mark.parametrize("norm", [2, "inf", 1])
def test_scores_are_proofs_in_every_norm(data, make, norm):
    X, y = data
    model = make(threat_radius=0.2, norm=norm, **options(make) | {"betas": 0.1}).fit(X, y)
    report = evaluate_robustness(model, X, y, Threat(norm), [0.2], steps=5)
    assert model.robust_score(X, y, 0.2) == report.certified
    assert report.certified <= report.attacked


def test_radii_of_threats_in_other_norms_lie_between_balls_inside_and_around(data):
    model = PolynomialClassifierCV(threat_radius=0.2, norm="inf", betas=1, cv=2, refit=False, **QUICK).fit(*data)
    assert model.surface_.candidates.radii == pytest.approx((0.0, 0.2, 0.2 * 3**0.25, 0.2 * 3**0.5))
    model.set_params(norm=1, immutable=[0]).fit(*data)
    assert model.surface_.candidates.radii == pytest.approx((0.0, 0.2 * 2**-0.5, 0.2 * 2**-0.25, 0.2))


def test_numbers_of_gates_are_chosen_as_well(data):
    X, y = data
    model = ReLUClassifierCV(threat_radius=0.1, **RELU).fit(X, y)
    assert model.scores_.shape == (2, 2, 2, 2)
    assert model.surface_.candidates.gates == (2, 4)
    assert model.n_gates_ == model.best_estimator_.n_gates == model.best_params_["n_gates"]
    certified, attacked = model.certified_score(X, y, [0.1]), model.attacked_score(X, y, [0.1])
    assert certified <= attacked
    alone = clone(model.best_estimator_).fit(X, y)
    assert alone.decision_function(X).tobytes() == model.decision_function(X).tobytes()


def test_gates_are_those_of_the_classifier_where_nobody_gives_others(data):
    model = ReLUClassifierCV(**RELU | {"gates": None, "betas": 0.1, "radius_factors": 0.0, "refit": False}).fit(*data)
    assert model.surface_.candidates.gates == (10,)
    assert model.surface_.candidates.radii == (0.0,)


def test_three_classes_are_told_apart_and_a_fold_may_lack_one():
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 8)
    X = rng.standard_normal((24, 2)) + 4.0 * np.repeat([[0, 0], [1, 0], [0, 1]], 8, axis=0)
    whole = PolynomialClassifierCV(threat_radius=0.1, betas=0.1, radii=0.1, cv=2, **QUICK).fit(X, y)
    assert whole.score(X, y) > 0.8
    assert whole.decision_function(X).shape == (24, 3)
    without = PolynomialClassifierCV(betas=0.1, refit=False, cv=[(np.arange(16), np.arange(8, 24))], **QUICK).fit(X, y)
    assert without.scores_.max() <= 0.5


def test_points_that_are_not_certified_are_scored_and_named(data):
    given = QUICK | {"betas": 0.1, "radii": 0.2, "cv": 2, "refit": False, "search_tolerance": 1e-15}
    model = PolynomialClassifierCV(**given)
    said = r"2 of 2 trainings were not certified to 1e-15 .*: beta 0\.1, radius 0\.2, fold 0, gap .*e-.*; beta 0\.1"
    with pytest.warns(ConvergenceWarning, match=said):
        model.fit(*data)
    assert (model.scores_ > 0.5).all()
    assert [one["fold"] for one in model.surface_.uncertified] == [0, 1]


def test_it_is_an_estimator_like_others(data, fitted):
    X, y = data
    again = pickle.loads(pickle.dumps(fitted))
    assert again.decision_function(X).tobytes() == fitted.decision_function(X).tobytes()
    np.testing.assert_array_equal(again.surface_.scores, fitted.surface_.scores)
    assert clone(fitted).get_params() == fitted.get_params()
    line = make_pipeline(MinMaxScaler(), PolynomialClassifierCV(**SMALL | {"betas": 0.1}))
    search = GridSearchCV(line, {"polynomialclassifiercv__threat_radius": [0.0, 0.3]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.5


def test_several_folds_at_a_time_find_the_same(data, fitted):
    with parallel_config(backend="threading"):
        together = clone(fitted).set_params(n_jobs=2, refit=False).fit(*data)
    np.testing.assert_array_equal(together.scores_, fitted.scores_)


@KINDS
def test_paths_score_what_points_score_one_by_one_and_go_on_where_they_were_ended(data, make, tmp_path):
    given = options(make) | {"threat_radius": 0.3, "search_tolerance": 1e-7, "refit": False}
    alone = make(**given).fit(*data)
    path = make(**given | {"warm": True, "folder": tmp_path / "kept"}).fit(*data)
    # Several networks belong to an optimum of the gated form.
    most = 0.0 if make is PolynomialClassifierCV else 0.1
    np.testing.assert_allclose(path.scores_, alone.scores_, rtol=0.0, atol=most + 1e-12)
    assert path.surface_.uncertified == ()
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "kept").rglob("*.npz")}
    assert len(kept) == path.scores_.size
    again = clone(path).fit(*data)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "kept").rglob("*.npz")} == kept
    np.testing.assert_array_equal(again.scores_, path.scores_)
    with pytest.raises(InputError, match=r"folder .*kept keeps the points of paths, but warm=False"):
        clone(path).set_params(warm=False).fit(*data)
    X = data[0].copy()
    X[0] += 1.0
    with pytest.raises(InputError, match="folder"):
        clone(path).fit(X, data[1])


def test_without_a_last_training_there_is_a_choice_and_no_network(data):
    model = PolynomialClassifierCV(refit=False, **SMALL).fit(*data)
    assert set(model.best_params_) == {"beta", "radius"}
    with pytest.raises(NotFittedError, match=r"refit=False, so there is no network; .*best_params_ = \{'beta'"):
        model.predict(data[0])
    model.set_params(refit=True).fit(*data).predict(data[0])
    with pytest.raises(InputError, match=r"radii hold -0\.1; expected finite values of 0 or more"):
        model.robust_score(*data, -0.1)
    with pytest.raises(NotFittedError):  # the network of an earlier fit is none of this one
        model.set_params(refit=False).fit(*data).predict(data[0])


def surface(means, folds=((0.0, 0.0),), gates=()):
    """Scores with these means, shape (B, R, G), and deviations over two folds."""
    means = np.array(means)
    scores = means[..., None] + np.array(folds).reshape(-1, 1, 1, 2)
    candidates = Candidates((0.1, 0.01)[: means.shape[0]], (0.0, 0.3)[: means.shape[1]], gates)
    return ScoreSurface(candidates, scores, np.zeros(scores.shape), 1e-3, np.ones((1, 2)))


def test_of_points_that_score_alike_the_simplest_is_chosen():
    assert surface([[[0.8], [0.8]], [[0.8], [0.8]]]).best() == (0, 1, 0)
    assert surface([[[0.8, 0.8]], [[0.8, 0.8]]], gates=(5, 9)).best() == (0, 0, 0)
    assert surface([[[0.7], [0.8]], [[0.9], [0.8]]]).best() == (1, 0, 0)


def test_the_rule_of_one_standard_error_takes_the_simplest_within_that_of_the_best():
    spread = ((-0.2, 0.2), (-0.1, 0.1))  # standard errors .2 and .1
    found = surface([[[0.79], [0.81]], [[0.9], [0.85]]], spread)
    assert found.standard_errors[1, 0, 0] == pytest.approx(0.1)
    assert found.best("one-standard-error") == (0, 1, 0)
    assert surface([[[0.79], [0.79]], [[0.9], [0.85]]], spread).best("one-standard-error") == (1, 1, 0)
    with pytest.raises(UnknownNameError, match=r"unknown rule 'one-se'; known: best, one-standard-error"):
        found.best("one-se")


ALL = np.ones(12, dtype=bool)
LABELS = np.arange(12) % 2


def test_rows_that_come_again_and_groups_stay_together():
    X = np.repeat(np.random.default_rng(0).standard_normal((6, 2)), 2, axis=0)
    labels = np.repeat(np.arange(6) % 2, 2)
    for train, held in splits(3, X, labels, ALL, None, 0):
        assert {*train // 2} & {*held // 2} == set()
        assert sorted([*train, *held]) == list(range(12))
        assert sorted(labels[held]) == [0, 0, 1, 1]
    groups = np.arange(12) // 4
    for train, held in splits(3, np.arange(24.0).reshape(12, 2), LABELS, ALL, groups, 0):
        assert {*groups[train]} & {*groups[held]} == set()
    assert len(splits(LeaveOneGroupOut(), X, labels, ALL, groups, 0)) == 3


def test_folds_do_not_depend_on_the_order_of_rows_or_on_those_that_do_not_count():
    X, order = np.random.default_rng(1).standard_normal((12, 2)), np.random.default_rng(2).permutation(12)
    counted = np.arange(12) != 5

    def sides(pairs, rows):
        return [{*X[rows[held], 0]} for _, held in pairs]

    straight = splits(3, X, LABELS, counted, None, 0)
    assert sides(straight, np.arange(12)) == sides(splits(3, X[order], LABELS[order], counted[order], None, 0), order)
    assert all(5 not in [*train, *held] for train, held in straight)


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ([[0.5, 0.6], [0.5, 0.7], [0.5, 0.9]], ("beta 0.01 is the smallest", "training radius 0.2 is the largest")),
        ([[0.5, 0.9], [0.5, 0.7], [0.5, 0.6]], ("beta 1 is the largest", "training radius 0.2 is the largest")),
        ([[0.5, 0.9], [0.5, 0.9], [0.5, 0.6]], ("training radius 0.2 is the largest",)),
        ([[0.5, 0.5], [0.9, 0.7], [0.5, 0.6]], ()),
        ([[0.5, 0.5], [0.9, 0.9], [0.5, 0.6]], ()),
    ],
    ids=["smallest", "largest", "as good inside", "radius 0", "radii alike"],
)
def test_a_best_point_at_an_end_of_the_grid_is_said(means, said):
    scores = np.array(means)[:, :, None, None]
    surface = ScoreSurface(Candidates((1.0, 0.1, 0.01), (0.0, 0.2)), scores, 0.0 * scores, 1e-3, np.ones((1, 1)))
    assert surface.at_ends == tuple(f"{one} that was tried" for one in said)
    assert surface.to_dict()["at_ends"] == list(surface.at_ends)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"betas": [0.1, 0.0]}, r"betas are \[0\.1, 0\.0\]; expected finite numbers above 0"),
        ({"betas": 0}, r"betas is 0; expected how many to try"),
        ({"radii": [-0.1]}, r"the radii to train at are \[-0\.1\]; expected finite numbers of 0 or more"),
        ({"radii": [0.1], "radius_factors": [1.0]}, r"radii and radius_factors are given"),
        ({"threat_radius": -1.0}, r"threat_radius is -1\.0; expected one finite number of 0 or more"),
        ({"threat_radius": [0.1, 0.2]}, r"threat_radius is \[0\.1, 0\.2\]; expected one finite number"),
        ({"rule": "median"}, r"unknown rule 'median'; known: best, one-standard-error"),
        ({"norm": 3}, r"norm"),
        ({"cv": 1}, r"cv is 1; expected at least 2 folds"),
        ({"cv": "five"}, r"cv is 'five'; expected how many folds, a splitter"),
        ({"cv": [([0, 1], [40])]}, r"cv makes indices that are none of 40 rows"),
        ({"cv": [([], [1])]}, r"cv makes a fold without rows to train on or to judge"),
        ({"cv": 30}, r"has \d+ different rows, but cv is 30 folds with some of each class"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_work(data, given, said, monkeypatch):
    monkeypatch.setattr("cvxrobust.problems.model_selection.paths.solve", None)
    with pytest.raises(InputError, match=said):
        PolynomialClassifierCV(**given).fit(*data)


def test_numbers_of_gates_are_whole(data):
    with pytest.raises(InputError, match=r"gates are \[2\.5\]; expected whole numbers above 0"):
        ReLUClassifierCV(gates=[2.5]).fit(*data)


def test_a_fitted_classifier_draws_its_surface(fitted):
    figure = Figure()
    axes = fitted.plot_surface(figure.add_subplot())
    b, r, _ = fitted.best_index_
    assert axes.patches[0].get_xy() == (r - 0.5, b - 0.5)
    words = [text.get_text() for text in axes.texts]
    assert len(words) == fitted.surface_.means[..., 0].size
    assert f"{100.0 * fitted.best_score_:.1f}" in words[b * len(fitted.surface_.candidates.radii) + r]
    figure.savefig(io.BytesIO(), format="png")
    with pytest.raises(NotFittedError):
        PolynomialClassifierCV(threat_radius=0.1).plot_surface()
