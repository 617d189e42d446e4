"""What backends hand back may be anything, and what the caller's own callback raises is the caller's."""

import math
import os
import pickle
import random
import signal
from copy import copy
from dataclasses import fields, is_dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from fakes import Fake

from cvxrobust import (
    AdversarialSDP,
    ConvexReLU,
    InputError,
    Settings,
    StandardSDP,
    Termination,
    UnknownNameError,
    solve,
)
from cvxrobust.core import Capabilities, Solution, get_backend
from cvxrobust.core.errors import portable
from cvxrobust.core.solving.child import can_fork
from cvxrobust.core.solving.judging import witness

RNG = np.random.default_rng(3)
X = RNG.standard_normal((12, 3))
Y = np.where(X[:, 0] + 0.3 * RNG.standard_normal(12) > 0.0, 1.0, -1.0)
ROBUST = AdversarialSDP(X, Y, radius=0.1, beta=0.1)
GATED = ConvexReLU(X, Y, n_gates=3)
CLASSES = StandardSDP(X, np.arange(12) % 3, beta=0.1)
COARSE = Settings(tolerance=1e-3, threads=1)


class Unsayable(Exception):
    def __str__(self):
        raise ZeroDivisionError


class Contrary:
    """Whatever it is asked, it raises."""

    def __getattr__(self, name):
        raise RuntimeError("not you")

    def __reduce__(self):
        return (exec, ("raise RuntimeError('nor you')",))


class Structured(Fake):
    """A backend of structured programmes, alone or all classes at once, in long steps."""

    def __init__(self, answer):
        self.answer = answer
        self.capabilities = Capabilities(structured=frozenset({"polynomial", "gated"}), monitored=True)

    def estimate(self, program):
        return None

    def solve(self, program, settings, monitor):
        return self.answer(program, settings)


class Together(Structured):
    together = frozenset({"polynomial"})

    def solve_together(self, program, settings, monitors, warm_starts):
        return [self.answer(program, settings) for _ in monitors]


def directly(answer, **more):
    return solve(ROBUST, backend=Fake(answer), method="direct", settings=COARSE, **more)


def by_masters(answer, **more):
    return solve(ROBUST, backend=Fake(answer), method="cutting-set", settings=COARSE, **more)


def by_structure(answer, **more):
    return solve(GATED, backend=Structured(answer), settings=COARSE, **more)


def together(answer, **more):
    return solve(CLASSES, backend=Together(answer), settings=COARSE, **more)


def in_a_child(answer, **more):
    return solve(GATED, backend=Structured(answer), settings=COARSE.replace(time_limit=20.0), **more)


WAYS = [directly, by_masters, by_structure, together, in_a_child]


EVERYWHERE = ("nothing", "iterations", "exit", "unsayable")


@pytest.fixture(autouse=True)
def steps_are_long(monkeypatch, request):
    """So that whatever has a time limit is done by a child."""
    if can_fork("cpu"):
        monkeypatch.setattr(ConvexReLU, "look", 1e3)


def solved(program, settings):
    name = "clarabel" if hasattr(program, "cones") else "ipm"
    if np.ndim(getattr(program, "labels", 0.0)) == 2 and program.labels.shape[1] > 1:
        return Solution(Termination.CONVERGED)
    return get_backend(name).solve(program, replace(settings, time_limit=None))


def changed(**fields):
    """A good answer with some fields as functions make them of it."""

    def answer(program, settings):
        good = solved(program, settings)
        return replace(good, **{name: make(good) for name, make in fields.items()})

    return answer


def raising(error):
    def answer(program, settings):
        raise error

    return answer


BAD = {
    "nothing": lambda program, settings: None,
    "a class": lambda program, settings: Solution,
    "contrary": lambda program, settings: Contrary(),
    "termination": changed(termination=lambda good: None),
    "a word": changed(termination=lambda good: "converged"),
    "message": changed(message=lambda good: None),
    "a contrary message": changed(message=lambda good: Contrary()),
    "iterations": changed(iterations=lambda good: None),
    "many iterations": changed(iterations=lambda good: -(10**400)),
    "seconds": changed(setup_seconds=lambda good: float("nan")),
    "words for seconds": changed(solve_seconds=lambda good: "long"),
    "memory": changed(peak_memory=lambda good: 1j),
    "applied": changed(applied=lambda good: None),
    "contrary applied": changed(applied=lambda good: Contrary()),
    "ignored": changed(ignored=lambda good: ["a"]),
    "network": changed(network=lambda good: "a network"),
    "a contrary network": changed(network=lambda good: Contrary()),
    "exit": raising(SystemExit("I leave")),
    "interrupt": raising(KeyboardInterrupt()),
    "unsayable": raising(Unsayable()),
}


