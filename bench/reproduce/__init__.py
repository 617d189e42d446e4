"""The paper's experiments on tables again, by nested cross-validation, with baselines: `cvxrobust reproduce tables`."""
