"""An agent's clock that a test can turn: its ``time.time`` adds what a file says, in seconds.

Python imports this at its start where PYTHONPATH names this directory. Only agents are affected,
and only their wall clock: what changes when somebody sets a machine's date.
"""

import os
import sys
import time
from pathlib import Path

_path = os.environ.get("TFNZ_TEST_CLOCK")
if _path is not None and "tfnz_notebook.agent" in sys.orig_argv:
    _real = time.time

    def _turned() -> float:
        try:
            return _real() + float(Path(_path).read_text())
        except (OSError, ValueError):
            return _real()

    time.time = _turned
