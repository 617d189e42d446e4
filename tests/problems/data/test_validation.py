"""Bad data is refused with a message that helps, good data of any make works and is never modified."""

import numpy as np
import pandas as pd
import pytest

from cvxrobust import AdversarialReLU, Batches, ConvexReLU, Settings, StreamedSDP, solve
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP
from cvxrobust.problems.polynomial.standard_sdp import StandardSDP

X = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5], [1.0, 1.0]])
Y = np.array([1.0, -1.0, 1.0, -1.0])


def adversarial(X, y, radius=0.1, **changes):
    return AdversarialSDP(X, y, radius, **changes)


both_problems = pytest.mark.parametrize("make", [StandardSDP, adversarial], ids=["standard", "adversarial"])


def spoilt(array, place, value):
    array = array.copy()
    array[place] = value
    return array


# -- inputs ----------------------------------------------------------------------------------------------------------


@both_problems
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_are_named_by_their_place(make, value):
    with pytest.raises(InputError, match="X holds NaN or inf, first at row 2, column 1; drop or impute"):
        make(spoilt(spoilt(X, (2, 1), value), (3, 0), value), Y)


@both_problems
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones(4), r"X has 1 dimension; expected a table \(n, d\): use X.reshape\(-1, 1\)"),
        (np.ones((4, 2, 2)), r"X has 3 dimensions; expected a table"),
        (3.0, "X is 3.0; expected a table"),
        (None, "X is None; expected a table"),
        (np.ones((0, 2)), r"X has shape \(0, 2\); expected at least one row and one column"),
        (np.ones((4, 0)), r"X has shape \(4, 0\); expected at least one row and one column"),
        ([["red", 1.0], ["blue", 2.0]], "X cannot be read as numbers .*red.*; encode categories"),
        ([[1.0, 2.0], [3.0]], "X cannot be read as numbers"),
        ([[1.0, None]], "X holds NaN or inf, first at row 0, column 1"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), "X cannot be read as numbers"),
        (pd.DataFrame({"a": [1.0, 2.0], "b": pd.array([1, pd.NA])}), "fill or drop missing values"),
        (np.ma.masked_array([[1.0, 2.0]], [[False, True]]), "X holds NaN or inf, first at row 0, column 1"),
    ],
)
def test_inputs_that_are_no_table_of_numbers_are_refused(make, inputs, message):
    with pytest.raises(InputError, match=message):
        make(inputs, Y)


# -- labels ----------------------------------------------------------------------------------------------------------


@both_problems
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Y[:3], r"y has shape \(3,\); expected \(4,\), one label per row of X"),
        (np.stack([Y, Y], axis=1), r"y has shape \(4, 2\); expected \(4,\)"),
        (1.0, r"y has shape \(\); expected \(4,\)"),
        (spoilt(Y, 1, np.nan), "y holds NaN or inf at position 1; every row needs a label"),
        (spoilt(Y, 3, np.inf), "y holds NaN or inf at position 3; every row needs a label"),
        ([0, 1, 0, 1], r"y holds labels \[0, 1\], but hinge loss needs -1 and \+1 .*; for 0/1 labels pass 2 \* y - 1"),
        ([1, 2, 1, 2], r"y holds labels \[1, 2\], but hinge loss needs -1 and \+1"),
        ([2, 2, 2, 2], r"y holds labels \[2\], but hinge loss needs -1 and \+1"),
        ([0, 0, 0, 0], r"y holds labels \[0\], but hinge loss needs"),
        ([True, False, True, False], r"y holds labels \[False, True\], but hinge loss needs"),
        (["a"] * 4, r"y holds labels \['a'\], but hinge loss needs"),
        ([None, 1, -1, 1], "y holds missing labels; every row needs a label"),
        (["a", "b", None, "c"], "y holds missing labels"),
        (pd.Series(["a", "b", None, "c"]), "y holds missing labels"),
        (pd.Series([pd.NA, "b", "a", "c"], dtype=object), "y holds missing labels"),
        (np.array(["a", np.nan, "b", "c"], dtype=object), "y holds missing labels"),
        ([1, "a", 2, 1], "y mixes strings and numbers; expected labels of one kind"),
        (np.array([1, "a", 2, 1], dtype=object), "y mixes strings and numbers"),
        ([1.0, [2.0], 3.0, 4.0], "y cannot be read as labels"),
    ],
)
def test_labels_that_no_margin_loss_can_use_are_refused(make, labels, message):
    with pytest.raises(InputError, match=message):
        make(X, labels)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["a", "b", "c", "d"], "y holds text, but squared loss needs real targets"),
        (["1", "2", "3", "4"], "y holds text, but squared loss needs real targets"),
        ([1.0, None, 2.0, 3.0], "y holds missing labels"),
        ([1.0, np.nan, 2.0, 3.0], "y holds NaN or inf at position 1"),
        ([1.0, 2.0, 3.0], r"y has shape \(3,\); expected \(4,\)"),
        ([1.0 + 1j, 2.0, 3.0, 4.0], "y holds complex numbers, but squared loss needs real targets"),
    ],
)
def test_targets_that_are_no_real_numbers_are_refused(targets, message):
    with pytest.raises(InputError, match=message):
        StandardSDP(X, targets, loss="squared")


