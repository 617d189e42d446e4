"""Networks, standardisers and their files refuse what they are not, and what nothing can be asked about."""

from functools import partial
from inspect import ismethod, signature

import numpy as np
import pytest
from wrong_inputs import Entry, review, with_defaults
from wrong_values import NO_ROWS, SIGNS, WRONG, X, cases, of_parameters

from cvxrobust import PolynomialNetwork, ReLUNetwork, Standardizer, load

SQUARE = np.eye(2)
LAST = {"u": [[1.0, 0.0]], "alpha": [1.0]}
GIVEN = {"X": X, "y": SIGNS, "radius": 0.1, "radii": [0.1], "path": "x.npz"}
"""What is right, by parameter."""

POLYNOMIAL = (
    ({"u": None}, "u has shape () and alpha (1,)"),
    ({"u": [1.0, 0.0]}, "u has shape (2,) and alpha (1,)"),
    ({"u": "x"}, "u cannot be read as numbers (it holds text, such"),
    ({"u": [["a", "b"]]}, "u cannot be read as numbers (it holds text, such"),
    ({"u": [[1], [1, 2]]}, "u cannot be read as numbers (its rows are not all"),
    ({"alpha": None}, "u has shape (1, 2) and alpha ()"),
    ({"alpha": [1.0, 2.0]}, "u has shape (1, 2) and alpha (2,)"),
    ({"alpha": ["a"]}, "alpha cannot be read as numbers (it holds text,"),
    ({"alpha": [[1.0, 2.0], [3, 4.0]]}, "u has shape (1, 2) and alpha (2, 2)"),
    ({"activation": "relu"}, "activation is 'relu'"),
    ({"activation": 2}, "activation is 2"),
    ({"activation": (1, np.nan, 0)}, "activation is (1, nan, 0)"),
    ({"classes": ("a",)}, "1 classes given for a network that tells 2 apart:"),
    ({"classes": ("a", "b", "c")}, "3 classes given for a network that tells 2 apart:"),
    ({"classes": 3}, "classes is 3"),
    ({"classes": "ab"}, "classes is 'ab'"),
    ({"classes": ("a", "a")}, "classes ('a', 'a') are not distinct"),
    ({"regression": "x"}, "regression is 'x'"),
    ({"standardizer": 3}, "standardizer is 3"),
    ({"metadata": 3}, "metadata is 3"),
    ({"norm": 3}, "unknown norm 3"),
    ({"norm": 1}, "norm is 1"),
    ({"ellipsoid": 3}, "ellipsoid is 3"),
    ({"complement": 3}, "complement is 3"),
)

RELU = (
    ({"u": None}, "u has shape () and alpha (1,)"),
    ({"u": [1.0, 0.0]}, "u has shape (2,) and alpha (1,)"),
    ({"u": "x"}, "u cannot be read as numbers (it holds text, such"),
    ({"u": [["a", "b"]]}, "u cannot be read as numbers (it holds text, such"),
    ({"u": [[]]}, "u has shape (1, 0)"),
    ({"alpha": None}, "u has shape (1, 2) and alpha ()"),
    ({"alpha": [1.0, 2.0]}, "u has shape (1, 2) and alpha (2,)"),
    ({"alpha": ["a"]}, "alpha cannot be read as numbers (it holds text,"),
    ({"alpha": [[1.0, 2.0], [3, 4.0]]}, "u has shape (1, 2) and alpha (2, 2)"),
    ({"bias": "x"}, "bias is 'x'"),
    ({"bias": 3}, "bias is 3"),
    ({"bias": True, "u": [[1.0]]}, "u has shape (1, 1)"),
    ({"classes": ("a",)}, "1 classes given for a network that tells 2 apart:"),
    ({"classes": ("a", "b", "c")}, "3 classes given for a network that tells 2 apart:"),
    ({"classes": 3}, "classes is 3"),
    ({"classes": ("a", "a")}, "classes ('a', 'a') are not distinct"),
    ({"regression": "x"}, "regression is 'x'"),
    ({"standardizer": 3}, "standardizer is 3"),
    ({"metadata": 3}, "metadata is 3"),
    ({"slots": 3}, "slots is 3"),
    ({"slots": (1, 2)}, "2 slots given for 1 neurons"),
    ({"norm": 3}, "unknown norm 3"),
    ({"norm": "x"}, "unknown norm 'x'"),
    ({"ellipsoid": 3}, "ellipsoid is 3"),
)

UNKNOWN_FIELDS = tuple(
    ({name: 1}, f"Network {name!r}; known: ") for name in ("tolerance", "alhpa", "U", "bais", "weights", "klass")
)
"""What `replace` is asked to change, but is not there."""

NO_TRANSFORMED = tuple(one for one in NO_ROWS if "too large" not in one[1])
"""What a standardizer may be given is what networks are, and larger."""

NETWORKS = tuple(family(SQUARE, np.array([1.0, -1.0])) for family in (PolynomialNetwork, ReLUNetwork))
INTERNAL = ("from_stored", "contests", "quadratic")
"""Methods that files and certificates are made by."""


def questions(network):
    """The methods of a network that take arguments, as entries; every parameter has its wrong values."""
    for name in dir(network):
        method = None if name.startswith("_") or name in ("replace", *INTERNAL) else getattr(network, name)
        if ismethod(method) and signature(method).parameters:
            given = {one: GIVEN[one] for one in signature(method).parameters if one in GIVEN}
            full = f"{type(network).__name__}.{name}"
            yield Entry(full, with_defaults(method, **given), of_parameters(method, WRONG))


