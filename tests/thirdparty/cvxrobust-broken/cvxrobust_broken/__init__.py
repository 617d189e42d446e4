"""Four ways to get a plugin wrong."""
