"""Whether the structured part of the contract earns its name: the guide's example, spoilt in one way at a time."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from cvxrobust.core import Monitor, Termination
from cvxrobust.core.discovery.examples import Case
from cvxrobust.core.testing import BackendContract

GUIDE = Path(__file__).resolve().parents[2] / "backends" / "README-structured.md"


def example():
    """The backend that the guide shows; what judges its networks knows ellipsoids, so it may read them as well."""
    source = re.search(r"`atoms.py`:\n\n```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = {"__name__": "atoms"}
    exec(compile(source[1], "atoms.py", "exec"), found)
    backend = found["Atoms"]()
    backend.capabilities = replace(backend.capabilities, attacks=frozenset({"ball", "ellipsoid"}))
    return backend


HONEST = example()


class Spoilt:
    """The example behind something that changes what goes in or comes out."""

    def __init__(self, spoil):
        self.name, self.capabilities, self.spoil, self.first = HONEST.name, HONEST.capabilities, spoil, None

    def unavailable(self):
        return None

    def solve(self, program, settings, monitor=None, warm_start=None):
        return self.spoil(self, program, settings, monitor or Monitor(), warm_start)


def honest(self, program, settings, monitor, start):
    return HONEST.solve(program, settings, monitor=monitor, warm_start=start)


def reporting(change):
    def solve(self, program, settings, monitor, start):
        def hear(upper, lower, iterate):
            self.first = self.first or iterate()
            return monitor.report(*change(self, upper, lower, iterate))

        return HONEST.solve(program, settings, monitor=monitor.sharing(monitor.deadline, hear), warm_start=start)

    return solve


def answering(change):
    return lambda *call: change(honest(*call))


def deaf(self, program, settings, monitor, start):
    return honest(self, program, settings, Monitor(), start)


def careless(self, program, settings, monitor, start):
    return honest(self, program, settings.replace(options={}), monitor, start)


def forgetful(self, program, settings, monitor, start):
    return honest(self, program, settings, monitor, None)


def untidy(self, program, settings, monitor, start):
    program.radius[:] *= 1.0 + 1e-9
    return honest(self, program, settings, monitor, start)


def talkative(self, program, settings, monitor, start):
    print("hello")
    return honest(self, program, settings, monitor, start)


def lost_at_limits(found):
    return found if found.termination is Termination.CONVERGED else replace(found, network=None)


def unweighted(self, program, settings, monitor, start):
    return honest(self, replace(program, weights=None), settings, monitor, start)


def shapeless(self, program, settings, monitor, start):
    return honest(self, replace(program, attack=replace(program.attack, ellipsoid=None)), settings, monitor, start)


def half(found):
    return replace(found, network=replace(found.network, alpha=0.5 * found.network.alpha))


ANSWERS, REPORTS = "test_structured_answers_are_networks_with_multipliers", "test_reports_are_true"
LIMITS = "test_limits_of_a_structured_solve_keep_its_network"
MANNERS = "test_a_structured_solve_repeats_itself_in_silence_and_changes_nothing"
WAYS = {
    "an upper bound too low": (REPORTS, reporting(lambda self, upper, lower, it: (0.999 * upper, lower, it))),
    "a lower bound too high": (REPORTS, reporting(lambda self, upper, lower, it: (upper, lower + 1e-3 * upper, it))),
    "iterates of the past": (REPORTS, reporting(lambda self, upper, lower, it: (upper, lower, lambda: self.first))),
    "nothing said": (REPORTS, lambda self, program, settings, monitor, start: HONEST.solve(program, settings)),
    "no multipliers": (ANSWERS, answering(lambda found: replace(found, multipliers=None))),
    "half the network": (
        ANSWERS,
        answering(half),
    ),
    "always a success": (LIMITS, answering(lambda found: replace(found, termination=Termination.CONVERGED))),
    "no network at limits": (LIMITS, answering(lost_at_limits)),
    "a monitor unheeded": (LIMITS, deaf),
    "options dropped": ("test_a_structured_solve_refuses_unknown_options", careless),
    "a start dropped": ("test_a_network_to_start_from_is_no_loss", forgetful),
    "weights dropped": ("test_weights_of_samples_are_heeded", unweighted),
    "shapes dropped": ("test_shapes_of_attacks_are_heeded", shapeless),
    "a programme written to": (MANNERS, untidy),
    "output": (MANNERS, talkative),
}


def put_to(test, backend, capfd):
    problem = Case("adversarial-sdp", {"loss": "squared_hinge", "radius": 0.2}).problem()
    handed = [(problem, problem.to_structured())]
    getattr(BackendContract(), test)(backend, handed, *([capfd] if test == MANNERS else []))


@pytest.mark.parametrize("test", sorted({test for test, _ in WAYS.values()}))
def test_the_example_of_the_guide_passes(test, capfd):
    put_to(test, Spoilt(honest), capfd)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_spoilt_is_noticed(way, capfd):
    test, spoil = WAYS[way]
    # What is read-only says so itself.
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        put_to(test, Spoilt(spoil), capfd)


def test_a_kind_that_nobody_has_a_problem_of_is_no_contract_kept():
    backend = Spoilt(honest)
    backend.capabilities = replace(HONEST.capabilities, structured=frozenset({"polynomail"}))
    with pytest.raises(pytest.fail.Exception, match="no problem at hand is polynomail"):
        BackendContract()._at_hand(backend)
