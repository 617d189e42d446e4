"""Checkpoints: interrupted solves go on, whatever ended them, and no file is believed."""

import io
import math
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoint_cases import keeping, small_problem
from fresh_environment import with_support
from process_group import together

from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    Batches,
    InputError,
    Settings,
    StreamedSDP,
    solve,
)
from cvxrobust.backends.torch.checkpoint import Checkpoint, fingerprint
from cvxrobust.backends.torch.polynomial import training
from cvxrobust.backends.torch.polynomial.solve import solve_polynomial
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Quality, Termination
from cvxrobust.core.solving.judging import witness

MARK = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# -- files ----------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(tmp_path):
    kept = Checkpoint(tmp_path / "new" / "folder", MARK)
    assert kept.load() is None
    kept.save({"a": torch.arange(3.0), "b": np.ones((2, 0)), "c": 0.5, "d": None, "e": "name"}, force=True)
    state = Checkpoint(tmp_path / "new" / "folder", MARK).load()
    assert set(state) == {"a", "b", "c", "e"}
    assert state["a"].tolist() == [0.0, 1.0, 2.0]
    assert state["b"].shape == (2, 0)
    assert float(state["c"]) == 0.5
    assert str(state["e"]) == "name"
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [kept.path.name]


def test_writes_are_rare_unless_they_are_forced(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    kept = Checkpoint(tmp_path, MARK, every=10.0)
    kept.save({"a": 1.0})
    assert not kept.path.exists()
    now[0] += 10.0
    assert kept.due()
    kept.save({"a": 1.0})
    assert float(kept.load()["a"]) == 1.0
    kept.save({"a": 2.0})
    assert float(kept.load()["a"]) == 1.0
    kept.save({"a": 2.0}, force=True)
    assert float(kept.load()["a"]) == 2.0


@pytest.mark.parametrize("call", ["os.fsync", "numpy.savez", "os.replace"])
def test_a_write_that_fails_leaves_the_last_one(tmp_path, monkeypatch, call):
    kept = Checkpoint(tmp_path, MARK)
    kept.save({"a": 1.0}, force=True)

    def full(*arguments, **more):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        kept.save({"a": 2.0}, force=True)
    assert "no space left" in kept.failure
    assert float(kept.load()["a"]) == 1.0
    assert list(tmp_path.iterdir()) == [kept.path]
    kept.save({"a": 3.0}, force=True)
    assert kept.failure == ""
    assert float(kept.load()["a"]) == 3.0


def zipped(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, content)
    return buffer.getvalue()


def saved(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def plain():
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else",
        b"PK\x03\x04 not quite",
        plain(),
        zipped("a.npy", b"garbage"),
        zipped("checkpoint_of.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9"),
        saved(a=np.ones(3)),
        saved(checkpoint_of=np.array(1.0)),
        saved(checkpoint_of=np.array([MARK])),
        saved(checkpoint_of=np.array([MARK, "1"], dtype=object), a=np.array([{}], dtype=object)),
    ],
    ids=range(10),
)
def test_a_file_that_is_none_is_refused_in_words(tmp_path, content):
    kept = Checkpoint(tmp_path, MARK)
    kept.path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read.*delete it to begin anew"):
        kept.load()


def test_a_damaged_file_is_refused_in_words(tmp_path):
    kept = Checkpoint(tmp_path, MARK)
    kept.save({"a": np.arange(100.0)}, force=True)
    whole = kept.path.read_bytes()
    for cut in (10, 200, len(whole) // 2, len(whole) - 5):
        kept.path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=f"{kept.path.name} cannot be read"):
            kept.load()
    place = whole.index(np.arange(100.0).tobytes())
    kept.path.write_bytes(whole[: place + 9] + b"\xff" + whole[place + 10 :])
    with pytest.raises(InputError, match="cannot be read"):
        kept.load()


@pytest.mark.parametrize("owner", [["f" * 64, "1"], [MARK, "0"]])
def test_a_file_of_another_programme_or_version_is_refused_in_words(tmp_path, owner):
    kept = Checkpoint(tmp_path, MARK)
    kept.path.write_bytes(saved(checkpoint_of=np.array(owner), a=np.ones(1)))
    with pytest.raises(InputError, match="belongs to another programme"):
        kept.load()


