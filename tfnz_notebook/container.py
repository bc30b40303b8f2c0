"""A container: what runs in it, what it says, its files and its ports."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tfnz_notebook._calls import arguments, drawing
from tfnz_notebook._calls.arguments import StreamName
from tfnz_notebook._calls.deadline import WORD, within
from tfnz_notebook._calls.drawing import Drawn
from tfnz_notebook._calls.faces import Block, Twin, face
from tfnz_notebook._calls.run import line
from tfnz_notebook._container.cells import Cells
from tfnz_notebook._container.conditions import Conditions
from tfnz_notebook._container.copies import Copies
from tfnz_notebook._container.files import Entry, Files
from tfnz_notebook._container.process import Processes
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.errors import Misuse
from tfnz_notebook.process import Process

if TYPE_CHECKING:
    import re

    from tfnz_notebook.location import Location
    from tfnz_notebook.node import Node

__all__ = ["Container", "ContainerAio", "Entry", "Stats"]


class _Sample(NamedTuple):
    time: float
    """When it was taken: seconds since the epoch."""
    cpu: float | None
    """Percent of one core, since the sample before."""
    cpu_seconds: float | None
    """Seconds of CPU since it started."""
    memory: int | None
    """Bytes in use."""
    memory_limit: int | None
    """Bytes that it may use."""
    pids: int | None
    """Processes and threads."""
    read: int | None
    """Bytes read from disks."""
    written: int | None
    """Bytes written to disks."""
    received: int | None
    """Bytes that came over its network."""
    sent: int | None
    """Bytes that went over its network."""


class Stats(_Sample):
    """One sample of what a container uses; None where the engine does not tell, or no limit is set.

    ``cpu`` is in percent of one core, since the previous sample (the first: since its creation).
    Sizes in bytes, all but ``memory`` and ``pids`` counted since the container started.
    """

    container: Container | None = None
    """Whose it is; not part of the tuple."""

    def plot(
        self,
        columns: str | Iterable[str] | None = None,
        window: float | str | None = None,
        *,
        every: float = 1.0,
        title: str | None = None,
    ) -> Any:
        """Plot what its container uses from now on, as :meth:`Container.plot` does."""
        if self.container is None:
            raise Misuse("Cannot plot: this sample is of no container. Use container.plot().")
        return drawing.plots().stats_plot(self.container, columns, window, every=every, title=title)


class Container(Drawn, Block, Processes, Files, Conditions, Cells, Copies):
    """Made by :meth:`Node.spawn_container`. ``await container`` is :meth:`wait_until_ready`.

    As a context manager it is destroyed at the end of the block. Methods that need it running wait
    for that. After ``destroy`` (or the session's end) they raise ContainerGone.
    """

    # -- what it is

    @property
    def uuid(self) -> str:
        """The id under 20ft's name for it."""
        return self._id

    @property
    def progress(self) -> tuple[str, int, int]:
        """While pulling: (what, bytes done, bytes in all or 0 while unknown)."""
        info = self._info
        return str(info.get("text") or ""), int(info.get("done") or 0), int(info.get("total") or 0)

    @property
    def about(self) -> dict[str, str]:
        """What is less than usual in it, once it runs; mostly nothing.

        ``isolation``: why others reach it, and it them. ``limits``: why those it was spawned with
        are not kept. ``entrypoint``: what ``'unmodified'`` costs. ``user``, ``files``: what a guest
        cannot that is not root (as in pods that may not be).
        """
        return dict(self._info.get("about") or {})

    @property
    def location(self) -> Location:
        """Where it is."""
        return self._location

    @property
    def node(self) -> Node:
        """The node it runs on. Blocks for the engine's answer."""
        return self._location._node_named(str(self._info.get("node") or ""))

    @property
    def main(self) -> Process:
        """The main process: its log, its callbacks, its end."""
        return self._main

    @property
    def processes(self) -> list[Process]:
        """Those running processes that this kernel knows; :meth:`all_processes` asks for all."""
        return list(self._live.values())

    @property
    def aio(self) -> ContainerAio:
        """The same container with awaitable methods."""
        return ContainerAio._see(self)

    def __repr__(self) -> str:
        code = f" with {self.returncode}" if self.state == "exited" else ""
        return f"<Container {self._called!r}: {self.state}{code}>"

    def __await__(self) -> Generator[Any, None, Container]:
        return self.aio.wait_until_ready().__await__()

    async def _leave(self) -> None:
        if self.state != "destroyed" and not self._link.over:
            await self._destroy(None)

    # -- becoming ready

    @face
    async def wait_until_ready(self, timeout: float | None = None) -> Container:
        """Wait until processes can be spawned in it; returns itself (20ft).

        Raises what kept it from that (ImageMissing, ContainerFailed with the log's tail, ...),
        WaitTimeout after ``timeout`` seconds.
        """
        doing = "wait until it is ready"
        async with within(doing, timeout, slack=WORD):
            await self._running(doing, timeout)
            return self

    # -- the main process

    @face
    async def start(self, *, timeout: float | None = None) -> Container:
        """Start the image's command in a container spawned with ``sleep=True`` (20ft)."""
        async with within("start the main process", timeout):
            self._check("start")
            await self._link.request("container.start", {"container": self._id})
            self._read_main()
            return self

    @face
    async def stdin(self, data: bytes, *, timeout: float | None = None) -> None:
        """Write bytes to the main process's stdin (20ft). Raises ProcessGone once it has ended."""
        async with within("write to stdin", timeout):
            payload = arguments.stdin(data)
            self._check("write to stdin")
            for start in range(0, len(payload), MAX_CHUNK):
                piece = payload[start : start + MAX_CHUNK]
                await self._link.request("process.stdin", {"process": self._id}, piece)

    @face
    async def logs(
        self,
        stream: StreamName | None = None,
        tail: int | None = None,
        *,
        timeout: float | None = None,
    ) -> bytes:
        """What the main process wrote: stdout, then stderr, or one ``stream`` of them.

        ``tail``: only so many last lines of each. (20ft gave a list of dicts; the time of each line
        is with the engine, as in ``docker logs -t``.)
        """
        async with within("read the logs", timeout):
            number = None if stream is None else arguments.stream("read the logs", stream)
            if tail is not None:
                arguments.number("read the logs", "tail", tail, 0)
            return await self._logs(number, tail)

    # -- as a whole

    @face
    async def stats(self, *, timeout: float | None = None) -> Stats:
        """What it uses now, as its guest sees it (20ft); no tool is needed in the image."""
        async with within("sample the container", timeout):
            self._check("sample the container")
            reply = await self._link.request("container.stats", {"container": self._id})
            told = reply.body.get("sample") or {}
            at = told["clock"] / 1e9 if "clock" in told else time.time()
            used = told["cpu"] / 1e6 if "cpu" in told else None
            percent = None
            if used is not None:
                since, before = self._sampled or (float(self._info.get("created") or at), 0.0)
                percent = 100 * max(0.0, used - before) / (at - since) if at > since else 0.0
                self._sampled = (at, used)
            names = ("memory", "memory_limit", "pids", "read", "written", "received", "sent")
            if not told.get("memory_limit"):  # 0: none is set
                told = {**told, "memory_limit": None}
            sample = Stats(at, percent, used, *(told.get(name) for name in names))
            sample.container = self
            return sample

    @face
    async def plot(
        self,
        command: str | Sequence[str] | None = None,
        parser: Any = None,
        columns: str | Iterable[str] | None = None,
        window: float | str | None = None,
        *,
        pattern: str | re.Pattern[str] | None = None,
        x: str = "time",
        title: str | None = None,
        stream: StreamName = "stdout",
        every: float = 1.0,
        timeout: float | None = None,
    ) -> Any:
        r"""Plot what a command prints; without one, what it uses. Returns the ``plots.Plot``.

        ::

            container.plot()                         # its CPU and memory
            container.plot(columns='received,sent')
            container.plot('vmstat 1')
            container.plot(['ping', 'db'], pattern=r'time=(?P<ms>[\d.]+)')

        What it uses are ``cpu`` (percent of one core), ``memory``, ``pids``, and bytes per second
        ``read``, ``written``, ``received``, ``sent``, asked of its guest ``every`` so many seconds;
        no tool is needed in the image. A command runs as a process of it, whose oldest output may
        be dropped; it has to begin within ``timeout``. All else is as :meth:`Process.plot` has it.
        """
        if command is None:
            if parser is not None or pattern is not None:
                said = "parser" if pattern is None else "pattern"
                raise Misuse(f"Cannot plot what it uses: a {said} is for a command. Give one.")
            return drawing.plots().stats_plot(self, columns, window, every=every, title=title)
        async with within("plot a command", timeout):
            process = await self._spawn(command, (None, None, None), retain="tail")
        try:
            return process.plot(
                parser, columns, window, pattern=pattern, x=x, title=title, stream=stream
            )
        except BaseException:
            self._link.background(process.aio.destroy(grace=0.0))
            raise

    @face
    async def ip(self, *, timeout: float | None = None) -> str:
        """Its address in the engine's network, empty if it has none (20ft)."""
        async with within("get the address", timeout):
            await self._running("get the address")
            reply = await self._link.request("container.info", {"container": self._id})
            return str(reply.body["info"].get("ip") or "")

    @face
    async def allow_connection_from(
        self, container: Container, *, timeout: float | None = None
    ) -> None:
        """Let another container of this location connect to this one, on any port (20ft).

        Containers reach no other until this says so; it is one way, and both must run. ``ip()`` is
        where to connect to. It outlasts a reboot, and ends with either container. Raises Misuse
        for this very container, one of another location, and those with a ``network`` of their
        own; EngineError where containers are not kept apart (``location.about``).
        """
        async with within("allow a connection", timeout):
            await self._neighbour("container.allow", "allow a connection", container)

    @face
    async def disallow_connection_from(
        self, container: Container, *, timeout: float | None = None
    ) -> None:
        """Take back what :meth:`allow_connection_from` allowed (20ft). Misuse if it did not.

        Connections that are open end as well: with a reset, when the next byte is sent.
        """
        async with within("disallow connections", timeout):
            await self._neighbour("container.disallow", "disallow connections", container)

    async def _neighbour(self, operation: str, doing: str, other: Container) -> None:
        if not isinstance(other, Container):
            raise Misuse(f"Cannot {doing}: {other!r} is no container. Give one.")
        if other._id == self._id:
            raise Misuse(f"Cannot {doing} from a container to itself: it always may.")
        if other._location is not self._location:
            raise Misuse(
                f"Cannot {doing}: {other._called} is of another location. Spawn both in one."
            )
        await self._running(doing)
        await other._running(doing)
        await self._link.request(operation, {"container": self._id, "other": other._id})

    def docker_run(self) -> str:
        """The command line of ``docker run`` that would make the same, tunnels included.

        Values of variables that look like secrets are left out, as ``-e NAME`` takes them from
        where it is run; files before boot are told in a comment. Our own guards are not in it: no
        new privileges, a limit of processes, apart from other containers. Raises Misuse for one
        that another kernel spawned.
        """
        if self._made_of is None:
            raise Misuse(
                f"Cannot tell how {self._called} was made: another kernel spawned it. Ask there, "
                "or its engine: docker inspect."
            )
        spec, files = self._made_of
        return line.docker_run(spec, files, [(t._bind, t.port, t.dest_port) for t in self._tunnels])

    @face
    async def pause(self, *, timeout: float | None = None) -> None:
        """Have the engine stop all that runs in it, until :meth:`unpause`.

        Calls that need it raise ContainerPaused meanwhile; those that wait, go on waiting. Raises
        EngineError where the engine cannot (``host``).
        """
        async with within("pause", timeout):
            await self._running("pause")
            await self._link.request("container.pause", {"container": self._id})

    @face
    async def unpause(self, *, timeout: float | None = None) -> None:
        """Let it go on, whoever paused it."""
        async with within("unpause", timeout):
            self._check("unpause")
            await self._link.request("container.unpause", {"container": self._id})

    @face
    async def reboot(
        self, reset_filesystem: bool = False, *, timeout: float | None = None
    ) -> Container:
        """Stop it and start it again (20ft); ``reset_filesystem``: from the image, as if new.

        Its processes end; tunnels stay. The main process's log begins anew. One that has exited is
        started again. Where that fails nothing is deleted: it has exited and can be rebooted again.
        """
        async with within("reboot", timeout):
            if self.state != "exited":
                await self._running("reboot")
            body = {"container": self._id, "reset_filesystem": bool(reset_filesystem)}
            await self._link.request("container.reboot", body)
            await self._running("reboot")
            return self

    @face
    async def destroy(self, *, grace: float | None = None, timeout: float | None = None) -> None:
        """Destroy it with all its processes and tunnels; volumes stay.

        ``grace``: seconds between TERM and KILL of its main process, default none. ContainerGone
        the second time.
        """
        async with within("destroy the container", timeout):
            await self._destroy(grace)

    async def _destroy(self, grace: float | None) -> None:
        seconds = arguments.seconds("destroy the container", "grace", grace)
        if self.state != "failed":
            self._check("destroy the container")
        await self._leaving()
        body = {"container": self._id, "grace": seconds}
        await self._link.request("container.destroy", body)
        if self.state != "destroyed":
            self._heard({**self._info, "state": "destroyed"})


class ContainerAio(Twin, Container):
    """A container whose methods are awaitable."""
