"""Training of polynomial networks against boxes: matrix inequalities with a multiplier for every input."""
