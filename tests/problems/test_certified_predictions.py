"""What fitted estimators say of attacks row by row: labels, radii and intervals, in whose units, and who abstains."""

import copy
import pickle
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine

from cvxrobust import (
    AdversarialReLU,
    InputError,
    PolynomialClassifier,
    PolynomialClassifierCV,
    PolynomialRegressor,
    PolynomialRegressorCV,
    ReLUClassifier,
    ReLUClassifierCV,
    ReLURegressor,
    ReLURegressorCV,
    Threat,
    solve,
)
from cvxrobust.core.robustness.label_proofs import LabelProofs

QUICK = {"tolerance": 1e-1, "backend": "clarabel"}
RELU = QUICK | {"n_gates": 5}
UNITS = np.array([1.0, 100.0, 1e-7])
KINDS = {"polynomial": (PolynomialClassifier, QUICK), "relu": (ReLUClassifier, RELU)}
REGRESSORS = {"polynomial": (PolynomialRegressor, QUICK), "relu": (ReLURegressor, RELU)}


@cache
def data():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((50, 3))
    score = Z @ [1.0, 1.0, -0.5] + 0.2 * rng.standard_normal(50)
    return 3.0 + Z * UNITS, np.where(score > 0.0, "yes", "no"), score


@cache
def classifier(kind, norm, units="standardized", radius=0.2, **more):
    make, quick = KINDS[kind]
    X, y, _ = data()
    return make(radius=radius, norm=norm, attack_units=units, **quick, **more).fit(X, y)


def moves(norm, rng, shape):
    """Attacks of radius 1, many at the end of what is allowed, in the units of standard deviations."""
    for _ in range(60):
        g = rng.standard_normal(shape)
        if norm == "inf":
            yield np.sign(g)
        elif norm == 1:
            yield np.sign(g) * (np.abs(g) == np.abs(g).max(axis=1, keepdims=True))
        else:
            yield g / np.linalg.norm(g, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "norm"), [("polynomial", 2), ("polynomial", "inf"), ("relu", 2), ("relu", "inf"), ("relu", 1)]
)
def test_no_attack_changes_a_certified_label(kind, norm):
    X = data()[0]
    model = classifier(kind, norm)
    labels, certified = model.predict_certified(X)
    np.testing.assert_array_equal(labels, model.predict(X))
    assert 0.3 < certified.mean() < 1.0
    radius, scale = model.certified_radius(X), model.network_.standardizer.scale
    assert model.predict_certified(X, radius).certified.all()
    for move in moves(norm, np.random.default_rng(1), X.shape):
        near = model.predict(X + (0.999 * np.minimum(radius, 1e6))[:, None] * move * scale)
        np.testing.assert_array_equal(near, labels)


