"""What backends hand back, made safe to judge: it may be anything.

Whatever can be read is kept, whatever is not what the contract says is named, and then the backend's answer counts as
an error: its author should hear of it, and the caller need not mind, because `core` judges networks, not answers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.backend import Backend, harmless_options
from cvxrobust.core.contracts.problem import ChangesCoordinates, Problem
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.networks.base import N, TwoLayerNetwork
from cvxrobust.core.secrets import MASK, SECRET, cleaned, is_shown, secrets_of
from cvxrobust.core.settings import Settings
from cvxrobust.core.strangers import described, telling_interrupts, worded

LARGEST = 1e100
"""Numbers of a size that nobody can judge: their squares overflow."""

UNFIT = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, np.linalg.LinAlgError)
"""What mathematics raises where numbers or shapes are not what they should be; the rest is not about the answer."""

Complain = Callable[[str], None]


def proved(part: Problem[Any], multipliers: Any) -> tuple[float, str]:
    """What multipliers of whatever origin prove; nothing, and why, if they are none that fit the problem."""
    try:
        bound = float(part.lower_bound(multipliers))
    except CvxRobustError:
        raise
    except (Exception, SystemExit) as error:
        return -np.inf, f"multipliers proved nothing: {described(error)}"
    # A bound that is no number proves nothing, and none is infinite.
    return (bound, "") if bound < np.inf else (-np.inf, f"multipliers proved nothing: their bound is {bound}")


def candidates(part: Problem[N], solution: Solution, network: N, late: Callable[[], bool]) -> Iterator[Any]:
    """What `part.multiplier_candidates` finds, until it fails: those of a solution of strangers may be anything."""
    try:
        yield from part.multiplier_candidates(solution, network, late)
    except CvxRobustError:
        raise
    except (Exception, SystemExit):
        return


def asked(backend: Backend, ask: Callable[[], Any], program: Any, settings: Settings) -> Solution:
    """What a backend answers, made safe to judge, whatever it does.

    Args:
        backend: The backend.
        ask: Asks it for a `Solution`.
        program: What it is to solve.
        settings: What it is given.

    Raises:
        CvxRobustError: The caller made the mistake, says the backend.
        KeyboardInterrupt: Somebody pressed Ctrl-C, again.
    """
    found = guarded(backend, ask, settings)
    return made_safe(found, program, settings, harmless_options(backend))


def guarded(backend: Backend, ask: Callable[[], Any], settings: Settings) -> Any:
    """Whatever a backend answers; an exception is an answer, exits and interrupts of its own included.

    Raises:
        CvxRobustError: The caller made the mistake, says the backend; the text repeats no secret.
        KeyboardInterrupt: Somebody pressed Ctrl-C, again.
    """
    with telling_interrupts() as is_interrupt:
        try:
            return ask()
        except CvxRobustError as error:
            raise clean_error(error, settings, harmless_options(backend)) from error.__cause__
        except BaseException as error:
            if is_interrupt(error):
                raise
            return failure(backend, error)


def failure(backend: Backend, error: BaseException) -> Solution:
    """The answer of a backend that raised."""
    if isinstance(error, MemoryError):
        return Solution(Termination.OUT_OF_MEMORY, message=f"{backend.name} ran out of memory: {worded(error)}")
    return Solution(Termination.ERROR, message=f"{backend.name} raised {described(error)}")


def made_safe(found: Any, program: Any, settings: Settings, harmless: frozenset[str] = frozenset()) -> Solution:
    """What a backend returned as a `Solution` of float64 arrays and plain words, with what is wrong with it.

    Args:
        found: Whatever it returned.
        program: What it was to solve.
        settings: What it was given; their options may be secrets.
        harmless: Names of its options that anybody may see.

    Returns:
        The termination is `Termination.ERROR` where a field is not what it should be; the message says which. Vectors,
        networks and numbers that cannot be read are left out, and so are those of another shape.
    """
    if not isinstance(found, Solution):
        return Solution(Termination.ERROR, message=f"the backend returned a {type(found).__name__}, not a Solution")
    wrong: list[str] = []
    sizes = {"x": program.q.size, "s": program.b.size, "y": program.b.size} if isinstance(program, ConicProgram) else {}
    x, s, y = (_vector(name, getattr(found, name), sizes.get(name), wrong.append) for name in ("x", "s", "y"))
    network, multipliers = _network(found.network, wrong.append), found.multipliers
    if sizes and (network is not None or multipliers is not None):
        wrong.append("a network or multipliers answer no conic programme")
        network = multipliers = None
    termination = found.termination
    if not isinstance(termination, Termination):
        wrong.append(f"termination is {_shown(termination)}, not a Termination")
    words = {name: _words(name, getattr(found, name), wrong.append) for name in ("applied", "ignored")}
    secrets = secrets_of(settings.options, harmless)
    message = found.message
    if not isinstance(message, str):
        wrong.append(f"message is a {type(message).__name__}, not a text")
    iterations, memory = (
        int(_number(name, getattr(found, name), Integral, wrong.append)) for name in ("iterations", "peak_memory")
    )
    setup, solving = (
        _number(name, getattr(found, name), Real, wrong.append) for name in ("setup_seconds", "solve_seconds")
    )
    said = "" if message is None else cleaned(worded(message), secrets)
    if wrong:
        termination, said = Termination.ERROR, f"the backend returned what it should not: {'; '.join(wrong)}. {said}"
    return Solution(
        termination, x, s, y, network, multipliers, iterations, setup, solving, memory, said.strip(),
        _public(words["applied"], settings, harmless, secrets),
        {name: cleaned(worded(reason), secrets) for name, reason in words["ignored"].items()},
    )  # fmt: skip


def _network(value: Any, complain: Complain) -> TwoLayerNetwork | None:
    if value is None:
        return None
    if not isinstance(value, TwoLayerNetwork) or not is_dataclass(value):
        complain(f"network is a {type(value).__name__}, not a network")
        return None
    arrays: dict[str, Any] = {}
    try:
        for name in ("u", "alpha"):
            arrays[name] = _floats(f"the network's {name}", getattr(value, name), complain)
            if not np.isfinite(arrays[name]).all():
                raise ValueError(f"its {name} is not finite")
        return replace(value, **arrays)
    except Exception as error:
        complain(f"the network cannot be read: {described(error)}")
        return None


def _vector(name: str, value: Any, size: int | None, complain: Complain) -> NDArray[np.float64] | None:
    """A copy of a vector: solvers use theirs again."""
    if value is None:
        return None
    try:
        vector = _floats(name, value, complain)
    except Exception as error:
        complain(f"{name} cannot be read: {described(error)}")
        return None
    if vector.ndim != 1 or (size is not None and vector.size != size):
        complain(f"{name} is of the wrong shape: {vector.shape} instead of ({'n' if size is None else size},)")
        return None
    if np.abs(vector[np.isfinite(vector)]).max(initial=0.0) > LARGEST:
        complain(f"{name} holds numbers beyond {LARGEST:g}")
        return None
    return vector


def _floats(name: str, value: Any, complain: Complain) -> NDArray[np.float64]:
    if type(value) is not np.ndarray:
        complain(f"{name} is a {type(value).__name__}, not an array")
    given = _array(value)
    if given.dtype.kind not in "iuf":
        raise ValueError(f"it holds {given.dtype}, not numbers")
    with np.errstate(over="ignore"):
        return np.array(given, dtype=np.float64)


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.getmaskarray(value).any():
            raise ValueError("some of it is masked")
        return np.asarray(value.data)
    if isinstance(value, np.ndarray | list | tuple):
        return np.asarray(value)
    detach: Any = getattr(value, "detach", None)
    if callable(detach):  # a tensor, wherever it lies
        tensor: Any = detach()
        return np.asarray(tensor.cpu().numpy())
    if hasattr(value, "__array__"):
        return np.asarray(value)
    raise TypeError("it is no array")


def _number(name: str, value: Any, kind: type[Any], complain: Complain) -> float:
    """A number that is none below zero; zero where there is none."""
    try:
        if isinstance(value, kind) and not isinstance(value, bool) and 0 <= (found := float(value)) < np.inf:
            return found
    except Exception as error:
        complain(f"{name} cannot be read: {described(error)}")
        return 0.0
    complain(f"{name} is {_shown(value)}, not a number")
    return 0.0


def _words(name: str, value: Any, complain: Complain) -> dict[str, Any]:
    try:
        if isinstance(value, Mapping):
            return {worded(key): value[key] for key in value}
    except Exception as error:
        complain(f"{name} cannot be read: {described(error)}")
        return {}
    complain(f"{name} is a {type(value).__name__}, not a mapping")
    return {}


def _shown(value: Any) -> str:
    """A plain value as it is written, anything else by its kind."""
    plain = value is None or type(value) in (bool, int, float, str)
    return worded(repr(value)) if plain else f"a {type(value).__name__}"


def _public(
    applied: Mapping[str, Any], settings: Settings, harmless: frozenset[str], secrets: tuple[str, ...]
) -> dict[str, Any]:
    """What was applied, without secrets: options that nobody vouches for, and whatever repeats their values."""
    found: dict[str, Any] = {}
    for name, value in applied.items():
        plain = value if value is None or type(value) in (bool, int, float, str) else _readable(value)
        hidden = not is_shown(name, harmless) if name in settings.options else SECRET.search(name) is not None
        found[name] = MASK if hidden else cleaned(plain, secrets)
    return found


def _readable(value: Any) -> Any:
    """A value of strangers as something plain."""
    if isinstance(value, np.generic) and value.ndim == 0:
        return value.item()
    try:
        return worded(repr(value))
    except BaseException as error:
        return f"(a {type(value).__name__} whose text raises {type(error).__name__})"


def clean_error(error: CvxRobustError, settings: Settings, harmless: frozenset[str]) -> CvxRobustError:
    """The same error, whose text repeats no secret."""
    secrets = secrets_of(settings.options, harmless)
    error.args = tuple(cleaned(part, secrets) for part in error.args)
    return error


def start_from(part: Problem[N], network: N) -> Solution:
    """A network as backends that read the structure start from it."""
    start = part.projected(network) if isinstance(part, ChangesCoordinates) else network
    return Solution(Termination.INTERRUPTED, network=start)


def network_of(part: Problem[N], solution: Solution) -> N | None:
    """The network of a backend's answer, None if there is none that fits the problem."""
    try:
        if solution.network is None:
            return part.recover(solution) if solution.has_primal else None
        found = part.lifted(solution.network) if isinstance(part, ChangesCoordinates) else solution.network
        (network,) = part.separate(found)
    except UNFIT:
        return None
    return network


def worth(part: Problem[N], network: N | None) -> float:
    """The objective of a network of whatever origin; infinite where it has none."""
    if network is None:
        return np.inf
    try:
        found = float(part.objective(network))
    except CvxRobustError:
        raise
    except UNFIT:
        return np.inf
    return found if np.isfinite(found) else np.inf
