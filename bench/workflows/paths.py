"""From a request to a surface of networks over beta and the radius, with what they are worth on held-out rows."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.bench.workflows.requests import TrainingRequest, describe
from cvxrobust.bench.workflows.targets import errors
from cvxrobust.bench.workflows.training import Prepared, Training, clean_accuracy, finish, prepare
from cvxrobust.core.contracts.result import Result
from cvxrobust.core.discovery.registry import problems
from cvxrobust.core.errors import InputError
from cvxrobust.core.files import whole_file, write_whole

if TYPE_CHECKING:
    from cvxrobust.core.paths.result import PathPoint, PathResult

POINTS, NETWORKS, TABLE, PICTURE = "points", "networks", "path.json", "surface.png"
"""What the folder of a path holds: what it goes on from, the networks in the units of the data, and what is known."""


@dataclass(frozen=True)
class PathRequest:
    """What the command line asks for.

    Args:
        training: Data, problem, settings (those of every point) and backend.
        betas: Weights of the penalty; None for the problem's own.
        radii: Attack radii; None for a problem that knows none.
        time_limit: Seconds for the whole path; None for no limit.
        folder: Where all goes; None to keep it in memory.
    """

    training: TrainingRequest
    betas: Sequence[float] | None
    radii: Sequence[float] | None
    time_limit: float | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class TrainedPath:
    """A path together with the data that it was trained and tested on.

    Args:
        request: What was asked for.
        prepared: The data and the problem.
        path: What came of it.
        trainings: By places of points, what is known of each network in the units of the data.
    """

    request: PathRequest
    prepared: Prepared
    path: "PathResult[Any]"
    trainings: dict[tuple[int, int], Training]

    @property
    def measure(self) -> str:
        """What networks are worth by: ``"accuracy"``, or ``"explained"`` where they predict numbers."""
        return "explained" if self.prepared.dataset.regression else "accuracy"

    def worth(self, point: "PathPoint[Any]") -> float:
        """Share of the held-out rows (without any, of the training rows) that a point classifies correctly.

        Of a network that predicts numbers the share of the targets' variance that it explains.
        """
        training = self.trainings[point.index]
        network, rows = training.result.network, training.test if training.test.n_rows else training.train
        if not network.regression:
            return clean_accuracy(network, rows)
        return errors(network, rows, np.zeros(rows.n_rows), training.norm)["explained"]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        path = self.path.to_dict()
        path["points"] = [point.to_dict() | {self.measure: self.worth(point)} for point in self.path]
        return {
            "data": describe(self.prepared.dataset),
            "problem": self.request.training.problem,
            "parameters": dict(self.request.training.parameters),
            **path,
        }


def train_path(request: PathRequest, callback: "Callable[[PathPoint[Any]], object] | None" = None) -> TrainedPath:
    """Prepare, solve every point, and write what there is, also after an interruption or a time limit.

    Raises:
        InputError: The request names something that does not exist, or values that make no path.
        WriteError: Something cannot be written.
    """
    from cvxrobust import solve_path

    prepared = prepare(_with_largest_radius(request))
    folder = request.folder
    path = solve_path(
        prepared.problem, betas=request.betas, radii=_radii(request, prepared), backend=request.training.backend,
        method=request.training.method, settings=request.training.settings, time_limit=request.time_limit,
        folder=None if folder is None else folder / POINTS, callback=callback,
    )  # fmt: skip
    found = TrainedPath(request, prepared, path, {point.index: _finished(prepared, point) for point in path})
    if folder is not None:
        _write(found, folder)
    return found


def _with_largest_radius(request: PathRequest) -> TrainingRequest:
    """The request of one problem, whose radius the others replace: columns with radii of their own go by the largest.

    Raises:
        InputError: The problem knows no attacks, or needs radii.
    """
    training = request.training
    description = problems().get(training.problem)
    takes = description is not None and "radius" in description.parameters
    if not takes:
        return training
    if training.radius_column is not None:
        return replace(training, parameters={**training.parameters, "radius": 1.0})
    if request.radii is None:
        raise InputError(f"problem {training.problem!r} is trained under attack; give --radii, for example 0:0.5:6.")
    return replace(training, parameters={**training.parameters, "radius": float(np.max(request.radii))})


def _radii(request: PathRequest, prepared: Prepared) -> Sequence[float] | None:
    """What a path goes along: factors where rows have radii of their own, unless these are one for all."""
    own = prepared.train.radii
    if own is None or request.radii is None or np.unique(own).size > 1:
        return request.radii
    return [float(factor * own[0]) for factor in request.radii]


def _finished(prepared: Prepared, point: "PathPoint[Any]") -> Training:
    """A point's network in the units and with the labels of the data."""
    about = dict(prepared.request.parameters) | {"beta": point.beta}
    if "radius" in about:
        radii = prepared.train.radii
        one = 1.0 if radii is None or np.unique(radii).size > 1 or not radii[0] else float(radii[0])
        about["radius"] = point.radius / one  # a factor where rows have radii of their own
    own = replace(prepared, request=replace(prepared.request, parameters=about, save=None))
    result = Result(point.network, point.certificate, point.termination, point.quality, point.backend, point.method)
    return finish(own, result)


def _write(found: TrainedPath, folder: Path) -> None:
    networks = folder / NETWORKS
    networks.mkdir(exist_ok=True)
    for point in found.path:
        name = f"beta={point.beta:.6g},radius={point.radius:.6g}.npz"
        found.trainings[point.index].result.network.save(networks / name, standardized=True)
    write_whole(folder / TABLE, json.dumps(found.to_dict(), indent=1))
    if len(found.path):
        with whole_file(folder / PICTURE) as file:
            draw_surface(found.path, file)


def draw_surface(path: "PathResult[Any]", file: Any) -> None:
    """Draw a path: the certified optimum over betas, a line per radius, and the gaps.

    Args:
        path: What to draw.
        file: Where to, as matplotlib takes it; a PNG.
    """
    from cvxrobust.core.pictures.canvas import new_figure
    from cvxrobust.core.pictures.path import plot_path, shade

    figure = new_figure((9.0, 4.0))
    optima, gaps = figure.subplots(1, 2)
    plot_path(path, optima)
    order, largest = np.argsort(path.betas), max(float(path.radii.max()), 1e-300)
    for place in np.argsort(path.radii):
        colour, betas = shade(float(path.radii[place]) / largest), path.betas[order]
        gaps.plot(betas, np.maximum(path.gap[order, place], 1e-16), color=colour, marker=".", linewidth=1)
    gaps.axhline(path.tolerance, color="black", linewidth=0.8, linestyle="--")
    gaps.set(xscale="log", yscale="log", xlabel="beta", ylabel="certified relative gap")
    figure.savefig(file, dpi=120, format="png")
