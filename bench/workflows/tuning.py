"""From data to a classifier that chose its own hyperparameters, is certified, and is judged by rows kept apart."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.bench.workflows.output_files import check_picture
from cvxrobust.bench.workflows.requests import TrainingRequest
from cvxrobust.bench.workflows.targets import errors
from cvxrobust.bench.workflows.threats import BOUNDS, BY_FEATURE, RULE, range_of, scale_of
from cvxrobust.bench.workflows.training import Prepared, Training, finish, prepare
from cvxrobust.bench.workflows.weights import own_class_weight
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import GEOMETRIES, Norm, check_norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.losses.by_name import MARGIN_LOSSES, loss_by_name
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.report import RobustnessReport
from cvxrobust.problems.data.features import Features

if TYPE_CHECKING:
    from cvxrobust.core.contracts.result import Callback
    from cvxrobust.problems.model_selection import ScoreSurface

RELU = "relu"
FAMILIES = {"polynomial": "adversarial-sdp", RELU: "adversarial-relu"}
"""Kinds of networks, and the problems that train them."""

CHOSEN = ("beta", "radius", "n_gates")
NOT_OF_CLASSIFIERS = ("seed", "norm", "class_weight", RULE, *BY_FEATURE)
"""Parameters of problems that classifiers take in another form."""

BAND = 21
"""Radii that the band is evaluated at, from 0 to twice that of the threat."""


@dataclass(frozen=True)
class TuningRequest:
    """What is asked for.

    Args:
        training: Data, split, settings and parameters of the last training, but for those that are chosen.
        threat_radius: Of the attacks that the classifier is to withstand.
        family: "polynomial" or "relu".
        search: What the classifier is told besides: `betas`, `radii`, `radius_factors`, `gates`, `cv`, `rule`,
            `search_tolerance`, `n_jobs`, `folder`; those that are not given are as it has them.
        picture: Where the band goes, as a PNG; None for nowhere.
        surface: Where the picture of the scores goes; None for nowhere.
    """

    training: TrainingRequest
    threat_radius: float
    family: str = "polynomial"
    search: Mapping[str, Any] | None = None
    picture: Path | None = None
    surface: Path | None = None

    @property
    def norm(self) -> Norm:
        """Of the threat."""
        usual = "inf" if self.family == RELU else 2
        return check_norm(self.training.parameters.get("norm", usual))


@dataclass(frozen=True)
class Tuning:
    """What came of it.

    Args:
        request: What was asked for.
        chosen: The hyperparameters that were chosen.
        place: Where on the grid.
        surface: What every point scored in every fold of the training rows.
        remarks: On points that were not certified.
        training: The last training, on all training rows.
        report: The bracket of the robust accuracy on the rows held out, which had no part in the choice; None of a
            network that predicts numbers.
        threat_row: Which of the report's radii is that of the threat.
        errors: Of a network that predicts numbers, on these rows, under attacks of the threat.
    """

    request: TuningRequest
    chosen: Mapping[str, float | int]
    place: tuple[int, int, int]
    surface: "ScoreSurface"
    remarks: tuple[str, ...]
    training: Training
    report: RobustnessReport | None
    threat_row: int
    errors: Mapping[str, float]

    @property
    def held_out(self) -> dict[str, Any]:
        """What the network is worth on the rows held out, at the radius of the threat and at others."""
        if self.report is None:
            return {"errors": dict(self.errors)}
        certified, attacked = (shares[self.threat_row] for shares in (self.report.certified, self.report.attacked))
        at_threat = {"certified_at_threat": float(certified), "attacked_at_threat": float(attacked)}
        return at_threat | self.report.to_json()

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays of rows, ready for JSON."""
        request = self.request
        pictures = {name: getattr(request, name) for name in ("picture", "surface")}
        return {
            "family": request.family,
            "threat_radius": request.threat_radius,
            "threat_norm": request.norm,
            "chosen": dict(self.chosen),
            "cross_validation": self.surface.to_dict(),
            "held_out": self.held_out,
            "pictures": {name: None if path is None else str(path) for name, path in pictures.items()},
            "training": self.training.to_dict(),
        }


def tune(request: TuningRequest, verbose: bool = False, callback: "Callback | None" = None) -> Tuning:
    """Choose hyperparameters on the training rows, train on all of them, and judge on the others.

    Args:
        request: What is asked for.
        verbose: Say on standard error how far the search is.
        callback: Of the last training, as `solve` takes it.

    Raises:
        InputError: What is asked for does not exist, fit together or leave rows to judge by.
        WriteError: A picture cannot be written.
    """
    from cvxrobust import solve

    _check(request)
    first = prepare(_with(request, {"beta": 1.0, "radius": request.threat_radius}))
    _check_kind(request, first.dataset)
    model, remarks = _searched(request, first, verbose)
    chosen = model.best_params_
    prepared = prepare(_with(request, chosen))
    asked = prepared.request
    result = solve(
        prepared.problem, asked.backend, asked.method, asked.settings, polish=asked.polish, callback=callback
    )
    # What the network is asked later is about the threat, though it may have been trained against no attack.
    scale = _scale(request, first)
    shape = None if scale is None or not scale.any() else Ellipsoid.of(scale.size, scale=scale)
    training = finish(prepared, replace(result, network=result.network.replace(ellipsoid=shape)))
    found = Tuning(
        request, chosen, model.best_index_, model.surface_, remarks, training, *_judged(training, scale, request)
    )
    draw(found)
    return found


