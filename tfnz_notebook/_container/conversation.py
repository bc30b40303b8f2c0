"""An interpreter of a container that is kept between cells, and the conversation with it.

It is a process like any other, found again by its title: in a durable session another kernel goes
on with it, its variables included. ``_wire.cells`` says what it says. Everything here runs on the
I/O loop; callbacks go through a lane of whoever runs the cell.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tfnz_notebook._base.names import fresh, signal_name
from tfnz_notebook._base.numbers import plural, size
from tfnz_notebook._base.text import last_words, one_line
from tfnz_notebook._calls.changes import Changes
from tfnz_notebook._calls.dispatch import Item, Lane
from tfnz_notebook._link.reader import Reader, read
from tfnz_notebook._link.thread import io
from tfnz_notebook._wire.cells import Answers, Order, Said, Text
from tfnz_notebook._wire.guest import Target
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.errors import (
    CommandNotFound,
    ProcessGone,
    ProtocolError,
    TfnzError,
    WaitTimeout,
)

if TYPE_CHECKING:
    from tfnz_notebook.container import Container
    from tfnz_notebook.process import Process

#: Bytes of a cell's text that are taken as they come; of more, only the end.
MOST_TEXT: Final = 1 << 20
TAIL: Final = 16 << 10
#: Where that end is looked for: before the cell's last mark, which others may write behind.
_LAST: Final = 256 << 10
#: Values that a cell shows, and their characters; more are left out.
MOST_SHOWN: Final = 200
MOST_DATA: Final = 32 << 20
#: Seconds between what takes the place of what it has shown; what comes sooner waits, and may give
#: way to what comes then. And characters of what such a place is called.
PACE: Final = 0.1
_NAME: Final = 100
#: Seconds: for one that is found to say that it is one; for a mark whose answer has come; for the
#: last words of one that has ended; from an interrupt for a cell to heed it, whose first traceback
#: an IPython that has to be compiled takes some for.
_PATIENCE: Final = 5.0
_MARK: Final = 2.0
_WORDS: Final = 1.0
GRACE: Final = 5.0

_INSIDE: Final = Path(__file__).parent.parent / "_inside"
#: Reads so many bytes of two programs, and no further: what follows are questions.
_BOOT: Final = """\
import os, sys
if sys.version_info < (3, 8): sys.exit("tfnz: Python %d.%d" % sys.version_info[:2])
sizes, code = [int(each) for each in sys.argv[1:]], b""
while len(code) < sum(sizes):
    piece = os.read(0, sum(sizes) - len(code))
    if not piece: sys.exit(0)
    code += piece
