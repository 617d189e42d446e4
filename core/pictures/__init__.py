"""What is drawn: gaps, paths, bands of robust accuracy, decision regions, surfaces of scores, by matplotlib."""
