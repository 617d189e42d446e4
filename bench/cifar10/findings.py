"""What the rows of a study say: shares over seeds, and classifiers compared image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cvxrobust.bench.cifar10.evaluation import Alive, Paired, holm
from cvxrobust.bench.cifar10.heads.methods import OWN
from cvxrobust.bench.cifar10.stages import ADVERSARIAL, SGD, file_name, sam_name
from cvxrobust.bench.cifar10.store import CifarStore
from cvxrobust.bench.cifar10.terms import TRIVIAL, CifarTerms
from cvxrobust.bench.studies.common import Row


@dataclass(frozen=True)
class HeadComparison:
    """A classifier against a backbone's own layer, on the same images of all seeds, at one radius under one attack.

    Args:
        backbone: The backbone.
        head: The head.
        radius: In levels of 255.
        difference: Of the shares that are left, in points.
        paired: The images in which they differ.
        p: How probable that is between equals, adjusted for the number of comparisons.
    """

    backbone: str
    head: str
    radius: float
    difference: float
    paired: Paired
    p: float


class CifarFindings:
    """A study as far as it is done.

    Args:
        store: Where it is kept.

    Attributes:
        manifest: What is known about it as a whole.
        terms: Its terms.
        rows: By key.
    """

    def __init__(self, store: CifarStore) -> None:
        self.store, self.manifest, self.rows = store, store.manifest(), store.rows()
        self.terms = CifarTerms.from_json(self.manifest["terms"])

    @cached_property
    def seeds(self) -> list[str]:
        """Those with any row."""
        return sorted({key[0] for key in self.rows}, key=int)

    @cached_property
    def backbones(self) -> list[str]:
        """Names, in the order in which they are trained."""
        return [SGD, *(sam_name(rho) for rho in self.terms.rhos), ADVERSARIAL]

    def of(self, *parts: str) -> list[Row]:
        """The rows of all seeds that have one."""
        return [self.rows[key] for seed in self.seeds if (key := (seed, *parts)) in self.rows]

    def heads_of(self, backbone: str, kind: str) -> list[str]:
        """Heads on a backbone of which there are rows of a kind, in their order."""
        return list(dict.fromkeys(key[3] for key in self.rows if len(key) == 4 and key[1:3] == (kind, backbone)))

    def share(self, backbone: str, head: str, name: str, place: int | None = None) -> float:
        """Mean over seeds of a share: clean, or what an attack leaves at a radius.

        Args:
            backbone: The backbone.
            head: The head.
            name: "clean" or an attack.
            place: Of the radius.
        """
        rows = self.of("judged", backbone, head)
        return float(np.mean([row[name] if place is None else row[name][place] for row in rows]))

    def trivial(self, backbone: str, head: str) -> bool:
        """Whether a head is hardly better than a constant."""
        return self.share(backbone, head, "clean") < TRIVIAL

    def alive(self, backbone: str, head: str, name: str, place: int) -> Alive | None:
        """Images that an attack left, of all seeds one after the other; None where a seed lacks the classifier."""
        parts = []
        for seed in self.seeds:
            if (seed, "judged", backbone, head) not in self.rows:
                return None
            parts.append(self.store.arrays(f"seed-{seed}", "judged", f"{file_name(backbone, head)}.npz")[name][place])
        return np.concatenate(parts)

    def compared(self, attack: str, with_layer_of: str | None = None) -> list[HeadComparison]:
        """Every head with a backbone's own layer, at every radius; chances adjusted for all of these together.

        Args:
            attack: The attack.
            with_layer_of: The backbone; then heads on SGD's alone are compared. None for each head's own.
        """
        found: list[HeadComparison] = []
        for backbone in self.backbones if with_layer_of is None else [SGD]:
            for head in self.heads_of(backbone, "judged"):
                if head == OWN:
                    continue
                for place, radius in enumerate(self.terms.radii):
                    ours = self.alive(backbone, head, attack, place)
                    own = self.alive(with_layer_of or backbone, OWN, attack, place)
                    if ours is not None and own is not None:
                        gain = 100.0 * (float(ours.mean()) - float(own.mean()))
                        paired = Paired.of(ours, own)
                        found.append(HeadComparison(backbone, head, radius, gain, paired, paired.p))
        adjusted = holm([one.p for one in found])
        return [replace(one, p=p) for one, p in zip(found, adjusted, strict=True)]


def best_of(
    comparisons: Sequence[HeadComparison], backbone: str, radius: float, heads: Sequence[str]
) -> HeadComparison | None:
    """The head with the largest difference among some, at a radius on a backbone."""
    own = [one for one in comparisons if (one.backbone, one.radius) == (backbone, radius) and one.head in heads]
    return max(own, key=lambda one: one.difference, default=None)
