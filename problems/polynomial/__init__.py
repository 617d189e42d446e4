"""Polynomial activation: standard, adversarial and streamed training as semidefinite programmes."""
