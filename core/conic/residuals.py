"""How far an answer is from solving a programme, or from proving that it has no solution: on the programme as given.

Solvers judge themselves on what they made of a programme: scaled, presolved, its matrices decomposed. What passes there
need not be anything here. The DIMACS errors (`ConicProgram.dimacs_errors`) are for tables; these are for verdicts.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram, Iterate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Residuals:
    """What is wrong with a point; all at least 0, NaN where it cannot be computed.

    The first four are relative to one plus the largest of the terms that they are differences of, the others to one
    plus both objectives: they say how much of the objective hangs on what is left of the first.

    Args:
        primal: ``max |A x + s - b|``.
        outside: Distance of s to K.
        dual: ``max |A'y + q|``.
        dual_outside: Distance of y to K*.
        gap: ``|q'x + b'y|``.
        complementarity: ``|s'y|``.
        primal_effect: ``|y'(A x + s - b)|``, what the optimum would change by if the primal residual were part of b.
        dual_effect: ``|x'(A'y + q)|``, the same of the dual residual and q.
    """

    primal: float
    outside: float
    dual: float
    dual_outside: float
    gap: float
    complementarity: float
    primal_effect: float
    dual_effect: float

    @property
    def worst(self) -> tuple[float, str]:
        """The largest, and what it is called; infinite where one cannot be computed."""
        found = [(getattr(self, field.name), field.name.replace("_", " ")) for field in fields(self)]
        return max((value if value == value else float("inf"), name) for value, name in found)


def residuals(program: ConicProgram, point: Iterate) -> Residuals | None:
    """The residuals of a point; None if it has no finite x.

    Slacks that are missing are those of x; without y what needs it is 0, because nobody can tell.
    """
    x, s, y = finite(point.x), finite(point.s), finite(point.y)
    if x is None:
        return None
    with np.errstate(all="ignore"):  # points of size 1e200 have been seen; infinity is a fair residual for those
        s = program.b - program.A @ x if s is None else s
        if not np.isfinite(s).all():  # no eigenvalue routine takes that
            return Residuals(*[float("inf")] * 8)
        if y is None:
            primal, outside = program.A @ x + s - program.b, float(np.linalg.norm(s - program.project(s)))
            size = 1.0 + max(_largest(program.A @ x), _largest(s), _largest(program.b))
            return Residuals(_largest(primal) / size, outside / (1.0 + _largest(s)), *[0.0] * 6)
        image, gradient = program.A @ x, program.A.T @ y
        primal, dual = image + s - program.b, gradient + program.q
        cost, profit = float(program.q @ x), -float(program.b @ y)
        of_s, of_y, value = 1.0 + _largest(s), 1.0 + _largest(y), 1.0 + abs(cost) + abs(profit)
        return Residuals(
            _largest(primal) / (1.0 + max(_largest(image), _largest(s), _largest(program.b))),
            float(np.linalg.norm(s - program.project(s))) / of_s,
            _largest(dual) / (1.0 + max(_largest(gradient), _largest(program.q))),
            float(np.linalg.norm(y - program.project_dual(y))) / of_y,
            abs(cost - profit) / value,
            abs(float(s @ y)) / value,
            abs(float(y @ primal)) / value,
            abs(float(x @ dual)) / value,
        )


def finite(vector: Array | None) -> Array | None:
    """The vector, if it is there and finite."""
    return vector if vector is not None and np.isfinite(vector).all() else None


@dataclass(frozen=True)
class CertificateError:
    """How far a direction is from proving that one side of a programme is empty, scaled to a height of one.

    Args:
        absolute: The larger of residual and distance to the cone. The direction rules out every feasible point whose
            coordinates sum to less than the inverse of that, in absolute value.
        relative: The same against the terms that they are made of: what rounding explains is small here.
    """

    absolute: float
    relative: float


WRONG = CertificateError(float("inf"), float("inf"))


def infeasibility(program: ConicProgram, y: Array) -> CertificateError:
    """Of y as a proof that no point is feasible: ``b'y < 0``, ``A'y = 0``, y in K*."""
    with np.errstate(all="ignore"):
        z = _of_height_one(program.b, y)
        if z is None:
            return WRONG
        error, terms = program.A.T @ z, abs(program.A).T @ abs(z)
        return _certificate_error(error, terms, z - program.project_dual(z), z)


def unboundedness(program: ConicProgram, x: Array) -> CertificateError:
    """Of x as a proof that a feasible programme has no bound: ``q'x < 0``, ``-A x`` in K."""
    with np.errstate(all="ignore"):
        z = _of_height_one(program.q, x)
        if z is None:
            return WRONG
        slack = -(program.A @ z)
        if not np.isfinite(slack).all():
            return WRONG
        return _certificate_error(np.zeros(0), np.zeros(0), slack - program.project(slack), abs(program.A) @ abs(z))


def _certificate_error(error: Array, terms: Array, outside: Array, of: Array) -> CertificateError:
    residual, distance = _largest(error), float(np.linalg.norm(outside))
    relative = max(residual / max(1.0, _largest(terms)), distance / max(1.0, _largest(of)))
    return CertificateError(max(residual, distance), relative)


def _largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def _of_height_one(functional: Array, ray: Array) -> Array | None:
    """The ray as long as minus the functional is 1 on it; None if it points the other way, or is not finite."""
    height = -float(functional @ ray)
    scaled = ray / height if height > 0.0 else ray
    return scaled if height > 0.0 and np.isfinite(scaled).all() else None
