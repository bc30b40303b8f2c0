"""The notebooks as they are in the repository: small, complete, and of no machine in particular."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from notebooks.shown import NOTEBOOKS, PICTURES, ROOT, SHOWN, code_cells, text_of

LIMIT = 300_000
#: Of the machine that it was saved on, of a registry, or of widgets.
FOREIGN = re.compile(
    r"site-packages|/home/|/Users/|/tmp/|\.venv|docker\.io|quay\.io|pypi|widget-view|jupyter\.widget"
)


def test_all_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(SHOWN)
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"0{n}" for n in range(1, 10)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_small_and_names_no_machine(path: Path) -> None:
    assert path.stat().st_size <= LIMIT
    text = path.read_text(encoding="utf-8")
    own = [str(ROOT) + "/", sys.prefix]
    assert not FOREIGN.findall(text) and not [each for each in own if each in text]
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert not [cell.id for cell in notebook.cells if cell.metadata]
    assert json.loads(text)["nbformat_minor"] == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_saved_with_its_outputs(path: Path) -> None:
    cells = code_cells(nbformat.read(path, as_version=4))
    counts = [cell.execution_count for cell in cells.values()]
    assert counts == list(range(1, len(counts) + 1)), "run from top to bottom, once"
    for ident, cell in cells.items():
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"
            data = output.get("data")
            assert data is None or data.get("text/plain"), f"{ident}: no text for plain readers"
        text = text_of(cell)
        assert not [each for each in SHOWN[path.stem].get(ident, ()) if each not in text], ident
        pictures = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        assert pictures == PICTURES.get((path.stem, ident), 0)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_ends_clean(path: Path) -> None:
    *_, last = code_cells(nbformat.read(path, as_version=4)).values()
    assert "location.disconnect()" in last.source
