"""An agent of an earlier version makes room; one of the same or a later version does not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfnz_notebook import __version__
from tfnz_notebook._link.agents import upgrade
from tfnz_notebook._link.agents.upgrade import make_room, outdated
from tfnz_notebook.errors import AgentError

#: Listens, and ends when told to (unless it was told not to).
LISTENER = """
import signal, socket, sys, time
if sys.argv[2] == "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("up", flush=True)
time.sleep(600)
"""


class Agents:
    """Listeners in a runtime directory, and what their announcements say."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.children: list[subprocess.Popen[str]] = []

    def start(self, version: str | None, manner: str = "mild", *, pid: int = 0) -> int:
        path = self.runtime / "host.sock"
        path.unlink(missing_ok=True)
        argv = [sys.executable, "-c", LISTENER, str(path), manner]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        told = {"where": "host", "socket": f"ipc://{path}", "pid": pid or child.pid}
        told |= {"version": version} if version is not None else {}
        (self.runtime / "host.pid").write_text(json.dumps(told))
        return child.pid


@pytest.fixture
def agents(runtime: Path) -> Iterator[Agents]:
    made = Agents(runtime)
    yield made
    for child in made.children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.mark.parametrize("version", ["0.0.9", "0.1.0rc1", None])
def test_an_earlier_one_ends(agents: Agents, runtime: Path, version: str | None) -> None:
    pid = agents.start(version)
    assert outdated(runtime, "host") == pid
    make_room(runtime, "host")
    assert agents.children[0].wait(10) == -15
    assert outdated(runtime, "host") is None
    make_room(runtime, "host")


@pytest.mark.parametrize("version", [__version__, "99.0", f"{__version__}.post1"])
def test_others_stay(agents: Agents, runtime: Path, version: str) -> None:
    agents.start(version)
    assert outdated(runtime, "host") is None
    make_room(runtime, "host")
    assert agents.children[0].poll() is None


def test_whoever_does_not_listen_there_is_not_signalled(agents: Agents, runtime: Path) -> None:
    """The announcement is of one that was killed; its process id is another's by now."""
    agents.start("0.0.1", pid=os.getpid())
    assert outdated(runtime, "host") is None
    make_room(runtime, "host")
    assert agents.children[0].poll() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"version": "1"}'])
def test_an_announcement_that_says_nothing(agents: Agents, runtime: Path, text: str) -> None:
    agents.start("0.0.1")
    (runtime / "host.pid").write_text(text)
    assert outdated(runtime, "host") is None


def test_one_that_does_not_end_is_named(
    agents: Agents, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "PATIENCE", 0.2)
    pid = agents.start("0.0.1", "stubborn")
    with pytest.raises(AgentError, match=f"earlier version \\(pid {pid}\\).*'kill {pid}'"):
        make_room(runtime, "host")


def test_versions_in_their_order() -> None:
    order = ["0", "0.0.9", "0.1.0.dev3", "0.1.0a1", "0.1.0rc1", "0.1.0", "0.1.1", "0.2", "0.10.0"]
    ranks = [upgrade._rank(version) for version in order]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
    assert upgrade._rank("0.1") == upgrade._rank("0.1.0")
    assert upgrade._rank("0.1.0rc1") < upgrade._rank("0.1.0") <= upgrade._rank("0.1.0+local")
