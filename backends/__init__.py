"""One file per solver, each of which anybody could have written: they register through entry points only.

The public face exports a function `backends()`. This sub-package has the same name, and Python binds a
sub-package to its parent on import, so importing any backend would hide the function. The module therefore
answers to both uses: ``cvxrobust.backends()`` lists the backends, ``cvxrobust.backends.scs`` is a module.
"""

import sys
from collections.abc import Mapping
from types import ModuleType

from cvxrobust.core import Backend
from cvxrobust.core import backends as _registered


class _CallablePackage(ModuleType):
    def __call__(self) -> Mapping[str, Backend]:
        """The backends by name; see `cvxrobust.core.discovery.registry.backends`."""
        return _registered()


sys.modules[__name__].__class__ = _CallablePackage
