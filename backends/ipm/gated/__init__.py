"""Gated ReLU programmes by a structured interior-point method."""
