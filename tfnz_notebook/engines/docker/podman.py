"""Podman's API service, started by us where only the ``podman`` command exists.

``podman system service --time=0 unix://…`` in a directory of the agent that no other user can
enter, as root or as a user. It is a translator, not a parent: containers hang on their own
``conmon`` processes and go on when it ends, so stopping it in ``close()`` harms nothing. Pid and
start time are kept beside the socket; an agent that was killed leaves a service that its successor
finds there, uses, and stops.

One probe: on a machine with cgroups in hybrid mode (v2 mounted at ``unified`` beside v1) ``crun``
refuses to start anything. If Podman says that crun is its runtime there, and ``runc`` exists, the
service is started with ``--runtime runc``.

A user's Podman mounts ``XDG_RUNTIME_DIR`` for its networks and refuses one of another user. After
``su``, and where a hub started the server, there is none, or that: it is given the directory that
Podman itself falls back to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tfnz_notebook._base import endpoints, paths, proc
from tfnz_notebook._base.endpoints import parse
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.errors import NoEngine, TfnzError

#: Its name; podman.sock is the agent's own.
SOCKET: Final = "podman-service.sock"
#: Through which slirp4netns and pasta give a user's containers their network.
TUN: Final = "/dev/net/tun"
_START_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 10.0


class PodmanService:
    """One service in ``directory``; :meth:`start` and :meth:`stop` are idempotent."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.binary = binary
        self.directory = directory
        self.socket = directory / SOCKET
        self._state = directory / "podman-service.json"
        self._log = directory / "podman-service.log"
        self._process: subprocess.Popen[bytes] | None = None
        #: The runtime it was told to use, '' for Podman's own choice.
        self.runtime = ""

    async def start(self) -> None:
        """Make it answer. Raises NoEngine with the service's last words."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if self._running() and await self._answers():
            return
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        self.runtime = await asyncio.get_running_loop().run_in_executor(None, self._probe)
        command = [self.binary]
        if self.runtime:
            command += ["--runtime", self.runtime]
        command += ["system", "service", "--time=0", f"unix://{self.socket}"]
        self._process = self._launch(command)
        started = proc.start_time(self._process.pid)
        self._state.write_text(
            json.dumps({"pid": self._process.pid, "started": started, "runtime": self.runtime})
        )
        await self._wait()

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,  # conmon 2.1 leaves a file 'oom' where its service runs
                start_new_session=True,  # a Ctrl-C at the agent's terminal is not for it
                env=environment(os.environ),
            )

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_TIMEOUT
        while not await self._answers():
            ended = self._process is not None and self._process.poll() is not None
            if ended or loop.time() > deadline:
                words = self._log.read_bytes()[-2000:].decode("utf-8", "replace").strip()
                await self.stop()
                raise NoEngine(
                    f"Cannot start Podman's API service: "
                    f"{words or 'it does not answer'}. Try 'podman info' in a terminal."
                )
            await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            answer = await Client(parse(str(self.socket)), "podman").request(
                "GET", "/_ping", timeout=5
            )
        except TfnzError:
            return False
        return answer.status == 200

    def _probe(self) -> str:
        """'runc' where Podman would take crun and crun would refuse this machine's cgroups."""
        if not hybrid_cgroups() or shutil.which("runc") is None:
            return ""
        try:
            said = subprocess.run(
                [self.binary, "info", "--format", "{{.Host.OCIRuntime.Name}}"],
                capture_output=True,
                timeout=_START_TIMEOUT,
                check=False,
                env=environment(os.environ),
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return "runc" if said.stdout.strip() == b"crun" else ""

    def _known(self) -> tuple[int, int] | None:
        try:
            state = json.loads(self._state.read_text())
            self.runtime = str(state.get("runtime", ""))
            return int(state["pid"]), int(state["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _running(self) -> bool:
        known = self._known()
        return known is not None and proc.alive(*known)

    async def stop(self) -> None:
        """TERM, then KILL, the service that we (or an agent before us) started here."""
        known = self._known()
        if known is not None:
            await self._end(known, signal.SIGTERM, _STOP_TIMEOUT)
            await self._end(known, signal.SIGKILL, _STOP_TIMEOUT)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self._process = None
        for path in (self.socket, self._state, self._log, self.directory / "oom"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    async def _end(self, known: tuple[int, int], number: signal.Signals, patience: float) -> None:
        if not proc.alive(*known):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(known[0], number)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while proc.alive(*known) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def serve(
    runtime: Path, environ: Mapping[str, str]
) -> tuple[Client | None, PodmanService | None]:
    """A client of a service of our own, if there is a ``podman`` command to start one."""
    binary = endpoints.podman_binary(environ)
    if binary is None:
        return None, None
    service = PodmanService(binary, runtime)
    await service.start()
    return Client(parse(str(service.socket)), "podman"), service


def hybrid_cgroups(mounts: str = "/proc/mounts") -> bool:
    """Cgroup v1 controllers with v2 mounted beside them, below the same directory."""
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return False
    kinds = {fields[1]: fields[2] for line in lines if len(fields := line.split()) > 2}
    return kinds.get("/sys/fs/cgroup") == "tmpfs" and "cgroup2" in kinds.values()


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Podman's: without CONTAINER_HOST, which would turn it into a client of itself."""
    other = {"CONTAINER_HOST", "DOCKER_HOST"}
    if os.geteuid() != 0:
        other.add("XDG_RUNTIME_DIR")
    kept = {key: value for key, value in environ.items() if key not in other}
    if os.geteuid() != 0 and (runtime := paths.podmans_runtime(environ)) is not None:
        kept["XDG_RUNTIME_DIR"] = str(runtime)
    return kept


def network_trouble() -> tuple[str, str]:
    """Why a user's Podman can give containers no network on this machine, and what helps; or ''."""
    if os.access(TUN, os.R_OK | os.W_OK, effective_ids=True):
        return "", ""
    there = paths.there(TUN)
    cause = "may not be opened" if there else "is not there"
    remedy = f"chmod 666 {TUN}" if there else "modprobe tun"
    return (
        f"{TUN} {cause}, through which containers of a user get their network",
        f"As root: {remedy}; of a container: --device {TUN}. Or spawn with network='none', 'host'.",
    )
