"""A million frames nobody would send at each door: the agent's two, the guest's one.

A tenth of them in ``make test``. In process, so that a million take seconds: the decoders, the
dispatch and the objects behind them are those of the agent (here) and of the guest (C, under
AddressSanitizer and UBSan: tests/guest/fuzz.c, run by test_build.py::test_fuzz). A part goes
through real sockets to a real agent and a real guest, which stay up.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from integration.world import World
from security.liar import READY, Liar, hello, proc
from words import Words

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire import link
from tfnz_notebook._wire.guest import BYTES, FIELDS, FIXED, Tag, Type
from tfnz_notebook._wire.operations import NOTES, OPERATIONS
from tfnz_notebook.agent.container.dial import Dial
from tfnz_notebook.agent.container.files import transfers
from tfnz_notebook.agent.door.tickets import Tickets
from tfnz_notebook.agent.operations import ANSWERS
from tfnz_notebook.agent.server import Server
from tfnz_notebook.agent.sessions import Sessions
from tfnz_notebook.container import Container
from tfnz_notebook.errors import ProtocolError
from tfnz_notebook.location import Location
from tfnz_notebook.testing import FakeEngine

MILLION = 1_000_000
#: Of the million at the agent's doors: from guests, and from kernels.
FROM_GUESTS = 940_000
FROM_KERNELS = MILLION - FROM_GUESTS
#: Different ones among them; what each meets depends on those before it.
POOL = 50_000
#: Through real sockets, besides.
SENT = 20_000
#: MiB by which an agent may have grown meanwhile.
GROWTH = 150

ODD = (0, 1, 2, 3, 255, 256, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40)
BIG = (*ODD, (1 << 62), (1 << 63) - 1)
TEXTS = (b"", b"/", b"../..", b"\0", b"\xff\xfe", b"a" * 300, b"\x1b]0;x\x07", b"host", b"9" * 40)


@pytest.fixture(params=[10, pytest.param(1, marks=pytest.mark.long)], ids="1/{}".format)
def part(request: pytest.FixtureRequest) -> int:
    """What part of the million: one in so many."""
    return int(request.param)


@pytest.fixture
def dice() -> random.Random:
    return random.Random(20)


def memory(pid: int | str = "self") -> int:
    """A process's size now, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) >> 10


# --- from guests ---------------------------------------------------------------------------------


class Frames:
    """Frames of all kinds for the channels that are open, a part of them broken."""

    def __init__(self, dice: random.Random, channels: list[int]) -> None:
        self._dice, self._channels = dice, channels

    def one(self, *, harsh: bool = True) -> bytes:
        """``harsh``: also what ends the connection, as most of the above do."""
        dice = self._dice
        channel = dice.choice(self._channels)
        if harsh and dice.random() < 0.2:
            channel = dice.choice(ODD[:-1])
        kind = dice.choice(list(Type))
        if kind is Type.DATA:
            offset = dice.choice(BIG) if harsh and dice.random() < 0.1 else 0
            whole = wire.data(channel, dice.randrange(3), offset, dice.randbytes(dice.randrange(9)))
        elif kind in FIELDS:
            tags = dice.choices(list(Tag), k=dice.randrange(5))
            whole = wire.fielded(kind, channel, [(tag, self._value(tag)) for tag in tags])
        else:
            shape = FIXED[kind]
            whole = wire.HEADER.pack(shape.size, kind, dice.randrange(3), 0, channel)
            # An ACK of what was never sent is harsh.
            odd = dice.random() < 0.5 and (harsh or kind is not Type.ACK)
            whole += dice.randbytes(shape.size) if odd else bytes(shape.size)
        return self._broken(whole) if harsh and dice.random() < 0.1 else whole

    def _value(self, tag: Tag) -> int | bytes:
        if tag in BYTES:
            return self._dice.choice(TEXTS)
        return self._dice.choice(BIG) * self._dice.choice((1, -1))

    def _broken(self, whole: bytes) -> bytes:
        spoilt = bytearray(whole)
        spoilt[self._dice.randrange(len(spoilt))] ^= 1 << self._dice.randrange(8)
        return bytes(spoilt[: self._dice.randrange(1, len(spoilt) + 1)])


