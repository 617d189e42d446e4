"""What `Settings(verbose=True)` says while a solve runs: a line per report, wherever the work is done."""
