"""What backends need on the way to a solver: settings in its words, threads, Ctrl-C."""
