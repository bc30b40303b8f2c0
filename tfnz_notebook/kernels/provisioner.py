"""Jupyter's kernels in containers of ours: the provisioner that a kernelspec names.

The kernel is a process of a container of its own. Its sockets listen at the loopback there, and
tunnels lead to them: to Jupyter it is a kernel of this machine, with a key as any. The container
stays through restarts, with its files, and goes with its kernel. Its session is a durable one, so
that of a server that vanished another finds it again by what
:meth:`ContainerProvisioner.get_provisioner_info` said; for an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from typing import TYPE_CHECKING, Any, Final

from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Dict, Unicode

from tfnz_notebook._base.names import signal_name
from tfnz_notebook._base.text import last_words
from tfnz_notebook.errors import CommandNotFound, ProcessFailed, TfnzError
from tfnz_notebook.location import Location

if TYPE_CHECKING:
    from jupyter_client.connect import KernelConnectionInfo

    from tfnz_notebook.container import Container
    from tfnz_notebook.process import Process
    from tfnz_notebook.tunnel import Tunnel

#: Seconds: that it is kept when its server has vanished; for a kernel to listen, and to be removed.
LASTS: Final = 3600.0
STARTS: Final = 120.0
_GOES: Final = 10.0
#: What a connection file calls its ports.
PORTS: Final = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
#: Variables that a server sets for a kernel: who asked for it, and for which notebook.
_TOLD: Final = re.compile(r"KERNEL_\w+|JPY_SESSION_NAME")
#: Its stdin is the connection file, which nobody else may read; then it becomes the kernel.
_BEGIN: Final = '(umask 077 && cat >"$0") && exec "$@" </dev/null'
_OVER: Final = ("exited", "failed", "destroyed")
NO_KERNEL: Final = (
    "Use an image with ipykernel, or make one:\n"
    "    FROM python:3.14-slim\n    RUN pip install ipykernel"
)


class ContainerProvisioner(KernelProvisionerBase):
    """Starts a kernel in a container, as the kernelspec's ``kernel_provisioner`` says."""

    image: Any = Unicode(help="as spawn_container takes it")
    where: Any = Unicode(None, allow_none=True, help="as Location takes it")
    options: Any = Dict(help="keywords of spawn_container")

    _location: Location | None = None
    _container: Container | None = None
    _process: Process | None = None
    #: Its ports in the container, and what leads to each, by their names in the connection file.
    _inside: dict[str, int]
    _tunnels: dict[str, Tunnel]

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started, and nobody has waited for its end yet."""
        return self._process is not None

    @property
    def _file(self) -> str:
        """The connection file, in the container."""
        return f"/tmp/kernel-{self.kernel_id}.json"  # noqa: S108  # it is not of this machine

    # -- its start

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Its command, as it is said in the container."""
        names = {"{connection_file}": self._file, "{kernel_id}": self.kernel_id}
        argv = [*self.kernel_spec.argv, *kwargs.pop("extra_arguments", [])]
        cmd = [re.sub(r"\{\w+\}", lambda found: names.get(found[0], found[0]), e) for e in argv]
        return dict(await super().pre_launch(cmd=cmd, **kwargs))

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start it, and wait until it listens. Raises what stands in its way, in a sentence."""
        env = {
            name: value
            for name, value in kwargs["env"].items()
            if name in self.kernel_spec.env or _TOLD.fullmatch(name)
        }
        if self._container is not None and self._container.state not in _OVER:
            return await self._begin(cmd, env)  # again, where it was
        await self._remove()
        try:
            await self._place()
            return await self._begin(cmd, env)
        except BaseException:
            await self._remove()
            raise

    async def _place(self) -> None:
        """A container for it, with what leads there."""
        # it asks, and waits for the answer, which an agent may have to be started for
        location = self._location = await asyncio.to_thread(
            Location, self.where, session=f"kernel-{self.kernel_id}", ttl=LASTS
        )
        node = await location.aio.best_node()
        self._container = await node.aio.spawn_container(self.image, sleep=True, **self.options)
        self._inside = _ports()
        await self._lead({})

    async def _lead(self, local: dict[str, int]) -> None:
        container = self._container
        assert container is not None
        tunnels = await asyncio.gather(
            *(
                container.aio.attach_tunnel(port, localport=local.get(name))
                for name, port in self._inside.items()
            )
        )
        self._tunnels = dict(zip(self._inside, tunnels, strict=True))

    async def _begin(self, cmd: list[str], env: dict[str, str]) -> KernelConnectionInfo:
        container = self._container
        assert container is not None
        manager: Any = self.parent
        session = manager.session
        info = {
            "transport": "tcp",
            "ip": "127.0.0.1",
            "key": session.key.decode(),
            "signature_scheme": session.signature_scheme,
            "kernel_name": manager.kernel_name,
        }
        try:
            process = await container.aio.spawn_process(
                ["/bin/sh", "-c", _BEGIN, self._file, *cmd], env=env, retain="tail"
            )
        except CommandNotFound:
            raise CommandNotFound(
                f"Cannot start a kernel in {self.image!r}: there is no /bin/sh. {NO_KERNEL}"
            ) from None
        await process.aio.stdin(json.dumps({**info, **self._inside}).encode())
        await process.aio.close_stdin()
        await self._listens(container, process)
        self._process = process
        ports = {name: tunnel.port for name, tunnel in self._tunnels.items()}
        told: Any = {**info, **ports, "key": session.key}
        self.connection_info = told
        return self.connection_info

    async def _listens(self, container: Container, process: Process) -> None:
        """Wait for it, or for its end; its ports are bound before it says anything."""
        ended = asyncio.create_task(process.aio.wait())
        ready = asyncio.create_task(
            container.aio.wait_tcp(self._inside["shell_port"], timeout=STARTS)
        )
        try:
            await asyncio.wait({ended, ready}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                ready.result()
                return
            code = ended.result()
        finally:
            ended.cancel()
            ready.cancel()
            await asyncio.gather(ended, ready, return_exceptions=True)
        said = await process.aio.log(stream="stderr", offset=0)
        raise _failed(self.image, code, said)

    # -- its life

    async def poll(self) -> int | None:
        """None while it runs; else its code."""
        process, container = self._process, self._container
        if process is None or container is None:
            return 0
        if process.returncode is None and container.state in _OVER:
            return -9  # it went with its container
        return process.returncode

    async def wait(self) -> int | None:
        """Wait for its end."""
        process, code = self._process, await self.poll()
        if process is not None and code is None:
            try:
                code = await process.aio.wait()
            except TfnzError:  # it went with its container
                code = -9
        self._process = None
        return code

    async def send_signal(self, signum: int) -> None:
        """To it, and all that it started, as to the group of a local one."""
        if self._process is not None and signum:
            with contextlib.suppress(TfnzError):
                await self._process.aio.signal(signum, tree=True)

    async def kill(self, restart: bool = False) -> None:
        """End it, and all that it started."""
        del restart
        if self._process is not None:
            with contextlib.suppress(TfnzError):
                await self._process.aio.destroy(grace=0.0)

    async def terminate(self, restart: bool = False) -> None:
        """Ask it to end."""
        del restart
        await self.send_signal(15)

    async def cleanup(self, restart: bool = False) -> None:
        """Its container goes with it, but for a restart."""
        if not restart:
            await self._remove()

    async def _remove(self) -> None:
        """Leave nothing."""
        location, container = self._location, self._container
        self._location = self._container = self._process = None
        if location is None:
            return
        if container is not None:
            with contextlib.suppress(TfnzError):
                # some are none: their files are this machine's
                await container.aio.run_process(["rm", "-f", self._file], timeout=_GOES)
            with contextlib.suppress(TfnzError):
                await container.aio.destroy(timeout=_GOES)
        await location.aio.disconnect(timeout=_GOES)

    # -- another server's

    async def get_provisioner_info(self) -> dict[str, Any]:
        """By what another server finds it again."""
        told = dict(await super().get_provisioner_info())
        if self._location is not None and self._container is not None and self._process is not None:
            told |= {
                "where": self._location.where,
                "container": self._container.id,
                "process": self._process.id,
                "inside": self._inside,
            }
        return told

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Find it again. Raises ContainerGone if it is no more, or is not where it was."""
        await super().load_provisioner_info(provisioner_info)
        told = provisioner_info
        self._location = await asyncio.to_thread(
            Location, told["where"], session=f"kernel-{self.kernel_id}", ttl=LASTS
        )
        self._container = await self._location.aio.container(told["container"])
        known = await self._container.aio.all_processes()
        self._process = next((each for each in known if each.id == told["process"]), None)
        self._inside = dict(told["inside"])
        await self._lead({name: self.connection_info[name] for name in PORTS})


def _ports() -> dict[str, int]:
    """Five that are free here: a container has all, a place without containers these."""
    with contextlib.ExitStack() as held:
        found = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        return {name: each.getsockname()[1] for name, each in zip(PORTS, found, strict=True)}


def _failed(image: str, code: int, said: bytes) -> TfnzError:
    """Why a kernel ended before it listened."""
    doing, words = f"Cannot start a kernel in {image!r}", last_words(said)
    if re.search(rb"No module named '?ipykernel", said):
        return ProcessFailed(f"{doing}: it has no ipykernel. {NO_KERNEL}")
    if code == 127:
        return CommandNotFound(f"{doing}: {words}. {NO_KERNEL}")
    cause = f"it ended with code {code}"
    if code < 0:
        cause = f"it was ended by {signal_name(-code, numbered=True)}"
    words = f"Its last words:\n{words}" if words else "It said nothing."
    return ProcessFailed(f"{doing}: {cause} before it listened. {words}")
