"""Gated ReLU programmes: one front, three methods, one record of the best."""
