"""Puts the helpers of this folder within reach of its tests."""

import signal
import sys
from pathlib import Path

from hypothesis import settings

# Packages of outsiders, which test themselves in an environment of their own.
collect_ignore = ["thirdparty"]

sys.path.insert(0, str(Path(__file__).parent))

# Shells start background jobs with Ctrl-C ignored, and then there would be nothing to test about it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long a test takes depends on what else the machine does; no test fails for that.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
