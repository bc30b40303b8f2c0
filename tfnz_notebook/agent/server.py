"""Clients and their requests: from a message to the operation that answers it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tfnz_notebook import __version__
from tfnz_notebook._wire import link
from tfnz_notebook._wire.link import Kind, Message
from tfnz_notebook.agent.containers import Container
from tfnz_notebook.agent.dials import Dial
from tfnz_notebook.agent.files import Transfer
from tfnz_notebook.agent.processes import Process
from tfnz_notebook.agent.readers import Flow, Reader
from tfnz_notebook.agent.sessions import Member, Session, Sessions, session_name
from tfnz_notebook.agent.socket import Router
from tfnz_notebook.errors import AgentError, ProtocolError, TfnzError, to_wire

log = logging.getLogger(__name__)

Answer = tuple[dict[str, Any], bytes | None]
#: Ids of containers and processes: they become labels and file names.
IDENT: Final = re.compile(r"[0-9a-f]{32}")
NOTHING: Final[Answer] = ({}, None)
Operation = Callable[["Client", Message], Awaitable[Answer]]


class Client:
    """One kernel's link: where events go, and what was opened for it."""

    def __init__(self, server: Server, identity: bytes, session: Session, name: str) -> None:
        self.identity = identity
        self.session = session
        self.name = name
        self.sessions = server.sessions
        self.readers: dict[int, Reader | Flow] = {}
        self.dials: dict[int, Dial] = {}
        self.transfers: dict[str, Transfer] = {}
        #: One upload's pieces are taken one after the other, however fast they come.
        self.turns: dict[str, asyncio.Lock] = {}
        self.server = server
        self.gone = False

    def event(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None:
        """Send an event; a client that is not connected any more is forgotten."""
        if not self.gone and not self.server.send(self.identity, link.event(name, body, payload)):
            self.server.forget(self)

    def container(self, message: Message) -> Container:
        """The container the message names. Raises ContainerGone."""
        return self.sessions.container(self.session, message.body["container"])

    def process(self, message: Message) -> Process:
        """The process the message names. Raises ProcessGone."""
        return self.sessions.process(self.session, message.body["process"])

    def open_log(
        self,
        ident: int,
        process: Process,
        stream: int,
        offset: int,
        credit: int,
        *,
        keep: int | None = None,
        hold: bool = False,
    ) -> Reader:
        """Stream one of a process's logs to this client, from the next turn of the loop on."""
        self.close_reader(ident)
        output = process.outputs[stream - 1]
        reader = Reader(self, ident, output.log, offset, credit, keep=keep, hold=hold)
        self.readers[ident] = reader
        output.add(reader)
        asyncio.get_running_loop().call_soon(self._pump, reader)
        return reader

    def _pump(self, reader: Reader) -> None:
        if self.readers.get(reader.ident) is reader:
            reader.pump()

    def close_reader(self, ident: int) -> None:
        """Stop streaming. An unknown reader is one that has ended."""
        reader = self.readers.pop(ident, None)
        if isinstance(reader, Reader):
            reader.left()

    def close(self) -> None:
        """Let go of everything that was opened for it."""
        self.gone = True
        for ident in list(self.readers):
            self.close_reader(ident)
        for dial in self.dials.values():
            dial.close()
        for transfer in self.transfers.values():
            transfer.abort()
        self.dials.clear()
        self.transfers.clear()


class Server:
    """Takes messages off the socket and answers them."""

    def __init__(
        self,
        sessions: Sessions,
        operations: dict[str, Operation],
        *,
        local: bool,
        about: dict[str, str],
    ) -> None:
        self.sessions = sessions
        self.router: Router | None = None
        self.clients: dict[bytes, Client] = {}
        self._operations = operations
        self._local = local
        self._about = about
        self._tasks: set[asyncio.Task[None]] = set()

    # -- in

    def incoming(self, identity: bytes, parts: list[bytes]) -> None:
        """One message from a client."""
        try:
            message = link.decode(parts)
            if message.kind is Kind.NOTE:
                self._note(identity, message)
            elif message.kind is Kind.REQUEST:
                self._request(identity, message)
            else:
                self._garbage(identity, ProtocolError(f"A kernel sent {message.kind.name}."))
        except ProtocolError as error:
            self._garbage(identity, error)

    def _garbage(self, identity: bytes, error: ProtocolError) -> None:
        log.warning("client %s: %s It is forgotten.", identity.hex()[:12], error)
        client = self.clients.get(identity)
        if client is not None:
            self.forget(client)
        self.send(identity, Message(Kind.ERROR, 0, "protocol", to_wire(error)))

    def _request(self, identity: bytes, message: Message) -> None:
        client = self.clients.get(identity)
        if client is None and message.name != "hello":
            # Told as an error to answer, not as garbage: it is what a kernel meets first when
            # its agent was restarted behind its back.
            error = AgentError("Cannot do that before hello. Say hello again.", again=True)
            self.send(identity, Message(Kind.ERROR, message.ident, message.name, to_wire(error)))
            return
        if message.name == "hello":
            work: Awaitable[Answer] = self._hello(identity, message)
        else:
            assert client is not None
            self.sessions.seen(client.session, client.name)
            work = self._operations[message.name](client, message)
        task = asyncio.create_task(self._answer(identity, message, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, identity: bytes, message: Message, work: Awaitable[Answer]) -> None:
        try:
            body, payload = await work
            answer = link.reply(message, body, payload)
        except TfnzError as error:
            answer = Message(Kind.ERROR, message.ident, message.name, to_wire(error))
        except Exception as error:
            log.exception("%s", message.name)
            answer = Message(Kind.ERROR, message.ident, message.name, to_wire(error))
        self.send(identity, answer)

    async def _hello(self, identity: bytes, message: Message) -> Answer:
        body = message.body
        if not (body["version_min"] <= link.VERSION and body["version"] >= link.VERSION_MIN):
            raise AgentError(
                f"Cannot talk to this agent: it speaks version {link.VERSION} of the protocol "
                f"(tfnz-notebook {__version__}). Run 'tfnz-agent stop' and try again."
            )
        name = session_name(body.get("session")) or f"s-{body['client'][:16]}"
        pid, start = body.get("pid"), body.get("pid_start")
        member = Member(
            body["client"],
            time.monotonic(),
            (pid, start) if self._local and pid and start else None,
        )
        known = self.sessions.get(name) is not None
        session = self.sessions.join(name, member, bool(body.get("durable")), body.get("ttl"))
        old = self.clients.get(identity)
        if old is not None:
            old.close()
        self.clients[identity] = Client(self, identity, session, body["client"])
        return {
            "version": link.VERSION,
            "agent": __version__,
            "session": name,
            "engine": self.sessions.engine.name,
            "about": self._about,
            "resumed": known,
            "heartbeat": link.HEARTBEAT,
        }, None

    def _note(self, identity: bytes, message: Message) -> None:
        client = self.clients.get(identity)
        if client is None:
            return
        body = message.body
        ident = body["reader"]
        if message.name == "credit":
            reader = client.readers.get(ident)
            if reader is not None:
                reader.grant(body["upto"])
            return
        dial = client.dials.get(ident)
        if dial is None:
            return
        if message.name == "dial.data":
            dial.data(message.payload or b"")
        elif message.name == "dial.eof":
            dial.eof()
        else:
            client.dials.pop(ident, None)
            client.readers.pop(ident, None)
            dial.close()

    # -- out

    def send(self, identity: bytes, message: Message) -> bool:
        """Queue a message; False if the client is not connected."""
        return self.router is not None and self.router.send(identity, link.encode(message))

    def forget(self, client: Client) -> None:
        """A client is gone without a word: its session waits for it."""
        if self.clients.get(client.identity) is client:
            del self.clients[client.identity]
        client.close()

    def container_changed(self, container: Container) -> None:
        """Tell every client of the container's session."""
        body = {"container": container.ident, "info": container.info()}
        self._tell(container.session, "container", body)

    def process_changed(self, container: Container, process: Process) -> None:
        """Tell every client of the container's session."""
        body = {"process": process.ident, "info": process.info()}
        self._tell(container.session, "process", body)

    def _tell(self, session: str, name: str, body: dict[str, Any]) -> None:
        for client in list(self.clients.values()):
            if client.session.name == session:
                client.event(name, body)

    async def close(self) -> None:
        """Answer nobody any more."""
        for task in list(self._tasks):
            task.cancel()
        for client in list(self.clients.values()):
            client.close()
        if self.router is not None:
            self.router.close()