def test_labels_are_checked_with_the_name_of_the_loss():
    for loss in ("squared_hinge", "logistic"):
        with pytest.raises(InputError, match=f"but {loss} loss needs -1 and"):
            StandardSDP(X, [0, 1, 0, 1], loss=loss)


@both_problems
@pytest.mark.parametrize("label", [1, -1])
def test_one_class_alone_is_a_problem_if_it_is_plus_or_minus_one(make, label):
    problem = make(X, [label] * 4)
    assert problem.y.tolist() == [label] * 4
    assert problem.classes is None


@both_problems
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "c", "a"], ("a", "b", "c")),
        (pd.Series(["b", "a", "c", "a"]), ("a", "b", "c")),
        (pd.Series(["b", "a", "c", "a"], dtype="category"), ("a", "b", "c")),
        (np.array(["b", "a", "c", "a"], dtype=object), ("a", "b", "c")),
        ([3, 1, 2, 1], (1, 2, 3)),
        (np.array([3, 1, 2, 1], dtype=object), (1, 2, 3)),
        ([-1, 0, 1, 1], (-1, 0, 1)),
        ([0.5, 1.5, 2.5, 0.5], (0.5, 1.5, 2.5)),
    ],
)
def test_more_than_two_classes_of_any_kind_become_one_problem_each(make, labels, classes):
    problem = make(X, labels)
    assert problem.classes == classes
    assert len(problem.parts) == 3
    for part, label in zip(problem.parts, classes, strict=True):
        assert part.y.tolist() == [1.0 if given == label else -1.0 for given in labels]
        assert part.X is problem.X  # one copy serves all


@pytest.mark.parametrize(
    "make",
    [
        StandardSDP,
        adversarial,
        lambda X, y: StreamedSDP(Batches([(X[:2], y[:2]), (X[2:], y[2:])])),
        lambda X, y: ConvexReLU(X, y, n_gates=4),
        lambda X, y: AdversarialReLU(X, y, 0.1, n_gates=4, regate=1),
        lambda X, y: ConvexReLU(X, y, n_gates=4, loss="squared", multiclass="one-versus-all"),
    ],
    ids=["standard", "adversarial", "streamed", "ReLU", "adversarial ReLU", "squared"],
)
def test_two_classes_of_text_are_one_problem_that_answers_in_them(make):
    signs, labels = make(X, Y), make(X, np.where(Y > 0, "yes", "no"))
    assert labels.classes == ("no", "yes")
    assert len(labels.parts) == 1
    expected, found = (solve(problem, settings=Settings(tolerance=1e-3)) for problem in (signs, labels))
    assert found.certificate == expected.certificate
    assert found.network.classes == ("no", "yes")
    assert (
        found.network.predict(X).tolist() == np.where(expected.network.decision_function(X) >= 0, "yes", "no").tolist()
    )
    assert labels.objective(found.network) == pytest.approx(signs.objective(expected.network))
    again = solve(found.problem or labels, warm_start=found.network, settings=Settings(tolerance=1e-3))
    assert again.network.classes == ("no", "yes")


# -- parameters ------------------------------------------------------------------------------------------------------


@both_problems
@pytest.mark.parametrize("beta", [0, 0.0, -1.0, np.nan, np.inf, "0.1", "large", None, [0.1, 0.2], 1j])
def test_a_penalty_weight_that_is_no_positive_number_is_refused(make, beta):
    with pytest.raises(InputError, match=r"beta is .*; expected a (number|penalty weight) above 0"):
        make(X, Y, beta=beta)


