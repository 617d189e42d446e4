"""Discovery of plugins: each thing that can be wrong with one, and that nothing heavy is imported."""

import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest

from cvxrobust import StandardSDP, solve
from cvxrobust.core.contracts.backend import Capabilities
from cvxrobust.core.discovery import registry
from cvxrobust.core.discovery.hookspecs import BackendDescription, ProblemDescription, hookimpl
from cvxrobust.core.discovery.measurement import measure
from cvxrobust.core.discovery.registry import PluginStatus
from cvxrobust.core.errors import BackendUnavailableError, InputError, PluginError, UnknownNameError

HEAD = """
from cvxrobust.core.contracts.backend import Capabilities
from cvxrobust.core.discovery.hookspecs import BackendDescription, ProblemDescription, hookimpl

class Toy:
    name = "toy"
    capabilities = Capabilities()
    def unavailable(self): return None
    def solve(self, program, settings): ...
"""


def hook(*names, **changes):
    """Source of a plugin that offers backends with these names."""
    keywords = "".join(f", {key}={value!r}" for key, value in changes.items())
    offers = ", ".join(f"BackendDescription({name!r}, Toy{keywords})" for name in names)
    return f"{HEAD}\n@hookimpl\ndef cvxrobust_backends():\n    return [{offers}]\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with one plugin module, as pip would leave it, and rediscover."""

    def put(distribution, source, entry=None):
        module = f"module_of_{distribution}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[cvxrobust]\n{entry or distribution} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        registry.reload()

    yield put
    for name in [name for name in sys.modules if name.startswith("module_of_")]:
        del sys.modules[name]
    monkeypatch.undo()
    registry.reload()


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("CVXROBUST_DISABLE_BACKENDS", raising=False)
    monkeypatch.delenv("CVXROBUST_STRICT_PLUGINS", raising=False)
    registry.reload()
    yield
    registry.reload()


def record(distribution):
    (found,) = [one for one in registry.plugins() if one.distribution == distribution]
    return found


def test_our_own_plugins_are_all_ok():
    bad = [one for one in registry.plugins() if one.distribution == "cvxrobust" and one.status != "ok"]
    assert bad == []
    assert {"clarabel", "scs", "cvxpy"} <= set(registry.backends())


def test_a_strangers_backend_is_found_and_made_once(install):
    install("stranger", hook("toy"))
    found = record("stranger")
    assert found.status is PluginStatus.OK
    assert found.backends == ("toy",)
    assert found.reason == ""
    assert registry.backends()["toy"].name == "toy"
    assert registry.get_backend("toy") is registry.backends()["toy"]
    assert registry.backend_descriptions()["toy"].name == "toy"


def test_a_strangers_problem_is_found(install):
    source = f"{HEAD}\n@hookimpl\ndef cvxrobust_problems():\n    yield ProblemDescription('toy-problem', dict)\n"
    install("stranger", source)
    assert record("stranger").problems == ("toy-problem",)
    assert registry.problems()["toy-problem"].factory() == {}


PANIC = """
class Panic(BaseException):
    pass
raise Panic("index out of bounds")
"""


