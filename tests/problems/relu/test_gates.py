"""Gates are distinct and reproducible, bad ones are refused, and enumeration misses no pattern."""

from itertools import product
from math import comb

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from cvxrobust import AdversarialReLU, ConvexReLU, solve
from cvxrobust.core.errors import InputError
from cvxrobust.problems.relu.gates import patterns as gates
from cvxrobust.problems.relu.gates.patterns import (
    all_patterns,
    from_gates,
    from_patterns,
    has_more_patterns,
    pattern_count_bound,
    sampled,
)

GIVEN = np.array([[1, 0, 1, 0, 1], [0, 0, 0, 1, 0], [1, 0, 1, 1, 0]], dtype=bool)
X = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 1.0]])


def general(n, D, seed=0):
    return np.random.default_rng([seed, n, D]).standard_normal((n, D))


def columns(found):
    return {tuple(column) for column in found.patterns.T.tolist()}


def cover(n, D):
    return 2 * sum(comb(n - 1, k) for k in range(D))


# -- given ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        GIVEN,
        GIVEN.tolist(),
        GIVEN.astype(object),
        np.asfortranarray(GIVEN),
        np.ma.masked_array(GIVEN),
        pd.DataFrame(GIVEN),
        pd.DataFrame(GIVEN).astype("boolean"),
    ],
    ids=["array", "list", "object", "fortran", "masked", "pandas", "nullable"],
)
def test_given_patterns_are_kept_in_order_without_repeated_and_empty_ones(given):
    found = from_patterns(given, 3)
    np.testing.assert_array_equal(found.patterns, GIVEN[:, [0, 3, 4]])
    assert found.patterns.dtype == np.bool_
    assert (found.asked, found.duplicates, found.empty) == (5, 1, 1)
    assert (found.vectors, found.source) == (None, "given patterns")


def test_given_patterns_are_copied():
    given = GIVEN.copy()
    found = from_patterns(given, 3)
    given[:] = False
    assert found.patterns.any(axis=0).all()
    assert not found.patterns.flags.writeable


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (GIVEN.astype(int), r"patterns has dtype int64; expected bool: pass patterns.astype\(bool\)"),
        (GIVEN.astype(float), "patterns has dtype float64; expected bool"),
        (GIVEN.astype(int).astype(object), "patterns has dtype object; expected bool"),
        (GIVEN.astype(str), "patterns has dtype <U5; expected bool"),
        (
            pd.DataFrame({"a": pd.array([True, None, True], dtype="boolean")}),
            "patterns has dtype object; expected bool",
        ),
        (GIVEN[0], r"patterns has 1 dimension\(s\); expected a boolean table of shape \(3, P\)"),
        (GIVEN[None], r"patterns has 3 dimension\(s\); expected"),
        (True, r"patterns has 0 dimension\(s\); expected"),
        (None, r"patterns has 0 dimension\(s\); expected"),
        (GIVEN[:2], r"patterns has shape \(2, 5\); expected \(3, P\), one row per row of X"),
        ([[True], [True, False], [True]], "which is no table"),
        (np.ma.masked_array(GIVEN, ~GIVEN), "patterns has masked entries"),
        (
            GIVEN[:, 1:2],
            "none of the 1 activation patterns .* is open for any sample; pass a pattern with at least one",
        ),
        (GIVEN[:, :0], "none of the 0 activation patterns"),
    ],
)
def test_patterns_that_are_no_boolean_table_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        from_patterns(given, 3)


def test_gates_are_open_where_the_product_is_not_negative():
    vectors = np.array([[1.0, 0.0, 2.0, -1.0, 1], [0.0, 1.0, 0.0, -1.0, 4]])
    found = from_gates(vectors, X)
    # The first vector is orthogonal to the second sample, the second to the first; the third is twice the first.
    np.testing.assert_array_equal(found.patterns, np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]], dtype=bool))
    np.testing.assert_array_equal(found.vectors, vectors[:, [0, 1, 3]])
    assert (found.asked, found.duplicates, found.empty, found.source) == (5, 2, 0, "given gates")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.ones((3, 2)),
            r"gates has shape \(3, 2\); expected gate vectors of shape \(2, P\), one per column: pass gates",
        ),
        (np.ones((3, 5)), r"gates has shape \(3, 5\); expected gate vectors of shape \(2, P\), one per column\."),
        (np.ones(2), r"gates has 1 dimension\(s\); expected gate vectors of shape \(2, P\)"),
        (np.array([[1.0, np.nan], [0.0, 0.0]]), "gates holds NaN or inf, first at row 0, column 1"),
        (np.array([[1.0], [np.inf]]), "gates holds NaN or inf, first at row 1, column 0"),
        (np.ones((2, 2), dtype=bool), "gates has dtype bool; .*: pass activation patterns as patterns"),
        (np.ones((2, 2), dtype=complex), "gates has dtype complex128; expected"),
        ([["a"], ["b"]], "gates has dtype <U1; expected"),
        (np.array([["a"], [1]], dtype=object), "gates cannot be read as numbers"),
        (np.array([[-1.0], [0.0]]), "none of the 1 activation patterns .given gates. .*; pass -g for one of them"),
    ],
)
def test_gates_that_are_no_vectors_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        from_gates(given, X[:1])