def test_a_folder_that_is_none_is_refused_in_words(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, file / "below"):
        with pytest.raises(InputError, match=f"checkpoint is .*{place.name}.*expected a folder"):
            solve(small_problem(), "torch", settings=keeping(place))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot be written to"):
        solve(small_problem(), "torch", settings=keeping(tmp_path))


@pytest.mark.parametrize("every", [-1.0, float("nan"), float("inf"), True, "often"])
def test_an_interval_that_is_none_is_refused_in_words(tmp_path, every):
    with pytest.raises(InputError, match=r"checkpoint_every.*seconds"):
        solve(small_problem(), "torch", settings=keeping(tmp_path, options={"checkpoint_every": every}))


def test_every_part_of_a_programme_counts_in_its_fingerprint():
    program = small_problem().to_structured()
    X, labels, radius = program.X.copy(), program.labels.copy(), program.radius.copy()
    assert fingerprint(replace(program, X=np.asfortranarray(X))) == fingerprint(program)
    X[3, 2] += 1e-9
    labels[5] *= -1.0
    radius[-1] = 0.0
    changes = ({"X": X}, {"labels": labels}, {"attack": replace(program.attack, radius=radius)}, {"beta": 0.02},
               {"loss": "logistic"}, {"activation": (0.1, 0.5, 0.47)}, {"weights": np.ones(len(X))})  # fmt: skip
    marks = {fingerprint(program), *(fingerprint(replace(program, **change)) for change in changes)}
    assert len(marks) == 1 + len(changes)


# -- whole solves ---------------------------------------------------------------------------------------------------


def stop_at(count):
    """A callback that presses Ctrl-C when it is called for the given time."""
    calls = []

    def callback(*point):
        calls.append(point)
        if len(calls) == count:
            signal.raise_signal(signal.SIGINT)

    return callback


def streamed(problem):
    cuts = range(0, len(problem.X), 25)
    batches = Batches([(problem.X[i : i + 25], problem.y[i : i + 25]) for i in cuts])
    return StreamedSDP(batches, problem.radius, loss=problem.loss, sample_weight=np.arange(len(problem.X)) % 3)


@pytest.mark.parametrize("stop", ["limit", "interrupt"])
@pytest.mark.parametrize(
    ("problem", "tolerance"),
    [(small_problem(), 1e-3), (streamed(small_problem()), 1e-2), (small_problem(loss="squared", n=40), 1e-4)],
    ids=["memory", "streamed", "regression"],
)
def test_an_interrupted_solve_goes_on_where_it_was(tmp_path, problem, tolerance, stop, monkeypatch):
    monkeypatch.setattr(witness, "SHARE", math.inf)  # every iterate is judged, and heard of
    monkeypatch.setattr(witness, "SHRUNK", 1.0)
    wanted = {"tolerance": tolerance, "options": {"batch": 0}}
    fresh = solve(problem, "torch", settings=keeping(tmp_path / "other", **wanted))
    assert fresh.quality is Quality.CERTIFIED
    # The same way once more, most of it.
    limit, callback = int(0.7 * fresh.iterations), None
    if stop == "interrupt":
        limit, callback = None, stop_at(int(0.7 * len(fresh.trace)))
    first = solve(problem, "torch", settings=keeping(tmp_path, **wanted, max_iterations=limit), callback=callback)
    assert first.termination is (Termination.INTERRUPTED if limit is None else Termination.ITERATION_LIMIT)
    assert first.quality is not Quality.CERTIFIED
    second = solve(problem, "torch", settings=keeping(tmp_path, **wanted))
    # The first point is that of the network without neurons.
    assert second.trace[1].upper <= first.certificate.upper * (1.0 + 1e-12)
    assert second.trace[1].lower >= first.certificate.lower - 1e-12
    assert second.quality is Quality.CERTIFIED
    assert second.termination is Termination.CONVERGED
    assert second.iterations < fresh.iterations
    assert second.certificate.upper == pytest.approx(problem.objective(second.network), rel=1e-12)


