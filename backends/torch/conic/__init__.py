"""Conic programmes by operator splitting."""
