"""Processes that share one solve: how a test starts them, and what each does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from cvxrobust import AdversarialSDP, Batches, Settings, StreamedSDP, solve


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
        return StreamedSDP(Batches([(X[i : i + 17], y[i : i + 17]) for i in starts]), radius=radius)
    scale = np.array([1.0, 0.0, 0.5, 2.0, 0.0, 1.0]) if kind == "ellipsoid" else None
    return AdversarialSDP(X, y, radius=radius, scale=scale)


def answer(kind, stop_first=False, time_limit=None, **options):
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    heard = []

    def callback(*point):
        heard.append(point)
        # Only one process hears of the interruption; all must stop.
        if stop_first and rank == 0 and len(heard) == 2:
            signal.raise_signal(signal.SIGINT)

    settings = Settings(tolerance=1e-9 if stop_first else 1e-4, threads=1, options=options, time_limit=time_limit)
    result = solve(problem_of(kind), "torch", settings=settings, callback=callback)
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
    for process in running:
        _, complaints = process.communicate(timeout=300)
        assert process.returncode == 0, complaints
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
