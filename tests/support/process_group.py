"""Processes that share one solve: how a test starts them, and what each does."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import distributed

from cvxrobust import AdversarialSDP, Batches, Settings, StreamedSDP, solve
from cvxrobust.backends.torch.stopping import Stops
from cvxrobust.core import Monitor

LOOKS = 60
"""Looks whether to stop after which a solve has to: its network is far from the first and from the best."""


def problem_of(kind):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((61, 6))
    score = X[:, :3] @ rng.standard_normal((3, 3)) + 0.3 * rng.standard_normal((61, 3))
    radius = np.linspace(0.0, 0.4, 61)
    if kind == "classes":
        return AdversarialSDP(X, score.argmax(axis=1), radius=radius)
    if kind == "targets":
        return AdversarialSDP(X, score[:, 0], radius=radius, loss="huber:0.4", sample_weight=np.arange(61) % 3)
    y = np.where(score[:, 0] > 0.0, 1.0, -1.0)
    if kind == "streamed":
        starts = range(0, 61, 17)
        batches = Batches([(X[i : i + 17], y[i : i + 17]) for i in starts])
        return StreamedSDP(batches, radius=radius, sample_weight=np.arange(61) % 3)
    scale = np.array([1.0, 0.0, 0.5, 2.0, 0.0, 1.0]) if kind == "ellipsoid" else None
    return AdversarialSDP(X, y, radius=radius, scale=scale)


@contextmanager
def ended(stop, late, tardy):
    """Ctrl-C, or the end of the time, in or before a solve. Only one process hears of it; all must stop."""
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    if tardy and rank == 0:

        def over(monitor):
            monitor.deadline = time.perf_counter()
            return True

        with mock.patch.object(Monitor, "should_stop", property(over)):
            yield
        return
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


def answer(kind, stop_first=False, late=False, tardy=False, **options):
    tolerance, limit = 1e-9 if stop_first or late or tardy else 1e-4, 300.0 if late or tardy else None
    settings = Settings(tolerance=tolerance, threads=1, options=options, time_limit=limit)
    with ended(stop_first, late, tardy):
        result = solve(problem_of(kind), "torch", settings=settings)
    return {
        "upper": result.certificate.upper, "lower": result.certificate.lower, "u": result.network.u.tolist(),
        "alpha": result.network.alpha.tolist(), "termination": str(result.termination),
        "iterations": result.iterations, "applied": dict(result.applied),
    }  # fmt: skip


def together(folder, jobs, size):
    """What each process of a team found, per job."""
    given = [str(size), folder / "meeting", json.dumps(list(jobs.values())), folder]
    with subprocess.Popen([sys.executable, __file__, *given], stderr=subprocess.PIPE, text=True) as team:
        try:
            _, complaints = team.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            team.terminate()
            raise
    assert team.returncode == 0, complaints
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]
    return {name: [one[k] for one in found] for k, name in enumerate(jobs)}


def take_part(rank, size, meeting, jobs, folder):
    """What one process of a team does."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    found = [answer(kind, **options) for kind, options in json.loads(jobs)]
    distributed.destroy_process_group()
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


def main():
    """Start a team, where possible as forks of this process: to import PyTorch takes longer than most jobs."""
    size, given = int(sys.argv[1]), sys.argv[2:]
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    team = [context.Process(target=take_part, args=(rank, size, *given), daemon=True) for rank in range(size)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it took too long"))  # and daemons end with it
    for process in team:
        process.start()
    running = {process.sentinel: process for process in team}
    while running:
        for sentinel in connection.wait(list(running)):
            process = running.pop(sentinel)
            process.join()
            if process.exitcode != 0:
                sys.exit(f"a process ended with {process.exitcode}; others may wait for it")


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main()
