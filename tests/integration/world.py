"""A world of its own for tests: directories, agents and an owner's name that no user shares.

Everything in it is found again by these: agents and guests of the host engine by the runtime
directory in their environment, containers and volumes by the owner label, spools by the state
directory. So a world can say what was left behind, and remove it, each thing by its id.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from integration import engine_api
from integration.polling import until

#: On everything an engine holds for us. The value begins with the owner's name of this world.
LABEL = "io.tfnz.owner"
#: Makes ``python`` import what these tests import, wherever that is.
PYTHON = [sys.executable, "-u"]


class World:
    """One set of directories under which locations and agents of the tests live."""

    def __init__(self, **settings: str) -> None:
        # A short path: the sockets in it must fit into the 108 bytes of sun_path.
        self.home = Path(tempfile.mkdtemp(prefix="tfnz-"))
        self.runtime, self.state, self.config = (
            self.home / name for name in ("run", "state", "config")
        )
        for path in (self.runtime, self.state, self.config):
            path.mkdir(mode=0o700)
        if noted := os.environ.get("TFNZ_TEST_WORLDS"):  # .ci/end-run ends what a killed test left
            Path(noted, self.home.name).symlink_to(self.home)
        self.settings = {
            "TFNZ_RUNTIME": str(self.runtime),
            "TFNZ_STATE": str(self.state),
            "TFNZ_CONFIG": str(self.config),
            **settings,
        }

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Make it this process's world, and that of its children."""
        patch.delenv("TFNZ_LOCATION", raising=False)
        for name, value in self.settings.items():
            patch.setenv(name, value)

    def environment(self, **more: str) -> dict[str, str]:
        """For a child process."""
        inherited = {key: value for key, value in os.environ.items() if key != "TFNZ_LOCATION"}
        return {**inherited, **self.settings, **more}

    @property
    def owner(self) -> str:
        """The value of our label on an engine's things; empty before the first agent."""
        path = self.state / "owner"
        return path.read_text().strip() if path.exists() else ""

    def secret(self, where: str) -> Path:
        """The file with the secret of the engine's agent; after a first one has been there."""
        (found,) = (self.state / "secrets").glob(f"{where}*")
        return found

    def label(self, where: str) -> str:
        """The whole value of our label on that engine: the secret has the same key."""
        return f"{self.owner}-{self.secret(where).name}"

    def tfnz_agent(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return subprocess.run(
            [sys.executable, "-m", "tfnz_notebook.agent", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def holds(self, where: str) -> set[str]:
        """Ids of our containers, as the engine has them (host: as the agent's files do)."""
        if where == "host":
            return {path.parent.name for path in (self.runtime / "host").glob("*/state.json")}
        return {each["Labels"]["io.tfnz.container"] for each in self.containers(where)}

    def containers(self, engine: str) -> list[dict[str, Any]]:
        """What a container engine holds for this world's owner."""
        owner = self.owner
        found = engine_api.containers(engine, LABEL) if owner else []
        return [each for each in found if each["Labels"][LABEL].startswith(owner)]

    def container(self, engine: str, ident: str) -> dict[str, Any]:
        """What the engine says of one container, past our own code."""
        (found,) = [
            each for each in self.containers(engine) if each["Labels"]["io.tfnz.container"] == ident
        ]
        return engine_api.inspect(engine, found["Id"])

    # -- agents

    def agents(self) -> dict[str, int]:
        """Engine name to process id of the agents that live."""
        return {where: told["pid"] for where, told in self._records().items()}

    def agent(self, where: str) -> str:
        """What the engine's agent is called; it says of which endpoint it is."""
        return str(self._records()[where].get("name", where))

    def socket(self, where: str) -> str:
        """Where that agent listens, as a path."""
        return str(self._records()[where]["socket"]).removeprefix("ipc://")

    def _records(self) -> dict[str, dict[str, Any]]:
        """By engine; a test with two endpoints of one engine has to look for itself."""
        found = {}
        for path in self.runtime.glob("*.pid"):
            try:
                told = json.loads(path.read_text())
            except (ValueError, FileNotFoundError):
                continue  # one that starts, or has just ended
            if alive(told["pid"]):
                # the engine alone: a cluster's also says which context and namespace
                found[told["where"].partition(":")[0]] = told
        return found

    def kill_agent(self, where: str) -> int:
        """SIGKILL it, wait until it is gone; its former process id."""
        pid = until(lambda: self.agents().get(where), 20, f"an agent of {where} runs")
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), 10, f"agent {pid} is gone")
        return pid

    # -- the end

    def close(self) -> list[str]:
        """Stop the agents; remove all that is left, and say what that was."""
        stopped = self.tfnz_agent("stop")
        left = [] if stopped.returncode == 0 else [f"tfnz-agent stop: {stopped.stderr}"]
        left += self._remove_processes()
        if self.owner:
            for engine in engine_api.SOCKETS:
                left += self._remove_from(engine)
        spool = self.state / "spool"
        # How long a durable session lasts is kept for who was in it last, and may come back.
        files = (path for path in spool.rglob("*") if path.suffix != ".sessions")
        left += [f"spool file {path}" for path in files if path.is_file()]
        logs = "".join(
            f"\n--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in self.runtime.glob("*.log")
        )
        shutil.rmtree(self.home, ignore_errors=True)
        return [*left, logs] if left else []

    def _remove_processes(self) -> list[str]:
        mark = f"TFNZ_RUNTIME={self.runtime}".encode()
        left = []
        deadline = time.monotonic() + 5  # an agent that has nothing to do any more may be going
        while _processes_with(mark) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid, command in _processes_with(mark):
            left.append(f"process {pid}: {command}")
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                left.pop()  # it was about to end
        return left

    def _remove_from(self, engine: str) -> list[str]:
        try:
            found = self.containers(engine)
        except (ConnectionError, FileNotFoundError):
            return []  # that engine is not among those tested
        left = []
        for each in found:
            left.append(f"{engine} container {each['Id'][:12]} ({each.get('State')})")
            engine_api.remove_container(engine, each["Id"])
        for volume in engine_api.volumes(engine, LABEL):
            if (volume.get("Labels") or {}).get(LABEL, "").startswith(self.owner):
                left.append(f"{engine} volume {volume['Name']}")
                engine_api.remove_volume(engine, volume["Name"])
        return left


def alive(pid: int) -> bool:
    """Whether it runs; a zombie, whose parent is yet to look, does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def _processes_with(mark: bytes) -> list[tuple[int, str]]:
    """Processes that were started with this in their environment, other than this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        try:
            if pid != os.getpid() and mark in (path / "environ").read_bytes().split(b"\0"):
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append((pid, command))
        except OSError:
            continue  # it ended, or is not ours to look into
    return found
