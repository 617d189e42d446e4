"""Suites: what they stand for, and that every mistake in one is found before anything runs."""

import json
import random
import re
import tomllib
from itertools import pairwise

import numpy as np
import pytest
from harness.plugins import small_suite

from cvxrobust.bench.data.synthetic import GENERATORS, samples
from cvxrobust.bench.harness.run.runner import plan
from cvxrobust.bench.harness.suite.cases import BackendSpec, Case, DataSpec, ProblemSpec, fingerprint
from cvxrobust.bench.harness.suite.schema import BackendEntry, ProblemEntry, parse_bytes
from cvxrobust.bench.harness.suite.suite import SUITES, Suite, load_suite, parse_suite, suite_text
from cvxrobust.core.discovery.registry import backends
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.secrets import MASK

SHIPPED = sorted(path.stem for path in SUITES.glob("*.toml"))


def a_case(**changes):
    data = DataSpec("planted", 10, 2)
    problem = ProblemSpec("adversarial-sdp", data, {"radius": 0.2})
    return Case(
        **{"problem": problem, "backend": BackendSpec("clarabel"), "tolerance": 1e-4, "time_limit": 9.0} | changes
    )


def with_problem(**changes):
    content = small_suite("clarabel")
    content["problems"][0] |= changes
    return content


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_suite_is_valid_and_says_what_it_is_for(name):
    suite = load_suite(name)
    assert suite.name == name
    assert suite.description
    assert suite.cases()


def test_the_promised_suites_ship():
    assert {"smoke", "paper", "scaling-n", "scaling-d", "adversarial", "relu"} <= set(SHIPPED)


def test_smoke_asks_every_backend_that_can_run_for_every_family():
    asked = {(case.problem.family, case.backend.name) for case in load_suite("smoke").cases()}
    able = {name for name, backend in backends().items() if backend.unavailable() is None}
    families = {"standard-sdp", "adversarial-sdp", "convex-relu", "adversarial-relu"}
    assert asked >= {(family, name) for family in families for name in able}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (small_suite("clarabel", tolerence=1e-3), "tolerence is no key of a suite, did you mean 'tolerances'"),
        (with_problem(famly="x"), r"problems\.0\.famly is no key of a suite, did you mean 'family'"),
        (small_suite({"name": "scs", "metods": "direct"}), r"backends\.0\.metods .* did you mean 'methods'"),
        (small_suite({"name": "scs", "methods": "cuting-set"}), "is 'cuting-set', did you mean 'cutting-set'"),
        (small_suite("clarabel", tolerances=[]), "give at least one tolerance"),
        (small_suite("clarabel", time_limit=-1), "time_limit is -1; expected seconds above 0"),
        (small_suite("clarabel", time_limit=float("inf")), "time_limit is inf; expected seconds above 0"),
        (small_suite("clarabel", threads="2"), "threads is '2'; expected a whole number of 1 or more"),
        (small_suite("clarabel", name="a b"), "name is 'a b'; expected letters, digits, dots, hyphens or underscores"),
        (small_suite({"methods": "direct"}), r"backends\.0\.name is missing; expected the name of a backend"),
        (small_suite({"name": "scs", "polish": 3.5}), r"polish is 3\.5; expected the name of a backend, true or false"),
        (
            small_suite({"name": "scs", "options": {"token": [1]}}),
            r"options\.token is \*\*\*; expected a table of native",
        ),
        (small_suite("clarabel", problems=3), r"problems is 3; expected one or more \[\[problems\]\] tables"),
        (with_problem(n=1.5), r"problems\.0\.n is 1\.5; expected a whole number of 1 or more, or a list of them"),
        (with_problem(n=[3, 0]), r"problems\.0\.n\.1 is 0; expected a whole number"),
        (with_problem(csv={"seperator": ";"}), r"csv\.seperator is no key of a suite, did you mean 'separator'"),
        (with_problem(csv={"separator": "ab"}), r"problems\.0\.csv: the separator is 'ab'; expected one character"),
        (with_problem(csv=3), r"problems\.0\.csv is 3; expected a table with separator"),
        (small_suite("clarabel", memory_limit="4 parsec"), "'4 parsec' is no amount of memory; .*gib"),
        (with_problem(seeds=[]), "give at least one seed"),
        (small_suite(), r"backends is \[\]; expected a list of names, or one or more \[\[backends\]\] tables"),
    ],
)
def test_mistakes_in_the_form_are_errors_in_our_words(content, message):
    with pytest.raises(InputError, match=message) as refused:
        parse_suite(content)
    assert "nput should" not in str(refused.value)
    assert str(refused.value).count("; expected") <= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_problem(family="adversarial-spd"), "problem family .* Did you mean 'adversarial-sdp'"),
        (with_problem(data="plantd"), "data 'plantd'.* Did you mean 'planted'"),
        (with_problem(parameters={"raduis": 1}), "parameter of adversarial-sdp 'raduis'.* Did you mean 'radius'"),
        (with_problem(parameters={"loss": "hing", "radius": 0.1}), "unknown loss 'hing'.* Did you mean 'hinge'"),
        (with_problem(parameters={"radius": -1.0}), "radius"),
        (with_problem(data="breast-cancer", n=9999), "569 rows"),
        (with_problem(data="nowhere.csv", n=[], d=[]), "nowhere.csv"),
        (with_problem(n=[]), "say how many samples"),
        (with_problem(n=10**12), "1,000,000,000,000 samples of 2 features do not fit into memory"),
        (with_problem(label_column="x"), "label_column and csv are for files"),
        (small_suite("clarabel", repeats=2_000_000), "stands for 2,000,000 cases; at most"),
        (small_suite("clarabell"), "backend 'clarabell'.* Did you mean 'clarabel'"),
        (small_suite({"name": "scs", "families": ["relu"]}), "problem family 'relu'"),
        (small_suite({"name": "scs", "options": {"eps_ab": 1}}), "scs option 'eps_ab'.* Did you mean 'eps_abs'"),
        (small_suite({"name": "torch", "device": "gpu"}), "device 'gpu'"),
        (small_suite("scs", "scs"), r"has the case .* twice; give what differs other labels"),
    ],
)
def test_mistakes_in_the_content_are_errors(content, message):
    with pytest.raises(InputError, match=message):
        parse_suite(content).check()


