"""What of structured programmes a backend reads, part by part: what it has not heard of is refused by name."""

from typing import Any

from cvxrobust.core.contracts.backend import Capabilities
from cvxrobust.core.errors import UnsupportedProgramError


def reads_parts(program: Any, capabilities: Capabilities) -> bool:
    """Whether a backend reads the loss, the weights, the attacks and the classes of a structured programme.

    One of somebody else's kind need not say what its loss, its attacks and its classes are, nor have weights.
    """
    loss = getattr(program, "loss", None)
    known = loss is None or knows_loss(loss, capabilities)
    heeded = getattr(program, "weights", None) is None or capabilities.weights
    return known and heeded and reads_attacks(program, capabilities) and reads_classes(program, capabilities)


def require_parts(program: Any, capabilities: Capabilities, backend: str) -> None:
    """Refuse a structured programme of which a backend does not read one of these.

    Raises:
        UnsupportedProgramError: Names the part, and what of its kind it reads.
    """
    if (loss := getattr(program, "loss", None)) is not None:
        require_loss(loss, capabilities, backend)
    require_weights(getattr(program, "weights", None), capabilities, backend)
    if (shape := shape_of_attacks(program)) is not None:
        require_attack(shape, capabilities, backend, getattr(program, "kind", None))
    if (strategy := strategy_of_classes(program)) is not None:
        require_multiclass(strategy, capabilities, backend)


def knows_loss(loss: str, capabilities: Capabilities) -> bool:
    """Whether a backend knows a loss in structured programmes, whatever number comes with it."""
    return loss.partition(":")[0] in capabilities.losses


def require_loss(loss: str, capabilities: Capabilities, backend: str) -> None:
    """Refuse a structured programme with a loss that a backend does not know.

    Raises:
        UnsupportedProgramError: Names the loss and those that it knows.
    """
    if not knows_loss(loss, capabilities):
        raise UnsupportedProgramError(
            f"backend {backend!r} does not know the loss {loss!r} (it knows {', '.join(sorted(capabilities.losses))}); "
            'choose a backend that does, or leave the choice to backend="auto".'
        )


def require_weights(weights: object, capabilities: Capabilities, backend: str) -> None:
    """Refuse a structured programme with weights of samples that a backend does not heed; None is no weights.

    Raises:
        UnsupportedProgramError: Says so.
    """
    if weights is not None and not capabilities.weights:
        raise UnsupportedProgramError(
            f"backend {backend!r} does not heed the weights of samples; choose a backend that does, or leave the "
            'choice to backend="auto".'
        )


def shape_of_attacks(program: Any) -> str | None:
    """What the attacks of a structured programme are, by name; None if it does not say that there are any."""
    found = getattr(getattr(program, "attack", None), "shape", None)
    return found if isinstance(found, str) else None


def reads_attacks(program: Any, capabilities: Capabilities) -> bool:
    """Whether a backend reads the attacks of a structured programme, if it says that there are any."""
    shape = shape_of_attacks(program)
    return shape is None or shape in capabilities.attacks_in(getattr(program, "kind", None))


def require_attack(shape: str, capabilities: Capabilities, backend: str, kind: object = None) -> None:
    """Refuse a structured programme, of a kind, with attacks that a backend does not read.

    Raises:
        UnsupportedProgramError: Names the attacks and those that it reads.
    """
    read = capabilities.attacks_in(kind)
    if shape not in read:
        article, where = "an" if shape[0] in "aeiou" else "a", f" in {kind} programmes" if kind else ""
        raise UnsupportedProgramError(
            f"backend {backend!r} does not read attacks in {article} {shape}{where} (it reads "
            f"{', '.join(sorted(read)) or 'none'}); choose a backend that does, or leave the choice to "
            'backend="auto".'
        )


def strategy_of_classes(program: Any) -> str | None:
    """By what strategy a structured programme trains several classes; None if it does not say that there are any."""
    found = getattr(program, "multiclass", None)
    return found if isinstance(found, str) else None


def reads_classes(program: Any, capabilities: Capabilities) -> bool:
    """Whether a backend reads the classes of a structured programme, if it says that there are any."""
    strategy = strategy_of_classes(program)
    return strategy is None or strategy in capabilities.multiclass


def require_multiclass(strategy: str, capabilities: Capabilities, backend: str) -> None:
    """Refuse a structured programme whose classes a backend would train by another strategy.

    Raises:
        UnsupportedProgramError: Names the strategy and those that it knows.
    """
    if strategy not in capabilities.multiclass:
        raise UnsupportedProgramError(
            f"backend {backend!r} does not train several classes by {strategy!r} (it knows "
            f"{', '.join(sorted(capabilities.multiclass)) or 'none'}); choose a backend that does, or leave the choice "
            'to backend="auto".'
        )
