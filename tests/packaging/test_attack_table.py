"""The table of attacks in problems/README.md is what the code says, and what it says is so."""

import numpy as np
import pytest
from papers import ROOT, read, table_rows
from papers.attacks import BRACKETED, EXACT, HEADING, REFUSED, answer, columns, made, rows, table

from cvxrobust import Settings, StreamedSDP, solve
from cvxrobust.core.programs.rows import row_blocks

NOT_REFUSED = [
    (*column, norm, shape)
    for norm, shape, *cells in rows()
    for column, cell in zip(columns().values(), cells, strict=True)
    if cell != REFUSED
]


def test_the_table_of_attacks_is_what_the_code_says():
    expected = "\n".join(table())
    assert table_rows(read(ROOT / "problems" / "README.md"), HEADING) == rows(), (
        f"write this into problems/README.md, section {HEADING}:\n{expected}"
    )


def test_losses_of_targets_differ_where_the_page_says():
    ours, theirs = rows(), rows("squared")
    kinds = list(columns().values())
    for row, other in zip(ours, theirs, strict=True):
        for (family, formulation), cell, found in zip(kinds, row[2:], other[2:], strict=True):
            boxed = formulation is None and cell == BRACKETED
            assert found == (REFUSED if formulation == "one-sided" or boxed else cell), (row[:2], family, formulation)


@pytest.mark.parametrize(
    ("family", "formulation", "norm", "shape"),
    NOT_REFUSED,
    ids=["-".join([one[0].__name__, *(str(part) for part in one[1:] if part)]) for one in NOT_REFUSED],
)
def test_what_is_called_exact_is_and_what_is_bracketed_lies_between_its_bounds(family, formulation, norm, shape):
    problem = made(family, formulation, "hinge", norm, shape)
    result = solve(problem, settings=Settings(tolerance=1e-3 if family is StreamedSDP else 1e-6))
    upper = result.certificate.upper
    assert result.network.n_neurons > 0  # without neurons everything would be exact
    if formulation is None and answer(family, formulation, "hinge", norm, shape) == BRACKETED:
        low, high = (result.report["box"][name] for name in ("attacked_objective", "certified_objective"))
        assert low <= high == upper
        return
    if formulation is None:
        network, y = result.network, problem.y
        inputs = np.vstack([block for _, block in row_blocks(problem.X)])
        worst = network.worst_case(inputs, y, 0.05)
        reached = np.maximum(0.0, 1.0 - y * network.decision_function(worst.points)).mean() + 0.02 * network.penalty
        assert reached == pytest.approx(upper, rel=1e-9)
        return
    low, high = result.report["network_objective_at_least"], result.report["network_objective_at_most"]
    assert low <= high * (1.0 + 1e-12)
    if answer(family, formulation, "hinge", norm, shape) == EXACT:
        assert (low, high) == pytest.approx((upper, upper), rel=1e-6)
    else:
        assert answer(family, formulation, "hinge", norm, shape) == BRACKETED
        assert not problem.rules.one_sided or high <= upper * (1.0 + 1e-9)
