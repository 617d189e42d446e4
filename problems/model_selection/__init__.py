"""Estimators that choose their own hyperparameters: by what is proved of rows that they were not trained on."""

from cvxrobust.problems.model_selection.classifiers import PolynomialClassifierCV, ReLUClassifierCV
from cvxrobust.problems.model_selection.regressors import PolynomialRegressorCV, ReLURegressorCV
from cvxrobust.problems.model_selection.surface import ScoreSurface

__all__ = ["PolynomialClassifierCV", "PolynomialRegressorCV", "ReLUClassifierCV", "ReLURegressorCV", "ScoreSurface"]
