"""The command line."""

from cvxrobust.bench.cli.app import main

__all__ = ["main"]
