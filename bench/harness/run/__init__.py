"""Running it: processes, limits, machines."""
