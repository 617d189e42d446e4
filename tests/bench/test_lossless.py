"""The study of what loses nothing: a case of some kinds, and that it would notice where something did."""

import pytest

from cvxrobust.bench.studies.lossless import KINDS, drawn, measured, wrong

SOME = (
    "polynomial 2 ball", "polynomial 2 mask", "regression 2 covariance", "regression 2 directions", "cone inf scale",
    "cone 2 directions", "one-sided 1 mask", "gated 2 ball",
)  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_models_bounds_networks_and_attacks_agree(name):
    row = {"form": KINDS[name].form, **measured(drawn(KINDS[name], 1), 1)}
    assert wrong(row) == []
    for part, said in (("upper", "upper"), ("lower", "lower")):
        assert said in wrong({**row, part: row[part] + 1e-5 * max(1.0, row["model"])})
    assert "tried" in wrong({**row, "tried": row["high"] + 1e-5})
    assert wrong({**row, "flips": 1}) == ["distance"]


def test_cases_are_the_same_every_time():
    first, again = (drawn(KINDS["cone 2 covariance"], 7) for _ in range(2))
    assert (first.X == again.X).all()
    assert (first.S == again.S).all()
    assert first.loss == again.loss
