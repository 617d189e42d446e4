"""Carrying out a study: on this machine in processes that are watched over, or on the workers of a dask scheduler."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from cvxrobust.bench.harness.run.process import THREAD_VARIABLES
from cvxrobust.bench.reproduce.fits import FAILED, LATE, Fit, StudyTerms, carry_out
from cvxrobust.bench.reproduce.selection import Cell
from cvxrobust.bench.studies.common import Apart, Row
from cvxrobust.core.errors import InputError
from cvxrobust.core.extras import require

GRACE = 120.0
"""Seconds after the time limit of a fit, for judging it, at which its process is ended."""

CONNECT_SECONDS = 30

Work = Callable[[Fit, StudyTerms, str | None], Row]


@dataclass(frozen=True)
class Hands:
    """Who does the work.

    Args:
        executor: Takes calls.
        slots: Calls to hand out at a time.
        work: What is called.
    """

    executor: Executor
    slots: int
    work: Work


def carry_out_all(
    cells: Sequence[Cell], terms: StudyTerms, folder: str | None, hands: Hands, ended: Callable[[Row, int], None]
) -> None:
    """Do what is left of a study, one cell after the other as far as there is enough to do.

    Args:
        cells: The study; rows are put into them.
        terms: The terms.
        folder: Where data sets lie.
        hands: Who does it.
        ended: Hears of every row, before anything else is handed out, and of how many cells are not complete.
    """
    running: dict[Future[Row], tuple[Cell, Fit]] = {}
    waiting = list(cells)
    try:
        while True:
            waiting = _unfinished(waiting, {id(cell) for cell, _ in running.values()})
            for cell, fit in _next(waiting, {fit.key for _, fit in running.values()}, hands.slots - len(running)):
                running[hands.executor.submit(hands.work, fit, terms, folder)] = (cell, fit)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell, fit = running.pop(future)
                row = _row_of(future, fit)
                cell.rows[fit.place, fit.fold] = row
                ended(row, len(waiting))
    finally:
        for future in running:
            future.cancel()


def _row_of(future: Future[Row], fit: Fit) -> Row:
    try:
        return future.result()
    except Exception as error:  # a machine of a cluster was lost, again and again
        return fit.to_row() | {"failure": FAILED, "reason": f"nobody answered: {type(error).__name__}: {error}"[:300]}


def _unfinished(cells: Sequence[Cell], busy: set[int]) -> list[Cell]:
    """Without those at the front that are complete."""
    done = 0
    while done < len(cells) and id(cells[done]) not in busy and cells[done].complete:
        done += 1
    return list(cells[done:])


def _next(cells: Sequence[Cell], busy: set[Any], count: int) -> list[tuple[Cell, Fit]]:
    found: list[tuple[Cell, Fit]] = []
    for cell in cells:
        if len(found) >= count:
            break
        found += [(cell, fit) for fit in cell.left() if fit.key not in busy]
    return found[: max(count, 0)]


def prepare(threads: int) -> None:
    """Limit the threads of the numerical libraries of this process: those that are loaded, and those that will be.

    Ctrl-C is left to who started it, and ends it.
    """
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    threadpool_limits(threads)


@contextmanager
def hands_here(jobs: int, terms: StudyTerms) -> Iterator[Hands]:
    """Processes of this machine, each ended and replaced when a fit ignores its time.

    Args:
        jobs: How many.
        terms: Their threads and their time.
    """
    own, started = threading.local(), list[Apart]()
    limit = terms.training.time_limit + GRACE

    def work(fit: Fit, terms: StudyTerms, folder: str | None) -> Row:
        if not hasattr(own, "apart"):
            own.apart = Apart(carry_out, partial(prepare, terms.threads))
            started.append(own.apart)
        try:
            row: Row = own.apart.ask(limit, fit, terms, folder)
        except OSError as error:
            return fit.to_row() | {"failure": LATE, "reason": str(error)}
        return row

    with ThreadPoolExecutor(jobs) as executor:
        try:
            yield Hands(executor, jobs, work)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            for apart in started:
                apart.__exit__()


@contextmanager
def hands_of_dask(address: str) -> Iterator[Hands]:
    """The workers of a scheduler of ``dask.distributed``; a fit that ignores its time is not ended there.

    They keep the threads that they were started with (``OMP_NUM_THREADS=1 dask worker ADDRESS``).

    Args:
        address: Of the scheduler.

    Raises:
        InputError: Nobody answers there, or there are no workers.
        MissingExtraError: ``distributed`` is not installed.
    """
    require("distributed", "dask", "workers on other machines")
    from distributed import Client

    try:
        client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"no dask scheduler answers at {address}: {error}; give HOST:PORT.") from error
    with client:
        slots = sum(client.nthreads().values())
        if not slots:
            raise InputError("the dask scheduler has no workers; start some with `dask worker ADDRESS`.")
        # Twice as many as run, so that no worker waits for the next one.
        yield Hands(client.get_executor(pure=False), 2 * slots, carry_out)
