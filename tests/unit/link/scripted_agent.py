"""An agent that does what a test says: a loop on a thread, logs in memory, no engine.

It listens as ``podman`` in a runtime directory, where ``Location('podman')`` finds it by itself. A
test may answer any operation itself (``agent.answers[name] = function``), write to a process's
output, end it, cut the connection, and look at all that was said. Public methods may be called from
any thread; everything else happens on the agent's own.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tfnz_notebook import __version__
from tfnz_notebook._base import paths, proc
from tfnz_notebook._base.running import Agent, Claim
from tfnz_notebook._wire import link as wire
from tfnz_notebook._wire.link import Kind, Message
from tfnz_notebook.agent.door.listener import Listener
from tfnz_notebook.errors import ContainerGone, ProcessGone, TfnzError, to_wire

Answer = Callable[["ScriptedAgent", Message], Any]

CHUNK = 256 << 10


@dataclass
class Stream:
    data: bytearray = field(default_factory=bytearray)
    base: int = 0
    eof: bool = False

    @property
    def head(self) -> int:
        return self.base + len(self.data)


@dataclass
class FakeProcess:
    ident: str
    container: str
    text: str = ""
    tty: bool = False
    pid: int = 42
    returncode: int | None = None
    ended: bool = False
    streams: dict[int, Stream] = field(default_factory=lambda: {1: Stream(), 2: Stream()})
    stdin: bytearray = field(default_factory=bytearray)
    timed_out: bool = False
    origin: str = ""

    def info(self) -> dict[str, Any]:
        return {
            "process": self.ident,
            "container": self.container,
            "text": self.text,
            "pid": self.pid,
            "tty": self.tty,
            "returncode": self.returncode,
            "out": self.streams[1].head,
            "err": self.streams[2].head,
            "ended": self.ended,
            "seconds": 0.0,
            "timed_out": self.timed_out,
            "origin": self.origin,
        }


@dataclass
class FakeReader:
    identity: bytes
    number: int
    process: str
    stream: int
    offset: int
    credit: int
    finished: bool = False


class ScriptedAgent:
    """Listens from construction to :meth:`close`."""

    def __init__(
        self,
        runtime: Path,
        name: str = "podman",
        *,
        after: ScriptedAgent | None = None,
        answers: dict[str, Answer] | None = None,
    ) -> None:
        """``after``: an agent that has ended, whose containers and processes this one adopts.

        ``answers``: those that it gives from its first moment.
        """
        self.path = paths.socket(runtime, name)
        record, pid, socket = paths.record(runtime, name), os.getpid(), f"ipc://{self.path}"
        started = proc.start_time(pid)
        self._claim = Claim(Agent(name, "podman", pid, started, __version__, socket, record))
        assert self._claim.take(record)
        #: Of the protocol.
        self.version = wire.VERSION
        self.requests: list[Message] = []
        self.notes: list[Message] = []
        self.answers: dict[str, Answer] = answers or {}
        self.containers: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, FakeProcess] = {}
        if after is not None:
            self.containers, self.processes = after.containers, after.processes
        self.readers: dict[tuple[bytes, int], FakeReader] = {}
        self.clients: list[bytes] = []
        #: Of the last change that each was told.
        self.numbers: dict[bytes, int] = {}
        #: Whether the end of a process brings what it wrote.
        self.says = False
        self._loop = asyncio.new_event_loop()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="scripted-agent", daemon=True)
        self._listening = threading.Event()
        self._thread.start()
        assert self._listening.wait(10)
        self._claim.listening()

    # -- what tests use

    def do(self, function: Callable[[], None]) -> None:
        """Run it on the agent's thread, soon."""
        self._loop.call_soon_threadsafe(function)

    def write(self, process: str, data: bytes, stream: int = 1) -> None:
        """The process writes."""

        def write() -> None:
            self.processes[process].streams[stream].data += data
            self._pump()

        self.do(write)

    def end(self, process: str, returncode: int = 0, *, eof: bool = True) -> None:
        """The process exits, having said all it has written."""

        def end() -> None:
            found = self.processes[process]
            found.returncode, found.ended = returncode, True
            for stream in found.streams.values():
                stream.eof = stream.eof or eof
            self._changed(process=found)
            self._pump()

        self.do(end)

    def set_state(self, container: str, state: str, **info: Any) -> None:
        """The container changes."""

        def change() -> None:
            found = self.containers[container]
            found.update(state=state, **info)
            self._changed(found)

        self.do(change)

    def event(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None:
        """Say something to every client."""
        self.do(lambda: self._tell(name, body, payload))

    def answer(self, message: Message, body: dict[str, Any] | None = None) -> None:
        """Answer a request now that the test has kept waiting."""
        self.do(lambda: self._send(self.clients[-1], wire.reply(message, body or {})))

    def refuse(self, message: Message, error: TfnzError) -> None:
        """As :meth:`answer`, with an error."""
        told = Message(Kind.ERROR, message.ident, message.name, to_wire(error))
        self.do(lambda: self._send(self.clients[-1], told))

    def raw(self, parts: list[bytes]) -> None:
        """Say anything at all to every client."""

        def say() -> None:
            for identity in self.clients:
                self._listener.send(identity, parts)

        self.do(say)

    def named(self, name: str) -> list[Message]:
        """The requests of that name so far."""
        return [message for message in self.requests if message.name == name]

    def until(self, met: Callable[[], Any], timeout: float = 10.0) -> Any:
        """Poll until it is true; its value."""
        deadline = time.monotonic() + timeout
        while True:
            value = met()
            if value:
                return value
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.002)

    def close(self) -> None:
        """Stop listening, as an agent that is killed: nothing is said."""
        if self._open:
            self._open = False
            self.do(self._loop.stop)
            self._thread.join(10)
            self.path.unlink(missing_ok=True)
            self._claim.release()

    # -- on the agent's thread

    def _run(self) -> None:
        self._listener = Listener(self._incoming, lambda _: None, lambda *_: None)
        self._loop.run_until_complete(self._listener.listen(self.path))
        self._listening.set()
        self._loop.run_forever()
        self._listener.close()
        self._loop.run_until_complete(asyncio.sleep(0))  # its connections close
        self._loop.close()

    def _incoming(self, identity: bytes, parts: list[bytes]) -> None:
        self._message(identity, wire.decode(parts))

    def _message(self, identity: bytes, message: Message) -> None:
        self._identity = identity
        if message.kind is Kind.NOTE:
            self.notes.append(message)
            if message.name == "credit":
                reader = self.readers.get((identity, message.body["reader"]))
                if reader is not None:
                    reader.credit = max(reader.credit, message.body["upto"])
                    self._pump()
            return
        self.requests.append(message)
        if message.name != "hello" and identity not in self.clients:
            error = to_wire(TfnzError("Say hello first.", again=True))
            self._send(identity, Message(Kind.ERROR, message.ident, message.name, error))
            return
        default = getattr(self, "_" + message.name.replace(".", "_"), lambda m: ({}, None))
        answer = self.answers.get(message.name)
        try:
            given = answer(self, message) if answer is not None else default(message)
        except TfnzError as error:
            self._send(identity, Message(Kind.ERROR, message.ident, message.name, to_wire(error)))
            return
        if given is NotImplemented:  # the test answers later, or never
            return
        body, payload = given
        self._send(identity, wire.reply(message, body, payload))
        self._pump()

    def _send(self, identity: bytes, message: Message) -> None:
        self._listener.send(identity, wire.encode(message))

    def _tell(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None:
        for identity in self.clients:
            self._send(identity, wire.event(name, body, payload))

    def _pump(self) -> None:
        for reader in list(self.readers.values()):
            found = self.processes.get(reader.process)
            if found is None:
                continue
            stream = found.streams[reader.stream]
            reader.offset = max(reader.offset, stream.base)
            while (
                size := min(CHUNK, stream.head - reader.offset, reader.credit - reader.offset)
            ) > 0:
                start = reader.offset - stream.base
                body = {"reader": reader.number, "offset": reader.offset}
                chunk = bytes(stream.data[start : start + size])
                self._send(reader.identity, wire.event("data", body, chunk))
                reader.offset += size
            if stream.eof and reader.offset == stream.head and not reader.finished:
                reader.finished = True
                body = {"reader": reader.number, "offset": reader.offset}
                self._send(reader.identity, wire.event("eof", body))

    # -- the operations

    def _hello(self, message: Message) -> Any:
        self.clients.append(self._identity)
        self.numbers[self._identity] = 0
        self.do(partial(self._snapshot, self._identity, message.body.get("process")))
        return {
            "version": self.version,
            "agent": "scripted",
            "session": message.body.get("session") or "s-test",
            "engine": "podman",
            "about": {},
            "resumed": False,
            "heartbeat": 10.0,
        }, None

    def _snapshot(self, identity: bytes, viewed: str | None) -> None:
        """All that there is, or for a viewer its process, in one page."""
        told = [each for each in self.containers.values() if each["state"] != "destroyed"]
        running = [each.info() for each in self.processes.values() if not each.ended]
        if viewed is not None:
            told, running = [], [self.processes[i].info() for i in self.processes if i == viewed]
        body = {"containers": told, "processes": running, "ended": {}, "more": False}
        self._send(identity, wire.event("snapshot", {**body, "number": self.numbers[identity]}))

    def _changed(
        self,
        container: dict[str, Any] | None = None,
        *,
        process: FakeProcess | None = None,
        but: bytes = b"",
    ) -> None:
        """Tell every client of a change; of a short end with what was said."""
        for identity in self.clients:
            if identity == but:
                continue
            self.numbers[identity] += 1
            body: dict[str, Any] = {"number": self.numbers[identity]}
            if process is None:
                assert container is not None
                told = {"container": container["container"], "info": container}
                self._send(identity, wire.event("container", {**body, **told}))
                continue
            told = {"process": process.ident, "info": process.info()}
            if process.ended and self.says:
                told["said"] = [bytes(process.streams[n].data) for n in (1, 2)]
            self._send(identity, wire.event("process", {**body, **told}))

    def _node_list(self, message: Message) -> Any:
        node = {"cpus": 2, "cpu_free": 1.5, "memory": 8 << 30, "containers": 0, "labels": {}}
        first = {**node, "name": "first", "memory_free": 1 << 30}
        return {"nodes": [first, {**node, "name": "second", "memory_free": 2 << 30}]}, None

    def _container_spawn(self, message: Message) -> Any:
        ident, spec = message.body["container"], message.body["spec"]
        if ident not in self.containers:
            info = {"container": ident, "state": "running", "created": 0.0}
            info |= {key: spec.get(key) or "" for key in ("image", "name", "tag", "node", "origin")}
            self.containers[ident] = info
            if not spec.get("sleep"):
                self.processes[ident] = FakeProcess(ident, ident)
            self._changed(info)
            if ident in self.processes:
                self._changed(process=self.processes[ident])
        return {}, None

    def _container(self, message: Message) -> dict[str, Any]:
        found = self.containers.get(message.body["container"])
        if found is None:
            raise ContainerGone("Cannot use this container: it is not here.")
        return found

    def _container_info(self, message: Message) -> Any:
        return {"info": self._container(message)}, None

    def _container_destroy(self, message: Message) -> Any:
        found = self.containers.pop(message.body["container"], None)
        if found is not None:
            found["state"] = "destroyed"
            self._changed(found)
        return {}, None

    def _process_spawn(self, message: Message) -> Any:
        body = message.body
        self._container(message)
        ident = body["process"]
        if ident not in self.processes:
            self.processes[ident] = FakeProcess(
                *(ident, body["container"], body["text"], bool(body.get("tty"))),
                origin=body.get("origin") or "",
            )
        for stream, number, credit in body.get("readers") or ():
            self._open_reader(number, ident, stream, 0, credit)
        if message.payload:
            self.processes[ident].stdin.extend(message.payload)
        self._changed(process=self.processes[ident], but=self._identity)
        return {"info": self.processes[ident].info()}, None

    def _open_reader(
        self, number: int, process: str, stream: int, offset: int, credit: int
    ) -> None:
        key = (self._identity, number)
        self.readers[key] = FakeReader(self._identity, number, process, stream, offset, credit)

    def _process(self, message: Message) -> FakeProcess:
        found = self.processes.get(message.body["process"])
        if found is None:
            raise ProcessGone("Cannot use this process: it is not here.")
        return found

    def _process_list(self, message: Message) -> Any:
        ident = message.body["container"]
        found = [p.info() for p in self.processes.values() if p.container == ident != p.ident]
        return {"processes": found, "more": False}, None

    def _process_info(self, message: Message) -> Any:
        found = [self.processes[i] for i in message.body["processes"] if i in self.processes]
        return {"processes": [each.info() for each in found], "all": True}, None

    def _process_destroy(self, message: Message) -> Any:
        process = self._process(message)
        if not process.ended:
            process.returncode, process.ended = -15, True
            self._changed(process=process)
        return {"survivors": 0}, None

    def _process_stdin(self, message: Message) -> Any:
        self._process(message).stdin.extend(message.payload or b"")
        return {}, None

    def _log_read(self, message: Message) -> Any:
        body = message.body
        stream = self._process(message).streams[body["stream"]]
        offset = max(body["offset"], stream.base)
        start = offset - stream.base
        chunk = bytes(stream.data[start : start + body["limit"]])
        told = {"offset": offset, "head": stream.head, "base": stream.base, "eof": stream.eof}
        return told, chunk

    def _reader_open(self, message: Message) -> Any:
        body = message.body
        self._process(message)
        self._open_reader(
            body["reader"], body["process"], body["stream"], body["offset"], body["credit"]
        )
        return {}, None

    def _reader_close(self, message: Message) -> Any:
        self.readers.pop((self._identity, message.body["reader"]), None)
        return {}, None
