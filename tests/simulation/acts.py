"""What kernels do: each step as a person's notebook would, through the product's own link.

An act ends with what it asked for, or with an error of the tree; while it runs it looks at what it
is given. What cannot be seen before the end is noted, for ``laws``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tfnz_notebook._link.files.download import Download
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.ports import dial
from tfnz_notebook._link.reader import Chunks, Reader, read
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    EngineError,
    EngineGone,
    FileError,
    LinkClosed,
    TfnzError,
)

from .nodes import Broken, Node
from .page import Screen
from .programs import LAST, pattern

if TYPE_CHECKING:
    from .play import Play
    from .script import Step


#: That are asked for in a script.
MOST_SPARES = 3


class Asked:
    """Whether something was asked for with success, for all nodes that build on it."""

    def __init__(self) -> None:
        self.right: bool | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def settle(self, right: bool) -> None:
        """It is known now; the first answer counts."""
        if self.right is None:
            self.right = right
            for each in self._waiting:
                if not each.done():
                    each.set_result(None)

    async def wait(self) -> bool:
        """The answer."""
        if self.right is None:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting
        return bool(self.right)

    async def tell(self, work: Awaitable[Any]) -> Any:
        """Do it, and let its end be the answer."""
        try:
            result = await work
        except BaseException:
            self.settle(False)
            raise
        self.settle(True)
        return result


@dataclass(slots=True, eq=False)
class Box:
    """A container, as those who asked for it know it."""

    key: str
    ident: str
    kernel: Kernel
    asked: Asked = field(default_factory=Asked)
    #: What its main process is called among the processes, if it has one.
    main: Proc | None = None
    #: It was destroyed, rebooted or killed: what ran in it may have been lost.
    disturbed: bool = False
    #: Its end was asked for, by name or with its session's.
    unwanted: bool = False
    #: It was paused through us.
    paused: bool = False
    #: Its destruction failed.
    refused: bool = False


@dataclass(slots=True, eq=False)
class Proc:
    """A process, as those who asked for it know it. ``number``: of its pattern."""

    key: str
    ident: str
    number: int
    box: Box
    kernel: Kernel
    asked: Asked = field(default_factory=Asked)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: How far its stdin was written and answered; whether nobody knows how far.
    written: int = 0
    unknown: bool = False
    #: By what it was not wanted any more before it was there: a link that ends leaves it as it is.
    undone: Link | None = None
    #: What was told of its end.
    told: dict[str, Any] | None = None


def written(proc: Proc, stream: int, offset: int, data: bytes) -> None:
    """Raise Broken if that is not what it wrote there.

    Of a main process that was too quick to be met, as another life's may be, it is its engine's
    log, with both streams in one.
    """
    if proc is proc.box.main and proc.box.disturbed:
        return
    if data != pattern(proc.number, stream, offset, len(data)):
        told = f"{len(data)} bytes at {offset} are not what was written"
        raise Broken(f"{proc.key}, stream {stream}: {told}")


@dataclass(slots=True, eq=False)
class Heard:
    """One reader's stream, held to the pattern as it comes."""

    proc: Proc
    stream: int
    offset: int
    #: Whose it is.
    node: Node
    #: It may leave out the oldest.
    skips: bool
    whole: bool = False
    left: bool = False
    error: TfnzError | None = None

    @property
    def follows(self) -> bool:
        """It wants all there is, and more."""
        return not (self.whole or self.left or self.error)

    def take(self, offset: int, data: bytes) -> None:
        """Bytes came."""
        if offset != self.offset and not (self.skips and offset > self.offset):
            raise Broken(f"{self}: bytes at {offset}, {self.offset} was due")
        written(self.proc, self.stream, offset, data)
        self.offset = offset + len(data)

    def ends(self, offset: int) -> None:
        """Nothing follows."""
        self.offset, self.whole = max(self.offset, offset), True

    def __str__(self) -> str:
        return f"{self.proc.key}, stream {self.stream}"


