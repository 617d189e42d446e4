"""Polynomial networks by a structured interior-point method."""
