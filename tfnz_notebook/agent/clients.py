"""Who is at the other end of a link: a kernel; past it a view of one process, pages of a port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._wire import link
from tfnz_notebook._wire.link import Message
from tfnz_notebook._wire.operations import OPERATIONS
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.container.dial import Dial
from tfnz_notebook.agent.container.files.piped import Piped
from tfnz_notebook.agent.container.files.transfers import Transfer
from tfnz_notebook.agent.jobs.heard import Heard
from tfnz_notebook.agent.jobs.sent import Sent
from tfnz_notebook.agent.large import Large
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.agent.process.reader import Flow, Reader
from tfnz_notebook.agent.sessions import Session
from tfnz_notebook.agent.snapshot import pages
from tfnz_notebook.agent.world import now
from tfnz_notebook.errors import AgentError, ProcessGone

if TYPE_CHECKING:
    from tfnz_notebook.agent.server import Server

#: So often it may be a log's end that took its files away. Then it is taken to see none.
UNSEEN: Final = 3

Answer = tuple[dict[str, Any], bytes | None]
NOTHING: Final[Answer] = ({}, None)


class Client:
    """One kernel's link: where events go, and what was opened for it."""

    def __init__(self, server: Server, identity: bytes, session: Session, name: str) -> None:
        self.identity = identity
        self.session = session
        self.name = name
        self.sessions = server.sessions
        self.readers: dict[int, Reader | Flow | Heard | Piped] = {}
        self.dials: dict[int, Dial] = {}
        self.transfers: dict[str, Transfer] = {}
        self.jobs: dict[str, Sent] = {}
        self.large = Large()
        #: One upload's pieces are taken one after the other, however fast they come.
        self.turns: dict[str, asyncio.Lock] = {}
        #: Of the processes it spawned, those whose end shall bring their output: at most so much.
        self.wants: dict[str, int] = {}
        self.server = server
        self.gone = False
        #: How often it may yet find a log's file missing; 0: it is told of none.
        self.sees = 0
        self._number = 0  # of the last change it was told
        self._beside = set[asyncio.Task[None]]()
        self._telling: asyncio.Task[None] | None = None

    def may(self, message: Message) -> None:
        """Raise AgentError if this client has no right to ask that."""

    def about(self) -> dict[str, str]:
        """What it is told beside the engine's facts."""
        return {}

    def seen(self) -> None:
        """It said something, so it lives."""
        self.sessions.seen(self.session, self.name)

    def silent(self) -> bool:
        """Whether it is to be forgotten. Of a kernel its session decides, by signs of its life."""
        return self.name not in self.session.members

    def hears(self, container: Container, process: Process | Ended | None) -> bool:
        """Whether it is told of a change of that container, or of that process of it."""
        del process  # a viewer is told of one
        return self.session.name == container.session

    async def leave(self) -> None:
        """It said good-bye."""
        await self.sessions.leave(self.session, self.name)

    def begin(self) -> None:
        """Tell it what there is; from now on it hears of changes."""
        self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        for page in self._pages():
            self.event("snapshot", {**page, "number": self._number})
            await asyncio.sleep(0)  # many pages hold nobody up

    def _pages(self) -> Iterator[dict[str, Any]]:
        return pages(list(self.session.containers.values()))

    def changed(self, container: Container, process: Process | Ended | None) -> None:
        """Tell it of a change of that container, or of that process of it."""
        self._number += 1
        if process is None:
            told = {"container": container.ident, "info": container.info()}
            self.event("container", {**told, "number": self._number})
            return
        body: dict[str, Any] = {"process": process.ident, "info": process.info()}
        if process.ended and (most := self.wants.pop(process.ident, None)):
            said = process.said(most)
            if said is not None:
                body["said"] = said
        self.event("process", {**body, "number": self._number})

    def event(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None:
        """Send an event; a client that is not connected any more is forgotten."""
        if not self.gone and not self.server.send(self.identity, link.event(name, body, payload)):
            self.server.forget(self)
        if name in ("eof", "dial.closed"):
            # Nothing follows. A reader that was kept would keep the newest of its log in memory,
            # after the container's end, too.
            reader = self.readers.pop(body["reader"], None)
            if isinstance(reader, Reader):
                reader.left()

    def container(self, message: Message) -> Container:
        """The container the message names. Raises ContainerGone."""
        return self.sessions.container(self.session, message.body["container"])

    async def process(self, message: Message) -> tuple[Container, Process | Ended]:
        """The process the message names, and where it is. Raises ProcessGone."""
        return await self.sessions.process(self.session, message.body["process"])

    def open_log(
        self,
        ident: int,
        process: Process | Ended,
        stream: int,
        offset: int,
        credit: int,
        *,
        keep: int | None = None,
        hold: bool = False,
    ) -> Reader:
        """Stream one of a process's logs to this client, from the next turn of the loop on."""
        self.close_reader(ident)
        log = process.logs[stream - 1]
        files = self.sees > 0
        reader = Reader(self, ident, log, offset, credit, keep=keep, hold=hold, files=files)
        self.readers[ident] = reader
        process.read_by(reader, stream)
        asyncio.get_running_loop().call_soon(self._pump, reader)
        return reader

    def _pump(self, reader: Reader) -> None:
        if self.readers.get(reader.ident) is reader:
            reader.pump()

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do it for this client, whatever else that asks for; it ends with the client."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    def unseen(self, ident: int) -> None:
        """It did not find what that reader was told of, and opens another."""
        self.sees -= 1
        self.close_reader(ident)

    def close_reader(self, ident: int) -> None:
        """Stop streaming. An unknown reader is one that has ended."""
        reader = self.readers.pop(ident, None)
        if reader is not None:
            reader.left()

    def close(self) -> None:
        """Let go of everything that was opened for it."""
        self.gone = True
        self.large.close()
        for task in (self._telling, *self._beside):
            if task is not None:
                task.cancel()
        for ident in list(self.readers):
            self.close_reader(ident)
        for dial in self.dials.values():
            dial.close()
        for transfer in self.transfers.values():
            transfer.abort()
        for job in self.jobs.values():
            job.drop()
        self.dials.clear()
        self.transfers.clear()
        self.jobs.clear()


class Viewer(Client):
    """A view's own link to one process. It belongs to no session, and keeps none alive."""

    def __init__(
        self, server: Server, identity: bytes, container: Container, process: str, name: str
    ) -> None:
        # A session that is in no list: whatever is looked for in it is not there.
        super().__init__(server, identity, Session(""), name)
        self._process = process
        self._container = container.ident
        self._place = container.spec.name or container.ident[:12]
        self._heard = now()

    def may(self, message: Message) -> None:
        """Raise AgentError unless it is about the process that its ticket was for."""
        if not OPERATIONS[message.name].viewer:
            raise AgentError(
                f"Cannot do {message.name!r} here: a view may read and control its process, and "
                "nothing else. Ask in a notebook."
            )
        if message.body.get("process", self._process) != self._process:
            raise AgentError(
                f"Cannot do {message.name!r} to that process: the ticket is for another one. "
                "Open a view of that process."
            )

    def about(self) -> dict[str, str]:
        return {"container": self._place}

    def seen(self) -> None:
        self._heard = now()

    def silent(self) -> bool:
        """Whether it vanished without a word; a reader of its might hold the process back."""
        return now() - self._heard > link.SILENCE * link.HEARTBEAT

    def container(self, message: Message) -> Container:
        """Its own, in whichever session and whatever the message names. Raises ContainerGone."""
        del message  # it has one
        return self.sessions.holder(self._container)

    async def process(self, message: Message) -> tuple[Container, Process | Ended]:
        """The process the message names, in whichever session. Raises ProcessGone."""
        return self.sessions.anywhere(message.body["process"])

    def hears(self, container: Container, process: Process | Ended | None) -> bool:
        """Of its process; of the container only what ends the process for good, as the last."""
        # Rebooted, it is "starting" and its processes are not there any more.
        over = container.state in ("destroyed", "starting")
        if process is not None:
            return process.ident == self._process and not over
        return container.ident == self._container and over

    def _pages(self) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(ProcessGone):
            told = self.sessions.anywhere(self._process)[1].info()
            yield {"containers": [], "processes": [told], "ended": {}, "more": False}

    async def leave(self) -> None:
        pass


class Gate(Viewer):
    """The link of what one port of a container serves to pages: it may connect there."""

    def __init__(
        self, server: Server, identity: bytes, container: Container, port: int, name: str
    ) -> None:
        super().__init__(server, identity, container, container.ident, name)
        self._port = port

    def may(self, message: Message) -> None:
        body = message.body
        if message.name in ("ping", "bye"):
            return
        if message.name != "dial.open" or (body["container"], body["host"], body["port"]) != (
            self._container,
            "127.0.0.1",
            self._port,
        ):
            raise AgentError(
                f"Cannot do {message.name!r} here: pages may connect to the port that their ticket "
                "is for, and do nothing else. Ask in a notebook."
            )
