"""From `Settings` to MOSEK's parameters.

Names: "Parameters (alphabetical list sorted by type)" in the manual of the Optimizer API, as ``MSK_IPAR_NUM_THREADS``
or as Python spells them, ``iparam.num_threads``. Three options are ours: ``form``, ``optserver``, ``optserver_token``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from cvxrobust.core import Capabilities, InputError, Settings, UnknownNameError, native_tolerance

FORMS = ("auto", "acc", "bar")
OWN = ("form", "optserver", "optserver_token")
HOST = "MSK_SPAR_REMOTE_OPTSERVER_HOST"

# An interior point gains a digit per iteration, and objectives below 1 make its relative gap an absolute one.
SHARE_OF_TOLERANCE = 0.01

# Linear programmes have an optimiser, and tolerances, of their own.
TOLERANCES = tuple(
    f"MSK_DPAR_INTPNT_{kind}TOL_{what}" for kind in ("CO_", "") for what in ("REL_GAP", "PFEAS", "DFEAS")
)


@dataclass(frozen=True)
class Options:
    """What to tell MOSEK.

    Args:
        parameters: Values by MOSEK's own names (``MSK_...``).
        form: One of `FORMS`.
        server: URL of an OptServer, empty without.
        token: Its access token, empty without.
    """

    parameters: Mapping[str, Any]
    form: str
    server: str
    token: str

    def put(self, task: Any) -> None:
        """Set every parameter of a task.

        Raises:
            InputError: MOSEK refuses a value; says which.
        """
        import mosek

        members = _members(mosek)
        for name, value in self.parameters.items():
            member, setter = members[name]
            try:
                if isinstance(value, float) and math.isnan(value):
                    raise InputError(f"mosek refuses {name}={value!r}: expected a number.")
                if isinstance(value, str) and setter != "putstrparam":
                    task.putparam(name, value)  # a symbol, such as MSK_ON
                else:
                    getattr(task, setter)(member, value)
            except (TypeError, OverflowError, mosek.Error) as error:
                raise InputError(f"mosek refuses {name}={value!r}: {' '.join(str(error).split())}") from error

    def reported(self, form: str) -> dict[str, Any]:
        """What was applied, without the token: that is a secret."""
        applied = {**self.parameters, "form": form}
        if self.server:
            applied["optserver"] = self.server
        return applied


def translate(settings: Settings, capabilities: Capabilities) -> Options:
    """MOSEK's parameters for these settings; ``settings.options`` overrule the rest.

    Raises:
        UnknownNameError: An option that neither MOSEK nor this backend has.
        InputError: One of our own options has an unusable value.
    """
    import mosek

    given = _canonical(settings.options, _members(mosek))
    tolerance = native_tolerance(settings, capabilities, SHARE_OF_TOLERANCE)
    wanted: dict[str, Any] = dict.fromkeys(TOLERANCES, tolerance)
    # By default a stalled solve counts as optimal if it meets a thousand times the tolerances (Optimizer API, "Conic
    # interior-point optimizer", termination criteria). How good an answer is we judge ourselves.
    wanted["MSK_DPAR_INTPNT_CO_TOL_NEAR_REL"] = 1.0
    # A basis would be another, less central solution, found after the time is up.
    wanted["MSK_IPAR_INTPNT_BASIS"] = int(mosek.basindtype.never)
    if settings.max_iterations is not None:
        wanted["MSK_IPAR_INTPNT_MAX_ITERATIONS"] = settings.max_iterations
    if settings.time_limit is not None:
        wanted["MSK_DPAR_OPTIMIZER_MAX_TIME"] = settings.time_limit
    if settings.threads is not None:
        wanted["MSK_IPAR_NUM_THREADS"] = settings.threads
    own = {name: given.pop(name) for name in (*OWN, HOST) if name in given}
    form = own.get("form", "auto")
    if form not in FORMS:
        raise UnknownNameError("mosek form", form, FORMS)
    return Options(wanted | given, form, *_server(own))


def harmless() -> set[str]:
    """Names of options whose values are numbers or choices, in every spelling; texts may hold files and people."""
    if find_spec("mosek") is None:
        return {"form", "optserver"}
    import mosek

    numbers = [name for name, (_, setter) in _members(mosek).items() if setter != "putstrparam"]
    spelt = [f"{name[4].lower()}param.{name[9:].lower()}" for name in numbers]
    return {"form", "optserver", *numbers, *spelt, *(f"mosek.{name}" for name in spelt)}


def _server(own: Mapping[str, Any]) -> tuple[str, str]:
    server, token = own.get("optserver", own.get(HOST, "")), own.get("optserver_token", "")
    if not isinstance(server, str) or (server and not server.startswith(("http://", "https://"))):
        raise InputError(f"optserver is {server!r}; expected the URL of an OptServer, such as 'http://host:30080'.")
    if not isinstance(token, str):
        raise InputError(f"optserver_token is a {type(token).__name__}; expected the server's access token, a text.")
    if token and not server:
        raise InputError("optserver_token is of no use without optserver, the URL of the server.")
    return server, token


def _canonical(options: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """The options by the names of `_members`, and ours."""
    spelt = {f"{name[4].lower()}param.{name[9:].lower()}": name for name in members}
    found = {}
    for name, value in options.items():
        native = name if name in OWN or name in members else spelt.get(name.removeprefix("mosek."))
        if native is None:
            # MOSEK has some 280 parameters: list the nearest only.
            near = get_close_matches(name, [*OWN, *members, *spelt], n=5)
            hint = "MOSEK's parameters go by its own names, such as 'MSK_IPAR_NUM_THREADS' or 'iparam.num_threads'."
            raise UnknownNameError("mosek option", name, {*OWN, *near}, hint)
        if native in found:
            raise InputError(f"mosek option {native} is given twice.")
        found[native] = value
    return found


def _members(mosek: Any) -> dict[str, tuple[Any, str]]:
    """MOSEK's parameters by name: the enumeration's member, and the method of a task that sets it."""
    found = {}
    for kind, setter in (("iparam", "putintparam"), ("dparam", "putdouparam"), ("sparam", "putstrparam")):
        for member in getattr(mosek, kind).members():
            name = str(member).rpartition(".")[2].upper()
            found[f"MSK_{kind[0].upper()}PAR_{name}"] = (member, setter)
    return found
