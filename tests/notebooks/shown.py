"""What each notebook shows its reader, cell by cell: without these it ran, and proved nothing."""

from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))

#: Those that are about a cluster, and run on one alone.
CLUSTERED = [path for path in NOTEBOOKS if path.stem == "08-on-a-cluster"]

#: Images that no other test needs, by the notebook; it runs in `make test-long`, and on no cluster.
IMAGES = {"09-three-pythons": ("python:3.9-slim", "python:3.11-slim", "python:3.13-slim")}

SHOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "01-first-container": {
        "location": ("Node",),
        "nginx": ("web", "nginx"),
        "fetch": ("200 nginx", "'Welcome to nginx!'"),
        "change": ("200 nginx", "'My page'"),
        "ps": ("nginx: master process", "/bin/ps faxu"),
        "quick": ("ms for a process",),
    },
    "02-processes": {
        "callbacks": (
            *("procs ---", "--- sleep 3 ended with 0", "--- vmstat 1 ended with -15"),
            "survivors: 0",
        ),
        "bash": ("entries in /usr/share", "1\n2\n3"),
        "sort": ("42\n99\n1001",),
        "shown": ("==> compile ok", "warning: the answer is not 42", "exit 3"),
        "signals": (*(r"b'ready\ncleaning up\n' 7", r"b'ready\n' -9", "b'' -15 timed out: True"),),
        "gather": ("100 processes in", "their sum is 4950"),
        "lines": ("line 1\nline 2\nline 3\nline 4\nline 5",),
        "again": ("[b'line 3', b'line 4', b'line 5']",),
    },
    "03-shell": {
        "shell": ("root@box", "42 in /root on box", "exit 7"),
        "typed": ("PRETTY_NAME=", "exit 7"),
        "reply": ("42 in /root on box",),
        "colours": ("exit 0",),
        "exit": ("the shell ended with 7",),
    },
    "04-live-vmstat": {
        "allow": ("before: False", "after: True"),
        "ab": ("Concurrency Level:      16", "Requests per second"),
        "data": ("us", "sy", "mean", "max"),
        "used": ("cpu", "memory", "sent"),
    },
    "05-database": {
        "start": ("PostgreSQL",),
        "load": ("longest_year", "8", "164.8"),
        "kepler": ("Neptune", "164.78", "0.999"),
        "psql": ("double precision", "planet_pkey", "exit 0"),
        "index": ("Seq Scan on sighting", "sighting_who_idx"),
        "transactions": ("inside:   1", "outside:  0", "rolled back: 0"),
        "again": ("8", "200000"),
        "end": ("[]",),
    },
    "06-classroom": {
        "spawn": ("30 containers ready in",),
        "answers": ("30 answers handed in",),
        "grade": ("student 01", "student 30", "ended after 5 seconds", "ended with 137"),
        "left": ("3 points", "8", "1 points", "19", "0 points", "3"),
        "disconnect": ("class dismissed",),
    },
    "07-survive": {
        "job": ("reading 1:", "reading 3:"),
        "restart": ("the job is forgotten",),
        "again": ("readings, and it goes on",),
        "shown": ("reading", "exit 0"),
        "complete": ("in order: True", "the same checksum: True", "exit code: 0"),
    },
    "08-on-a-cluster": {
        "location": ("one node or more: True",),
        "spawn": ("4 pods ready in", "names of pods: 4"),
        "quick": ("ms for a process",),
        "web": ("before: False", "after: True"),
        "page": ("200 nginx",),
        "volume": ("it stays",),
        "end": ("nothing is left",),
    },
    "09-three-pythons": {
        "first": ("a cell in 3.9", "False"),
        "second": ("a cell in 3.13", "True"),
        "kept": ("three nine",),
        "versions": (
            *("match           SyntaxError           runs                  runs",),
            *("cgi             runs                  runs                  ModuleNotFoundError",),
        ),
        "summarised": ("{'mean': 22.9, 'median': 20.65}",),
        "broken": ("AttributeError: module 'json' has no attribute 'dumps'", '{"a": 1}'),
        "killed": ("was killed for the container's memory limit",),
        "anew": ("False",),
        "others": ("three thirteen",),
        "end": ("three Pythons less",),
    },
}
#: How many plots a cell's outputs have a picture of.
PICTURES = {("04-live-vmstat", "plots"): 2}


def text_of(cell: nbformat.NotebookNode) -> str:
    """All that a cell printed and returned, as text and as HTML."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        found += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(found)


def code_cells(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """Its cells of code, by their ids."""
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}
