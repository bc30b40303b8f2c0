"""Executes notebooks for real.

python .ci/run_notebook.py NOTEBOOK DIRECTORY   prints what its cells said, writes it there as HTML
python .ci/run_notebook.py --save NOTEBOOK...   puts the outputs into the notebooks themselves
"""

import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from traitlets.config import Config

CELL_SECONDS = 120
LINES_SHOWN = 12
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: All that a saved notebook says of its kernel: the rest is of the machine it was saved on.
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(notebook: nbformat.NotebookNode, folder: Path) -> CellExecutionError | None:
    """Run it from top to bottom; what a cell raised, if one did."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        # Other users of this machine could read plain TCP on loopback; the kernel warns of that.
        config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        timeout=CELL_SECONDS,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": folder}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return error
    return None


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


def shows(output: nbformat.NotebookNode) -> bool:
    """Whether there is anything in it for a reader.

    A view that froze leaves an empty output behind; stderr is where we say what is slow here now.
    """
    if output.get("name") == "stderr":
        return False
    data: dict[str, Any] = output.get("data", {"text/plain": "something"})
    return any(data.values())


def tidied(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """It as it is saved: what differs from run to run for no reader's good is left out."""
    notebook.metadata = nbformat.from_dict(KERNEL)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key == "tags"}
        )
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if shows(output)]
            for output in cell.outputs:
                if "text" in output:  # a terminal's line ends are of no use here
                    output.text = output.text.replace("\r\n", "\n")
    return notebook


def run(path: Path, out: Path) -> bool:
    """Execute, print, write as HTML; False when a cell raised."""
    notebook = nbformat.read(path, as_version=4)
    started = time.monotonic()
    failed = execute(notebook, path.parent)
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


def save(path: Path) -> bool:
    """Execute it and keep the outputs in it; as it was, when a cell raised."""
    notebook = nbformat.read(path, as_version=4)
    started = time.monotonic()
    failed = execute(notebook, path.parent)
    seconds = time.monotonic() - started
    if failed is None:
        nbformat.write(tidied(notebook), path)
    else:
        print(failed)
    print(f"{path.name}: {'FAILED' if failed else 'saved'} after {seconds:.1f} s")
    return failed is None


if __name__ == "__main__":
    if sys.argv[1] == "--save":
        done = [save(Path(name)) for name in sys.argv[2:]]
    else:
        done = [run(Path(sys.argv[1]), Path(sys.argv[2]))]
    sys.exit(0 if all(done) else 1)
