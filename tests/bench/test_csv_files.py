"""CSV files as people have them: what a name, a label and a number is, and what is said of all else."""

import numpy as np
import polars as pl
import pytest

from cvxrobust.bench.cli import main
from cvxrobust.bench.data import csv_rows
from cvxrobust.bench.data.csv_files import CsvFormat, numbers, read_cells
from cvxrobust.bench.data.dataset import load_dataset
from cvxrobust.bench.workflows.evaluation import EvaluationRequest, evaluate
from cvxrobust.bench.workflows.requests import TrainingRequest
from cvxrobust.bench.workflows.training import prepare, train
from cvxrobust.core.errors import InputError
from cvxrobust.core.settings import Settings

BODY = "".join(f"{k},{k % 3},{k % 2}\n" for k in range(20))


@pytest.fixture
def write(tmp_path):
    def written(content, name="d.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a, a,label", r"names of columns that come more than once: 'a' \(columns 1, 2\)"),
        ("a,a_duplicated_0,a,label", r"more than once: 'a' \(columns 1, 3\)"),
        ("a,label,label ", r"more than once: 'label' \(columns 2, 3\)"),
        ('"a","a\t",label', r"more than once: 'a' \(columns 1, 2\)"),
        (",a,label", r"no name for column 1 .*index=False"),
        ("a, ,label", r"no name for column 2"),
    ],
)
def test_names_that_name_no_single_column_are_refused(write, header, message):
    width = header.count(",") + 1
    with pytest.raises(InputError, match=message):
        load_dataset(write(header + "\n" + ",".join("1" * width) + "\n"))


def test_names_may_look_like_patterns_and_queries(write):
    data = load_dataset(write('^a$,*,"x,y",^.*$,label\n1,2,3,4,0\n5,6,7,8,1\n'))
    assert data.feature_names == ("^a$", "*", "x,y", "^.*$")
    assert data.X.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


NAMES = [("a", "b", "c"), ("x2", "x1", "x3"), ("^b$", "^a$", "*")]


@pytest.mark.parametrize("names", NAMES)
def test_columns_in_another_order_are_matched_by_name_whatever_they_are_called(write, tmp_path, names):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 3)) * [1.0, 5.0, 25.0]
    labels = np.where(X[:, 0] > 0.0, "yes", "no")

    def table(order, extra=""):
        rows = [[*(f"{X[i, j]:.4f}" for j in order), labels[i]] for i in range(40)]
        head = [*(names[j] for j in order), "label"]
        return "\n".join(",".join([*row, *extra]) for row in [head, *rows]) + "\n"

    request = TrainingRequest(
        str(write(table([0, 1, 2]))), Settings(tolerance=1e-2), "standard-sdp", save=tmp_path / "net.npz"
    )
    expected = train(request).accuracies()["test_clean"]
    for order in ([0, 1, 2], [2, 0, 1], [1, 0, 2]):
        found = evaluate(EvaluationRequest(tmp_path / "net.npz", str(write(table(order), "other.csv")), (0.1,)))
        assert (found.rows, found.clean) == ("test", expected)
        assert any("matched by name" in note for note in found.notes) == (order != [0, 1, 2])


def test_arrays_have_no_names_so_files_of_any_are_matched_by_place_or_number(write, tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 3)) * [1.0, 9.0, 1.0]
    y = np.where(X[:, 0] > 0, 1, 0)
    np.savez(tmp_path / "d.npz", X=X, y=y)
    path = tmp_path / "net.npz"
    train(TrainingRequest(str(tmp_path / "d.npz"), Settings(tolerance=1e-2), "standard-sdp", save=path))
    for header, order in (("u,v,w", [0, 1, 2]), ("x3,x1,x2", [2, 0, 1]), ("x1,x2,x3", [0, 1, 2])):
        rows = "".join(f"{','.join(map(repr, row[order].tolist()))},{label}\n" for row, label in zip(X, y, strict=True))
        found = evaluate(EvaluationRequest(path, str(write(f"{header},label\n{rows}")), (0.1,)))
        assert found.rows == "test"


