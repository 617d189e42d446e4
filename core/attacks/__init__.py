"""Worst cases inside a ball: exact ones, attacks that come close, and bounds."""
