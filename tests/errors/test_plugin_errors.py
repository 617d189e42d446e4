"""Names that no backend has, and what is no plugin, are refused where they are given."""

import pytest
from wrong_inputs import Entry, review
from wrong_values import NO_FLAG, NO_TEXT, TEXT, Rude, called, generated

from cvxrobust import Settings, backends, plugins
from cvxrobust.core.discovery.hookspecs import BackendDescription, MetricDescription, hookimpl
from cvxrobust.core.discovery.registry import get_backend, register, reload


class Misspelt:
    """A plugin whose hook is called by another name."""

    @hookimpl
    def cvxrobust_backend(self):
        return []


class Unlisted:
    """A plugin whose hook yields what is no description."""

    def __init__(self, offered):
        self.offered = offered

    @hookimpl
    def cvxrobust_backends(self):
        return self.offered


def nothing():
    """Makes nothing."""


def backend_by_name(name):
    return backends()[name]


BROKEN = "is broken (it has no hook; mark a function"
NO_PLUGIN = (
    None,
    3,
    "x",
    b"x",
    1j,
    True,
    {},
    {1},
    (),
    [1],
    object(),
    object,
    print,
    generated(),
    Settings(),
    Rude(),
    range(3),
)
NO_NAME = (
    3,
    None,
    "",
    "clarable",
    "CLARABEL",
    "clarabel ",
    "cvxpy:FOO",
    (1,),
    [],
    {},
    {1},
    object,
    print,
    b"clarabel",
    1.5,
)
DESCRIBED = (
    (BackendDescription("", nothing), "the name '', expected text without a colon"),
    (BackendDescription("a:b", nothing), "the name 'a:b', expected text without a colon"),
    (BackendDescription("made", 3), "the factory of 'made' is 3, expected a function"),
    (BackendDescription("made", nothing, summary=3), "the summary of 'made' is 3, expected a text"),
    (BackendDescription("clarabel", nothing), "plugin 'clarabel'"),
    (MetricDescription("made", None), "the factory of 'made' is None, expected a function"),
)

ENTRIES = (
    Entry(
        "get_backend",
        get_backend,
        (
            ({"spec": None}, "backend is None"),
            ({"spec": 3}, "backend is 3"),
            ({"spec": ""}, "unknown backend ''"),
            ({"spec": "clarable"}, "unknown backend 'clarable'"),
            ({"spec": "cvxpy:"}, "'cvxpy:' names no variant after the colon"),
            ({"spec": "cvxpy:FOO"}, "unknown CVXPY solver 'FOO'"),
            ({"spec": "cvxpy:CLARABELL"}, "unknown CVXPY solver 'CLARABELL'"),
            ({"spec": "scs:x"}, "backend 'scs' has no variants, so 'scs:x' means"),
            ({"spec": "CLARABEL"}, "unknown backend 'CLARABEL'"),
            ({"spec": "mosek:x"}, "backend 'mosek' has no variants, so 'mosek:x'"),
            ({"spec": "ipm:"}, "backend 'ipm' has no variants, so 'ipm:' means"),
            ({"spec": "torch:cuda"}, "backend 'torch' has no variants, so 'torch:cuda'"),
            ({"spec": "auto"}, "unknown backend 'auto'"),
            ({"spec": (1,)}, "backend is (1,)"),
            ({"spec": []}, "backend is []"),
            ({"spec": {}}, "backend is {}"),
            ({"spec": "scs "}, "unknown backend 'scs '"),
            ({"spec": "cvxpy:FOO:BAR"}, "unknown CVXPY solver 'FOO:BAR'"),
            ({"spec": "net.npz"}, "unknown backend 'net.npz'"),
            ({"spec": Settings()}, "backend is a Settings"),
        ),
    ),
    Entry(
        "backends",
        backend_by_name,
        tuple(({"name": name}, "unknown backend ") for name in (*NO_NAME, *(value for value, _ in NO_TEXT))),
    ),
    Entry(
        "register",
        register,
        (
            *(({"plugin": plugin}, BROKEN) for plugin in NO_PLUGIN),
            *(({"plugin": plugin}, says) for plugin, says in DESCRIBED),
            ({"plugin": Misspelt()}, "unknown hook 'cvxrobust_backend'; did you mean 'cvxrobust_backends'?"),
            ({"plugin": Unlisted([3])}, "cvxrobust_backends yielded 3, expected a BackendDescription"),
            ({"plugin": BackendDescription}, BROKEN),
        ),
    ),
    Entry("plugins", plugins, called("examined", [*NO_FLAG, *TEXT])),
)


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    reload()


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_wrong_inputs_are_refused_in_our_own_words(entry):
    assert "\n".join(review(entry)) == ""
