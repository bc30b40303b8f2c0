"""What a container is, what is heard of it, and whether it can be used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakValueDictionary

from tfnz_notebook._base.numbers import progress
from tfnz_notebook._base.text import last_words, one_line
from tfnz_notebook._calls.changes import Changes
from tfnz_notebook._calls.faces import Closed, Owned
from tfnz_notebook._calls.follow import Data
from tfnz_notebook._link import patience
from tfnz_notebook._link.known import COMING
from tfnz_notebook._link.reader import read
from tfnz_notebook._wire import starts
from tfnz_notebook.errors import (
    ContainerError,
    ContainerFailed,
    ContainerGone,
    OutOfMemory,
    ProcessGone,
    TfnzError,
    WaitTimeout,
    from_wire,
)
from tfnz_notebook.process import Process
from tfnz_notebook.tunnel import Tunnel

if TYPE_CHECKING:
    from tfnz_notebook._container.conversation import Conversation
    from tfnz_notebook.container import Container
    from tfnz_notebook.location import Location

#: Seconds that the end of a container waits for who shows its output.
LAST_LOOK: Final = 1.0


class Base(Owned, metaclass=Closed):
    """State, and the events that change it; everything but properties runs on the I/O loop."""

    _comes_from = "Use node.spawn_container()."

    def __init__(self, location: Location, ident: str, info: dict[str, Any]) -> None:
        self._location = location
        self._link = location._link
        self._id = ident
        self._info = info
        self._changes = Changes()
        self._known: WeakValueDictionary[str, Process] = WeakValueDictionary()
        self._live: dict[str, Process] = {}
        self._tunnels: list[Tunnel] = []
        #: Interpreters that cells run in, by kind and name.
        self._conversations: dict[tuple[str, str], Conversation] = {}
        #: Ports that were open once since it started: there a refusal is one.
        self._answered: set[int] = set()
        self._sampled: tuple[float, float] | None = None
        #: What wants to read something before it goes with its logs.
        self._last_looks: list[Callable[[], Awaitable[object]]] = []
        self._callbacks: tuple[Data | None, Callable[..., object] | None] = (None, None)
        #: What it was asked for with, until it runs: an agent that dies before that forgets it.
        self._asked: tuple[dict[str, Any], bytes | None] | None = None
        self._asking = False
        #: The spec, and the paths of files before boot, if it was spawned here.
        self._made_of: tuple[dict[str, Any], tuple[str, ...]] | None = None
        self._main = Process._create(self, ident, info.get("image", ""), False)
        self._link.listen("container", ident, self._heard)
        self._link.listen("process", ident, self._main_heard)

    @property
    def _me(self) -> Container:
        return cast("Container", self)

    @property
    def id(self) -> str:
        """Its id: 32 hexadecimal digits, unique."""
        return self._id

    @property
    def name(self) -> str:
        """Its name, as the engine's own tools show it: the given one, or one that was made up.

        Empty until the engine has made it, unless it was given.
        """
        return str(self._info.get("engine_name") or self._given)

    @property
    def _given(self) -> str:
        return str(self._info.get("name") or "")

    @property
    def engine_id(self) -> str:
        """Its id, as the engine's own tools show it; empty where they show none, or not yet."""
        return str(self._info.get("engine_id") or "")

    def _is(self, word: str) -> bool:
        """Whether that names it: a name, tag or id."""
        return word in (self._id, self.name, self.tag, self.engine_id)

    def _begins(self, word: str) -> bool:
        """Whether that begins one of its ids."""
        return any(each.startswith(word) for each in (self._id, self.engine_id))

    @property
    def tag(self) -> str:
        """The tag it was spawned with, or empty."""
        return str(self._info.get("tag") or "")

    @property
    def image(self) -> str:
        """The image's name as it was given."""
        return str(self._info.get("image") or "")

    @property
    def ports(self) -> list[int]:
        """The TCP ports that its image exposes, or ``expose=`` did; none is known before it runs.

        Each is a wish: whether something listens there, ``wait_tcp`` finds out.
        """
        return list(self._info.get("ports") or ())

    @property
    def state(self) -> str:
        """What it is doing.

        ``pulling``, ``creating``, ``starting``, ``running``; then ``exited``, ``failed`` (it never
        ran) or ``destroyed``.
        """
        return str(self._info.get("state") or "creating")

    @property
    def returncode(self) -> int | None:
        """The main process's code once it has ended, negative for a signal; else None."""
        code = self._info.get("returncode")
        return code if code is not None else self._main.returncode

    @property
    def _called(self) -> str:
        called = self._given or self.tag or f"{self.image} {self._id[:8]}"
        return one_line(called, 400)

    # -- hearing of it, on the I/O loop

    def _heard(self, info: dict[str, Any] | None) -> None:
        if info is None and self._link.over:  # we left, and do not know what became of it
            self._main._heard(None)
            self._changes.tell()
            return
        before = self.state
        if info is None and self._asked is not None:
            if not self._asking:  # else what we are asking will be said again, and answered
                self._asking = True
                self._link.background(self._ask_again(*self._asked))
            return
        self._info = {**self._info, "state": "destroyed"} if info is None else info
        state = self.state
        self._location._say_what_lacks(self._info.get("about") or {})
        if state not in COMING:
            self._asked = None
        if state == "starting" and before not in COMING:
            self._answered.clear()
            self._reset_main()
        if state not in (*COMING, "failed", "destroyed"):
            self._read_main()
        if state in ("exited", "failed", "destroyed"):
            self._over(state, known=info is not None)
        self._changes.tell()

    async def _ask_again(self, body: dict[str, Any], payload: bytes | None) -> None:
        try:
            await self._link.request("container.spawn", body, payload)
        except TfnzError:
            self._asked = None
            self._heard(None)
        finally:
            self._asking = False

    def _over(self, state: str, *, known: bool) -> None:
        if not self._main._ended:
            self._main._heard({**self._main._info, "returncode": self.returncode, "ended": True})
        if state == "exited":
            return
        for process in list(self._live.values()):
            # Destroying kills. What became of one that the agent does not know, nobody knows.
            process._heard({**process._info, "returncode": -9, "ended": True} if known else None)
        for process in [self._main, *self._known.values()]:
            process._give_up()
        for tunnel in list(self._tunnels):
            tunnel._listener.close()
        if state == "destroyed":
            self._location._container_over(self._me)

    def _follow_main(self, data: Data | None, function: Callable[..., object] | None) -> None:
        """Have callbacks follow the main process; they get the container, as 20ft's did."""
        self._callbacks = (data, function)
        self._main._follow(self, {1: data}, function)

    def _read_main(self) -> None:
        """Open the readers of the main process, once there is one."""
        for follower in self._main._followers:
            for reader in follower.readers:
                if not reader.opened and not reader.finished:
                    self._link.background(reader.open())

    def _reset_main(self) -> None:
        """A reboot: a new main process, whose log begins again at 0."""
        self._main._info = {}
        self._main._complete = None
        followers, self._main._followers = self._main._followers, []
        for follower in followers:
            follower.close()
        if followers:
            self._follow_main(*self._callbacks)

    def _main_heard(self, info: dict[str, Any] | None) -> None:
        if info is not None:
            self._main._heard(info)
            self._read_main()

    def _process_over(self, process: Process) -> None:
        if process is not self._main:
            self._live.pop(process.id, None)
            self._link.forget("process", process.id, process._heard)

    async def _leaving(self) -> None:
        """It is about to be destroyed: let those look who want to."""
        if self._last_looks:
            looks = (look() for look in list(self._last_looks))
            try:
                async with asyncio.timeout(LAST_LOOK):
                    await asyncio.gather(*looks, return_exceptions=True)
            except TimeoutError:
                pass

    def _check(self, doing: str) -> None:
        self._link.check(doing)
        if self.state == "destroyed":
            raise ContainerGone(
                f"Cannot {doing}: the container {self._called} was destroyed. Spawn another one."
            )
        if self.state == "failed":
            raise self._cause()

    def _cause(self) -> TfnzError:
        told, log = self._info.get("error"), self._info.get("log")
        error: TfnzError = ContainerFailed(
            f"Cannot start the container {self._called}: no cause is known. Spawn another one."
        )
        if told:
            error = from_wire(told)
        if log or isinstance(error, ContainerFailed):
            error.details.setdefault("log", bytes(log or b""))
        return error

    async def _running(self, doing: str, timeout: float | None = None) -> None:
        if self.state in COMING:
            async with patience.moving(self._pulling):
                await self._changes.until(
                    lambda: self.state not in COMING or self._link.over,
                    timeout,
                    lambda: WaitTimeout(
                        f"Cannot {doing}: the container {self._called} is still {self.state} "
                        f"after {timeout} s. Wait again."
                    ),
                )
        self._check(doing)
        if self.state == "exited":
            raise await self._exited(doing)

    def _pulling(self) -> str:
        """How far the pull is, for who waits; empty while nothing is pulled."""
        if self.state != "pulling":
            return ""
        done, total = (int(self._info.get(key) or 0) for key in ("done", "total"))
        said = progress(done, total)
        return f"pulling {self.image}: {said}" if said else f"pulling {self.image} …"

    async def _exited(self, doing: str) -> ContainerError:
        log = self._info.get("log") or b""
        if not log:
            try:
                log = await self._logs(None, 20)
            except TfnzError:
                pass
        if (told := starts.noted(bytes(log))) is not None:
            return ContainerFailed(
                f"Cannot {doing}: the container {self._called} could not {told}",
                log=bytes(log),
                returncode=self.returncode,
            )
        said = last_words(bytes(log))
        tail = f" Its last words:\n{said}" if said else " It said nothing."
        if (self._info.get("error") or {}).get("class") == OutOfMemory.__name__:
            return OutOfMemory(
                f"Cannot {doing}: the container {self._called} was killed for its memory limit. "
                f"Spawn one with more memory.{tail}",
                log=bytes(log),
                returncode=self.returncode,
            )
        return ContainerFailed(
            f"Cannot {doing}: the container {self._called} has exited with code "
            f"{self.returncode}. Correct its command, or spawn it with sleep=True.{tail}",
            log=bytes(log),
            returncode=self.returncode,
        )

    async def _logs(self, stream: int | None, tail: int | None) -> bytes:
        if self.state == "failed":  # all that is left of it is the end
            log = self._info.get("log") or b""
            try:
                asked = await self._link.request("container.info", {"container": self._id})
                log = asked.body.get("log") or log
            except TfnzError:  # nobody knows more
                pass
            return _last_lines(bytes(log), tail)
        self._check("read the logs")
        pieces = []
        for number in (1, 2) if stream is None else (stream,):
            request = {"process": self._id, "stream": number, "offset": 0, "limit": 0}
            try:
                told = (await self._link.request("log.read", request)).body
            except ProcessGone:  # it sleeps: no main process yet
                continue
            start, end = int(told.get("base") or 0), int(told["head"])
            if tail is not None:
                start = max(start, end - (256 << 10))
            pieces.append(_last_lines(await read(self._link, self._id, number, start, end), tail))
        return b"".join(pieces)


def _last_lines(log: bytes, tail: int | None) -> bytes:
    if tail is None:
        return log
    return b"".join(log.splitlines(keepends=True)[-tail:]) if tail else b""