def test_in_l2_a_little_beyond_the_radius_there_is_an_attack():
    X, _, _ = data()
    model = classifier("polynomial", 2)
    radius, y = model.certified_radius(X), model.predict(X)
    worst = model.network_.worst_case(X, y, 1.001 * radius).points
    assert (model.predict(worst) != y).all()
    np.testing.assert_allclose(np.linalg.norm((worst - X) / model.network_.standardizer.scale, axis=1), 1.001 * radius)
    np.testing.assert_array_equal(model.predict_certified(X, 0.2).certified, radius >= 0.2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("radius", [0.0, 1e-8])
def test_radii_are_in_the_datas_units_where_these_are_asked_for(kind, radius):
    X, _, _ = data()
    immutable = (0, 1)
    model = classifier(kind, "inf" if kind == "relu" else 2, "data", radius, immutable=immutable)
    found = model.certified_radius(X)
    assert np.isfinite(found).sum() > 20
    moved = X.copy()
    for sign in (-1.0, 1.0):
        moved[:, 2] = X[:, 2] + sign * np.minimum(0.999 * found, 1e3)
        np.testing.assert_array_equal(model.predict(moved), model.predict(X))
    if kind == "polynomial":
        beyond = [X + sign * np.outer(np.where(np.isfinite(found), 1.001 * found, 0.0), [0, 0, 1]) for sign in (-1, 1)]
        changed = np.any([model.predict(points) != model.predict(X) for points in beyond], axis=0)
        np.testing.assert_array_equal(changed, np.isfinite(found))
    assert model.attack_reach_ == pytest.approx([0.0, 0.0, radius])
    assert model.threat_.on(np.zeros((1, 3))).ball.pushed(np.ones(1))[2] == pytest.approx(1e7, rel=0.5)


@pytest.mark.parametrize("load", [load_iris, load_wine])
@pytest.mark.parametrize("how", ["one-versus-all", "joint"])
def test_of_several_classes_every_rival_counts(load, how):
    X, y = load(return_X_y=True)
    X, y = X[::4, :5], y[::4]
    model = PolynomialClassifier(radius=0.2, multiclass=how, **QUICK)
    model.fit(X, y)
    radius, labels = model.certified_radius(X), model.predict(X)
    assert model.predict_certified(X, radius).certified.all()
    worst = model.network_.worst_case(X, labels, 1.001 * radius).points
    assert (model.predict(worst) != labels).all()
    rng = np.random.default_rng(2)
    for move in moves(2, rng, X.shape):
        points = X + 0.999 * radius[:, None] * move * model.network_.standardizer.scale
        np.testing.assert_array_equal(model.predict(points), labels)


def test_who_is_not_certified_abstains():
    X, y, _ = data()
    model = classifier("polynomial", 2)
    labels, certified = model.predict_certified(X, 0.3, abstain="nobody knows")
    np.testing.assert_array_equal(labels[certified], model.predict(X)[certified])
    assert set(labels[~certified]) == {"nobody knows"}
    numbers = PolynomialClassifier(**QUICK).fit(X, y == "yes")
    for value, kind in ((-1, "i"), (np.nan, "f"), ("?", "O")):
        found = numbers.predict_certified(X, 0.3, abstain=value)
        assert found.labels.dtype.kind == kind
        assert found.labels[~found.certified].tolist() == pytest.approx([value] * (~found.certified).sum(), nan_ok=True)
        np.testing.assert_array_equal(found.labels[found.certified], numbers.predict(X)[found.certified])
    with pytest.raises(InputError, match=r"abstain is \[1, 2\]; expected one label"):
        model.predict_certified(X, abstain=[1, 2])


def test_every_row_may_be_asked_about_a_radius_of_its_own():
    X, y, _ = data()
    model, radii = classifier("polynomial", 2), np.linspace(0.0, 1.0, 50)
    np.testing.assert_array_equal(model.predict_certified(X, radii).certified, model.certified_radius(X) >= radii)
    with pytest.raises(InputError, match=r"radius has shape \(2,\); expected one number, or one per row of X"):
        model.predict_certified(X, [0.1, 0.2])
    with pytest.raises(InputError, match=r"radius is -1; expected a finite attack radius"):
        model.predict_certified(X, -1)
    rows = PolynomialClassifier(radius=radii, **QUICK).fit(X, y)
    with pytest.raises(InputError, match=r"fitted with a radius for each row, from 0 to 1, .*; expected radius, one"):
        rows.predict_certified(X)
    assert rows.predict_certified(X, 0.0).certified.all()


@pytest.mark.parametrize("kind", KINDS)
def test_without_attacks_all_is_certified(kind):
    X, y, _ = data()
    make, quick = KINDS[kind]
    model = make(radius=0.3, immutable=[0, 1, 2], **quick).fit(X, y)
    assert model.predict_certified(X, 1e9).certified.all()
    assert np.isinf(model.certified_radius(X)).all()
    assert make(**quick).fit(X, y).predict_certified(X).certified.all()


@pytest.mark.parametrize(("kind", "norm"), [("polynomial", 2), ("relu", 2), ("relu", "inf"), ("relu", 1)])
@pytest.mark.parametrize("units", ["data", "standardized"])
def test_predicted_numbers_stay_in_their_interval(kind, norm, units):
    X, _, score = data()
    make, quick = REGRESSORS[kind]
    model = make(radius=0.1, norm=norm, attack_units=units, scale=UNITS if units == "data" else None, **quick)
    model.fit(X, 7.0 + 30.0 * score)
    lower, upper = model.predict_interval(X)
    assert (lower < model.predict(X)).all()
    assert (model.predict(X) < upper).all()
    step = 0.1 * (UNITS if units == "data" else model.network_.standardizer.scale)
    reached = [model.predict(X + move * step) for move in moves(norm, np.random.default_rng(3), X.shape)]
    assert (np.min(reached, axis=0) >= lower - 1e-6).all()
    assert (np.max(reached, axis=0) <= upper + 1e-6).all()
    if kind == "polynomial":
        assert (np.ptp(reached, axis=0) > 0.7 * (upper - lower)).mean() > 0.9
    exact = model.predict_interval(X, 0.0)
    np.testing.assert_allclose(exact.lower, model.predict(X), rtol=1e-9)
    errors = np.maximum(upper - 7.0 - 30.0 * score, 7.0 + 30.0 * score - lower)
    asked = model.robust_errors if kind == "polynomial" else model.certified_errors
    np.testing.assert_allclose(asked(X, 7.0 + 30.0 * score, 0.1), errors, rtol=1e-9)
    worst = model.score(X, 7.0 + 30.0 * score, sample_radius=np.full(50, 0.1))
    assert worst == pytest.approx(1.0 - np.mean(errors**2) / np.var(30.0 * score))
    assert worst < model.score(X, 7.0 + 30.0 * score)


@pytest.mark.parametrize("norm", ["inf", 1])
def test_polynomial_regressors_are_judged_in_every_norm_and_trained_in_l2(norm):
    X, _, score = data()
    with pytest.raises(InputError, match=r"trained on real targets against l2 attacks and ellipsoids only; .*norm=2"):
        PolynomialRegressor(radius=0.1, norm=norm).fit(X, score)
    quick = QUICK | {"search_tolerance": 1e-1, "warm": False}
    model = PolynomialRegressorCV(threat_radius=0.2, norm=norm, betas=0.1, radii=0.1, cv=2, **quick).fit(X, score)
    lower, upper = model.predict_interval(X)
    for move in moves(norm, np.random.default_rng(4), X.shape):
        f = model.predict(X + 0.2 * move * model.network_.standardizer.scale)
        assert ((lower - 1e-9 <= f) & (f <= upper + 1e-9)).all()


def test_threats_of_searches_are_what_their_answers_are_about():
    X, y, _ = data()
    quick = QUICK | {"search_tolerance": 1e-1, "warm": False, "betas": 0.1, "radii": 0.1, "cv": 2}
    model = PolynomialClassifierCV(threat_radius=0.2, norm="inf", immutable=[1], **quick).fit(X, y)
    assert model.threat_.norm == "inf"
    certified = model.predict_certified(X).certified
    right = model.predict(X) == y
    assert (certified & right).mean() == model.robust_score(X, y, 0.2)
    report = model.evaluate_robustness(X, y, [0.2], Threat("inf", scale=[1.0, 0.0, 1.0]), steps=5)
    assert (certified & right).mean() == report.certified
    assert model.score(X, y, sample_radius=np.full(50, 0.2)) == report.certified


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_are_asked_about_by_their_names(frame):
    X, y, score = data()
    names = ["age", "bmi", "size"]
    table = frame({name: X[:, k] for k, name in enumerate(names)})
    target = frame({"y": y})["y"]  # a series of the same make
    model = PolynomialClassifier(radius=0.2, immutable="age", **QUICK).fit(table, target)
    assert model.feature_names_in_.tolist() == names
    plain = PolynomialClassifier(radius=0.2, immutable=0, **QUICK).fit(X, y)
    np.testing.assert_array_equal(model.certified_radius(table), plain.certified_radius(X))
    turned = frame({name: X[:, names.index(name)] for name in names[::-1]})
    for ask in (model.predict, model.decision_function, model.certified_radius, model.predict_certified):
        with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
            ask(turned)
    fitted = PolynomialRegressor(radius=0.1, **QUICK).fit(table, frame({"y": score})["y"])
    assert fitted.feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict_interval(turned)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_every_kind_answer_alike(kind):
    X, y, _ = data()
    model = classifier(kind, "inf" if kind == "relu" else 2)
    again = clone(model).fit(X, y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model), again):
        np.testing.assert_array_equal(other.certified_radius(X), model.certified_radius(X))
        assert other.certificate_ == model.certificate_
        assert other.n_iter_ == model.n_iter_ > 0
        np.testing.assert_array_equal(other.predict_certified(X).certified, model.predict_certified(X).certified)


