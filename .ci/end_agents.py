"""Ends what agents left running, each process by its own id.

python .ci/end_agents.py RUNTIME STATE

Agents, by the records in these directories; the Podman services they started and the guests of the
host engine, which are remembered with their start times. Containers of Docker and Podman are no
processes of ours: .ci/end-run asks the engines.
"""

import contextlib
import json
import signal
import sys
from pathlib import Path

# Neither the package need be installed, nor what it depends on: these modules stand alone.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tfnz_notebook._base import proc, running

STEPS = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 15.0))


def end_remembered(path: Path) -> None:
    """A process that a JSON file remembers as ``pid`` and ``started``, with its descendants."""
    told = json.loads(path.read_text())
    if told.get("pid") and proc.alive(told["pid"], told["started"]):
        print(f"ending pid {told['pid']} of {path}", file=sys.stderr)
        proc.kill_tree(told["pid"], told["started"])


def main(runtime: Path, state: Path) -> None:
    """Agents first: they would start things again."""
    for agent in running.agents(runtime, state):
        print(f"ending agent {agent.name} (pid {agent.pid})", file=sys.stderr)
        agent.end(*STEPS)
    for pattern in ("podman-service.json", "host/*/state.json"):
        for path in sorted(runtime.glob(pattern)):
            with contextlib.suppress(OSError, ValueError, KeyError):  # half written, or just gone
                end_remembered(path)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
