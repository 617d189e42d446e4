"""These packages have tests of their own, which run where the packages are installed (see `test_thirdparty.py`)."""

collect_ignore_glob = ["*"]
