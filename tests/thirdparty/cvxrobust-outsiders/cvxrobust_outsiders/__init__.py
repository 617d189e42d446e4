"""An outside package for cvxrobust: two solvers, a problem family and a metric."""
