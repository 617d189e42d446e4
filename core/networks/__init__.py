"""Two-layer networks: what `solve` hands back."""
