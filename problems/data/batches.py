"""Data sets too large for memory: batches that are read again for every pass."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.arguments import function
from cvxrobust.core.errors import InputError
from cvxrobust.core.programs.rows import Rows
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers, check_finite, check_sizes, label_array
from cvxrobust.core.weights import Weighing

Array = NDArray[np.float64]
Pairs = Iterable[tuple[Any, Any]]


class Batches:
    """Inputs and labels that come in batches, the same ones in the same order every time.

    Labels are kept in memory, and of the inputs what tells whether a later pass reads the same: nothing more.

    Args:
        batches: Yields pairs ``(X, y)`` of arrays or tensors of shape (b, d) and (b,), and can be iterated over again
            and again (a list, a `torch.utils.data.DataLoader` without shuffling); or a function that returns such an
            iterator, called once for every pass.

    Attributes:
        X: The inputs, for `StreamedSDP`: a `cvxrobust.core.programs.rows.Rows`.
        y: All labels as given, shape (n,).

    Raises:
        InputError: There is no batch, batches do not fit together, hold NaN or inf, or can be read only once.
    """

    def __init__(self, batches: Pairs | Callable[[], Pairs]) -> None:
        self._batches = batches
        if callable(batches):
            function(batches, "batches", "nothing that opens the data", 0)
        if isinstance(batches, Iterator):
            raise InputError(
                f"batches is {shown(batches)}, which can be read only once; pass a function that opens the "
                "data anew, for example lambda: read(path)."
            )
        labels: list[NDArray[Any]] = []
        sums: list[int] = []
        digest, width, start = hashlib.sha256(), 0, 0
        for k, (X, y) in enumerate(self._pairs()):
            place = f"batch {k} (from row {start})"
            inputs, target = _inputs(X, place), _labels(y, place)
            width = width or inputs.shape[1]
            if width < 1 or inputs.shape[1] != width or target.shape != (inputs.shape[0],):
                raise InputError(
                    f"{place} has X of shape {inputs.shape} and y of shape {target.shape}; "
                    f"expected (b, {width or 'd'}) and (b,)."
                )
            check_finite(inputs, f"X of {place}", "drop or impute missing values (rows are counted within the batch)")
            check_sizes(inputs)
            digest.update(inputs.data)
            # A copy: whoever reads files may fill the same arrays again and again.
            labels.append(target.copy())
            sums.append(_checksum(inputs))
            start += inputs.shape[0]
        if not labels:
            raise InputError("batches yields no batch with rows; expected pairs (X, y).")
        if len({part.dtype.kind == "U" for part in labels}) > 1:
            raise InputError("y mixes strings and numbers in different batches; expected labels of one kind.")
        self.y: NDArray[Any] = np.concatenate(labels)
        self.X = _Inputs(self, (start, width), tuple(part.size for part in labels), tuple(sums), digest.hexdigest())

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        opened = callable(self._batches)
        source = self._batches() if callable(self._batches) else self._batches
        single = isinstance(source, str | bytes | Mapping) or getattr(source, "shape", None) == ()
        if not isinstance(source, Iterable) or single:
            raise InputError(
                f"batches {'returns' if opened else 'is'} {shown(source)}; expected pairs "
                "(X, y) that can be read again and again, for example a list, or a function that opens them."
            )
        for number, pair in enumerate(source):
            X, y = _pair(pair, number)
            if _count(X, number):
                yield X, y


def _pair(pair: Any, number: int) -> tuple[Any, Any]:
    """Inputs and labels of a batch.

    Raises:
        InputError: It is no pair.
    """
    if isinstance(pair, tuple | list) and len(pair) == 2:
        return pair[0], pair[1]
    what = f"of {len(pair)} parts" if isinstance(pair, tuple | list) else shown(pair)
    raise InputError(f"batches does not yield pairs (X, y): number {number} is {what}; expected (X, y) for each.")


def _count(X: Any, number: int) -> int:
    """Rows of a batch of any kind; sparse matrices have no length.

    Raises:
        InputError: It has none.
    """
    if isinstance(getattr(X, "shape", None), tuple) and X.shape:
        return int(X.shape[0])
    if not hasattr(X, "__len__"):
        raise InputError(f"batches does not yield pairs (X, y): X of number {number} is {shown(X)}; expected rows.")
    return len(X)


def rows_kept(X: Array | Rows, weighed: Weighing) -> Array | Rows:
    """The inputs of the rows that count, in memory or in batches."""
    if isinstance(X, np.ndarray):
        return weighed.of(X)
    return X if weighed.kept is None else _Kept(X, weighed.kept)


class _Kept:
    """Some rows of inputs that are read in blocks.

    Args:
        rows: All of them.
        kept: Which, ascending, shape (k,).
    """

    def __init__(self, rows: Rows, kept: NDArray[np.intp]) -> None:
        self._rows, self._kept = rows, kept

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and inputs per sample."""
        return int(self._kept.size), self._rows.shape[1]

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """What is left of the batches, with its places."""
        for rows, block in self._rows.blocks():
            start, stop = (int(place) for place in np.searchsorted(self._kept, (rows.start, rows.stop)))
            if start < stop:
                yield slice(start, stop), np.ascontiguousarray(block[self._kept[start:stop] - rows.start])

    def __repr__(self) -> str:
        chosen = hashlib.sha256(self._kept.tobytes()).hexdigest()
        return f"{self._rows!r}, rows {chosen}"


class _Inputs:
    """The inputs of `Batches` as rows."""

    def __init__(
        self,
        data: Batches,
        shape: tuple[int, int],
        sizes: tuple[int, ...],
        sums: tuple[int, ...],
        digest: str,
    ) -> None:
        self._data, self._shape, self._sizes, self._sums, self._digest = data, shape, sizes, sums, digest

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and inputs per sample."""
        return self._shape

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """The batches with their places.

        Raises:
            InputError: The data is not what it was: a certificate would be about neither.
        """
        start, k = 0, -1
        for k, (X, y) in enumerate(self._data._pairs()):
            inputs = _inputs(X, f"batch {k}")
            rows = slice(start, start + inputs.shape[0])
            same = k < len(self._sizes) and inputs.shape == (self._sizes[k], self._shape[1])
            if not (
                same
                and np.array_equal(_labels(y, f"batch {k}"), self._data.y[rows])
                and _checksum(inputs) == self._sums[k]
            ):
                raise InputError(
                    f"batch {k} is not what it was when it was read first; batches must come in the same order every "
                    "time: do not shuffle them."
                )
            yield rows, inputs
            start = rows.stop
        if start != self._shape[0]:
            raise InputError(f"batches ended after {start} rows, but had {self._shape[0]} when they were read first.")

    def __repr__(self) -> str:
        return f"Batches of shape {self._shape}, sha256 {self._digest}"


def _inputs(X: Any, place: str) -> Array:
    inputs = as_numbers(X, f"X of {place}")
    if inputs.ndim != 2:
        raise InputError(f"X of {place} has shape {inputs.shape}; expected (b, d).")
    return inputs


def _labels(y: Any, place: str) -> NDArray[Any]:
    labels = label_array(y, f"y of {place}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"y of {place} has shape {labels.shape}; expected (b,).")
    return labels


def _checksum(inputs: Array) -> int:
    """Tells apart what changes in any one row, or which rows change places; cheap, in integers, so without rounding."""
    rows = inputs.view(np.uint64).sum(axis=1)
    places = np.arange(1, 2 * rows.size, 2, dtype=np.uint64)
    return int((rows * places).sum())
