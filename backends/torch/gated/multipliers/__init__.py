"""Large programmes without cones: the method of multipliers."""
