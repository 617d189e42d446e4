"""Trust-region subproblems per second, on NumPy and on torch.

python -m cvxrobust.bench.studies.trust_region [--points 10000] [--features 30] [--device cpu]
"""

import argparse
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np


def seconds(arrays: Sequence[Any], repeats: int) -> list[float]:
    """Wall-clock seconds of `minimize_in_ball` of (P, g, radius), `repeats` times after one warm-up."""
    from cvxrobust.core.attacks.trust_region import minimize_in_ball

    found = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        # Reading a value back waits for the device to finish.
        float(minimize_in_ball(*arrays).dual[0])
        found.append(time.perf_counter() - start)
    return found[1:]


def main() -> None:
    """Print the median of five runs for each kind of array."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    P = rng.standard_normal((given.features, given.features))
    arrays = P + P.T, rng.standard_normal((given.points, given.features)), np.full(given.points, 0.3)
    tensors = [torch.tensor(array, device=given.device) for array in arrays]
    print(f"{given.points} points, d = {given.features}")
    print(f"numpy         median {median(seconds(arrays, 5)):.4f} s")
    print(f"torch {given.device:7s} median {median(seconds(tensors, 5)):.4f} s")


if __name__ == "__main__":
    main()
