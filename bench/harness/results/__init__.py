"""What became of its cases, kept so that nothing is lost."""