# -- encodings and separators ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_utf8_is_read_with_and_without_a_mark_and_with_any_line_ends(write, mark, ends):
    data = load_dataset(write(mark + f"größe,b,label\n{BODY}".replace("\n", ends).encode()))
    assert data.feature_names == ("größe", "b")
    assert data.X.shape == (20, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"größe,b,label\n{BODY}".encode("latin-1"), r"byte 0xf6 in line 1 is no UTF-8; .*Latin-1, Windows-1252"),
        (f"a,b,label\n{BODY}3,4,größe\n".encode("cp1252"), r"byte 0xf6 in line 22 is no UTF-8"),
        (f"a,b,label\n{BODY}".encode("utf-16"), r"it is UTF-16 \(what Excel calls Unicode text\); save it as UTF-8"),
        (f"a,b,label\n{BODY}".encode("utf-16-be"), r"NUL bytes, so it is UTF-16 without a mark"),
        (f"a,b,label\n{BODY}".encode("utf-32"), r"it is UTF-32"),
        (b"\x1f\x8b\x08\x00rest", r"compressed by gzip; unpack it"),
        (b"PK\x03\x04rest", r"an Excel workbook; save the table as CSV"),
        (
            "a;b;label\n1,5;2;0\n",
            r"header line with semicolons, 'a;b;label', but no commas; give --separator ';' --dec",
        ),
        ("a;b;label\n1.5;2;0\n", r"give --separator ';'\."),
        ("a\tb\tlabel\n1\t2\t0\n", r"header line with tabs, .*give --separator tab"),
        ("sep=;\na;b;label\n1;2;0\n", r"header line with semicolons, 'a;b;label'"),
        ("a;b,c;label\n1;2,3;0\n", r"its columns are a;b, c;label\. .* or give --separator ';'\."),
        ("a,b,label\n1,2,0,7\n", r"data row 1 has 4 cells, but the header line has 3"),
        ('a,b,label\n1,"2,0\n', r"a quotation mark is not closed"),
        ('a,b,label\n"1,5",2,0\n', r"for example '1,5' in column 'a', data row 1\); .*--decimal ','"),
        ("a,b,label\n1e999,2,0\n", r"1 NaN or infinite values, in columns a"),
        ("a,b,label\n1_0,2,0\n0x1,3,1\n", r"columns that are not numbers: a"),
        ("a,b,label\n\u0661,2,0\n", r"columns that are not numbers: a"),
        (f"a,b,label\n1,2,{'x' * 5000}\n", r"a label of 5000 characters"),
    ],
)
def test_what_is_not_read_is_recognised(write, content, message):
    with pytest.raises(InputError, match=message):
        load_dataset(write(content))


@pytest.mark.parametrize("separator", [";", "\t", "tab", "|", " "])
def test_separators_and_decimal_commas_are_read_where_they_are_given(write, separator):
    sign = "\t" if separator == "tab" else separator
    path = write("a,b,label\n-1.5,2,no\n1.25e1,+3,yes\n".replace(",", sign).replace(".", ","))
    data = load_dataset(path, form=CsvFormat(separator, ","))
    assert data.X.tolist() == [[-1.5, 2], [12.5, 3]]
    assert load_dataset(write("sep=;\na;label\n1;0\n2;1\n"), form=CsvFormat(";")).X.tolist() == [[1], [2]]
    path = write("a;b;label\n1.000,5;2;0\n1;2;1\n")
    with pytest.raises(InputError, match=r"not numbers: a \(for example '1\.000,5'"):
        load_dataset(path, form=CsvFormat(";", ","))


@pytest.mark.parametrize(
    "signs",
    [("", "."), ("ab", "."), ('"', "."), ("1", "."), (",", ","), (";", "x"), ("\n", "."), ("é", "."), (".", ".")],
)
def test_signs_that_are_none_are_refused(signs):
    with pytest.raises(InputError, match=r"separator|decimal"):
        CsvFormat(*signs)


