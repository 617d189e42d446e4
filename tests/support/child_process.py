"""Children of a test, which import the helpers here as the test does."""

import os
from pathlib import Path


def with_support(**variables):
    """The environment for a child process."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path} | variables
