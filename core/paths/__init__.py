"""Families of problems over beta and the radius, solved point by point, each with a certificate of its own."""
