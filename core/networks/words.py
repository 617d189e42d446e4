"""What is shown of a network: its sizes, what it tells apart, and what its file says of how it was trained."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

from cvxrobust.core.summary import Bar, Cell, Summary, counted, gap_bar


class NetworkFacts(Protocol):
    """What a network says of itself."""

    @property
    def n_neurons(self) -> int:
        """Hidden neurons."""
        ...

    @property
    def n_features(self) -> int:
        """Inputs."""
        ...

    alpha: Any
    classes: tuple[Any, ...] | None
    regression: bool
    standardizer: Any
    metadata: Mapping[str, Any]


def network_summary(network: NetworkFacts, kind: str) -> Summary:
    """What is shown of a network.

    Args:
        network: The network.
        kind: What its family has to say.
    """
    sizes = f"{counted(network.n_neurons, 'neuron')}, {counted(network.n_features, 'input')}, {_outputs(network)}"
    standardised = "in standard deviations" if network.standardizer is not None else "as they are"
    trained, gap = _training(network.metadata)
    facts: tuple[tuple[str, Cell], ...] = (
        ("kind", kind), ("inputs", standardised), ("training", trained), ("relative gap", gap or ""),
    )  # fmt: skip
    words = trained + (f", relative gap {gap.words}" if gap is not None else "")
    inputs = ", standardises its inputs" if network.standardizer is not None else ""
    return Summary(f"{type(network).__name__}: {sizes}", (f"{kind}{inputs}", words), facts)


def quadratic_words(activation: tuple[float, float, float]) -> str:
    """A polynomial activation: ``0.09 t^2 + 0.5 t + 0.47``."""
    a, b, c = activation
    further = ((abs(b), "+" if b >= 0.0 else "-", " t"), (abs(c), "+" if c >= 0.0 else "-", ""))
    return f"{a:g} t^2" + "".join(f" {sign} {size:g}{power}" for size, sign, power in further)


def _outputs(network: NetworkFacts) -> str:
    if network.regression:
        return counted(1 if network.alpha.ndim == 1 else int(network.alpha.shape[1]), "target")
    if network.alpha.ndim == 1:
        first, second = network.classes or (-1, 1)
        return f"labels {first!r} and {second!r}"
    return f"{network.alpha.shape[1]} classes"


def _training(metadata: Mapping[str, Any]) -> tuple[str, Bar | None]:
    """What a file says of the training, in words, and the certified gap; files may say anything."""
    known = [f"{name} {value:g}" for name in ("radius", "beta") if isinstance(value := metadata.get(name), float)]
    problem, gap = metadata.get("problem"), metadata.get("certificate_relative_gap")
    trained = ", ".join([f"trained by {problem}", *known]) if problem else ""
    if not trained or not isinstance(gap, float) or not math.isfinite(gap):
        return trained, None
    return trained, gap_bar(gap, str(metadata.get("quality", "")))
