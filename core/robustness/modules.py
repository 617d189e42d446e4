"""PyTorch modules as evaluations see them: rows of any shape in, logits out, and nothing about the module changes."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import flag, whole
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.robustness.contest import Array, Index, contest
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers

if TYPE_CHECKING:
    import torch

BLOCK = 4_000_000
"""Numbers that the inputs of a block of rows may have."""

IMAGES = 128
"""Rows of several dimensions in a block: what layers make of them is some dozens of times as large."""

TRIED = 2
"""Rows that a module is tried on before anything else happens."""


@dataclass
class TorchModel:
    """Somebody's PyTorch module: rows of inputs, vectors or images, to one logit, or to one per class.

    Gradients and margins are those of a copy in double precision, where the module can be copied and runs so; labels
    are those of the module as it is, in its own precision, on its own device. Its parameters, buffers, hooks and
    gradients and PyTorch's random numbers are afterwards what they were.

    Args:
        model: The module, in the mode that it is to be judged in (``module.eval()``).
        classes: Labels; of one logit the one that is predicted below 0 comes first.
        batch: Rows that the module sees at a time; None for as many as are no burden.
        double: Whether there is a copy in double precision; margins and slopes are the module's own without.

    Attributes:
        shape: Of one input, known once `inputs` has seen some.
        notes: What is not as usual, one sentence each.
    """

    model: "torch.nn.Module"
    classes: tuple[Any, ...]
    batch: int | None = None
    double: bool = True

    def __post_init__(self) -> None:
        import torch

        self.torch, self.units, self.shape = torch, "the inputs' own units", ()
        self.notes: tuple[str, ...] = ()
        tensors = [*self.model.parameters(), *self.model.buffers()]
        first = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
        self.dtype = torch.float64 if first is None else first.dtype
        self.device = torch.device("cpu") if not tensors else tensors[0].device
        # Modules that `torch.export` made have one mode, say that they train, and refuse to be asked for another.
        fixed = "eval" in vars(self.model)
        for name, part in () if fixed else self.model.named_modules():
            if part.training:
                where = f"its part {name!r} is" if name else "it is"
                raise InputError(
                    f"the module may answer at random: {where} in training mode; call module.eval() first."
                )
        self.guide, self.precision = self._copy()

    def inputs(self, X: ArrayLike) -> Array:
        """As they are, each as one vector.

        Raises:
            InputError: They are no finite numbers, or the module does not take them, or answers at random.
        """
        numbers = as_numbers(X, "X")
        if numbers.ndim < 2:
            raise InputError(f"X has shape {numbers.shape}; expected (n, d), or (n, channels, height, width).")
        if not np.isfinite(numbers).all():
            row = int(np.argwhere(~np.isfinite(numbers))[0][0])
            raise InputError(f"X holds NaN or inf, first in row {row}; impute missing values first.")
        self.shape = numbers.shape[1:]
        rows = numbers.reshape(numbers.shape[0], int(np.prod(self.shape)))
        if rows.shape[0]:
            self._try(rows[:TRIED])
        return rows

    def stated(self, threat: Threat) -> Threat:
        """Scales and ranges of images as vectors."""
        scale = None if threat.scale is None else self._flat(threat.scale, "scale")
        bounds = None if threat.bounds is None else tuple(self._flat(value, "bounds") for value in threat.bounds)
        found: Any = bounds
        return Threat(threat.norm, scale, threat.covariance, threat.directions, found)

    def returned(self, X: ArrayLike, rows: Array, points: Array) -> Array:
        """In the shape of X."""
        return points.reshape(points.shape[0], *self.shape)

    def predicted(self, X: Array) -> Index:
        """Of the module as it is, in its own precision."""
        scores = self._scores(self.model, X, self.dtype)
        return np.asarray(scores.argmax(axis=1) if scores.ndim == 2 else (scores >= 0.0).astype(np.intp))

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """In double precision, where the module runs so."""
        return contest(self._scores(self.guide, X, self.precision), index, rivals)[0]

    def logits(self, x: "torch.Tensor") -> "torch.Tensor":
        """Of the guide, with a graph, shapes (n, d) to (n, K) or (n,): what attacks of others are shown."""
        return self._checked(self.guide(x.reshape(-1, *self.shape)), x.shape[0])

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array] | None:
        """By automatic differentiation; None where the module has no graph."""
        margins, slopes = np.empty(X.shape[0]), np.empty_like(X)
        for rows in self._blocks(X):
            wanted = None if rivals is None else rivals[rows]
            with self._untouched(self.guide), self.torch.inference_mode(False), self.torch.enable_grad():
                x = self.torch.tensor(X[rows], dtype=self.precision, device=self.device, requires_grad=True)
                scores = self.logits(x.clone())
                if not scores.requires_grad:
                    return None
                margins[rows], others = contest(_numbers(scores), index[rows], wanted)
                total = self._total(scores, index[rows], others)
                (slope,) = self.torch.autograd.grad(total, x, allow_unused=True)
            slopes[rows] = 0.0 if slope is None else _numbers(slope)
        return margins, slopes

    def pull(self, X: Array, weights: Array) -> Array | None:
        """By automatic differentiation, too."""
        slopes = np.empty_like(X)
        for rows in self._blocks(X):
            with self._untouched(self.guide), self.torch.inference_mode(False), self.torch.enable_grad():
                x = self.torch.tensor(X[rows], dtype=self.precision, device=self.device, requires_grad=True)
                scores = self.logits(x.clone())
                if not scores.requires_grad:
                    return None
                if scores.ndim == 1:
                    scores = self.torch.stack([-scores, scores], dim=1)
                wanted = self.torch.tensor(weights[rows], dtype=scores.dtype, device=scores.device)
                (slope,) = self.torch.autograd.grad((wanted * scores).sum(), x, allow_unused=True)
            slopes[rows] = 0.0 if slope is None else _numbers(slope)
        return slopes

    def _total(self, scores: "torch.Tensor", index: Index, others: Index) -> "torch.Tensor":
        if scores.ndim == 1:
            signs = np.where(index == 1, 1.0, -1.0)
            return (scores * self.torch.tensor(signs, dtype=scores.dtype, device=scores.device)).sum()
        chosen = self.torch.arange(len(others), device=scores.device)
        own, other = (self.torch.tensor(part, device=scores.device) for part in (index, others))
        return (scores[chosen, own] - scores[chosen, other]).sum()

    def _scores(self, module: "torch.nn.Module", X: Array, dtype: "torch.dtype") -> Array:
        parts = []
        with self._untouched(module), self.torch.no_grad():
            for rows in self._blocks(X):
                x = self.torch.tensor(X[rows], dtype=dtype, device=self.device).reshape(-1, *self.shape)
                parts.append(_numbers(self._checked(module(x), len(x))))
        return np.concatenate(parts)

    def _checked(self, scores: "torch.Tensor", n: int) -> "torch.Tensor":
        if scores.ndim == 2 and scores.shape[1] == 1:
            scores = scores[:, 0]
        expected = 2 if scores.ndim == 1 else scores.shape[-1]
        if scores.shape[:1] != (n,) or scores.ndim > 2 or expected != len(self.classes):
            raise InputError(
                f"the module makes outputs of shape {tuple(scores.shape)} of {n} rows, and there are "
                f"{len(self.classes)} classes; expected one logit per row for two classes, or one per class."
            )
        return scores

    def _copy(self) -> tuple["torch.nn.Module", "torch.dtype"]:
        """A copy in double precision; the module itself where it cannot be copied, or nobody wants one."""
        double = self.torch.float64
        if not self.double:
            self._note("is attacked as it is")
            return self.model, self.dtype
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                guide = copy.deepcopy(self.model).to(double)
        except Exception as error:  # whatever a stranger's module makes of being copied
            self._note(f"cannot be copied to double precision ({_said(error)})")
            return self.model, self.dtype
        for parameter in guide.parameters():
            if parameter.is_leaf:  # those of TorchScript, converted, are none
                parameter.requires_grad_(False)
        return guide, double

    def _try(self, rows: Array) -> None:
        """The module answers at all, the same each time, and in double precision, or in its own from now on."""
        x = self.torch.tensor(rows, dtype=self.dtype, device=self.device).reshape(-1, *self.shape)
        with self._untouched(self.model), self.torch.no_grad():
            try:
                once, again = (self._checked(self.model(x.clone()), len(x)) for _ in range(2))
            except InputError:
                raise
            except Exception as error:
                raise InputError(
                    f"the module does not take inputs of shape {tuple(x.shape)}: {_said(error)}"
                ) from error
            if not self.torch.equal(once.nan_to_num(), again.nan_to_num()):
                raise InputError(
                    "the module gives the same rows other outputs each time; a bracket needs one answer per input. "
                    "Fix its random numbers, or judge it without them."
                )
        if self.precision == self.dtype:
            return
        try:
            self.slopes(rows, np.zeros(len(rows), dtype=np.intp))
        except Exception as error:  # whatever a stranger's module makes of double precision
            self._note(f"does not run in double precision ({_said(error)})")
            self.guide, self.precision = self.model, self.dtype

    def _note(self, what: str) -> None:
        self.notes = (*self.notes, f"the module {what}: margins and slopes are in {self.dtype}")

    def _flat(self, value: ArrayLike, name: str) -> Array:
        found = as_numbers(value, name)
        return found.reshape(-1) if found.ndim > 1 and found.shape == self.shape else found

    def _blocks(self, X: Array) -> list[slice]:
        size = max(1, BLOCK // max(1, X.shape[1]))
        size = self.batch or (min(size, IMAGES) if len(self.shape) > 1 else size)
        return [slice(start, min(start + size, X.shape[0])) for start in range(0, max(X.shape[0], 1), size)]

    @contextmanager
    def _untouched(self, module: "torch.nn.Module") -> Iterator[None]:
        """Random numbers and buffers, such as counters, are afterwards what they were."""
        kept = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
        devices = [self.device] if self.device.type == "cuda" else []
        with self.torch.random.fork_rng(devices=devices):
            try:
                yield
            finally:
                with self.torch.no_grad():
                    for buffer, before in kept:
                        buffer.copy_(before)


def _numbers(tensor: "torch.Tensor") -> NDArray[np.float64]:
    # By way of the CPU: not every device has double precision.
    return np.asarray(tensor.detach().cpu().double().numpy())


def _said(error: Exception) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]:.120}" if words else type(error).__name__


def check_viewing(model: Any, is_module: bool, classes: Any, batch: int | None, double: bool) -> None:
    """How a classifier is to be looked at.

    Args:
        model: The classifier.
        is_module: Whether it is a PyTorch module.
        classes: Labels of a module's outputs; None for no say in it.
        batch: Rows that a module sees at a time, or None.
        double: Whether its slopes are those of a copy in double precision.

    Raises:
        InputError: One of these is none, or there are labels for the outputs of what has its own.
    """
    if batch is not None:
        whole(batch, "batch", 1, otherwise=", or None")
    flag(double, "double")
    if classes is None:
        return
    if not is_module:
        raise InputError(f"classes is {shown(classes)}, but a {type(model).__name__} has its own; leave it out.")
    if isinstance(classes, str) or not isinstance(classes, Sequence | np.ndarray):
        raise InputError(f"classes is {shown(classes)}; expected a label for each output of the module, in order.")
