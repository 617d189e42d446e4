"""One fit of the study, and what comes of it: a row."""

import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Self

from sklearn.exceptions import ConvergenceWarning

from cvxrobust.bench.reproduce.methods import METHODS, Setting, TrainingTerms, plain
from cvxrobust.bench.reproduce.tables import QUESTIONS, Lesson, inner_parts, outer_split, read_rows_of, table_named
from cvxrobust.bench.studies.common import Row, timed
from cvxrobust.core.robustness.evaluate import evaluate_robustness

TEST = -1
"""In place of a fold: trained on all training rows, judged on the test rows."""

LATE, FAILED = "time limit", "error"


@dataclass(frozen=True)
class JudgingEffort:
    """How hard classifiers are attacked.

    Args:
        steps: Of iterative attacks.
        restarts: Of iterative attacks.
    """

    steps: int
    restarts: int


@dataclass(frozen=True)
class StudyTerms:
    """The terms on which all fits meet.

    Args:
        folds: Inner folds.
        budget: Settings of each method.
        training: What methods are given.
        inner: How hard the classifiers of inner folds are attacked.
        test: How hard those are that are judged on test rows.
        exact_seconds: For exact worst cases of ReLU networks on test rows, for each kind of attacks.
        threads: Of the numerical libraries.
    """

    folds: int = 3
    budget: int = 12
    training: TrainingTerms = field(default_factory=TrainingTerms)
    inner: JudgingEffort = field(default_factory=lambda: JudgingEffort(10, 1))
    test: JudgingEffort = field(default_factory=lambda: JudgingEffort(40, 2))
    exact_seconds: float = 0.0
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """What must not differ between the rows of a study."""
        kept = {name: value for name, value in asdict(self).items() if name != "threads"}
        return kept | {"radii": {question.name: list(question.radii) for question in QUESTIONS}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The terms of a stored study."""
        inner, test = (JudgingEffort(**content[name]) for name in ("inner", "test"))
        training = TrainingTerms(**content["training"])
        own = {name: content[name] for name in ("folds", "budget", "exact_seconds")}
        return cls(**own, training=training, inner=inner, test=test)


@dataclass(frozen=True)
class Fit:
    """A classifier to be trained and judged.

    Args:
        table: Name of the table.
        seed: Of the split into training and test rows, of the folds and of whatever is random in training.
        method: Name of the method.
        place: Of the setting in the method's settings.
        setting: The setting.
        fold: The inner fold to judge on, the others being trained on; `TEST` for the test rows.
    """

    table: str
    seed: int
    method: str
    place: int
    setting: Setting
    fold: int

    @property
    def key(self) -> tuple[str, int, str, int, int]:
        """By which its row is known, together with the setting."""
        return self.table, self.seed, self.method, self.place, self.fold

    def to_row(self) -> Row:
        """The beginning of its row."""
        return {
            "table": self.table, "seed": self.seed, "method": self.method, "place": self.place, "fold": self.fold,
            "setting": plain(self.setting),
        }  # fmt: skip


def lesson_of(fit: Fit, folds: int, folder: str | None) -> Lesson:
    """What a fit is trained and judged on; those of inner folds are made of training rows alone."""
    return _lesson(fit.table, fit.seed, fit.fold, folds, folder)


@lru_cache(maxsize=16)
def _lesson(table: str, seed: int, fold: int, folds: int, folder: str | None) -> Lesson:
    rows, known = read_rows_of(table, folder), table_named(table)
    train, test = outer_split(rows, seed, known.drawn)
    training = rows.take(train)
    if fold == TEST:
        return Lesson.of(training, rows.take(test), known.unit)
    kept, judged = inner_parts(training, folds, seed)[fold]
    return Lesson.of(training.take(kept), training.take(judged), known.unit)


def carry_out(fit: Fit, terms: StudyTerms, folder: str | None) -> Row:
    """Train and judge; whatever goes wrong is in the row.

    Returns:
        Seconds of the processor for training, here and in child processes, and of the wall; seconds of the processor
        for judging; and for each kind of attacks how many rows are certified and how many no attack turned wrong, at
        every radius.
    """
    try:
        lesson = lesson_of(fit, terms.folds, folder)
        return fit.to_row() | _learnt(fit, terms, lesson) | {"failure": ""}
    except TimeoutError as error:
        return fit.to_row() | {"failure": LATE, "reason": str(error)}
    except Exception as error:  # a method that fails is a result
        return fit.to_row() | {"failure": FAILED, "reason": f"{type(error).__name__}: {error}"[:300]}


def children_seconds() -> float:
    """Seconds of the processor that child processes had used when they ended."""
    times = os.times()
    return times.children_user + times.children_system


def _learnt(fit: Fit, terms: StudyTerms, lesson: Lesson) -> Row:
    method, training = METHODS[fit.method], terms.training
    model = method.make(fit.setting, lesson, TrainingTerms(training.tolerance, training.time_limit, fit.seed))
    began = time.perf_counter()
    before = children_seconds()
    with warnings.catch_warnings():
        # Rows say how near the optimum ours came.
        warnings.filterwarnings("ignore", "the training was not certified", ConvergenceWarning)
        seconds, _ = timed(lambda: model.fit(lesson.X, lesson.y), time.process_time)
    wall, children = time.perf_counter() - began, children_seconds() - before
    # Methods with a clock of their own stop by themselves, with the best that they have by then.
    if wall > 1.5 * training.time_limit + 1.0:
        raise TimeoutError(f"the fit took {wall:.1f} s, and {training.time_limit:g} s are given")
    judging, threats = timed(lambda: judged(model, fit, terms, lesson), time.process_time)
    result = getattr(model, "result_", None)
    row = {
        "seconds": round(seconds, 4), "children": round(children, 2), "wall": round(wall, 4),
        "judging": round(judging, 4),
        "rows": int(lesson.y.size), "judged": int(lesson.judged_y.size), "threats": threats,
    }  # fmt: skip
    if result is not None:
        row |= {"quality": str(result.quality), "gap": float(f"{result.certificate.relative_gap:.2e}")}
    return row


def judged(model: Any, fit: Fit, terms: StudyTerms, lesson: Lesson) -> dict[str, Mapping[str, Any]]:
    """Brackets under every kind of attacks of the table, as counts of rows."""
    effort = terms.test if fit.fold == TEST else terms.inner
    seconds = terms.exact_seconds if fit.fold == TEST else 0.0
    found: dict[str, Mapping[str, Any]] = {}
    for question in table_named(fit.table).questions:
        report = evaluate_robustness(
            model, lesson.judged_X, lesson.judged_y, question.threat(lesson.touchable), question.radii,
            steps=effort.steps, restarts=effort.restarts, seed=fit.seed, exact_seconds=seconds,
        )  # fmt: skip
        found[question.name] = {
            "certified": report.held.sum(axis=1).tolist(), "attacked": report.alive.sum(axis=1).tolist(),
            "kind": str(report.kind),
        }  # fmt: skip
    return found
