"""Programmes whose loss sees all classes of a sample at once, of polynomial networks, with their certificates."""
