"""An environment as a user makes it: our wheel, installed by pip, away from the checkout.

What our wheel says that it needs, and what that needs in turn, comes from the environment that runs the tests, as hard
links: pip would unpack more than a gigabyte again. Whatever the wheel does not declare is not there. That an index has
it all is seen where the wheel is installed from one (`.ci/run`).
"""

import importlib.metadata as metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 1200
"""Seconds that no command needs; one that does is stuck."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment.

    Args:
        folder: Where it lies.
        wheels: Folder with our wheel, for pip to find.
    """

    folder: Path
    wheels: Path

    @property
    def scripts(self) -> Path:
        """The folder of its commands."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def variables(self) -> dict[str, str]:
        """What its commands find in the environment: as if it were activated, with the versions that we pin."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CVXROBUST_", "PYTEST_")) and name not in ("PYTHONPATH", "PYTHONHOME")
        }
        links = [*kept.get("PIP_FIND_LINKS", "").split(), self.wheels.as_posix()]
        return kept | {
            "VIRTUAL_ENV": str(self.folder),
            "PATH": os.pathsep.join([str(self.scripts), kept.get("PATH", "")]),
            "PIP_FIND_LINKS": " ".join(links),
            "PIP_CONSTRAINT": (ROOT / "constraints.txt").as_posix(),
            "PIP_NO_COMPILE": "1",  # most of what is installed is never imported
            "PIP_NO_BUILD_ISOLATION": "0",  # which means no isolation: setuptools is there
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def run(
        self, *command: object, cwd: Path | None = None, expect: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, check its exit code, and return what it printed."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.folder,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != expect:
            said = f"{done.stdout[-20_000:]}\n{done.stderr[-20_000:]}"
            pytest.fail(f"{command} ended with {done.returncode}, not {expect}:\n{said}", pytrace=False)
        return done

    def cli(self, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `cvxrobust`."""
        return self.run(self.scripts / "cvxrobust", *arguments, **options)

    def python(self, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        """Run Python."""
        return self.run(self.scripts / "python", *arguments, **options)

    def install(self, *packages: object) -> None:
        """Install packages, or fail with what pip said."""
        command = [self.scripts / "python", "-m", "pip", "install", "--quiet", *packages]
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            names = ", ".join(map(str, packages))
            reason = f"pip cannot install {names} (is a package index within reach?):\n{done.stderr[-5_000:]}"
            pytest.fail(reason, pytrace=False)

    def uninstall(self, *names: str) -> None:
        """Leave the environment as others expect it."""
        self.python("-m", "pip", "uninstall", "--quiet", "--yes", *names)


@cache
def fresh_environment(base: Path) -> Environment:
    """The environment of this test session, with ``cvxrobust[bench,testing]`` and nothing else in it.

    Args:
        base: The session's temporary folder.
    """
    source, environment = base / "source", Environment(base / "environment", base / "wheels")
    copy_of_the_package(source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", environment.wheels, source]
    done = subprocess.run(build, env=environment.variables, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        pytest.fail(f"the wheel cannot be built:\n{done.stdout[-5_000:]}\n{done.stderr[-5_000:]}", pytrace=False)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment.folder], check=True, timeout=PATIENCE)
    (wheel,) = environment.wheels.glob("*.whl")
    site = Path(environment.python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    # What installs packages, and what makes them: neither is unpacked again for every package.
    for tool in ("pip", "setuptools"):
        _link(metadata.distribution(tool), site, environment.scripts)
    environment.install("--no-deps", wheel)
    (ours,) = metadata.distributions(name="cvxrobust", path=[str(site)])
    for needed in sorted(_closure(ours.requires or (), ("bench", "testing"))):
        _link(metadata.distribution(needed), site, environment.scripts)
    return environment


def _closure(requirements: Iterable[str], extras: tuple[str, ...] = ()) -> set[str]:
    """Names of everything that requirements need, in the environment that runs the tests."""
    found: set[str] = set()
    waiting = [(line, extras) for line in requirements]
    while waiting:
        line, asked = waiting.pop()
        needed = Requirement(line)
        name = canonicalize_name(needed.name)
        wanted = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *asked))
        if wanted and not needed.specifier.contains(found_version := metadata.version(name), prereleases=True):
            pytest.fail(f"{line} is asked for, and {found_version} is installed", pytrace=False)
        if wanted and name not in found:
            found.add(name)
            waiting += [(inner, tuple(needed.extras)) for inner in metadata.requires(name) or ()]
    return found


def _link(distribution: metadata.Distribution, site: Path, scripts: Path) -> None:
    """Put an installed distribution into another environment, at no cost in space where that can be had."""
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if "__pycache__" in file.parts or not source.is_file():
            continue
        if file.parts[0] != "..":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                _linked(source, target)
                if source.suffix == ".py":
                    _link_compiled(source, target)
        elif source.parent.name == scripts.name and not (target := scripts / source.name).exists():
            first, _, rest = source.read_bytes().partition(b"\n")
            ours = first.startswith(b"#!") and b"python" in first
            target.write_bytes(b"#!%s\n%s" % (os.fsencode(scripts / "python"), rest) if ours else source.read_bytes())
            target.chmod(source.stat().st_mode)


def _link_compiled(source: Path, target: Path) -> None:
    """What Python has made of a module: it is good for every file of the same age and size."""
    compiled, wanted = (Path(cache_from_source(file)) for file in (source, target))
    if compiled.is_file() and not wanted.exists():
        wanted.parent.mkdir(exist_ok=True)
        _linked(compiled, wanted)


def _linked(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def copy_of_the_package(target: Path) -> None:
    """What the wheel is made of, so that building leaves no trace in the checkout and takes none from it."""
    target.mkdir()
    for file in ROOT.iterdir():
        if file.is_file() and file.suffix in (".py", ".toml", ".typed", ".md", ""):
            shutil.copy(file, target)
    for folder in ("core", "problems", "backends", "bench"):
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))


def copied(package: Path, target: Path) -> Path:
    """A copy of a package's source, because installing from it writes into it."""
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".*")
    return Path(shutil.copytree(package, target / package.name, ignore=ignored))


def with_support(**variables):
    """The environment variables for a child process that imports the helpers here as its test does."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path} | variables
