"""What both parts of the main job share: data, split, loss and limits, and the looks of their pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvxrobust.bench.data.known import BREAST_CANCER
from cvxrobust.bench.display import Progress
from cvxrobust.bench.workflows.requests import TrainingRequest
from cvxrobust.bench.workflows.training import Training, train
from cvxrobust.core.pictures.canvas import write_picture
from cvxrobust.core.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DATA = BREAST_CANCER
TITLE = "Breast Cancer Wisconsin (Diagnostic)"
BETA = 0.01
LOSS = "hinge"
SEED = 0
TEST_FRACTION = 0.2
TOLERANCE = 1e-6


def train_one(
    label: str,
    problem: str,
    parameters: Mapping[str, Any],
    time_limit: float,
    save: Path,
    quiet: bool,
    backend: str = "auto",
) -> Training:
    """Train one network of the job on its split, and save it.

    Args:
        label: What progress calls it.
        problem: Name of the problem family.
        parameters: Its parameters besides loss and beta.
        time_limit: Seconds.
        save: File of the network.
        quiet: Show no progress.
        backend: Which solver trains it.
    """
    request = TrainingRequest(
        data=DATA,
        settings=Settings(tolerance=TOLERANCE, time_limit=time_limit, seed=SEED),
        problem=problem,
        backend=backend,
        parameters={"beta": BETA, "loss": LOSS, **parameters},
        test_fraction=TEST_FRACTION,
        seed=SEED,
        save=save,
    )
    with Progress(f"{label:<21}", quiet) as progress:
        training = train(request, progress)
    training.check_saved()
    return training


def save_picture(figure: "Figure", axes: "Axes", path: Path, title: str, labels: tuple[str, str], limit: float) -> None:
    """Add title and axis labels to a picture of accuracies against radius, and write it.

    Args:
        figure: From `new_picture`.
        axes: Its plot.
        path: Where to, as PNG.
        title: Without the name of the data.
        labels: Of the horizontal and the vertical axis.
        limit: Largest radius shown.
    """
    axes.set_title(f"{title}, {TITLE}")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_xlim(0.0, limit)
    axes.set_ylim(0.0, 102.0)
    axes.grid(alpha=0.3)
    write_picture(figure, path)


def table_title(training: Training) -> str:
    """The data and how it was split."""
    train, test = training.train.n_rows, training.test.n_rows
    return f"{TITLE}: {train} training rows, accuracies on the {test} held-out rows"