@pytest.mark.parametrize("radius", [-0.1, np.nan, np.inf, None, [0.1, 0.1, -1e-9, 0.1], [0.0, np.nan, 0.0, 0.0]])
def test_a_radius_that_is_negative_or_not_finite_is_refused(radius):
    with pytest.raises(InputError, match=r"radius is .*; expected a finite attack radius of 0 or more"):
        AdversarialSDP(X, Y, radius)


@pytest.mark.parametrize("radius", [[0.1, 0.2], np.ones((4, 1)), np.ones((1, 4)), [], np.ones(5)])
def test_radii_of_the_wrong_shape_are_refused(radius):
    with pytest.raises(InputError, match=r"radius has shape \(.*\); expected one number, or one per row of X"):
        AdversarialSDP(X, Y, radius)


@pytest.mark.parametrize("radius", ["wide", {}, object(), [[0.1], [0.1, 0.2]]])
def test_a_radius_that_is_no_number_is_refused(radius):
    with pytest.raises(InputError, match=r"radius is .*; expected a number, or one per row of X"):
        AdversarialSDP(X, Y, radius)


@both_problems
@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ((0.0, 0.5, 0.5), "activation has a = 0, which makes the network linear .*; pass a != 0"),
        ((1.0, 2.0), r"activation is \(1.0, 2.0\); expected \(a, b, c\) of a t\^2 \+ b t \+ c"),
        ((1.0, 2.0, 3.0, 4.0), r"expected \(a, b, c\) of"),
        ("123", r"activation is '123'; expected \(a, b, c\) of"),
        ("relu", r"activation is 'relu'; expected \(a, b, c\) of"),
        (None, r"activation is None; expected \(a, b, c\) of"),
        (1.0, r"activation is 1.0; expected \(a, b, c\) of"),
        ((np.nan, 1.0, 1.0), "expected three finite numbers"),
        ((1.0, np.inf, 1.0), "expected three finite numbers"),
    ],
)
def test_an_activation_that_is_no_quadratic_is_refused(make, activation, message):
    with pytest.raises(InputError, match=message):
        make(X, Y, activation=activation)


@both_problems
def test_an_unknown_loss_is_refused_with_a_suggestion(make):
    with pytest.raises(UnknownNameError, match=r"unknown loss 'hinges'; known: absolute, .* Did you mean 'hinge'\?"):
        make(X, Y, loss="hinges")
    with pytest.raises(UnknownNameError, match="unknown loss None; known: absolute, hinge, "):
        make(X, Y, loss=None)


# -- data of any make ------------------------------------------------------------------------------------------------


# Numbers that float32 and small integers hold exactly.
WHOLE = np.array([[1.0, -2.0], [3.0, 0.0], [-1.0, 4.0], [2.0, 5.0]])


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


INPUTS = {
    "float64": WHOLE.copy(),
    "float32": WHOLE.astype(np.float32),
    "float16": WHOLE.astype(np.float16),
    "int64": WHOLE.astype(np.int64),
    "int8": WHOLE.astype(np.int8),
    "big-endian": WHOLE.astype(">f8"),
    "object": WHOLE.astype(object),
    "fortran": np.asfortranarray(WHOLE),
    "read-only": read_only(WHOLE),
    "read-only fortran": read_only(np.asfortranarray(WHOLE)),
    "reversed view": np.ascontiguousarray(WHOLE[::-1])[::-1],
    "columns of a wider table": np.hstack([WHOLE, WHOLE])[:, :2],
    "list": WHOLE.tolist(),
    "tuple": tuple(map(tuple, WHOLE.tolist())),
    "frame": pd.DataFrame(WHOLE, columns=["a", "b"], index=[7, 3, 5, 1]),
    "mixed frame": pd.DataFrame({"a": WHOLE[:, 0].astype(np.int64), "b": WHOLE[:, 1].astype(np.float32)}),
    "nullable frame": pd.DataFrame(WHOLE, columns=["a", "b"]).astype("Int64"),
}
LABELS = {
    "float64": Y.copy(),
    "float32": Y.astype(np.float32),
    "int64": Y.astype(np.int64),
    "int8": Y.astype(np.int8),
    "object": np.array([1, -1, 1, -1], dtype=object),
    "objects of both kinds of number": np.array([1, -1.0, 1.0, -1], dtype=object),
    "column": Y[:, None].copy(),
    "read-only": read_only(Y),
    "every other": np.repeat(Y, 2)[::2],
    "list": [1, -1, 1, -1],
    "series": pd.Series(Y, index=[7, 3, 5, 1]),
    "nullable series": pd.Series([1, -1, 1, -1], dtype="Int64"),
    "object series": pd.Series([1, -1, 1, -1], dtype=object),
    "frame of one column": pd.DataFrame({"label": Y}),
}
RADII = {
    "float": 0.5,
    "array": np.full(4, 0.5),
    "float32": np.full(4, 0.5, dtype=np.float32),
    "read-only": read_only(np.full(4, 0.5)),
    "list": [0.5] * 4,
    "series": pd.Series([0.5] * 4, index=[7, 3, 5, 1]),
    "number in an array": np.array(0.5),
    "one number in a list": [0.5],
}


