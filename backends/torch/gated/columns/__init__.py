"""Large programmes with cones: directions inside the cones, found by projections."""
