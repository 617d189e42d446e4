"""Running a suite on many machines, through a scheduler of ``dask.distributed``.

Every case is a task. A dask worker runs it as this machine would: in a process of its own that it watches over, and
keeps for the next case of the same backend. Rows are written here, as they come.
"""

import atexit
import threading
import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

from cvxrobust.bench.harness.results.rows import Failure, Row, failed_row
from cvxrobust.bench.harness.results.store import Store
from cvxrobust.bench.harness.run.process import RunLimits
from cvxrobust.bench.harness.run.progress import Listener
from cvxrobust.bench.harness.run.runner import Task
from cvxrobust.bench.harness.run.worker_pool import WorkerPool
from cvxrobust.bench.harness.suite.cases import Case
from cvxrobust.core.errors import InputError
from cvxrobust.core.extras import require

CONNECT_SECONDS = 30

_lock = threading.Lock()


class Cluster:
    """A connection to a scheduler.

    Args:
        address: Its address, such as ``tcp://10.0.0.1:8786``.

    Raises:
        InputError: Nobody answers there.
        MissingExtraError: ``distributed`` is not installed.
    """

    def __init__(self, address: str) -> None:
        require("distributed", "dask", "workers on other machines")
        from distributed import Client

        try:
            self._client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"no dask scheduler answers at {address}: {error}; give HOST:PORT.") from error

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def slots(self) -> int:
        """Cases that run at a time: the threads of all dask workers."""
        return sum(self._client.nthreads().values())

    def machines(self) -> dict[str, Any]:
        """What every dask worker runs on, by its address.

        Raises:
            InputError: There are no workers, or this package is missing there.
        """
        if not self._client.nthreads():
            raise InputError("the dask scheduler has no workers; start some with `dask worker ADDRESS`.")
        try:
            found: dict[str, Any] = self._client.run(_facts)
        except ImportError as error:
            raise InputError(f"the dask workers lack a package that cases need: {error}.") from error
        return found

    def run(self, tasks: Sequence[Task], terms: RunLimits, store: Store, listener: Listener) -> None:
        """Run cases, and append their rows as they come.

        On Ctrl-C, what has not begun is withdrawn; what runs ends with its own time limit, and its row is lost.

        Args:
            tasks: What to run, in this order as far as the machines allow.
            terms: The terms. Without a folder, every machine looks for data sets in its own.
            store: Where rows go.
            listener: Hears of every row.

        Raises:
            KeyboardInterrupt: Somebody pressed Ctrl-C.
            InputError: A row cannot be written.
        """
        from distributed import as_completed

        run = uuid.uuid4().hex[:8]
        futures = {
            self._client.submit(_work, key, case, terms, key=f"case-{run}-{key}", pure=False, priority=-place): (
                key,
                case,
            )
            for place, (key, case) in enumerate(tasks)
        }
        try:
            for future in as_completed(list(futures), loop=self._client.loop):
                row = _row_of(future, *futures[future])
                store.append(row)
                listener.ended(row)
        finally:
            self._client.cancel([future for future in futures if not future.done()])


def _row_of(future: Any, key: str, case: Case) -> Row:
    try:
        row = future.result()
    except Exception as error:  # the machine was lost, again and again
        reason = f"its dask worker was lost: {type(error).__name__}: {error}"
        return failed_row(key, case, Failure.CRASHED, reason).without_secrets(case)
    return row if isinstance(row, Row) else failed_row(key, case, Failure.ERROR, f"dask returned {row!r}")


def _work(key: str, case: Case, terms: RunLimits) -> Row:
    """Run one case; what a dask worker does."""
    with _lock:
        pool = _pool(terms)
    return pool.run(key, case)


@cache
def _pool(terms: RunLimits) -> WorkerPool:
    """This dask worker's processes, kept from case to case."""
    pool = WorkerPool(terms)
    atexit.register(pool.close)
    return pool


def _facts() -> dict[str, Any]:
    from cvxrobust.bench.harness.run.machine import machine, versions

    return machine() | {"versions": versions()}