class Kernel:
    """A kernel, or a page: a node with a link."""

    def __init__(
        self, play: Play, name: str, session: str | None, ttl: float | None = None
    ) -> None:
        self.play, self.name, self.session, self.ttl = play, name, session, ttl
        self.node = Node(play.scene.clock, name)
        self.link: Link | None = None
        self.opening: asyncio.Future[Link] = self.node.create_future()
        self.opening.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def open(self) -> None:
        """Have a link, or know why not."""
        play = self.play
        ttl = self.ttl if self.session is not None else None
        with self.node.within():
            link = play.scene.link(play.scene.ident(), self.session, ttl=ttl)
        try:
            await link.open()
        except TfnzError as error:
            if not self.opening.done():
                self.opening.set_exception(error)
            raise
        self.link = link
        if not self.opening.done():
            self.opening.set_result(link)

    def kill(self) -> None:
        """As SIGKILL does."""
        agent = self.play.scene.agent
        for line in list(agent.router.lines.values()) if agent is not None else ():
            if line.node is self.node:
                line.cut()
        self.node.kill()


async def ended(link: Link, name: str, ident: str, over: Callable[[Any], bool]) -> Any:
    """What is told of a container or process once ``over`` is true of it; None if it is gone."""
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def heard(info: Any) -> None:
        if not told.done() and (info is None or over(info)):
            told.set_result(info)

    link.listen(name, ident, heard)
    try:
        link.check("wait")
        if name == "process":
            heard(await link.process(ident))
        return await told
    finally:
        link.forget(name, ident, heard)


# -- containers


