"""The cones: projections by their defining properties, and the vectors that stand for matrices."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from scipy.optimize import minimize_scalar

from cvxrobust.core.conic.cones import PSD, Exponential, NonNegative, SecondOrder, Zero, smat, svec
from cvxrobust.core.conic.exponential import project_exponential
from cvxrobust.core.conic.program import ConicProgram, require_cones, row_order, upper_triangle_order
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.errors import InputError, UnsupportedProgramError

CONES = [Zero(6), NonNegative(6), SecondOrder(6), SecondOrder(1), PSD(3), PSD(1), Exponential()]
moderate = st.floats(-1e3, 1e3)
# Signed powers of ten from 1e-8 to 1e8, and zero: coordinates of very different size in one point.
extreme = st.one_of(
    st.just(0.0),
    st.builds(lambda sign, power: sign * 10.0**power, st.sampled_from([-1.0, 1.0]), st.floats(-8, 8)),
)


def points(cone, elements=moderate):
    return arrays(np.float64, cone.dim, elements=elements)


def boundary_point(ratio, weight):
    return weight * np.array([ratio, 1.0, np.exp(ratio)])


@pytest.mark.parametrize("cone", CONES, ids=repr)
@given(data=st.data())
def test_moreau_decomposition(cone, data):
    z = data.draw(points(cone))
    s = cone.project(z)
    y = s - z
    scale = 1e-9 * (1 + z @ z)
    assert s @ y == pytest.approx(0, abs=scale)
    assert cone.project(s) == pytest.approx(s, abs=1e-9 * (1 + np.linalg.norm(z)))
    assert cone.project_dual(y) == pytest.approx(y, abs=1e-9 * (1 + np.linalg.norm(z)))


@pytest.mark.parametrize("cone", CONES, ids=repr)
@given(data=st.data())
def test_no_point_of_the_cone_is_nearer_than_the_projection(cone, data):
    z, other = data.draw(points(cone)), data.draw(points(cone))
    s, inside = cone.project(z), cone.project(other)
    # The variational inequality that characterises projections onto convex sets.
    assert (z - s) @ (inside - s) <= 1e-9 * (1 + z @ z + other @ other)


@pytest.mark.parametrize("cone", CONES, ids=repr)
def test_projecting_leaves_its_argument_alone(cone):
    z = np.linspace(-1.0, 2.0, cone.dim)
    before = z.copy()
    for project in (cone.project, cone.project_dual):
        project(z)[...] = 7.0
        assert np.array_equal(z, before)


def in_exponential(p, slack):
    x, y, z = (float(value) for value in p)  # Python's own division overflows to infinity in silence
    on_the_edge = abs(y) <= slack and x <= slack and z >= -slack
    return on_the_edge or (y > 0 and y * np.exp(min(x / y, 700.0)) <= z + slack)


@settings(max_examples=500)
@given(z=arrays(np.float64, 3, elements=extreme))
@example(z=np.array([1e-3, -1.0, 1.0]))
@example(z=np.array([1e8, 1e-8, 1e-8]))
@example(z=np.array([1.0, -100.0, 1.0]))
@example(z=np.array([-1e8, 1e-8, -1e8]))
def test_exponential_projection_at_extreme_scales(z):
    s = project_exponential(z)
    y = s - z
    size = 1 + np.linalg.norm(z)
    assert np.isfinite(s).all()
    assert abs(s @ y) <= 1e-9 * size**2
    assert in_exponential(s, 1e-9 * size)
    # y lies in the dual cone exactly if -y lies in the polar, whose points all project to the origin.
    assert np.linalg.norm(project_exponential(-y)) <= 1e-6 * size


@settings(max_examples=300)
@given(z=arrays(np.float64, 3, elements=extreme), power=st.integers(-40, 40))
def test_exponential_projection_is_homogeneous(z, power):
    factor = 2.0**power
    assert project_exponential(factor * z) == pytest.approx(
        factor * project_exponential(z), rel=1e-7, abs=1e-9 * factor * (1e-30 + np.linalg.norm(z))
    )


@settings(max_examples=300)
@given(ratio=st.floats(-30, 30), weight=st.floats(1e-6, 1e6), distance=st.floats(0, 10))
def test_exponential_projection_finds_the_foot_of_a_normal(ratio, weight, distance):
    foot = boundary_point(ratio, weight)
    normal = np.array([1.0, 1.0 - ratio, -np.exp(-ratio)])
    z = foot + distance * np.linalg.norm(foot) * normal / np.linalg.norm(normal)
    assert project_exponential(z) == pytest.approx(foot, abs=1e-9 * np.linalg.norm(z))


@given(z=arrays(np.float64, 3, elements=st.floats(-10, 10)))
def test_exponential_projection_is_as_near_as_a_search_of_the_boundary(z):
    def distance(ratio):
        ray = boundary_point(ratio, 1.0)
        weight = max(z @ ray, 0.0) / (ray @ ray)
        return float(np.linalg.norm(z - weight * ray))

    grid = np.linspace(-60.0, 60.0, 2401)
    start = grid[np.argmin([distance(ratio) for ratio in grid])]
    found = minimize_scalar(distance, bounds=(start - 0.1, start + 0.1), options={"xatol": 1e-12})
    edge = np.linalg.norm(z - np.array([min(z[0], 0.0), 0.0, max(z[2], 0.0)]))
    projected = project_exponential(z)
    assert in_exponential(projected, 1e-8)
    assert np.linalg.norm(z - projected) <= min(float(found.fun), edge) + 1e-8


@given(data=st.data(), order=st.integers(0, 6))
def test_svec_keeps_inner_products(data, order):
    entries = arrays(np.float64, (2, order, order), elements=moderate)
    matrices = data.draw(entries)
    A, B = matrices + matrices.transpose(0, 2, 1)
    assert svec(A).shape == (PSD(order).dim,)
    assert svec(A) @ svec(B) == pytest.approx(np.trace(A @ B), abs=1e-6)
    assert smat(svec(A)) == pytest.approx(A)


def test_svec_stacks_the_lower_triangle_by_columns():
    matrix = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    root2 = np.sqrt(2.0)
    assert svec(matrix) == pytest.approx([1, 2 * root2, 3 * root2, 4, 5 * root2, 6])


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_upper_triangle_order_stacks_the_upper_triangle_by_columns(order):
    matrix = np.arange(order * order, dtype=float).reshape(order, order)
    matrix = matrix + matrix.T
    by_columns = [
        matrix[row, column] * (1.0 if row == column else np.sqrt(2.0))
        for column in range(order)
        for row in range(column + 1)
    ]
    assert svec(matrix)[upper_triangle_order(order)] == pytest.approx(by_columns)


def test_psd_projection_clips_eigenvalues():
    assert smat(PSD(2).project(svec(np.diag([3.0, -2.0])))) == pytest.approx(np.diag([3.0, 0.0]))


@pytest.mark.parametrize("cone", [Zero, NonNegative, SecondOrder, PSD])
@pytest.mark.parametrize("size", [-1, 2.5])
def test_a_cone_of_impossible_size_is_refused(cone, size):
    with pytest.raises(InputError, match="expected an integer"):
        cone(size)


def program(A, cones, **changes):
    rows, columns = A.shape
    return ConicProgram(**{"q": np.ones(columns), "A": A, "b": np.ones(rows), "cones": cones} | changes)


def test_a_program_with_shapes_that_do_not_agree_is_refused():
    with pytest.raises(InputError, match="the cones take 3 rows, but A has 2"):
        program(sparse.eye_array(2), (NonNegative(3),))
    with pytest.raises(InputError, match=r"q needs shape \(2,\)"):
        program(sparse.eye_array(2), (NonNegative(2),), q=np.ones(3))
    with pytest.raises(InputError, match="must be finite"):
        program(sparse.eye_array(2), (NonNegative(2),), b=np.array([1.0, np.nan]))


def test_a_program_adds_up_entries_that_appear_twice():
    twice = sparse.csc_array((np.array([1.0, 2.0]), np.array([0, 0]), np.array([0, 2])), shape=(1, 1))
    made = program(twice, (NonNegative(1),))
    assert made.A.nnz == 1
    assert made.A[0, 0] == 3.0
    assert twice.nnz == 2  # the caller's own


def test_row_order_groups_cones_and_keeps_their_own_order():
    cones = (SecondOrder(2), Zero(1), SecondOrder(3), Zero(2))
    made = program(sparse.eye_array(8), cones)
    rows, grouped = row_order(made, (Zero, SecondOrder))
    assert grouped == (Zero(1), Zero(2), SecondOrder(2), SecondOrder(3))
    assert rows.tolist() == [2, 6, 7, 0, 1, 3, 4, 5]


def test_a_missing_cone_is_named():
    made = program(sparse.eye_array(3), (Exponential(),))
    with pytest.raises(UnsupportedProgramError, match=r"'little' cannot read the cones Exponential.*NonNegative"):
        require_cones(made, frozenset({NonNegative}), "little")


def test_dimacs_errors_take_iterates_that_are_not_finite():
    made = program(sparse.eye_array(6), (PSD(2), Exponential()))
    broken = np.full(6, np.nan)
    errors = made.dimacs_errors(Solution(Termination.INFEASIBLE, x=broken, s=broken, y=-np.ones(6)))
    assert np.isnan(errors[:2]).all()
    assert np.isfinite(errors[2:4]).all()
