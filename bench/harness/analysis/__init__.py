"""What rows say together."""
