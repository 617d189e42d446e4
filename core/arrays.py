"""What differs between arrays in a processor's memory and arrays on a device of their own."""

from typing import Any

from array_api_compat import device

Array = Any
"""A NumPy array or a torch tensor."""


def worth_a_look(step: int, array: Array) -> bool:
    """Whether a loop should read its results after this step, 0 being the first, to see if it is done.

    In a processor's memory always. On a device whoever reads waits until everything before it has been computed, and
    the device then waits for new work, so only after 1, 2, 4, 8, ... steps: at most twice as many as were needed.

    Args:
        step: Number of the step.
        array: One of the arrays that the loop works on.
    """
    where = device(array)
    return str(getattr(where, "type", where)) == "cpu" or (step & (step + 1)) == 0
