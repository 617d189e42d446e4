"""Processes that share one solve: how a test starts them, and what each does."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import distributed

from cvxrobust import AdversarialSDP, Batches, Settings, StreamedSDP, solve
from cvxrobust.backends.torch.stopping import Stops

LOOKS = 60
"""Looks whether to stop after which a solve has to: its network is far from the first and from the best."""


def problem_of(kind):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((61, 6))
    score = X[:, :3] @ rng.standard_normal((3, 3)) + 0.3 * rng.standard_normal((61, 3))
    radius = np.linspace(0.0, 0.4, 61)
    if kind == "classes":
        return AdversarialSDP(X, score.argmax(axis=1), radius=radius)
    y = np.where(score[:, 0] > 0.0, 1.0, -1.0)
    if kind == "streamed":
        starts = range(0, 61, 17)
        batches = Batches([(X[i : i + 17], y[i : i + 17]) for i in starts])
        return StreamedSDP(batches, radius=radius, sample_weight=np.arange(61) % 3)
    scale = np.array([1.0, 0.0, 0.5, 2.0, 0.0, 1.0]) if kind == "ellipsoid" else None
    return AdversarialSDP(X, y, radius=radius, scale=scale)


@contextmanager
def ended(stop, late):
    """Ctrl-C, or the end of the time, in the midst of a solve. Only one process hears of it; all must stop."""
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    agree, looks = Stops.agree, iter(range(1, 10**9))

    def looked(stops):
        if next(looks) == LOOKS and rank == 0:
            if stop:
                signal.raise_signal(signal.SIGINT)
            if late:
                stops.monitor.deadline = time.perf_counter()
        agree(stops)

    with mock.patch.object(Stops, "agree", looked):
        yield


def answer(kind, stop_first=False, late=False, **options):
    tolerance, limit = 1e-9 if stop_first or late else 1e-4, 300.0 if late else None
    settings = Settings(tolerance=tolerance, threads=1, options=options, time_limit=limit)
    with ended(stop_first, late):
        result = solve(problem_of(kind), "torch", settings=settings)
    return {
        "upper": result.certificate.upper, "lower": result.certificate.lower, "u": result.network.u.tolist(),
        "alpha": result.network.alpha.tolist(), "termination": str(result.termination),
        "iterations": result.iterations, "applied": dict(result.applied),
    }  # fmt: skip


def together(folder, jobs, size):
    """What each process of a team found, per job."""
    outs = [folder / f"{rank}.json" for rank in range(size)]
    running = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(size), folder / "meeting", json.dumps(list(jobs.values())), out],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    try:
        for process in running:
            _, complaints = process.communicate(timeout=300)
            assert process.returncode == 0, complaints
    finally:
        for process in running:
            process.kill()  # where one has failed, others wait for it
            process.communicate()
    found = [json.loads(out.read_text()) for out in outs]
    return {name: [one[k] for one in found] for k, name in enumerate(jobs)}


def main():
    rank, size, meeting, jobs, out = sys.argv[1:]
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=int(rank), world_size=int(size))
    found = [answer(kind, **options) for kind, options in json.loads(jobs)]
    distributed.destroy_process_group()
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main()
