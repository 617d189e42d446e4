"""Conic programmes in standard form: the general tongue between problems and backends."""
