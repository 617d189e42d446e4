"""Going on with a training that was broken off: what it keeps while it runs, and what the next try makes of that.

While a network is trained for ``--save NAME.npz`` the best one so far lies in ``NAME.unfinished.npz`` beside it, whole
like any other: it is written anew now and then and goes away once the training ends and is saved. Ctrl-C and the time
limit end a training, too; then what there is lies in ``NAME.npz`` itself. ``--resume`` starts from whichever there is.
Nothing that a file says about a network is believed: its objective and bounds are computed anew.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvxrobust.bench.workflows.requests import TrainingRequest
from cvxrobust.core.contracts.provenance import about_problem
from cvxrobust.core.discovery.registry import problems
from cvxrobust.core.errors import InputError, WriteError
from cvxrobust.core.networks.base import TRAINED_ON
from cvxrobust.core.networks.load import load

if TYPE_CHECKING:
    from cvxrobust.core.networks.base import TwoLayerNetwork

SHOWN = {
    "data_fingerprint": "other data", "data": "other data", "split_seed": "--seed", "test_fraction": "--test-fraction",
    "seed": "--gate-seed", "radius_unit": "--standardize", "training_fingerprint": "other rows",
    "weights_fingerprint": "other weights",
}  # fmt: skip
"""How messages call what differs, where it is not called like the option."""

MAY_DIFFER = frozenset({"data", "feature_names", "class_labels", TRAINED_ON})
"""What a training may be called otherwise and still be the same."""


def unfinished(save: Path) -> Path:
    """Where the best network so far lies while one is trained that goes to `save`."""
    return save.with_name(f"{save.stem}.unfinished{save.suffix}")


def start_of(request: TrainingRequest, about: Mapping[str, Any], problem: Any) -> "TwoLayerNetwork | None":
    """The network that an earlier try has left, on standardised rows as its problem has them; None if there is none.

    Args:
        request: What is asked for.
        about: What would be saved with a network of it.
        problem: The problem.

    Raises:
        InputError: There is nowhere to look, or what is there is no network or that of another training.
    """
    if not request.resume:
        return None
    if request.save is None:
        raise InputError("--resume goes on from what lies where --save says; add --save with the file.")
    path = next((path for path in (unfinished(request.save), request.save) if path.exists()), None)
    if path is None:
        return None
    network = load(path)
    if differing := _differing(network.metadata, about, about_problem(problem), request.problem):
        said = ", ".join(dict.fromkeys(SHOWN.get(name, f"--{name.replace('_', '-')}") for name in differing))
        raise InputError(
            f"{path} was trained otherwise ({said}), so --resume cannot go on from it; give the options that it was "
            "trained with, or leave --resume out."
        )
    return network.inner


def _differing(
    stored: Mapping[str, Any], about: Mapping[str, Any], of_problem: Mapping[str, Any], family: str
) -> list[str]:
    """What a file says otherwise than this training would.

    Args:
        stored: What the file says.
        about: What the command line would say in it; all of that has to be there.
        of_problem: What the problem would say; a file that was left in the midst of the work does not have it yet.
        family: Name of the problem family, whose other parameters are not to be in the file.
    """
    known = set(problems()[family].parameters) | {"immutable", "feature_radius", "radius_column"}
    names = [name for name in about if stored.get(name) != about[name]]
    names += [name for name in of_problem if name not in about and name in stored and stored[name] != of_problem[name]]
    names += [name for name in stored if name in known and name not in about and name not in of_problem]
    return [name for name in names if name not in MAY_DIFFER]


def keeping(
    save: Path | None, finished: "Callable[[TwoLayerNetwork], TwoLayerNetwork]"
) -> Callable[[Any], None] | None:
    """What writes the best network so far; None where none is to be saved.

    Args:
        save: Where the network goes at last.
        finished: Makes of a problem's network one that knows units and labels of the data.
    """
    if save is None:
        return None

    def keep(network: "TwoLayerNetwork") -> None:
        # The end of the training is soon enough to complain of a full disk, or of what no file can hold.
        with suppress(WriteError, InputError):
            finished(network).save(unfinished(save), standardized=True)

    return keep


def forget(save: Path) -> None:
    """Remove what was kept while the network was trained that is saved now."""
    with suppress(OSError):
        unfinished(save).unlink(missing_ok=True)
