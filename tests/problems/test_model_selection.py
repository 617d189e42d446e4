"""Classifiers that choose their own hyperparameters."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from cvxrobust import PolynomialClassifierCV, ReLUClassifierCV

SMALL = {"betas": (0.1,), "cv": 2, "tolerance": 1e-1, "search_tolerance": 1e-1}


@parametrize_with_checks(
    [
        PolynomialClassifierCV(**SMALL),
        ReLUClassifierCV(threat_radius=0.01, radius_factors=(1.0,), gates=(3,), formulation="gated", **SMALL),
    ]
)
def test_it_keeps_the_conventions(estimator, check):
    check(estimator)
