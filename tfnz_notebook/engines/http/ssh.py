"""An engine behind ssh: its socket forwarded to one of ours, by the system's ssh.

Keys, agents, configuration and jump hosts are as the user has them; nobody can be asked anything
(``BatchMode``), for the agent has no terminal. One ssh carries every connection, and is started
again when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tfnz_notebook._base.endpoints import Endpoint
from tfnz_notebook._base.text import one_line
from tfnz_notebook.errors import NoEngine

#: Seconds for a connection, and between attempts at one that broke: the first, and at most.
_CONNECT: Final = 30.0
_AGAIN: Final = (1.0, 30.0)
_OPTIONS: Final = (
    *("-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"),
    *("-o", "StreamLocalBindUnlink=yes", "-o", "ConnectTimeout=20"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"),
)


class Forward:
    """One engine's socket, as a socket in ``directory``, which is ours alone."""

    def __init__(
        self, endpoint: Endpoint, name: str, directory: Path, environ: Mapping[str, str]
    ) -> None:
        self._endpoint = endpoint
        self._name = name
        self._environ = environ
        self._socket = directory / "engine-ssh.sock"
        self._process: Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> Endpoint:
        """Where it is reached now. Raises NoEngine, with ssh's own words."""
        binary = shutil.which("ssh", path=self._environ.get("PATH"))
        if binary is None:
            raise self._failed("there is no ssh command. Install OpenSSH's client")
        port = ("-p", str(self._endpoint.port)) if self._endpoint.port else ()
        key = self._environ.get("CONTAINER_SSHKEY") if self._name == "podman" else None
        common = [binary, *_OPTIONS, *port, *(("-i", key) if key else ())]
        remote = self._endpoint.remote or await self._usual(common)
        lead = f"{self._socket}:{remote}"
        command = [*common, "-N", "-L", lead, "--", self._endpoint.host]
        await self._start(command)
        self._keeping = asyncio.create_task(self._keep(command))
        return replace(
            self._endpoint, path=str(self._socket), host="", port=0, remote=None, forwarded=True
        )

    async def _usual(self, common: list[str]) -> str:
        """Where the engine listens over there: Podman's place is its user's."""
        if self._name != "podman":
            return "/var/run/docker.sock"
        process = await self._run([*common, "--", self._endpoint.host, "id", "-u"], stdout=PIPE)
        try:
            async with asyncio.timeout(_CONNECT):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            raise self._failed(f"ssh did not answer within {_CONNECT:g} s") from None
        uid = out.decode("ascii", "replace").strip()
        if process.returncode or not uid.isdigit():
            raise self._failed(_last(err) or "ssh runs no command there")
        return "/run/podman/podman.sock" if uid == "0" else f"/run/user/{uid}/podman/podman.sock"

    async def _run(self, command: list[str], stdout: int = DEVNULL) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=DEVNULL,
                stdout=stdout,
                stderr=PIPE,
                env=dict(self._environ),
                start_new_session=True,  # an interrupt at the agent's terminal is not for it
            )
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from None

    async def _start(self, command: list[str]) -> None:
        """Run it until it leads there."""
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        process = self._process = await self._run(command)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _CONNECT
        while not await self._listens():
            if process.returncode is not None or loop.time() > deadline:
                await self._end()
                said = _last(await process.stderr.read() if process.stderr else b"")
                raise self._failed(said or f"ssh did not connect within {_CONNECT:g} s")
            await asyncio.sleep(0.02)

    async def _listens(self) -> bool:
        """A socket is there before anybody listens at it."""
        try:
            _, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        writer.close()
        return True

    async def _keep(self, command: list[str]) -> None:
        """Start it again whenever it ends; what was open through it is gone then."""
        pause = _AGAIN[0]
        while self._process is not None:
            await self._process.communicate()
            try:
                await self._start(command)
                pause = _AGAIN[0]
            except NoEngine:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _AGAIN[1])

    async def close(self) -> None:
        """End it."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._end()
        self._socket.unlink(missing_ok=True)

    async def _end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()

    def _failed(self, cause: str) -> NoEngine:
        return NoEngine(
            f"Cannot reach {self._name} at {self._endpoint.address}: {cause}. "
            f"'ssh {self._endpoint.host}' in a terminal has to work without a question."
        )


def _last(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return one_line(lines[-1], 300).rstrip(".") if lines else ""