ENTRIES = (
    Entry("PolynomialNetwork", with_defaults(PolynomialNetwork, **LAST), POLYNOMIAL),
    Entry("PolynomialNetwork.replace", PolynomialNetwork(**LAST).replace, POLYNOMIAL + UNKNOWN_FIELDS),
    Entry("ReLUNetwork", with_defaults(ReLUNetwork, **LAST), RELU),
    Entry("ReLUNetwork.replace", ReLUNetwork(**LAST).replace, RELU + UNKNOWN_FIELDS),
    *(entry for network in NETWORKS for entry in questions(network)),
    Entry("load", load, WRONG["path"]),
    Entry(
        "Standardizer",
        with_defaults(Standardizer, mean=[0.0, 0.0], scale=[1.0, 1.0]),
        (
            ({"mean": None}, "mean has shape ()"),
            ({"mean": [1.0]}, "mean has 1 numbers and scale 2"),
            ({"mean": "x"}, "mean cannot be read as numbers (it holds text,"),
            ({"mean": [np.nan, 1]}, "mean holds nan at column 0"),
            ({"mean": [[0.0, 0]]}, "mean has shape (1, 2)"),
            ({"mean": 3.0}, "mean has shape ()"),
            ({"mean": [1, "a"]}, "mean cannot be read as numbers (it holds text,"),
            ({"scale": [0, 1]}, "scale holds 0 at column 0"),
            ({"scale": [-1, 1]}, "scale holds -1 at column 0"),
            ({"scale": [np.inf, 1]}, "scale holds inf at column 0"),
            ({"scale": None}, "scale has shape ()"),
            ({"scale": [1, 1, 1]}, "mean has 2 numbers and scale 3"),
            ({"scale": "x"}, "scale cannot be read as numbers (it holds text,"),
            ({"scale": 2.0}, "scale has shape ()"),
            ({"scale": [None, 1]}, "scale holds nan at column 0"),
            ({"names": ("a",)}, "names are ('a',)"),
            ({"names": "ab"}, "names is 'ab'"),
            ({"names": 3}, "names is 3"),
            ({"names": (1, 2)}, "names are (1, 2)"),
            ({"names": None}, "names is None"),
        ),
    ),
    Entry(
        "Standardizer.fit",
        with_defaults(Standardizer.fit, X=X),
        (
            *cases("X", [(value, says) for value, says in NO_ROWS if says.startswith(("it holds", "its rows"))]),
            ({"X": None}, "X has shape ()"),
            ({"X": X[0]}, "X has shape (2,)"),
            ({"X": 5}, "X has shape ()"),
            ({"X": []}, "X has shape (0,)"),
            ({"X": [[]]}, "X has shape (1, 0)"),
            ({"X": X[:0]}, "X has shape (0, 2)"),
            ({"names": ("a",)}, "names are ('a',)"),
            ({"names": "ab"}, "names is 'ab'"),
            ({"names": 3}, "names is 3"),
            ({"names": (1, 2)}, "names are (1, 2)"),
            ({"weights": [1]}, "weights has shape (1,)"),
            ({"weights": -np.ones(16)}, "weights holds -1 at position 0"),
            ({"weights": "x"}, "weights cannot be read as numbers (it holds text,"),
            ({"weights": np.zeros(16)}, "weights is zero for every row"),
            ({"weights": [[1.0] * 16]}, "weights has shape (1, 16)"),
        ),
    ),
    Entry("Standardizer.transform", Standardizer.fit(X).transform, cases("X", NO_TRANSFORMED)),
)


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_wrong_inputs_are_refused_in_our_own_words(entry):
    assert "\n".join(review(entry)) == ""


def _files(folder):
    """Files that hold no polynomial network, by what is to be said of each."""
    whole = folder / "whole.npz"
    NETWORKS[0].save(whole)
    NETWORKS[1].save(folder / "relu.npz")
    np.savez(folder / "data.npz", X=X, y=SIGNS)
    contents = {
        "cut.npz": whole.read_bytes()[:200], "empty.npz": b"", "table.csv": b"a,b\n1,2\n", "a.pkl": b"\x80\x04",
        "zeros.npz": bytes(100), "a.npy": b"\x93NUMPY", "a.gz": b"\x1f\x8b", "a.json": b"{}", "a.html": b"<html>",
        "a.png": b"\x89PNG", "a.parquet": b"PAR1", "noise": b"\xfe\xed\xfa\xce", "net.txt": b"hello",
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {
        "relu.npz": "holds a ReLU network, not a polynomial one", "data.npz": "holds data: 'X', 'y'",
        "cut.npz": "damaged or cut short after 200 bytes", "empty.npz": "it is empty", "table.csv": "perhaps CSV",
        "a.pkl": "a Python pickle, which is never loaded", "zeros.npz": "nothing but zeros",
        "a.npy": "a single NumPy array", "a.gz": "compressed by gzip", "a.json": "perhaps JSON",
        "a.html": "perhaps HTML", "a.png": "a picture", "a.parquet": "a Parquet file", "noise": "damaged, encrypted",
        "net.txt": "begins with 'hello'", "none.npz": "there is no file", "": "it is a folder",
    }  # fmt: skip


def test_a_file_that_holds_something_else_is_said_to(tmp_path):
    found = tuple(({"path": tmp_path / name}, says) for name, says in _files(tmp_path).items())
    assert review(Entry("PolynomialNetwork.load", PolynomialNetwork.load, found), fewest=len(found)) == []


def test_a_network_that_cannot_be_written_where_it_was_to_go_is_not_lost(tmp_path):
    found = ((tmp_path, "Is a directory"), (tmp_path / "none" / "x.npz", "No such file or directory"))
    given = tuple(({"path": path}, f"{says}. The network") for path, says in found)
    assert review(Entry("save", partial(NETWORKS[1].save), given), fewest=2) == []
