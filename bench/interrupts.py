"""Ctrl-C at the command line, from its first moment on: one line and one exit code, whatever is being imported.

Nothing of this imports more than the standard library: it has to stand before anything slow begins.
"""

EXIT_INTERRUPTED = 130
"""128 and the number of the signal, as shells have it."""

SAID = "interrupted before there was a result."


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C brought an exception about: libraries that are being imported may make an error of their own."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False