# -- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "cells"),
    [
        ('"1,5",x', [["1,5", "x"]]),
        ('"say ""no""",""', [['say "no"', ""]]),
        ('"two\nlines",1\n"",2', [["two\nlines", "1"], ["", "2"]]),
        ('"a"\r\n\r\nb,"c"\r', [["a", ""], ["", ""], ["b", "c"]]),
        ("short\n  \n , spaced ", [["short", ""], ["", ""], ["", "spaced"]]),
        ("1,\n,2", [["1", ""], ["", "2"]]),
        ("x\ry,\x0b2", [["x\ry", "2"]]),
        ('"\n\n",1', [["", "1"]]),
    ],
)
@pytest.mark.parametrize("block", [1, 2, csv_rows.BLOCK])
def test_cells_are_what_stands_between_separators_or_marks(write, monkeypatch, below, cells, block):
    monkeypatch.setattr(csv_rows, "BLOCK", block)
    found = read_cells(write(f'a,"b"\n{below}\n'), CsvFormat())
    assert (found.names, found.texts.tolist()) == (("a", "b"), cells)


@pytest.mark.parametrize(
    ("below", "where"),
    [('5",x', "1"), ('1,2\n"5"x,y', "2"), ('1,2\n3,4\n"5,6\n7,8', "3"), ('a "b",c', "1"), ('"x" ,y', "1")],
)
def test_a_mark_that_is_out_of_place_is_found(write, below, where):
    with pytest.raises(InputError, match=rf"not closed, or stands inside a cell, in data row {where}; quote whole"):
        read_cells(write(f"a,b\n{below}\n"), CsvFormat())