def test_a_bias_is_counted_in_messages_about_gates():
    with pytest.raises(
        InputError, match=r"shape \(2, P\), one per column \(the last entry of each is that of the bias"
    ):
        from_gates(np.ones((1, 4)), X, bias=True)


# -- sampled ----------------------------------------------------------------------------------------------------------


def test_sampled_gates_can_be_drawn_again_by_anyone():
    inputs = general(30, 4)
    found = sampled(inputs, 40, seed=7)
    drawn = np.random.default_rng(7).standard_normal((4, 40))
    again = from_gates(drawn, inputs)
    np.testing.assert_array_equal(found.patterns, again.patterns)
    np.testing.assert_array_equal(found.vectors, again.vectors)
    assert (found.asked, found.source) == (40, "sampled")


def test_what_sampling_leaves_out_is_counted():
    found = sampled(X, 500, seed=0)
    raw = X @ np.random.default_rng(0).standard_normal((2, 500)) >= 0.0
    assert found.empty == (~raw.any(axis=0)).sum() > 0
    assert columns(found) == {tuple(column) for column in raw.T.tolist() if any(column)}
    assert found.patterns.shape[1] + found.duplicates + found.empty == 500
    np.testing.assert_array_equal(found.patterns, X @ found.vectors >= 0.0)


@pytest.mark.parametrize("n_gates", [0, -1, 2.0, "5", None, True])
def test_a_number_of_gates_that_is_none_is_refused(n_gates):
    with pytest.raises(InputError, match=r"n_gates is .*; expected a whole number of 1 or more"):
        sampled(X, n_gates, 0)


@pytest.mark.parametrize("seed", [-1, 0.0, None, False])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(InputError, match=r"seed is .*; expected a whole number of 0 or more"):
        sampled(X, np.int64(3), seed)


# -- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "D"), [(1, 1), (6, 1), (2, 2), (9, 2), (60, 2), (3, 3), (12, 3), (40, 3), (9, 4), (12, 5), (10, 8), (5, 9)]
)
def test_points_in_general_position_have_as_many_patterns_as_covers_formula(n, D):
    inputs = general(n, D)
    found = all_patterns(inputs)
    assert found.patterns.shape[1] + found.empty == found.asked == pattern_count_bound(inputs) == cover(n, D)
    assert len(columns(found)) == found.patterns.shape[1]
    assert (found.duplicates, found.source) == (0, "all")