# All are read by the same lines; that these lie on every way is seen with four.
@pytest.mark.parametrize(
    ("way", "what"), [(directly, what) for what in BAD] + [(way, what) for way in WAYS[1:] for what in EVERYWHERE]
)
def test_whatever_a_backend_returns_is_a_result_that_says_what_is_wrong(way, what):
    result = way(BAD[what])
    assert result.termination is Termination.ERROR
    assert result.message
    assert np.isfinite([result.certificate.upper, result.certificate.lower]).all()
    assert result.certificate.lower <= result.certificate.upper
    pickle.dumps(result)
    result.to_dict()


VECTORS = {
    "a list": (list, True),
    "a tensor": (torch.tensor, True),
    "masked": (lambda x: np.ma.masked_array(x, np.arange(x.size) == 0), False),
    "nothing masked": (np.ma.masked_array, True),
    "words": (lambda x: x.astype(str), False),
    "objects": (lambda x: x.astype(object), False),
    "complex": (lambda x: x + 0.0j, False),
    "a column": (lambda x: x[:, None], False),
    "a number": (lambda x: 1.0, False),
    "a word": (lambda x: "1.0", False),
    "dates": (lambda x: x.astype("M8[s]"), False),
    "bits": (lambda x: x > 0, False),
    "huge": (lambda x: 1e200 * x, False),
    "elsewhere": (lambda x: torch.empty(x.size, device="meta"), False),
    "contrary": (lambda x: Contrary(), False),
}


@pytest.mark.parametrize("what", VECTORS)
@pytest.mark.parametrize("way", [directly, by_masters])
def test_vectors_that_can_be_read_are_judged_and_named_all_the_same(way, what):
    make, readable = VECTORS[what]
    result = way(changed(x=lambda good: make(good.x), y=lambda good: make(good.y), s=lambda good: make(good.s)))
    assert result.termination is Termination.ERROR
    assert "x is" in result.message or "x cannot be read" in result.message or "x holds" in result.message
    assert (result.certificate.relative_gap < 0.1) == readable


@pytest.mark.parametrize("make", [np.float32, np.longdouble, lambda x: x.astype(">f8")])
def test_any_array_of_real_numbers_will_do(make):
    result = directly(changed(x=lambda good: make(good.x), y=lambda good: make(good.y)))
    assert result.termination is Termination.CONVERGED


def test_masked_weights_are_no_network():
    def answer(program, settings):
        good = solved(program, settings)
        return replace(good, network=replace(good.network, alpha=np.ma.masked_array(good.network.alpha, True)))

    result = by_structure(answer)
    assert result.network.n_neurons == 0
    assert "alpha is not finite" in result.message


def test_the_best_network_so_far_is_kept_when_a_later_answer_is_none():
    answers = iter([solved, BAD["exit"]])
    result = solve(
        ROBUST,
        backend=Fake(lambda program, settings: next(answers)(program, settings.replace(tolerance=1e-2)), method=""),
        method="direct",
        settings=Settings(tolerance=1e-7),
    )
    assert result.termination is Termination.ERROR
    assert "SystemExit: I leave" in result.message
    assert 0.0 < result.certificate.relative_gap < 1e-2


def test_a_second_ctrl_c_is_one_whatever_the_solver_does():
    def answer(program, settings):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        directly(answer)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Mine(Exception):
    pass


PATHS = {
    "ipm": (ROBUST, {"backend": "ipm"}),
    "torch": (ROBUST, {"backend": "torch"}),
    "direct": (ROBUST, {"backend": "clarabel", "method": "direct"}),
    "masters": (ROBUST, {"backend": "scs", "method": "cutting-set"}),
    "polished": (ROBUST, {"backend": "torch", "polish": True}),
    "together": (CLASSES, {"backend": "torch"}),
    "auto": (GATED, {}),
    "child": (GATED, {"settings": Settings(time_limit=20.0)}),
}


