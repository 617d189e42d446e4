"""Polynomial networks by L-BFGS on smoothed attacks, certified along the way."""
