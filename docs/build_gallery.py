"""Runs the notebooks of docs/gallery and writes them as pages and for download: no page says what it does not do.

    python docs/build_gallery.py [NAME ...] [--out FOLDER]

A notebook is a file `docs/gallery/NAME.py` in jupytext's percent format: Markdown cells are the page's prose, code
cells are run, in order, in a fresh kernel with one thread. An error in any cell, an assertion among them, or a word on
standard error, which is where warnings go, fails the build. Written are `NAME.md` with its pictures, each for light and
for dark pages, `NAME.ipynb` with all outputs, and `index.md`. A cell says what its picture shows by ``alt="..."`` in
its first line.
"""

import argparse
import io
import os
import re
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import numpy as np
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from PIL import Image

from cvxrobust.core.files import write_whole

HOME = Path(__file__).parent / "gallery"

ORDER = (
    "robust_medical_table", "immutable_features", "choosing_a_backend", "third_party_backend", "relu_linf", "wide_data"
)  # fmt: skip
"""The notebooks, in the order in which the index shows them."""

PATIENCE = 600
"""Seconds after which a cell is given up: it hangs."""

SURROUNDINGS = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
"""Environment of kernels: one thread each, and pictures in the notebook."""

SLATE = (30.0, 33.0, 41.0)
"""The background of dark pages (mkdocs-material's `slate`), in which the white of pictures is lost."""

TOP = "[Download as a notebook]({name}.ipynb)\n\n"

INDEX = """# Gallery

Six notebooks, each run as a whole whenever these pages are built, on data that comes with scikit-learn or is drawn on
the spot. All of them run in seconds on a laptop.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(ORDER), help="notebooks; all by default")
    parser.add_argument("--out", type=Path, default=HOME, help="folder to write to; the notebooks' own by default")
    asked = parser.parse_args(words)
    for name in asked.names:
        before = _processor_seconds()
        notebook = executed(HOME / f"{name}.py")
        print(f"{name}: {_processor_seconds() - before:.1f} s of CPU", flush=True)
        write(notebook, name, asked.out)
    write_whole(asked.out / "index.md", index().encode())
    return 0


def executed(path: Path) -> Any:
    """The notebook of a file, run from start to end.

    Raises:
        CellExecutionError: A cell raised.
        RuntimeError: A cell wrote to standard error.
    """
    notebook = jupytext.read(path)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    with tempfile.TemporaryDirectory() as folder:  # what cells write belongs to nobody
        client = NotebookClient(
            notebook,
            timeout=PATIENCE,
            startup_timeout=PATIENCE,
            kernel_name="python3",
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=os.environ | SURROUNDINGS)
    for number, cell in enumerate(notebook.cells):
        cell.metadata.pop("execution", None)  # times of day, which would differ from build to build
        words = [output.text for output in cell.get("outputs", ()) if output.get("name") == "stderr"]
        if words:
            raise RuntimeError(f"{path.name}, cell {number} wrote to standard error:\n{''.join(words)}")
    return notebook


def write(notebook: Any, name: str, out: Path) -> None:
    """Write a notebook that was run as a page with pictures, and for download."""
    page, pictures = rendered(notebook, name)
    out.mkdir(parents=True, exist_ok=True)
    for file, content in pictures.items():
        write_whole(out / file, content)
    write_whole(out / f"{name}.md", page.encode())
    write_whole(out / f"{name}.ipynb", nbformat.writes(notebook).encode())


def rendered(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by the names of their files."""
    exporter = MarkdownExporter()
    page, resources = exporter.from_notebook_node(notebook)
    pictures: dict[str, bytes] = {}
    for given, content in resources["outputs"].items():
        cell, number = re.findall(r"\d+", given)
        light, dark = f"{name}_{cell}_{number}.png", f"{name}_{cell}_{number}_dark.png"
        pictures |= {light: content, dark: darkened(content)}
        words = notebook.cells[int(cell)].metadata.get("alt", "")
        if not words:
            raise RuntimeError(f'{name}, cell {cell} draws a picture; say what it shows: # %% alt="..."')
        page = page.replace(f"![png]({given})", f"![{words}]({light}#only-light)\n![{words}]({dark}#only-dark)")
    title, _, rest = page.lstrip().partition("\n")
    return f"{title}\n\n{TOP.format(name=name)}{rest.lstrip()}", pictures


def darkened(picture: bytes) -> bytes:
    """A PNG for dark pages: light is turned into dark and back, hues stay what they are."""
    colours = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=np.float64)
    # The lightness of HLS is half the sum of the largest and the smallest channel.
    turned = colours + 255.0 - colours.max(axis=-1, keepdims=True) - colours.min(axis=-1, keepdims=True)
    shade = np.array(SLATE)
    file = io.BytesIO()
    Image.fromarray((shade + turned * (1.0 - shade / 255.0)).round().astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def index() -> str:
    """The page that leads to the notebooks, in their own words: title and first paragraph."""
    entries = []
    for name in ORDER:
        title, first = opening(HOME / f"{name}.py")
        entries.append(f"## [{title}]({name}.md)\n\n{first}\n")
    return "\n".join([INDEX, *entries])


def opening(path: Path) -> tuple[str, str]:
    """Title and first paragraph of a notebook."""
    title, first, *_ = jupytext.read(path).cells[0].source.split("\n\n")
    return title.removeprefix("# "), first


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # kernels that have ended, with their own children
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
