"""Executes a notebook for real, writes it as HTML, and prints what its cells said.

python .ci/run_notebook.py NOTEBOOK OUTPUT_DIRECTORY
"""

import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from traitlets.config import Config

CELL_SECONDS = 120
LINES_SHOWN = 12
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def output_text(output: nbformat.NotebookNode) -> str:
    """The plain text of one output, as a terminal can show it."""
    if output.output_type == "stream":
        text = output.text
    elif output.output_type == "error":
        text = "\n".join(output.traceback)
    else:
        text = output.data.get("text/plain", "")
    return ANSI.sub("", "".join(text)).replace("\r", "")


def print_cell(cell: nbformat.NotebookNode) -> None:
    """The cell's code, and its outputs shortened to what fits a screen."""
    for number, line in enumerate(cell.source.splitlines()):
        print(("    >>> " if number == 0 else "    ... ") + line)
    failed = any(output.output_type == "error" for output in cell.outputs)
    text = "".join(output_text(output).rstrip("\n") + "\n" for output in cell.outputs)
    lines = text.splitlines()
    shown = len(lines) if failed else LINES_SHOWN
    for line in lines[:shown]:
        print("    " + line)
    if len(lines) > shown:
        print(f"    … and {len(lines) - shown} lines more")
    print()


def run(path: Path, out: Path) -> bool:
    """Execute, print, save; False when a cell raised."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        # Other users of this machine could read plain TCP on loopback; the kernel warns of that.
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        timeout=CELL_SECONDS,
        resources={"metadata": {"path": path.parent}},
    )
    started = time.monotonic()
    failed = None
    try:
        client.execute()
    except CellExecutionError as error:
        failed = error
    seconds = time.monotonic() - started

    for cell in notebook.cells:
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count):
            print_cell(cell)
    out.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, out / path.name)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    html = out / f"{path.stem}.html"
    html.write_text(page, encoding="utf-8")
    print(f"{path.name}: {'FAILED' if failed else 'ran'} in {seconds:.1f} s; shown in {html}")
    return failed is None


if __name__ == "__main__":
    sys.exit(0 if run(Path(sys.argv[1]), Path(sys.argv[2])) else 1)
