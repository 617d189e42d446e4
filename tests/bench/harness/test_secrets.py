"""Options that nobody vouches for, credentials in addresses and words that do something: none is passed on."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import Fake
from harness.rows import manifest, row, write_run

from cvxrobust import InputError, Settings, StandardSDP, Termination, solve
from cvxrobust.bench.cli import main
from cvxrobust.bench.display import spreadsheet_cell
from cvxrobust.bench.harness.results.rows import Failure
from cvxrobust.bench.harness.results.store import Store
from cvxrobust.bench.harness.suite.cases import BackendSpec, Case, DataSpec, ProblemSpec
from cvxrobust.bench.harness.suite.suite import parse_suite
from cvxrobust.core import get_backend
from cvxrobust.core.contracts.backend import harmless_options
from cvxrobust.core.secrets import cleaned, masked, secrets_of, without_credentials

RNG = np.random.default_rng(0)
X = RNG.standard_normal((10, 2))
PROBLEM = StandardSDP(X, np.where(X[:, 0] > 0, 1.0, -1.0), beta=0.1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://me:pa%20ss@host:80/x?y=1", "at https://***@host:80/x?y=1"),
        ("tls://user@host and ftp://a:b@c", "tls://***@host and ftp://***@c"),
        ("https://a:p@ss@host/", "https://***@host/"),
        ("no file https:/a:b@host/x.csv, C:/a@b", "no file https:/***@host/x.csv, C:/a@b"),
        ("https://host/?token=abc&n=3#access_token=d", "https://host/?token=***&n=3#access_token=***"),
        ("https://host/?api_key=abc", "https://host/?api_key=***"),
        ("mail me@host, x = 3, https://host/a@b", "mail me@host, x = 3, https://host/a@b"),
    ],
)
def test_addresses_lose_their_credentials_and_nothing_else(text, shown):
    assert without_credentials(text) == shown


def test_options_are_masked_unless_their_backend_vouches_for_them():
    options = {
        "eps_abs": 1e-3,
        "log_csv_filename": "/home/me/log",
        "pin": 1234,
        "token": "t",
        "nested": {"key": "deep"},
    }
    harmless = harmless_options(get_backend("scs"))
    assert masked(options, harmless) == {"eps_abs": 1e-3} | dict.fromkeys([*options][1:], "***")
    said = cleaned("log in /home/me/log by deep t, at last; 1234 rows", secrets_of(options, harmless))
    assert said == "log in *** by *** ***, at last; 1234 rows"


def test_every_option_of_ours_that_is_a_number_or_a_choice_is_harmless():
    assert {"max_iter", "tol_feas", "direct_solve_method"} <= harmless_options(get_backend("clarabel"))
    assert {"neurons", "batch", "epochs"} <= harmless_options(get_backend("torch"))
    assert "subspace" in harmless_options(get_backend("ipm"))
    assert not {"log_csv_filename", "write_data_filename"} & harmless_options(get_backend("scs"))
    assert not {"optserver_token", "MSK_SPAR_PARAM_READ_FILE_NAME"} & harmless_options(get_backend("mosek"))
    assert "mosek_params" not in harmless_options(get_backend("cvxpy:MOSEK"))


@pytest.mark.parametrize("method", ["harmless", "loud", "refuses"])
def test_results_and_errors_repeat_no_option_that_nobody_vouches_for(method):
    options = {"seat": "hunter2!", "rows": 7}

    def answer(program, settings):
        if method == "refuses":
            raise InputError(f"fake refuses {dict(settings.options)}")
        good = get_backend("clarabel").solve(program, Settings())
        message = f"hello {settings.options['seat']} at https://a:b@host" if method == "loud" else "hello"
        return replace(good, message=message, applied={**settings.options, "place": "hunter2!", "max_iter": 5})

    backend, settings = Fake(answer), Settings(options=options)
    if method == "refuses":
        with pytest.raises(InputError, match=r"'seat': '\*\*\*'"):
            solve(PROBLEM, backend=backend, method="direct", settings=settings)
        return
    result = solve(PROBLEM, backend=backend, method="direct", settings=settings)
    assert result.termination is Termination.CONVERGED
    text = json.dumps(result.to_dict()) + repr(result) + repr(result.solution)
    assert "hunter2" not in text
    assert "a:b@" not in text
    assert result.applied == {"seat": "***", "rows": "***", "place": "***", "max_iter": 5}


def test_rows_manifests_and_titles_hide_what_nobody_vouches_for(tmp_path):
    options = {"login": "hunter2!", "max_iter": 3, "at": "https://u:p@host"}
    case = Case(
        ProblemSpec("standard-sdp", DataSpec("planted", 10, 2)), BackendSpec("clarabel", options=options), 1e-4, 9.0
    )
    told = replace(row(), case=case.public(), reason="hunter2! at https://u:p@host").without_secrets(case)
    store = Store(tmp_path / "run")
    entry = {"name": "clarabel", "options": options}
    problem = {"family": "standard-sdp", "data": "planted", "n": 10, "d": 2}
    suite = parse_suite({"name": "s", "problems": [problem], "backends": [entry], "tolerances": [1e-4]})
    store.create({"suite": suite.public(), "dask": "tls://u:p@host"})
    with store:
        store.append(told)
    text = "".join(path.read_text() for path in store.folder.iterdir()) + str(case)
    assert "hunter2" not in text
    assert "u:p@" not in text
    assert case.public()["backend"]["options"] == {"login": "***", "max_iter": 3, "at": "***"}
    assert case.to_dict()["backend"]["options"] == options


def test_cases_that_differ_in_what_is_masked_are_different_cases():
    spec = ProblemSpec("standard-sdp", DataSpec("planted", 10, 2))
    keys = {Case(spec, BackendSpec("scs", options={"knob": value}), 1e-4, 9.0).key() for value in (1, 2)}
    assert len(keys) == 2


EVIL = "\x1b[2J=cmd|' /C calc'!A0 \u202eabc https://u:p@host $\\frac$ \x00"


def test_reports_spell_out_control_characters_and_hide_credentials(tmp_path):
    rows = [
        row("alpha"),
        row("beta", failure=Failure.ERROR, reason=EVIL, message=EVIL),
        row("=1+1\x07 $x^{$", seconds=2.0),
    ]
    run = write_run(tmp_path / "a-run", rows, note=EVIL)
    with pytest.raises(SystemExit) as end:
        main(["bench", "report", str(run), "--quiet"])
    assert end.value.code == 0
    for name in ("report.html", "report.md"):
        text = (run / name).read_text(encoding="utf-8")
        own = text.replace("\n", "").replace("\t", "")
        own = own if name.endswith(".md") else own.partition("<main")[2].partition("<script>")[0]
        assert own.isprintable() or not {"\x1b", "\x00", "\u202e", "\x07"} & set(own)
        assert "u:p@" not in text
        assert "x1b[2J" in own or "x1b\\[2J" in own


def test_csv_exports_hold_nothing_that_a_spreadsheet_would_run(tmp_path):
    rows = [row("alpha", failure=Failure.ERROR, reason="=HYPERLINK(1)", message=" @SUM(1)"), row("-beta")]
    run, out = write_run(tmp_path / "a-run", rows), tmp_path / "rows.csv"
    with pytest.raises(SystemExit) as end:
        main(["bench", "export", str(run), "--csv", str(out)])
    assert end.value.code == 0
    with out.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert (found[0]["reason"], found[0]["message"]) == ("'=HYPERLINK(1)", "' @SUM(1)")
    assert {one["backend"] for one in found} == {"alpha", "'-beta"}
    assert float(found[1]["upper"]) == 0.5
    assert spreadsheet_cell("\t=1") == "'\t=1"
    assert spreadsheet_cell("a=1") == "a=1"


def test_the_manifest_of_a_run_is_shown_without_credentials(tmp_path):
    assert "u:p@" not in json.dumps(cleaned(manifest(note="https://u:p@host")))
