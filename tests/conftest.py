"""Puts the helpers of this folder within reach of its tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import settings

# How long a test takes depends on what else the machine does; no test fails for that.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
