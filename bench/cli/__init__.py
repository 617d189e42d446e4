"""The command line.

What is imported here is next to nothing: whoever presses Ctrl-C in the first second gets one line, too.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cvxrobust.bench.interrupts import EXIT_INTERRUPTED, SAID, is_interrupt

if TYPE_CHECKING:
    from cvxrobust.bench.cli.entry import app

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; see `cvxrobust.bench.cli.entry.main`.

    Args:
        arguments: What follows the program's name; None takes ``sys.argv``.
    """
    try:
        from cvxrobust.bench.cli.entry import main as run

        run(arguments)
    except BaseException as error:
        if not is_interrupt(error) or isinstance(error, SystemExit):
            raise
        # Of the imports: what comes later says so itself.
        print(f"cvxrobust: error: {SAID}", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cvxrobust.bench.cli.entry import app

    return app