@pytest.mark.parametrize(
    ("path", "error"),
    [(path, InputError("mine")) for path in PATHS]
    + [
        (path, error)
        for path in ("ipm", "child")
        for error in (Mine(), KeyboardInterrupt(), SystemExit(3), Unsayable())
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_the_callback_raises_reaches_the_caller_as_it_is(path, error):
    calls = []

    def callback(*point):
        calls.append(point)
        if len(calls) >= 2:
            raise error

    problem, more = PATHS[path]
    with pytest.raises(type(error)) as raised:
        solve(problem, callback=callback, **more)
    assert raised.value is error
    assert len(calls) == 2


def test_a_backend_that_swallows_what_the_callback_raises_is_stopped_and_not_blamed(monkeypatch):
    monkeypatch.setattr(witness, "SHARE", math.inf)
    good = get_backend("ipm").solve(GATED.to_structured(), Settings(threads=1))
    escaped, stopped = [], []

    class Deaf(Structured):
        def solve(self, program, settings, monitor):
            stopped.append(monitor.should_stop)
            try:
                monitor.report(1.0, 0.0, lambda: good)
            except BaseException as error:
                escaped.append(error)
            stopped.append(monitor.should_stop)
            return Solution(Termination.CONVERGED)

    def callback(elapsed, upper, lower):
        if stopped:
            raise Mine("no space")

    with pytest.raises(Mine, match="no space"):
        solve(GATED, backend=Deaf(None), callback=callback)
    assert (escaped, stopped) == ([], [False, True])


def test_errors_that_cannot_be_sent_say_the_same():
    class Local(InputError):
        pass

    assert portable(Local("too few rows")).args == ("too few rows",)
    assert type(portable(Local("too few rows"))) is InputError
    assert str(portable(Unsayable())).startswith("Unsayable: (a Unsayable whose text raises")
    known = UnknownNameError("loss", "hinj", ["hinge"])
    assert portable(known) is known


SEEDS = [None, 0, -1, 1e300, float("nan"), float("inf"), "", "x", b"x", 1j, [], {}, (), [1, "a"], set(), object(), True]


def mutations(rng):
    """A function that spoils a good solution in one to three places."""
    names = list(Solution.__dataclass_fields__)

    def spoil(value):
        if isinstance(value, np.ndarray) and value.size and rng.random() < 0.8:
            value = value.copy()
            kind = rng.randrange(8)
            if kind < 3:
                value[rng.randrange(value.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e99, -1e99, 0.0, 1e-320])
            elif kind == 3:
                value = rng.choice([-1.0, 0.0, 1e-12, 1e12]) * value
            else:
                value = rng.choice([value[:-1], value[::-1], value.tolist(), value.astype(object), value[None]])
            return value
        if is_dataclass(value) and rng.random() < 0.9:  # a network, or multipliers
            name = rng.choice([field.name for field in fields(value)])
            value = copy(value)
            object.__setattr__(value, name, spoil(getattr(value, name)))
            return value
        return rng.choice(SEEDS)

    def mutated(good):
        picked = rng.sample(names, rng.randint(1, 3)) if rng.random() < 0.5 else ["x", "y", "network", "multipliers"]
        return replace(good, **{name: spoil(value) for name in picked if (value := getattr(good, name)) is not None})

    return mutated


@pytest.mark.parametrize("seed", range(20))
def test_no_mutation_of_an_answer_is_more_than_an_answer(seed):
    rng = random.Random(seed)
    spoil = mutations(rng)
    way, kind = rng.choice([(directly, "robust"), (by_masters, "robust"), (by_structure, "gated")])
    result = way(lambda program, settings: spoil(solved(program, settings)))
    lower, upper = optimum_of(kind)
    assert result.certificate.lower <= upper
    assert result.certificate.upper >= lower
    result.to_dict()


@cache
def optimum_of(kind):
    certificate = solve({"robust": ROBUST, "gated": GATED}[kind], backend="ipm").certificate
    return certificate.lower - 1e-9, certificate.upper + 1e-9
