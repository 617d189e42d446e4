"""Data in batches: the same problem as in memory, never held whole, and refused as soon as it is not what it was."""

import numpy as np
import psutil
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from cvxrobust import AdversarialSDP, Batches, InputError, Settings, StandardSDP, StreamedSDP, solve
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.result import Quality
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.networks.polynomial import PolynomialNetwork

FAST = Settings(tolerance=1e-3, threads=1, options={"batch": 0})


def data(n=60, d=5, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    score = X @ rng.standard_normal((d, classes)) + 0.3 * rng.standard_normal((n, classes))
    return X, np.where(score[:, 0] > 0.0, 1.0, -1.0) if classes == 2 else score.argmax(axis=1)


def cut(X, y, size=17):
    return [(X[i : i + size], y[i : i + size]) for i in range(0, len(X), size)]


class Loader:
    """Batches that can be counted, and changed from a given pass on."""

    def __init__(self, batches, change=None, at=None):
        self.batches, self.change, self.at, self.passes = batches, change, at, 0

    def __call__(self):
        self.passes += 1
        changed = self.at is not None and self.passes > self.at
        return iter(self.change(self.batches) if changed else self.batches)


# -- what can be read -----------------------------------------------------------------------------------------------


def tensors(X, y):
    return torch.tensor(X), torch.tensor(y)


def single(X, y):
    return X.astype(np.float32), y.astype(np.float32)


def loader(X, y):
    return DataLoader(TensorDataset(*tensors(X, y)), batch_size=17, shuffle=False)


@pytest.mark.parametrize(
    ("make", "exact"),
    [
        (cut, True),
        (lambda X, y: tuple(cut(X, y)), True),
        (lambda X, y: lambda: iter(cut(X, y)), True),
        (lambda X, y: lambda: (pair for pair in cut(X, y)), True),
        (loader, True),
        (lambda X, y: cut(*tensors(X, y)), True),
        (lambda X, y: cut(torch.tensor(X).requires_grad_(), y), True),
        (lambda X, y: cut(X, y[:, None]), True),
        (lambda X, y: cut(X, y.astype(int)), True),
        (lambda X, y: [(x.tolist(), t.tolist()) for x, t in cut(X, y)], True),
        (lambda X, y: cut(np.asfortranarray(X), y), True),
        (lambda X, y: cut(X[:, ::-1], y), False),
        (lambda X, y: [*cut(X, y), (X[:0], y[:0])], True),
        (lambda X, y: cut(X, y, size=1), True),
        (lambda X, y: cut(X, y, size=len(X)), True),
        (lambda X, y: cut(*single(X, y)), False),
        (lambda X, y: cut(torch.tensor(X).bfloat16().float(), y), False),
    ],
)
def test_batches_of_any_origin_are_the_data(make, exact):
    X, y = data()
    read = Batches(make(X, y))
    assert read.X.shape == X.shape
    assert read.y == pytest.approx(y)
    for _ in range(2):
        rows, blocks = zip(*read.X.blocks(), strict=True)
        assert [part.start for part in rows] == [0, *(part.stop for part in rows[:-1])]
        assert all(block.dtype == np.float64 for block in blocks)
        if exact:
            assert np.array_equal(np.concatenate(blocks), X)
    assert StreamedSDP(read).signs == pytest.approx(y)


def test_arrays_that_are_filled_again_and_again_are_read_in_time():
    X, y = data()

    def refilled():
        inputs, labels = np.empty((20, 5)), np.empty(20)
        for i in range(0, 60, 20):
            inputs[:], labels[:] = X[i : i + 20], y[i : i + 20]
            yield inputs, labels

    read = Batches(refilled)
    assert np.array_equal(read.y, y)
    result = solve(StreamedSDP(read, radius=0.1), settings=FAST.replace(tolerance=0.05))
    assert result.quality is Quality.CERTIFIED
    assert AdversarialSDP(X, y, radius=0.1).objective(result.network) == pytest.approx(result.certificate.upper)


@pytest.mark.parametrize(
    ("batches", "match"),
    [
        (iter([]), "read only once"),
        ((pair for pair in cut(*data())), "read only once"),
        ([], "no batch"),
        (lambda: [], "no batch"),
        ([(np.empty((0, 3)), np.empty(0))], "no batch"),
        ([np.ones((3, 2))], "pairs"),
        ([(np.ones((3, 2)), np.ones(3), np.ones(3))], "pairs"),
        ([None], "pairs"),
        (lambda: None, "pairs"),
        ([(1.0, 2.0)], "pairs"),
        ([(np.ones(3), np.ones(3))], r"shape \(3,\); expected \(b, d\)"),
        ([(np.ones((3, 2, 2)), np.ones(3))], r"expected \(b, d\)"),
        ([(np.ones((3, 0)), np.ones(3))], r"\(3, 0\)"),
        ([(np.ones((3, 2)), np.ones(4))], r"\(4,\); expected \(b, 2\) and \(b,\)"),
        ([(np.ones((3, 2)), np.ones((3, 2)))], r"y of batch 0 .*\(3, 2\)"),
        ([(np.ones((3, 2)), np.ones(3)), (np.ones((3, 4)), np.ones(3))], r"batch 1 \(from row 3\).*\(3, 4\)"),
        ([(np.ones((3, 2)), np.ones(3)), (np.array([[1.0, 2.0], [1.0, np.nan]]), np.ones(2))], "batch 1.*row 1, col"),
        ([(np.full((1, 2), np.inf), np.ones(1))], "NaN or inf"),
        ([([["a", "b"]], [1.0])], "numbers"),
        ([([["1", "2"]], [1.0])], "numbers"),
        ([(np.full((1, 2), 1e200), [1.0])], "too large"),
        ([(np.ma.masked_array([[1.0, 2.0]], [[True, False]]), [1.0])], "NaN or inf"),
        ([(np.ones((1, 2)), np.ma.masked_array([1.0], [True]))], "masked"),
        ([(np.ones((1, 2)), [1]), (np.ones((1, 2)), ["1"])], "mixes strings and numbers"),
        ([([[1.0], [2.0]], [[1.0], [2.0, 3.0]])], "cannot be read as labels"),
        ([(np.ones((3, 2)), torch.ones(3).bfloat16())], "cannot be read as labels"),
    ],
)
def test_what_is_no_data_is_refused_in_words(batches, match):
    with pytest.raises(InputError, match=match):
        Batches(batches)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"data": cut(*data())}, "list; expected Batches"),
        ({"radius": -1.0}, "radius"),
        ({"radius": np.ones(7)}, r"\(60,\)"),
        ({"beta": 0.0}, "beta"),
        ({"loss": "cauchy"}, "cauchy"),
        ({"data": Batches(cut(data()[0], np.full(60, np.nan)))}, "NaN"),
        ({"data": Batches(cut(data()[0], np.arange(60) % 2))}, "0/1"),
    ],
)
def test_problems_that_make_no_sense_are_refused_in_words(arguments, match):
    with pytest.raises(InputError, match=match):
        StreamedSDP(**{"data": Batches(cut(*data())), **arguments})


