"""The report of a study: a page in Markdown and a picture for every table, generated from the rows alone."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cvxrobust.bench.reproduce.analysis import BASELINE, OURS, Contest, MeanOfSplits, TableFindings, contests
from cvxrobust.bench.reproduce.methods import METHODS, Method
from cvxrobust.bench.reproduce.pictures import LABELS, draw_table
from cvxrobust.bench.reproduce.stated import STATED
from cvxrobust.bench.reproduce.tables import TABLES, Question
from cvxrobust.bench.studies.common import markdown
from cvxrobust.core.files import write_whole

PROTOCOL = """\
Five kinds of choices stand between a method and a figure here, and none of them sees a test row. (1) Each split deals
the rows into ten parts, classes in proportion and equal rows in one part, and holds three out; rows that repeat count
as often as they come; images are drawn from the two parts that their source keeps apart. (2) Columns are standardised
with the training rows' means and deviations, and radii are in these deviations; of images only the means are taken
away. (3) Every method has the same number of settings, {budget}; each is trained once on each of {folds} inner
folds of the training rows and judged on the rest of them. (4) For every kind of attacks and every radius the setting
with the most *certified* rows is chosen; of methods that nothing certifies, with the most rows that attacks left
alone; of equals the one that attacks hurt least there, then the one that is better over all radii, then the first of
the grid, where settings are listed from the most regularised on. (5) What was chosen is trained again on all training
rows and judged on the test rows. The radius to train at is one of the settings and chosen like the others. *{ours}*
takes the method of ours that is best on the inner folds of a split, radius by radius; *{baseline}* does the same
among the certified baselines.

