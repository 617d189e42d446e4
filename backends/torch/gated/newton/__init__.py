"""Small programmes: a path of smoothings, followed by truncated Newton steps."""
