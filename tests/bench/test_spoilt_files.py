"""Whatever accident befell a file: it is read, or refused with a sentence, and nothing else.

`CVXROBUST_MUTATIONS=10000` searches thoroughly.
"""

import io

import numpy as np
import pytest
from mutations import archives, assignments, mutations

from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.bench.data.dataset import load_dataset, stratified_split
from cvxrobust.bench.harness.suite.suite import SUITES, load_suite, suite_text
from cvxrobust.bench.workflows.requests import describe
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.problems.polynomial.standard_sdp import StandardSDP

# fmt: off
CELLS = (
    b"", b",", b";", b"\t", b'"', b"\n", b"\r", b"\r\n", b"NA", b"nan", b"inf", b"1e999", b"1e-999", b"-0", b"01",
    b"1_0", b"1E2", b"1,5", b"0x1", b"none", b"?", b"label", b"a", b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xe4",
    b"9" * 400, "\u0661".encode(), "\u00df".encode(), b"9223372036854775808", b"sep=;\n", b"=1+1", b"1.0", b"-",
)
VALUES = (
    b"nan", b"inf", b"-1", b"0", b"1e400", b"true", b"[]", b"[[]]", b"{}", b"''", b'"x"', b"1979-05-27", b"9" * 30,
    b"[[problems]]\n", b"[x]\n", b"\x00", b"\xff", b"=", b"#", b'"""', b"4 parsec", b"nowhere.csv", b"csv = 3\n",
    b"label_column = 3\n", b"n = 0\n", b"[1, 2]", b"0.5", b"methods", b"*", b'"2"', b"[]", b"[true]", b"[{}]", b"-0.5",
    b'{separator = 3}', b"1.5", b"9" * 19, b"1979-05-27T07:32:00Z", b"[nan]", b'["x", 3]', b"1e-400", b"0x10", b"1_0",
)
# fmt: on


def words(action):
    """What is said against it; empty if nothing is."""
    try:
        action()
    except CvxRobustError as error:
        return str(error)
    return ""


def table(separator=",", decimal="."):
    rng = np.random.default_rng(0)
    rows = [[f"{x:.3f}".replace(".", decimal) for x in rng.normal(size=3)] for _ in range(12)]
    lines = [separator.join([*row, ("yes", "no", "3")[k % 3]]) for k, row in enumerate(rows)]
    return "\n".join([separator.join(["a", '"b c"', "x1", "label"]), *lines, ""]).encode()


def packed(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def use(data):
    """What any command makes of data, up to the first solver."""
    train, _ = stratified_split(data)
    standardizer = Standardizer.fit(train.X, data.feature_names)
    StandardSDP(standardizer.transform(train.X), train.y)
    describe(data)
    assert np.isfinite(data.X).all()
    assert len(data.feature_names) == len(set(data.feature_names)) == data.n_features
    assert data.y.shape == (data.n_rows,)


@pytest.mark.parametrize("form", [CsvFormat(), CsvFormat(";", ",", drop_incomplete=True)], ids=["plain", "semicolons"])
def test_a_spoilt_csv_file_is_read_or_refused(form, tmp_path):
    path = tmp_path / "d.csv"
    for data in mutations(table(form.separator, form.decimal), CELLS, seed=1):
        path.write_bytes(data)
        assert "polars" not in words(lambda: use(load_dataset(path, form=form))).lower()


def test_a_spoilt_npz_file_is_read_or_refused(tmp_path):
    path = tmp_path / "d.npz"
    rng = np.random.default_rng(0)
    original = packed(X=rng.normal(size=(12, 3)), y=np.arange(12) % 3, labels=np.array(list("abcabcabcabc")))
    for data in archives(original, seed=2):
        path.write_bytes(data)
        for label in (None, "labels"):
            words(lambda label=label: use(load_dataset(path, label=label)))


@pytest.mark.parametrize("name", ["relu", "paper"])
def test_a_spoilt_suite_is_read_or_refused(name, tmp_path):
    path = tmp_path / "s.toml"
    for data in assignments((SUITES / f"{name}.toml").read_bytes(), VALUES, seed=3):
        path.write_bytes(data)
        said = words(lambda: load_suite(str(path)).cases()) + words(lambda: suite_text(str(path)))
        assert "Input should" not in said
        assert "Value error" not in said