about = {"__name__": "__tfnz__", "KERNEL": code[sizes[0]:]}
exec(compile(code[:sizes[0]], "<tfnz>", "exec"), about)
"""
_OLD: Final = re.compile(rb"tfnz: (Python [0-9.]{1,10})")
_BASH: Final = 'exec "$(command -v bash || echo /bin/sh)" -c "$1"'


class Program(NamedTuple):
    """What is kept in a container: how it is started, and asked."""

    #: What it is called in errors, what else ends it, and who has it.
    called: str
    ends: str
    images: str
    argv: list[str]
    #: Of its stdin, what comes before all questions.
    before: bytes
    hello: Callable[[str], bytes]
    run: Callable[..., bytes]
    #: None where it never asks for input.
    answer: Callable[[str, str | None], bytes] | None
    #: "complete" or "inspect", a nonce, and the text; None where it knows nothing of names.
    look: Callable[[str, str, str], bytes] | None


def _python() -> Program:
    programs = [(_INSIDE / name).read_bytes() for name in ("python.py", "jupyter.py")]

    def ask(**question: Any) -> bytes:
        return f"{question!a}\n".encode()

    return Program(
        "its interpreter",
        "as os._exit() does",
        "python3 of 3.8 or newer. Use an image with one, as python:3.13-slim, or "
        "debian after 'apt-get install python3'",
        ["python3", "-c", _BOOT, *(str(len(each)) for each in programs)],
        b"".join(programs),
        lambda nonce: ask(do="hello", nonce=nonce),
        lambda cell, text, name, **variables: ask(
            do="run", cell=cell, code=text, name=name, **variables
        ),
        lambda cell, text: ask(do="answer", cell=cell, text=text),
        lambda do, nonce, text: ask(do=do, nonce=nonce, text=text),
    )


def _shell() -> Program:
    code = (_INSIDE / "shell.sh").read_text(encoding="utf-8")

    def run(cell: str, text: str, name: str) -> bytes:
        del name  # a shell's errors have none
        return f"run {cell} {text.count(chr(10)) + 1}\n{text}\n".encode()

    return Program(
        "its shell",
        "as exit does",
        "/bin/sh. Use an image with one, as debian or alpine",
        ["/bin/sh", "-c", _BASH, "sh", code],
        b"",
        lambda nonce: f"hello {nonce} 0\n".encode(),
        run,
        None,
        None,
    )


_PROGRAMS: Final = {"python": _python, "bash": _shell}


class Displayed(dict[str, Any]):
    """A value by MIME type."""

    place: str = ""
    """The name of its place, where others may come for it; else empty."""
    again: bool = False
    """Whether it comes for one of this name."""


class Callbacks(NamedTuple):
    """Who hears of a cell while it runs; each may be None."""

    data: Callable[[Any, bytes], object] | None = None
    stderr: Callable[[Any, bytes], object] | None = None
    display: Callable[[Any, Displayed], object] | None = None
    input: Callable[[Any, str, bool], str] | None = None
    clear: Callable[[Any, bool], object] | None = None

    def __bool__(self) -> bool:
        return any(each is not None for each in self)


class Told:
    """What a cell has said so far."""

    def __init__(self) -> None:
        self.streams: dict[int, list[bytes]] = {1: [], 2: []}
        self.values: list[dict[str, Any]] = []
        #: Which of these has a place of its own, by its name.
        self.places: dict[str, int] = {}
        #: Bytes of text, and values, that nobody was shown.
        self.unseen = 0
        self.unshown = 0
        self.done: dict[str, Any] = {}

    def stream(self, number: int) -> bytes:
        return b"".join(self.streams[number])

    def take(self, value: dict[str, Any], place: str, *, again: bool) -> bool:
        """One more, or another in the place of one, if that is not too much."""
        at = self.places.get(place, len(self.values)) if again else len(self.values)
        values = [*self.values[:at], value, *self.values[at + 1 :]]
        if len(values) > MOST_SHOWN or sum(map(_characters, values)) > MOST_DATA:
            return False
        self.values = values
        if place:
            self.places[place] = at
        return True

    def left_out(self) -> list[str]:
        """Of what it showed, what was not taken, or cut, in words."""
        values = [*self.values, *([self.done["value"]] if self.done.get("value") else [])]
        cut = [
            f"{size(rest)} of {kind}"
            if kind == "text/plain"
            else f"{one_line(kind)} of {size(rest)}"
            for value in values
            for kind, rest in value["left"]
        ]
        shown = [f"{plural(self.unshown, 'value')} that it showed"] if self.unshown else []
        return [*shown, *cut]


def _characters(value: dict[str, Any]) -> int:
    return sum(len(each) for each in value["data"].values() if isinstance(each, str))


class _Turn:
    """One cell that runs: from its question to its end."""

    def __init__(self, conversation: Conversation, lane: Lane, callbacks: Callbacks) -> None:
        self.cell, begun = conversation.next_cell()
        self.order = Order(self.cell, MOST_TEXT, begun=begun)
        self.told = Told()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._conversation = conversation
        self._lane = lane
        self._callbacks = callbacks
        self._begun_at = conversation.offset
        self._pushed = self._asked = self._long = False
        self._timer: asyncio.TimerHandle | None = None
        #: What waits until something may take the place of what was shown: since all that goes,
        #: if that waits; by place. And when it may.
        self._held: list[Item] | None = None
        self._again: dict[str, Item] = {}
        self._pace: asyncio.TimerHandle | None = None
        self._busy, self._due = False, 0.0

    def hand(self, events: list[Said | dict[str, Any]]) -> None:
        """What comes next of it."""
        for event in events:
            if isinstance(event, Said):
                self.text(event.stream, event.data)
            elif event["is_"] == "show":
                self._show(event["value"], (event["place"] or "")[:_NAME], bool(event["again"]))
            elif event["is_"] == "clear":
                self._clear(event["wait"])
            elif event["is_"] == "ask":
                self._asks(event["prompt"], event["hidden"])
            else:
                self.told.done = event
                if self.order.full:
                    self._conversation.background(self._end_of_long())
                else:
                    self.end()
        if self.order.full and not self._long:
            self._long = True
            more = f"\n[more than {size(MOST_TEXT)}: what follows is left out, but for its end]\n"
            self.text(1, more.encode())
        if not self.order.waits and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self.order.waits and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_MARK, self._unmarked)

    def _unmarked(self) -> None:
        self._timer = None
        if self.order.waits and not self.over.done():
            self.hand(self.order.give_up())
            self._conversation.used()

    def text(self, stream: int, data: bytes) -> None:
        """It writes."""
        self.told.streams[stream].append(data)
        callback = self._callbacks.data if stream == 1 else self._callbacks.stderr
        if callback is not None:
            self._push(Item(callback, (self._conversation.process,), data))

    def _show(self, value: dict[str, Any], place: str, again: bool) -> None:
        if not self.told.take(value, place, again=again):
            self.told.unshown += 1
            return
        if self._callbacks.display is None:
            return
        shown, process = Displayed(value["data"]), self._conversation.process
        if place and process is not None:  # a name that no other process can say
            shown.place, shown.again = f"{process.id}-{place}", again
        item = Item(self._callbacks.display, (process, shown))
        if again:
            self._again[place] = item
            self._soon()
        else:
            self._again.pop(place, None)
            self._push(item)

    def _clear(self, wait: bool) -> None:
        self.told.values, self.told.places = [], {}
        if self._callbacks.clear is not None:
            clear = Item(self._callbacks.clear, (self._conversation.process, wait))
            self._held, self._again = [clear], {}
            self._soon()

    def _soon(self) -> None:
        """What waits is shown as soon as it may be."""
        if self._pace is None and not self._busy:
            loop = asyncio.get_running_loop()
            self._pace = loop.call_later(max(0, self._due - loop.time()), self._release)

    def _release(self) -> None:
        """Show what waits."""
        if self._pace is not None:
            self._pace.cancel()
            self._pace = None
        waiting = [*(self._held or ()), *self._again.values()]
        self._held, self._again = None, {}
        if waiting:
            self._busy = True
            for item in (*waiting, Item(None, (), None, lambda _: io().soon(self._rested))):
                self._push(item)

    def _rested(self) -> None:
        """What waited is shown: who is slow is told less often."""
        self._busy, self._due = False, asyncio.get_running_loop().time() + PACE
        if (self._held or self._again) and not self.over.done():
            self._soon()

    def _push(self, item: Item) -> None:
        if self._held is not None:
            self._held.append(item)
        else:
            self._pushed = True
            self._lane.push(item)

    def _asks(self, prompt: str, hidden: bool) -> None:
        if self._asked:
            raise ProtocolError("It asks for input before it has had what it asked for.")
        self._asked = True
        self._release()
        self._push(Item(self._ask, (prompt, hidden)))

    def _ask(self, prompt: str, hidden: bool) -> None:
        """On the caller's thread: have the question answered."""
        text, interrupted = None, False
        try:
            if self._callbacks.input is not None:
                text = self._callbacks.input(self._conversation.process, prompt, hidden)
        except EOFError:
            pass  # as there
        except KeyboardInterrupt:
            interrupted = True
        finally:
            io().soon(self._answered, text, interrupted)

    def _answered(self, text: str | None, interrupted: bool) -> None:
        self._asked = False
        if interrupted:
            self._conversation.background(self._conversation.interrupt())
        else:
            self._conversation.answer(self.cell, text)

    async def _end_of_long(self) -> None:
        """Of a cell that wrote more than is taken: how much that was, and its last words."""
        try:
            head, tail = await self._conversation.tail(self.cell, self.told.done["number"])
            self.told.unseen = max(0, head - self._begun_at - MOST_TEXT - len(tail))
            self.text(1, b"[%s left out]\n" % size(self.told.unseen).encode() + tail)
        except TfnzError as error:
            self.fail(error)
            return
        self.end()

    async def done_within(self, seconds: float | None) -> bool:
        """Wait until it is over. Raises what it failed with."""
        await asyncio.wait({self.over}, timeout=seconds)
        if not self.over.done():
            return False
        self.over.result()
        return True

    def close(self) -> None:
        """Nobody waits for it any more."""
        for each in (self._timer, self._pace):
            if each is not None:
                each.cancel()
        if self.over.done():
            self.over.exception()  # else it would be reported as never seen
        else:
            self.over.cancel()

    def end(self) -> None:
        """All is said. It is over when all callbacks have run."""
        self._release()
        if self._pushed:
            self._lane.push(Item(None, (), None, lambda _: io().soon(self._settle)))
        else:
            self._settle()

    def _settle(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def fail(self, error: TfnzError) -> None:
        """Nothing will follow; what came before is heard first."""
        self._release()

        def settle() -> None:
            if not self.over.done():
                self.over.set_exception(error)

        if self._pushed:
            self._lane.push(Item(None, (), None, lambda _: io().soon(settle)))
        else:
            settle()


class Conversation:
    """One interpreter, started when it is first asked for, and again when it has ended."""

    def __init__(self, container: Container, kind: str, name: str) -> None:
        self._container = container
        self._link = container._link
        self._program = _PROGRAMS[kind]()
        self._title = f"{kind} cells" + (f" of context {name}" if name != "default" else "")
        self.process: Process | None = None
        self._cells, self._writes = asyncio.Lock(), asyncio.Lock()
        self._turn: _Turn | None = None
        self._readers: dict[int, Reader] = {}
        #: Bytes of each that were heard, and for which no others were asked yet.
        self._held = {1: 0, 2: 0}
        self._text, self._answers = Text(), Answers()
        #: What the next cell will be called, and whether its text has begun with that.
        self._after, self._ahead = "", False
        self._changes = Changes()
        self._nonce = ""
        self._greeted = asyncio.Event()
        #: What is asked of it beside cells, by nonce.
        self._sought: dict[str, asyncio.Future[dict[str, Any]]] = {}
        #: Why we ended it, if we did.
        self._killed = ""

    # -- a cell

    async def run(
        self,
        code: str,
        name: str,
        lane: Lane,
        callbacks: Callbacks,
        timeout: float | None,
        **variables: Any,
    ) -> Told:
        """Run it, and return what it said. Raises ProcessGone if that ends the interpreter."""
        async with self._cells:
            if self.process is not None and self.process._ended:  # and nobody was there to hear it
                error = self._gone(self.process, None)
                self._forget()
                raise error
            process = await self._ready()
            turn = self._turn = _Turn(self, lane, callbacks)
            watch = asyncio.create_task(self._watch(process, turn))
            try:
                more = variables | ({"after": self._after} if self._program.look else {})
                question = self._program.run(turn.cell, code, name, **more)
                self.background(self._ask(process, turn, question))
                await self._until(turn, timeout)
            except asyncio.CancelledError:
                if process.returncode is None:
                    gone = {"process": process.id, "signal": 2, "target": int(Target.TREE)}
                    self._link.take_back("process.signal", gone)
                raise
            finally:
                self._turn = None
                self.used()
                watch.cancel()
                turn.close()
            return turn.told

    async def _until(self, turn: _Turn, timeout: float | None) -> None:
        if await turn.done_within(timeout):
            return
        became = "it was interrupted, and its variables stay"
        await self.interrupt()
        try:
            if not await turn.done_within(GRACE):
                became = f"as it did not heed an interrupt, {self._program.called} was ended"
                await self.kill("that it did not heed an interrupt")
                await turn.done_within(None)
        except ProcessGone:
            became += "; the next cell begins anew"
        raise WaitTimeout(
            f"Cannot complete the cell within {timeout:g} s: {became}. Give it more time.",
            stdout=turn.told.stream(1),
            stderr=turn.told.stream(2),
        )

    async def _watch(self, process: Process, turn: _Turn) -> None:
        """End the turn if the interpreter ends."""
        await process._changes.until(lambda: process._ended, None, WaitTimeout)
        ends = {1: int(process._info.get("out") or 0), 2: int(process._info.get("err") or 0)}

        def heard() -> bool:
            readers = self._readers.items()
            return turn.over.done() or all(each.offset >= ends[number] for number, each in readers)

        with contextlib.suppress(WaitTimeout):
            await self._changes.until(heard, _WORDS, WaitTimeout)
        if turn.over.done():  # it was answered first: the next cell is told of the end
            return
        error = self._gone(process, turn)
        self._forget()
        turn.fail(error)

    def _gone(self, process: Process, turn: _Turn | None) -> TfnzError:
        code, called = process.returncode, self._program.called
        stray = last_words(self._answers.stray)
        if found := _OLD.search(self._answers.stray):
            return self._none(f"its python3 is {found[1].decode()}, and cells need")
        if self._killed:
            cause, self._killed = f"{called} was ended, {self._killed}", ""
        elif process.oom:
            cause = f"{called} was killed for the container's memory limit"
        elif code is None:
            cause = f"{called} went with its container or agent"
        elif code < 0:
            cause = f"{called} was ended by {signal_name(-code, numbered=True)}"
        else:
            cause = f"{called} ended with code {code}, {self._program.ends}"
        told = Told() if turn is None else turn.told
        words = f" Its last words:\n{stray}" if stray and turn and not turn.order.begun else ""
        return ProcessGone(
            f"Cannot complete the cell: {cause}. Its variables are gone; the next cell begins "
            f"anew.{words}",
            returncode=code,
            stdout=told.stream(1),
            stderr=told.stream(2),
        )

    def _none(self, cause: str) -> CommandNotFound:
        return CommandNotFound(
            f"Cannot run cells in {self._container._called}: {cause} {self._program.images}."
        )

    async def look(self, do: str, text: str) -> dict[str, Any] | None:
        """What may be typed behind a text (``complete``), or what a name is (``inspect``).

        None of one that runs a cell, or was not asked for anything yet: it is not started for that.
        """
        process, ask = self.process, self._program.look
        if process is None or process._ended or ask is None or self._cells.locked():
            return None
        nonce = fresh()
        future = self._sought[nonce] = asyncio.get_running_loop().create_future()
        try:
            await self._send(process, ask(do, nonce, text))
            async with asyncio.timeout(_PATIENCE):
                found: dict[str, Any] = await future
                return found
        except (TimeoutError, TfnzError):
            return None
        finally:
            del self._sought[nonce]

    # -- the interpreter

    @property
    def offset(self) -> int:
        """How far its text was read."""
        return self._readers[1].offset if 1 in self._readers else 0

    def background(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run it beside."""
        self._link.background(coroutine)

    async def _ready(self) -> Process:
        """One that runs, with its streams read: ours, one of an earlier kernel, or a new one."""
        if self.process is None:
            await self._container._running("run a cell")
            for found in await self._container.aio.all_processes():
                if found.command == self._title and await self._greets(found):
                    break
            else:
                await self._start()
        assert self.process is not None
        if 1 not in self._readers:  # the cell before said too much
            self._text = Text()
            await self._read(1, await self._head(1))
        return self.process

    async def _greets(self, process: Process) -> bool:
        """Whether a process that calls itself one of ours answers as one, or may yet."""
        self.process, self._nonce = process, fresh()
        self._greeted.clear()
        try:
            for stream in (1, 2):
                await self._read(stream, await self._head(stream))
            await self._send(process, self._program.hello(self._nonce))
            async with asyncio.timeout(_PATIENCE):
                await self._greeted.wait()
        except TimeoutError:  # it is busy with another kernel's cell: ours comes after that
            pass
        except ProcessGone:
            self._forget()
            return False
        return self.process is process

    async def _start(self) -> None:
        try:
            self.process = await self._container._spawn(
                self._program.argv, (None, None, None), text=self._title, retain="tail"
            )
        except CommandNotFound:
            raise self._none("it has no") from None
        self._killed = ""
        await asyncio.gather(self._read(1, 0), self._read(2, 0))
        if self._program.before:
            self.background(self._ask(self.process, None, self._program.before))

    def _forget(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._text, self._answers = Text(), Answers()
        self._ahead = False
        self.process = None

    async def interrupt(self) -> None:
        """SIGINT, for it and all that it started."""
        if self.process is not None and self.process.returncode is None:
            body = {"process": self.process.id, "signal": 2, "target": int(Target.TREE)}
            with contextlib.suppress(ProcessGone):
                await self._link.request("process.signal", body)

    async def kill(self, why: str) -> None:
        """End it, and all that it started."""
        if self.process is not None and self.process.returncode is None:
            self._killed = why
            with contextlib.suppress(ProcessGone):
                await self._link.request(
                    "process.destroy", {"process": self.process.id, "grace": 0.0}
                )

    async def destroy(self) -> None:
        """End it, as was asked for: who runs a cell meanwhile is told, who runs the next is not."""
        await self.kill("as was asked for")
        if self._turn is None:
            self._forget()
            self._killed = ""

    # -- what it is told, and says

    async def _ask(self, process: Process, turn: _Turn | None, question: bytes) -> None:
        try:
            await self._send(process, question)
        except ProcessGone:
            pass  # whoever waits is told why
        except TfnzError as error:
            if turn is not None:
                turn.fail(error)

    async def _send(self, process: Process, question: bytes) -> None:
        """All of it, and after what was sent before."""
        async with self._writes:
            for start in range(0, len(question), MAX_CHUNK):
                piece = question[start : start + MAX_CHUNK]
                await self._link.request("process.stdin", {"process": process.id}, piece)

    def answer(self, cell: str, text: str | None) -> None:
        """What a cell asked for; None: there is nobody to ask."""
        if self.process is not None and self._program.answer is not None:
            self.background(self._ask(self.process, None, self._program.answer(cell, text)))

    async def _head(self, stream: int) -> int:
        assert self.process is not None
        body = {"process": self.process.id, "stream": stream, "offset": 0, "limit": 0}
        return int((await self._link.request("log.read", body)).body["head"])

    async def tail(self, cell: str, number: int) -> tuple[int, bytes]:
        """Where a cell's text ended, about, and the last lines of it."""
        reader = self._readers.pop(1, None)
        if reader is not None:
            reader.close()
        if self.process is None:
            return 0, b""
        head = await self._head(1)
        data = await read(self._link, self.process.id, 1, max(0, head - _LAST), head)
        said = Text().feed(data, last=True)
        end = (cell, number)
        marks = [place for place, each in enumerate(said) if (each.cell, each.number) == end]
        tail = b"".join(each.data for each in said[: marks[-1] if marks else None])[-TAIL:]
        return head, tail[tail.find(b"\n") + 1 :]

    async def _read(self, stream: int, offset: int) -> None:
        assert self.process is not None
        heard = partial(self._heard, stream)
        reader = Reader(self._link, self.process.id, stream, offset, heard, self._lost)
        self._readers[stream], self._held[stream] = reader, 0
        await reader.open()

    def _heard(self, stream: int, data: bytes) -> None:
        if self._killed:
            return
        self._held[stream] += len(data)
        try:
            if stream == 1:
                self._hear_text(data)
            else:
                for told in self._answers.feed(data):
                    self._hear(told)
        except ProtocolError as error:  # which _watch tells
            self.background(self.kill(f"as it said what none of ours says ({error})"))
        self.used()
        self._changes.tell()

    def used(self) -> None:
        """Ask for more of what was heard: of answers, unless they are far ahead of the text."""
        for stream, reader in self._readers.items():
            ahead = stream == 2 and self._turn is not None and self._turn.order.crowded
            if not ahead and (size := self._held[stream]):
                self._held[stream] = 0
                reader.taken(size)

    def next_cell(self) -> tuple[str, bool]:
        """Its name, and whether its text has begun: where the cell before ended, if it is ours."""
        cell, begun = (self._after, True) if self._ahead else (fresh(), False)
        self._after, self._ahead = fresh(), False
        return cell, begun

    def _hear_text(self, data: bytes) -> None:
        turn = self._turn
        for said in self._text.feed(data):
            if said.cell:
                self._ahead = said.cell == self._after
            if turn is not None:
                turn.hand(turn.order.text(said))
        if turn is not None and turn.order.full:
            self._readers.pop(1).close()

    def _hear(self, told: dict[str, Any]) -> None:
        if told["is_"] == "ready":
            if told["nonce"] == self._nonce:
                self._greeted.set()
        elif told["is_"] == "found":
            future = self._sought.get(told["nonce"])
            if future is not None and not future.done():
                future.set_result(told)
        elif told["is_"] == "ask" and self._program.answer is None:
            raise ProtocolError("It is none that asks for input.")
        elif self._turn is not None:
            self._turn.hand(self._turn.order.answer(told))

    def _lost(self, error: TfnzError | None) -> None:
        """A stream has ended. If that is the interpreter's end, :meth:`_watch` says so."""
        if error is not None and self._turn is not None:
            self._turn.fail(error)
