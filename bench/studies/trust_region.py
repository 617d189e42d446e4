"""Trust-region subproblems per second, on NumPy and on torch.

python -m cvxrobust.bench.studies.trust_region [--points 10000] [--features 30] [--device cpu]
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from cvxrobust.bench.studies.common import study_parser, timed


def seconds(arrays: Sequence[Any], repeats: int) -> list[float]:
    """Wall-clock seconds of `minimize_in_ball` of (P, g, radius), `repeats` times after one warm-up."""
    from cvxrobust.core.attacks.trust_region import minimize_in_ball

    # Reading a value back waits for the device to finish.
    return [timed(lambda: float(minimize_in_ball(*arrays).dual[0]))[0] for _ in range(repeats + 1)][1:]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the median of five runs for each kind of array."""
    given = study_parser(__doc__, points=10_000, features=30, device="cpu").parse_args(arguments)
    import torch

    rng = np.random.default_rng(0)
    P = rng.standard_normal((given.features, given.features))
    arrays = P + P.T, rng.standard_normal((given.points, given.features)), np.full(given.points, 0.3)
    tensors = [torch.tensor(array, device=given.device) for array in arrays]
    print(f"{given.points} points, d = {given.features}")
    print(f"numpy         median {median(seconds(arrays, 5)):.4f} s")
    print(f"torch {given.device:7s} median {median(seconds(tensors, 5)):.4f} s")


if __name__ == "__main__":
    main()