class Page:
    """A kernel that gives credit for everything."""

    def event(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None: ...


@pytest.mark.timeout(300)
async def test_a_million_at_the_agent_first_those_of_guests(
    tmp_path: Path, dice: random.Random, caplog: pytest.LogCaptureFixture, part: int
) -> None:
    """An exception other than the decoder's own would come out of ``say`` and fail this."""
    caplog.set_level(logging.CRITICAL)
    told = connections = 0
    frames = Frames(dice, [1, 2, 2, 3, 3, 4, *range(5, 9)])
    mild = [frames.one(harsh=False) for _ in range(POOL // part)]
    harsh = [frames.one() for _ in range(POOL // part)]
    before = memory()
    while told < FROM_GUESTS // part:
        liar = Liar(tmp_path, hello(), proc(2), proc(3), proc(4), READY)
        container = await liar.meet()
        guest, line = container.guest, liar.line
        assert guest is not None and line.open
        connections += 1
        tasks = [
            asyncio.ensure_future(task)
            for task in (
                transfers.listing(guest, "/"),
                transfers.get(guest, "/f", Page(), 1, 1 << 62),
                guest.request(Type.SAMPLE, 0),
            )
        ]
        pipe = tmp_path / "a.pipe" if connections % 2 else None
        Dial(guest, Page(), 2, "localhost", 80, 1 << 62, pipe)
        await asyncio.sleep(0)
        for _ in range(40):
            line.say(*dice.choices(mild, k=20))
            told += 20
        assert line.open
        while line.open:
            line.say(dice.choice(harsh))
            told += 1
        container.let_go()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in list(container.processes.values()):
            process.discard()
    assert connections > 500 // part
    assert memory() < before + GROWTH


# --- from kernels --------------------------------------------------------------------------------


def value(dice: random.Random) -> Any:
    """Anything that msgpack can say."""
    kind = dice.randrange(9)
    if kind == 0:
        return dice.choice(BIG) * dice.choice((1, -1))
    if kind == 1:
        return dice.choice(TEXTS).decode("latin-1") * dice.choice((1, 1, 1, 300))
    if kind == 2:
        return [value(dice) for _ in range(dice.randrange(3))]
    if kind == 3:
        return {str(n): value(dice) for n in range(dice.randrange(3))}
    return (None, True, 1.5, b"\x00", -0.0)[kind - 4]


def messages(dice: random.Random, idents: list[str]) -> Iterator[list[bytes]]:
    """Of all kinds, most of them with the fields that are due, some of them right."""
    shapes = {row.name: row.fields for row in OPERATIONS.values()} | dict(NOTES)
    names = [name for name in shapes if name != "hello"]
    while True:
        name = dice.choice(names)
        body = {}
        for key, field in shapes[name].items():
            types = field.kind if isinstance(field.kind, tuple) else (field.kind,)
            roll = dice.random()
            if roll < 0.03:
                body[key] = value(dice)
            elif str in types:
                body[key] = dice.choice(idents)
            elif bool in types:
                body[key] = roll < 0.6
            elif int in types or float in types:
                body[key] = dice.choice(BIG[:-1])
            else:
                body[key] = [] if list in types else {}
        kind = 4 if name in NOTES else 0
        if dice.random() < 0.05:
            kind = dice.choice((0, 1, 2, 3, 4, 9))
        whole: Any = [kind, dice.choice(BIG[:-1]), name, body]
        if dice.random() < 0.03:
            whole = dice.choice(([], whole[:3], {"a": 1}, value(dice), [*whole, 1]))
        try:
            header = bytearray(msgpack.packb(whole, unicode_errors="surrogateescape"))
        except (OverflowError, UnicodeEncodeError):
            continue
        if dice.random() < 0.03 and header:
            header[dice.randrange(len(header))] ^= 1 << dice.randrange(8)
        payload = dice.choice(([], [], [b""], [dice.randbytes(30)], [b"", b""]))
        yield [bytes(header), *payload]


@pytest.mark.timeout(300)
async def test_and_then_those_of_kernels(
    tmp_path: Path, dice: random.Random, caplog: pytest.LogCaptureFixture, part: int
) -> None:
    """What an operation does not expect is answered and logged, and is a defect: there is none."""
    caplog.set_level(logging.ERROR)
    engine = FakeEngine()
    await engine.open()
    sessions = Sessions(engine, engine.owner, tmp_path)
    server = Server(sessions, ANSWERS, name="fake", tickets=Tickets(b"k" * 32), about=dict)
    identity, idents = b"\0kernel", ["a" * 32, "b" * 32, "box", "", "../x"]
    greeting = {"version": 1, "version_min": 1, "client": "c", "session": "s", "durable": True}
    spec = {"image": "debian", "sleep": True}

    async def begin() -> None:
        for name, body in (
            ("hello", greeting),
            ("container.spawn", {"container": "a" * 32, "spec": spec}),
        ):
            server.incoming(identity, link.encode(link.request(1, name, body)))
            await asyncio.sleep(0)

    before = memory()
    wrong = messages(dice, idents)
    pool = [next(wrong) for _ in range(POOL // 2 // part)]
    for number in range(FROM_KERNELS // part):
        if identity not in server.clients:  # what was no message has made it a stranger
            await begin()
        server.incoming(identity, dice.choice(pool))
        if number % 50 == 0:
            await asyncio.sleep(0)
        if len(server._tasks) > 2000:  # those that wait for what never comes
            for task in list(server._tasks):
                task.cancel()
            await asyncio.sleep(0)
    await asyncio.sleep(0)  # those of the last turn have begun
    await server.close()
    await asyncio.sleep(0)
    unexpected = [record.getMessage() for record in caplog.records]
    assert not unexpected, (len(unexpected), unexpected[:5], caplog.text[:3000])
    assert memory() < before + GROWTH
    sessions.close()
    await engine.close()


# --- real sockets --------------------------------------------------------------------------------


#: What begins as ZeroMQ's greeting does is greeted so, which is no message of ours.
REFUSED = (ConnectionError, ProtocolError)


@pytest.mark.engines("host")
def test_real_sockets_of_a_real_agent_and_a_real_guest(
    own_world: Callable[..., World], where: str, dice: random.Random
) -> None:
    world = own_world()
    with Location(where) as location:
        box: Container = location.best_node().spawn_container("debian", sleep=True)
        cat = box.spawn_process(["/bin/cat"])
        pid = world.agents()[where]

        before = memory(pid)
        wrong = messages(dice, [box.id, cat.id, "", "x"])
        for _ in range(SENT // 1000):
            with Words(world.socket(where)) as kernel:
                for _ in range(1000):
                    header, *payload = next(wrong)
                    kernel.say(header, *payload[:1])
                assert kernel.hear(), "it answers"
        for _ in range(SENT // 100):  # what is no message at all
            with Words(world.socket(where)) as kernel, contextlib.suppress(*REFUSED):
                kernel.write(dice.randbytes(dice.randrange(1, 20_000)))
                kernel.write(b"\xff" * 8)  # over the limits
                while kernel.hear():
                    pass
        assert box.run_process(["/bin/echo", "fine"]).stdout == b"fine\n"
        assert memory(pid) < before + GROWTH
        log = (world.runtime / f"{world.agent(where)}.log").read_text()
        assert len(log.splitlines()) < 100, log[:2000]
        assert "Traceback" not in log

        cat.stdin(b"undisturbed\n")
        cat.close_stdin()
        assert cat.wait_until_complete(timeout=30) == b"undisturbed\n"
        _at_the_guest(world, box, dice)  # to whose processes it may do anything
        assert box.run_process("cat", input=b"alive\n").stdout == b"alive\n"
        assert world.agents()[where] == pid


def _at_the_guest(world: World, box: Container, dice: random.Random) -> None:
    """As root of the container may connect in place of the agent; the newest connection wins."""
    import socket

    path = str(world.runtime / "host" / box.id / "run" / "guest.sock")
    frames = Frames(dice, [5, 6, 7])  # not those of processes, to which it may do all
    for _ in range(SENT // 200):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(path)
            version = [(Tag.VERSION, 1), (Tag.VERSION_MIN, 1), (Tag.NAME, "x")]
            said = b"".join(frames.one() for _ in range(200))
            try:
                sock.sendall(wire.fielded(Type.HELLO, 0, version) + said)
            except (BrokenPipeError, ConnectionResetError):
                continue  # it had enough