Programmes of ours are solved to a certified relative gap of {tolerance:g}. `certified` is what no attack can lower:
exact for polynomial networks and `svc-quadratic` against l2, for linear machines and trees in every norm; bounds
elsewhere. `attacked` is what FGSM, PGD, APGD and searches without slopes left ({steps} steps, {restarts} restarts on
test rows; {inner_steps} and {inner_restarts} on inner folds). For methods without a certificate only the latter
exists, found by searches without slopes (of forests and boosted trees always, of Gaussian machines in rows from
before their slopes were known), and it flatters them: a dotted line that lies above others says that nothing
was found, not that there is nothing. ± is the standard error of the mean over splits, which share rows: the true one
is larger (by the correction of Nadeau and Bengio for a 70/30 split and five of them about 1.8 times)."""


SECOND = "with hyperparameters that the first round did not vary"
"""What methods of the second round have in common."""


def write_report(
    found: Sequence[TableFindings], again: Sequence[TableFindings], manifest: dict[str, Any], folder: Path, stem: str
) -> list[Path]:
    """Write the page and its pictures.

    Args:
        found: What was found, by table.
        again: The same with the methods of the second round.
        manifest: Of the study.
        folder: Where they go.
        stem: How their names begin.

    Returns:
        What was written, the page first.
    """
    page = folder / f"{stem}.md"
    folder.mkdir(parents=True, exist_ok=True)
    written = [page]
    for table in found:
        if table.splits:
            path = folder / f"{stem}-{table.table.name}.png"
            draw_table(table, path)
            written.append(path)
    write_whole(page, make_report(found, again, manifest, stem))
    return written


def make_report(
    found: Sequence[TableFindings], again: Sequence[TableFindings], manifest: dict[str, Any], stem: str
) -> str:
    """The page."""
    known = [table for table in found if table.splits]
    parts = ["# Robust accuracy on tables, by nested cross-validation", _made(found, manifest), "## In short"]
    parts += [*_in_short(known), *_second_round(again)]
    parts += ["## How it was done", _protocol(manifest), *_methods(found)]
    for table in known:
        parts += _table(table, stem)
    parts += ["## What the paper and its reviews state", _stated()]
    return "\n\n".join(parts) + "\n"


def _second_round(found: Sequence[TableFindings]) -> Iterator[str]:
    known = [table for table in found if table.splits]
    added = {method.name: method for table in known for method in table.methods if method.second}
    if not added:
        return
    yield "## A second round"
    splits = ", ".join(f"{table.table.name} {len(table.splits)}" for table in found)
    yield (
        f"What the same machinery can do where it was behind: more methods of ours, {SECOND}, chosen on inner folds "
        f"with all others. Splits that are complete with them: {splits}; the figures of this section are over these."
    )
    yield markdown(("method", "what it is"), [(method.name, method.words) for method in added.values()])
    yield from _in_short(known)
    for table in known:
        yield f"{table.table.title}: certified accuracy, l2 first, then linf."
        for asked in table.table.questions[:2]:
            yield _accuracies(table, asked, [OURS, *table.names(lambda method: method.second), BASELINE])


def _made(found: Sequence[TableFindings], manifest: dict[str, Any]) -> str:
    splits = ", ".join(f"{table.table.name} {len(table.splits)}" for table in found)
    seconds = sum(table.seconds(method.name)[2] for table in found if table.splits for method in table.methods)
    versions, machine = manifest["versions"], manifest["machine"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "scikit-learn", "torch") if name in versions)
    silent = [table.table.name for table in found if not table.splits]
    missing = f" Nothing is said yet of {', '.join(silent)}." if silent else ""
    some = [] if set(manifest["tables"]) >= TABLES.keys() else ["--tables", ",".join(manifest["tables"])]
    command = " ".join(["cvxrobust reproduce tables", *some, "--seeds", str(manifest["seeds"])])
    told = [manifest, *manifest.get("resumed", [])]
    commits = dict.fromkeys(str(part["commit"])[:9] for part in told if part.get("commit"))
    fitted = f", fitted at {', '.join(commits)}" if commits else ""
    lines = [
        f"`{command}`{fitted}, written from stored rows by `cvxrobust reproduce "
        f"report`. Splits on which every method is complete, of {manifest['seeds']}: {splits}. Tables and figures are "
        f"over these alone.{missing}",
        f"{manifest['threads']} thread, {machine['cpu']}, {machine['python']}, {named}; {seconds / 60.0:.0f} minutes "
        "of the processor for the fits. Seconds are those of the processor, not of the wall (but for some fits in "
        "child processes, of which only the wall's were kept).",
    ]
    return "\n\n".join(lines)


def _protocol(manifest: dict[str, Any]) -> str:
    terms = manifest["terms"]
    return PROTOCOL.format(
        budget=terms["budget"], folds=terms["folds"], ours=OURS, baseline=BASELINE,
        tolerance=terms["training"]["tolerance"], steps=terms["test"]["steps"], restarts=terms["test"]["restarts"],
        inner_steps=terms["inner"]["steps"], inner_restarts=terms["inner"]["restarts"],
    )  # fmt: skip


def _in_short(found: Sequence[TableFindings]) -> Iterator[str]:
    made = [contest for table in found for contest in contests(table)]
    if not made:
        yield "No split is complete yet, or there is nothing to compare: no figure is shown."
        return
    lost, won = [contest for contest in made if contest.lost], [contest for contest in made if contest.won]
    yield (
        f"In certified accuracy, *{OURS}* against the best certified baseline of each radius (the best *on the test "
        "rows*, in hindsight, which favours the baselines), paired over splits: ahead by more than one standard error "
        f"in {len(won)} of {len(made)} comparisons, behind by more than one in {len(lost)}, within one in "
        f"{len(made) - len(won) - len(lost)}. Radius 0 is clean accuracy, and counts once for every kind of attacks. "
        "Of two equal methods one is ahead by more than one standard error in about a third of all comparisons."
    )
    single = [table.table.name for table in found if len(table.splits) == 1]
    if single:
        yield (
            f"Of {', '.join(single)} there is one split so far. Its errors are those of shares of its test rows; of "
            "differences those of two independent shares, which is too much for two methods on the same rows."
        )
    yield markdown(("table", "attacks", "ahead", "within one", "behind", "mean difference"), list(_counts(made)))
    yield "The same against each baseline (ahead / within one standard error / behind, over all attacks and radii):"
    yield _against_each(found)
    if not lost:
        yield "On none of these tables, at no radius, is a baseline's certified accuracy a standard error above ours."
        return
    yield "**Where the best baseline's certified accuracy is above ours by more than one standard error:**"
    yield markdown(
        ("table", "attacks", "radius", "baseline", "its certified", "ours", "difference", "where it lies"),
        [_loss(contest) for contest in lost],
    )


def _counts(made: Sequence[Contest]) -> Iterator[tuple[str, ...]]:
    for table, question in dict.fromkeys((contest.table, contest.question.name) for contest in made):
        own = [contest for contest in made if (contest.table, contest.question.name) == (table, question)]
        won, lost = sum(contest.won for contest in own), sum(contest.lost for contest in own)
        mean = 100.0 * sum(contest.difference.value for contest in own) / len(own)
        yield table, LABELS[question], str(won), str(len(own) - won - lost), str(lost), f"{mean:+.1f}"


def _against_each(found: Sequence[TableFindings]) -> str:
    names = dict.fromkeys(name for table in found for name in table.names(lambda method: not method.ours))
    rows = []
    for name in (BASELINE, *names):
        cells = [name if name not in METHODS or METHODS[name].certified else f"{name} (under attack)"]
        for table in found:
            if name != BASELINE and name not in table.names(lambda method: not method.ours):
                cells.append("-")
                continue
            signs = [
                _sign(_less(table, name, question, k))
                for question in table.table.questions
                for k in range(len(question.radii))
            ]
            cells.append(" / ".join(str(signs.count(sign)) for sign in (1, 0, -1)))
        rows.append(cells)
    return markdown(("baseline", *(table.table.name for table in found)), rows)


def _sign(mean: MeanOfSplits) -> int:
    return 0 if abs(mean.value) <= max(mean.error, 1e-12) else 1 if mean.value > 0.0 else -1


def _less(found: TableFindings, name: str, question: Question, k: int) -> MeanOfSplits:
    """Ours less a baseline, whose accuracy under attack counts where nothing certifies it."""
    flattered = name in METHODS and not METHODS[name].certified
    return (found.against_attacked if flattered else found.difference)(name, question, k)


def _loss(contest: Contest) -> tuple[str, ...]:
    return (
        contest.table,
        LABELS[contest.question.name],
        f"{contest.radius:g}",
        contest.baseline,
        str(contest.theirs),
        str(contest.ours),
        str(contest.difference),
        contest.why,
    )


def _methods(found: Sequence[TableFindings]) -> Iterator[str]:
    methods: dict[str, Method] = {method.name: method for table in found for method in table.methods}
    yield markdown(
        ("method", "", "what it is", "certified"),
        [
            (method.name, "ours" if method.ours else "baseline", method.words, "yes" if method.certified else "no")
            for method in methods.values()
        ],
    )
    masks = [f"{table.table.name}: {table.table.meaning}" for table in found]
    yield "Immutable columns. " + "; ".join(masks) + "."


def _table(found: TableFindings, stem: str) -> Iterator[str]:
    table, n = found.table, len(found.splits)
    yield f"## {table.title}"
    settings = [
        sum(found.budget for method in found.methods if method.certified and method.ours == ours)
        for ours in (True, False)
    ]
    yield (
        f"{n} complete split{'s' if n > 1 else ''}; radii in {table.unit}, accuracies in per cent. *{OURS}* is chosen "
        f"among {settings[0]} settings in all, *{BASELINE}* among {settings[1]}."
    )
    if found.failed:
        counts = Counter(f"{row['method']} ({row['failure']})" for row in found.failed)
        yield "Fits that failed, and count as accuracy 0: " + ", ".join(f"{k} {v}" for k, v in counts.items()) + "."
    yield f"![{table.title}]({stem}-{table.name}.png)"
    for question in table.questions:
        yield f"**{LABELS[question.name]}**, certified and, in brackets where it differs, under attack:"
        yield _accuracies(found, question, _shown(found))
        yield (
            f"*{OURS}* less each baseline, certified (of those without a certificate, our certified less theirs under "
            "attack):"
        )
        yield _differences(found, question)
    yield "What inner folds chose, and seconds of the processor for a fit:"
    yield _choices(found)


def _shown(found: TableFindings) -> list[str]:
    chosen = [OURS, BASELINE] if _both(found) else []
    return chosen + [method.name for method in found.methods]


def _both(found: TableFindings) -> bool:
    return {True, False} <= {method.ours for method in found.methods if method.certified}


def _accuracies(found: TableFindings, question: Question, names: Sequence[str]) -> str:
    rows = []
    for name in names:
        cells = [f"*{name}*" if name in (OURS, BASELINE) else name]
        for k in range(len(question.radii)):
            low, high = found.certified(name, question, k), found.attacked(name, question, k)
            if name in METHODS and not METHODS[name].certified:
                cells.append(f"- [{high}]")
            else:
                cells.append(str(low) if high.value - low.value < 5e-4 else f"{low} [{100.0 * high.value:.1f}]")
        rows.append(cells)
    return markdown(("method", *(f"r = {radius:g}" for radius in question.radii)), rows)


def _differences(found: TableFindings, question: Question) -> str:
    if not _both(found):
        return "Nothing to compare."
    rows = []
    for name in [BASELINE, *found.names(lambda method: not method.ours)]:
        flattered = name in METHODS and not METHODS[name].certified
        cells = [f"*{name}*" if name == BASELINE else f"{name} (under attack)" if flattered else name]
        cells += [_signed(_less(found, name, question, k)) for k in range(len(question.radii))]
        rows.append(cells)
    return markdown(("less", *(f"r = {radius:g}" for radius in question.radii)), rows)


def _signed(mean: MeanOfSplits) -> str:
    text = f"{100.0 * mean.value:+.1f} ± {100.0 * mean.error:.1f}"
    return f"**{text}**" if _sign(mean) else text


def _choices(found: TableFindings) -> str:
    question = found.table.questions[0]
    rows = []
    for method in found.methods:
        median, longest, _ = found.seconds(method.name)
        cells = [method.name, f"{median:.2f} (at most {longest:.2f})"]
        for k in (0, len(question.radii) // 2, len(question.radii) - 1):
            counts = Counter(_words(found, method.name, question, k)).items()
            cells.append("; ".join(words if count == 1 else f"{words} ({count}x)" for words, count in counts))
        rows.append(cells)
    radii = [question.radii[k] for k in (0, len(question.radii) // 2, len(question.radii) - 1)]
    return markdown(("method", "s", *(f"chosen for l2, r = {radius:g}" for radius in radii)), rows)


def _words(found: TableFindings, name: str, question: Question, k: int) -> Iterator[str]:
    for outcome in found.outcomes(name, question, k):
        yield ", ".join(f"{key} {value}" for key, value in outcome.row["setting"].items())


def _stated() -> str:
    return markdown(("", "stated", "here"), STATED)
