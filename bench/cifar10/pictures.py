"""A picture of what is left under attack: accuracy against radius, a panel for each backbone."""

from pathlib import Path
from typing import TYPE_CHECKING

from cvxrobust.bench.cifar10.findings import CifarFindings
from cvxrobust.bench.cifar10.heads.methods import OWN
from cvxrobust.bench.harness.report.png import COLORS
from cvxrobust.core.files import whole_file
from cvxrobust.core.pictures.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_accuracies(found: CifarFindings, attack: str, path: Path) -> None:
    """One panel for each backbone that was judged, a line for each head.

    Args:
        found: The study; at least one classifier was judged.
        attack: Which shares are drawn.
        path: The PNG.
    """
    backbones = [name for name in found.backbones if found.heads_of(name, "judged")]
    heads = list(dict.fromkeys(head for name in backbones for head in found.heads_of(name, "judged")))
    canvas = new_figure((3.6 * len(backbones) + 0.6, 4.6))
    grid = canvas.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
    for axes, backbone in zip(grid, backbones, strict=True):
        _draw(axes, found, backbone, heads, attack)
    grid[0].set_ylabel("accuracy on test images, %", fontsize=9)
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    canvas.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    canvas.suptitle(f"What is left under {attack}, by head", fontsize=10)
    # No date, no version of the library: the same rows give the same file.
    with whole_file(path) as file:
        canvas.savefig(file, format="png", dpi=100, metadata={"Software": None})


def _draw(axes: "Axes", found: CifarFindings, backbone: str, heads: list[str], attack: str) -> None:
    radii = [0.0, *found.terms.radii]
    for head in found.heads_of(backbone, "judged"):
        places = range(len(found.terms.radii))
        shares = [found.share(backbone, head, "clean"), *(found.share(backbone, head, attack, k) for k in places)]
        number = heads.index(head)
        axes.plot(
            radii, [100.0 * share for share in shares], color="black" if head == OWN else COLORS[number % len(COLORS)],
            linewidth=2.2 if head == OWN else 1.2, linestyle="-" if number <= len(COLORS) else "--", marker="o",
            markersize=3, label=head,
        )  # fmt: skip
    axes.set_title(backbone, fontsize=9)
    axes.set_xlabel("radius, /255 (norm inf)", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