def test_a_suite_stands_for_every_combination():
    content = small_suite("scs", {"name": "clarabel", "methods": ["direct", "cutting-set"]}, tolerances=[1e-2, 1e-4])
    content |= {"repeats": 3}
    content["problems"][0] |= {"n": [10, 20], "seeds": [0, 1], "parameters": {"radius": [0.1, 0.2], "beta": 0.1}}
    cases = parse_suite(content).cases()
    assert len(cases) == (2 * 2 * 2) * 3 * 2 * 3
    assert len({case.key() for case in cases}) == len(cases)


def test_a_list_in_a_list_is_one_value():
    content = with_problem(parameters={"radius": 0.1, "activation": [[0.1, 0.5, 0.4], [1.0, 0.0, 0.0]]})
    made = [case.problem.make() for case in parse_suite(content).cases()]
    assert [problem.activation for problem in made] == [(0.1, 0.5, 0.4), (1.0, 0.0, 0.0)]


@pytest.mark.parametrize("family", ["adversarial-sdp", "adversarial-relu"])
def test_a_suite_may_say_which_inputs_attacks_can_touch(family):
    parameters = {"radius": 0.1, "scale": [[0, 2.5]]}
    content = with_problem(family=family, parameters=parameters)
    made = [case.problem.make() for case in parse_suite(content).cases()]
    assert {problem.ellipsoid.immutable for problem in made} == {(0,)}


def test_cases_are_shuffled_by_the_seed_so_that_backends_interleave():
    content = small_suite("scs", "clarabel", "torch")
    content["problems"][0]["seeds"] = list(range(10))
    ordered = [str(case) for case in parse_suite(content).cases()]
    once, again, other = ([str(case) for _, case in plan(parse_suite(content | {"seed": seed}))] for seed in (1, 1, 2))
    assert once == again
    assert sorted(once) == sorted(ordered)
    assert once not in (ordered, other)
    titles = [case.backend.title for _, case in plan(parse_suite(content))]
    runs = sum(left != right for left, right in pairwise(titles))
    assert runs > 10  # 2 if backends came one after the other