async def box(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    made = play.boxes[about["box"]]
    spec: dict[str, Any] = {"image": "debian", "sleep": about["sleep"]}
    if made.main is not None:
        spec["command"] = ["script", str(made.main.number), *about["words"]]
    body = {"container": made.ident, "spec": spec}
    await made.asked.tell(link.request("container.spawn", body))
    coming = ("pulling", "creating", "starting")
    info = await ended(link, "container", made.ident, lambda told: told["state"] not in coming)
    if made.main is not None and info is not None and info["state"] == "running":
        await follow(play, link, made.main, 1, 0, 0, None)


async def prepare(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    """Have so many spares; who asks for one fewer meanwhile has their way."""
    body = {"spec": {"image": "debian", "sleep": True}, "spares": about["spares"]}
    told = (await link.request("container.prepare", body)).body["ready"]
    if told > MOST_SPARES:
        raise Broken(f"{told} spares are ready, and nobody asked for so many")


async def destroy(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    where = play.boxes[about["box"]]
    where.disturbed = where.unwanted = True
    body = {"container": where.ident, "grace": float(about["grace"])}
    try:
        await link.request("container.destroy", body)
    except TfnzError:
        where.refused = True
        raise


async def reboot(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    where = play.boxes[about["box"]]
    where.disturbed = True
    before = link.known.containers.get(where.ident, {}).get("state")
    body = {"container": where.ident, "reset_filesystem": about["reset"]}
    try:
        await link.request("container.reboot", body)
    except (EngineError, EngineGone, ContainerFailed) as error:
        state = link.known.containers.get(where.ident, {}).get("state")
        ran = before in ("running", "exited") and not where.unwanted
        if ran and state in (None, "failed", "destroyed"):
            raise Broken(f"{where.key} is {state}, after a reboot that failed: {error}") from None
        raise


async def start(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    await link.request("container.start", {"container": play.boxes[about["box"]].ident})


async def pause(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    where = play.boxes[about["box"]]
    where.paused = True
    await link.request("container.pause", {"container": where.ident})


async def unpause(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    await link.request("container.unpause", {"container": play.boxes[about["box"]].ident})


async def stats(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    await link.request("container.stats", {"container": play.boxes[about["box"]].ident})


async def info(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    await link.request("container.info", {"container": play.boxes[about["box"]].ident})


async def allow(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    one, other = play.boxes[about["box"]], play.boxes.get(about["other"])
    if other is not None and other is not one:
        body = {"container": one.ident, "other": other.ident}
        await link.request("container.allow", body)
        await link.request("container.disallow", body)


async def nodes(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    await link.request("node.list", {})


async def images(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    await link.request("image.list", {})


async def volume(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    body = {} if about["what"] == "list" else {"name": about["name"]}
    await link.request(f"volume.{about['what']}", body)


# -- processes


async def process(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    proc = play.procs[about["process"]]
    if not await proc.box.asked.wait():
        proc.asked.settle(False)
        return
    readers: list[Reader] = []
    heard: list[Heard] = []
    told: asyncio.Future[Any] = kernel.node.create_future()

    def hear(info: Any) -> None:
        if not told.done() and (info is None or info["ended"]):
            told.set_result(info)

    body: dict[str, Any] = {
        "container": proc.box.ident,
        "process": proc.ident,
        "command": ["script", str(proc.number), *about["words"]],
        "text": proc.key,
        "env": [f"NAME{number}={number:040}" for number in range(about.get("env", 0))],
    }
    if about.get("readers"):
        for stream in (1, 2):
            reader, listening = play.reader(link, proc, stream, 0)
            readers.append(reader)
            heard.append(listening)
        body["readers"] = [[r.stream, r.number, r.credit] for r in readers]
    wishes = ("said", "last", "timeout", "tty")
    body |= {key: about[key] for key in wishes if about.get(key)}
    payload = None
    if size := about.get("stdin"):
        payload = pattern(proc.number, 0, 0, size)
        proc.written = size
    if about.get("last"):
        proc.unknown = True
    link.listen("process", proc.ident, hear)
    try:
        try:
            gone = {"process": proc.ident, "grace": 0.0}
            undo = partial(link.take_back, "process.destroy", gone)
            await proc.asked.tell(link.request("process.spawn", body, payload, undo=undo))
        except BaseException as error:
            for reader in readers:
                reader.close()
            for each in heard:
                each.left = True
            if isinstance(error, asyncio.CancelledError):
                proc.undone = link
            raise
        info = proc.told = await told
        if info is not None and info.get("said") is not None:
            for stream, said in enumerate(info["said"], 1):
                written(proc, stream, 0, said)
                if len(said) != info["out" if stream == 1 else "err"]:
                    raise Broken(f"{proc.key}: said {len(said)} of {info}")
    finally:
        link.forget("process", proc.ident, hear)


async def follow(
    play: Play, link: Link, proc: Proc, stream: int, offset: int, pause: float, most: int | None
) -> None:
    """Iterate over a stream, to its end or so many pieces."""
    heard = play.hears(proc, stream, offset)
    chunks = Chunks(link, proc.ident, stream, offset)
    try:
        await chunks.reader.open()
        while most is None or most > 0:
            piece = await chunks.next()
            if not piece:
                heard.ends(chunks.offset)
                return
            heard.take(chunks.offset - len(piece), piece)
            most = None if most is None else most - 1
            if pause:
                await asyncio.sleep(pause)
    finally:
        heard.left = not heard.whole
        chunks.close()


async def iterate(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    proc = play.procs[about["process"]]
    await follow(play, link, proc, about["stream"], about["offset"], about["pause"], about["most"])


async def view(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    """A page reads the process past its kernel."""
    proc = play.procs[about["process"]]
    reply = await link.request("process.ticket", {"process": proc.ident})
    page = Kernel(play, f"page{len(play.pages)}", None)
    play.pages.append(page)

    async def look() -> None:
        viewer = play.scene.link(play.scene.ident(), viewer=(proc.ident, reply.body["ticket"]))
        await viewer.open()
        try:
            await follow(
                play, viewer, proc, about["stream"], about["offset"], about["pause"], about["most"]
            )
        finally:
            await viewer.close()

    with page.node.within():
        play.launch(page, "view", look(), about)


async def look(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    """A view in a page, over its kernel's comm."""
    proc = play.procs[about["process"]]
    await Screen(play, link, proc, about["mode"], about["pause"]).over()


async def read_all(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    proc = play.procs[about["process"]]
    known = await link.process(proc.ident)
    stream = about["stream"]
    end, start = int(known["out" if stream == 1 else "err"]), about["offset"]
    data = await read(link, proc.ident, stream, start, end)
    if proc is not proc.box.main:
        written(proc, stream, start, data)
        if len(data) != max(0, end - start):
            agents = ", and there were several agents" if play.scene.agents > 1 else ""
            raise Broken(f"{proc.key}: {len(data)} bytes of {end - start} were read{agents}")


async def log(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    proc, stream = play.procs[about["process"]], about["stream"]
    body = {"process": proc.ident, "stream": stream, "offset": about["offset"], "limit": 4096}
    reply = await link.request("log.read", body | {"order": True})
    offset = reply.body["offset"]
    written(proc, stream, offset, reply.payload or b"")


async def write(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    proc = play.procs[about["process"]]
    if proc.kernel is not kernel:
        return
    async with proc.turn:
        left = about["size"]
        while left and not proc.unknown:
            size = min(left, MAX_CHUNK)
            data = pattern(proc.number, 0, proc.written, size)
            proc.unknown = True
            await link.request("process.stdin", {"process": proc.ident}, data)
            proc.unknown = False
            proc.written += size
            left -= size


async def close_stdin(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    proc = play.procs[about["process"]]
    async with proc.turn if proc.kernel is kernel else asyncio.Lock():
        if proc.kernel is kernel:
            proc.unknown = True
            await link.request("process.close_stdin", {"process": proc.ident})


async def ask(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    proc = play.procs[about["process"]]
    if "words" in about:
        spawned = {key: about[key] for key in ("process", "box", "words")}
        play.launch(kernel, "process", process(play, kernel, link, spawned), about)
    if proc.kernel is not kernel or not await proc.asked.wait():
        return
    async with proc.turn:
        if proc.unknown:
            return
        data = pattern(proc.number, 0, proc.written, about["size"])
        body = {"process": proc.ident, "timeout": about["timeout"], "settle": about["settle"]}
        proc.unknown = True
        try:
            told = (await link.request("process.ask", body, data)).body
        except ContainerGone as error:
            guest = play.scene.guest(proc.box.ident)
            if guest is not None and not (guest.exited or proc.box.disturbed):
                raise Broken(f"{proc.key} was asked, and its container is there: {error}") from None
            raise
        if told["reason"] == "input":
            proc.unknown = False
            proc.written += len(data)
    if not (told["out_from"] <= told["out"] and told["err_from"] <= told["err"]):
        raise Broken(f"{proc.key}: a reply that ends before it begins: {told}")
    answer = await read(link, proc.ident, 1, told["out_from"], told["out"])
    written(proc, 1, told["out_from"], answer)
    if len(answer) != told["out"] - told["out_from"]:
        raise Broken(f"{proc.key}: {len(answer)} bytes of the reply {told}")


async def send_signal(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    proc = play.procs[about["process"]]
    body = {"process": proc.ident, "signal": about["signal"], "target": about["target"]}
    await link.request("process.signal", body)


async def end(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    body = {"process": play.procs[about["process"]].ident, "grace": float(about["grace"])}
    await link.request("process.destroy", body)


async def resize(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    body = {"process": play.procs[about["process"]].ident, **about["size"]}
    await link.request("process.resize", body)


async def processes(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    await link.request("process.list", {"container": play.boxes[about["box"]].ident})


# -- files, connections


def content(size: int, path: str) -> bytes:
    """What is put at a path: it says how much that is."""
    return (f"{size} of {path};".encode() + pattern(size, 1, 0, size))[:size]


async def put(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    where, data = play.boxes[about["box"]], content(about["size"], about["path"])
    body = {"container": where.ident, "transfer": play.scene.ident(), "path": about["path"]}
    for begin in range(0, max(1, len(data)), MAX_CHUNK):
        last = begin + MAX_CHUNK >= len(data)
        told = {**body, "offset": begin, "last": last}
        await link.request("file.put", told, data[begin : begin + MAX_CHUNK])


async def fetch(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    where, path = play.boxes[about["box"]], about["path"]
    try:
        data = await Download(link).fetch(where.ident, path)
    except FileError:
        return  # nobody has put it yet
    if data != content(len(data), path):
        raise Broken(f"{path} of {where.key}: {len(data)} bytes that nobody has put there")


async def list_files(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    where = play.boxes[about["box"]]
    await link.request("file.list", {"container": where.ident, "path": about["path"]})


async def mkdir(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    body = {"container": play.boxes[about["box"]].ident, "path": f"{about['path']}/a/b"}
    await link.request("file.mkdir", body | {"parents": True, "exist_ok": True})


class _User:
    """Who sends through a connection and wants all of it back."""

    def __init__(self, size: int) -> None:
        self.size, self.sent, self.got = size, 0, 0
        self.over = asyncio.Event()
        self.dial: dial.Dial

    def writable(self) -> None:
        size = min(self.size - self.sent, self.dial.room_left)
        if size > 0:
            self.dial.send(pattern(0, 0, self.sent, size))
            self.sent += size
            if self.sent == self.size:
                self.dial.send_eof()

    def received(self, payload: bytes) -> None:
        if payload != pattern(0, 0, self.got, len(payload)):
            raise Broken(f"an echo is wrong at {self.got}")
        self.got += len(payload)
        self.dial.taken(len(payload))

    def ended(self) -> None:
        self.over.set()
        if self.got != self.size:
            raise Broken(f"an echo ended cleanly after {self.got} of {self.size} bytes")

    def dropped(self, errno: int) -> None:
        self.over.set()


async def connect(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    user = _User(about["size"])
    made = user.dial = dial.Dial(link, play.boxes[about["box"]].ident, about["port"], user)
    await made.connect()
    try:
        user.writable()
        await user.over.wait()
    finally:
        made.close()


# -- the link


async def leave(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    """The kernel's Location is closed; perhaps another is opened."""
    if kernel.session is None:
        for each in play.boxes.values():
            if each.kernel is kernel:
                each.disturbed = each.unwanted = True
    if kernel.link is None:
        return
    opening = kernel.opening = kernel.node.create_future()
    opening.add_done_callback(lambda done: done.cancelled() or done.exception())
    kernel.link = None
    try:
        await link.close()
        if about["again"] is not None:
            await asyncio.sleep(about["again"])
            await kernel.open()
    finally:
        if not opening.done():
            opening.set_exception(LinkClosed("it was left"))


async def farewell(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    """A container is destroyed that is given the time to say something: that is heard."""
    made = Box("farewell", play.ident("farewell"), kernel)
    main = Proc("its main", made.ident, 999, made, kernel)
    made.main = main
    spec = {"image": "debian", "sleep": False, "command": ["script", "999", *about["words"]]}
    told: dict[str, Any] = {}
    link.listen("process", made.ident, lambda info: told.update(info or {}))
    await link.request("container.spawn", {"container": made.ident, "spec": spec})
    await ended(link, "container", made.ident, lambda info: info["state"] == "running")
    reader, heard = play.reader(link, main, 1, 0)
    await reader.open()
    await asyncio.sleep(about["after"])
    await link.request("container.destroy", {"container": made.ident, "grace": 9.0})
    await link.caught_up()
    process = [*play.truth(main)][-1][1]
    true = process.status, process.streams[1].window.head
    seen = told["returncode"], told["out"]
    if seen != true or heard.offset != true[1] or not heard.whole or true[0] != LAST:
        raise Broken(f"{true} are last words and code, {seen} were told, {heard.offset} heard")


async def caught_up(play: Play, kernel: Kernel, link: Link, about: dict[str, Any]) -> None:
    await link.caught_up()


Act = Callable[["Play", Kernel, Link, dict[str, Any]], Awaitable[None]]
ALL: dict[str, Act] = {
    "pause": pause,
    "unpause": unpause,
    "box": box,
    "prepare": prepare,
    "destroy": destroy,
    "reboot": reboot,
    "start": start,
    "stats": stats,
    "info": info,
    "allow": allow,
    "nodes": nodes,
    "images": images,
    "volume": volume,
    "process": process,
    "iterate": iterate,
    "view": view,
    "read": read_all,
    "look": look,
    "log": log,
    "write": write,
    "close_stdin": close_stdin,
    "ask": ask,
    "signal": send_signal,
    "end": end,
    "resize": resize,
    "processes": processes,
    "put": put,
    "fetch": fetch,
    "list": list_files,
    "mkdir": mkdir,
    "dial": connect,
    "leave": leave,
}


async def perform(play: Play, kernel: Kernel, step: Step) -> None:
    """One step, once what it is about was asked for."""
    about = step.about
    if "box" in about and about["box"] not in play.boxes:
        return
    if "process" in about and about["process"] not in play.procs:
        return
    link = await asyncio.shield(kernel.opening)
    if step.kind not in ("box", "process", "ask", "leave"):
        for held in (
            play.boxes.get(about.get("box", "")),
            play.procs.get(about.get("process", "")),
        ):
            if held is not None and not await held.asked.wait():
                return
    await ALL[step.kind](play, kernel, link, about)