def fingerprint(data):
    """Everything a caller could notice a change of."""
    if isinstance(data, np.ndarray):
        content = data.tolist() if data.dtype == object else data.tobytes()
        return (content, data.dtype, data.shape, data.strides, data.flags.writeable)
    if isinstance(data, pd.DataFrame | pd.Series):
        return (data.to_csv(), str(getattr(data, "dtypes", "")), tuple(data.index))
    return repr(data)


def assert_same_programme(one, other):
    found, expected = one.to_conic(), other.to_conic()
    assert found.cones == expected.cones
    assert found.offset == expected.offset
    for name in ("q", "b"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(found.A, name), getattr(expected.A, name))


@both_problems
@pytest.mark.parametrize("make_of_inputs", INPUTS)
def test_inputs_of_any_make_give_the_same_programme_and_stay_unmodified(make, make_of_inputs):
    data = INPUTS[make_of_inputs]
    before = fingerprint(data)
    problem = make(data, Y)
    assert problem.X.dtype == np.float64
    assert_same_programme(problem, make(WHOLE, Y))
    assert fingerprint(data) == before


@both_problems
@pytest.mark.parametrize("make_of_labels", LABELS)
def test_labels_of_any_make_give_the_same_programme_and_stay_unmodified(make, make_of_labels):
    data = LABELS[make_of_labels]
    before = fingerprint(data)
    problem = make(WHOLE, data)
    assert problem.y.dtype == np.float64
    assert_same_programme(problem, make(WHOLE, Y))
    assert fingerprint(data) == before


@pytest.mark.parametrize("make_of_labels", LABELS)
def test_targets_of_any_make_give_the_same_programme(make_of_labels):
    problem = StandardSDP(WHOLE, LABELS[make_of_labels], loss="squared")
    assert_same_programme(problem, StandardSDP(WHOLE, Y, loss="squared"))


@pytest.mark.parametrize("make_of_radii", RADII)
def test_radii_of_any_make_give_the_same_programme_and_stay_unmodified(make_of_radii):
    data = RADII[make_of_radii]
    before = fingerprint(data)
    assert_same_programme(AdversarialSDP(WHOLE, Y, data), AdversarialSDP(WHOLE, Y, 0.5))
    assert fingerprint(data) == before


def test_a_problem_keeps_its_own_copy_of_writeable_data():
    inputs, labels, radii = WHOLE.copy(), Y.copy(), np.full(4, 0.5)
    problem = AdversarialSDP(inputs, labels, radii)
    inputs[:], labels[:], radii[:] = 0.0, 1.0, 0.0
    assert_same_programme(problem, AdversarialSDP(WHOLE, Y, 0.5))
    for array in (problem.X, problem.y, problem.radius):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9.0


def test_parameters_may_be_numpy_numbers():
    activation = np.array([0.5, 1.0, 2.0], dtype=np.float32)
    problem = AdversarialSDP(WHOLE, Y, np.float32(0.5), beta=np.float64(0.25), activation=activation)
    assert problem.activation == (0.5, 1.0, 2.0)
    assert {type(value) for value in (*problem.activation, problem.beta)} == {float}
    assert_same_programme(problem, AdversarialSDP(WHOLE, Y, 0.5, beta=0.25, activation=(0.5, 1, 2)))
