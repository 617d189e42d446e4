"""The command line, the data and the experiments; everything here goes through the package's public face."""
