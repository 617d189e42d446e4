"""What a study says of the paper's claim, in sentences that its figures decide."""

from collections.abc import Iterator, Sequence

from cvxrobust.bench.cifar10.evaluation import OF_THE_SUM, WORST
from cvxrobust.bench.cifar10.findings import CifarFindings, HeadComparison, best_of
from cvxrobust.bench.cifar10.heads.methods import OWN, known_methods
from cvxrobust.bench.cifar10.stages import ADVERSARIAL, SGD
from cvxrobust.bench.cifar10.terms import TRIVIAL

SURE = 0.05
"""Adjusted chance below which a difference counts as one."""


def gain(one: HeadComparison) -> str:
    """Its points; bold where they are sure."""
    text = f"{one.difference:+.1f}"
    return f"**{text}**" if one.p < SURE else text


def conclusions(found: CifarFindings) -> Iterator[str]:
    """One paragraph for each question, as far as there are figures for it."""
    made, flattered = (_counting(found, found.compared(attack)) for attack in (WORST, OF_THE_SUM))
    left_out = [f"{name}, {head}" for name in found.backbones for head in found.heads_of(name, "judged")
                if head != OWN and found.trivial(name, head)]  # fmt: skip
    if not made and not left_out:
        yield "Nothing was judged on test images yet."
        return
    convex = [name for name, method in known_methods().items() if method.programme is not None]
    other = [name for name, method in known_methods().items() if method.programme is None]
    yield _claim(found, made, flattered, convex)
    yield from _against_sam(found, convex)
    yield _others(found, made, convex, other)
    if found.heads_of(ADVERSARIAL, "judged") and found.heads_of(SGD, "judged"):
        yield _backbone(found, made, convex)
    yield _converged(found, convex)
    if left_out:
        yield (
            f"**Hardly better than a constant** (below {100.0 * TRIVIAL:g} % without an attack), and left out of what "
            f"is said here: {'; '.join(left_out)}."
        )


def _counting(found: CifarFindings, made: Sequence[HeadComparison]) -> list[HeadComparison]:
    """Without heads that are right about a tenth of the images because they always say the same."""
    return [one for one in made if not found.trivial(one.backbone, one.head)]


def _claim(
    found: CifarFindings, made: Sequence[HeadComparison], flattered: Sequence[HeadComparison], convex: Sequence[str]
) -> str:
    """How much convex heads gain on backbones that saw no attack, under which attack."""
    plain = [name for name in found.backbones if name != ADVERSARIAL]
    sentences = []
    for backbone in plain:
        cells = []
        for radius in found.terms.radii:
            real, said = best_of(made, backbone, radius, convex), best_of(flattered, backbone, radius, convex)
            if real is not None and said is not None:
                cells.append(f"{gain(real)} at {radius:g}/255 ({said.difference:+.1f} by the paper's FGSM)")
        if cells:
            sentences.append(f"{backbone}: {', '.join(cells)}")
    return (
        "**The claim.** The most that a convex head gains over its backbone's own layer, in points under the worst "
        "attack (bold: surely different), the best head at each radius, which flatters: " + "; ".join(sentences) + "."
    )


def _against_sam(found: CifarFindings, convex: Sequence[str]) -> Iterator[str]:
    """The paper's own comparison: SGD's backbone with a convex head, sharpness-aware training without."""
    cells = []
    for name in [name for name in found.backbones if name not in (SGD, ADVERSARIAL)]:
        if not found.of("judged", name, OWN):
            continue
        real, said = (_counting(found, found.compared(attack, name)) for attack in (WORST, OF_THE_SUM))
        for radius in found.terms.radii:
            one, other = best_of(real, SGD, radius, convex), best_of(said, SGD, radius, convex)
            if one is not None and other is not None:
                cells.append(f"{gain(one)} at {radius:g}/255 ({other.difference:+.1f} by the paper's FGSM) than {name}")
    if cells:
        more = ", ".join(cells)
        yield f"**Against sharpness-aware training.** The best convex head on SGD's backbone has more: {more}."


def _others(found: CifarFindings, made: Sequence[HeadComparison], convex: Sequence[str], other: Sequence[str]) -> str:
    """Whether gradient descent does as well."""
    cells = []
    for backbone in found.backbones:
        radius = found.terms.radii[min(1, len(found.terms.radii) - 1)]
        ours, theirs = best_of(made, backbone, radius, convex), best_of(made, backbone, radius, other)
        if ours is not None and theirs is not None:
            said = f"{ours.head} {ours.difference:+.1f}, {theirs.head} {theirs.difference:+.1f} at {radius:g}/255"
            cells.append(f"{backbone}: {said}")
    return (
        "**Other heads.** The best convex head against the best that gradient descent made, both less the own layer: "
        + ("; ".join(cells) or "not judged yet") + "."
    )  # fmt: skip


def _backbone(found: CifarFindings, made: Sequence[HeadComparison], convex: Sequence[str]) -> str:
    """What adversarial training of the backbone does, and whether a head adds to it."""
    cells = []
    for place, radius in enumerate(found.terms.radii):
        before, after = (100.0 * found.share(name, OWN, WORST, place) for name in (SGD, ADVERSARIAL))
        added = best_of(made, ADVERSARIAL, radius, convex)
        more = "" if added is None else f" (best convex head {gain(added)})"
        cells.append(f"{radius:g}/255 from {before:.1f} to {after:.1f} %{more}")
    return (
        "**What robustifies.** Adversarial training of the whole backbone takes the accuracy of its own layer at "
        + ", at ".join(cells) + "."
    )  # fmt: skip


def _converged(found: CifarFindings, convex: Sequence[str]) -> str:
    rows = [row for name in found.backbones for head in convex for row in found.of("head", name, head)]
    done = sum(bool(row.get("converged")) for row in rows)
    return (
        f"**Convergence.** {done} of {len(rows)} convex heads reached the certified gap of {found.terms.tolerance:g} "
        "that was asked for; the others are not called converged, and what is said of them is said of what they came "
        "to."
    )
