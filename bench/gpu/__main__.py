"""Everything that we want to know of a GPU, in eight minutes.

    make gpu-inputs                 # beforehand, where there are data and a network: inputs made small
    make gpu OUT=FOLDER             # on the machine with the GPU: the PyTorch that is there, no network
    make gpu-rehearse OUT=FOLDER    # the same on the CPU at small sizes

Each part runs in a process of its own with a time of its own; a part that fails or runs over does not stop the next,
and its rows so far are kept. FOLDER then holds ``manifest.json``, ``rows.jsonl``, ``report.md`` and ``log.txt``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cvxrobust.bench.gpu.driver import Plan, run_all, run_part
from cvxrobust.bench.gpu.parts import NAMES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; 0 if every one of them ended, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for rows and report; must be new or empty")
    parser.add_argument("--inputs", type=Path, default=Path("gpu-inputs"), help="folder of `make gpu-inputs`")
    parser.add_argument("--device", default=None, help="a torch device; cuda by default, cpu for a rehearsal")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, on the CPU")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES, help="parts to run")
    parser.add_argument("--seconds", type=float, default=480.0, help="for everything together")
    parser.add_argument("--threads", type=int, default=None, help="threads of PyTorch; all but two cores by default")
    parser.add_argument("--part", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    device = asked.device or ("cpu" if asked.rehearse else "cuda")
    plan = Plan(asked.out, asked.inputs, device, asked.rehearse, asked.seconds, asked.threads)
    if asked.part:
        run_part(asked.part, plan, asked.budget, asked.began)
        return 0
    complaint = plan.complaint()
    if complaint:
        parser.error(complaint)
    return run_all(plan, asked.only)


if __name__ == "__main__":
    sys.exit(main())
