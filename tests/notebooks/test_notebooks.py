"""Every notebook is a promise to its reader: it runs from top to bottom on each engine."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# What a reader is shown, by notebook: without these it ran, and showed nothing.
SHOWN = {
    "01-first-container": [
        "nginx: master process",
        "procs ---",
        "--- vmstat ended with",
        "entries in /usr/share",
        "/dev/pts/",
        "Welcome to nginx!",
    ],
}


ENGINES = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("podman", "docker")]


def said(output: nbformat.NotebookNode) -> str:
    """The plain text of one output."""
    if output.output_type == "stream":
        return str(output.text)
    return str(output.get("data", {}).get("text/plain", ""))


def text_of(notebook: nbformat.NotebookNode) -> str:
    """All that its cells printed and returned."""
    return "\n".join(said(output) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_says(path: Path, engine: str, tmp_path: Path) -> None:
    script = ROOT / ".ci" / "run_notebook.py"
    command = [sys.executable, "-P", str(script), str(path), str(tmp_path)]
    env = os.environ | {"TFNZ_LOCATION": engine}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    executed = nbformat.read(tmp_path / path.name, as_version=4)
    shown = text_of(executed)
    assert not [what for what in SHOWN.get(path.stem, []) if what not in shown], shown
    assert (tmp_path / f"{path.stem}.html").stat().st_size > 10_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell.id for cell in cells if cell.outputs or cell.execution_count]