def _judged(
    training: Training, scale: NDArray[np.float64] | None, request: TuningRequest
) -> tuple[RobustnessReport | None, int, Mapping[str, float]]:
    """What the network is worth on the rows held out: a bracket by radius and the threat's place in it, or errors."""
    network, test = training.result.network, training.test
    if training.dataset.regression:
        radius = np.full(test.n_rows, request.threat_radius)
        return None, 0, errors(network, test, radius, request.norm, training.bounds)
    radii = np.unique([*np.linspace(0.0, 2.0 * request.threat_radius, BAND), request.threat_radius])
    threat = Threat(request.norm, scale=scale, bounds=training.bounds)
    report = evaluate_robustness(network, test.X, test.y, threat, radii)
    return report, int(np.searchsorted(radii, request.threat_radius)), {}


def draw(found: Tuning) -> None:
    """Draw what is asked for."""
    from cvxrobust.core.pictures.band import draw_band
    from cvxrobust.core.pictures.surface import draw_surface

    request, name = found.request, found.training.dataset.name
    if request.picture is not None and found.report is not None:
        marks = {"radius of the threat": request.threat_radius}
        title = f"{name}: rows held out, l{request.norm} attacks, trained at radius {float(found.chosen['radius']):.3g}"
        draw_band(found.report, request.picture, title, marks)
    if request.surface is not None:
        what = "largest errors" if found.surface.of_errors else "certified accuracy (%)"
        title = f"{name}: {what} at radius {request.threat_radius:g} of rows not trained on"
        draw_surface(found.surface, request.surface, title, found.place)


def _check_kind(request: TuningRequest, dataset: Dataset) -> None:
    """Refuse what does not go with classes, or with numbers.

    Raises:
        InputError: There is something.
    """
    loss = request.training.parameters.get("loss")
    if not dataset.regression:
        if loss is not None and not loss_by_name(str(loss)).margin:
            raise InputError(
                f"tune chooses classifiers by their accuracy, and the loss {loss!r} fits numbers; give one of "
                f"{', '.join(MARGIN_LOSSES)}, or add --regression if the labels are numbers."
            )
        return
    if BOUNDS in request.training.parameters and request.family != RELU:
        raise InputError(
            "--bounds is a range that proofs about numbers make no use of in polynomial networks; leave it out, or "
            f"choose --family {RELU}."
        )
    if request.picture is not None:
        raise InputError(
            "--picture draws accuracies, and numbers have none; leave it out (--surface draws the scores)."
        )


def _check(request: TuningRequest) -> None:
    if request.family not in FAMILIES:
        raise UnknownNameError("family", request.family, FAMILIES)
    if not (np.isfinite(request.threat_radius) and request.threat_radius > 0.0):
        raise InputError(
            f"the radius of the threat is {request.threat_radius}; expected a finite number above 0: by how much "
            "attacks may move a row."
        )
    if request.family != RELU and "gates" in (request.search or {}):
        raise InputError("--gates are of relu networks; leave them out, or choose --family relu.")
    if request.training.test_fraction == 0.0:
        raise InputError(
            "nothing is held out, but what is chosen is judged by rows kept apart; give a fraction above 0."
        )
    for path, option in ((request.picture, "--picture"), (request.surface, "--surface")):
        if path is not None:
            check_picture(path, option, Path(request.training.data))


def _with(request: TuningRequest, chosen: Mapping[str, float | int]) -> TrainingRequest:
    """The training at a point of the grid."""
    asked = request.training
    parameters = {**asked.parameters, **chosen}
    if not _same_attacks(request):
        for name in ("norm", BOUNDS, RULE):  # of the threat alone
            parameters.pop(name, None)
    if (own := parameters.pop("feature_radius", None)) is not None and chosen["radius"] > 0.0:
        # Radii of single features are those at the radius of the threat.
        factor = float(chosen["radius"]) / request.threat_radius
        parameters["feature_radius"] = {name: factor * radius for name, radius in own.items()}
    judged_in = None if _same_attacks(request) else range_of(asked.parameters)
    return replace(asked, problem=FAMILIES[request.family], parameters=parameters, judged_in=judged_in)


def _same_attacks(request: TuningRequest) -> bool:
    """Whether networks are trained against attacks in the norm of the threat."""
    return request.family == RELU or GEOMETRIES[request.norm].isotropic


def _scale(request: TuningRequest, prepared: Prepared) -> NDArray[np.float64] | None:
    """Of the threat's attacks in the units of the network, shape (d,); None for balls."""
    data = prepared.dataset
    parameters = {**request.training.parameters, "radius": request.threat_radius}
    return scale_of(parameters, Features(data.n_features, data.feature_names), prepared.standardizer)


def _searched(request: TuningRequest, prepared: Prepared, verbose: bool) -> tuple[Any, tuple[str, ...]]:
    """The classifier after its search, without a network, and what it warned of."""
    from sklearn.exceptions import ConvergenceWarning

    from cvxrobust.problems import model_selection

    asked, rows = request.training, prepared.train
    sort = "Regressor" if rows.regression else "Classifier"
    kinds = {family: f"{name}{sort}CV" for family, name in (("polynomial", "Polynomial"), (RELU, "ReLU"))}
    make: Callable[..., Any] = getattr(model_selection, kinds[request.family])
    weights = {} if rows.regression else {"class_weight": own_class_weight(asked.parameters, rows)}
    own = {name: value for name, value in asked.parameters.items() if name not in (*NOT_OF_CLASSIFIERS, *CHOSEN)}
    model = make(
        threat_radius=request.threat_radius, norm=request.norm, scale=_scale(request, prepared), refit=False,
        standardize=asked.standardize, backend=asked.backend, method=asked.method, verbose=int(verbose),
        time_limit=asked.settings.time_limit, **weights,
        random_state=int(prepared.request.parameters.get("seed", asked.seed)), **own, **(request.search or {}),
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(rows.X, rows.y, sample_weight=rows.weights)
    return model, tuple(str(one.message) for one in caught if issubclass(one.category, ConvergenceWarning))
