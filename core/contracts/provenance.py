"""What a network's file says of how the network came about: the problem, its certificate, its data, the version."""

import hashlib
import json
import math
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.contracts.result import Result
from cvxrobust.core.environment import installed_version
from cvxrobust.core.networks.base import STANDARDISED, TRAINED_ON, N, TwoLayerNetwork

LOOKED_AT = 32
"""Columns that tell whether all are standardised."""

CLOSE = 1e-6
"""How near to 0 and 1 means and deviations come that were made so."""

HASHED = 1 << 28
"""Bytes of inputs that are looked at, in rows spread evenly: a third of a second."""


def with_provenance(result: Result[N], problem: Any) -> Result[N]:
    """The result, its network's metadata with what a file should say: names are those of the fields.

    Args:
        result: Of a solve.
        problem: What was solved, of any family; what it does not have is left out.
    """
    if not isinstance(result.network, TwoLayerNetwork):  # of a family that has files of its own, or none
        return result
    bounds = result.certificate
    found: dict[str, Any] = {
        "certificate_upper": _number(bounds.upper),
        "certificate_lower": _number(bounds.lower),
        "certificate_relative_gap": _number(bounds.relative_gap),
        "quality": str(result.quality),
        "termination": str(result.termination),
        "backend": result.backend,
        "version": installed_version("cvxrobust"),
    }
    known = about_problem(problem) | {name: value for name, value in found.items() if value is not None}
    # A network to start from may have come back as it was.
    before = {name: value for name, value in result.network.metadata.items() if name != TRAINED_ON}
    return replace(result, network=result.network.replace(metadata=before | known))


def about_problem(problem: Any) -> dict[str, Any]:
    """What a file says of the problem that a network was trained on; what it does not have is left out."""
    X = getattr(problem, "X", None)
    found: dict[str, Any] = {
        "problem": type(problem).__name__,
        "beta": _number(getattr(problem, "beta", None)),
        **_radii(getattr(problem, "radius", None)),
        **{name: _word(getattr(problem, name, None)) for name in ("norm", "loss", "formulation")},
        "immutable_inputs": _immutable(getattr(problem, "ellipsoid", None)),
        TRAINED_ON: STANDARDISED if looks_standardised(X) else None,
        "training_fingerprint": data_fingerprint(X, getattr(problem, "y", None)),
        "weights_fingerprint": _hash(getattr(problem, "sample_weight", None)),
    }
    return {name: value for name, value in found.items() if value is not None}


def data_fingerprint(X: Any, y: Any) -> str | None:
    """A hash of inputs and labels in memory, by which one knows them again; None for anything else."""
    if not isinstance(X, np.ndarray) or X.ndim != 2 or not isinstance(y, np.ndarray):
        return None
    step = 1 + X.nbytes // HASHED
    digest = hashlib.sha256(f"{X.shape}{X.dtype}".encode())
    digest.update(np.ascontiguousarray(X[::step]).data)
    digest.update("\n".join(map(str, y.tolist())).encode())
    return digest.hexdigest()[:32]


def _hash(weights: Any) -> str | None:
    return hashlib.sha256(weights.tobytes()).hexdigest()[:32] if isinstance(weights, np.ndarray) else None


def looks_standardised(X: Any) -> bool:
    """Whether inputs in memory were made to have mean 0 and deviation 1 in every column, but for columns of zeros."""
    if not isinstance(X, np.ndarray) or X.ndim != 2 or X.shape[0] < 2:
        return False
    some = X[:, :LOOKED_AT]
    used = some[:, some.any(axis=0)]
    # Most data is told by one column.
    return used.shape[1] > 0 and bool(_is_standard(used[:, :1]).all()) and bool(_is_standard(used).all())


def _is_standard(columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((np.abs(columns.mean(axis=0)) <= CLOSE) & (np.abs(columns.std(axis=0) - 1.0) <= CLOSE))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def _radii(value: object) -> dict[str, Any]:
    """The radius of all samples; where they have their own, the least, the largest, and a hash of them."""
    found = np.unique(np.asarray(value)) if value is not None else np.empty(0)
    if found.size < 2:
        return {"radius": _number(found[0].item()) if found.size else None}
    return {
        "radius_smallest": _number(found[0].item()), "radius_largest": _number(found[-1].item()),
        "radii_fingerprint": _hash(np.asarray(value)),
    }  # fmt: skip


def _immutable(ellipsoid: object) -> str | None:
    """The inputs that no attack of this shape touches, counted from 0, as a list in JSON."""
    found = list(ellipsoid.immutable) if isinstance(ellipsoid, Ellipsoid) else []
    return json.dumps(found) if found else None


def _word(value: object) -> str | int | None:
    return value if isinstance(value, str | int) else None
