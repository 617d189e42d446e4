"""Attacks of radius r and scale s are those of radius 1 and scale r s: no answer depends on which of them is given."""

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, AdversarialSDP, Quality, Settings, solve

UNITS = [1e-8, 1.0, 1e6]
RELU = {"n_gates": 8, "norm": "inf"}
WAYS = {
    "polynomial, ipm": (AdversarialSDP, {}, "ipm"),
    "polynomial, clarabel": (AdversarialSDP, {}, "clarabel"),
    "relu, ipm": (AdversarialReLU, RELU, "ipm"),
    "relu, clarabel": (AdversarialReLU, RELU, "clarabel"),
    "relu in l2, clarabel": (AdversarialReLU, RELU | {"norm": 2}, "clarabel"),
    "relu in l1, scs": (AdversarialReLU, RELU | {"norm": 1}, "scs"),
    "relu, targets": (AdversarialReLU, RELU | {"loss": "squared"}, "clarabel"),
    "relu, gated": (AdversarialReLU, RELU | {"formulation": "gated"}, "clarabel"),
    "relu, cone": (AdversarialReLU, RELU | {"formulation": "cone"}, "clarabel"),
}


@pytest.mark.parametrize("way", WAYS)
def test_units_of_radii_change_nothing(way):
    make, choices, backend = WAYS[way]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    y = np.where(X @ [1.0, 1.0, -0.5, 0.3] + 0.2 * rng.standard_normal(60) > 0.0, 1.0, -1.0)
    scale = np.array([0.0, 1.0, 2.0, 0.5])
    found = [
        solve(
            make(X, y, radius=0.1 * unit, scale=scale / unit, **choices), backend=backend,
            settings=Settings(tolerance=1e-4, max_iterations=5000 if backend == "scs" else None),
        )
        for unit in UNITS
    ]  # fmt: skip
    assert [one.quality for one in found] == [Quality.CERTIFIED] * len(UNITS)
    uppers = [one.certificate.upper for one in found]
    np.testing.assert_allclose(uppers, uppers[1], rtol=1e-4)
