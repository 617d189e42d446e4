"""Checks of the parameters of the ReLU problems, and from them the gates."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import flag, number, whole, word
from cvxrobust.core.attacks.norms import GEOMETRIES, check_norm
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.losses.by_name import MARGIN_LOSSES, loss_by_name
from cvxrobust.core.programs.gated.formulations import FORMULATIONS, GateRules
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers, checked_inputs, checked_labels
from cvxrobust.core.weights import Weighing, weighing
from cvxrobust.problems.data.parameters import attack_fields, checked_beta, checked_class_weight, checked_radius
from cvxrobust.problems.data.ranges import checked_range, within_range
from cvxrobust.problems.data.repeated_rows import distinct_rows
from cvxrobust.problems.relu.fields import ReLUArguments, ReLUFields
from cvxrobust.problems.relu.gates import cones as gate_cones
from cvxrobust.problems.relu.gates import patterns as gates
from cvxrobust.problems.relu.gates.patterns import GateSet
from cvxrobust.problems.relu.gates.slots import BOUNDS, Slots, crossings, signed_slots, with_bound

Array = NDArray[np.float64]
MULTICLASS = ("one-versus-all", "vector-output")
MEANT = ("class_weight", "outside", "threat")
"""What is asked for but not kept as it is: fields follow from it."""


FEWEST, MOST, PER_GATE = 10, 50, 5
"""Gates sampled by default: one for so many samples per input, from the first number to the second."""


def wanted_gates(n_gates: int | None, X: Array) -> int:
    """How many gates to sample: as many as asked for, or by different samples and inputs.

    More gates always lower the optimum, but errors on data held out do not follow: ten gates are no worse there than
    fifty up to some hundred samples per input. See `cvxrobust.bench.studies.gate_counts`, and `hyperparameters` there
    for accuracies under attack, which do not follow either.

    Raises:
        InputError: Their number is no whole number above 0.
    """
    if n_gates is not None:
        return whole(n_gates, "n_gates", 1)
    n, d = (int(size) for size in X.shape)
    if n > FEWEST * PER_GATE * d:  # else copies do not matter
        n = int(distinct_rows(X).size)
    return min(max(-(-n // (PER_GATE * d)), FEWEST), MOST)


def checked(problem: ReLUArguments, losses: tuple[str, ...]) -> dict[str, object]:
    """Every field of a problem, checked and in its final form, and the classes.

    Args:
        problem: What was asked for.
        losses: What its family can be trained with.

    Raises:
        InputError: A value is unusable; the message says which and what was expected.
        UnknownNameError: A loss, norm, formulation, bound or `multiclass` that is not offered.
    """
    loss = loss_by_name(problem.loss, losses)
    given = checked_inputs(problem.X)
    n, classes = given.shape[0], loss.margin or problem.multiclass is not None
    weighed = weighing(
        problem.sample_weight, checked_class_weight(problem.class_weight, classes, problem.loss), problem.y, n
    )
    low, high = _range(problem, given.shape[1])
    problem, X = _weighed(problem, weighed, n), weighed.of(within_range(given, low, high, problem.outside))
    found: dict[str, object] = {
        **{name: getattr(problem, name) for name in (one.name for one in fields(problem)) if name not in MEANT},
        "X": X,
        "low": low,
        "high": high,
        "radius": weighed.of(checked_radius(problem.radius, n)),
        "beta": checked_beta(problem.beta),
        **attack_fields(problem.threat, X.shape[1]),
        "n_gates": wanted_gates(problem.n_gates, X),
        "seed": whole(problem.seed, "seed", 0),
        "regate": whole(problem.regate, "regate", 0),
        "grow": whole(problem.grow, "grow", 1),
        "grow_gain": _share(problem.grow_gain, "grow_gain"),
        **{name: flag(getattr(problem, name), name) for name in ("bias", "resample")},
        **_formulation(problem, loss.margin),
        **_labels(problem, X.shape[0], loss.margin),
    }
    if problem.slots is not None:
        _check_slots(problem.slots, X.shape[0], FORMULATIONS[str(found["formulation"])])
    chosen = [name for name in ("patterns", "gates") if getattr(problem, name) is not None]
    if len(chosen) > 1:
        raise InputError("both patterns and gates are given; pass one of them, patterns follow from gates.")
    if problem.resample and chosen:
        raise InputError(f"resample=True draws gates, but {chosen[0]} are given; leave one of them out.")
    _check_given(problem, *X.shape)
    return found


def _range(problem: ReLUArguments, d: int) -> tuple[Array | None, Array | None]:
    """The least and the largest values of inputs, shapes (d,); None where there is no range."""
    norm = check_norm(problem.threat.norm)
    if problem.threat.bounds is not None and not GEOMETRIES[norm].separable:
        raise InputError(
            f"bounds are given, but norm is {norm!r}: what a range leaves of a box is a box, and worst cases stay "
            'exact, which is not so of other balls; give norm="inf", or leave bounds out.'
        )
    if problem.threat.bounds is None and problem.outside == "clip":
        raise InputError(
            "outside is 'clip', but there are no bounds that rows could lie outside of; leave it out, or give bounds."
        )
    return checked_range(problem.threat.bounds, d)


def _check_given(problem: ReLUArguments, n: int, d: int) -> None:
    """Refuse patterns or gates that are none, before anybody asks for them."""
    if isinstance(problem.patterns, str):
        if problem.patterns != "all":
            raise UnknownNameError("patterns", problem.patterns, ("all",), "Or pass an array of bools, shape (n, P).")
    elif isinstance(problem.patterns, tuple):
        _check_pair(problem.patterns)
        for part in problem.patterns:
            gates.pattern_table(part, n)
    elif problem.patterns is not None:
        gates.pattern_table(problem.patterns, n)
    if problem.gates is not None:
        gates.gate_vectors(problem.gates, d + int(problem.bias), bool(problem.bias))


def _weighed(problem: ReLUArguments, weighed: Weighing, n: int) -> ReLUArguments:
    """What is asked for, of the rows that count."""
    if weighed.kept is None:
        return replace(problem, sample_weight=weighed.weights)

    def rows(given: ArrayLike, name: str) -> NDArray[Any]:
        table = np.asanyarray(given)
        if table.ndim == 0 or table.shape[0] != n:
            raise InputError(f"{name} of shape {table.shape}; expected ({n}, K), one row per row of X.")
        return np.asanyarray(table[weighed.kept])

    patterns, slots = problem.patterns, problem.slots
    if isinstance(patterns, tuple):
        patterns = tuple(rows(one, "patterns is a pair that holds an array") for one in patterns)
    elif patterns is not None and not isinstance(patterns, str):
        patterns = rows(patterns, "patterns is an array")
    if isinstance(slots, Slots):
        slots = Slots(rows(slots.gates, "slots has gates"), slots.signs)
    return replace(problem, y=weighed.labels(problem.y), patterns=patterns, slots=slots, sample_weight=weighed.weights)


def _formulation(problem: ReLUArguments, margin: bool) -> dict[str, object]:
    usual = "one-sided" if margin else "cone"
    formulation = usual if problem.formulation is None else word(problem.formulation, "formulation", FORMULATIONS)
    one_sided = FORMULATIONS[formulation].one_sided
    if one_sided and not margin:
        raise InputError(
            f"the one-sided formulation needs a margin loss ({', '.join(MARGIN_LOSSES)}), because it only bounds "
            f'outputs from one side; with the {problem.loss} loss use formulation="cone" or "gated".'
        )
    if problem.bound is not None:
        word(problem.bound, "bound", BOUNDS)
    if problem.bound is not None and not one_sided:
        raise InputError(
            f"bound={problem.bound!r} belongs to the one-sided formulation, and this is {formulation!r}; leave it out."
        )
    if problem.regate and not one_sided:
        raise InputError(
            f"regate={problem.regate} belongs to the one-sided formulation; {formulation!r} keeps its gates (use 0)."
        )
    if problem.resample and one_sided:
        raise InputError(
            "resample=True looks for gates whose cones hold neurons, which the one-sided formulation does not need; "
            'use it with formulation="cone" or "gated".'
        )
    bound = (problem.bound or "soft-cone") if one_sided else None
    return {"formulation": formulation, "bound": bound}


def _labels(problem: ReLUArguments, n: int, margin: bool) -> dict[str, object]:
    """Labels or targets, and the classes."""
    if problem.multiclass is not None:
        word(problem.multiclass, "multiclass", MULTICLASS)
    if problem.multiclass == "vector-output" and margin:
        raise InputError(
            f"multiclass='vector-output' fits all classes at once with a loss of targets, not with {problem.loss!r}; "
            "use loss='squared' or multiclass='one-versus-all'."
        )
    if not margin and problem.multiclass is None:
        targets = _targets(problem.y, n, problem.loss)
        return {"y": targets[:, 0] if targets.shape[1] == 1 else targets, "classes": None}
    # Labels are labels here, whatever the loss: two classes must be -1 and +1.
    instead = {} if margin else {"instead": "leave multiclass out"}
    y, classes = checked_labels(problem.y, n, True, problem.loss, **instead)
    return {"y": y, "classes": classes}


def _targets(y: ArrayLike, n: int, loss: str) -> Array:
    try:
        targets = np.array(as_numbers(y, "y"))
    except InputError as error:
        raise InputError(
            f"{str(error).partition(';')[0]}, but {loss} loss needs real targets; for labels pass "
            "multiclass='one-versus-all' or 'vector-output'."
        ) from error
    if targets.ndim == 1:
        targets = targets[:, None]
    if targets.ndim != 2 or targets.shape[0] != n or targets.shape[1] < 1:
        raise InputError(f"y has shape {np.shape(y)}; expected ({n},) targets, or ({n}, C) for C outputs.")
    if not np.isfinite(targets).all():
        row = int(np.argmin(np.isfinite(targets).all(axis=1)))
        raise InputError(f"y holds NaN or inf at position {row}; every row needs a target.")
    targets.setflags(write=False)
    return targets


def _share(value: object, name: str) -> float:
    return number(value, name, "a share of 0 or more, but less than 1", lambda share: 0.0 <= share < 1.0)


def _check_slots(slots: Slots, n: int, rules: GateRules) -> None:
    if not isinstance(slots, Slots):
        raise InputError(f"slots is {shown(slots)}; expected cvxrobust.problems.relu.gates.slots.Slots(gates, signs).")
    gates_given, signs = np.asarray(slots.gates), np.asarray(slots.signs)
    if gates_given.dtype != np.bool_ or gates_given.ndim != 2 or gates_given.shape[0] != n:
        raise InputError(
            f"slots has gates of shape {gates_given.shape} and dtype {gates_given.dtype}; expected ({n}, K), bool."
        )
    allowed = (-1.0, 1.0) if rules.signed_slots else (1.0,)
    if signs.shape != gates_given.shape[1:] or not np.isin(signs, allowed).all():
        raise InputError(
            f"slots has signs {shown(slots.signs)}; expected one of {allowed} for each of {gates_given.shape[1]} slots."
        )


def gate_set(problem: ReLUFields) -> GateSet:
    """The patterns of a problem: given, from given gates, all of them, or sampled."""
    inputs, n = problem.inputs, problem.X.shape[0]
    if problem.slots is not None:
        given = np.asarray(problem.slots.gates)
        kept = gates.first_seen(given)
        empty = int(np.count_nonzero(~given.any(axis=0)))
        return GateSet(given[:, kept], None, given.shape[1], given.shape[1] - kept.size - empty, empty, "given slots")
    if isinstance(problem.patterns, str):
        return gates.all_patterns(inputs)
    if isinstance(problem.patterns, tuple):
        positive, negative = _pair(problem.patterns, n)
        return gates.from_patterns(np.hstack([positive.patterns, negative.patterns]), n)
    if problem.patterns is not None:
        return gates.from_patterns(problem.patterns, n)
    if problem.gates is not None:
        return gates.from_gates(problem.gates, inputs, bias=problem.bias)
    count = wanted_gates(problem.n_gates, problem.X)
    if problem.resample:
        found = gate_cones.resampled(inputs, count, problem.seed, problem.attack)
        return gates.with_constant(found, inputs) if problem.bias else found
    if not gates.has_more_patterns(inputs, count):
        return gates.all_patterns(inputs)  # tiny data: sampling could only find fewer
    found = gates.sampled(inputs, count, problem.seed)
    return gates.with_constant(found, inputs) if problem.bias else found


def _pair(patterns: tuple[ArrayLike, ...], n: int) -> tuple[GateSet, GateSet]:
    return gates.from_patterns(patterns[0], n), gates.from_patterns(patterns[1], n)


def _check_pair(patterns: tuple[ArrayLike, ...]) -> None:
    if len(patterns) != 2:
        raise InputError(
            f"patterns is a tuple of {len(patterns)}; expected an array (n, P), or a pair of arrays for "
            "positive and for negative output weights."
        )


def slots(problem: ReLUFields, found: GateSet, labels: Array) -> Slots:
    """The slots of a single (not one-versus-all) problem: those of its patterns, unless slots are given."""
    if not problem.rules.signed_slots:
        return Slots(found.patterns, np.ones(found.patterns.shape[1]))
    positive = negative = found.patterns
    if isinstance(problem.patterns, tuple):
        positive, negative = (part.patterns for part in _pair(problem.patterns, problem.X.shape[0]))
    signed = signed_slots(positive, negative)
    if not problem.rules.one_sided:
        return signed
    crossing = None
    if problem.bound == "mixed":
        if found.vectors is None:
            raise InputError(
                "bound='mixed' needs to know where balls cross the boundaries of the gates: pass gates= or n_gates=, "
                "not patterns=."
            )
        crossed = crossings(problem.inputs, found.vectors, problem.attack)
        crossing = np.hstack([crossed, crossed])
    return with_bound(signed, labels[:, 0], BOUNDS[BOUNDS.index(problem.bound)], crossing)