@pytest.mark.parametrize("seed", range(10))
def test_tables_are_read_as_polars_reads_them(write, seed):
    """Text of any kind in quotes, numbers of any size without: to the cell, and to the last bit."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((40, 2)) * 10.0 ** rng.integers(-320, 308, (40, 2))
    signs = list('ab ,;"\n\r\t_äλ\u20281.é')
    texts = ["x" + "".join(rng.choice(signs, rng.integers(0, 9))) + "y" for _ in range(40)]
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    rows = [f"{a!r},{text},{b:.3g}" for (a, b), text in zip(values.tolist(), quoted, strict=True)]
    path = write("\n".join(["a,text,b", *rows]) + "\n")
    expected = pl.read_csv(path, infer_schema=False)
    found = read_cells(path, CsvFormat())
    assert found.texts.tolist() == [list(row) for row in expected.rows()]
    exact = expected.select(pl.col("a", "b").cast(pl.Float64)).to_numpy()
    np.testing.assert_array_equal(numbers(path, found.take([0, 2]), CsvFormat()), exact)
    np.testing.assert_array_equal(exact[:, 0], values[:, 0])


@pytest.mark.parametrize(
    "text", ["1", "+1.", "-.5", "1e5", "1E-05", "00012", "1e999", "-inf", "nan", "Infinity", "9" * 400, "1e-400"]
)
def test_numbers_are_those_of_polars(write, text):
    path = write(f"a\n{text}\n")
    expected = pl.Series([text]).cast(pl.Float64).to_numpy()
    np.testing.assert_array_equal(numbers(path, read_cells(path, CsvFormat()), CsvFormat())[:, 0], expected)


@pytest.mark.parametrize("text", ["1_0", "\u0661", "0x1", "1e", "--1", "1d5", "true", "infin", "1 2", "1e5.0", "."])
def test_nothing_else_is_a_number(write, text):
    assert pl.Series([text]).cast(pl.Float64, strict=False).to_list() == [None]
    path = write(f"a,b\n1,2\n3,{text}\n")
    with pytest.raises(InputError, match=r"not numbers: b \(for example .* data row 2\)"):
        numbers(path, read_cells(path, CsvFormat()), CsvFormat())


# -- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1_1", "1_2"], ("1_1", "1_2")),
        (["01", "1", "2"], ("01", "1", "2")),
        (["1E2", "100", "2E1"], ("100", "1E2", "2E1")),
        (["1_0", "10", "3"], ("10", "1_0", "3")),
        (["\u0661", "\u0662"], ("\u0661", "\u0662")),
        (["9007199254740992.0", "9007199254740993.0"], ("9007199254740992.0", "9007199254740993.0")),
        (["9223372036854775807", "1"], (1, 2**63 - 1)),
        (["9223372036854775808", "1"], ("1", "9223372036854775808")),
        (["9" * 900, "1"], ("1", "9" * 900)),
        (["+1", "-1"], ("-1", "+1")),
        (["-0", "1"], ("-0", "1")),
        (["0.5", "1.5"], (0.5, 1.5)),
        (["0.50", "1.5"], ("0.50", "1.5")),
        (["2.0", "1"], (1, 2)),
        (["true", "false"], ("false", "true")),
        (["1", "x"], ("1", "x")),
        (["inf", "1"], ("1", "inf")),
        (["none", "mild"], ("mild", "none")),
        (["NA", "nan", "null"], ("NA", "nan", "null")),
    ],
)
def test_labels_are_numbers_only_where_text_and_number_agree(write, labels, classes):
    rows = "".join(f"{k},{labels[k % len(labels)]}\n" for k in range(24))
    assert load_dataset(write(f"a,label\n{rows}")).classes == classes


def test_plus_one_is_positive_though_its_sign_sorts_before_the_other(write):
    data = load_dataset(write("a,label\n1,+1\n2,-1\n3,+1\n"))
    assert (data.classes, data.y.tolist()) == (("-1", "+1"), [1.0, -1.0, 1.0])


# -- missing values --------------------------------------------------------------------------------------------------


def test_rows_of_missing_values_are_counted_wherever_they_stand(write):
    text = "a,b,label\n1,2,0\n,,\n3,4,1\nNA,NA,\n\n"
    with pytest.raises(InputError, match=r"6 missing values, in columns a, b, label, data rows 2, 4"):
        load_dataset(write(text))
    data = load_dataset(write(text), form=CsvFormat(drop_incomplete=True))
    assert data.X.tolist() == [[1, 2], [3, 4]]
    assert data.notes[0] == "left out 2 rows with missing values"


def test_what_stands_for_a_missing_value_can_be_said(write):
    path = write("a,b,label\n1,2,none\n-999,3,mild\n4,5,none\n6,7,mild\n")
    assert load_dataset(path).X[1, 0] == -999
    with pytest.raises(InputError, match=r"1 missing values, in columns a, data rows 2"):
        load_dataset(path, form=CsvFormat(missing=("-999",)))
    with pytest.raises(InputError, match=r"2 missing values, in columns label, data rows 1, 3"):
        load_dataset(path, form=CsvFormat(missing=("none",)))
    with pytest.raises(InputError, match=r"columns that are not numbers: a \(for example 'NA'"):
        load_dataset(write("a,label\nNA,0\n1,1\n"), form=CsvFormat(missing=("-",)))


def test_columns_that_carry_nothing_are_named(write):
    rows = "".join(f"{k % 5},7,0.1,{k % 2}\n" for k in range(20))
    request = TrainingRequest(str(write(f"a,same,too,label\n{rows}")), Settings(), "standard-sdp")
    assert (
        "same value in all training rows, so these columns carry nothing: same, too"
        in prepare(request).dataset.notes[-1]
    )


# -- the command line ------------------------------------------------------------------------------------------------


def test_every_command_that_reads_data_takes_the_form_of_a_csv_file(write, tmp_path, capsys):
    path = write("a;b;kind\n" + "".join(f"{k},5;{k * k % 7};{'uv'[k % 2]}\n" for k in range(20)) + "?;1;u\n")
    form = ["--data", path, "--label", "kind", "--separator", ";", "--decimal", ",", "--drop-incomplete"]
    net = tmp_path / "net.npz"
    for command in (
        ["solve", *form, "--problem", "standard-sdp", "--tolerance", "1e-2", "--save", net],
        ["evaluate", net, *form, "--radius", "0.1"],
        ["export", tmp_path / "p.cbf", *form, "--problem", "standard-sdp"],
    ):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in command])
        assert (left.value.code, capsys.readouterr().err.count("error")) == (0, 0)
    with pytest.raises(SystemExit) as left:
        main(["solve", *map(str, form[:4]), "--separator", "??"])
    assert left.value.code == 2


def test_a_form_is_refused_where_there_is_no_csv_file(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.eye(4), y=[0, 1, 0, 1])
    with pytest.raises(InputError, match="is no CSV file"):
        load_dataset(tmp_path / "d.npz", form=CsvFormat(";"))
    with pytest.raises(InputError, match="read in its own form"):
        load_dataset("breast-cancer", form=CsvFormat(";"))
