"""The problems as scikit-learn estimators."""

from cvxrobust.problems.sklearn_estimators.classifiers import PolynomialClassifier, ReLUClassifier

__all__ = ["PolynomialClassifier", "ReLUClassifier"]
