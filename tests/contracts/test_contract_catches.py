"""Whether the contract earns its name: every statement of a cone translation is deleted in turn, and it must fail.

A deleted statement is one that a careless author might have forgotten. What the contract does not notice missing is
either superfluous or untested.
"""

import ast
import copy
import importlib
import inspect
import signal
import sys
from contextlib import contextmanager

import mosek_stand_in
import pytest

from cvxrobust.core.discovery.hookspecs import BackendDescription
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.testing import KINDS, MIXED, BackendContract

TRANSLATIONS = {
    "clarabel": ["backends.clarabel:CONES,_row_order,_read"],
    "scs": ["backends.scs:ORDER,_cone_sizes,_unsorted"],
    "cvxpy": ["backends.cvxpy:_constraint,_unpacking,_multipliers,_multiplier"],
    "mosek acc": ["backends.mosek.acc:DOMAINS,in_mosek_order,append_constraints,AffineConic"],
    "mosek bar": ["backends.mosek.bars:Dualised", "backends.mosek.acc:in_mosek_order,append_constraints"],
    "torch": ["backends.torch.conic.cones:layout_of,_kind,DualProjection,project_second_order,SemidefiniteBatch"],
}
EVERY_CONE = frozenset(type(cone) for cone in MIXED)
EMPTY = "a programme without rows, which tests/backends/mosek/test_facade.py looks at"
NOTHING_LEFT = "a solver that was stopped before it had an iterate, likewise"
HARMLESS = {
    "DualProjection: _steps: list[tuple[slice, Callable[[Tensor], Tensor]]] = field(init=False)": "a declaration",
    "layout_of: taken = int(owners[-1][-1]) + 1": "decides which rows are scaled alike: slower without, not wrong",
    "AffineConic: task.putcfix(self.program.offset)": "what MOSEK logs, see tests/backends/mosek/test_tasks.py",
    "Dualised: task.putcfix(-self.program.offset)": "likewise",
    "AffineConic: if not rows.size:\n    return": EMPTY,
    "AffineConic: return": EMPTY,
    "AffineConic: if outcome.accdoty is None:\n    return None": NOTHING_LEFT,
    "AffineConic: return None": NOTHING_LEFT,
    "Dualised: if outcome.xx is None or outcome.barx is None:\n    return None": NOTHING_LEFT,
    "Dualised: return None": NOTHING_LEFT,
}
"""Statements whose absence no answer here can show, each with the reason."""

ENOUGH = 5_000
"""Iterations that first-order methods need at most for any programme here, if nothing is wrong."""

PATIENCE = 10.0
"""Seconds after which a solver that no longer ends counts as caught."""


def deletions(tree, names):
    """Paths to everything that can be left out of the definitions called `names`: (description, deleting function)."""
    for top in tree.body:
        name = name_of(top)
        if name not in names:
            continue
        for node in ast.walk(top):
            for field in ("body", "orelse"):
                block = getattr(node, field, None)
                for position, statement in enumerate(block if isinstance(block, list) else []):
                    if not is_docstring(statement) and f"{name}: {ast.unparse(statement)}" not in HARMLESS:
                        yield f"{name}:{statement.lineno}", (node, field, position)
            if isinstance(node, ast.Dict) and node is getattr(top, "value", None):
                yield from ((f"{name}:{key.lineno}", (node, "keys", k)) for k, key in enumerate(node.keys))
            if isinstance(node, ast.Tuple) and node is getattr(top, "value", None):
                yield from ((f"{name}:{part.lineno}.{k}", (node, "elts", k)) for k, part in enumerate(node.elts))


def name_of(definition):
    """What a function, class or constant of a module is called."""
    targets = getattr(definition, "targets", None) or [getattr(definition, "target", None)]
    return getattr(definition, "name", None) or (ast.unparse(targets[0]) if targets[0] else "")


def is_docstring(statement):
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def without(tree, number, names):
    """A copy of a module's tree in which the `number`-th deletion is made."""
    changed = copy.deepcopy(tree)
    _, (node, field, position) = list(deletions(changed, names))[number]
    del getattr(node, field)[position]
    if field == "keys":
        del node.values[position]
    if field == "body" and not node.body:
        node.body.append(ast.Pass())
    return ast.fix_missing_locations(changed)


