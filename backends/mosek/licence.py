"""MOSEK's licence: where it is looked for, and how to say that there is none.

MOSEK reads the environment once: variables are best set before Python starts.

Places: MOSEK Licensing Guide 11, "Client setup" (https://docs.mosek.com/latest/licensing/client-setup.html); all
variables that MOSEK reads: https://docs.mosek.com/latest/cmdtools/environment-variables.html.
"""

import importlib
import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cvxrobust.core import Finding, LicenceError

VARIABLE = "MOSEKLM_LICENSE_FILE"
INSTALL = "mosek is not installed: run `pip install mosek`"

LICENCE_CODES = range(1000, 1035)
"""MOSEK numbers what is wrong with a licence from 1000 (err_license) to 1028; other errors begin at 1035."""

# What is the matter with some of them; the others are about licence servers.
COMPLAINTS = {
    1001: "The licence has expired",
    1002: "The licence is for an older MOSEK",
    1008: "There is no licence",
    1014: "The licence cannot be used",
    1016: "All licences of the server are in use; wait, or",
    1018: "Conic programmes need a licence of the features PTS and PTON",
}
SERVER_COMPLAINT = "See that the licence server runs and can be reached, or"


def default_place() -> Path:
    """The licence file that MOSEK reads where no variable says otherwise."""
    home = os.environ.get("USERPROFILE" if os.name == "nt" else "HOME")
    return (Path(home) if home else Path.home()) / "mosek" / "mosek.lic"


def advice() -> str:
    """Everything that provides a licence, or makes one unnecessary."""
    place = "%USERPROFILE%\\mosek\\mosek.lic" if os.name == "nt" else "~/mosek/mosek.lic"
    return (
        f"put a licence at {place}, or set {VARIABLE} to the file or to port@host of a licence server (licences: "
        'https://www.mosek.com/license/request); or solve on an OptServer, with the option optserver="http://host:port"'
    )


def evidence() -> str:
    """What speaks for a licence without asking MOSEK; empty if nothing does.

    The variable replaces the default place, even when it is empty: MOSEK then looks nowhere.
    """
    if (named := os.environ.get(VARIABLE)) is not None:
        return f"{VARIABLE}={named}" if named else ""
    place = default_place()
    return str(place) if place.is_file() else ""


def named(error: Any) -> str:
    """A MOSEK error by its own name and number: ``err_missing_license_file (1008): ...``."""
    name = str(error.errno).rpartition(".")[2]
    words = " ".join(str(error.msg or "").split())
    return f"{name} ({int(error.errno)})" + (f": {words}" if words else "")


def is_about_licence(error: Any) -> bool:
    """Whether a MOSEK error is a refusal for want of a licence."""
    return int(error.errno) in LICENCE_CODES


def licence_error(error: Any, server: str = "") -> LicenceError:
    """The error to raise for it.

    Args:
        error: MOSEK's own.
        server: The OptServer that ran the task, if one did: then it is its licence.
    """
    if server:
        return LicenceError(f"the OptServer at {server} has no usable MOSEK licence: {named(error)}")
    complaint = COMPLAINTS.get(int(error.errno), SERVER_COMPLAINT)
    return LicenceError(f"MOSEK refuses to optimise: {named(error)} {complaint}: {advice()}.")


def unlicensed() -> str | None:
    """Why there is no licence here, None if there is one. Quick: MOSEK is imported only if a licence is likely."""
    found = evidence()
    if not found:
        empty = f", {VARIABLE} being set but empty" if VARIABLE in os.environ else ""
        return f"no licence (err_missing_license_file, 1008){empty}: {advice()}"
    return _refusal(found)


def refusal() -> LicenceError | None:
    """MOSEK's answer to an optimisation, whatever speaks for or against a licence; None if it optimises."""
    words = _refusal(evidence())
    return None if words is None else LicenceError(words)


@lru_cache(maxsize=8)
def _refusal(evidence: str) -> str | None:
    """Ask MOSEK once per process and evidence: a licence server far away takes its time."""
    import mosek

    try:
        # The environment is our own, so that the licence goes back at once.
        with mosek.Env() as env, env.Task() as task:
            # Nonlinear cones need another feature of the licence than linear programmes.
            task.appendvars(1)
            task.appendafes(2)
            task.putafefentrylist([0], [0], [1.0])
            task.appendaccseq(task.appendquadraticconedomain(2), 0, None)
            task.optimize()
    except mosek.Error as error:
        if is_about_licence(error):
            return str(licence_error(error))
        return f"MOSEK cannot optimise the smallest task: {named(error)}"
    return None


def findings() -> list[Finding]:
    """Installed, importable, licensed: all three, as far as one can tell."""
    try:
        known = version("mosek")
    except PackageNotFoundError:
        known = ""
    if find_spec("mosek") is None:
        return [Finding("installed", False, INSTALL)]
    installed = Finding("installed", True, f"version {known}" if known else "version unknown")
    try:
        importlib.import_module("mosek")
    except (ImportError, OSError) as error:
        why = f"{type(error).__name__}: {error}; run `pip install --force-reinstall mosek`"
        return [installed, Finding("importable", False, why)]
    refused = refusal()
    place = evidence()
    licensed = Finding("licensed", refused is None, f"through {place}" if refused is None else str(refused))
    return [installed, Finding("importable", True), licensed]
