"""What was here is in `cvxrobust.core.pictures`; these names go on."""