def mutants():
    for spec, places in TRANSLATIONS.items():
        for place in places:
            module, names = place.split(":")
            source = inspect.getsource(importlib.import_module(f"cvxrobust.{module}"))
            for number, (where, _) in enumerate(deletions(ast.parse(source), names.split(","))):
                yield pytest.param(spec, f"cvxrobust.{module}", names.split(","), number, id=f"{spec}-{where}")


@contextmanager
def mutated(module, tree):
    """Run a module's changed source in place, everywhere its definitions have been imported to."""
    family = module.__name__.rsplit(".", 1)[0] if module.__name__.count(".") > 2 else module.__name__
    modules = [found for name, found in sys.modules.items() if name == family or name.startswith(f"{family}.")]
    before = {found.__name__: dict(vars(found)) for found in modules}
    try:
        exec(compile(tree, module.__file__, "exec"), vars(module))
        new = vars(module)
        swapped = {id(old): new[name] for name, old in before[module.__name__].items() if new.get(name) is not old}
        for found in modules:
            for name, value in before[found.__name__].items():
                if found is not module and id(value) in swapped and not name.startswith("__"):
                    vars(found)[name] = swapped[id(value)]
        yield
    finally:
        for found in modules:
            old = before[found.__name__]
            vars(found).clear()
            vars(found).update(old)


@contextmanager
def patience(seconds):
    def give_up(*_):
        raise TimeoutError(f"still running after {seconds} s")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def pass_the_conic_part(backend):
    """The part of the contract that is about cones."""
    contract = BackendContract()
    contract.reads = EVERY_CONE  # an instance of its own
    contract.test_it_says_who_it_is(backend)
    # Mixed cones first: what is wrong with any of them shows at once.
    for seed in range(4):
        contract.test_it_finds_planted_optima_of_mixed_cones(backend, seed)
    for kind in KINDS:
        for seed in range(3):
            contract.test_it_finds_planted_optima_of_every_cone_and_refuses_those_it_cannot_read(backend, kind, seed)
        contract.test_duals_have_the_right_sign(backend, kind)
        contract.test_it_recognises_infeasible_programs(backend, kind)
        contract.test_it_recognises_unbounded_programs(backend, kind)
    contract.test_it_takes_empty_cones(backend)
    contract.test_an_iteration_limit_is_no_success(backend)
    if backend.capabilities.monitored:
        contract.test_a_deadline_of_the_monitor_is_a_time_limit(backend)


def pass_it_all(spec):
    pass_the_conic_part(made(spec))
    if spec == "cvxpy":  # this solver has no multipliers to give where there is no optimum
        BackendContract().test_it_recognises_infeasible_programs(made("cvxpy:SCIPY"), "NonNegative")


class Formed:
    """MOSEK with one of its two forms."""

    def __init__(self, inner, form):
        self.inner, self.form, self.name, self.capabilities = inner, form, inner.name, inner.capabilities

    def unavailable(self):
        return self.inner.unavailable()

    def solve(self, program, settings, **optional):
        options = {"form": self.form} | dict(settings.options)
        return self.inner.solve(program, settings.replace(options=options), **optional)


def made(spec):
    """A new backend from the hook of its plugin, as the registry would make it."""
    if spec.startswith("mosek "):
        return Formed(made("mosek"), spec.partition(" ")[2])
    variant = spec.partition(":")[2]
    plugin = sys.modules[type(get_backend(spec)).__module__]
    (description,) = plugin.cvxrobust_backends()
    assert isinstance(description, BackendDescription)
    return description.factory(*([variant or None] if description.variants else []))


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """A wrong projection never ends, and nobody here has a licence for MOSEK."""
    monkeypatch.setattr("cvxrobust.backends.torch.conic.solve.DEFAULT_ITERATIONS", ENOUGH)
    monkeypatch.setattr("cvxrobust.backends.scs.DEFAULT_ITERATIONS", ENOUGH)
    mosek_stand_in.installed(monkeypatch)


@pytest.mark.parametrize("spec", TRANSLATIONS)
def test_unchanged_translations_pass(spec):
    pass_it_all(spec)


@pytest.mark.parametrize(("spec", "module", "names", "number"), list(mutants()))
def test_a_deleted_statement_is_noticed(spec, module, names, number):
    target = importlib.import_module(module)
    tree = ast.parse(inspect.getsource(target))
    noticed = (Exception, pytest.fail.Exception, TimeoutError)
    with mutated(target, without(tree, number, names)), patience(PATIENCE), pytest.raises(noticed):
        pass_it_all(spec)
