"""Running a suite on this machine: what is left to do, in which order, and by how many processes at a time."""

import queue
import random
import threading
from collections.abc import Collection, Iterable, Sequence

from cvxrobust.bench.harness.results.rows import Failure, Row
from cvxrobust.bench.harness.results.store import Store
from cvxrobust.bench.harness.run.process import Cancelled, RunLimits
from cvxrobust.bench.harness.run.progress import Listener
from cvxrobust.bench.harness.run.worker_pool import WorkerPool
from cvxrobust.bench.harness.suite.cases import Case
from cvxrobust.bench.harness.suite.suite import Suite
from cvxrobust.core.errors import UnknownNameError

HEARTBEAT = 0.2
"""Seconds between two looks at whether somebody pressed Ctrl-C."""

Task = tuple[str, Case]
"""A case with its key."""


def plan(suite: Suite, folder: str | None = None) -> list[Task]:
    """Every case with its key, shuffled by the suite's seed.

    So no backend has the machine to itself while it is cool, or quiet, or warm: what drifts hits all alike.

    Args:
        suite: The suite.
        folder: Where data sets lie; None takes the environment variable ``CVXROBUST_DATA``.

    Raises:
        InputError: Data is missing, or the suite is not what it should be.
    """
    cases = suite.cases()
    random.Random(suite.seed).shuffle(cases)
    return [(case.key(folder), case) for case in cases]


def unfinished(planned: Iterable[Task], rows: Iterable[Row], retry: Collection[Failure] = ()) -> list[Task]:
    """What is left to do, in order.

    Args:
        planned: Everything.
        rows: What there is already.
        retry: Failures that are tried again.
    """
    finished = {row.key for row in rows if row.failure is Failure.NONE or row.failure not in retry}
    return [(key, case) for key, case in planned if key not in finished]


def parse_failures(text: str) -> frozenset[Failure]:
    """Failures from their names, separated by commas; hyphens stand for spaces.

    Raises:
        UnknownNameError: There is no such failure.
    """
    known = {str(failure).replace(" ", "-"): failure for failure in Failure if failure}
    names = [name.strip().replace(" ", "-") for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UnknownNameError("failure", name, known)
    return frozenset(known[name] for name in names)


def run_here(tasks: Sequence[Task], terms: RunLimits, jobs: int, store: Store, listener: Listener) -> None:
    """Run cases in worker processes of this machine, and append their rows as they come.

    Whatever ends it, Ctrl-C included, every row that was finished is in the store afterwards, and no process is left.

    Args:
        tasks: What to run, in this order.
        terms: The terms.
        jobs: Cases at a time.
        store: Where rows go.
        listener: Hears of every case that begins and of every row.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C.
        InputError: A row cannot be written.
    """
    run = _Run(tasks, terms, store, listener)
    # Not `Thread.join`: one that Ctrl-C interrupts takes the thread for dead (python/cpython#90882), whose row would
    # come after everything else.
    done = [threading.Event() for _ in range(min(jobs, len(tasks)))]
    slots = [threading.Thread(target=run.work, args=(one,)) for one in done]
    try:
        for slot in slots:
            slot.start()
        for one in done:
            while not one.wait(HEARTBEAT):
                pass
    finally:
        run.stop.set()
        for slot, one in zip(slots, done, strict=True):
            if slot.ident is not None:
                one.wait()
        run.pool.close()
    if run.error is not None:
        raise run.error


class _Run:
    """What the slots share."""

    def __init__(self, tasks: Sequence[Task], terms: RunLimits, store: Store, listener: Listener) -> None:
        self.waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for task in tasks:
            self.waiting.put(task)
        self.store, self.listener = store, listener
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.pool = WorkerPool(terms, self.stop)
        self.error: BaseException | None = None

    def work(self, done: threading.Event) -> None:
        """Take cases as long as there are any; keep each row before the next case is begun.

        Args:
            done: Is set at the end, whatever the end is.
        """
        try:
            while not self.stop.is_set():
                key, case = self.waiting.get_nowait()
                self.listener.began(case)
                row = self.pool.run(key, case)
                with self.lock:
                    self.store.append(row)
                    self.listener.ended(row)
        except (queue.Empty, Cancelled):
            return
        except BaseException as error:
            self.error = error
            self.stop.set()
        finally:
            done.set()
