"""MOSEK: a commercial interior-point method (Andersen, Roos and Terlaky 2003, Math. Program. 95, for its conic part).

Written for the Optimizer API with affine conic constraints, MOSEK 10 and later.
"""

import time
from importlib.util import find_spec

from cvxrobust.backends.mosek import licence, optimiser
from cvxrobust.backends.mosek.acc import DOMAINS, AffineConic
from cvxrobust.backends.mosek.bars import Dualised
from cvxrobust.backends.mosek.options import harmless, translate
from cvxrobust.backends.mosek.solution import failure, solution
from cvxrobust.core import (
    PSD,
    BackendDescription,
    BackendUnavailableError,
    Capabilities,
    ConicProgram,
    Finding,
    Monitor,
    NonNegative,
    Settings,
    Solution,
    Zero,
    hookimpl,
    require_cones,
    sigint_stops,
    unused_settings,
)


class Mosek:
    """Solves conic programmes with every cone of ours. Needs a licence, or an OptServer that has one.

    Options are MOSEK's parameters by its own names (``MSK_IPAR_...``, ``MSK_DPAR_...``, or as in Python,
    ``iparam.num_threads``), and ``form``: ``"acc"`` for affine conic constraints, ``"bar"`` for the dual with matrix
    variables, ``"auto"`` for the smaller linear systems; ``optserver``, the URL of an OptServer
    (``"http://host:30080"``) to solve there, and ``optserver_token``, its access token; for https, MOSEK wants
    ``MSK_SPAR_REMOTE_TLS_CERT_PATH``. MOSEK itself reads the licence's place from the environment
    (``MOSEKLM_LICENSE_FILE``), but no server's address.

    MOSEK drops coefficients below 1e-12: scale the data if yours are that small.
    """

    name = "mosek"
    capabilities = Capabilities(
        cones=frozenset(DOMAINS),
        monitored=True,
        time_limit=True,
        threads=True,
        needs_licence=True,
        # MOSEK's own default. Its conic optimiser stalls soon beyond the hundredth of it that we ask for.
        tightest_tolerance=1e-8,
        method="interior-point",
    )

    def unavailable(self) -> str | None:
        """Whether the package or a licence is missing, and what to do."""
        return licence.INSTALL if find_spec("mosek") is None else licence.unlicensed()

    def require_available(self, settings: Settings) -> None:
        """Refuse what cannot run here with these settings: an OptServer in the options makes up for a licence.

        Raises:
            BackendUnavailableError: The package is missing.
            LicenceError: There is no usable licence; names MOSEK's code and says what to do.
            UnknownNameError: An option that neither MOSEK nor this backend has.
            InputError: One of our own options has an unusable value.
        """
        if find_spec("mosek") is None:
            raise BackendUnavailableError(f"backend {self.name!r} cannot run here: {licence.INSTALL}")
        if not translate(settings, self.capabilities).server and (refusal := licence.refusal()) is not None:
            raise refusal

    def diagnose(self) -> list[Finding]:
        """Whether MOSEK is installed, can be imported, and has a licence."""
        return licence.findings()

    def harmless_options(self) -> set[str]:
        """Everything that is a number, the form, and the server, whose address is shown without its credentials."""
        return harmless()

    def check_settings(self, settings: Settings) -> None:
        """Refuse options that MOSEK does not have, and values that it refuses.

        Raises:
            UnknownNameError: An option that neither MOSEK nor this backend has.
            InputError: An option has a value that MOSEK refuses.
        """
        import mosek

        translate(settings, self.capabilities).put(mosek.Task())

    def solve(
        self,
        program: ConicProgram,
        settings: Settings,
        *,
        warm_start: Solution | None = None,
        monitor: Monitor | None = None,
    ) -> Solution:
        """Solve a conic programme; Ctrl-C, the monitor and the time limit stop it within an iteration.

        Raises:
            UnsupportedProgramError: The programme has a cone of somebody else's.
            UnknownNameError: An option that neither MOSEK nor this backend has.
            InputError: An option has a value that MOSEK refuses.
            LicenceError: MOSEK, or the OptServer, has no usable licence; names MOSEK's code.
            BackendUnavailableError: The OptServer cannot be used; names MOSEK's code.
        """
        require_cones(program, self.capabilities.cones, self.name)
        began = time.perf_counter()
        import mosek

        options = translate(settings, self.capabilities)
        form = _form(program, options.form)
        applied = options.reported("bar" if form.dualised else "acc")
        ignored = unused_settings(settings, self.capabilities)
        if warm_start is not None:
            ignored["warm_start"] = "interior-point methods cannot use one"
        monitor = monitor or Monitor()
        deadline = None if settings.time_limit is None else began + settings.time_limit
        request = optimiser.Request(monitor, deadline, settings.verbose, options.server, options.token)
        try:
            task = mosek.Task()
            if all(isinstance(cone, Zero | NonNegative) for cone in program.cones):
                # Left alone, MOSEK may take the simplex method, whose iterates before the last are of little use.
                task.putintparam(mosek.iparam.optimizer, mosek.optimizertype.intpnt)
            options.put(task)
            form.put(task)
            setup = time.perf_counter() - began
            with sigint_stops(monitor):
                outcome = optimiser.optimise(task, request)
        except mosek.Error as error:
            return failure(error, options.server, applied, ignored)
        return solution(form, outcome, monitor, setup, applied, ignored)


def _form(program: ConicProgram, wanted: str) -> AffineConic | Dualised:
    """The form of the task that makes MOSEK factor the smaller systems.

    A semidefinite constraint on an affine expression becomes, inside MOSEK, a matrix variable and one equation for
    every entry of its triangle (Adamaszek, MOSEK, https://groups.google.com/g/mosek/c/sqzXHMVrqHQ), and equations are
    what its Schur complement is made of: as many as there are semidefinite rows. Dualised, the blocks are matrix
    variables by themselves, and the equations are as many as the programme has variables. So an adversarial SDP with
    n samples in d dimensions has about n d^2 / 2 equations in one form and d^2 + n in the other, while a standard
    one has fewer semidefinite rows than variables. The other cones decide nothing: their blocks stay sparse.
    """
    semidefinite = sum(cone.dim for cone in program.cones if isinstance(cone, PSD))
    if wanted == "bar" or (wanted == "auto" and semidefinite > program.q.size):
        return Dualised(program)
    return AffineConic(program)


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """MOSEK, for the registry."""
    return [BackendDescription(Mosek.name, Mosek, "interior-point method, CPU, every cone, needs a licence")]
