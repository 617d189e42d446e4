"""Training of polynomial networks against attacks in boxes."""
