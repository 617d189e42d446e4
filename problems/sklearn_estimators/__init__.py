"""The problems as scikit-learn estimators."""

from cvxrobust.problems.sklearn_estimators.answers import CertifiedLabels, OutputInterval
from cvxrobust.problems.sklearn_estimators.classifiers import PolynomialClassifier, ReLUClassifier
from cvxrobust.problems.sklearn_estimators.regressors import PolynomialRegressor, ReLURegressor

__all__ = [
    "CertifiedLabels",
    "OutputInterval",
    "PolynomialClassifier",
    "PolynomialRegressor",
    "ReLUClassifier",
    "ReLURegressor",
]
