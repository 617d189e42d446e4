"""Wrong command lines of every command, and which commands there are."""

from commands_files import FILES
from commands_studies import STUDIES
from commands_training import TRAINING
from typer.main import get_command

from cvxrobust.bench.cli import app

STRAYS = (
    ("x", "there is no place for 'x'; leave it out, or"),
    ("x y", "there is no place for 'x y'; leave it out, or"),
    ("--nosuch", "there is no option --nosuch"),
    ("--json=3", "--json takes no value"),
    ("-x", "there is no option -x"),
    ("--jsn", "there is no option --jsn, did you mean --json?"),
    ("--JSON", "there is no option --JSON"),
    ("-", "there is no place for '-'; leave it out, or"),
    ("--json x", "there is no place for 'x'; leave it out, or"),
    ("''", "there is no place for ''; leave it out, or"),
    ("'a b'", "there is no place for 'a b'; leave it out, or"),
    ("--json --nosuch", "there is no option --nosuch"),
    ("-j", "there is no option -j"),
    ("--json=", "--json takes no value"),
    ("3", "there is no place for '3'; leave it out, or"),
    ("--out x", "there is no option --out"),
    ("--help=3", "--help takes no value"),
    ("é", "there is no place for 'é'; leave it out, or"),
    ("--no-json", "there is no option --no-json, did you mean"),
    ("list", "there is no place for 'list'; leave it out,"),
    ("--quiet", "there is no option --quiet"),
    ("rows.csv", "there is no place for 'rows.csv'; leave it"),
    ("-- x", "there is no place for 'x'; leave it out, or"),
    ("--verbose", "there is no option --verbose"),
)
"""What no command takes that lists something."""

LISTS = ("backends list", "backends doctor", "problems list", "metrics list", "plugins list")

SHOWN = (
    ("", "the argument name is missing"),
    ("x", "unknown backend 'x'"),
    ("clarable", "unknown backend 'clarable'"),
    ("cvxpy:FOO", "unknown CVXPY solver 'FOO'"),
    ("cvxpy:", "'cvxpy:' names no variant after the colon"),
    ("scs:x", "backend 'scs' has no variants, so 'scs:x' means"),
    ("clarabel x", "there is no place for 'x'"),
    ("''", "unknown backend ''"),
    ("CLARABEL", "unknown backend 'CLARABEL'"),
    ("--json", "the argument name is missing"),
    ("cvxpy:FOO --json", "unknown CVXPY solver 'FOO'"),
    ("mosek:x", "backend 'mosek' has no variants, so 'mosek:x'"),
    ("3", "unknown backend '3'"),
    ("clarabel --json=3", "--json takes no value"),
    ("clarabel --nosuch", "there is no option --nosuch"),
    ("clarabel -x", "there is no option -x"),
    (":x", "unknown backend ''; known: clarabel, cvxpy,"),
    ("clarabel:", "backend 'clarabel' has no variants, so"),
    ("auto", "unknown backend 'auto'; known: clarabel,"),
    ("rows.csv", "unknown backend 'rows.csv'; known: clarabel,"),
    ("clarabel --jsn", "there is no option --jsn, did you mean --json?"),
    ("clarabel --data rows.csv", "there is no option --data"),
)

COMMANDS = {**TRAINING, **FILES, **STUDIES, "backends show": SHOWN, **dict.fromkeys(LISTS, STRAYS)}
"""Wrong inputs of commands, by their names."""

GROUPS = {
    "backends": (
        ("x", "unknown command 'x'"),
        ("lst", "unknown command 'lst'"),
    ),
    "bench": (("x", "unknown command 'x'"),),
    "reproduce": (("x", "unknown command 'x'"),),
    "problems": (("x", "unknown command 'x'"),),
    "metrics": (("lst", "unknown command 'lst'"),),
    "plugins": (("--nosuch", "there is no option --nosuch"),),
}
"""The same of groups of commands."""


def leaves():
    """The names of all commands that do something."""
    return [" ".join(words) for words in _leaves(get_command(app), ())]


def _leaves(command, words):
    inside = getattr(command, "commands", None)
    if inside is None:
        yield words
        return
    for name, one in inside.items():
        yield from _leaves(one, (*words, name))
