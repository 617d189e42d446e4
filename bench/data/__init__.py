"""Data sets: by name, from files, drawn at random."""
