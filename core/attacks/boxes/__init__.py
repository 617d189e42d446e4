"""Margins of polynomial networks in boxes: bounds, attacks, exact worst cases."""
