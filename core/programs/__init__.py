"""The structured tongue: programmes that say what the mathematics says and no more."""
