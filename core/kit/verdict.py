"""What a conic solver says of its answer, checked on the programme as given. Every conic answer passes here.

"Converged" stands only where residuals of our own allow it, and a certificate counts whatever its finder calls it.
"""

from dataclasses import replace

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.conic.residuals import CertificateError, finite, infeasibility, residuals, unboundedness
from cvxrobust.core.contracts.result import Solution, Termination

ALLOWED = 10.0
"""Residuals of a converged answer, as multiples of the tolerance. Solvers are asked for a tenth or a hundredth of it;
on SDPLIB objectives are off by up to six times the worst of them."""

CERTIFICATE = 1e-7
"""Relative error of a certificate. Programmes have been seen with a solution, of size 1e6, and a certificate against it
that is off by 2e-7."""

UNTRUSTED = 1e-6
"""Absolute error, besides, of a certificate that its finder does not trust: what it rules out is smaller than 1e6."""


def doubt(program: ConicProgram, solution: Solution, tolerance: float) -> str:
    """Why an answer cannot be called converged; empty if it can."""
    found = residuals(program, solution)
    if found is None:
        return "there is no point to go with it"
    worst, name = found.worst
    if worst <= ALLOWED * tolerance:
        return ""
    return f"{name} {worst:.1e} on the programme as given, where {ALLOWED * tolerance:.1e} is allowed"


def judged(program: ConicProgram, solution: Solution, tolerance: float) -> Solution:
    """The answer with the termination that its own numbers support.

    Args:
        program: The programme, as it was given to the solver.
        solution: The answer.
        tolerance: What the solver was asked for, in the words of `Settings`, or the tightest that it can reach. With 1
            or more nothing was promised (answers from outside, which are scored as they are), and nothing is checked.

    Returns:
        `solution` itself where nothing is to be said. A converged answer whose residuals are too large, or a verdict
        whose certificate is none, becomes "numerical", with the reason in `doubt` and in the message; a numerical one
        that holds a certificate becomes the verdict.
    """
    said = solution.termination
    if tolerance >= 1.0:
        return solution
    if said is Termination.CONVERGED:
        return _doubted(solution, doubt(program, solution, tolerance))
    x, y = finite(solution.x), finite(solution.y)
    if said is Termination.INFEASIBLE and y is not None:
        return _doubted(solution, _objection(infeasibility(program, y)))
    if said is Termination.UNBOUNDED and x is not None:
        return _doubted(solution, _objection(unboundedness(program, x)))
    if said is Termination.NUMERICAL and not solution.doubt:
        if y is not None and not _objection(error := infeasibility(program, y), UNTRUSTED):
            return _proved(solution, Termination.INFEASIBLE, error)
        if x is not None and not _objection(error := unboundedness(program, x), UNTRUSTED):
            return _proved(solution, Termination.UNBOUNDED, error)
    return solution


def _objection(error: CertificateError, absolute: float = float("inf")) -> str:
    if error.relative <= CERTIFICATE and error.absolute <= absolute:
        return ""
    return (
        f"its certificate is off by {error.relative:.1e} on the programme as given, where {CERTIFICATE:.1e} is allowed"
    )


def _doubted(solution: Solution, why: str) -> Solution:
    if not why:
        return solution
    said = f"{solution.message}; " if solution.message else ""
    message = f"{said}inaccurate: called {solution.termination}, but {why}"
    return replace(solution, termination=Termination.NUMERICAL, doubt=why, message=message)


def _proved(solution: Solution, verdict: Termination, error: CertificateError) -> Solution:
    message = (
        f"{solution.message}; {verdict}: its certificate holds on the programme as given, up to {error.relative:.1e}"
    )
    return replace(solution, termination=verdict, message=message)
