"""Conformance suites for backends and problem families, ours and everybody's, as pytest classes to subclass.

    from cvxrobust.core.testing import BackendContract

    class TestMine(BackendContract):
        backend = "mine"

or called, where there is no test module: ``check_backend("mine")``.

Needs pytest (``pip install "cvxrobust[testing]"``). Nothing else in the package imports this.
"""

from cvxrobust.core.extras import require

require("pytest", "testing", "contracts")

import pytest  # noqa: E402 - after the line above

CHECKED = (
    "checks",
    "conic_contract",
    "structured_contract",
    "settings_contract",
    "backend_contract",
    "problem_contract",
)
"""Modules whose plain assertions are to say what they compared."""

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in CHECKED))

from cvxrobust.core.testing.backend_contract import BackendContract  # noqa: E402 - after the line above
from cvxrobust.core.testing.checking import (  # noqa: E402
    ContractError,
    ContractReport,
    check_backend,
    check_problem,
)
from cvxrobust.core.testing.hard import KINDS_OF_HARD, HardProgram, hard_program  # noqa: E402
from cvxrobust.core.testing.planted import (  # noqa: E402
    KINDS,
    LINEAR,
    MIXED,
    infeasible_program,
    planted_program,
    unbounded_program,
)
from cvxrobust.core.testing.problem_contract import ProblemContract  # noqa: E402

__all__ = [
    "KINDS",
    "KINDS_OF_HARD",
    "LINEAR",
    "MIXED",
    "BackendContract",
    "ContractError",
    "ContractReport",
    "HardProgram",
    "ProblemContract",
    "check_backend",
    "check_problem",
    "hard_program",
    "infeasible_program",
    "planted_program",
    "unbounded_program",
]
