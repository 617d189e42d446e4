"""The notebooks of docs/gallery: readable, of public names alone; and their builder, which publishes nothing broken.

Whether what they say holds is asserted in their own cells, which `make gallery` runs; here nothing long is run.
"""

import ast
import importlib.util
import io
import re
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError
from PIL import Image

import cvxrobust
from cvxrobust import core
from cvxrobust.core import testing

ROOT = Path(__file__).resolve().parents[2]
GALLERY = sorted((ROOT / "docs" / "gallery").glob("*.py"))
PUBLIC = {
    "cvxrobust": cvxrobust.__all__,
    "cvxrobust.core": core.__all__,
    "cvxrobust.core.pictures.band": ["plot_band", "plot_bands"],
    "cvxrobust.core.testing": testing.__all__,
}
"""What a reader may rely on, by the room that it is imported from."""

LONGEST = 16
"""Lines of code of a cell, but for those that import: what fits beside its prose."""


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_gallery", ROOT / "docs" / "build_gallery.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_cells(path):
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]


def test_the_builder_knows_every_notebook(builder):
    assert sorted(builder.ORDER) == [path.stem for path in GALLERY]


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_a_notebook_opens_with_its_question_and_ends_with_what_it_checks(path, builder):
    title, first = builder.opening(path)
    assert len(title) > 10
    assert len(first) > 100
    cells = code_cells(path)
    assert "assert " in cells[-1].source, "the last cell checks what the page says"
    assert "## What" in "".join(cell.source for cell in jupytext.read(path).cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_cells_are_short_and_pictures_have_words(path):
    for number, cell in enumerate(code_cells(path)):
        lines = [line for line in cell.source.splitlines() if line and not line.startswith("#")]
        assert number == 0 or len(lines) <= LONGEST, cell.source
        assert "plt.show()" not in cell.source or len(cell.metadata.get("alt", "")) > 20, cell.source


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_a_notebook_speaks_of_public_names_alone(path):
    tree, seen = ast.parse(path.read_text(encoding="utf-8")), 0
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cvxrobust"):
            assert {alias.name for alias in node.names} <= set(PUBLIC.get(node.module, ()))
            seen += 1
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("cvxrobust") for alias in node.names)
        assert not (isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr)), ast.unparse(node)
    assert seen


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_links_lead_to_other_notebooks(path):
    links = re.findall(r"\]\(([\w.]+\.md)[)#]", path.read_text(encoding="utf-8"))
    assert {link.removesuffix(".md") for link in links} <= {other.stem for other in GALLERY}


def written(folder, *cells):
    path = folder / "little.py"
    path.write_text("\n\n".join(["# %% [markdown]\n# # Little\n#\n# A page.", *cells]), encoding="utf-8")
    return path


def test_what_raises_is_not_published(builder, tmp_path):
    with pytest.raises(CellExecutionError, match="nothing of the kind"):
        builder.executed(written(tmp_path, '# %%\nassert False, "nothing of the kind"'))


def test_what_warns_is_not_published(builder, tmp_path):
    path = written(tmp_path, "# %%\nprint(1 + 1)", '# %%\nimport warnings\n\nwarnings.warn("mind this")')
    with pytest.raises(RuntimeError, match=r"(?s)little.py, cell 2 .*mind this"):
        builder.executed(path)


def a_picture():
    colours = np.full((2, 3, 3), 255, dtype=np.uint8)
    colours[0, 0] = (200, 30, 30)
    file = io.BytesIO()
    Image.fromarray(colours).save(file, format="PNG")
    return file.getvalue()


def run_notebook(words):
    """One that ran: a cell of prose, one that printed and drew."""
    import base64

    drawn = nbformat.v4.new_output("display_data", data={"image/png": base64.b64encode(a_picture()).decode()})
    printed = nbformat.v4.new_output("stream", name="stdout", text="41.9\n")
    code = nbformat.v4.new_code_cell("print(41.9)", outputs=[printed, drawn], metadata={"alt": words})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Little\n\nA page."), code])


def test_a_page_has_what_was_printed_and_pictures_for_light_and_dark(builder, tmp_path):
    builder.write(run_notebook("a dot"), "little", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "little.md", "little.ipynb", "little_1_1.png", "little_1_1_dark.png"
    }  # fmt: skip
    page = (tmp_path / "little.md").read_text(encoding="utf-8")
    assert page.startswith("# Little\n\n[Download as a notebook](little.ipynb)\n\nA page.")
    assert "    41.9" in page
    for name, where in (("little_1_1.png", "light"), ("little_1_1_dark.png", "dark")):
        assert f"![a dot]({name}#only-{where})" in page
    nbformat.validate(nbformat.read(tmp_path / "little.ipynb", as_version=4))


def test_a_picture_without_words_is_not_published(builder):
    with pytest.raises(RuntimeError, match="say what it shows"):
        builder.rendered(run_notebook(""), "little")


def test_dark_pictures_turn_light_and_keep_hues(builder):
    dark = np.asarray(Image.open(io.BytesIO(builder.darkened(a_picture()))), dtype=float)
    assert np.allclose(dark[1, 1], builder.SLATE, atol=0.5)
    assert dark[0, 0].argmax() == 0
    assert dark[0, 0, 0] > 1.3 * dark[0, 0, 1:].max()


def test_the_index_has_every_notebook_in_its_own_words(builder):
    text = builder.index()
    for name in builder.ORDER:
        title, first = builder.opening(ROOT / "docs" / "gallery" / f"{name}.py")
        assert f"## [{title}]({name}.md)\n\n{first}\n" in text
