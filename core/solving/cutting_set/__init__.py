"""Robust problems on any conic backend, by small masters and exact worst cases."""
