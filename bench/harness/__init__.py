"""The benchmark harness: suites, worker processes, rows that nothing loses, and reports that trust no solver."""
