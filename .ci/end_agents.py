"""Ends what agents left running below their runtime directory, each process by its own id.

python .ci/end_agents.py DIRECTORY

An agent holds a lock on its ``NAME.pid`` as long as it lives, whatever number the file says. The
Podman services it started and the guests of the host engine are remembered with their start times.
Containers of Docker and Podman are no processes of ours: .ci/with-engines asks the engines.
"""

import contextlib
import fcntl
import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path

TERM_SECONDS = 15
# The package need not be installed, nor what it depends on: this one module stands alone.
PIDS = runpy.run_path(str(Path(__file__).parents[1] / "tfnz_notebook" / "_base" / "proc.py"))


def locked(file: int) -> bool:
    """Somebody else holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def has_open(pid: int, path: Path) -> bool:
    """That process has that file open, so it is the one that holds the lock."""
    with contextlib.suppress(OSError):
        return any(fd.resolve() == path.resolve() for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def end_agent(path: Path) -> None:
    """TERM, then KILL."""
    file = os.open(path, os.O_RDWR)
    try:
        if not locked(file):
            return
        pid = int(json.loads(path.read_text())["pid"])
        if not has_open(pid, path):
            return
        print(f"ending agent {path.stem} (pid {pid})", file=sys.stderr)
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.kill(pid, number)
            deadline = time.monotonic() + TERM_SECONDS
            while time.monotonic() < deadline:
                if not locked(file):
                    return
                time.sleep(0.05)
    finally:
        os.close(file)


def end_remembered(path: Path) -> None:
    """A process that a JSON file remembers as ``pid`` and ``started``, with its descendants."""
    told = json.loads(path.read_text())
    if told.get("pid") and PIDS["alive"](told["pid"], told["started"]):
        print(f"ending pid {told['pid']} of {path}", file=sys.stderr)
        PIDS["kill_tree"](told["pid"], told["started"])


def main(runtime: Path) -> None:
    """Agents first: they would start things again."""
    for pattern, end in (
        ("*.pid", end_agent),
        ("podman-service.json", end_remembered),
        ("host/*/state.json", end_remembered),
    ):
        for path in sorted(runtime.glob(pattern)):
            with contextlib.suppress(OSError, ValueError, KeyError):  # half written, or just gone
                end(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
