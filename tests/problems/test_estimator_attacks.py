"""The estimators' attacks: features by name, immutable ones, ellipsoids, and whose units they are in."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from cvxrobust import (
    AdversarialSDP,
    InputError,
    PolynomialClassifier,
    Quality,
    ReLUClassifier,
    UnknownNameError,
    load,
)
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.problems.data.features import Features

NAMES = ["age", "bmi", "pressure"]
SPREAD = np.array([12.0, 4.0, 0.25])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((60, 3)) * SPREAD + [50.0, 25.0, 1.0], columns=NAMES)
    score = ((X - X.mean()) / X.std()).to_numpy() @ [0.5, 1.0, -1.0]
    return X, np.where(score + 0.3 * rng.standard_normal(60) > 0.0, "ill", "well")


@pytest.fixture(scope="module")
def one_hot():
    """A number, and a category of three with a column for each; the category says much."""
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 3, 80)
    X = pd.DataFrame({"size": rng.standard_normal(80), "kind": np.array(["red", "green", "blue"])[kind]})
    return X, np.where(X["size"] + np.array([-1.5, 0.0, 1.5])[kind] > 0.0, 1, 0)


def moves(model, X, y, radius):
    rows = np.asarray(X, dtype=np.float64)
    return model.network_.worst_case(rows, y, radius).points - rows


def test_names_of_columns_and_their_numbers_say_the_same(data):
    X, y = data
    named = PolynomialClassifier(radius=0.3, scale={"age": 0, "bmi": 0.5}).fit(X, y)
    counted = PolynomialClassifier(radius=0.3, scale={0: 0.0, 1: 0.5}).fit(X.to_numpy(), y)
    whole = PolynomialClassifier(radius=0.3, scale=[0, 0.5, 1]).fit(X, y)
    for other in (counted, whole):
        assert other.result_.certificate == named.result_.certificate
        np.testing.assert_array_equal(other.network_.ellipsoid.scale, [0.0, 0.5, 1.0])
    inputs, signs = named.network_.standardizer.transform(X), np.where(y == "well", 1.0, -1.0)
    problem = AdversarialSDP(inputs, signs, 0.3, beta=named.beta, scale=[0, 0.5, 1])
    assert problem.objective(named.network_.inner.replace(classes=None)) == named.result_.certificate.upper


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_of_any_make_have_names(data, frame):
    X, y = data
    table = frame({name: X[name].to_numpy() for name in NAMES})
    model = PolynomialClassifier(radius=0.3, immutable=["bmi"], tolerance=1e-2).fit(table, y)
    np.testing.assert_array_equal(model.network_.ellipsoid.scale, [1.0, 0.0, 1.0])


@pytest.mark.parametrize("immutable", [["age", "pressure"], (0, 2), np.array([True, False, True]), {"pressure", 0}])
def test_attacks_never_touch_what_is_immutable(data, immutable):
    X, y = data
    model = PolynomialClassifier(radius=0.4, immutable=immutable).fit(X, y)
    found = moves(model, X, y, 0.4)
    assert not found[:, [0, 2]].any()
    assert np.abs(found[:, 1]).max() == pytest.approx(0.4 * X["bmi"].std(ddof=0), rel=1e-6)
    assert model.attack_reach_ == pytest.approx([0.0, 0.4 * X["bmi"].std(ddof=0), 0.0], rel=1e-12)
    free = model.network_.replace(ellipsoid=None)
    assert (model.robust_score(X, y, [0.4]) >= free.robust_accuracy(X.to_numpy(), y, [0.4])).all()
    one = PolynomialClassifier(radius=0.4, immutable="age", scale={"bmi": 2.0}).fit(X, y)
    np.testing.assert_array_equal(one.network_.ellipsoid.scale, [0.0, 2.0, 1.0])


def test_a_radius_in_the_units_of_the_data_is_one(data):
    X, y = data
    model = PolynomialClassifier(radius=1.0, scale={"age": 0, "bmi": 0.5, "pressure": 0}, attack_units="data")
    found = moves(model.fit(X, y), X, y, 1.0)
    assert np.abs(found[:, 1]).max() == pytest.approx(0.5, rel=1e-9)
    assert not found[:, [0, 2]].any()
    assert model.attack_reach_ == pytest.approx([0.0, 0.5, 0.0], abs=1e-12)
    nearly = X + np.outer(0.499 * np.minimum(model.network_.certified_radius(X), 1e3), [0, 1, 0])
    np.testing.assert_array_equal(model.predict(nearly), model.predict(X))


def test_without_a_shape_the_units_of_the_data_make_balls_of_their_own(data):
    X, y = data[0] / SPREAD * [1.0, 2.0, 4.0], data[1]
    scaled = PolynomialClassifier(radius=0.3, attack_units="data", tolerance=1e-6).fit(X, y)
    raw = np.linalg.norm(moves(scaled, X, y, 0.3), axis=1)
    assert raw == pytest.approx(np.full(60, 0.3), rel=1e-6)
    plain = PolynomialClassifier(radius=0.3, standardize=False, tolerance=1e-6)
    for unit in ("data", "standardized"):
        assert plain.set_params(attack_units=unit).fit(X, y).network_.ellipsoid is None


def test_covariances_and_directions_are_in_the_same_units(data):
    X, y = data
    C = np.cov(X.to_numpy(), rowvar=False, ddof=0)
    in_data, as_inputs = (
        PolynomialClassifier(radius=0.3, covariance=given, attack_units=unit, tolerance=1e-6).fit(X, y)
        for given, unit in ((C, "data"), (np.corrcoef(X.to_numpy(), rowvar=False), "standardized"))
    )
    assert in_data.result_.certificate.upper == pytest.approx(as_inputs.result_.certificate.upper, rel=1e-5)
    assert in_data.attack_reach_ == pytest.approx(0.3 * np.sqrt(np.diagonal(C)), rel=1e-9)
    direction = np.array([[0.0], [2.0], [-0.1]])
    along = PolynomialClassifier(radius=1.0, directions=direction, attack_units="data").fit(X, y)
    found = moves(along, X, y, 1.0)
    assert found == pytest.approx(np.outer(found[:, 1], [0.0, 1.0, -0.05]), abs=1e-12)
    assert np.abs(found[:, 1]).max() == pytest.approx(2.0)


def test_categories_with_a_column_each_stay_what_they_are(one_hot):
    X, y = one_hot
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    kinds = ["kind_blue", "kind_green", "kind_red"]
    model = make_pipeline(encode, PolynomialClassifier(radius=0.5, immutable=kinds)).fit(X, y)
    table, fitted = encode.transform(X), model[-1]
    found = moves(fitted, table, y, 0.5)
    assert not found[:, :3].any()
    assert np.abs(found[:, 3]).max() > 0.1
    free = fitted.network_.replace(ellipsoid=None).robust_accuracy(table, y, [0.2, 0.5])
    assert (fitted.robust_score(table, y, [0.2, 0.5]) >= free).all()
    # On one input that can move, the certified radius is the distance to the next root of a parabola.
    radius = fitted.network_.certified_radius(table)
    step = fitted.network_.standardizer.scale[3]
    for sign in (1.0, -1.0):
        nearly = table.to_numpy() + np.outer(sign * 0.999 * np.minimum(radius, 1e3) * step, [0, 0, 0, 1])
        np.testing.assert_array_equal(fitted.network_.predict(nearly), fitted.predict(table))


def test_sparse_one_hot_tables_train_the_same_network(one_hot):
    X, y = one_hot
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough", sparse_threshold=1.0)
    table = encode.fit_transform(X)
    assert sparse.issparse(table)
    kept = PolynomialClassifier(radius=0.5, immutable=range(3)).fit(table, y)
    dense = PolynomialClassifier(radius=0.5, immutable=range(3)).fit(table.toarray(), y)
    assert kept.result_.certificate == dense.result_.certificate
    np.testing.assert_array_equal(kept.robust_score(table, y, [0.5]), dense.robust_score(table.toarray(), y, [0.5]))


@pytest.mark.parametrize("kind", [PolynomialClassifier, lambda **given: ReLUClassifier(**given, n_gates=6)])
def test_every_row_may_have_a_radius_of_its_own(data, kind):
    X, y = data
    radii, weights = np.linspace(0.0, 0.4, 60), np.arange(60) % 3
    rows = np.repeat(np.arange(60), weights)
    weighted = kind(radius=radii, tolerance=1e-3).fit(X, y, sample_weight=weights)
    repeated = kind(radius=radii[rows], tolerance=1e-3).fit(X.iloc[rows], y[rows])
    assert weighted.decision_function(X).tobytes() == repeated.decision_function(X).tobytes()
    assert weighted.attack_reach_ == pytest.approx(radii[weights > 0].max() * X.iloc[rows].std(ddof=0), rel=1e-9)
    halves = [kind(radius=radius, tolerance=1e-3).fit(X, y).result_.certificate for radius in (0.0, 0.4)]
    between = kind(radius=radii, tolerance=1e-3).fit(X, y).result_.certificate
    assert halves[0].lower <= between.upper
    assert between.lower <= halves[1].upper
    with pytest.raises(InputError, match=r"radius has shape \(59,\); expected one number, or one per row of X"):
        kind(radius=radii[1:]).fit(X, y)
    with pytest.raises(InputError, match=r"radius is -0\.1; expected a finite attack radius of 0 or more"):
        kind(radius=-0.1).fit(X, y)


RELU = {"n_gates": 8, "tolerance": 1e-3}


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_attacks_on_relu_networks_keep_to_their_boxes_and_never_touch_what_is_immutable(data, norm):
    X, y = data
    given = {"scale": {"bmi": 0.5, "pressure": 0.02}, "immutable": ["age"], "attack_units": "data", "norm": norm}
    model = ReLUClassifier(radius=1.0, **given, **RELU).fit(X, y)
    assert model.result_.quality is Quality.CERTIFIED
    assert model.attack_reach_ == pytest.approx([0.0, 0.5, 0.02], rel=1e-9)
    rows = X.to_numpy()
    found = model.network_.attack(rows, y, 1.0).points - rows
    assert not found[:, 0].any()
    assert (np.abs(found).max(axis=0)[1:] <= np.array([0.5, 0.02]) * (1.0 + 1e-9)).all()
    assert np.abs(found[:, 1]).max() > 0.1
    certified, attacked = model.certified_score(X, y, [0.0, 1.0, 3.0]), model.attacked_score(X, y, [0.0, 1.0, 3.0])
    assert certified[0] == attacked[0] == model.score(X, y)
    assert (certified <= attacked).all()
    units = model.network_.standardizer.scale * [1.0, 2.0, 50.0]
    free = model.network_.replace(ellipsoid=Ellipsoid(scale=1.0 / units * [1.0, 1.0, 1.0]))
    some = slice(0, 12)
    masked, all_move = (one.exact_worst_case(rows[some], y[some], 1.0) for one in (model.network_, free))
    assert masked.proven.all()
    assert (masked.margins >= all_move.lower - 1e-6).all()


def test_one_hot_tables_of_relu_networks_keep_their_categories(one_hot):
    X, y = one_hot
    table = pd.get_dummies(X, dtype=float)
    kinds = [name for name in table.columns if name.startswith("kind_")]
    model = ReLUClassifier(radius=0.3, immutable=kinds, **RELU).fit(table, y)
    rows = table.to_numpy()
    moved = model.network_.attack(rows, y, 0.3).points - rows
    assert not moved[:, 1:].any()
    assert np.abs(moved[:, 0]).max() == pytest.approx(0.3 * rows[:, 0].std(), rel=1e-6)
    # On one input the worst case of a ReLU network is at an end or at a kink: a fine grid comes near.
    reach = np.minimum(model.network_.certified_radius(table), 50.0) * model.network_.standardizer.scale[0]
    for share in np.linspace(-0.999, 0.999, 41):
        nearly = rows + np.outer(share * reach, np.arange(4) == 0)
        np.testing.assert_array_equal(model.network_.predict(nearly), model.network_.predict(rows))


@pytest.mark.parametrize("norm", ["inf", 1])
@pytest.mark.parametrize("given", [{"covariance": np.eye(3) + 0.1}, {"directions": np.eye(3)[:, :2]}])
def test_ellipsoids_of_no_axes_are_of_norm_two(data, norm, given):
    with pytest.raises(InputError, match="norm is"):
        ReLUClassifier(radius=0.1, norm=norm, **given).fit(*data)
    with pytest.raises(InputError, match=r"in norm 2 only|give norm=2"):
        PolynomialClassifier(radius=0.1, norm=norm, **given).fit(*data)


def test_the_shape_goes_with_the_network(data, tmp_path):
    X, y = data
    model = PolynomialClassifier(radius=0.3, immutable=["age"], attack_units="data").fit(X, y)
    model.network_.save(tmp_path / "net.npz")
    again = load(tmp_path / "net.npz")
    np.testing.assert_array_equal(again.ellipsoid.scale, model.network_.ellipsoid.scale)
    rows = X.to_numpy()
    np.testing.assert_array_equal(again.robust_accuracy(rows, y, [0.3, 1.0]), model.robust_score(X, y, [0.3, 1.0]))
    assert again.metadata["immutable_inputs"] == "[0]"
    assert again.standardizer.names == tuple(NAMES)


def test_the_command_line_knows_the_columns_and_the_shape_of_a_fitted_network(data, tmp_path, run):
    X, y = data
    model = PolynomialClassifier(radius=0.3, immutable=["age"], scale={"bmi": 0.5}, attack_units="data").fit(X, y)
    model.network_.save(tmp_path / "net.npz")
    X[["bmi", "pressure", "age"]].to_csv(tmp_path / "rows.csv", index=False)
    code, out, err = run("predict", tmp_path / "net.npz", "--data", tmp_path / "rows.csv")
    assert code == 0
    assert "attacks never touch age; radius 1 moves bmi by at most 0.5, pressure by at most 1 in units" in err
    radii = [float(line.split(",")[-1]) for line in out.splitlines()[1:]]
    np.testing.assert_allclose(radii, model.network_.certified_radius(X), rtol=1e-9)


def test_shapes_are_parameters_as_others_are(data):
    model = PolynomialClassifier(tolerance=1e-2, radius=0.2, immutable=["age"], scale={"bmi": 0.5})
    assert clone(model).get_params() == model.get_params()
    grid = {"immutable": [None, ["age"], ["age", "bmi"]], "attack_units": ["data", "standardized"]}
    assert GridSearchCV(model, grid, cv=2).fit(*data).best_score_ > 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"immutable": ["aeg"]}, r"there is no feature 'aeg'; did you mean 'age'\? There are age, bmi, pressure\."),
        ({"scale": {"height": 1.0}}, r"there is no feature 'height'; there are age, bmi, pressure\."),
        ({"immutable": [3]}, r"there is no feature number 3; there are age, bmi, pressure\."),
        ({"immutable": [True, False]}, r"a mask has 2 entries; expected one for each of 3 features"),
        ({"immutable": [1.5]}, r"a feature is called 1\.5; expected a name or a number from 0 to 2"),
        ({"scale": {"age": 1.0, 0: 2.0}}, r"scale has two numbers for one feature, once by its name"),
        ({"scale": {"age": "wide"}}, r"scale cannot be read as numbers .*expected a number for each feature"),
        ({"scale": [1.0, -2.0, 0.0], "attack_units": "data"}, r"scale holds -2 at column 1; expected finite numbers"),
        ({"scale": [1.0, 2.0]}, r"scale has shape \(2,\); expected \(3,\)"),
        ({"scale": [1, 1, 1], "covariance": np.eye(3)}, r"scale and covariance are given; give one of"),
        ({"immutable": [0], "covariance": np.eye(3)}, r"immutable and covariance are given; leave immutable out and"),
        ({"attack_units": "datum"}, r"unknown attack_units 'datum'; known: data, standardized\. Did you mean 'data'\?"),
    ],
)
def test_what_is_no_attack_is_refused_before_work(data, given, said):
    with pytest.raises(InputError, match=said):
        PolynomialClassifier(radius=0.1, **given).fit(*data)


def test_arrays_have_no_names_to_call_features_by(data):
    X, y = data
    with pytest.raises(InputError, match="no feature 'age'; they have no names, but numbers from 0 to 2"):
        PolynomialClassifier(immutable=["age"]).fit(X.to_numpy(), y)
    many = Features(20, tuple(f"column {j}" for j in range(20)))
    with pytest.raises(InputError, match=r"did you mean 'column 1'\? There are column 0, .*, column 11 and 8 more\."):
        many.place("colum 1")
    with pytest.raises(UnknownNameError):
        PolynomialClassifier(attack_units="feet").fit(X, y)


@pytest.mark.parametrize("units", ["standardized", "data"])
@pytest.mark.parametrize("kind", [PolynomialClassifier, ReLUClassifier])
def test_evaluations_are_about_the_attacks_of_training(data, kind, units):
    X, y = data
    small = 0.2 if units == "standardized" else 0.05
    more = {"n_gates": 6} if kind is ReLUClassifier else {}
    model = kind(radius=small, immutable=["bmi"], attack_units=units, tolerance=1e-2, **more).fit(X, y)
    radii = [0.0, small, 4.0 * small]
    report = model.evaluate_robustness(X, y, radii, steps=10)
    expected = model.certified_score(X, y, radii) if more else model.robust_score(X, y, radii)
    np.testing.assert_array_equal(report.certified, expected)
    assert report.clean == model.score(X, y)
    assert report.units == ("the data's units" if units == "data" else "standard deviations of each column")
    moved = report.points - X.to_numpy()
    np.testing.assert_array_equal(moved[:, 1], 0.0)
    broken = np.isfinite(report.broken_at) & (report.broken_at > 0.0)
    assert broken.any()
    assert (np.abs(moved[broken]) <= report.broken_at[broken, None] / small * model.attack_reach_ * (1 + 1e-9)).all()
    other = model.evaluate_robustness(X, y, [0.2], Threat(2), steps=10)
    assert other.units == "standard deviations of each column"
    assert model.check_sanity(X, y, small, steps=10).passed