def test_a_deadline_leaves_a_checkpoint(tmp_path, monkeypatch):
    # No first-order method gets there, and this one does not give up either: it is the deadline that ends it.
    monkeypatch.setattr(training, "TUNING", replace(training.TUNING, patience=10**9))
    problem = small_problem()
    first = solve(problem, "torch", settings=keeping(tmp_path, 1e-15, time_limit=1.0))
    assert first.termination is Termination.TIME_LIMIT
    second = solve(problem, "torch", settings=keeping(tmp_path, 1e-15, max_iterations=1))
    assert second.certificate.upper <= first.certificate.upper * (1.0 + 1e-12)
    assert second.certificate.lower >= first.certificate.lower - 1e-12


def test_iterations_are_those_of_one_call(tmp_path):
    problem = small_problem()
    for _ in range(3):
        result = solve(problem, "torch", settings=keeping(tmp_path, 1e-8, max_iterations=50))
        assert result.termination is Termination.ITERATION_LIMIT
        assert 40 <= result.iterations <= 50
    fresh = solve(problem, "torch", settings=keeping(tmp_path / "other", 1e-8, max_iterations=50))
    assert result.certificate.relative_gap < 0.5 * fresh.certificate.relative_gap


def test_what_is_finished_is_not_begun_again_unless_more_is_asked_for(tmp_path):
    problem = small_problem()
    first = solve(problem, "torch", settings=keeping(tmp_path, 1e-3))
    again = solve(problem, "torch", settings=keeping(tmp_path, 1e-3))
    assert again.termination is Termination.CONVERGED
    assert again.iterations == 0
    assert again.certificate.relative_gap == pytest.approx(first.certificate.relative_gap, rel=1e-6)
    more = solve(problem, "torch", settings=keeping(tmp_path, 1e-4))
    fresh = solve(problem, "torch", settings=keeping(tmp_path / "other", 1e-4))
    assert more.quality is fresh.quality is Quality.CERTIFIED
    assert 0 < more.iterations < fresh.iterations


def test_nothing_is_kept_before_anything_is_known(tmp_path):
    program = small_problem().to_structured()
    late = solve_polynomial(program, keeping(tmp_path, options={"batch": 8}), Monitor(deadline=0.0))
    assert late.termination is Termination.TIME_LIMIT
    assert not list(tmp_path.glob("*.npz"))
    # Neurons that nobody has trained would keep the next solve from its stochastic steps.
    assert solve_polynomial(program, keeping(tmp_path, max_iterations=1)).iterations == 1
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_single_precision_goes_on_in_double_precision(tmp_path):
    problem = small_problem()
    settings = keeping(tmp_path, 1e-9, max_iterations=150)
    first = solve(problem, "torch", settings=settings.replace(dtype="float32"))
    second = solve(problem, "torch", settings=settings.replace(tolerance=1e-5, max_iterations=None))
    assert second.quality is Quality.CERTIFIED
    assert second.trace[1].upper <= first.certificate.upper * (1.0 + 1e-12)


def test_every_programme_has_a_file_of_its_own(tmp_path):
    settings = keeping(tmp_path, 1e-2)
    problems = [small_problem(), small_problem(seed=1), small_problem(radius=0.1), small_problem(loss="logistic")]
    for count, problem in enumerate(problems, 1):
        assert solve(problem, "torch", settings=settings).iterations > 0
        assert len(list(tmp_path.glob("*.npz"))) == count
    assert [solve(problem, "torch", settings=settings).iterations for problem in problems] == [0] * 4


@pytest.mark.parametrize("make", [lambda problem: problem, streamed], ids=["memory", "streamed"])
def test_every_class_has_a_file_of_its_own(tmp_path, make):
    problem = make(small_problem(n=30, d=4, classes=3))
    settings = keeping(tmp_path, 1e-2, options={"batch": 0})
    first = solve(problem, "torch", settings=settings.replace(max_iterations=30))
    assert len(list(tmp_path.glob("*.npz"))) == 3
    fresh = solve(problem, "torch", settings=keeping(tmp_path / "other", 1e-2, options={"batch": 0}))
    second = solve(problem, "torch", settings=settings)
    assert second.quality is Quality.CERTIFIED
    assert second.iterations < fresh.iterations
    for before, after in zip(first.parts, second.parts, strict=True):
        assert after.certificate.upper <= before.certificate.upper * (1.0 + 1e-12)
    # A class alone is the same programme.
    if make is not streamed:
        assert solve(problem.parts[1], "torch", settings=settings).iterations == 0


