"""What an installed package does, seen from outside: `python .ci/smoke.py brief|lean|all CHECKOUT`, by its own Python.

Nothing here imports from the checkout, which is given to be told apart from what is installed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

LONGEST = 600
"""Seconds that no command needs; one that does is stuck."""

TABLE = "width,height,label\n" + "".join(f"{k % 7},{k % 5},{'yes' if k % 7 > 2 else 'no'}\n" for k in range(40))
TRAIN = "solve --data table.csv --radius 0.1 --save net.npz --tolerance 1e-4 --quiet"
DAILY = (
    "--version",
    "--help",
    TRAIN + " --backend clarabel",
    TRAIN + " --backend ipm",
    TRAIN + " --backend torch",
    TRAIN + " --backend scs",
    TRAIN + " --backend cvxpy",
    "predict net.npz --data table.csv --out predictions.csv",
    "evaluate net.npz --data table.csv --radius 0.1 --rows rows.csv",
    "path --data table.csv --betas 0.01,0.1 --radii 0.1 --tolerance 1e-3 --out path --quiet",
    "tune --data table.csv --threat-radius 0.1 --save tuned.npz --quiet",
    "export programme.cbf --data table.csv --radius 0.1",
    "backends list",
    "backends doctor",
)
"""What needs no extra."""

BRIEF = ("--version", TRAIN + " --backend clarabel", "predict net.npz --data table.csv --out predictions.csv")

EXTRA = {
    "evaluate net.npz --data table.csv --radius 0.1 0.2 --picture band.png": ("matplotlib", "plot"),
    "bench report run --out report": ("polars", "bench"),
}
"""What needs one: which package, of which extra."""

SUITE = """
name = "tiny"
tolerances = 1e-3

[[problems]]
family = "adversarial-sdp"
data = "blobs"
n = 12
d = 2
parameters = { radius = 0.1 }

[[backends]]
name = "clarabel"
"""
FIRST = """
import sys
import numpy as np
from cvxrobust import AdversarialSDP, solve

X = np.random.default_rng(0).normal(size=(40, 3))
result = solve(AdversarialSDP(X, np.sign(X[:, 0] + 0.1), radius=0.1, beta=0.05))
assert str(result.quality) == "certified", result
large = [name for name in ("torch", "cvxpy", "sklearn", "polars", "matplotlib") if name in sys.modules]
assert not large, f"a tiny problem imports {large}"
"""
FITTED = """
import numpy as np
from cvxrobust import PolynomialClassifier, ReLURegressor

X = np.random.default_rng(0).normal(size=(40, 3))
assert PolynomialClassifier(radius=0.1).fit(X, X[:, 0] > 0.1).score(X, X[:, 0] > 0.1) > 0.9
assert ReLURegressor().fit(X, X[:, 0]).score(X, X[:, 0]) > 0.9
"""


def run(command: list[str], folder: Path, expect: int = 0) -> str:
    """Run a command in a folder, check its exit code, and return what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LONGEST)
    said = done.stdout + done.stderr
    assert done.returncode == expect, f"{command} ended with {done.returncode}, not {expect}:\n{said}"
    return said


def cli(words: str, folder: Path, expect: int = 0) -> str:
    """Run `cvxrobust`, the command that pip installed."""
    print("cvxrobust", words, flush=True)
    return run([str(Path(sys.executable).parent / "cvxrobust"), *words.split()], folder, expect)


def check_place(checkout: Path) -> None:
    """What is imported is what was installed, types included."""
    import cvxrobust

    home = Path(cvxrobust.__file__).resolve().parent
    assert not home.is_relative_to(checkout), f"imported {home} from the checkout, not from what was installed"
    assert (home / "py.typed").is_file(), "py.typed is missing"
    print("cvxrobust", cvxrobust.__version__, "in", home, "on Python", sys.version.split()[0])


def main(extras: str, checkout: str) -> None:
    """Try everything that these extras promise, and that the others are asked for; briefly, whether it runs at all."""
    check_place(Path(checkout).resolve())
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "table.csv").write_text(TABLE, encoding="utf-8")
        (folder / "tiny.toml").write_text(SUITE, encoding="utf-8")
        for command in BRIEF if extras == "brief" else DAILY:
            cli(command, folder)
        if extras == "brief":
            return
        for code in (FIRST, FITTED):
            run([sys.executable, "-W", "error", "-c", code], folder)
        if extras == "all":
            cli("bench run tiny.toml --out run --quiet", folder)
        for command, (module, extra) in EXTRA.items():
            if extras == "all":
                cli(command, folder)
            else:
                said = f'need {module}, which is not installed: pip install "cvxrobust[{extra}]"'
                assert said in cli(command, folder, expect=2), said
        written = {file.name for file in folder.rglob("*")}
        for file in ("band.png", "report.html", "report.md", "surface.png"):
            assert (file in written) == (extras == "all"), f"{file} with {extras}: {sorted(written)}"


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    main(*sys.argv[1:])
    print("all of it works")
