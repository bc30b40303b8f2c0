"""Clients and their requests: from a message to the operation that answers it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from tfnz_notebook import __version__
from tfnz_notebook._wire import link
from tfnz_notebook._wire.link import Kind, Message
from tfnz_notebook._wire.operations import OPERATIONS, Again
from tfnz_notebook.agent.clients import UNSEEN, Answer, Client, Gate, Viewer
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.container.files.piped import Piped
from tfnz_notebook.agent.door.tickets import Tickets
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.agent.sessions import Member, Sessions, session_name
from tfnz_notebook.agent.sparse import Sparse
from tfnz_notebook.agent.world import now
from tfnz_notebook.errors import AgentError, ProtocolError, TfnzError, TooLarge, to_wire

log = logging.getLogger(__name__)

Operation = Callable[[Client, Message], Awaitable[Answer]]


class Router(Protocol):
    """The clients' connections, by their identities."""

    def send(self, identity: bytes, parts: list[bytes]) -> bool:
        """Queue a message; False if that client is not connected any more."""

    def close(self) -> None:
        """Receive no more; what is queued goes out."""


class Server:
    """Takes messages off the socket and answers them."""

    def __init__(
        self,
        sessions: Sessions,
        answers: dict[str, Operation],
        *,
        name: str,
        tickets: Tickets,
        about: Callable[[], Mapping[str, str]],
    ) -> None:
        """``name``: of the socket on this machine; empty for an agent that others connect to."""
        self.sessions = sessions
        self.name = name
        self.tickets = tickets
        self.router: Router | None = None
        self.clients: dict[bytes, Client] = {}
        self._answers = answers
        self.about = about
        self._tasks: set[asyncio.Task[None]] = set()
        self._said = Sparse(log)

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
                self.garbage(identity, ProtocolError(f"A kernel sent {message.kind.name}."))
        except ProtocolError as error:
            self.garbage(identity, error)

    def garbage(self, identity: bytes, error: ProtocolError) -> None:
        """A client said what cannot be understood: it is told so, and forgotten."""
        if ident := error.details.get("ident", 0):  # that request fails, and nothing else does
            self._said.warning("client %s: %s It is refused.", identity.hex()[:12], error)
            self.send(identity, Message(Kind.ERROR, ident, "protocol", to_wire(error)))
            return
        self._said.warning("client %s: %s It is forgotten.", identity.hex()[:12], error)
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
            client.seen()
            work = self._do(client, message)
        task = asyncio.create_task(self._answer(identity, message, work), name=message.name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, client: Client, message: Message) -> Answer:
        client.may(message)
        message = client.large.whole(message)
        body, payload = await self._answers[message.name](client, message)
        return client.large.answer(message, body), payload

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
        client = self.clients.get(identity)
        if client is not None and message.name == "hello" and answer.kind is Kind.REPLY:
            client.begin()

    async def _hello(self, identity: bytes, message: Message) -> Answer:
        body = message.body
        if not (body["version_min"] <= link.VERSION and body["version"] >= link.VERSION_MIN):
            theirs = body.get("package") or "another version"
            raise AgentError(
                f"Cannot talk to this agent: it is of tfnz-notebook {__version__} and speaks "
                f"versions {link.VERSION_MIN} to {link.VERSION} of the protocol; you are of "
                f"{theirs} and speak {body['version_min']} to {body['version']}. Install the "
                "same version on both sides and restart the older one ('tfnz-agent stop' ends an "
                "agent; its containers go on)."
            )
        known = False
        client: Client
        if body.get("viewer"):
            client = await self._viewer(identity, body)
        else:
            name = session_name(body.get("session")) or f"s-{body['client'][:16]}"
            known = self.sessions.get(name) is not None
            client = self._kernel(identity, body, name)
        for old in list(self.clients.values()):
            # What is still on its way over a connection that it has left was given up, or is said
            # again over this one.
            if identity == old.identity or (type(old) is type(client) and old.name == client.name):
                self.forget(old)
        self.clients[identity] = client
        client.sees = UNSEEN if body.get("files") else 0
        return {
            "version": link.VERSION,
            "agent": __version__,
            "session": client.session.name,
            "engine": self.sessions.engine.name,
            "about": {**self.about(), **client.about()},
            "resumed": known,
            "heartbeat": link.HEARTBEAT,
        }, None

    def _kernel(self, identity: bytes, body: dict[str, Any], name: str) -> Client:
        pid, start = body.get("pid"), body.get("pid_start")
        member = Member(
            body["client"],
            now(),
            (pid, start) if self.name and pid and start else None,
        )
        durable, again = bool(body.get("durable")), bool(body.get("again"))
        session = self.sessions.join(name, member, durable, body.get("ttl"), again=again)
        return Client(self, identity, session, body["client"])

    async def _viewer(self, identity: bytes, body: dict[str, Any]) -> Viewer:
        process, port = body.get("process") or "", body.get("port")
        if port is not None:
            if not self.tickets.good(process, body.get("ticket") or "", port):
                raise AgentError(
                    "Cannot open the port: the ticket is not one for it. Run its cell again."
                )
            return Gate(self, identity, self.sessions.holder(process), port, body["client"])
        if not self.tickets.good(process, body.get("ticket") or ""):
            raise AgentError(
                "Cannot view the process: the ticket is not one for it. Run its cell again."
            )
        container, found = await self.sessions.viewed(process)
        return Viewer(self, identity, container, found.ident, body["client"])

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
        if message.name == "unseen":
            client.unseen(ident)
            return
        if message.name == "pipe.eof":
            reader = client.readers.get(ident)
            if isinstance(reader, Piped):
                reader.whole(body["offset"])
            return
        dial = client.dials.get(ident)
        if dial is None:
            if message.name == "dial.close":  # a download that nobody wants any more
                client.close_reader(ident)
            return
        if message.name == "dial.data":
            dial.data(body["offset"], message.payload or b"")
        elif message.name == "dial.eof":
            dial.eof()
        else:
            client.dials.pop(ident, None)
            client.readers.pop(ident, None)
            dial.close()

    # -- out

    def send(self, identity: bytes, message: Message) -> bool:
        """Queue a message; False if the client is not connected.

        An answer that is too large becomes the error that says so.
        """
        try:
            parts = link.encode(message)
        except TooLarge as error:
            self._said.warning("client %s: %s", identity.hex()[:12], error)
            if message.kind is Kind.EVENT:
                return True
            name = message.name
            parts = link.encode(Message(Kind.ERROR, message.ident, name, to_wire(error)))
        return self.router is not None and self.router.send(identity, parts)

    def lost(self, identity: bytes) -> None:
        """A connection ended, with a word or without."""
        if client := self.clients.get(identity):
            self.forget(client)

    def forget(self, client: Client) -> None:
        """A client is gone without a word: its session waits for it."""
        if self.clients.get(client.identity) is client:
            del self.clients[client.identity]
        client.close()

    def container_changed(self, container: Container) -> None:
        """Tell every client that hears of it."""
        for client in list(self.clients.values()):
            if client.hears(container, None):
                client.changed(container, None)

    def process_changed(
        self, container: Container, process: Process | Ended, *, but: Client | None = None
    ) -> None:
        """Tell every client that hears of it, but one who knows."""
        for client in list(self.clients.values()):
            if client is not but and client.hears(container, process):
                client.changed(container, process)

    @property
    def busy(self) -> bool:
        """Whether something is being done that no kernel would ask of the next agent again."""
        return any(OPERATIONS[task.get_name()].again is Again.NEVER for task in self._tasks)

    def collect(self) -> None:
        """Forget viewers that vanished; run now and then."""
        for client in list(self.clients.values()):
            if client.silent():
                self.forget(client)

    async def close(self) -> None:
        """Answer nobody any more."""
        for task in list(self._tasks):
            task.cancel()
        for client in list(self.clients.values()):
            client.close()
        if self.router is not None:
            self.router.close()
