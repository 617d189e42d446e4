"""What callers may write, and what they then get: norms in words and numbers, the gate that makes constants."""

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, ConvexReLU, Settings, UnknownNameError, solve

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((30, 4)), np.where(RNG.random(30) < 0.9, 1.0, -1.0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2", 2), (2.0, 2), (np.int64(2), 2), ("1", 1), (1.0, 1), ("inf", "inf"), (np.inf, "inf"),
        (float("inf"), "inf"), ("Inf", "inf"), (np.float32("inf"), "inf"),
    ],
    ids=repr,
)  # fmt: skip
def test_norms_mean_what_they_say(written, meant):
    assert AdversarialReLU(X, Y, radius=0.1, norm=written, n_gates=3).norm == meant


@pytest.mark.parametrize("written", ["3", 3, -np.inf, np.nan, True, None, "l2", ""], ids=repr)
def test_other_norms_are_refused(written):
    with pytest.raises(UnknownNameError, match="unknown norm"):
        AdversarialReLU(X, Y, radius=0.1, norm=written, n_gates=3)


@pytest.mark.parametrize(
    "choice", [{}, {"radius": 0.05}, {"radius": 0.05, "resample": True, "formulation": "cone"}], ids=repr
)
def test_with_a_bias_the_gate_that_is_open_for_every_sample_is_among_the_sampled(choice):
    family = AdversarialReLU if choice else ConvexReLU
    for seed in range(3):
        problem = family(X, Y, n_gates=5, seed=seed, bias=True, **choice)
        assert problem.gate_set.patterns.all(axis=0).sum() == 1
        assert ((problem.inputs @ problem.gate_set.vectors >= 0.0) == problem.gate_set.patterns).all()
        others = family(X, Y, n_gates=1, seed=seed, bias=True, **choice)
        assert others.gate_set.patterns.all(axis=0).any()
    # Without a bias nobody needs it.
    assert not family(X, Y, n_gates=5, **choice).gate_set.patterns.all(axis=0).any()


def test_with_a_bias_no_optimum_is_worse_than_a_constant():
    constant = min(np.maximum(1.0 - Y * c, 0.0).mean() + 0.3 * abs(c) for c in np.linspace(-1.0, 1.0, 201))
    for seed in range(3):
        problem = ConvexReLU(X, Y, beta=0.3, n_gates=2, seed=seed, bias=True)
        result = solve(problem, settings=Settings(threads=1))
        assert result.certificate.upper <= constant * (1.0 + 1e-6)