def test_processes_are_given_estimators_and_hand_them_back():
    X, y, _ = data()
    found = Parallel(n_jobs=2)(delayed(PolynomialClassifier(radius=r, **QUICK).fit)(X, y) for r in (0.0, 0.2))
    np.testing.assert_array_equal(found[1].certified_radius(X), classifier("polynomial", 2).certified_radius(X))


def test_what_is_random_is_said_by_random_state_and_for_a_release_by_seed():
    X, y, score = data()
    first, other = (ReLUClassifier(random_state=k, **RELU).fit(X, y) for k in (0, 1))
    assert first.decision_function(X).tobytes() != other.decision_function(X).tobytes()
    with pytest.warns(FutureWarning, match="seed is now called random_state"):
        old = ReLUClassifier(seed=1, **RELU).fit(X, y)
    assert old.decision_function(X).tobytes() == other.decision_function(X).tobytes()
    drawn = [
        ReLURegressor(random_state=np.random.RandomState(5), **RELU).fit(X, score).predict(X).tobytes()
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    ReLURegressor(random_state=None, **RELU).fit(X, score)
    with pytest.raises(InputError, match="random_state is 'zero'; expected a whole number of 0 or more, below 2"):
        PolynomialClassifier(random_state="zero").fit(X, y)


@pytest.mark.parametrize("units", ["data", "standardized"])
def test_inputs_stay_in_their_range_which_is_the_datas_whatever_the_units(units):
    rng = np.random.default_rng(5)
    X = np.minimum(rng.exponential(1.0, (50, 3)), 2.0) * [1.0, 100.0, 1e-7]  # many rows at an end of the range
    y = np.where(X @ [1.0, 0.01, -1e7] > 0.2, "yes", "no")
    bounds, radius = ([0.0, 0.0, 0.0], [2.0, 200.0, 2e-7]), 0.1
    scale = [1.0, 100.0, 1e-7] if units == "data" else None
    given = QUICK | {"radius": radius, "norm": "inf", "attack_units": units, "scale": scale}
    free, ranged = (PolynomialClassifier(bounds=bounds if k else None, **given).fit(X, y) for k in range(2))
    assert ranged.certificate_.lower < free.certificate_.upper
    assert ranged.threat_.bounds == bounds
    wide = free.predict_certified(X, 0.3)
    free._threat = ranged.threat_  # the same network, judged in the range
    inside = free.predict_certified(X, 0.3)
    assert (inside.certified >= wide.certified).all()
    labels, certified = ranged.predict_certified(X, 0.3)
    step = 0.3 * (np.array(scale) if scale else ranged.network_.standardizer.scale)
    for move in moves("inf", rng, X.shape):
        points = np.clip(X + move * step, *bounds)
        np.testing.assert_array_equal(ranged.predict(points)[certified], labels[certified])
    right = labels == y
    assert ranged.robust_score(X, y, [0.3]) == (certified & right).mean()
    assert ranged.evaluate_robustness(X, y, [0.3], steps=5).certified == (certified & right).mean()
    with pytest.raises(InputError, match="rows of X, the first of them row 0, lie outside of bounds"):
        ranged.predict_certified(X + 1e3, 0.3)
    quick = QUICK | {"search_tolerance": 1e-1, "warm": False, "betas": 0.1, "radii": 0.1, "cv": 2}
    search = PolynomialClassifierCV(threat_radius=0.3, norm="inf", bounds=bounds, **quick).fit(X, y)
    assert search.threat_.bounds == bounds
    assert search.score(X, y, sample_radius=np.full(50, 0.3)) == search.robust_score(X, y, 0.3)


@pytest.mark.parametrize("units", ["data", "standardized"])
def test_relu_networks_are_trained_and_judged_in_the_range_of_the_data(units):
    rng = np.random.default_rng(6)
    X = np.minimum(rng.exponential(1.0, (40, 3)), 2.0) * [1.0, 100.0, 1e-7]
    y, score = np.where(X @ [1.0, 0.01, -1e7] > 0.2, "yes", "no"), X @ [1.0, 0.01, -1e7]
    bounds, radius = ([0.0, 0.0, 0.0], [2.0, 200.0, 2e-7]), 0.3
    scale = [1.0, 100.0, 1e-7] if units == "data" else None
    shape = {"attack_units": units, "scale": scale, "norm": "inf", "backend": "clarabel", "n_gates": 4}
    free, ranged = (ReLUClassifier(radius=radius, bounds=b, **shape).fit(X, y) for b in (None, bounds))
    own = ranged.network_.standardizer
    step = np.array(scale) if scale else own.scale
    problem = AdversarialReLU(
        own.transform(X), y, radius, norm="inf", beta=ranged.beta, n_gates=4, bias=True, scale=step / own.scale,
        bounds=[(np.array(end) - own.mean) / own.scale for end in bounds],
    )  # fmt: skip
    assert problem.attack.shape == "cut box"
    assert solve(problem, backend="clarabel").certificate.upper == pytest.approx(ranged.certificate_.upper, rel=1e-6)
    assert ranged.certificate_.lower < free.certificate_.upper
    labels, certified = ranged.predict_certified(X, radius)
    for move in moves("inf", rng, X.shape):
        points = np.clip(X + radius * step * move, *bounds)
        np.testing.assert_array_equal(ranged.predict(points)[certified], labels[certified])
    assert ranged.certified_score(X, y, [radius]) == (certified & (labels == y)).mean()
    assert ranged.attacked_score(X, y, [radius]) >= ranged.certified_score(X, y, [radius])
    proofs = (LabelProofs.of(free.network_, X, one.threat_).held(np.full(40, 0.1)) for one in (ranged, free))
    assert np.greater_equal(*proofs).all()
    numbers = ReLURegressor(radius=radius, bounds=bounds, formulation="gated", **shape).fit(X, score)
    least, most = numbers.predict_interval(X)
    for move in moves("inf", rng, X.shape):
        found = numbers.predict(np.clip(X + radius * step * move, *bounds))
        assert ((least - 1e-9 <= found) & (found <= most + 1e-9)).all()
    errors = numbers.certified_errors(X, score, radius), numbers.attacked_errors(X, score, radius)
    assert (errors[0] >= errors[1] - 1e-9).all()


def test_relu_networks_are_chosen_in_the_range_of_the_data():
    rng = np.random.default_rng(7)
    X = rng.uniform(0.0, 1.0, (24, 2))
    y = np.where(X.sum(axis=1) > 1.0, 1, 0)
    quick = {
        "search_tolerance": 1e-1, "betas": 0.1, "radii": [0.1, 0.2], "cv": 2, "gates": 3, "backend": "clarabel",
        "bounds": (0, 1), "threat_radius": 0.2,
    }  # fmt: skip
    search = ReLUClassifierCV(**quick).fit(X, y)
    assert search.threat_.bounds == (0, 1)
    assert search.attacked_score(X, y, [0.2]) >= search.certified_score(X, y, [0.2])
    assert ReLURegressorCV(**quick).fit(X, X[:, 0]).threat_.bounds == (0, 1)


def test_ranges_are_for_boxes():
    X, y, _ = data()
    for make in (PolynomialClassifier, PolynomialClassifierCV):
        with pytest.raises(InputError, match=r'bounds are given, which proofs .* norm is 2; expected norm="inf"'):
            make(bounds=(0, 1)).fit(X, y)
        with pytest.raises(InputError, match="bounds are empty at column 0"):
            make(bounds=(9, 1), norm="inf").fit(X, y)
    for make in (PolynomialClassifier, ReLUClassifier):
        with pytest.raises(InputError, match="lie outside of bounds; give the range that inputs really have"):
            make(bounds=(0, 1), norm="inf").fit(X, y)
    for make in (ReLUClassifier, ReLUClassifierCV, ReLURegressor, ReLURegressorCV):
        with pytest.raises(InputError, match=r'bounds are given, which proofs .* norm is 2; expected norm="inf"'):
            make(bounds=(0, 1), norm=2).fit(X, (y == y[0]) * 1.0)
