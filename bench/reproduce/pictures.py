"""A picture of a table: accuracy against radius, ours as a band between certificate and attacks."""

from pathlib import Path
from typing import TYPE_CHECKING

from cvxrobust.bench.harness.report.png import COLORS
from cvxrobust.bench.reproduce.analysis import OURS, TableFindings
from cvxrobust.bench.reproduce.tables import Question
from cvxrobust.core.files import whole_file
from cvxrobust.core.pictures.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {"l2": "l2", "linf": "linf", "l2-mask": "l2, immutable columns out of reach"}


def draw_table(found: TableFindings, path: Path) -> None:
    """One panel for every kind of attacks; of baselines that nothing certifies, dotted, what attacks left.

    Args:
        found: What was found, on one complete split at least.
        path: The PNG.
    """
    questions = found.table.questions
    canvas = new_figure((4.3 * len(questions), 4.6))
    grid = canvas.subplots(1, len(questions), sharey=True, squeeze=False)[0]
    for axes, question in zip(grid, questions, strict=True):
        _draw(axes, found, question)
    grid[0].set_ylabel("accuracy on test rows", fontsize=9)
    handles, labels = grid[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    splits = f"means of {len(found.splits)} splits" if len(found.splits) > 1 else "one split"
    canvas.suptitle(f"{found.table.title}: {splits}", fontsize=10)
    # No date, no version of the library: the same rows give the same file.
    with whole_file(path) as file:
        canvas.savefig(file, format="png", dpi=100, metadata={"Software": None})


def _draw(axes: "Axes", found: TableFindings, question: Question) -> None:
    places = range(len(question.radii))
    low = [found.certified(OURS, question, k) for k in places]
    high = [found.attacked(OURS, question, k).value for k in places]
    radii = list(question.radii)
    axes.fill_between(radii, [mean.value for mean in low], high, color=COLORS[0], alpha=0.25, linewidth=0.0)
    axes.errorbar(
        radii, [mean.value for mean in low], [mean.error for mean in low], color=COLORS[0], marker="o", markersize=4,
        linewidth=2.0, capsize=2, label=f"{OURS} (band: certified to attacked)",
    )  # fmt: skip
    baselines = [method for method in found.methods if not method.ours and question.masked >= method.masked]
    for number, method in enumerate(baselines, 1):
        shares = found.certified if method.certified else found.attacked
        axes.plot(
            radii, [shares(method.name, question, k).value for k in places], color=COLORS[number % len(COLORS)],
            linestyle="-" if method.certified else ":", linewidth=1.3,
            label=method.name if method.certified else f"{method.name} (under attack)",
        )  # fmt: skip
    axes.set_title(f"{LABELS[question.name]}", fontsize=9)
    axes.set_xlabel(f"radius, {found.table.unit}", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
