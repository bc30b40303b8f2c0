"""No container: the guest as a plain process of this machine, for places that have no engine.

Processes see the whole machine, as this user: **nothing is isolated**. A 'container' here is a
guest (a subreaper, so that the tree it started stays its own), a scratch directory that is the
working directory of its processes and the root of its file transfers, and a state file.

- ``image`` names nothing here: any name is taken, and ignored. Without ``command`` or
  ``entrypoint`` the guest sleeps.
- It outlives its agent: own session, output to a file, found again by the state file, which holds
  pid *and* start time. A guest that is not our own child leaves no exit code.
- What cannot be done without a container is refused (limits, networks, volumes, a read-only root,
  a host name), never ignored. ``pids`` alone is ignored: its default is a precaution, no wish.
- The log file is cut to its last part whenever somebody looks: see ``_trim``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from tfnz_notebook._base import proc
from tfnz_notebook.engines.base import (
    ANY_CLAIM,
    LABEL_CONTAINER,
    LABEL_OWNER,
    Claim,
    Closed,
    ContainerSpec,
    Engine,
    Found,
    Image,
    NodeInfo,
    Progress,
    PullPolicy,
    Received,
    State,
    Stored,
    Stream,
)
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.host import state, wishes
from tfnz_notebook.engines.host.state import Record
from tfnz_notebook.engines.launch import socket as transport
from tfnz_notebook.errors import ContainerFailed, ContainerGone, Misuse, NoEngine, VolumeError

#: A log beyond the first is cut to the second, in bytes.
_LOG_MOST: Final = 16 << 20
_LOG_KEPT: Final = 8 << 20
_KILL_GRACE: Final = 3.0
#: Longest path that a Unix socket's address holds, less a byte for its end.
_SOCKET_PATH: Final = 107


class HostEngine(Engine):
    """Guests as child processes. ``runtime`` must be on a file system that knows Unix sockets."""

    name = "host"
    no_images = "has this machine's own files, and no images"

    def __init__(self, *, runtime: Path, guest: Path, owner: str) -> None:
        super().__init__()
        self.owner = owner
        self._home = runtime / "host"
        self._guest = guest
        self._open = False
        #: Our own children: only they tell their exit code.
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    async def open(self) -> None:
        if not proc.start_time(os.getpid()):
            raise NoEngine(
                "Cannot run processes on this machine: it has no /proc. "
                "Use Linux, or an engine: Location('docker')."
            )
        try:
            said = await asyncio.create_subprocess_exec(
                self._guest, "version", stdout=asyncio.subprocess.PIPE
            )
            out, _ = await said.communicate()
        except OSError as error:
            raise NoEngine(
                f"Cannot run the guest {str(self._guest)!r}: {error.strerror}. "
                "Install a wheel for this machine, or correct TFNZ_GUEST_BINARY."
            ) from error
        if said.returncode or not out.startswith(b"tfnz-guest"):
            raise NoEngine(
                f"Cannot run the guest {str(self._guest)!r}: it answered {out[:80]!r}. "
                "Install a wheel for this machine, or correct TFNZ_GUEST_BINARY."
            )
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open = True

    async def close(self) -> None:
        for child in self._children.values():
            child.poll()
            # It goes on without us, by design: no warning from subprocess when we forget it.
            child.returncode = child.returncode if child.returncode is not None else 0
        self._children.clear()
        self._open = False

    def about(self) -> Mapping[str, str]:
        return {
            "engine": "host",
            "version": platform.release(),
            "isolation": "none",
            "user": wishes.own_name(),
        }

    async def nodes(self, *, counted: bool = True) -> list[NodeInfo]:
        cpus = len(os.sched_getaffinity(0))
        total, free = proc.memory()
        records = state.records(self._home) if counted else []
        running = sum(self._state(each).status == "running" for each in records)
        return [
            NodeInfo(
                name=self.where(""),
                cpus=cpus,
                cpu_free=proc.cpu_free(cpus),
                memory=total,
                memory_free=free,
                containers=running if counted else None,
                labels={"engine": "host"},
            )
        ]

    def where(self, ref: str) -> str:  # noqa: ARG002 - all are there
        return platform.node() or "host"

    # -- images: any name will do -------------------------------------------------------------

    async def images(self) -> list[Stored]:
        return [Stored("host", ("host",))]

    async def ensure_image(
        self, image: str, pull: PullPolicy, progress: Callable[[Progress], None]
    ) -> Image:
        if not isinstance(image, str):
            raise Misuse(f"Cannot use {image!r} as an image: it is no string. Say 'host'.")
        del pull, progress  # nothing to pull
        return Image(id="host")

    # -- containers ---------------------------------------------------------------------------

    async def create(self, spec: ContainerSpec, image: Image) -> str:
        del image  # there is only one
        wishes.refuse(spec)
        home = self._home / spec.id
        root = home / "root"
        socket_path = home / "run" / transport.NAME
        if len(os.fsencode(socket_path)) > _SOCKET_PATH:
            raise Misuse(
                f"Cannot put a socket at {str(socket_path)!r}: it is too long for the kernel. "
                "Set TFNZ_RUNTIME to a shorter one."
            )
        files = shape.checked_files(spec.files)
        try:
            home.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            raise Misuse(f"Cannot make {spec.id!r}: it exists. Choose another id.") from None
        try:
            root.mkdir(mode=0o700)
            transport.make_directory(home / "run")
            for path, data in files.items():
                target = root / path.lstrip("/")  # a fresh directory: it holds no links
                target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                target.write_bytes(data)
                target.chmod(0o644)
            argv = [*(spec.entrypoint or ()), *(spec.command or ())]
            command = [str(self._guest), "init", "--socket", str(socket_path), "--root", str(root)]
            workdir = _directory(spec.workdir) if spec.workdir else root
            command += ["--cwd", str(workdir)]
            command += ["--tty"] * bool(spec.flags.get("tty"))
            if spec.sleep or not argv:
                command.append("--sleep")
            if argv:
                command += ["--", *argv]
            labels = {**spec.labels, LABEL_OWNER: self.owner, LABEL_CONTAINER: spec.id}
            shape.environment(spec.env)
            state.write(home, Record(spec.id, labels, command, str(workdir), dict(spec.env)))
        except BaseException:
            transport.drop_directory(home)
            raise
        return spec.id

    def _record(self, ref: str) -> Record:
        record = state.read(self._home / ref) if wishes.ID.fullmatch(ref) else None
        if record is None or record.labels.get(LABEL_OWNER) != self.owner:
            raise ContainerGone(
                f"Cannot use the container {ref!r}: it is not there. Spawn another."
            )
        return record

    async def start(self, ref: str) -> None:
        record = self._record(ref)
        if self._state(record).status == "running":
            return  # as engines do (304)
        home = self._home / ref
        try:
            with (home / "log").open("ab") as log:
                child = subprocess.Popen(  # noqa: ASYNC220 - it returns at exec, and is not read
                    record.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=record.workdir,
                    env={**os.environ, **record.env},
                    start_new_session=True,
                )
        except OSError as error:
            raise ContainerFailed(
                f"Cannot start the guest {record.command[0]!r} in {record.workdir!r}: "
                f"{error.strerror}. Correct workdir=, or install a wheel for this machine."
            ) from error
        self._children[ref] = child
        record.pid, record.started = child.pid, proc.start_time(child.pid)
        record.exit_code = None
        state.write(home, record)

    async def stop(self, ref: str, grace: float) -> None:
        try:
            record = self._record(ref)
        except ContainerGone:
            return
        if self._state(record).status != "running":
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)
        if not await self._ended(record, grace):
            proc.kill_tree(record.pid, record.started)
            await self._ended(record, _KILL_GRACE)

    async def _ended(self, record: Record, patience: float) -> bool:
        """Wait for its end; False if the patience ended first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        pause = 0.001
        while self._state(record).status == "running":
            if loop.time() > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)
        return True

    async def remove(self, ref: str) -> None:
        try:
            record = self._record(ref)
        except ContainerGone:
            return
        # Politely only for the guest's own sake: it kills its tree, strays included, when it ends.
        # A main process that ignores TERM is killed with everything below.
        await self.stop(ref, 0.5)
        if self._state(record).status == "running":
            raise ContainerFailed(
                f"Cannot end the process {record.pid} of the container {ref!r}: it survives "
                "KILL. It hangs in the kernel; remove the container again later."
            )
        await asyncio.get_running_loop().run_in_executor(
            None, transport.drop_directory, self._home / ref
        )
        self._children.pop(ref, None)

    async def inspect(self, ref: str) -> State:
        try:
            return self._state(self._record(ref))
        except ContainerGone:
            return State("gone")

    async def isolate(
        self, ref: str, sources: Collection[str] = (), targets: Collection[str] = ()
    ) -> None:
        self._record(ref)
        if sources or targets:
            raise Misuse(
                "Cannot allow a connection on the host: its processes share the machine's network. "
                "Connect to 127.0.0.1, or use Location('podman')."
            )

    def _state(self, record: Record) -> State:
        if not record.pid:
            return State("created")
        alive = proc.alive(record.pid, record.started)  # before its code, which else may be missed
        child = self._children.get(record.ref)
        if child is not None and (code := child.poll()) is not None:
            if record.exit_code is None:
                record.exit_code = code if code >= 0 else 128 - code
                state.write(self._home / record.ref, record)
        elif alive:
            return State("running", ip="127.0.0.1")
        return State("exited", exit_code=record.exit_code)

    async def logs(self, ref: str, tail: int = 100) -> bytes:
        self._record(ref)
        try:
            with (self._home / ref / "log").open("r+b") as log:
                _trim(log.fileno())
                log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_KEPT))
                lines = log.read().lstrip(b"\0").splitlines(keepends=True)
        except FileNotFoundError:
            return b""
        return b"".join(lines[-tail:])

    async def find(self, labels: Mapping[str, str]) -> list[Found]:
        wanted = {**labels, LABEL_OWNER: self.owner}
        return [
            Found(record.ref, record.labels, self._state(record))
            for record in state.records(self._home)
            if all(record.labels.get(key) == value for key, value in wanted.items())
        ]

    async def connect(self, ref: str, received: Received, closed: Closed) -> Stream:
        record = self._record(ref)

        async def running() -> bool:
            return self._state(record).status == "running"

        if not await running():
            raise ContainerGone(
                f"Cannot connect to the container {ref!r}: it is not running. Spawn another."
            )
        return await transport.connect(self._home / ref / "run", received, closed, running)

    # -- volumes ------------------------------------------------------------------------------

    async def create_volume(
        self, name: str, labels: Mapping[str, str], claim: Claim = ANY_CLAIM
    ) -> None:
        del labels, claim
        raise VolumeError(
            f"Cannot make the volume {name!r}: the host has no volumes, because processes see the "
            "whole machine. Use a directory, or Location('podman')."
        )

    async def volumes(self, labels: Mapping[str, str]) -> list[str]:
        del labels
        return []

    async def remove_volume(self, name: str) -> None:
        raise VolumeError(f"Cannot remove the volume {name!r}: the host has no volumes. List them.")


def _directory(path: str) -> Path:
    if not Path(path).is_absolute() or not Path(path).is_dir():
        raise Misuse(
            f"Cannot run in {path!r}: it is no directory of this machine, or not absolute. "
            "Make it first."
        )
    return Path(path)


def _trim(log: int) -> None:
    """Give the disk blocks of a long log's beginning back; offsets stay, so the writer goes on.

    Who writes is the guest, with O_APPEND: the file cannot be renamed under it, but it can have a
    hole (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE). Where the file system has none, it stays.
    """
    size = os.fstat(log).st_size
    if size > _LOG_MOST:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate(log, 3, ctypes.c_int64(0), ctypes.c_int64(size - _LOG_KEPT))