def test_a_disk_that_fills_up_does_not_cost_the_answer(tmp_path, monkeypatch):
    def full(*arguments, **more):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    result = solve(small_problem(), "torch", settings=keeping(tmp_path, 1e-2))
    assert result.quality is Quality.CERTIFIED
    assert "checkpoint was not written" in result.message
    assert "no space left" in result.message


KILLED = """
import sys
from checkpoint_cases import keeping, small_problem
from cvxrobust import solve
solve(small_problem(), "torch", settings=keeping(sys.argv[1], 1e-12))
"""


def test_a_killed_solve_goes_on_where_it_was(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=with_support())
    try:
        until = time.monotonic() + 60.0
        while not list(tmp_path.glob("*.npz")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.5)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    problem = small_problem()
    result = solve(problem, "torch", settings=keeping(tmp_path))
    assert result.quality is Quality.CERTIFIED
    fresh = solve(problem, "torch", settings=keeping(tmp_path / "other"))
    assert result.iterations < fresh.iterations


def test_a_team_goes_on_where_it_was(tmp_path):
    options = {"checkpoint": str(tmp_path / "kept"), "checkpoint_every": 0.0}
    jobs = {
        "stopped": ("plain", {**options, "stop_first": True}),
        "again": ("plain", options),
        "finished": ("plain", options),
    }
    found = together(tmp_path, jobs, 2)
    for first, second in found.values():
        assert first == second
    (stopped, _), (again, _), (finished, _) = found.values()
    assert stopped["termination"] == "interrupted"
    assert again["termination"] == finished["termination"] == "converged"
    assert again["upper"] <= stopped["upper"]
    assert again["lower"] >= stopped["lower"]
    assert again["iterations"] > 0 == finished["iterations"]
    assert finished["u"] == again["u"]
    assert len(list((tmp_path / "kept").iterdir())) == 1


# -- forged files ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A problem, its optimum, and the checkpoint of a solve that is not finished."""
    folder, problem = tmp_path_factory.mktemp("honest"), small_problem(n=30, d=4)
    problem = AdversarialSDP(problem.X, problem.y, radius=0.3, activation=(1.0, 0.0, 0.0))
    optimum = solve(problem, "torch", settings=Settings(tolerance=1e-4, threads=1)).certificate
    solve(problem, "torch", settings=keeping(folder, 1e-9, max_iterations=70))
    (path,) = folder.glob("*.npz")
    with np.load(path) as file:
        return problem, optimum, path.name, dict(file)


def certified_or_refused(folder, honest, state, iterations=150):
    """Whether a solve from a forged file refuses it; otherwise its certificate has to be about the problem."""
    problem, optimum, name, _ = honest
    np.savez(folder / name, **state)
    try:
        result = solve(problem, "torch", settings=keeping(folder, 1e-3, max_iterations=iterations))
    except InputError as error:
        return name in str(error) and "delete it to begin anew" in str(error)
    assert result.termination in (Termination.CONVERGED, Termination.ITERATION_LIMIT)
    assert result.certificate.upper == pytest.approx(problem.objective(result.network), rel=1e-12)
    for point in (*result.trace, result.certificate):
        assert point.lower <= optimum.upper + 1e-12
        assert point.upper >= optimum.lower - 1e-12
    if result.termination is Termination.CONVERGED:
        assert result.quality is Quality.CERTIFIED
    return False


ARRAYS = ("neurons", "signs", "steps", "changes", "centre", "u", "alpha", "theta", "dual_neurons", "dual_signs")
NUMBERS = ("hinge", "attack", "dual_attack", "stage")


