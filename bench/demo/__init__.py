"""Experiments that a command reproduces, one file each."""