UNSAYABLE = """
class Unsayable(Exception):
    def __str__(self): return 1 / 0
raise Unsayable
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_package_that_is_not_there", "ModuleNotFoundError: .*a_package_that_is_not_there"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        (PANIC, "Panic: index out of bounds"),
        ("import sys; sys.exit('it needs the solver X')", "SystemExit: it needs the solver X"),
        ("raise KeyboardInterrupt('not yours')", "KeyboardInterrupt: not yours"),
        (UNSAYABLE, "Unsayable: .a Unsayable whose text raises ZeroDivisionError"),
        (f"{HEAD}\n@hookimpl\ndef cvxrobust_backends(): raise SystemExit(3)", "SystemExit: 3"),
        (hook("toy", summary=3), "the summary of 'toy' is 3"),
        (
            f"{HEAD}\n@hookimpl\ndef cvxrobust_problems(): return [ProblemDescription('p', dict, parameters=7)]",
            "the parameters of 'p' are 7",
        ),
        ("", "it has no hook"),
        (f"{HEAD}\n@hookimpl\ndef cvxrobust_backend(): return []", "unknown hook 'cvxrobust_backend'"),
        (f"{HEAD}\n@hookimpl\ndef cvxrobust_backends(pm): return []", "hook call must provide|pm"),
        (f"{HEAD}\n@hookimpl\ndef cvxrobust_backends(): raise OSError('no disk')", "OSError: no disk"),
        (f"{HEAD}\n@hookimpl\ndef cvxrobust_backends(): return [Toy()]", "expected a BackendDescription"),
        (f"{HEAD}\n@hookimpl\ndef cvxrobust_backends(): return 3", "returned 3, expected a list of"),
        (hook("a:b"), "text without a colon"),
        (hook(""), "text without a colon"),
        (hook("toy").replace("Toy)", "None)"), "expected a function"),
    ],
)
def test_a_broken_plugin_is_recorded_with_its_reason_and_harms_nobody(install, source, reason):
    install("breaker", source)
    install("stranger", hook("toy"))
    found = record("breaker")
    assert found.status is PluginStatus.BROKEN
    assert found.backends == ()
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.reason)
    assert {"toy", "scs"} <= set(registry.backends())


def test_ctrl_c_during_discovery_is_not_swallowed(install):
    install("slow", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    with pytest.raises(KeyboardInterrupt):
        registry.plugins()


def test_a_plugin_for_another_interface_is_incompatible(install):
    install("ancient", hook("toy", api_version=0))
    found = record("ancient")
    assert found.status is PluginStatus.INCOMPATIBLE
    assert "written for plugin interface 0, this is 1" in found.reason
    assert "toy" not in registry.backends()


def test_the_first_of_two_plugins_keeps_a_name_whatever_was_installed_first(install):
    install("zebra", hook("toy", "zebra"))
    install("aardvark", hook("toy", summary="the one that stays"))
    assert record("zebra").status is PluginStatus.DUPLICATE
    assert record("zebra").backends == ("zebra",)
    assert "taken by plugin 'aardvark' of aardvark" in record("zebra").reason
    assert registry.backend_descriptions()["toy"].summary == "the one that stays"


def test_our_own_names_cannot_be_taken(install):
    install("aardvark", hook("scs"))
    assert record("aardvark").status is PluginStatus.DUPLICATE
    assert "scs" in registry.backends()
    assert record("aardvark").backends == ()


def test_a_blocked_backend_is_left_out_and_says_so(monkeypatch):
    monkeypatch.setenv("CVXROBUST_DISABLE_BACKENDS", "scs, nonsense")
    assert "scs" not in registry.backends()
    assert "clarabel" in registry.backends()
    (found,) = [one for one in registry.plugins() if one.entry == "scs"]
    assert found.status is PluginStatus.BLOCKED
    with pytest.raises(UnknownNameError, match="named in CVXROBUST_DISABLE_BACKENDS"):
        registry.get_backend("scs")


def test_strictness_names_every_bad_plugin(install, monkeypatch):
    monkeypatch.setenv("CVXROBUST_STRICT_PLUGINS", "1")
    install("breaker", "1 / 0")
    install("aardvark", hook("scs"))
    with pytest.raises(PluginError, match=r"'aardvark'.* is duplicate .*'breaker'.* is broken \(ZeroDivision"):
        registry.plugins()


def test_strictness_minds_neither_good_nor_blocked_plugins(install, monkeypatch):
    monkeypatch.setenv("CVXROBUST_STRICT_PLUGINS", "1")
    monkeypatch.setenv("CVXROBUST_DISABLE_BACKENDS", "toy")
    install("stranger", hook("toy"))
    assert record("stranger").status is PluginStatus.BLOCKED


def test_an_unknown_backend_is_answered_with_those_that_exist():
    with pytest.raises(UnknownNameError, match=r"unknown backend 'clarabell'.*scs.*Did you mean 'clarabel'"):
        registry.get_backend("clarabell")


def test_an_unknown_backend_with_a_broken_plugin_is_answered_with_the_reason(install):
    install("breaker", "1 / 0", entry="fancy")
    with pytest.raises(UnknownNameError, match=r"'fancy' of breaker, is broken: ZeroDivisionError"):
        registry.get_backend("fancy")


def test_variants_are_for_backends_that_have_them():
    assert registry.get_backend("cvxpy:CVXOPT").name == "cvxpy:CVXOPT"
    with pytest.raises(InputError, match="'scs' has no variants"):
        registry.get_backend("scs:fast")
    with pytest.raises(InputError, match="no variant after the colon"):
        registry.get_backend("cvxpy:")


class Toy:
    name = "toy"
    capabilities = Capabilities()

    def unavailable(self):
        return None

    def solve(self, program, settings):
        raise NotImplementedError


def plugin(factory=Toy, **changes):
    @hookimpl
    def cvxrobust_backends():
        yield BackendDescription(**{"name": "toy", "factory": factory} | changes)

    return SimpleNamespace(cvxrobust_backends=cvxrobust_backends)


def test_a_backend_object_needs_no_registration():
    toy = Toy()
    assert registry.get_backend(toy) is toy
    with pytest.raises(InputError, match="expected a name"):
        registry.get_backend(3)


def test_registering_adds_until_reload_forgets():
    assert registry.register(plugin()).backends == ("toy",)
    assert registry.get_backend("toy").name == "toy"
    registry.reload()
    assert "toy" not in registry.backends()


def test_registering_what_cannot_be_used_raises():
    registry.register(plugin())
    with pytest.raises(PluginError, match="the name is taken"):
        registry.register(plugin())
    with pytest.raises(PluginError, match="it has no hook"):
        registry.register(SimpleNamespace())
    same = plugin(name="other")
    registry.register(same)
    with pytest.raises(PluginError, match="registered already"):
        registry.register(same)


def explode():
    raise OSError("no such library")


def leave():
    sys.exit("no licence")


def interrupt():
    raise KeyboardInterrupt


class Mute(Toy):
    @property
    def capabilities(self):
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (explode, "OSError: no such library"),
        (dict, "lacks name, capabilities"),
        (leave, "SystemExit: no licence"),
        (interrupt, "KeyboardInterrupt"),
        (Mute, "RuntimeError: not today"),
        (
            lambda: SimpleNamespace(name="t", capabilities=None, unavailable=print, solve=print),
            "capabilities are a None",
        ),
    ],
)
def test_a_factory_that_fails_leaves_an_unavailable_backend(factory, reason):
    registry.register(plugin(factory))
    found = registry.backends()["toy"]
    assert reason in found.unavailable()
    with pytest.raises(BackendUnavailableError, match="toy"):
        found.solve(None, None)


def test_what_a_plugin_prints_is_named_and_stays_out_of_standard_output(install, capsys):
    install("chatty", "import sys\nkept = sys.stdout\nprint('a banner')\n" + hook("toy"))
    (banner,) = record("chatty").remarks
    assert "its import prints 'a banner'" in banner
    assert record("chatty").status is PluginStatus.OK
    sys.modules["module_of_chatty"].kept.write("later")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("later", "a banner\n")


def test_a_plugin_that_closes_or_replaces_standard_output_leaves_it_to_others(install, capsys):
    install("closer", "import io, sys\nsys.stdout.close()\nsys.stdout = io.StringIO()\n" + hook("toy"))
    assert record("closer").status is PluginStatus.OK
    print("still here")
    assert capsys.readouterr().out == "still here\n"


def test_a_backend_that_fails_to_check_its_settings_is_named():
    class Sly(Toy):
        capabilities = Capabilities(structured=frozenset({"polynomial"}))

        def check_settings(self, settings):
            leave()

    with pytest.raises(PluginError, match="backend 'toy' fails to check its settings: SystemExit: no licence"):
        solve(StandardSDP(np.eye(2), np.array([1.0, -1.0])), backend=Sly())


def test_a_slow_import_is_named(install, monkeypatch):
    monkeypatch.setattr("cvxrobust.core.discovery.loader.SLOW", 0.01)
    install("slow", "import time; time.sleep(0.02)\n" + hook("toy"))
    assert "its import took 0.0 s" in record("slow").remarks[0]


def test_factories_that_fail_or_print_are_known_once_they_are_examined(capsys):
    @hookimpl
    def cvxrobust_problems():
        return [ProblemDescription("leaver", leave), ProblemDescription("fine", lambda: print("hello"))]

    registry.register(SimpleNamespace(**vars(plugin(interrupt)), cvxrobust_problems=cvxrobust_problems))
    assert registry.plugins()[-1].status == "ok"
    found = registry.plugins(examined=True)[-1]
    assert found.status == "broken"
    assert "toy: its factory failed with KeyboardInterrupt" in found.reason
    assert "SystemExit: no licence" in found.reason
    assert found.remarks == ("the factory of 'fine' prints 'hello'",)
    assert capsys.readouterr().out == ""
    with pytest.raises(PluginError, match=r"problem 'leaver' of plugin .* SystemExit: no licence"):
        registry.problems()["leaver"].factory()


@pytest.mark.parametrize("method", ["unavailable", "estimate"])
def test_a_backend_that_cannot_answer_a_question_is_passed_over(result, method):
    class Sly(Toy):
        capabilities = Capabilities(structured=frozenset({"polynomial"}))

        def estimate(self, program):
            return None

    setattr(Sly, method, lambda self, *questions: leave())
    registry.register(plugin(Sly))
    X = np.random.default_rng(0).normal(size=(8, 2))
    found = solve(StandardSDP(X, np.where(X[:, 0] > 0, 1.0, -1.0), beta=0.1))
    assert found.quality == "certified"


def test_backends_are_made_when_first_used():
    made = []
    registry.register(plugin(lambda: made.append(1) or Toy()))
    names = registry.backends()
    assert "toy" in names
    assert list(names)[-1] == "toy"
    assert made == []
    assert names["toy"] is names["toy"]
    assert made == [1]
    with pytest.raises(KeyError):
        names["nobody"]


def test_problems_and_backends_may_share_a_name():
    @hookimpl
    def cvxrobust_problems():
        return [ProblemDescription("scs", dict)]

    assert registry.register(SimpleNamespace(cvxrobust_problems=cvxrobust_problems)).status == "ok"


def test_discovery_and_listing_import_no_solver():
    lines = [
        "import sys",
        "from cvxrobust.core.discovery import registry",
        "registry.plugins()",
        "found = registry.backends().values()",
        "names = [b.name for b in found if b.unavailable() is None and b.capabilities.cones]",
        "print(sorted({'clarabel', 'scs', 'cvxpy', 'torch', 'mosek', 'matplotlib'} & set(sys.modules)))",
        "print('scs' in names)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["[]", "True"], done.stderr


def test_the_package_of_backends_answers_as_a_function_and_as_a_package():
    lines = [
        "import cvxrobust.backends.scs",
        "import cvxrobust",
        "assert 'scs' in cvxrobust.backends()",
        "assert cvxrobust.backends.scs.SCS.name == 'scs'",
        "from cvxrobust.backends.clarabel import Clarabel",
        "assert 'clarabel' in cvxrobust.backends()",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


METRIC = """
from cvxrobust.core.discovery.hookspecs import MetricDescription, hookimpl

