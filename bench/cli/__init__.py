"""The command line."""

from cvxrobust.bench.cli.entry import app, main

__all__ = ["app", "main"]
