"""Programmes of gated ReLU networks, what their points are worth and what multipliers prove."""
