"""Data as callers bring it: checked, copied, or read in batches."""
