"""Several classes at once under one loss: Crammer and Singer's, or another of the smallest margin, under l2 attacks."""
