"""All that pyproject.toml cannot say: README.md, with links that also work where its folders are not."""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent


def with_absolute_links(text: str, repository: str) -> str:
    """Markdown whose links to files lead to those in a repository.

    Args:
        text: The Markdown, with links relative to the root.
        repository: The address of the repository, without a slash at its end.
    """

    def absolute(found: re.Match[str]) -> str:
        kind = "raw" if found["image"] else "blob"
        return f"{found['image']}[{found['words']}]({repository}/{kind}/main/{found['target']})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)  # every second one is a block of code
    relative = r"(?P<image>!?)\[(?P<words>[^\]]*)\]\((?P<target>(?![a-z]+:|#)[^)\s]+)\)"
    return "".join(part if number % 2 else re.sub(relative, absolute, part) for number, part in enumerate(parts))


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(
        script_name="setup.py",  # whoever builds runs it by another name, and it is no module of the package
        long_description=with_absolute_links(readme, project["urls"]["Repository"]),
        long_description_content_type="text/markdown",
    )