def test_an_honest_file_holds_what_is_forged_below(honest):
    assert set(honest[3]) == {*ARRAYS, *NUMBERS, "checkpoint_of"}
    assert all(honest[3][name].size > 0 for name in ARRAYS)


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_cannot_be_are_refused(tmp_path, honest, name):
    state = honest[3]
    array = state[name]
    nan, inf = array.copy(), array.copy()
    nan.flat[0], inf.flat[-1] = np.nan, np.inf
    wrong = [nan, inf, array[None], array.astype(str), np.zeros(0), np.array(1.0), array.astype(complex)]
    if name not in ("steps", "changes"):
        wrong.append(array[:-1])
    if array.ndim == 2:
        wrong.append(array[:, :-1])
    for forged in wrong:
        assert certified_or_refused(tmp_path, honest, {**state, name: forged})


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_cannot_be_are_refused(tmp_path, honest, name):
    state = honest[3]
    for forged in (np.nan, np.inf, "x", np.ones(2), *(() if name == "stage" else (0.0, -1.0))):
        assert certified_or_refused(tmp_path, honest, {**state, name: forged})


@pytest.mark.parametrize("name", [*ARRAYS, *NUMBERS])
def test_what_is_missing_is_refused_but_for_multipliers(tmp_path, honest, name):
    state = {key: value for key, value in honest[3].items() if key != name}
    assert certified_or_refused(tmp_path, honest, state) is (name != "theta")


FORGERIES = {
    "other neurons": lambda state: {"neurons": np.random.default_rng(0).standard_normal(state["neurons"].shape)},
    "huge neurons": lambda state: {"neurons": 1e20 * state["neurons"]},
    "no neurons": lambda state: {"neurons": 0.0 * state["neurons"]},
    "other signs": lambda state: {"signs": -state["signs"]},
    "other multipliers": lambda state: {"theta": 100.0 + state["theta"]},
    "negative multipliers": lambda state: {"theta": -state["theta"]},
    "other attacks": lambda state: {"dual_neurons": state["dual_neurons"][:, ::-1]},
    "long attacks": lambda state: {"dual_neurons": 1e6 * state["dual_neurons"]},
    "random attacks": lambda state: {"dual_attack": 1e3},
    "a long network": lambda state: {"u": 10.0 * state["u"], "alpha": 0.01 * state["alpha"]},
    "a heavy network": lambda state: {"alpha": 1e10 * state["alpha"]},
    "another centre": lambda state: {"centre": 50.0 - state["centre"]},
    "a coarse smoothing": lambda state: {"hinge": 1e6, "attack": 1e6},
    "a fine smoothing": lambda state: {"hinge": 1e-12, "attack": 1e-12},
    "other pairs": lambda state: {"steps": -state["steps"]},
    "a used up stage": lambda state: {"stage": np.array(10**6)},
    "claims": lambda state: {"lower": 0.9, "upper": 0.9, "least": np.nan, "counts": np.full(4, -1)},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_file_proves_nothing(tmp_path, honest, forgery):
    state = honest[3]
    refused = certified_or_refused(tmp_path, honest, {**state, **FORGERIES[forgery](state)})
    assert refused is (forgery == "a long network")


# -- ReLU programmes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formulation", ["one-sided", "cone"])
def test_relu_programmes_go_on_where_they_were(tmp_path, formulation):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((80, 4))
    y = np.where(X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(80) > 0.0, 1.0, -1.0)
    problem = AdversarialReLU(X, y, 0.02, n_gates=12, formulation=formulation, resample=formulation == "cone")
    fresh = solve(problem, backend="torch", settings=Settings(tolerance=1e-4, threads=1))
    first = solve(problem, backend="torch", settings=keeping(tmp_path, max_iterations=max(2, fresh.iterations // 2)))
    assert first.termination is Termination.ITERATION_LIMIT
    assert len(list(tmp_path.glob("*.npz"))) == 1
    second = solve(problem, backend="torch", settings=keeping(tmp_path))
    assert second.quality is Quality.CERTIFIED
    assert second.iterations < fresh.iterations
    with pytest.raises(InputError, match="checkpoint_every"):
        solve(problem, backend="torch", settings=keeping(tmp_path, options={"checkpoint_every": -1.0}))
