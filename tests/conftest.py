"""Puts the helpers in `support` within reach of all tests."""

import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

# Where a worker has one of the cores, threads of linear algebra would only wait for those of its neighbours.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Workers and some three hundred children import the package and the tests: compiled once is enough.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import numpy as np
import pytest

# Ten thousand tests and the packages that they import are all kept: nobody need look for garbage among them.
gc.disable()

# Packages of outsiders, which test themselves in an environment of their own.
collect_ignore = ["thirdparty"]

sys.path.insert(0, str(Path(__file__).parent / "support"))

# Shells start background jobs with Ctrl-C ignored, and then there would be nothing to test about it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests of devices also run where there is nothing but PyTorch and pytest (`make gpu`).
with suppress(ImportError):
    from hypothesis import settings

    # How long a test takes depends on what else the machine does; no test fails for that.
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    """Everything is collected."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def csv(tmp_path):
    """Thirty rows, two features, labels no and yes: solved in a moment."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2)) * [1.0, 10.0] + 3.0
    labels = np.where(X[:, 0] + 0.1 * X[:, 1] > 3.3, "yes", "no")
    rows = [f"{a!r},{b!r},{label}" for (a, b), label in zip(X.tolist(), labels, strict=True)]
    path = tmp_path / "small.csv"
    path.write_text("\n".join(["width,height,label", *rows]), encoding="utf-8")
    return path


@pytest.fixture
def run(capsys):
    """Run the command line in this process: exit code, stdout, stderr."""

    from cvxrobust.bench.cli import main

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return stopped.value.code, streams.out, streams.err

    return call
