"""Networks of any family from their files."""

import os

from cvxrobust.core.networks.archive import NAMES, unpack
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork

FAMILIES = {family.kind: family for family in (PolynomialNetwork, ReLUNetwork)}
"""Those that ship, by their kind in files."""


def load(path: str | os.PathLike[str]) -> PolynomialNetwork | ReLUNetwork:
    """Read a network that was saved, of either family, every field checked.

    It takes inputs in the data's own units, whether it was trained on standardised data or not, and answers with the
    data's own labels. Nothing in a file is executed.

    Args:
        path: A file written by ``network.save`` or ``cvxrobust solve --save``.

    Raises:
        InputError: The file holds no network of a family known here; the message says what it is.
    """
    header, arrays = unpack(path, NAMES)
    return FAMILIES[header["kind"]].from_stored(path, header, arrays)
