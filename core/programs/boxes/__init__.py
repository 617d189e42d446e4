"""Programmes of polynomial networks against attacks in boxes: what their points are worth, what multipliers prove."""
