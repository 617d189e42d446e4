"""What a backend owes to whoever calls it: settings honoured or reported, and good manners."""

from typing import Any

import numpy as np
import pytest

from cvxrobust.core.conic.cones import Cone
from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.errors import InputError
from cvxrobust.core.settings import Settings
from cvxrobust.core.testing.checks import UnderTest, assert_value, flush, processor_time
from cvxrobust.core.testing.planted import LINEAR, MIXED, planted_program, readable


class MannersContract(UnderTest):
    """Settings, threads, output, immutability, determinism, warm starts."""

    def test_settings_are_honoured_and_reported(self, conic: Backend) -> None:
        """`applied` holds what reached the solver, under its own names."""
        program, _ = planted_program(0, LINEAR)
        found = conic.solve(program, Settings(max_iterations=77, tolerance=self.tolerance(conic)))
        assert 77 in found.applied.values()
        assert found.ignored == {}

    def test_settings_that_cannot_be_honoured_are_reported(self, conic: Backend) -> None:
        """`ignored` holds them, each with a reason that names the value."""
        program, _ = planted_program(0, LINEAR)
        asked: dict[str, Any] = {"tolerance": 1e-15, "seed": 5}
        if "cuda" not in conic.capabilities.devices:
            asked["device"] = "cuda"
        if "float32" not in conic.capabilities.dtypes:
            asked["dtype"] = "float32"
        ignored = conic.solve(program, Settings(**asked)).ignored
        assert set(ignored) >= set(asked)
        assert all(str(asked[name]) in ignored[name] for name in {"device", "dtype"} & set(asked))

    def test_an_unknown_option_is_refused_by_name(self, conic: Backend) -> None:
        """A misspelt option must not pass for one that was set."""
        program, _ = planted_program(0, LINEAR)
        with pytest.raises(InputError, match="no_such_option"):
            conic.solve(program, Settings(options={"no_such_option": 1}))

    def test_threads_are_limited(self, conic: Backend) -> None:
        """One thread does the work where one is asked for; otherwise `ignored` says that it could not be helped."""
        program, planted = planted_program(0, readable(MIXED, conic.capabilities.cones))
        settings = Settings(threads=1, tolerance=self.tolerance(conic))
        found = conic.solve(program, settings)
        assert_value(program, found, planted, self.tolerance(conic))
        assert ("threads" in found.ignored) is not conic.capabilities.threads
        if conic.capabilities.threads:
            larger, _ = planted_program(1, _larger(conic.capabilities.cones), 120)
            others, busiest, elapsed = processor_time(lambda: conic.solve(larger, settings))
            # A solver may well start a thread per solve: then it is one after the other, never two at a time.
            alone = others <= 0.5 * busiest or others + busiest <= 1.1 * elapsed
            assert alone, f"{others:.2f} s in further threads beside {busiest:.2f} s in one, in {elapsed:.2f} s"

    def test_nothing_is_printed_unless_asked(self, conic: Backend, capfd: pytest.CaptureFixture[str]) -> None:
        """Neither by Python nor by the solver's own language."""
        program, _ = planted_program(0, readable(MIXED, conic.capabilities.cones))
        conic.solve(program, Settings())
        flush()
        assert capfd.readouterr() == ("", "")
        if self.verbose_prints:
            conic.solve(program, Settings(verbose=True))
            flush()
            assert capfd.readouterr().out

    def test_the_program_is_left_as_it_was(self, conic: Backend) -> None:
        """It may be solved again, by others."""
        program, _ = planted_program(0, readable(MIXED, conic.capabilities.cones))
        q, b, A = program.q.copy(), program.b.copy(), program.A.copy()
        conic.solve(program, Settings())
        assert np.array_equal(program.q, q)
        assert np.array_equal(program.b, b)
        for name in ("data", "indices", "indptr"):
            assert np.array_equal(getattr(program.A, name), getattr(A, name)), name

    def test_the_same_program_has_the_same_answer_twice(self, conic: Backend) -> None:
        """To the last bit: nothing random but by `Settings.seed`, nothing left over from the solve before."""
        program, _ = planted_program(0, readable(MIXED, conic.capabilities.cones))
        settings = Settings(threads=1) if conic.capabilities.threads else Settings()
        first, second = (conic.solve(program, settings) for _ in range(2))
        assert first.x is not None
        assert second.x is not None
        assert np.array_equal(first.x, second.x)
        assert first.iterations == second.iterations

    def test_a_warm_start_saves_iterations(self, conic: Backend) -> None:
        """Where it promises to take one; counted over several programmes."""
        if not conic.capabilities.warm_start:
            pytest.skip("takes no warm start")
        cold, warm = 0, 0
        for seed in range(3):
            program, planted = planted_program(seed, readable(MIXED, conic.capabilities.cones))
            cold += conic.solve(program, Settings()).iterations
            found = conic.solve(program, Settings(), warm_start=planted)
            assert found.termination is Termination.CONVERGED
            warm += found.iterations
        assert warm < cold

    def test_a_warm_start_that_does_not_fit_is_ignored_and_reported(self, conic: Backend) -> None:
        """It comes from another programme, or from a solve that failed."""
        if not conic.capabilities.warm_start:
            pytest.skip("takes no warm start")
        program, planted = planted_program(0, readable(MIXED, conic.capabilities.cones))
        assert planted.x is not None
        for misfit in (
            Solution(Termination.CONVERGED, x=np.zeros(3), s=planted.s, y=planted.y),
            Solution(Termination.CONVERGED),
            Solution(Termination.INFEASIBLE, x=planted.x * np.nan, s=planted.s, y=planted.y),
        ):
            found = conic.solve(program, Settings(), warm_start=misfit)
            assert found.termination is Termination.CONVERGED
            assert "warm_start" in found.ignored


def _larger(supported: frozenset[type]) -> tuple[Cone, ...]:
    """Enough of everything that a backend reads to keep a thread busy for a moment."""
    return readable(MIXED, supported) * 12
