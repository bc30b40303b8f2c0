"""A location's conversation with its agent: requests, events, a heartbeat, and mending it.

Everything here runs on the I/O loop. Three kinds of things hang on a link:

- *requests* wait for their reply. When the connection breaks, those that may be said again are, in
  their order, once it is back; the others fail with LinkClosed. One that was unanswered each time
  when the agent refused to go on is said twice, not more.
- what is *known* of the session is told by the agent, at first and whenever something changes; see
  ``known`` for who listens.
- *sinks* take a stream, by the number of its reader. After a break a sink opens itself again at the
  offset it has, or ends.

An agent of this machine that died is started again through its :class:`~.starter.Place`; its
containers and their processes have not noticed.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from tfnz_notebook._base.names import fresh
from tfnz_notebook._link import hello, spooled
from tfnz_notebook._link.ends import Connect, Line, LogSink, Piped, Place, Sink
from tfnz_notebook._link.faults import DISCONNECTED, FORKED, again
from tfnz_notebook._link.known import Known, Listener
from tfnz_notebook._link.large import Large
from tfnz_notebook._link.line import LocalLine
from tfnz_notebook._link.line import connect as over_socket
from tfnz_notebook._wire import link as wire
from tfnz_notebook._wire.link import Kind, Message
from tfnz_notebook._wire.operations import EVENTS, OPERATIONS, Again
from tfnz_notebook.errors import (
    ContainerPaused,
    ContainerUnresponsive,
    EngineError,
    EngineGone,
    ForkedError,
    LinkClosed,
    NoEngine,
    ProcessGone,
    ProtocolError,
    TfnzError,
    TooLarge,
    from_wire,
)

#: Seconds for an agent's answer to ``hello``: it may be adopting what an earlier one left.
HELLO_TIMEOUT: Final = 30.0
#: Seconds a request waits for a broken link to be mended before it fails.
PATIENCE: Final = 30.0
#: Seconds between attempts: doubled from the first to the second.
RETRY: Final = (0.05, 5.0)
#: Seconds until what could not be undone is tried again.
UNDO_AGAIN: Final = 5.0
#: Processes that one question is about.
ASKED: Final = 256
#: Refusals in a row that are beyond repair.
REFUSALS: Final = 3
#: Seconds that a viewer, which starts no agent, waits for another one.
NO_AGENT: Final = 30.0
BYE_TIMEOUT, MENDING = 30.0, 10.0  # seconds to say bye, and of a broken link to mend for it


class Link:
    """One client of one agent."""

    def __init__(
        self,
        place: Place,
        *,
        session: str | None = None,
        ttl: float | None = None,
        viewer: tuple[str, str] | tuple[str, str, int] | None = None,
        connect: Connect | None = None,
        client: str = "",
    ) -> None:
        """``viewer``: (process, ticket), for a link that may use that process and has no session.

        Or (container, ticket, port), for one that may connect there.
        The process's listeners are then all there can be; they hear of its container's end, too.
        ``connect`` makes its connections, else ``line``; ``client`` is its id, else a random one.
        """
        self.place = place
        self.viewer = viewer
        self.client = client or fresh()
        self._connect_to = connect or over_socket
        self.session = session
        self.durable = session is not None
        self.ttl = ttl
        self.engine = self.agent = ""
        self.about: dict[str, Any] = {}
        self.known = Known(session=viewer is None)
        self.pid = os.getpid()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sinks: dict[int, Sink] = {}
        self._pending: dict[int, tuple[Message, asyncio.Future[Message]]] = {}
        self._suspects: set[int] = set()  # of these, who was there when the agent refused us
        self._large = Large(self._once)
        self._orphans: set[int] = set()  # of these, whose asker was cancelled
        self._idents = itertools.count(1)
        self._readers = itertools.count(1)
        self._line: Line | None = None
        self._open, self._over = False, cast("TfnzError | None", None)
        #: Set once it is over.
        self.ended = asyncio.Event()
        self._up = asyncio.Event()
        self._whole = asyncio.Event()  # the snapshot of this connection has come
        self._number = 0  # of the last change that was told
        self._unsettled: list[str] = []  # processes of which a container that was not met decides
        self._making: list[tuple[str, str]] = []  # containers and processes that are asked for
        self._queue, self._queued = asyncio.Lock(), 0  # who waits for it, first come first served
        self._heartbeat = wire.HEARTBEAT
        self._heard = 0.0
        self._refused = 0

    # -- what others use

    async def open(self) -> None:
        """Find the agent and say hello. Raises AgentError, NoEngine, LinkClosed."""
        for attempt in itertools.count():
            try:
                await self._connect()
                break
            except LinkClosed as error:
                # It may have ended, idle, between being found and being spoken to.
                if attempt == 2:
                    self._over = error
                    raise
            except TfnzError as error:
                self._over = error
                raise
        self.background(self._beat())

    async def request(
        self,
        name: str,
        body: dict[str, Any],
        payload: bytes | None = None,
        *,
        undo: Callable[[], object] | None = None,
    ) -> Message:
        """Ask, and wait for the reply, all of it.

        ``undo`` is called if who asked was cancelled, once the agent may have done it all the same.
        Raises what the agent answers, TooLarge, LinkClosed.
        """
        if OPERATIONS[name].pages:
            return await self._large.listing(name, body)
        kind, _, doing = name.partition(".")
        if doing != "spawn":
            return await self._once(name, body, payload, undo)
        made = kind, body[kind]
        self._making.append(made)
        try:
            return await self._once(name, body, payload, undo)
        finally:
            self._making.remove(made)

    async def _once(
        self,
        name: str,
        body: dict[str, Any],
        payload: bytes | None,
        undo: Callable[[], object] | None = None,
    ) -> Message:
        ident = next(self._idents)
        again = OPERATIONS[name].again
        if again is Again.NAMED:  # known by this name if it has to be said again
            body = {"write": f"{self.client}-{ident}", **body}
        elif self._line is not None and again is Again.NEVER:
            self._line.look()  # nothing may be lost with a connection that is dead already
        if not self._open or self._queued or self.forked:
            await self._wait_open(name)
        message = wire.request(ident, name, body, payload)
        parts: list[bytes] = []
        try:
            parts = wire.encode(message)
        except TooLarge:
            if not OPERATIONS[name].ahead:
                raise
        if not parts:
            return await self._large.ahead(message, undo)
        return await self._ask(message, parts, undo=undo)

    def take_back(self, name: str, body: dict[str, Any]) -> None:
        """Have that done beside, which undoes something; it may be gone already."""
        if self._over is None:
            self.background(self._take_back(name, body))

    async def _take_back(self, name: str, body: dict[str, Any]) -> None:
        """A container that cannot be asked now goes on one day, and what was begun in it."""
        while self._over is None:
            try:
                await self.request(name, body)
                return
            except (ContainerPaused, ContainerUnresponsive, LinkClosed):
                await asyncio.sleep(UNDO_AGAIN)

    async def caught_up(self) -> None:
        """Return once all that happened before now is known. Raises LinkClosed."""
        await self.request("ping", {})  # events do not overtake its reply
        await self._whole.wait()

    async def process(self, ident: str) -> dict[str, Any]:
        """The ``info`` of a process, which may have ended long ago. Raises ProcessGone."""
        await self._whole.wait()
        info = self.known.process(ident)
        if info is None:
            found, whole = await self._look([ident])
            info = found.get(ident)
            if info is None and not whole:
                raise ContainerUnresponsive(
                    "Cannot look at this process: it may be in a container whose guest does not "
                    "answer the new agent. Try again when that container is running."
                )
        if info is None:
            raise ProcessGone(
                "Cannot use this process: its container was destroyed or rebooted. "
                "Spawn another one."
            )
        return info

    def listen(self, name: str, ident: str, listener: Listener) -> None:
        """See :meth:`Known.listen`."""
        self.known.listen(name, ident, listener)

    def forget(self, name: str, ident: str, listener: Listener | None = None) -> None:
        """See :meth:`Known.forget`."""
        self.known.forget(name, ident, listener)

    def note(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None:
        """Tell the agent; lost if the link is broken, as is what notes are about."""
        if self._open and self._line is not None:
            self._line.send(wire.encode(wire.note(name, body, payload)))

    @property
    def local(self) -> bool:
        """Whether the agent is of this machine: it sees the files that we see."""
        return isinstance(self._line, LocalLine)

    def reader(self, sink: Sink) -> int:
        """A new reader's number; its events go to ``sink``."""
        number = next(self._readers)
        self._sinks[number] = sink
        return number

    def drop(self, number: int) -> None:
        """Forget a reader."""
        self._sinks.pop(number, None)

    def background(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run it beside, until the link ends; a TfnzError that it raises is nobody's business."""
        # No wrapper awaits it: one that is cancelled before it starts would leave it unawaited.
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._over_with)

    def _over_with(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, TfnzError):
            context = {"message": "In the background:", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    @property
    def up(self) -> bool:
        """Whether the agent can be spoken to now."""
        return self._open

    @property
    def over(self) -> bool:
        """Whether it was closed, by us or for good."""
        return self._over is not None

    @property
    def forked(self) -> bool:
        """Whether it is of the process that forked this one, which goes on with it."""
        return self.pid != os.getpid()

    def of_this_process(self, doing: str) -> None:
        """Raise ForkedError in a forked child: no thread of its parent's is there to answer."""
        if self.forked:
            raise again(ForkedError(FORKED), doing)

    def check(self, doing: str) -> None:
        """Raise LinkClosed if it is over, ForkedError if it is another process's."""
        self.of_this_process(doing)
        if self._over is not None:
            raise again(self._over, doing)

    async def close(self, timeout: float = BYE_TIMEOUT) -> None:
        """Say bye, so that a session that is not durable ends now; then let go. Idempotent."""
        if self._over is not None:
            return
        try:
            async with asyncio.timeout(timeout if self._open else min(timeout, MENDING)):
                await self.request("bye", {})
        except (TimeoutError, TfnzError):
            pass
        finally:  # whoever waits no longer wants it closed all the same
            self._end(LinkClosed(DISCONNECTED))

    # -- connecting

    async def _connect(self) -> None:
        lost: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def ended(reason: str) -> None:
            if not lost.done():
                lost.set_exception(LinkClosed(self._out_of_reach(reason)))
                lost.exception()  # retrieved: asyncio need not report it
            if self._line is line and self._open:
                self._broke(reason)

        line: Line | None = None
        line = self._line = await self._connect_to(self.place, self._received, ended)
        words = wire.request(next(self._idents), "hello", self._hello())
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                await self._ask(words, wire.encode(words), lost)
        except BaseException as error:
            line.close()
            if isinstance(error, TimeoutError):
                raise LinkClosed(self._out_of_reach("it does not answer")) from None
            raise

    def _greeted(self, body: dict[str, Any]) -> None:
        """The answer to hello, whose snapshot may be right behind it."""
        self.session = str(body.get("session", self.session))
        self.engine, self.agent = str(body.get("engine", "")), str(body.get("agent", ""))
        self.about = dict(body.get("about") or {})
        self._heartbeat = float(body.get("heartbeat") or wire.HEARTBEAT)
        self.known.begin()
        self._number = 0
        self._whole.clear()
        self._heard, self._open = asyncio.get_running_loop().time(), True
        assert self._line is not None
        # Now, in the order in which it was said: what is asked from here on is said once.
        for _, (message, reply) in sorted(self._pending.items()):
            if message.name != "hello" and not reply.done():
                self._line.send(wire.encode(message))
        self._up.set()

    def _hello(self) -> dict[str, Any]:
        if self.viewer is not None:
            said = hello.of_viewer(self.client, *self.viewer)
        else:
            again = bool(self.agent)
            said = hello.of_kernel(self.client, self.session, self.durable, self.ttl, again=again)
        return {**said, "files": self.local}

    def _out_of_reach(self, reason: str) -> str:
        return (
            f"Cannot reach the agent of {self.place.where!r}: {reason}. "
            "Look whether it runs (tfnz-agent status) and make another Location()."
        )

    async def _wait_open(self, name: str) -> None:
        self.check(name)
        self._queued += 1
        try:
            async with asyncio.timeout(PATIENCE), self._queue:
                await self._up.wait()
        except TimeoutError:
            raise LinkClosed(self._out_of_reach("the connection is broken")) from None
        finally:
            self._queued -= 1
        self.check(name)

    async def _ask(
        self,
        message: Message,
        parts: list[bytes],
        lost: asyncio.Future[Message] | None = None,
        undo: Callable[[], object] | None = None,
    ) -> Message:
        reply = lost if lost is not None else asyncio.get_running_loop().create_future()
        self._pending[message.ident] = (message, reply)
        try:
            assert self._line is not None
            self._line.send(parts)
            # Shielded: the answer may come between a cancel and our hearing of it.
            return await (reply if undo is None else asyncio.shield(reply))
        except asyncio.CancelledError:
            if undo is not None:
                self._orphan(message, reply, undo)
            raise
        finally:
            if message.ident not in self._orphans:
                self._pending.pop(message.ident, None)
                self._suspects.discard(message.ident)

    def _orphan(
        self, message: Message, reply: asyncio.Future[Message], undo: Callable[[], object]
    ) -> None:
        """Nobody waits for the reply any more, but what it tells of is to be undone."""

        def told(answer: asyncio.Future[Message]) -> None:
            self._orphans.discard(message.ident)
            self._pending.pop(message.ident, None)
            self._suspects.discard(message.ident)
            error = answer.exception()
            if error is None or isinstance(error, LinkClosed):  # done, or nobody knows
                undo()

        if reply.done():
            told(reply)
        else:
            self._orphans.add(message.ident)
            reply.add_done_callback(told)

    # -- hearing

    def _received(self, parts: list[bytes]) -> None:
        try:
            message = wire.decode(parts)
            self._heard = asyncio.get_running_loop().time()
            match message.kind:
                case Kind.EVENT:
                    self._event(message)
                case Kind.REPLY | Kind.ERROR:
                    self._answer(message)
                case _:
                    self._broke("it speaks as a kernel would")
        except ProtocolError as error:
            waiting = self._pending.get(error.details.get("ident", 0))
            if waiting is None:
                self._broke(f"it said something unexpected: {error}")
            elif not waiting[1].done():  # it answered so, and nothing else is wrong
                waiting[1].set_exception(error)

    def _answer(self, message: Message) -> None:
        waiting = self._pending.get(message.ident)
        if waiting is None:
            if message.kind is Kind.ERROR and message.ident == 0:
                self._refused += 1
                reason = str(message.body.get("message", "it did not understand us"))
                self._suspect(reason)
                self._broke(reason)
            return
        self._refused, reply = 0, waiting[1]
        if reply.done():
            return
        if message.kind is Kind.REPLY:
            if message.name == "hello":
                self._greeted(message.body)
            elif message.name == "process.spawn":  # others hear of it by an event
                self.known.process_is(message.body["info"])
            # Now, not when who asked goes on: the link may break before that.
            for number in _read_by(waiting[0]):
                if (sink := self._sinks.get(number)) is not None:
                    cast("LogSink", sink).begins()
            reply.set_result(message)
            return
        error = from_wire(message.body)
        if message.name == "process.spawn":
            self._not_spawned(waiting[0].body["process"])
        if error.details.get("again"):  # a new agent, which has not met us, and did nothing
            self._broke("it was restarted", undone=message.ident)
        else:
            reply.set_exception(error)

    def _not_spawned(self, ident: str) -> None:
        """What was only being started never came to be; an agent before this one had told of it."""
        known = self.known.process(ident)
        if known is not None and not known["pid"]:
            self.known.gone("process", ident)

    def _suspect(self, reason: str) -> None:
        """One of those who wait may be what the agent refused: nobody is said a third time."""
        for ident, (message, reply) in self._pending.items():
            if ident in self._suspects and not reply.done():
                error = ProtocolError(f"Cannot {OPERATIONS[message.name].doing}: {reason}")
                reply.set_exception(error)
        self._suspects.update(self._pending)

    def _event(self, message: Message) -> None:
        body = message.body
        match message.name:
            case "snapshot":
                self._number = body["number"]
                self.known.page(body["containers"], body["processes"], body["ended"])
                if not body["more"]:
                    self.background(self._settle())
            case "container" | "process":
                self._changed(message.name, body)
            case _:
                sink = self._sinks.get(body.get("reader", 0))
                if sink is None or message.name not in EVENTS:
                    return
                match message.name:
                    case "data":
                        sink.data(body["offset"], message.payload or b"")
                    case "lies":
                        self._lies(sink, body)
                    case "eof":
                        sink.eof(body["offset"])
                    case "dial.credit":
                        sink.room(body["upto"])
                    case "dial.closed":
                        sink.closed(body["errno"])
                    case "pipe" if isinstance(sink, Piped):
                        sink.pipe(body["path"], body.get("size") or 0)
                    case "pipe.eof" if isinstance(sink, Piped):
                        sink.piped(body["offset"])

    def _lies(self, sink: Sink, body: dict[str, Any]) -> None:
        """Bytes of a log are in a file that we may see; else the sink opens itself again."""
        if not self.local:
            raise ProtocolError("lies: An agent of another machine names no file of this one.")
        try:
            payload = spooled.read(body["path"], body["at"], body["size"])
        except OSError as error:
            self.drop(body["reader"])  # what follows would follow a gap
            self.note("unseen", {"reader": body["reader"]})
            reason = LinkClosed(f"Cannot read the log where its agent has it: {error}.")
            # Its request may have been answered in this very moment.
            asyncio.get_running_loop().call_soon(self._unseen, sink, reason)
        else:
            sink.data(body["offset"], payload)

    def _unseen(self, sink: Sink, reason: LinkClosed) -> None:
        sink.broken(self._over or reason, self.over)
        if not self.over:
            sink.mended()

    def _changed(self, name: str, body: dict[str, Any]) -> None:
        if body["number"] != self._number + 1:
            self._broke("some of what it told did not arrive")
            return
        self._number += 1
        if name == "process":
            self.known.process_is(body["info"], body.get("said"))
        elif self.viewer is None:
            self.known.container_is(body["info"])
            if self._unsettled and body["info"].get("met"):
                self.background(self._settle_processes(self._unsettled))
        else:
            self.known.gone("process", self.viewer[0])

    async def _beat(self) -> None:
        """Keep the session alive, and notice an agent that fell silent."""
        loop = asyncio.get_running_loop()
        while self._over is None:
            await asyncio.sleep(self._heartbeat)
            if not self._open:
                continue
            if loop.time() - self._heard > wire.SILENCE * self._heartbeat:
                self._broke("it fell silent")
            else:
                self.background(self._ping())

    async def _ping(self) -> None:
        """What an engine is shows only by and by, as whether it keeps containers apart."""
        answer = await self.request("ping", {})
        self.about = dict(answer.body.get("about") or self.about)

    # -- a break, and its mending

    def _broke(self, reason: str, undone: int = 0) -> None:
        if self._line is not None:
            self._line.close()
        if self._over is not None:
            return
        if not self._open:  # it is our hello that failed; pending requests wait for the next one
            for message, reply in self._pending.values():
                if message.name == "hello" and not reply.done():
                    reply.set_exception(LinkClosed(self._out_of_reach(reason)))
            return
        self._open = False
        self._up.clear()
        self._whole.set()  # who waits for it waits for nothing
        error = LinkClosed(self._out_of_reach(reason))
        for message, reply in list(self._pending.values()):
            lost = OPERATIONS[message.name].again is Again.NEVER and message.ident != undone
            lost = lost or message.ident in self._orphans  # done twice would be undone once
            if lost and not reply.done():
                reply.set_exception(again(error, message.name))
        for sink in list(self._sinks.values()):
            sink.broken(error, False)
        if self._refused > REFUSALS:  # one of us is beyond repair
            self._end(ProtocolError(f"Cannot go on with the agent: {reason}"))
            return
        self.background(self._mend())

    async def _mend(self) -> None:
        delay = RETRY[0]
        patience = math.inf if self.viewer is None else NO_AGENT
        while self._over is None:
            try:
                await self._connect()
                break
            except (LinkClosed, NoEngine, EngineError, EngineGone) as error:
                if (patience := patience - delay) < 0:
                    self._end(error)
                    return
                await asyncio.sleep(delay)
                delay = min(2 * delay, RETRY[1])
            except TfnzError as error:
                self._end(error)
                return
        if self._over is not None or self._line is None:
            return
        line, sinks = self._line, list(self._sinks.values())
        await self._whole.wait()
        if self._line is line and self._open:
            for sink in sinks:
                sink.mended()

    async def _settle(self) -> None:
        """The snapshot is here: what it does not name has ended, or is gone."""
        line = self._line
        containers, processes = self.known.missing()
        asked = {name: self._asked_for(name) for name in ("container", "process")}
        for ident in containers:
            if ident not in asked["container"]:
                self.known.gone("container", ident)
        await self._settle_processes([each for each in processes if each not in asked["process"]])
        if self._line is line:
            self._whole.set()

    async def _settle_processes(self, idents: list[str]) -> None:
        self._unsettled = []
        for at in range(0, len(idents), ASKED):
            found, whole = await self._look(idents[at : at + ASKED])
            for ident in idents[at : at + ASKED]:
                if ident in found:
                    self.known.process_is(found[ident])
                elif whole:
                    self.known.gone("process", ident)
                else:
                    self._unsettled.append(ident)

    def _asked_for(self, name: str) -> set[str]:
        """What is being made, and said again: no snapshot can name it yet.

        Its request may still wait for the link, or for what of it goes ahead.
        """
        pending = (message for message, _ in self._pending.values())
        said = {message.body[name] for message in pending if message.name == f"{name}.spawn"}
        return said | {ident for kind, ident in self._making if kind == name}

    async def _look(self, processes: list[str]) -> tuple[dict[str, dict[str, Any]], bool]:
        """What the agent knows of them; whether the others are gone."""
        if self.viewer is not None:
            return {}, True  # its snapshot has all that it may know
        with self.known.hearing() as heard:
            told = (await self.request("process.info", {"processes": processes})).body
        found = {str(info["process"]): info for info in told["processes"]}
        return {ident: heard.get(ident, info) for ident, info in found.items()}, bool(told["all"])

    def _end(self, error: TfnzError) -> None:
        self._over = error
        self.ended.set()
        self._open = False
        self._up.set()
        self._whole.set()
        if self._line is not None:
            self._line.close(linger=1.0)
        for message, reply in list(self._pending.values()):
            if not reply.done():
                reply.set_exception(again(error, message.name))
        for sink in list(self._sinks.values()):
            sink.broken(again(error, "read"), True)
        self._sinks.clear()
        self.known.end()
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()


def _read_by(request: Message) -> list[int]:
    """The readers of logs that it has its agent open."""
    if request.name == "reader.open":
        return [request.body["reader"]]
    return [number for _, number, _ in request.body.get("readers", ())]
