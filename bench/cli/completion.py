"""Names that a shell completes: what is installed, asked when the key is pressed."""

from collections.abc import Iterable
from pathlib import Path

METHODS = ("auto", "direct", "cutting-set")
NORMS = ("inf", "2", "1")


def backend_names(incomplete: str) -> list[str]:
    """Of backends, without asking whether they can run here."""
    from cvxrobust.core.discovery.registry import backends

    return _beginning(incomplete, ("auto", *backends()))


def problem_names(incomplete: str) -> list[str]:
    """Of problem families."""
    from cvxrobust.core.discovery.registry import problems

    return _beginning(incomplete, problems())


def metric_names(incomplete: str) -> list[str]:
    """Of metrics."""
    from cvxrobust.core.discovery.registry import metrics

    return _beginning(incomplete, metrics())


def loss_names(incomplete: str) -> list[str]:
    """Of losses."""
    from cvxrobust.core.losses.by_name import LOSSES

    return _beginning(incomplete, LOSSES)


def data_names(incomplete: str) -> list[str]:
    """Of data sets, and of files and folders that begin so."""
    from cvxrobust.bench.data.known import known_names

    begun = Path(incomplete) if incomplete and not incomplete.endswith("/") else Path(incomplete, "_")
    files = [
        f"{path}/" if path.is_dir() else str(path)
        for path in begun.parent.glob("*")
        if path.is_dir() or path.suffix in (".csv", ".npz")
    ]
    return _beginning(incomplete, (*known_names(), *files))


def suite_names(incomplete: str) -> list[str]:
    """Of suites that ship."""
    return _beginning(incomplete, (path.stem for path in (Path(__file__).parents[1] / "suites").glob("*.toml")))


def method_names(incomplete: str) -> list[str]:
    """Of ways to solve."""
    return _beginning(incomplete, METHODS)


def norm_names(incomplete: str) -> list[str]:
    """Of attacks."""
    return _beginning(incomplete, NORMS)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
