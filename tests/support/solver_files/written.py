"""Files as outside solvers write them, and SDPA files read by nobody's code but this."""

import numpy as np
from scipy import sparse

from cvxrobust.core import PSD, ConicProgram, NonNegative, Settings, get_backend, smat, svec


def mosek_text(activities, duals, x, status="OPTIMAL"):
    """A solution file as MOSEK 11.2 writes it."""
    head = f"NAME                : \nPROBLEM STATUS      : PRIMAL_AND_DUAL_FEASIBLE\nSOLUTION STATUS     : {status}\n"
    conic = [
        f"{k:<10} A1   {k:<10} {a:<24.14g} {d:<24.14g}" for k, (a, d) in enumerate(zip(activities, duals, strict=True))
    ]
    variables = [f"{k:<10} X{k + 1:<17} UN {v:<24.14g} NONE   NONE   0   0" for k, v in enumerate(x)]
    return "\n".join(
        [
            f"{head}OBJECTIVE NAME      : OBJ\nPRIMAL OBJECTIVE    : 1.5\nDUAL OBJECTIVE      : 1.5\n",
            "AFFINE CONIC CONSTRAINTS\nINDEX      NAME  I   ACTIVITY   DUAL",
            *conic,
            "\nVARIABLES\nINDEX   NAME   AT ACTIVITY   LOWER LIMIT  UPPER LIMIT   DUAL LOWER   DUAL UPPER",
            *variables,
        ]
    )


def read_sdpa(path):
    """Costs, block sizes, and for each block F_0, F_1, ... as dense matrices (the linear block as diagonals)."""
    lines = [line for line in path.read_text(encoding="ascii").splitlines() if not line.startswith('"')]
    sizes = [int(word) for word in lines[2].split()]
    F = [np.zeros((int(lines[0]) + 1, abs(size), abs(size))) for size in sizes]
    for line in lines[4:]:
        k, block, i, j = (int(word) for word in line.split()[:4])
        assert i <= j, "SDPA files hold upper triangles"
        assert F[block - 1][k, i - 1, j - 1] == 0.0, "given twice"
        F[block - 1][k, i - 1, j - 1] = F[block - 1][k, j - 1, i - 1] = float(line.split()[4])
    assert int(lines[1]) == len(sizes)
    return np.array(lines[3].split(), dtype=float), sizes, F


def sdpa_program(c, sizes, F):
    """``min c'x  s.t.  sum x_k F_k - F_0  psd``, all blocks as PSD cones but the linear one."""
    stacked = [
        np.stack([np.diag(f) for f in block]) if size < 0 else svec(block) for size, block in zip(sizes, F, strict=True)
    ]
    everything = np.hstack(stacked)
    cones = tuple(NonNegative(-size) if size < 0 else PSD(size) for size in sizes)
    return ConicProgram(c, sparse.csc_array(-everything[1:].T), -everything[0], cones)


def matrices(sizes, vector):
    """The blocks of a vector in the rows of `sdpa_program`."""
    found, start = [], 0
    for size in sizes:
        rows = -size if size < 0 else size * (size + 1) // 2
        part = vector[start : start + rows]
        found.append(np.diag(part) if size < 0 else smat(part))
        start += rows
    return found


def sdpa_answer(path):
    """Solve an SDPA file by other means: x, slack matrices, dual matrices."""
    c, sizes, F = read_sdpa(path)
    found = get_backend("clarabel").solve(sdpa_program(c, sizes, F), Settings(tolerance=1e-9))
    return sizes, found.x, matrices(sizes, found.s), matrices(sizes, found.y)


def csdp_text(x, Z, X):
    lines = [" ".join(f"{v:.18e}" for v in x)]
    for number, blocks in ((1, Z), (2, X)):
        for k, block in enumerate(blocks):
            rows, columns = np.nonzero(np.triu(block))
            lines += [
                f"{number} {k + 1} {i + 1} {j + 1} {block[i, j]:.18e} " for i, j in zip(rows, columns, strict=True)
            ]
    return "\n".join(lines) + "\n"


def sdpa_text(sizes, x, X, Y, phase="pdOPT"):
    def matrix(size, block):
        rows = [np.diag(block)] if size < 0 else block
        return "{ " + ",\n ".join("{" + ",".join(f"{v:+.16e}" for v in row) + " }" for row in rows) + " }"

    def blocks(found):
        return "{\n" + "\n".join(matrix(size, block) for size, block in zip(sizes, found, strict=True)) + "\n}\n"

    numbers = ",".join(f"{v:+.16e}" for v in x)
    head = f"SDPA start\nphase.value  = {phase}     \n"
    return f"{head}xVec = \n{{{numbers}}}\nxMat = \n{blocks(X)}yMat = \n{blocks(Y)}    main loop time = 0.04\n"
