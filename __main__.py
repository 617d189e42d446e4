"""``python -m cvxrobust`` is the command line."""

from cvxrobust.bench.cli import main

if __name__ == "__main__":
    main()