@hookimpl
def cvxrobust_metrics():
    return [
        MetricDescription("neurons-squared", lambda: lambda result: result.network.n_neurons**2),
        MetricDescription("hopeless", lambda: lambda result: 1 / 0),
        MetricDescription("wordy", lambda: lambda result: "many"),
        MetricDescription("relative-gap", lambda: lambda result: 0.0),
    ]
"""


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8, 2))
    return solve(StandardSDP(X, np.where(X[:, 0] > 0, 1.0, -1.0), beta=0.1), backend="clarabel")


def test_a_strangers_metric_is_taken_and_one_that_fails_takes_nothing_along(install, result):
    install("measurer", METRIC)
    assert record("measurer").metrics == ("neurons-squared", "hopeless", "wordy")
    assert record("measurer").status is PluginStatus.DUPLICATE  # relative-gap is ours
    found = measure(result)
    assert found.values["neurons-squared"] == result.network.n_neurons**2
    assert found.values["relative-gap"] == result.certificate.relative_gap > 0
    assert set(found.failures) == {"hopeless", "wordy"}
    assert "ZeroDivisionError" in found.failures["hopeless"]
    assert "'many'" in found.failures["wordy"]
    assert found.values["hopeless"] is None


def test_our_metrics_read_every_result(result):
    found = measure(result)
    assert found.failures == {}
    assert found.values["upper"] == result.certificate.upper
    assert found.values["wall"] >= found.values["solve"] > 0
    assert found.values["seconds-to-1e-6"] <= found.values["wall"]
    assert found.values["dimacs-error"] < 1e-6


def test_an_unknown_metric_is_refused(result):
    with pytest.raises(UnknownNameError, match="Did you mean 'relative-gap'"):
        measure(result, ["relative-gab"])


def test_a_description_is_registered_as_it_is():
    class Toy:
        name = "toy"
        capabilities = Capabilities()

        def unavailable(self):
            return None

        def solve(self, program, settings): ...

    try:
        found = registry.register(BackendDescription("toy", Toy))
        assert (found.entry, found.status, found.backends) == ("toy", PluginStatus.OK, ("toy",))
        assert isinstance(registry.backends()["toy"], Toy)
        with pytest.raises(PluginError, match="toy"):
            registry.register(BackendDescription("toy", Toy))
    finally:
        registry.reload()


def test_a_name_that_one_plugin_offers_twice_is_taken_once(install):
    install("twice", hook("toy", "toy"))
    assert record("twice").backends == ("toy",)
    assert "taken by this very plugin" in record("twice").refused["toy"]