def test_every_backend_that_can_run_stands_for_a_star():
    names = {case.backend.name for case in parse_suite(small_suite("*")).cases()}
    assert names == {name for name, backend in backends().items() if backend.unavailable() is None}


def test_a_case_survives_json():
    case = a_case(backend=BackendSpec("scs", options={"scale": 0.2}, families=("adversarial-sdp",)))
    assert Case.from_dict(json.loads(json.dumps(case.to_dict()))) == case


CHANGES = [
    {"problem": ProblemSpec("adversarial-sdp", DataSpec("planted", 10, 2, seed=1), {"radius": 0.2})},
    {"problem": ProblemSpec("adversarial-sdp", DataSpec("planted", 10, 2), {"radius": 0.3})},
    {"problem": ProblemSpec("standard-sdp", DataSpec("planted", 10, 2), {"radius": 0.2})},
    {"backend": BackendSpec("scs")},
    {"backend": BackendSpec("clarabel", "cutting-set")},
    {"backend": BackendSpec("clarabel", options={"max_iter": 3})},
    {"backend": BackendSpec("clarabel", polish="scs")},
    {"backend": BackendSpec("clarabel", device="cpu")},
    {"backend": BackendSpec("clarabel", dtype="float32")},
    {"tolerance": 1e-3},
    {"time_limit": 8.0},
    {"threads": 2},
    {"seed": 1},
    {"repeat": 1},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_whatever_the_outcome_may_depend_on_is_in_the_key(change):
    assert a_case(**change).key() != a_case().key()


def test_labels_are_not_in_the_key():
    problem = ProblemSpec("adversarial-sdp", DataSpec("planted", 10, 2), {"radius": 0.2}, label="mine")
    backend = BackendSpec("clarabel", label="yours", families=("adversarial-sdp",))
    assert a_case(problem=problem, backend=backend).key() == a_case().key()


def test_the_numbers_of_a_file_are_in_the_key(tmp_path):
    keys = set()
    for value in (1.0, 2.0):
        path = tmp_path / "data.npz"
        np.savez(path, X=np.array([[value], [0.0], [1.0]]), y=np.array([1.0, -1.0, 1.0]))
        fingerprint.cache_clear()
        keys.add(a_case(problem=ProblemSpec("adversarial-sdp", DataSpec(str(path)))).key())
    assert len(keys) == 2


def test_a_suite_names_the_label_column_and_how_a_csv_file_is_written(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("a;b;kind\n" + "".join(f"{k},5;{k % 3};{'uv'[k % 2]}\n" for k in range(12)) + "-;1;u\n")
    form = {"separator": ";", "decimal": ",", "missing": ["-"], "drop_incomplete": True}
    content = with_problem(data=str(path), n=[], d=[], label_column="kind", csv=form)
    suite = parse_suite(content)
    suite.check()
    (case,) = suite.cases()
    assert case.problem.make().X.shape == (12, 2)
    again = Case.from_dict(json.loads(json.dumps(case.to_dict())))
    assert again == case
    assert "label=kind" in case.problem.name


def test_keys_of_data_in_the_usual_form_are_those_of_older_runs():
    assert set(a_case().to_dict()["problem"]["data"]) == {"name", "n", "d", "seed"}


def test_a_suite_is_shown_as_it_is_written_but_for_secrets(tmp_path):
    assert suite_text("smoke") == (SUITES / "smoke.toml").read_text(encoding="utf-8")
    path = tmp_path / "s.toml"
    path.write_text((SUITES / "smoke.toml").read_text() + 'options = { access_token = "hush" }  # mine\n')
    assert suite_text(str(path)).endswith(f'options = {{ access_token = "{MASK}" }}  # mine\n')


def test_the_format_is_documented_with_every_key():
    documented = (SUITES / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", documented, flags=re.DOTALL)
    content = tomllib.loads(example)
    parse_suite(content)
    for table, entries in (
        (Suite, [content]),
        (ProblemEntry, content["problems"]),
        (BackendEntry, content["backends"]),
    ):
        assert set(table.model_fields) == set().union(*entries)


def test_versions_are_in_the_key(monkeypatch):
    from cvxrobust.bench.harness.suite import cases, versions

    before = a_case().key()
    cases._versions.cache_clear()
    monkeypatch.setattr(versions, "_version", lambda package: "9.9" if package == "clarabel" else "1.0")
    after = a_case().key()
    cases._versions.cache_clear()
    assert after != before


def test_secrets_are_masked_and_leave_no_trace_in_the_key():
    cases = [a_case(backend=BackendSpec("mosek", options={"access_token": word, "x": 1})) for word in ("hush", "psst")]
    assert cases[0].key() == cases[1].key()
    assert cases[0].secrets == ("hush",)
    public = json.dumps(cases[0].public()) + cases[0].backend.title + str(cases[0])
    assert MASK in public
    assert "hush" not in public
    assert cases[0].to_dict()["backend"]["options"]["access_token"] == "hush"
    suite = parse_suite(small_suite({"name": "mosek", "options": {"Password": "hush"}}))
    assert "hush" not in json.dumps(suite.public())


@pytest.mark.parametrize("name", GENERATORS)
def test_samples_are_the_same_for_the_same_seed_only(name):
    (X, y), (again, y_again), (other, _) = (samples(name, 40, 3, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(X, again)
    np.testing.assert_array_equal(y, y_again)
    assert X.shape == other.shape == (40, 3)
    assert (other != X).any()
    assert name == "targets" or set(y) == {-1.0, 1.0}


def test_samples_of_a_data_set_are_standardised_rows_of_it():
    X, y = samples("breast-cancer", None, None, 0)
    assert X.shape == (569, 30)
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(X.std(axis=0), 1)
    few, labels = samples("breast-cancer", 20, 4, 3)
    place = {tuple(row): label for row, label in zip(X[:, :4].tolist(), y, strict=True)}
    assert [place[tuple(row)] for row in few.tolist()] == labels.tolist()


@pytest.mark.parametrize(
    ("text", "number"), [("2 GiB", 2 << 30), ("500MB", 500 * 10**6), ("12", 12), ("1.5 kib", 1536), ("7 B", 7)]
)
def test_memory_is_read_in_usual_units(text, number):
    assert parse_bytes(text) == number


def test_an_unknown_suite_is_an_error_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'smoke'"):
        load_suite("smok")
    with pytest.raises(InputError, match="there is no file"):
        load_suite("missing.toml")


def test_a_file_that_is_no_toml_is_an_error(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(random.Random(0).randbytes(50))
    with pytest.raises(InputError, match="is no TOML"):
        load_suite(str(path))


def test_names_alone_stand_for_tables(tmp_path):
    short = small_suite("clarabel") | {"backends": ["clarabel", {"name": "scs"}]}
    long = small_suite("clarabel") | {"backends": [{"name": "clarabel"}, {"name": "scs"}]}
    assert parse_suite(short) == parse_suite(long)
    assert parse_suite(short | {"backends": "scs"}).backends == (BackendEntry(name="scs"),)
    for wrong in ([3], 3, [["scs"]]):
        with pytest.raises(InputError, match=r"expected (a list of names, or one or more )?.*\[\[backends\]\] table"):
            parse_suite(short | {"backends": wrong})
    with pytest.raises(UnknownNameError, match="Did you mean 'scs'"):
        parse_suite(short | {"backends": ["scss"]}).cases()


def test_a_suite_without_a_name_has_that_of_its_file(tmp_path):
    path = tmp_path / "my first.toml"
    path.write_text('backends = "scs"\n[[problems]]\nfamily = "standard-sdp"\ndata = "planted"\nn = 9\nd = 2\n')
    assert load_suite(str(path)).name == "my-first"
