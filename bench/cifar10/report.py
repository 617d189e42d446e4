"""The report: a page in Markdown with pictures, from what is stored alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvxrobust.bench.cifar10.collisions import MEETING
from cvxrobust.bench.cifar10.conclusions import conclusions, gain
from cvxrobust.bench.cifar10.evaluation import FGSM, FIRST, OF_THE_SUM, OUTSIDE, PGD, SCALES, WORST, scaled_name
from cvxrobust.bench.cifar10.findings import CifarFindings, HeadComparison
from cvxrobust.bench.cifar10.heads.methods import known_methods
from cvxrobust.bench.cifar10.pictures import draw_accuracies
from cvxrobust.bench.cifar10.store import CifarStore
from cvxrobust.bench.studies.common import Row, markdown
from cvxrobust.core.files import write_whole

STEM = "cifar10"
PROTOCOL = """\
A PreAct ResNet-18 of width {width} (64 is the paper's) is trained on {shares[0]:.0%} of the training images: by SGD,
by sharpness-aware minimisation with rho {rhos}, each {epochs} epochs, and by {half} adversarial epochs (one random
step, {training:g}/255) that go on from SGD, so that in all they have cost as much as the latter. Heads are trained on
features of {shares[1]:.0%} of them, which no backbone has seen. The rest decides: every setting of a head is tried on
up to {tuning} images, and the one of which projected steps on pixels at {deciding:g}/255 leave most of up to
{deciders} images is trained on all. Settings with less than {trivial:.0%} without an attack are not chosen if there
are others. Of the sharpness-aware backbones, the one that is best there has heads. None of these choices sees a test
image.

Features are standardised. Attacks on features are l2 balls, or the ellipsoid of what pixel attacks at
{deciding:g}/255 do to features, scaled so that half of the displacements lie in the one of radius 1. A head is called
converged if the relative gap that was certified is at most {tolerance:g}, and nothing else is; the certificate is
about the head's own programme on features, not about pixels.

{images} test images are attacked in the norm inf, pixels staying in [0, 1], by `cvxrobust.evaluate_robustness`:
`{FGSM}` is one step on the margin, `{PGD}` {steps} steps from it and from {restarts} random starts. `{OF_THE_SUM}` is
that of the published code, one step on the sum of the wrong classes' logits, pixels not clamped. `worst` is what
every attack but that one left. None of these proves anything: accuracies are upper bounds."""


def write_cifar_report(store: CifarStore, folder: Path) -> list[Path]:
    """Write the page and its pictures.

    Args:
        store: The study, complete or not.
        folder: Where they go.

    Returns:
        What was written, the page first.
    """
    found = CifarFindings(store)
    folder.mkdir(parents=True, exist_ok=True)
    page, pictures = folder / f"{STEM}.md", []
    if any(found.heads_of(name, "judged") for name in found.backbones):
        for stem, attack in (("worst", WORST), ("paper", OF_THE_SUM)):
            pictures.append(folder / f"{STEM}-{stem}.png")
            draw_accuracies(found, attack, pictures[-1])
    write_whole(page, make_cifar_report(found, [path.name for path in pictures]))
    return [page, *pictures]


def make_cifar_report(found: CifarFindings, pictures: list[str]) -> str:
    """The page."""
    parts = ["# CIFAR-10: convex heads on a PreAct ResNet-18, under attack", _made(found)]
    sections = (
        ("In short", conclusions(found)),
        ("How it was done", iter([_protocol(found)])),
        ("Accuracies", _accuracies(found, pictures)),
        ("Against its own layer, image by image", _compared(found)),
        ("Attacks that flatter", _flattering(found)),
        ("The heads", _heads(found)),
        ("Backbones", _backbones(found)),
        ("How far pixel attacks move features", _displacements(found)),
        ("What no head can help", _collisions(found)),
        ("Points in pixel space", _points(found)),
        ("Backbone and head in turn", _alternating(found)),
    )
    for title, body in sections:
        if lines := list(body):
            parts += [f"## {title}", *lines]
    return "\n\n".join(parts) + "\n"


def _made(found: CifarFindings) -> str:
    versions, machine = found.manifest["versions"], found.manifest["machine"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "torch") if name in versions)
    terms = found.terms
    command = (
        f"cvxrobust reproduce cifar10 --width {terms.width} --epochs {terms.epochs} --seeds {found.manifest['seeds']}"
    )
    synthetic = " **Synthetic images: this only shows that everything runs.**" if _is_trial(found) else ""
    return (
        f"`{command}`, written from stored rows by `cvxrobust reproduce report`; {len(found.seeds)} of "
        f"{found.manifest['seeds']} seeds begun; {terms.threads or 'all'} threads, {machine.get('cpu', 'unknown')}, "
        f"{named}, commit {str(found.manifest['commit'])[:12]}.{synthetic}"
    )


def _is_trial(found: CifarFindings) -> bool:
    return bool(found.manifest["data"] != "CIFAR-10")


def _protocol(found: CifarFindings) -> str:
    from cvxrobust.bench.cifar10.terms import SHARES, TRIVIAL

    terms = found.terms
    return PROTOCOL.format(
        width=terms.width, shares=SHARES, rhos=", ".join(f"{rho:g}" for rho in terms.rhos), epochs=terms.epochs,
        half=max(1, terms.epochs // 2), training=terms.training_radius, tuning=terms.tuning_images, trivial=TRIVIAL,
        deciding=terms.deciding_radius, deciders=terms.deciding_images, tolerance=terms.tolerance,
        images=terms.test_images, FGSM=FGSM, PGD=PGD, OF_THE_SUM=OF_THE_SUM, steps=terms.steps, restarts=terms.restarts,
    )  # fmt: skip


def percent(share: float) -> str:
    """With one decimal."""
    return f"{100.0 * share:.1f}"


def _shares(found: CifarFindings, backbone: str, head: str, name: str) -> str:
    return " ".join(percent(found.share(backbone, head, name, k)) for k in range(len(found.terms.radii)))


def _judged(found: CifarFindings) -> Iterator[tuple[str, str]]:
    for backbone in found.backbones:
        for head in found.heads_of(backbone, "judged"):
            yield backbone, head


def _radii(found: CifarFindings) -> str:
    return " / ".join(f"{radius:g}" for radius in found.terms.radii)


def _accuracies(found: CifarFindings, pictures: list[str]) -> Iterator[str]:
    names = (WORST, PGD, FGSM, OF_THE_SUM)
    rows = [
        (backbone, head, percent(found.share(backbone, head, "clean")),
         *(_shares(found, backbone, head, name) for name in names))
        for backbone, head in _judged(found)
    ]  # fmt: skip
    if not rows:
        return
    size = max(row["images"] for row in found.of("judged", *next(_judged(found))))
    error = 100.0 * 0.5 / size**0.5
    yield (
        f"Per cent, at {_radii(found)} of 255, means of {len(found.seeds)} seed(s), {size} test images each: the "
        f"standard error of an accuracy of 50 % is {error:.1f} points."
    )
    yield markdown(("backbone", "head", "clean", *names), rows)
    yield "\n".join(f"![What is left under attack]({name})" for name in pictures)


def _compared(found: CifarFindings) -> Iterator[str]:
    made = found.compared(WORST)
    if not made:
        return
    yield (
        f"Points that a head gains over its backbone's own layer under the worst attack; in brackets images that only "
        "the head has right, and only the layer. Bold: McNemar's exact test gives a chance below .05 after Holm's "
        f"adjustment for all {len(made)} comparisons. Where seeds are several their images are put together, and as "
        "they share the images these chances are too small."
    )
    rows = []
    for backbone, head in dict.fromkeys((one.backbone, one.head) for one in made):
        own = [one for one in made if (one.backbone, one.head) == (backbone, head)]
        rows.append((backbone, head, *(_gain(one) for one in own)))
    yield markdown(("backbone", "head", *(f"{radius:g}/255" for radius in found.terms.radii)), rows)


def _gain(one: HeadComparison) -> str:
    return f"{gain(one)} ({one.paired.won}, {one.paired.lost})"


def _flattering(found: CifarFindings) -> Iterator[str]:
    pairs = [(backbone, head) for backbone, head in _judged(found) if FIRST in found.of("judged", backbone, head)[0]]
    if not pairs:
        return
    yield (
        f"The first {found.terms.outside_images} images, under margin PGD; under attacks on the cross-entropy in "
        "single precision, whose slopes depend on a factor on the logits; and, where it is installed, after AutoAttack "
        f"at {found.terms.deciding_radius:g}/255 on what margin PGD left."
    )
    names = tuple(scaled_name(scale) for scale in SCALES)
    rows = []
    for backbone, head in pairs:
        outside = [row[OUTSIDE] for row in found.of("judged", backbone, head) if OUTSIDE in row]
        cell = "; ".join(f"{percent(one['before'])} to {percent(one['share'])}" for one in outside) or "-"
        rows.append((backbone, head, *(_shares(found, backbone, head, name) for name in (FIRST, *names)), cell))
    yield markdown(("backbone", "head", PGD, *names, OUTSIDE), rows)


def _heads(found: CifarFindings) -> Iterator[str]:
    rows = []
    for backbone in found.backbones:
        for head in found.heads_of(backbone, "head"):
            rows += [_head(backbone, head, row) for row in found.of("head", backbone, head)]
    if not rows:
        return
    yield "What the images that decide chose, and how far its training came."
    yield markdown(
        ("backbone", "head", "chosen", "features", "optimum between", "gap", "worst class", "", "constant", "s (CPU)"),
        rows,
    )
    words = {name: method.words for name, method in known_methods().items()}
    yield "; ".join(f"*{name}*: {said}" for name, said in words.items()) + "."
    yield "*constant* is the objective of a head that says the same of every image."


def _head(backbone: str, head: str, row: Row) -> tuple[str, ...]:
    setting = f"beta {row['beta']:g}" + (f", r {row['radius']:g}" if row["radius"] else "")
    if "failure" in row:
        return backbone, head, setting, "-", "-", "-", "-", f"failed: {row['failure'][:60]}", "-", "-"
    seconds = f"{row['cpu_seconds']:.0f}"
    if "gap" not in row:
        return backbone, head, setting, str(row["rows"]), "-", "-", "-", "no certificate", "-", seconds
    return (
        backbone, head, setting, str(row["rows"]), f"{row['lower']:.4f}, {row['upper']:.4f}", f"{row['gap']:.1e}",
        f"{row['worst_gap']:.1e}", "converged" if row["converged"] else f"not converged ({row['termination']})",
        f"{row['constant']:.3f}", seconds,
    )  # fmt: skip


def _backbones(found: CifarFindings) -> Iterator[str]:
    rows = [
        (name, str(row["epochs"]), str(row["cost"]), percent(row["deciding_clean"]), percent(row["deciding_robust"]),
         f"{row['history'][-1]['loss']:.3f}", f"{sum(one['seconds'] for one in row['history']) / 60.0:.1f}")
        for name in found.backbones
        for row in found.of("backbone", name)
    ]  # fmt: skip
    if rows:
        yield (
            "Accuracies on the images that decide, without an attack and under one at "
            f"{found.terms.deciding_radius:g}/255; *cost* in epochs of SGD."
        )
        yield markdown(("backbone", "epochs", "cost", "clean", "attacked", "last loss", "minutes"), rows)


def _displacements(found: CifarFindings) -> Iterator[str]:
    rows = [
        (name, *(" ".join(f"{value:.2f}" for value in row[kind]) for kind in ("attacked", "noise", "nearest")),
         percent(row["in_ten_directions"]), f"{row['effective_rank']:.1f}")
        for name in found.backbones
        for row in found.of("displacement", name)
    ]  # fmt: skip
    if rows:
        yield (
            f"Standardised features of up to {found.terms.displaced_images} images for heads, at "
            f"{found.terms.deciding_radius:g}/255; quantiles .1, .5 and .9."
        )
        yield markdown(
            ("backbone", "moved by attacks", "by noise", "distance to another class", "% in ten directions", "rank"),
            rows,
        )


def _collisions(found: CifarFindings) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    for name in found.backbones:
        for row in found.of("collisions", name):
            rows += [_collision(name, one) for one in row["radii"]]
    if rows:
        yield (
            "Test images that the backbone's own layer gets right, each with the nearest of other classes; both are "
            "moved. *Left* is what remains of the distance of their features (quantiles .1, .5, .9). Two images meet "
            "when less remains than a share of the distance to the next image of their own class; *lost* is the least "
            "share of images that any head must get wrong under attack if it does not change within so little."
        )
        columns = [f"meet at {share:g}: images, lost" for share in MEETING]
        yield markdown(("backbone", "radius", "pairs", "left", *columns), rows)


def _collision(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    cells = [one[f"meeting_{share:g}"] for share in MEETING]
    left = " ".join(f"{value:.2f}" for value in one["left"])
    shares = [f"{percent(cell['images'])}, {percent(cell['lost'])}" for cell in cells]
    return (name, f"{one['radius']:g}", str(one["pairs"]), left, *shares)


def _points(found: CifarFindings) -> Iterator[str]:
    rows = []
    for name in found.backbones:
        for number in range(found.terms.rounds + 1):
            rows += [(name, str(number), *_round(row)) for row in found.of("oracle", name, str(number))]
    if rows:
        yield (
            f"Heads of up to {found.terms.oracle_images} images by the cutting-set method at "
            f"{found.terms.deciding_radius:g}/255: what attacks on pixels found is a point more for each image. The "
            "lower bound is proved for the points, and with them for robust training of the head on this backbone; "
            "*attacked* is what the head costs with what was found next, and proves nothing. Accuracies of the head on "
            "the images that decide."
        )
        yield markdown(
            ("backbone", "round", "points", "optimum between", "gap", "attacked", "clean", "under attack"), rows
        )


def _round(row: Row) -> tuple[str, ...]:
    return (
        str(row["points"]), f"{row['lower']:.4f}, {row['upper']:.4f}", f"{row['gap']:.1e}", f"{row['attacked']:.3f}",
        percent(row["deciding_clean"]), percent(row["deciding_robust"]),
    )  # fmt: skip


def _alternating(found: CifarFindings) -> Iterator[str]:
    from cvxrobust.bench.cifar10.diagnostics import HEAD, LAYER

    rows: list[tuple[str, ...]] = []
    for arm in (HEAD, LAYER):
        for number in range(found.terms.rounds + 1):
            for row in found.of("alternating", arm, str(number)):
                if "failure" in row:
                    rows.append((arm, str(number), row["failure"], "-", "-"))
                    continue
                cells = [
                    f"{percent(row[f'{who}_clean'])}, {percent(row[f'{who}_robust'])}" for who in ("layer", "deciding")
                ]
                rows.append((arm, str(number), *cells, f"{row['gap']:.1e}"))
    if rows:
        yield (
            f"From SGD's backbone, one adversarial epoch ({found.terms.training_radius:g}/255) after the other, its "
            "loss taken behind a convex head that is solved anew after each, or behind the backbone's own layer. Clean "
            f"and attacked accuracy ({found.terms.deciding_radius:g}/255) on the images that decide."
        )
        yield markdown(("learned through", "epochs", "own layer", "convex head", "the head's gap"), rows)