# -- data that is not what it was -----------------------------------------------------------------------------------


def with_entry(batches, k, row, value):
    changed = [(X.copy(), y.copy()) for X, y in batches]
    changed[k][0][row, 2] = value
    return changed


def with_label(batches):
    changed = [(X, y.copy()) for X, y in batches]
    changed[1][1][3] *= -1.0
    return changed


def swapped(batches):
    """Two samples of one label in the middle of a batch change places."""
    (X, y), *others = batches
    first, second = np.nonzero(y[1:-1] == 1.0)[0][:2] + 1
    order = np.arange(len(X))
    order[[first, second]] = second, first
    return [(X[order], y[order]), *others]


CHANGES = {
    "order": lambda batches: batches[::-1],
    "fewer rows": lambda batches: batches[:-1],
    "a shorter batch": lambda batches: [*batches[:-1], tuple(part[:-1] for part in batches[-1])],
    "more rows": lambda batches: [*batches, batches[0]],
    "nothing": lambda batches: [],
    "other cuts": lambda batches: cut(*(np.concatenate(part) for part in zip(*batches, strict=True)), size=16),
    "a label": with_label,
    "an entry": lambda batches: with_entry(batches, 1, 5, 0.25),
    "a missing value": lambda batches: with_entry(batches, 2, 5, np.nan),
    "two rows": swapped,
    "fewer inputs": lambda batches: [(X[:, :4], y) for X, y in batches],
    "no pairs": lambda batches: [X for X, _ in batches],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_pass_over_other_data_is_refused(change):
    batches = Loader(cut(*data()), CHANGES[change], at=2)
    read = Batches(batches)
    assert len(list(read.X.blocks())) == 4
    with pytest.raises(InputError, match=r"read first|pairs"):
        list(read.X.blocks())


@pytest.mark.parametrize(
    ("change", "classes", "batch"), [("a label", 2, 0), ("fewer rows", 2, 0), ("an entry", 2, 8), ("an entry", 3, 0)]
)
def test_data_that_changes_in_the_middle_of_a_solve_ends_it(change, classes, batch):
    settings = FAST.replace(options={"batch": batch}, max_iterations=25)

    def passes(at=None):
        batches = Loader(cut(*data(classes=classes), size=30), CHANGES[change], at)
        result = solve(StreamedSDP(Batches(batches), radius=0.1), "torch", settings=settings)
        return batches.passes, result

    needed, result = passes()
    assert result.iterations > 20
    # How often progress is judged on the way, a pass each time, depends on how busy the machine is.
    for at in (2, needed // 2, 3 * needed // 4):
        with pytest.raises(InputError, match="read first"):
            passes(at)


def test_a_shuffled_loader_is_refused():
    torch.manual_seed(0)
    shuffled = DataLoader(TensorDataset(*tensors(*data())), batch_size=60, shuffle=True)
    problem = StreamedSDP(Batches(shuffled), radius=0.1)
    with pytest.raises(InputError, match="do not shuffle"):
        solve(problem, settings=FAST)


def test_an_iterator_in_a_function_is_found_out():
    once = iter(cut(*data()))
    with pytest.raises(InputError, match="ended after 0 rows, but had 60"):
        solve(StreamedSDP(Batches(lambda: once)), settings=FAST)


# -- the same problem -----------------------------------------------------------------------------------------------


def pair(loss="hinge", classes=2):
    """A problem in batches, and the same in memory."""
    X, y = data(classes=classes)
    if loss == "squared":
        y = X[:, 0] ** 2 + 0.1 * y
        return StreamedSDP(Batches(cut(X, y)), loss=loss), StandardSDP(X, y, loss=loss)
    radius = np.linspace(0.0, 0.3, 60)
    return StreamedSDP(Batches(cut(X, y)), radius, loss=loss), AdversarialSDP(X, y, radius, loss=loss)


@pytest.mark.parametrize(
    ("loss", "classes"), [("hinge", 2), ("squared_hinge", 2), ("logistic", 2), ("squared", 2), ("hinge", 3)]
)
def test_streamed_and_in_memory_are_one_problem(loss, classes):
    streamed, whole = pair(loss, classes)
    assert streamed.classes == whole.classes
    rng = np.random.default_rng(1)
    u = rng.standard_normal((4, 5))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    network = PolynomialNetwork(u, rng.standard_normal(4), regression=loss == "squared")
    for one, other in zip(streamed.parts, whole.parts, strict=True):
        assert one.objective(network) == pytest.approx(other.objective(network), rel=1e-13)
        bounds = [part.lower_bound(part.network_multipliers(network)) for part in (one, other)]
        assert bounds[0] == pytest.approx(bounds[1], rel=1e-11)
        # Multipliers of the one, judged by the other.
        crossed = one.lower_bound(other.network_multipliers(network))
        assert crossed == pytest.approx(bounds[1], rel=1e-11)
    settings = FAST.replace(tolerance=0.05)
    first, second = (solve(problem, "torch", settings=settings) for problem in (streamed, whole))
    assert first.quality is second.quality is Quality.CERTIFIED
    assert first.certificate.lower <= second.certificate.upper
    assert second.certificate.lower <= first.certificate.upper
    assert whole.objective(first.network) == pytest.approx(first.certificate.upper, rel=1e-12)
    assert first.network.regression is (loss == "squared")
    if classes == 3:
        assert [part.certificate.relative_gap <= 0.05 for part in first.parts] == [True] * 3
        assert first.network.predict(whole.X).shape == (60,)
    else:
        multipliers = first.solution.multipliers
        assert whole.lower_bound(multipliers) == pytest.approx(streamed.lower_bound(multipliers), rel=1e-11)
        assert Certificate(first.certificate.upper, whole.lower_bound(multipliers)).relative_gap <= 0.0501


def test_the_backend_is_picked_by_what_reads_the_structure():
    streamed, _ = pair()
    result = solve(streamed, settings=Settings(tolerance=0.05))
    # Small enough to be read into memory; options say who is meant.
    assert result.backend == "ipm"
    assert solve(streamed, settings=Settings(tolerance=0.05, options={"batch": 20})).backend == "torch"
    assert result.method == "direct"
    assert "StreamedSDP" in result.selection
    assert result.quality is Quality.CERTIFIED


@pytest.mark.parametrize("name", ["to_conic", "to_cvxpy", "recover", "multipliers"])
def test_there_is_no_conic_programme(name):
    streamed, _ = pair()
    arguments = [None] if name in ("recover", "multipliers") else []
    with pytest.raises(UnsupportedProgramError, match=r"no conic programme.*torch.*AdversarialSDP"):
        getattr(streamed, name)(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"backend": "clarabel"}, UnsupportedProgramError, "StreamedSDP has no conic programme.*clarabel"),
        ({"backend": "scs", "method": "direct"}, UnsupportedProgramError, "StreamedSDP has no conic programme.*scs"),
        ({"backend": "clarabel", "method": "cutting-set"}, InputError, "StreamedSDP.*cutting-set"),
        ({"backend": "torch", "method": "cutting-set"}, InputError, "StreamedSDP.*cutting-set"),
        ({"polish": True}, InputError, "leave polish out"),
        ({"backend": "torch", "polish": "clarabel"}, InputError, "leave polish out"),
        ({"gates": "grow"}, InputError, "no gates"),
    ],
)
def test_what_data_in_batches_does_not_allow_is_refused_before_it_is_read(arguments, error, match):
    batches = Loader(cut(*data()))
    problem = StreamedSDP(Batches(batches), radius=0.1)
    assert batches.passes == 1
    with pytest.raises(error, match=match):
        solve(problem, **arguments)
    assert batches.passes == 1


# -- memory ---------------------------------------------------------------------------------------------------------


def test_inputs_are_never_held_whole():
    n, d, size = 80_000, 100, 2_000
    slope, held = np.random.default_rng(1).standard_normal(d), []

    def made(count=n // size):
        for k in range(count):
            held.append(psutil.Process().memory_info().rss)
            X = np.random.default_rng([5, k]).random((size, d)) - 0.5
            yield X, np.where(X @ slope > 0.0, 1.0, -1.0)

    settings = Settings(max_iterations=1, threads=1, options={"epochs": 1, "neurons": 2, "batch": 1_000})
    # Once on little data: libraries take memory, too.
    solve(StreamedSDP(Batches(lambda: made(1)), radius=0.1), settings=settings)
    before = held[-1]
    held.clear()
    result = solve(StreamedSDP(Batches(made), radius=0.1), settings=settings)
    assert result.certificate.upper < 1.0
    assert len(held) > 5 * n // size
    # 64 MB of inputs; a label, a radius, a multiplier take 0.6 MB each.
    assert max(held) - before < 0.4 * 8 * n * d
