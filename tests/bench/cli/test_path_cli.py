"""``cvxrobust path`` as a user meets it."""

import json

import pytest
from strict_json import pure_json

import cvxrobust
from cvxrobust.bench.cli.options import parse_values
from cvxrobust.core.errors import InputError


def test_a_path_writes_networks_table_and_picture_and_goes_on(run, csv, tmp_path):
    out = tmp_path / "out"
    asked = ["path", "--data", csv, "--betas", "1:0.1:3", "--radii", "0,0.2", "--tolerance", 1e-2, "--out", out]
    code, said, err = run(*asked)
    assert code == 0
    assert "6 of 6 points certified to 1e-02" in said
    assert err.count("gap") == 6
    assert (out / "surface.png").read_bytes().startswith(b"\x89PNG")
    known = json.loads((out / "path.json").read_text())
    assert len(known["points"]) == len(list((out / "networks").glob("*.npz"))) == 6
    assert all(0.0 <= point["accuracy"] <= 1.0 for point in known["points"])
    network = cvxrobust.load(out / "networks" / "beta=0.1,radius=0.2.npz")
    assert network.standardizer is not None
    assert (network.metadata["beta"], network.metadata["radius"]) == (0.1, 0.2)
    code, said, err = run(*asked, "--json", "--quiet")
    assert (code, err) == (0, "")
    again = pure_json(said)
    assert [point["upper"] for point in again["points"]] == [point["upper"] for point in known["points"]]


def test_problems_without_attacks_need_no_radii(run, csv):
    code, said, _ = run(
        "path", "--data", csv, "--problem", "standard-sdp", "--betas", "1,0.3", "--tolerance", 0.01, "-q"
    )
    assert code == 0
    assert "2 of 2 points" in said
    code, _, err = run("path", "--data", csv, "--problem", "standard-sdp", "--radii", "0.1")
    assert code == 2
    assert "is trained without attacks" in err
    code, _, err = run("path", "--data", csv)
    assert code == 2
    assert "give --radii, for example 0:0.5:6" in err


def test_values_are_lists_or_ranges():
    assert parse_values("1,0.1", "--betas", geometric=True) == [1.0, 0.1]
    assert parse_values("1:0.01:3", "--betas", geometric=True) == pytest.approx([1.0, 0.1, 0.01])
    assert parse_values("0:1:3", "--radii", geometric=False) == [0.0, 0.5, 1.0]
    for wrong in ("", "a", "0:1", "0:1:3", "1:2:x", "1:2:-1"):
        with pytest.raises(InputError, match="--betas got"):
            parse_values(wrong, "--betas", geometric=True)
