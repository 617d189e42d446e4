"""What makes pages of what the repository holds: papers, docstrings, capabilities and the stored rows of studies."""
