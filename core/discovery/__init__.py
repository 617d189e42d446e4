"""Finding backends, problem families and metrics: hooks, loader, registry."""
