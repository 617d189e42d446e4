"""What a benchmark is to run."""
