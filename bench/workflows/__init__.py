"""What the command line does: train, evaluate, export and import."""
