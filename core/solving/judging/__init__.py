"""What answers are worth, by `core` alone: those at the end, and those that a running backend hands over."""