def realised(inputs):
    """All patterns, without the empty one, by one linear programme for each combination of sides."""
    found = set()
    some = inputs.any(axis=1)
    for bits in product([False, True], repeat=int(some.sum())):
        turned = np.where(bits, 1.0, -1.0)[:, None] * inputs[some]
        best = linprog(
            np.append(np.zeros(inputs.shape[1]), -1.0),
            A_ub=np.hstack([-turned, np.ones((len(bits), 1))]),
            b_ub=np.zeros(len(bits)),
            bounds=[(-1, 1)] * inputs.shape[1] + [(0, 1)],
        )
        if best.x[-1] > 1e-6:
            pattern = np.ones(len(inputs), dtype=bool)
            pattern[some] = bits
            found.add(tuple(pattern.tolist()))
    return found - {(False,) * len(inputs)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("D", [2, 3, 4])
def test_no_pattern_is_missed_where_samples_are_zero_parallel_or_dependent(seed, D):
    inputs = np.random.default_rng([seed, D]).integers(-1, 2, (7, D)).astype(float)
    inputs[6] = [0.0, -0.1, 3.0, 1.0][seed] * inputs[0]
    found = all_patterns(inputs)
    assert columns(found) == realised(inputs)
    np.testing.assert_array_equal(found.patterns, inputs @ found.vectors >= 0.0)
    assert pattern_count_bound(inputs) >= found.asked
    products = np.abs(inputs[inputs.any(axis=1)] @ found.vectors)
    assert products.min() > 1e-6


@pytest.mark.parametrize(("D", "cells"), [(2, 8), (3, 48), (4, 384)])
def test_vectors_stay_clear_of_all_hyperplanes_where_these_are_symmetric(D, cells):
    # The hyperplanes of u_i = 0 and u_i = +-u_j: one cell for every order and all signs of the entries.
    units = np.eye(D)
    pairs = [units[i] + sign * units[j] for i in range(D) for j in range(i) for sign in (1.0, -1.0)]
    inputs = np.vstack([units, pairs])
    found = all_patterns(inputs)
    assert found.asked == found.patterns.shape[1] + found.empty == cells
    assert np.abs(inputs @ found.vectors).min() > 1e-3


@pytest.mark.parametrize(("n", "D", "rank"), [(8, 5, 2), (8, 3, 3), (9, 6, 3), (6, 40, 1)])
def test_random_vectors_find_no_other_patterns(n, D, rank):
    inputs = general(n, rank) @ general(rank, D, seed=1)
    found = all_patterns(inputs)
    assert columns(found) >= columns(sampled(inputs, 2_000, 0))
    assert pattern_count_bound(inputs) == found.asked == cover(n, rank)


def test_samples_that_are_zero_are_always_open():
    found = all_patterns(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    assert columns(found) == {(True, True, True), (True, False, True)}
    found = all_patterns(np.zeros((3, 2)))
    assert columns(found) == {(True, True, True)}
    assert pattern_count_bound(np.zeros((3, 2))) == 1


def test_parallel_samples_open_together_and_opposite_ones_never():
    line = np.array([0.3, -0.7, 0.1])
    inputs = np.stack([line, 3.0 * line, -1e-3 * line, [1.0, 1.0, 0.0], line / 7.0])
    found = all_patterns(inputs)
    assert found.asked == 4
    for column in found.patterns.T:
        assert column[0] == column[1] == column[4] == (not column[2])


def test_units_of_samples_and_features_do_not_matter():
    inputs = general(8, 3)
    scaled = inputs * np.array([1e-9, 1.0, 1e11]) * np.logspace(-6, 6, 8)[:, None]
    assert columns(all_patterns(scaled)) == columns(all_patterns(inputs))


def test_patterns_come_in_an_order_of_their_own():
    inputs = general(9, 3)
    turn = np.linalg.qr(general(3, 3))[0]
    np.testing.assert_array_equal(all_patterns(inputs).patterns, all_patterns(inputs @ turn).patterns)


def test_too_many_patterns_are_refused_before_any_is_looked_for(monkeypatch):
    monkeypatch.setattr(gates, "_cells", lambda A: pytest.fail("enumeration has begun"))
    with pytest.raises(InputError, match=r"X may have 72 activation patterns, .* at most 71 .*; pass n_gates instead"):
        all_patterns(general(36, 2), limit=71)
    # 2^601 has 181 digits.
    with pytest.raises(InputError, match=r"X may have more than 10\^180 activation patterns, but at most 20000"):
        all_patterns(np.eye(601))
    with pytest.raises(InputError, match="limit is 0; expected a whole number of 1 or more"):
        all_patterns(X, limit=0)


def test_a_limit_that_is_just_met_is_enough():
    assert all_patterns(general(36, 2), limit=72).asked == 72


def test_the_bound_sees_directions_that_few_samples_have():
    inputs = np.zeros((100, 3))
    inputs[:, :2] = general(100, 2)
    assert pattern_count_bound(inputs) == cover(100, 2)
    inputs[97, 2] = 1.0
    assert pattern_count_bound(inputs) == cover(100, 3)
    assert pattern_count_bound(np.repeat(inputs, 2, axis=0)) == cover(100, 3)


@pytest.mark.parametrize("count", [1, 3, 4, 7, 20])
def test_whether_there_are_more_patterns_is_what_their_number_says(count):
    rng = np.random.default_rng(0)
    line = np.outer(rng.standard_normal(40), rng.standard_normal(5))
    late = np.vstack([line, rng.standard_normal((2, 5))])  # what makes the difference comes last
    for inputs in (rng.standard_normal((30, 3)), rng.standard_normal((2, 6)), line, late, np.zeros((9, 2))):
        assert has_more_patterns(inputs, count) == (pattern_count_bound(inputs) > count)


def test_of_much_data_a_few_rows_say_that_there_are_more_patterns_than_gates(monkeypatch):
    seen, original = [], gates._lines
    monkeypatch.setattr(gates, "_lines", lambda A: (seen.append(len(A)), original(A))[1])
    X = np.random.default_rng(0).standard_normal((500, 4))
    assert ConvexReLU(X, np.tile([1.0, -1.0], 250), n_gates=20).gate_set.source == "sampled"
    assert max(seen) < 30


@pytest.mark.parametrize(("n", "d", "expected"), [(60, 5, 10), (200, 2, 20), (201, 2, 21), (600, 2, 50)])
def test_the_default_number_of_gates_follows_from_samples_per_input(n, d, expected):
    rng = np.random.default_rng(n)
    data = rng.standard_normal((n, d)), np.where(rng.random(n) < 0.5, 1.0, -1.0)
    assert ConvexReLU(*data).n_gates == expected
    assert ConvexReLU(*data, bias=True).n_gates == expected
    assert AdversarialReLU(*data, 0.1, n_gates=7).n_gates == 7


@pytest.mark.parametrize(("choices", "advised"), [({}, True), ({"resample": True}, False), ({"bias": True}, False)])
def test_gates_none_of_which_can_carry_a_neuron_are_said_with_the_result(choices, advised):
    X = general(60, 3)
    problem = AdversarialReLU(X, X @ [1.0, -0.5, 0.2], radius=0.1, loss="squared", n_gates=5, **choices)
    result = solve(problem, backend="clarabel")
    assert (result.network.n_neurons == 0) is advised
    assert ("advice" in result.report) is advised
    for said in (str(result), repr(result), result._repr_html_()):
        assert ("no gate can carry a neuron" in said) is advised
    assert ("resample=True" in str(result)) is advised
