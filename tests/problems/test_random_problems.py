"""Small problems, degenerate ones included: bounds are true, methods agree, certificates are tight."""

from dataclasses import replace

import pytest
from random_problems import covering, random_case

from cvxrobust import AdversarialSDP, Settings, StandardSDP, solve

SETTINGS = Settings(tolerance=1e-6, time_limit=60)
FEW = SETTINGS.replace(max_iterations=60)
"""For data in units that no solver is at ease with: bounds must be true, and need not be tight."""


# The others of the first three hundred are other random numbers of kinds that meet in these.
@pytest.mark.parametrize("number", covering(300))
def test_bounds_hold_and_methods_agree(number):
    case = random_case(number)
    settings = SETTINGS if case.well_scaled else FEW
    direct = solve(case.problem, backend="clarabel", method="direct", settings=settings)
    cutting = solve(case.problem, backend="clarabel", method="cutting-set", settings=settings)
    lower = max(direct.certificate.lower, cutting.certificate.lower)
    upper = min(direct.certificate.upper, cutting.certificate.upper)
    assert lower <= upper * (1 + 1e-12), case
    for result in (direct, cutting):
        # The network handed back attains the upper bound, by the definition of the objective.
        assert case.problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12), case
    if case.well_scaled:
        assert upper - lower <= 1e-5 * upper, case
        assert cutting.certificate.relative_gap <= 1e-5, case
        # Clarabel's exponential cones stall a little earlier (1.3e-5 was seen once).
        assert direct.certificate.relative_gap <= (3e-5 if case.problem.loss == "logistic" else 1e-5), case
        value = direct.solution.x @ case.problem.to_conic().q
        assert direct.certificate.upper == pytest.approx(value, rel=1e-4, abs=1e-7), case


@pytest.mark.parametrize("number", [n for n in range(60) if random_case(n).well_scaled and n % 4 != 3])
def test_radius_zero_is_the_standard_problem(number):
    robust = replace(random_case(number).problem, radius=0.0)
    standard = StandardSDP(robust.X, robust.y, beta=robust.beta, loss=robust.loss, activation=robust.activation)
    assert isinstance(robust, AdversarialSDP)
    found = [solve(problem, backend="clarabel", settings=SETTINGS).certificate for problem in (robust, standard)]
    assert found[0].upper == pytest.approx(found[1].upper, rel=1e-5)
    assert max(bounds.lower for bounds in found) <= min(bounds.upper for bounds in found)


@pytest.mark.parametrize("number", [n for n in range(40) if random_case(n).well_scaled and n % 4 != 3])
def test_a_larger_radius_never_lowers_the_optimum(number):
    problem = random_case(number).problem
    smaller = solve(replace(problem, radius=0.1), backend="clarabel", settings=SETTINGS).certificate
    larger = solve(replace(problem, radius=0.7), backend="clarabel", settings=SETTINGS).certificate
    assert smaller.lower <= larger.upper * (1 + 1e-12)
    assert larger.upper >= smaller.upper * (1 - 1e-5)
