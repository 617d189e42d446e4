"""Training against boxes by factors of relaxed attacks, for sizes beyond the interior-point method."""
