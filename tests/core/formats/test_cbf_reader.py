"""The reader of CBF files reads what the format's description says, and refuses the rest."""

import numpy as np
import pytest
from solver_files import cbf_blocks
from solver_files.cbf_reader import CBFError, parse, to_conic

from cvxrobust.core.conic.cones import PSD, svec
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.settings import Settings

SDP = """
# After the example of the format's description: matrix variables in scalar constraints, and comments anywhere.
VER
1
OBJSENSE
MIN
PSDVAR
1
3

VAR
3 1
F 3
PSDCON
1
2
CON
5 2
L= 2
Q 3
OBJFCOORD
5
0 0 0 2.0
0 1 0 1.0
0 1 1 2.0
0 2 1 1.0
0 2 2 2.0
OBJACOORD
1
1 1.0
FCOORD
9
0 0 0 0 1.0
0 0 1 1 1.0
0 0 2 2 1.0
1 0 0 0 1.0
1 0 1 0 1.0
1 0 2 0 1.0
1 0 1 1 1.0
1 0 2 1 1.0
1 0 2 2 1.0
ACOORD
6
0 1 1.0
1 0 1.0
1 2 1.0
2 1 1.0
3 0 1.0
4 2 1.0
BCOORD
2
0 -1.0
1 -0.5
HCOORD
4
0 0 1 1 1.0
0 1 0 0 1.0
0 2 0 1 0.5
0 2 1 1 1.0
DCOORD
1
0 1 0 -0.25
CHANGE
nothing that follows is read
"""


def small(cone, size, sense="MIN", costs="0 1"):
    """``min`` (or ``max``) of one coordinate over a slice of a cone."""
    return f"VER\n2\nOBJSENSE\n{sense}\nVAR\n{size} 1\n{cone} {size}\nOBJACOORD\n1\n{costs}\n"


def fixed(text, *values):
    """The same with coordinates from the second on fixed."""
    rows = "".join(f"{k} {k + 1} 1\n" for k in range(len(values)))
    constants = "".join(f"{k} {-value}\n" for k, value in enumerate(values))
    size = len(values)
    return f"{text}CON\n{size} 1\nL= {size}\nACOORD\n{size}\n{rows}BCOORD\n{size}\n{constants}"


def optimum(text):
    conic = to_conic(parse(text))
    return conic.objective(get_backend("clarabel").solve(conic.program, Settings(tolerance=1e-8)).x)


def test_matrices_count_both_triangles():
    cbf = parse(SDP)
    rng = np.random.default_rng(0)
    x, half = rng.standard_normal(3), rng.standard_normal((3, 3))
    X = half + half.T
    v = np.concatenate([x, svec(X)])
    C = np.array([[2.0, 1, 0], [1, 2, 1], [0, 1, 2]])
    assert cbf.c @ v + cbf.offset == pytest.approx(np.sum(C * X) + x[1])
    rows = cbf.G @ v + cbf.h
    scalars = [np.trace(X) + x[1] - 1, X.sum() + x[0] + x[2] - 0.5, x[1], x[0], x[2]]
    matrix = np.array([[x[1], 0.5 * x[2] - 0.25], [0.5 * x[2] - 0.25, x[0] + x[2]]])
    assert rows == pytest.approx(np.concatenate([scalars, svec(matrix)]))
    conic = to_conic(cbf)
    assert [cone.dim for cone in conic.program.cones] == [2, 3, 3, 6]
    assert conic.program.cones[-1] == PSD(3)


def test_the_duals_balance_the_costs():
    conic = to_conic(parse(SDP))
    found = get_backend("clarabel").solve(conic.program, Settings(tolerance=1e-8))
    rows, columns = conic.duals(found.y)
    assert conic.cbf.c - conic.cbf.G.T @ rows - columns == pytest.approx(np.zeros(9), abs=1e-7)
    assert columns[:3] == pytest.approx(np.zeros(3))  # free variables have none


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fixed(small("Q", 3), 3.0, 4.0), 5.0),
        (fixed(small("QR", 3), 2.0, 4.0), 4.0),
        (fixed(small("EXP", 3), 2.0, 3.0), 2.0 * np.exp(1.5)),
        (fixed(small("EXP*", 3), 3.0, -2.0), 2.0 * np.exp(-1.5 - 1.0)),
        (fixed(small("SVECPSD", 3), 2.0, 4.0), 0.5),  # [[t, 2 / sqrt 2], [., 4]]
        (small("L+", 2) + "OBJBCOORD\n-7.5\n", -7.5),
        (small("L-", 2, "MAX"), 0.0),
        (small("L=", 2, "MAX"), 0.0),
    ],
    ids=["Q", "QR", "EXP", "EXP*", "SVECPSD", "L+", "L-", "L="],
)
def test_every_cone_is_the_one_described(text, expected):
    assert optimum(text) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("VER\n9\n", "version 9"),
        ("OBJSENSE\nMIN\n", "VER and OBJSENSE"),
        ("VER\n3\nOBJSENSE\nBEST\n", "'BEST' was not expected"),
        (small("L+", 2) + "VAR\n2 1\nF 2\n", "VAR appears twice"),
        (small("L+", 2) + "WHAT\n0\n", "WHAT: this block is not known"),
        (small("L+", 2) + "ACOORD\n1\n0 0 1\n", "not below 0"),
        (small("L+", 2, costs="2 1"), "not below 2"),
        (small("L+", 2) + "PSDVAR\n1\n2\nOBJFCOORD\n1\n0 2 0 1\n", "outside its matrix"),
        (small("L+", 2) + "PSDVAR\n1\n2\nOBJFCOORD\n2\n0 1 0 1\n0 0 1 1\n", "given twice"),
        (small("L+", 2) + "BCOORD\n2\n0 1\n", "announces 2 lines"),
        (small("L+", 2) + "BCOORD\n1\n0 0 1\n", "expected 1 indices"),
        ("VER\n3\nOBJSENSE\nMIN\nVAR\n3 1\nL+ 2\n", "were announced"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(CBFError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (small("L+", 2) + "INT\n1\n1\n", "integer variables"),
        ("VER\n3\nOBJSENSE\nMIN\nPOWCONES\n1 2\n2\n1.0\n2.5\nVAR\n3 1\n@0:POW 3\n", "expresses @0:POW"),
        (small("EXP", 4), "EXP cannot have size 4"),
        (small("QR", 1), "QR cannot have size 1"),
        (small("SVECPSD", 4), "SVECPSD cannot have size 4"),
    ],
)
def test_what_no_conic_programme_can_say_is_refused(text, message):
    instance = parse(text)
    with pytest.raises(CBFError, match=message):
        to_conic(instance)


def test_parameters_of_power_cones_are_kept():
    powers = parse("VER\n3\nOBJSENSE\nMIN\nPOWCONES\n2 5\n2\n1.0\n2.5\n3\n1\n2\n3\nVAR\n3 1\n@1:POW 3\n").powers
    assert powers == {"POWCONES": ((1.0, 2.5), (1.0, 2.0, 3.0))}
    assert set(cbf_blocks.COORDINATES) >= {"ACOORD", "FCOORD", "HCOORD"}
