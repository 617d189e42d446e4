"""Programmes of polynomial networks, what their points are worth and what multipliers prove."""
